"""Depth from focus in the wild: any number of slices, sharp images as teachers, stacks that breathe."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...evaluate.paper_page import PaperTable, Reproduction
from ...evaluate.relations import Relation
from ...evaluate.stack_methods import METHODS
from ..steps import Evaluate, Generate, Step, Train
from .base import FEW, Paper, Scale, Sizes, changes, columns_of, of_seeds, table_rows

TITLE = "Learning depth from focus in the wild"
CITATION = (
    "Learning Depth from Focus in the Wild, supplement: sharp images (Table 1), unsupervised depth (Table 2), and the "
    "alignment of stacks that breathe."
)
STILL = {
    "DfF network": "dff",
    "DfF network, unsupervised": "unsupervised",
    "AiFDepthNet, unsupervised": "aifdepthnet",
}
"""Rows on stacks that do not breathe, and the folders of their runs."""
BREATHING = {
    "trained without breathing": "dff",
    "trained with breathing": "breathing",
    "trained with breathing, aligned": "aligned",
}
SHARP = {"AiFDepthNet, unsupervised": (35.5918, 0.9645), "DfF network, unsupervised": (34.9326, 0.9652)}
"""PSNR and SSIM of Table 1, on the 4-D light-field data."""
DEPTH = {
    "AiFDepthNet, unsupervised": (0.1671, 0.0746, 0.2698, 2.58),
    "DfF network, unsupervised": (0.1533, 0.0648, 0.2447, 3.075),
}
"""MAE, MSE, RMSE and bumpiness of Table 2: of disparities of the same data."""
METRICS = ("mae", "mse", "rmse", "bumpiness")


SIZES: dict[Scale, Sizes] = {
    "smoke": Sizes(
        scenes=changes("scenes.count=40", "scenes.size=[96, 128]", "stack.slices=5", FEW),
        training=changes("run.steps=20", "data.validation_split=val"),
        variant="-smoke", seeds=(0,), judged=4,
    ),
    "small": Sizes(
        # Pixels of the paper's size: blur and breathing are as large in them, and a picture shows a third of its width.
        scenes=changes("scenes.count=600", "scenes.size=[96, 128]", "stack.slices=5", FEW),
        # Metres are learned, for metres are judged: of 1/depth, little is left at the far end to tell by.
        training=changes("run.steps=900", "run.validate_every=300", "data.validation_split=val",
                         'target={ kind = "depth" }'),
        variant="-smoke", seeds=(0, 1, 2), judged=60,
    ),
    "full": Sizes(
        scenes=changes("scenes.count=1449", "output.splits={ train = 0.85, val = 0.05, test = 0.1 }"),
        training=changes("data.validation_split=val"),
        variant="", seeds=(0, 1, 2), judged=145,
    ),
}  # fmt: skip
CONFIGS = {
    "dff": "dff-wild",
    "unsupervised": "dff-wild-unsupervised",
    "aifdepthnet": "aifdepthnet",
    "breathing": "dff-wild",
    "aligned": "dff-wild-aligned",
}


ORDER = (("dff", "breathing", "aligned"), ("unsupervised", "aifdepthnet"))
"""Rows that are trained with true depth come first, of all seeds: most of what is judged is theirs."""
OPTIONS = {
    # Its test is on stacks that breathe, too.
    "dff": changes("data.mixed_cameras=true"),
    "aifdepthnet": changes("loss.supervision=aif", 'data.targets=["depth", "aif"]', "run.best=loss"),
}
"""What differs from the configs: AiFDepthNet's is of supervised depth."""


class DffWild(Paper):
    """The depth network on still stacks, against its peers; and on breathing ones, with and without alignment."""

    name = "dff-wild"
    title, citation, scales = TITLE, CITATION, SIZES

    def _stacks(self, kind: str) -> Path:
        return self.out / f"{kind}-stacks"

    def _generate(self, kind: str, *options: str) -> Generate:
        arrays = changes('output.arrays=["aif", "depth", "stack"]')
        return self.generate("dff-wild-mixed", f"{kind}-stacks", *arrays, *options)

    def _train(self, row: str, seed: int) -> Train:
        kind = "breathing" if row in ("breathing", "aligned") else "still"
        options = ("--seed", str(seed), *self.sizes.training, *OPTIONS.get(row, ()))
        return Train(f"{CONFIGS[row]}{self.sizes.variant}", self._stacks(kind), self.run(row, seed), options)

    @property
    def steps(self) -> list[Step]:
        """Everything that is done, in order."""
        return [
            self._generate("still", *changes("stack.breathing=false")),
            self._generate("breathing"),
            *(self._train(row, seed) for rows in ORDER for seed in self.seeds for row in rows),
            *(self._report(kind, seed) for seed in self.seeds for kind in ("still", "breathing")),
        ]

    def _report(self, kind: str, seed: int) -> Evaluate:
        rows = STILL if kind == "still" else BREATHING
        options = list(self.unseen)
        if kind == "still":
            options += [word for name in METHODS for word in ("--baseline", name)]
        runs = tuple(self.run(row, seed) for row in rows.values())
        return Evaluate(runs, self._stacks(kind), self.out / f"report-{kind}-{seed}", tuple(options))

    def found(self) -> Reproduction:
        """Gather what the reports say."""
        first = self.seeds[0]
        still = {seed: self._report("still", seed).judged() for seed in self.seeds}
        breathing = {seed: self._report("breathing", seed).judged() for seed in self.seeds}
        networks = {name: _seeds(still, row, METRICS) for name, row in STILL.items()}
        classical = {name: columns_of([still[first][key]], METRICS) for key, name in METHODS.items()}
        sharp = {name: _seeds(still, STILL[name], ("psnr", "ssim")) for name in SHARP}
        moving = {name: _seeds(breathing, row, METRICS) for name, row in BREATHING.items()}
        return self.page(
            tables=[
                PaperTable(
                    title="Depth of stacks that do not breathe (Table 2)",
                    rows=table_rows({**classical, **networks}),
                    paper={name: dict(zip(METRICS, numbers, strict=True)) for name, numbers in DEPTH.items()},
                    note="Ours in metres; the paper's are disparities of the 4-D light-field data, in pixels.",
                ),
                PaperTable(
                    title="Sharp images (Table 1)",
                    rows=table_rows(sharp),
                    paper={name: {"psnr": psnr, "ssim": ssim} for name, (psnr, ssim) in SHARP.items()},
                    note="The paper's numbers are of the 4-D light-field data.",
                ),
                PaperTable(title="Depth of stacks that breathe", rows=table_rows(moving), paper={}),
            ],
            relations=[*_better_than_classical(networks, classical), *_peers(networks, sharp), *_aligned(moving)],
            pictures=self.pictures({name: self.run(row, first) for name, row in (STILL | BREATHING).items()}),
        )


def _seeds(judged: Mapping[int, Mapping[str, Any]], row: str, metrics: tuple[str, ...]) -> dict[str, list[float]]:
    return columns_of(of_seeds(judged, f"{row}-{{seed}}"), metrics)


Found = Mapping[str, Mapping[str, list[float]]]


def _better_than_classical(networks: Found, classical: Found) -> list[Relation]:
    better = networks["DfF network"]["rmse"]
    return [
        # A classical method has no seeds: it gives the same number whatever the network's is.
        Relation(text=f"RMSE: DfF network below {name}", better=better, worse=numbers["rmse"] * len(better))
        for name, numbers in classical.items()
    ]


def _peers(networks: Found, sharp: Found) -> list[Relation]:
    ours, theirs = "DfF network, unsupervised", "AiFDepthNet, unsupervised"
    return [
        Relation(
            text="MAE: DfF network below AiFDepthNet, both unsupervised",
            better=networks[ours]["mae"],
            worse=networks[theirs]["mae"],
            paper=(DEPTH[ours][0], DEPTH[theirs][0]),
        ),
        Relation(
            text="SSIM of sharp images: DfF network above AiFDepthNet",
            better=sharp[ours]["ssim"],
            worse=sharp[theirs]["ssim"],
            paper=(SHARP[ours][1], SHARP[theirs][1]),
            higher=True,
        ),
    ]


def _aligned(moving: Found) -> list[Relation]:
    without, breathing, aligned = BREATHING
    return [
        Relation(
            text=f"RMSE on breathing stacks: {aligned} below {worse}",
            better=moving[aligned]["rmse"],
            worse=moving[worse]["rmse"],
        )
        for worse in (without, breathing)
    ]
