# /// script
# requires-python = ">=3.11"
# dependencies = ["defocal[synth]"]
# ///
"""Make a dataset of your own RGB-D frames, prove it, and draw it.

    python own_frames.py my-frames my-data --depth-unit "1 mm"

`my-frames` holds the folders `rgb` and `depth` with files of the same names.
"""

import argparse
from pathlib import Path

from defocal.pipelines.generate import create, run
from defocal.pipelines.preview import write_preview
from defocal.pipelines.shipped import find_recipe
from defocal.pipelines.verify import verify
from defocal.synth.samples import SampleMaker

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("frames", type=Path)
parser.add_argument("out", type=Path, help="a new folder")
parser.add_argument("--depth-unit", default="1 mm", help="length that one stored number means")
parser.add_argument("--f-number", type=float, default=2.0)
options = parser.parse_args()

changes = [
    f"scenes.depth_unit={options.depth_unit}",
    f"camera.f_number={options.f_number}",
    "output.splits={ all = 1 }",
]
recipe = find_recipe("quickstart", scenes=f"folder:{options.frames}", changes=changes)
maker = SampleMaker(recipe)
print(f"{maker.count} frames; blur of {recipe.lens.coc(recipe.scenes.depth[1]):.1f} px at the farthest depth")

outcome = run(options.out, maker, create(options.out, maker))
for shard, error in outcome.failed.items():
    print(f"{shard} failed: {error}")  # mend the file, then `defocal resume`

verdict = verify(options.out, rerender=1)
print(f"{verdict.samples} samples, content digest {verdict.digest}; problems: {verdict.problems or 'none'}")
for path in write_preview(str(options.out), None, 8):
    print(f"Wrote {path}")
