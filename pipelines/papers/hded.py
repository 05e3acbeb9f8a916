"""2HDED:NET, depth and the sharp picture of one capture at once: losses (Table II), one head alone (Table III)."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...evaluate.paper_page import PaperTable, Reproduction
from ...evaluate.relations import Relation
from ..steps import Evaluate, Step, Train
from .base import Paper, Scale, Sizes, changes, columns_of, of_seeds, table_rows

TITLE = "Depth and sharp images by 2HDED:NET"
CITATION = (
    "Depth Estimation and Image Restoration by Deep Learning from Defocused Images (2HDED:NET): losses (Table II) and "
    "the ablation of one head (Table III)."
)
METRICS = ("rmse", "abs_rel", "delta1", "delta2", "delta3", "psnr", "ssim")
DEPTH, IMAGES = METRICS[:5], METRICS[5:]
WHOLE = "L1, gradient + Charbonnier, SSIM"
LOSSES = {
    "L1 + Charbonnier": ("charbonnier", (0.285, 0.035, 0.820, 0.880, 0.970, 33.55, 0.983)),
    "L1 + L1": ("l1", (0.292, 0.068, 0.799, 0.819, 0.891, 30.38, 0.90)),
    "L1, gradient + Charbonnier": ("gradient", (0.244, 0.029, 0.901, 0.971, 0.989, 32.27, 0.918)),
    "L1 + Charbonnier, SSIM": ("ssim", (0.282, 0.031, 0.833, 0.895, 0.901, 33.85, 0.981)),
    WHOLE: ("both", (0.241, 0.025, 0.914, 0.979, 0.995, 34.84, 0.989)),
}
"""Table II, of depth and of deblurring: the folders of the runs, and the paper's numbers."""
BLURRED, SHARP_HEAD, DEPTH_HEAD = "as captured", "without depth head", "without deblurring head"
BOTH = "with both heads"
HEADS = {
    BOTH: ("both", dict(zip(METRICS, (0.24, 0.025, 0.91, 0.97, 0.99, 34.849, 0.989), strict=True))),
    SHARP_HEAD: ("sharp-head", dict(zip(IMAGES, (31.941, 0.919), strict=True))),
    DEPTH_HEAD: ("depth-head", dict(zip(DEPTH, (0.29, 0.075, 0.84, 0.89, 0.94), strict=True))),
}
"""Table III."""
OPTIONS = {
    "charbonnier": changes("loss.gradient_weight=0", "loss.ssim_weight=0"),
    "l1": changes("loss.gradient_weight=0", "loss.ssim_weight=0", "loss.deblurring=l1"),
    "gradient": changes("loss.ssim_weight=0"),
    "ssim": changes("loss.gradient_weight=0"),
    "both": (),
    "sharp-head": changes('model.heads=["aif"]', "run.best=psnr"),
    "depth-head": changes('model.heads=["depth"]'),
}
"""What differs from the config, for each run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HdedSizes(Sizes):
    """What a scale is made of; `network` is that of all runs, as changes of the config."""

    network: tuple[str, ...]


_NARROW = changes("model.blocks=[2, 2, 2, 2]", "data.validation_split=val")
"""A quarter of the channels, and blocks of two layers."""
SIZES: dict[Scale, HdedSizes] = {
    "smoke": HdedSizes(
        scenes=changes("scenes.count=24", "scenes.size=[64, 96]", "camera.pixel_pitch=375 um",
                       "output.splits={ train = 0.6, val = 0.15, test = 0.25 }"),
        network=_NARROW, training=changes("run.steps=8", "data.crop=[64, 64]"),
        variant="-smoke", seeds=(0,), judged=4,
    ),
    "small": HdedSizes(
        # Blur half as wide in pixels as the paper's, in half its field of view, and no depths where it grows slowly.
        scenes=changes("scenes.count=800", "scenes.size=[120, 160]", "camera.pixel_pitch=112.5 um",
                       'scenes.depth=["0.7 m", "5 m"]', "output.splits={ train = 0.86, val = 0.04, test = 0.1 }"),
        network=_NARROW,
        # What learned from crops of 64 px told such crops well, and was lost in whole pictures.
        training=changes("run.steps=1200", "run.validate_every=400", 'target={ kind = "depth", span = [0.0, 5.0] }',
                         "data.crop=[96, 128]", "data.batch_size=4", "optimiser.rate=2e-3"),
        variant="-smoke", seeds=(0, 1, 2), judged=60,
    ),
    "full": HdedSizes(
        # As many scenes as NYUv2 has for training and for testing: 795 and 654.
        scenes=changes("scenes.count=1449", "output.splits={ train = 0.5, val = 0.05, test = 0.45 }"),
        network=(), training=changes("data.validation_split=val"),
        variant="", seeds=(0, 1, 2), judged=654,
    ),
}  # fmt: skip


class Hded(Paper):
    """One network by five losses, and with one head alone."""

    name = "2hded"
    title, citation, scales = TITLE, CITATION, SIZES

    sizes: HdedSizes

    @property
    def _captures(self) -> Path:
        return self.out / "captures"

    def _train(self, row: str, seed: int) -> Train:
        given = ("--seed", str(seed), *self.sizes.network, *self.sizes.training, *OPTIONS[row])
        return Train(f"2hded{self.sizes.variant}", self._captures, self.run(row, seed), given)

    @property
    def steps(self) -> list[Step]:
        """Everything that is done, in order."""
        return [
            self.generate("2hded", "captures", *changes('output.arrays=["aif", "depth", "capture"]')),
            *(self._train(row, seed) for seed in self.seeds for row in OPTIONS),
            *(self._report(seed) for seed in self.seeds),
        ]

    def _report(self, seed: int) -> Evaluate:
        # What is best at depth is not what is best at pictures: all are judged at their end.
        options = (*self.unseen, "--last", "--baseline", "as-captured")
        runs = tuple(self.run(row, seed) for row in OPTIONS)
        return Evaluate(runs, self._captures, self.out / f"report-{seed}", options)

    def found(self) -> Reproduction:
        """Gather what the reports say."""
        judged = {seed: self._report(seed).judged() for seed in self.seeds}
        losses = {name: _numbers(judged, row, METRICS) for name, (row, _) in LOSSES.items()}
        heads = {name: _numbers(judged, row, tuple(paper)) for name, (row, paper) in HEADS.items()}
        blurred = columns_of([judged[self.seeds[0]]["as-captured"]], IMAGES)
        return self.page(
            tables=[
                PaperTable(
                    title="Losses of depth + deblurring (Table II)",
                    rows=table_rows({**losses, BLURRED: blurred}),
                    paper={name: dict(zip(METRICS, numbers, strict=True)) for name, (_, numbers) in LOSSES.items()},
                    note="The paper's numbers are of NYUv2 with synthetic blur.",
                ),
                PaperTable(
                    title="One head alone (Table III)",
                    rows=table_rows(heads),
                    paper={name: paper for name, (_, paper) in HEADS.items()},
                    note="Trained by the whole loss, or by what of it is of the head that is left.",
                ),
            ],
            relations=[*_of_losses(losses), *_of_heads(heads), _deblurs(heads, blurred)],
            pictures=self.pictures({name: self.run(row, self.seeds[0]) for name, (row, _) in HEADS.items()}),
        )


Numbers = Mapping[str, Mapping[str, list[float]]]


def _numbers(judged: Mapping[int, Mapping[str, Any]], row: str, metrics: tuple[str, ...]) -> dict[str, list[float]]:
    return columns_of(of_seeds(judged, f"{row}-{{seed}}"), metrics)


def _of_losses(losses: Numbers) -> list[Relation]:
    """What the paper's text says of Table II: each term is worth it, and all of them together are best."""
    first, plain, gradient, ssim, _ = LOSSES
    wanted = [("psnr", first, plain), ("rmse", gradient, first), ("psnr", ssim, first), ("rmse", ssim, first)]
    wanted += [(metric, WHOLE, other) for metric in ("rmse", "psnr") for other in (first, plain, gradient, ssim)]
    found = []
    for metric, better, worse in wanted:
        place, higher = METRICS.index(metric), metric == "psnr"
        found.append(
            Relation(
                text=f"{metric.upper()}: {better} {'above' if higher else 'below'} {worse}",
                better=losses[better][metric],
                worse=losses[worse][metric],
                paper=(LOSSES[better][1][place], LOSSES[worse][1][place]),
                higher=higher,
            )
        )
    return found


def _of_heads(heads: Numbers) -> list[Relation]:
    return [
        Relation(
            text=f"{metric.upper()}: {BOTH} {'above' if higher else 'below'} {worse}",
            better=heads[BOTH][metric],
            worse=heads[worse][metric],
            paper=(HEADS[BOTH][1][metric], HEADS[worse][1][metric]),
            higher=higher,
        )
        for metric, worse, higher in (
            ("rmse", DEPTH_HEAD, False), ("psnr", SHARP_HEAD, True), ("ssim", SHARP_HEAD, True),
        )
    ]  # fmt: skip


def _deblurs(heads: Numbers, blurred: Mapping[str, list[float]]) -> Relation:
    ours = heads[BOTH]["psnr"]
    # A capture has no seeds.
    return Relation(
        text=f"PSNR: {BOTH} above the capture itself", better=ours, worse=blurred["psnr"] * len(ours), higher=True
    )
