# /// script
# requires-python = ">=3.11"
# dependencies = ["defocal[synth]"]
# ///
"""Take a focal stack of a scene, tell its depth by classical depth from focus, and say how wrong that is.

    python focal_stack.py --slices 10 --method rdf --out stack

A first run compiles kernels, a minute or two.
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from defocal import InputError
from defocal.evaluate import depth_metrics
from defocal.evaluate.fusion import fuse_by_pyramid
from defocal.evaluate.stack_depth import depth_from_stack
from defocal.synth import ThinLens, procedural_scene, render_stack
from defocal.synth.light import encode
from defocal.synth.schedules import spaced

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--slices", type=int, default=10)
parser.add_argument("--method", default="sml", choices=["sml", "rdf", "variance", "windowed-ls"])
parser.add_argument("--size", type=int, nargs=2, default=(240, 320))
parser.add_argument("--out", type=Path, default=Path("stack"))
options = parser.parse_args()

try:
    lens = ThinLens(focal_length=0.05, f_number=2.0, focus_distance=1.0, pixel_pitch=60e-6)
    focus = spaced(options.slices, 0.7, 4.0, "inverse", lens.focal_length)  # metres
    scene = procedural_scene(seed=5, sample=0, size=tuple(options.size), depth=(0.7, 4.0))
    options.out.mkdir(parents=True, exist_ok=True)
    stack = render_stack(scene, lens, focus).images  # (S, H, W, 3) linear, aligned

    found = depth_from_stack(stack, focus, method=options.method)
    truth = scene.flatten().depth
    error = depth_metrics(found.depth, truth)
    print(f"{options.method}: RMSE {error['rmse']:.3f} m, {error['delta1']:.1%} within a quarter")

    np.save(options.out / "depth.npy", found.depth)
    Image.fromarray(encode(fuse_by_pyramid(stack).astype(np.float32), "srgb")).save(options.out / "all-in-focus.png")
    for i, (slice_, distance) in enumerate(zip(stack, focus, strict=True)):
        Image.fromarray(encode(slice_, "srgb")).save(options.out / f"{i:02}-{distance:.2f}m.png")
    print(f"Wrote depth.npy, all-in-focus.png and {len(stack)} slices to {options.out}")
except InputError as refusal:
    parser.exit(2, f"Error: {refusal}\n")
except OSError as refusal:
    parser.exit(2, f"Error: {options.out} cannot be written ({refusal.strerror}): give another --out.\n")
