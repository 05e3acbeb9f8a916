# /// script
# requires-python = ">=3.11"
# dependencies = ["defocal[synth,train]"]
# ///
"""Learn a phase mask together with the network that reads depth through it, and write it for a workshop.

defocal generate rpsf-double scenes --set 'output.arrays=["aif", "depth"]' --limit 200
python learn_a_mask.py scenes learned --steps 400
"""

import argparse
from pathlib import Path

from defocal.pipelines.making import Making, find_subject
from defocal.pipelines.workshop import export
from defocal.synth import load_mask
from defocal.train import load_config, train

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("data", type=Path, help="all-in-focus images and depth; its camera is the mask's")
parser.add_argument("out", type=Path, help="a new folder")
parser.add_argument("--steps", type=int, default=400)
parser.add_argument("--crop", type=int, default=128)
parser.add_argument("--cell", type=float, default=20e-6, help="side of a cell of the made mask, metres")
parser.add_argument("--device", default="auto")
options = parser.parse_args()

changes = [
    f"run.steps={options.steps}",
    f"data.crop=[{options.crop}, {options.crop}]",
    "data.batch_size=2",
    "optics.planes=11",
    "optics.hold=0",  # the mask moves from the first step on
]
train(load_config("unet-rpsf-learned-smoke", changes=changes), [options.data], options.out, device=options.device)
mask = load_mask(options.out / "mask.json")
print(f"learned: {mask.lobes:.3f} lobes, confinement {mask.confinement:.3f}")

facts, files = export(
    find_subject(str(options.out / "mask.json"), None), options.out / "workshop", Making(cell=options.cell)
)
for heading, text in facts:
    print(f"{heading}: {text}")
print(f"Wrote {len(files)} files; a dataset through it: defocal generate RECIPE OUT --mask {options.out / 'mask.json'}")
