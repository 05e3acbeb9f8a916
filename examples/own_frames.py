# /// script
# requires-python = ">=3.11"
# dependencies = ["defocal[synth]"]
# ///
"""Make a dataset of your own RGB-D frames, prove it, and draw it.

    python own_frames.py my-frames my-data --depth-unit "1 mm" --depth 0.5 6

`my-frames` holds the folders `rgb` and `depth` with files of the same names. Depth nearer than the first number of
`--depth`, metres, becomes unknown; left out, the range holds all but the nearest thousandth of each frame. The lens
is that of the recipe quickstart. A first run compiles kernels, a minute or two.
"""

import argparse
from pathlib import Path

import numpy as np

from defocal import InputError
from defocal.pipelines.generate import create, run
from defocal.pipelines.preview import write_preview
from defocal.pipelines.shipped import find_recipe
from defocal.pipelines.verify import verify
from defocal.synth import read_scenes
from defocal.synth.samples import SampleMaker
from defocal.synth.units import parse_length

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("frames", type=Path)
parser.add_argument("out", type=Path, help="a new folder")
parser.add_argument("--depth-unit", default="1 mm", help="length that one stored number means")
parser.add_argument("--depth", type=float, nargs=2, metavar=("NEAR", "FAR"), help="metres; if left out, the frames'")
parser.add_argument("--f-number", type=float, default=2.0)
options = parser.parse_args()

try:
    if options.out.is_file() or any(options.out.glob("*")):
        raise InputError(f"{options.out} is not empty: give a new folder, or `defocal resume` what was begun there.")
    reader = read_scenes("folder", options.frames, depth_unit=parse_length(options.depth_unit))
    known, lost, (near, far) = 0, 0, options.depth or (np.inf, 0.0)
    for i in range(len(reader)):
        depth = reader.read(i).depth  # (h, w) metres, NaN unknown
        known += np.count_nonzero(~np.isnan(depth))
        if options.depth:
            lost += np.count_nonzero(depth < near)
        else:
            first, last = np.nanquantile(depth, [0.001, 1], method="lower")
            near, far = min(near, first), max(far, last)
    changes = [
        f"scenes.depth_unit={options.depth_unit}",
        f"scenes.depth=[{near}, {far}]",
        f"camera.f_number={options.f_number}",
        "output.splits={ all = 1 }",
    ]
    recipe = find_recipe("quickstart", scenes=f"folder:{options.frames}", changes=changes)
    lens, maker = recipe.lens, SampleMaker(recipe)
    print(
        f"{maker.count} frames, {near:.3g} to {far:.3g} m; in focus at {lens.focus_distance:g} m, blur of "
        f"{lens.coc(near):.1f} px at the nearest and {lens.coc(far):.1f} px at the farthest depth"
    )
    if lost:
        print(f"{lost / known:.2%} of the known depth is nearer than {near:.3g} m, and unknown in the dataset")

    outcome = run(options.out, maker, create(options.out, maker))
    if not outcome.complete:
        why = outcome.stopped or next(iter(outcome.failed.values()))
        raise InputError(f"{options.out} is unfinished: {why} Mend that, then `defocal resume {options.out}`.")
    verdict = verify(options.out, rerender=1)
    print(f"{verdict.samples} samples, content digest {verdict.digest}; problems: {verdict.problems or 'none'}")
    for path in write_preview(str(options.out), None, 8):
        print(f"Wrote {path}")
except ValueError as error:  # InputError is one
    parser.exit(2, f"Error: {str(error).rstrip('.')}.\n")
