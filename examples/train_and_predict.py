# /// script
# requires-python = ">=3.11"
# dependencies = ["defocal[train]"]
# ///
"""Train a small network on a dataset, and let it tell the depth of captures that it has not seen.

    defocal generate quickstart my-data --set scenes.count=300
    python train_and_predict.py my-data my-run --steps 400

Needs no part of defocal that makes datasets.
"""

import argparse
from pathlib import Path

from defocal.evaluate import DepthScores
from defocal.synth import open_store
from defocal.train import load_config, load_model, train

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("data", type=Path)
parser.add_argument("out", type=Path, help="a new folder")
parser.add_argument("--steps", type=int, default=400)
parser.add_argument("--crop", type=int, default=128, help="pixels; the pictures must be as large")
parser.add_argument("--device", default="auto")
options = parser.parse_args()

changes = [f"run.steps={options.steps}", f"data.crop=[{options.crop}, {options.crop}]", "data.batch_size=4"]
outcome = train(load_config("unet-smoke", changes=changes), [options.data], options.out, device=options.device)
print(f"{outcome.step} steps; Ctrl-C would have saved, and resume=True gone on")

store = open_store(options.data)
model = load_model(options.out, device=options.device)
scores = DepthScores()
captures, depths = (store.array("test", name) for name in ("capture", "depth"))
for row in range(captures.shape[0]):
    said = model.predict(captures[row], lens=store.recipe.lens)["depth"]  # (h, w) metres
    scores.add(said, depths[row])
found = scores.result().per_image
print(f"{captures.shape[0]} test images: RMSE {found['rmse']:.3f} m, Abs Rel {found['abs_rel']:.3f}")
