# /// script
# requires-python = ">=3.11"
# dependencies = ["defocal[train]"]
# ///
"""Train a small network on a dataset, and let it tell the depth of captures that it has not seen.

    defocal generate quickstart my-data --set scenes.count=300
    python train_and_predict.py my-data my-run --steps 400

Needs no part of defocal that makes datasets. The first `defocal generate` compiles kernels, a minute or two.
"""

import argparse
from pathlib import Path

from defocal import InputError
from defocal.evaluate import DepthScores
from defocal.synth import open_store
from defocal.train import StoreDataset, load_config, load_model, train

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("data", type=Path)
parser.add_argument("out", type=Path, help="a new folder")
parser.add_argument("--steps", type=int, default=400)
parser.add_argument("--crop", type=int, default=128, help="pixels; the pictures must be as large")
parser.add_argument("--device", default="auto")
options = parser.parse_args()

try:
    if options.out.is_file() or any(options.out.glob("*")):
        raise InputError(f"{options.out} is not empty: give a new folder.")
    store = open_store(options.data)
    learned, unseen = (StoreDataset(options.data, split, ["capture", "depth"]) for split in ("train", "test"))
    changes = [
        f"run.steps={options.steps}",
        f"data.crop=[{options.crop}, {options.crop}]",
        f"data.batch_size={min(4, len(learned))}",
        f"data.augment.flips={sorted(learned.flips & {'left-right'})}",  # PSFs that turn have no mirror images
    ]
    outcome = train(load_config("unet-smoke", changes=changes), [options.data], options.out, device=options.device)
    print(f"{outcome.step} steps; Ctrl-C would have saved, and resume=True gone on")

    model = load_model(options.out, device=options.device)
    scores = DepthScores()
    captures, depths = (store.array("test", name) for name in ("capture", "depth"))
    for row in range(len(unseen)):
        said = model.predict(captures[row], lens=store.recipe.lens)["depth"]  # (h, w) metres
        scores.add(said, depths[row])
    found = scores.result().per_image
    print(f"{len(unseen)} test images: RMSE {found['rmse']:.3f} m, Abs Rel {found['abs_rel']:.3f}")
except InputError as error:
    parser.exit(2, f"Error: {error}\n")
