# /// script
# requires-python = ">=3.11"
# dependencies = ["defocal[synth]"]
# ///
"""Show what a lens, and a mask in its pupil, make of one photograph with depth.

    python one_photograph.py photo.png depth.png --depth-unit 0.001 --out captures

Without files a procedural scene takes the photograph's place.
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from defocal.synth import PsfBank, Scene, SpiralMask, ThinLens, fill_depth, procedural_scene, render
from defocal.synth.light import decode, encode
from defocal.synth.readers.files import read_depth, read_image

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("photo", nargs="?", type=Path)
parser.add_argument("depth", nargs="?", type=Path, help="registered to the photo; 0 is unknown")
parser.add_argument("--depth-unit", type=float, default=0.001, help="metres that one stored number means")
parser.add_argument("--size", type=int, nargs=2, default=(240, 320), help="of the procedural scene")
parser.add_argument("--out", type=Path, default=Path("captures"))
options = parser.parse_args()

if options.photo and options.depth:
    photo = read_image(options.photo)
    image = photo if photo.dtype == np.float32 else decode(photo, "srgb")
    depth = read_depth(options.depth).astype(np.float32) * options.depth_unit
    depth[~(depth > 0)] = np.nan
    scene = Scene(image, fill_depth(depth, image))
else:
    scene = procedural_scene(seed=3, sample=0, size=tuple(options.size), depth=(0.7, 5.0)).flatten()

# The aperture and the focus that give the farthest and the nearest depth a defocus of -10 and 10 rad.
near, far = float(scene.depth.min()), float(scene.depth.max())
lens = ThinLens.for_defocus(near, far, (-10, 10), 550e-9, focal_length=0.05, pixel_pitch=12e-6)
spiral = PsfBank.from_mask(SpiralMask(zones=7, lobes=1), lens, depth=(near, far), planes=21, size=35)

options.out.mkdir(parents=True, exist_ok=True)
for name, bank in (("disk", PsfBank.disk(lens)), ("spiral", spiral)):
    capture = render(scene, lens, bank)  # (H, W, 3) float32, linear
    Image.fromarray(encode(capture, "srgb")).save(options.out / f"{name}.png")
    print(f"{options.out / name}.png: blur of {lens.coc(far):.1f} to {lens.coc(near):.1f} px")
