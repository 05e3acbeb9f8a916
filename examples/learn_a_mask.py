# /// script
# requires-python = ">=3.11"
# dependencies = ["defocal[synth,train]"]
# ///
"""Learn a phase mask together with the network that reads depth through it, and write it for a workshop.

    defocal generate rpsf-double scenes --set 'output.arrays=["aif", "depth"]' --limit 200
    python learn_a_mask.py scenes learned --steps 400

Of the dataset `aif`, `depth` and the camera are used; the mask that its recipe has, and captures through it, are not.
What is learned begins as a spiral with one lobe. The first `defocal generate` compiles kernels, a minute or two.
"""

import argparse
from pathlib import Path

from defocal import InputError
from defocal.pipelines.making import Making, find_subject
from defocal.pipelines.workshop import export
from defocal.synth import load_mask, open_store
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
try:
    if options.out.is_file() or any(options.out.glob("*")):
        raise InputError(f"{options.out} is not empty: give a new folder.")
    config = load_config("unet-rpsf-learned-smoke", changes=changes)
    # Used last, and looked at first. Twenty cells across show any mask that can be learned here; 8192 can be written.
    pupil = open_store(options.data).recipe.lens.aperture_diameter
    if not pupil / 8192 <= options.cell <= pupil / 20:
        raise InputError(
            f"--cell must be from {pupil / 8192:.2e} to {pupil / 20:.2e} m for this camera's pupil of "
            f"{pupil * 1e3:.3g} mm, not {options.cell:g}."
        )
    outcome = train(config, [options.data], options.out, device=options.device)
    mask = load_mask(options.out / "mask.json")
    print(
        f"learned: {mask.lobes:.3f} lobes, confinement {mask.confinement:.3f}, as after step "
        f"{outcome.best['step']} of {outcome.step}, which validated best"
    )

    subject = find_subject(str(options.out / "mask.json"), None)
    facts, files = export(subject, options.out / "workshop", Making(cell=options.cell))
    for heading, text in facts:
        print(f"{heading}: {text}")
    made = f"defocal generate RECIPE OUT --mask {options.out / 'mask.json'}"
    print(f"Wrote {len(files)} files; a dataset through it: {made}")
except InputError as error:
    parser.exit(2, f"Error: {error}\n")
