# /// script
# requires-python = ">=3.11"
# dependencies = ["defocal[synth]"]
# ///
"""Show what a lens, and a mask in its pupil, make of one photograph with depth.

    python one_photograph.py photo.png depth.png --depth-unit 0.001 --out captures

Without files a procedural scene takes the photograph's place. A first run compiles kernels, a minute or two.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from defocal import InputError
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

try:
    if options.photo and not options.depth:
        raise InputError(f"{options.photo} comes without depth: give its depth map too, behind it.")
    if options.photo:
        photo = read_image(options.photo)
        image = photo if photo.dtype == np.float32 else decode(photo, "srgb")
        depth = read_depth(options.depth).astype(np.float32) * options.depth_unit
        depth[~(depth > 0)] = np.nan
        scene = Scene(image, fill_depth(depth, image))
    else:
        scene = procedural_scene(seed=3, sample=0, size=tuple(options.size), depth=(0.7, 5.0)).flatten()

    # The aperture and the focus that give the farthest and the nearest depth a defocus of -10 and 10 rad, and pixels
    # as wide as their diffraction: so any range of depths has the same blur.
    near, far = float(scene.depth.min()), float(scene.depth.max())
    if min(scene.size) < 35:
        raise InputError("the PSFs of the spiral are 35 px wide, and the picture is smaller: give a larger one.")
    if near == far:
        raise InputError(f"{options.depth} says {near:g} m everywhere: give a map in which something is nearer.")
    if near < 0.1:
        raise InputError(f"the nearest depth is {near:g} m, too near for a 50 mm lens: check --depth-unit.")
    lens = ThinLens.for_defocus(near, far, (-10, 10), 550e-9, focal_length=0.05, pixel_pitch=1e-6)
    if lens.f_number < 0.5:
        raise InputError(f"no lens is as bright as {near:g} to {far:g} m would need it to be: check --depth-unit.")
    lens = replace(lens, pixel_pitch=1.5 * 550e-9 * lens.f_number)
    spiral = PsfBank.from_mask(SpiralMask(zones=7, lobes=1), lens, depth=(near, far), planes=21, size=35)

    options.out.mkdir(parents=True, exist_ok=True)
    for name, bank in (("disk", PsfBank.disk(lens)), ("spiral", spiral)):
        capture = render(scene, lens, bank)  # (H, W, 3) float32, linear
        Image.fromarray(encode(capture, "srgb")).save(options.out / f"{name}.png")
        blur = " to ".join(f"{lens.coc(depth):.1f} px at {depth:.3g} m" for depth in (far, near))
        print(f"{options.out / name}.png: blur of {blur}")
except InputError as error:
    parser.exit(2, f"Error: {error}\n")
except OSError as error:
    parser.exit(2, f"Error: {options.out} cannot be written ({error.strerror}): give another --out.\n")
