"""Does truth in rendering matter? One network, the same scenes, stacks by four renderers, judged by the exact one."""

import itertools
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ... import InputError
from ...evaluate.metrics import image_metrics
from ...evaluate.paper_page import PaperTable, Reproduction
from ...evaluate.relations import Relation
from ...evaluate.tables import TableRow
from ...synth.store import open_store
from ..steps import Evaluate, Generate, Step, Train
from .base import Paper, Scale, Sizes, changes, columns_of, table_rows

TITLE = "Does truth in rendering matter?"
CITATION = (
    "A study of ours, not a paper's: one network for focal stacks learns from the same scenes, rendered by four rules, "
    "and reads depth from stacks that are rendered exactly. There are no numbers to compare with; the "
    "relations say what one would expect if truth mattered."
)
RENDERERS = {
    "sum of slices (Eq. 7)": ("eq7", changes("render.model=eq7")),
    "gathered neighbours (FOSSA)": ("gather", changes("render.model=gather", "render.light=srgb")),
    "layers": ("layers", ()),
    "exact": ("exact", changes("render.method=exact")),
}
"""Rules of rendering, from the one that knows least of what hides what: the folders, and options of `generate`."""
TRUTH = "exact"
PARTS = ("silhouettes", "interiors")
WHOLE = "rmse"


_STILL = changes("stack.breathing=false")
_SPLITS = "output.splits={ train = 0.84, val = 0.06, test = 0.1 }"
SIZES: dict[Scale, Sizes] = {
    "smoke": Sizes(
        scenes=changes("scenes.count=16", "scenes.size=[64, 64]", "stack.slices=3", "render.samples=32",
                       "render.planes=16", "output.splits={ train = 0.6, val = 0.15, test = 0.25 }"),
        training=changes("run.steps=4", "data.validation_split=val"),
        variant="-smoke", seeds=(0,), judged=3,
    ),
    "small": Sizes(
        # Pixels of the paper's size: blur is as large in them, and a picture shows a third of its width.
        # 64 cells of the aperture are 64 dB from 256, in a quarter of the time.
        scenes=changes("scenes.count=500", "scenes.size=[96, 128]", "stack.slices=5", "render.samples=64",
                       "render.planes=32", _SPLITS),
        training=changes("run.steps=900", "run.validate_every=300", "data.validation_split=val",
                         'target={ kind = "depth" }'),
        variant="-smoke", seeds=(0, 1, 2), judged=50,
    ),
    "full": Sizes(
        scenes=changes("scenes.count=1449", "output.splits={ train = 0.85, val = 0.05, test = 0.1 }"),
        training=changes("data.validation_split=val"),
        variant="", seeds=(0, 1, 2), judged=145,
    ),
}  # fmt: skip


class Rendering(Paper):
    """The same training on stacks of four renderers, and all of them on exact ones."""

    name = "rendering"
    title, citation, scales = TITLE, CITATION, SIZES
    takes: ClassVar[Mapping[str, str]] = {
        "test": "error on stacks of another origin, path-traced or real, as a dataset of depth and stacks"
    }

    def _stacks(self, folder: str) -> Path:
        return self.out / f"{folder}-stacks"

    def _generate(self, folder: str, options: tuple[str, ...]) -> Generate:
        arrays = changes('output.arrays=["aif", "depth", "stack"]')
        return self.generate("dff-wild-pixel6", f"{folder}-stacks", *arrays, *_STILL, *options)

    def _train(self, folder: str, seed: int) -> Train:
        # All are judged on stacks of another maker.
        options = ("--seed", str(seed), *self.sizes.training, *changes("data.mixed_cameras=true"))
        return Train(f"dff-wild{self.sizes.variant}", self._stacks(folder), self.run(folder, seed), options)

    @property
    def steps(self) -> list[Step]:
        """Everything that is done, in order."""
        return [
            *(self._generate(folder, options) for folder, options in RENDERERS.values()),
            *(self._train(folder, seed) for seed in self.seeds for folder, _ in RENDERERS.values()),
            *(self._report(seed) for seed in self.seeds),
            *(self._report(seed, self.given["test"]) for seed in self.seeds if "test" in self.given),
        ]

    def _report(self, seed: int, test: Path | None = None) -> Evaluate:
        """Return the step that judges the runs of a seed, on exact stacks or on a dataset that was given."""
        runs = tuple(self.run(folder, seed) for folder, _ in RENDERERS.values())
        if test is None:
            return Evaluate(runs, self._stacks(TRUTH), self.out / f"report-{seed}", self.unseen)
        return Evaluate(runs, test, self.out / f"report-given-{seed}", ("--split", self._given_split))

    @cached_property
    def _given_split(self) -> str:
        # All of its first split if it has no test: nothing was learned from it.
        splits = open_store(self.given["test"]).splits
        return "test" if "test" in splits else next(iter(splits))

    def check(self) -> None:
        """Refuse scenes that cannot be read, and a test without stacks, before anything is begun.

        Raises
        ------
        InputError
            If they cannot, or it is no dataset.
        """
        if "test" in self.given:
            _check_test(self.given["test"])
        super().check()

    def found(self) -> Reproduction:
        """Gather what the reports say."""
        exact = _errors([self._report(seed).judged() for seed in self.seeds], self.seeds)
        tables = [
            PaperTable(
                title="Depth of exact stacks, by what was learned from",
                rows=table_rows(exact),
                paper={},
                note="RMSE is the mean over unseen scenes; of silhouettes (within 4 pixels of a jump of depth by a "
                "tenth) and interiors it is over all of their pixels.",
            )
        ]
        relations = _relations(exact, "exact stacks")
        if "test" in self.given:
            given = _errors([self._report(seed, self.given["test"]).judged() for seed in self.seeds], self.seeds)
            tables.append(PaperTable(title="Depth of the stacks that were given", rows=table_rows(given), paper={}))
            relations += _relations(given, "the stacks that were given")
        first = self.seeds[0]
        return self.page(
            tables=[*tables, self._fidelity()],
            relations=relations,
            pictures=self.pictures({name: self.run(folder, first) for name, (folder, _) in RENDERERS.items()}),
        )

    def _fidelity(self) -> PaperTable:
        """Compare the stacks of every renderer with the exact ones, slice by slice."""
        truth, rows = open_store(self._stacks(TRUTH)), []
        for name, (folder, _) in RENDERERS.items():
            if folder == TRUTH:
                continue
            store, found = open_store(self._stacks(folder)), []
            count = min(self.sizes.judged, int(truth.array("test", "index").shape[0]))
            for row in range(count):
                ours, true = (np.asarray(one.array("test", "stack")[row]) for one in (store, truth))
                most = np.iinfo(true.dtype).max
                found += [image_metrics(a / most, b / most) for a, b in zip(ours, true, strict=True)]
            rows.append(
                TableRow(name=name, values={m: float(np.mean([one[m] for one in found])) for m in ("psnr", "ssim")})
            )
        return PaperTable(
            title="Stacks, against the exact ones",
            rows=rows,
            paper={},
            note="Mean over the slices of unseen scenes, of pictures as they are stored.",
        )


def _check_test(path: Path) -> None:
    store = open_store(path)
    for name in ("stack", "depth"):
        if name not in store.recipe.arrays:
            raise InputError(f"{path} has no array {name!r}: give --test a dataset with stacks and depth.")


Errors = Mapping[str, Mapping[str, list[float]]]


def _errors(judged: Sequence[Mapping[str, Any]], seeds: Sequence[int]) -> Errors:
    """Return for each renderer the errors of each seed: of all, and in metres at silhouettes and elsewhere."""
    found: dict[str, dict[str, list[float]]] = {}
    for name, (folder, _) in RENDERERS.items():
        runs = [one[f"{folder}-{seed}"] for seed, one in zip(seeds, judged, strict=True)]
        found[name] = columns_of(runs, (WHOLE, "mae", "abs_rel"))
        for part in PARTS:
            numbers = [run["depth"][part]["rmse"] for run in runs]
            found[name][f"RMSE of {part} [m]"] = [value for value in numbers if value is not None]
    return found


def _relations(errors: Errors, where: str) -> list[Relation]:
    """Return every pair, the one that knows more of what hides what being expected to be better."""
    columns = {WHOLE: "RMSE", **{f"RMSE of {part} [m]": f"RMSE of {part}" for part in PARTS}}
    return [
        Relation(
            text=f"{words} on {where}: learned from {better} below {worse}",
            better=errors[better][column],
            worse=errors[worse][column],
        )
        for column, words in columns.items()
        for worse, better in itertools.combinations(RENDERERS, 2)
        if errors[better][column] and errors[worse][column]
    ]
