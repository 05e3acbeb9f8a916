"""Unsupervised depth from defocus and from focus at once: two networks that teach each other, and with the truth."""

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...evaluate.paper_page import PaperTable, Reproduction
from ...evaluate.relations import Relation
from ..steps import Evaluate, Step, Train
from .base import FEW, Paper, Scale, Sizes, changes, columns_of, of_seeds, table_rows

TITLE = "Unsupervised depth from defocus and depth from focus"
CITATION = (
    "Unsupervised Simultaneous Depth-from-defocus and Depth-from-focus: DefocusNet and FocusNet, with and without the "
    "smoothness loss, and supervised (Table 1)."
)
METRICS = ("delta1", "delta2", "delta3", "rmse", "abs_rel")
NETWORKS = ("DefocusNet", "FocusNet")
WAYS = {"without smoothness": "nosmooth", "unsupervised": "full", "supervised": "gt"}
"""How both networks are trained, and the folders of their runs."""
TABLE = {
    ("DefocusNet", "without smoothness"): (0.729, 0.886, 0.950, 0.628, 0.176),
    ("DefocusNet", "unsupervised"): (0.732, 0.887, 0.951, 0.623, 0.176),
    ("DefocusNet", "supervised"): (0.921, 0.989, 0.996, 0.372, 0.084),
    ("FocusNet", "without smoothness"): (0.740, 0.889, 0.946, 0.619, 0.173),
    ("FocusNet", "unsupervised"): (0.748, 0.892, 0.949, 0.611, 0.172),
    ("FocusNet", "supervised"): (0.936, 0.990, 0.998, 0.328, 0.075),
}


SIZES: dict[Scale, Sizes] = {
    "smoke": Sizes(
        scenes=changes("scenes.count=40", "scenes.size=[96, 128]", "camera.pixel_pitch=28 um", FEW),
        training=changes("run.steps=20", "data.validation_split=val"),
        variant="-smoke", seeds=(0,), judged=4,
    ),
    "small": Sizes(
        # A faster lens than the paper's data have: at this size theirs would blur by a pixel or two.
        scenes=changes("scenes.count=600", "scenes.size=[96, 128]", "camera.focal_length=25 mm", "camera.f_number=2",
                       "camera.pixel_pitch=28 um", FEW),
        training=changes("run.steps=1200", "run.validate_every=400", "data.validation_split=val"),
        variant="-smoke", seeds=(0, 1, 2), judged=60,
    ),
    "full": Sizes(
        # As many scenes as NYUv2 has for training and for testing: 795 and 654.
        scenes=changes("scenes.count=1449", "output.splits={ train = 0.5, val = 0.05, test = 0.45 }"),
        training=changes("data.validation_split=val"),
        variant="", seeds=(0, 1, 2), judged=654,
    ),
}  # fmt: skip


class Udfd(Paper):
    """Both networks trained three ways."""

    name = "udfd"
    title, citation, scales = TITLE, CITATION, SIZES

    @property
    def _stacks(self) -> Path:
        return self.out / "stacks"

    def _train(self, way: str, seed: int) -> Train:
        config = "udfd-supervised" if way == "supervised" else "udfd"
        options = ("--seed", str(seed), *self.sizes.training)
        if way == "without smoothness":
            options += changes("loss.smooth_weight=0")
        return Train(f"{config}{self.sizes.variant}", self._stacks, self.run(WAYS[way], seed), options)

    @property
    def steps(self) -> list[Step]:
        """Everything that is done, in order."""
        # The paper does not say where its single pictures are focused: here where D3-Net, its peer, does best.
        options = changes('output.arrays=["aif", "depth", "capture", "stack"]', "camera.focus_distance=2 m")
        return [
            self.generate("udfd-nyu", "stacks", *options),
            # What is judged without the smoothness row comes first, of all seeds.
            *(self._train(way, seed) for seed in self.seeds for way in ("unsupervised", "supervised")),
            *(self._train("without smoothness", seed) for seed in self.seeds),
            *(self._report(seed) for seed in self.seeds),
        ]

    def _report(self, seed: int) -> Evaluate:
        runs = tuple(self.run(WAYS[way], seed) for way in WAYS)
        return Evaluate(runs, self._stacks, self.out / f"report-{seed}", self.unseen)

    def found(self) -> Reproduction:
        """Gather what the reports say."""
        judged = {seed: self._report(seed).judged() for seed in self.seeds}
        rows = {(net, way): _row(judged, net, way) for net, way in TABLE}
        return self.page(
            tables=[
                PaperTable(
                    title="Depth of unseen scenes (Table 1)",
                    rows=table_rows({_name(*key): values for key, values in rows.items()}),
                    paper={_name(*key): dict(zip(METRICS, numbers, strict=True)) for key, numbers in TABLE.items()},
                    note="The paper's are of NYUv2 with synthetic blur; both networks of a row were trained together.",
                )
            ],
            relations=_relations({key: values["rmse"] for key, values in rows.items()}),
            pictures=self.pictures({way: self.run(row, self.seeds[0]) for way, row in WAYS.items()}),
        )


def _name(network: str, way: str) -> str:
    return f"{network}, {way}"


def _row(judged: Mapping[int, Mapping[str, Any]], network: str, way: str) -> dict[str, list[float]]:
    return columns_of(of_seeds(judged, f"{WAYS[way]}-{{seed}} ({network})"), METRICS)


def _relations(errors: Mapping[tuple[str, str], list[float]]) -> list[Relation]:
    pairs = [((net, better), (net, worse)) for net in NETWORKS for worse, better in itertools.pairwise(WAYS)]
    pairs += [(("FocusNet", way), ("DefocusNet", way)) for way in WAYS]
    place = METRICS.index("rmse")
    return [
        Relation(
            text=f"RMSE: {_name(*better)} below {_name(*worse)}",
            better=errors[better],
            worse=errors[worse],
            paper=(TABLE[better][place], TABLE[worse][place]),
        )
        for better, worse in pairs
    ]
