"""D3-Net: does defocus help a network to tell depth from one picture? Table 1, its errors over depth, uncertainty."""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ...evaluate.paper_page import PaperCurves, PaperTable, Reproduction
from ...evaluate.relations import Relation
from ...evaluate.tables import TableRow
from ..steps import Evaluate, Step, Train
from .base import Paper, Scale, Sizes, changes, columns_of
from .d3net_real import RealPart, RealSizes

TITLE = "Depth from defocus by D3-Net"
CITATION = (
    "Deep Depth from Defocus: how can defocus blur improve 3D estimation using dense neural networks? Sharp against "
    "defocused pictures (Table 1), error over depth (Figure 7) and uncertainty (section 3.4)."
)
METRICS = ("abs_rel", "log10", "rmse", "rmse_log", "delta1", "delta2", "delta3")
NAN = math.nan
SHARP = "all-in-focus"
ZHUO = "Zhuo and Sim, 8 m focus"
TABLE = {
    SHARP: (0.226, NAN, 0.706, NAN, 0.658, 0.892, 0.967),
    "2 m focus": (0.068, 0.028, 0.274, 0.110, 0.961, 0.990, 0.996),
    "4 m focus": (0.085, 0.036, 0.398, 0.125, 0.925, 0.990, 0.998),
    "8 m focus": (0.060, NAN, 0.324, NAN, 0.952, 0.991, 0.999),
    ZHUO: (0.273, NAN, 0.981, NAN, 0.517, 0.831, 0.951),
}
"""Table 1, percents as shares. Trouvé's method is not here, nor are the data of Anwar et al.: their blur is of no
camera."""
ROWS = {SHARP: ("sharp", "2m"), "2 m focus": ("focus-2m", "2m"), "4 m focus": ("focus-4m", "4m"),
        "8 m focus": ("focus-8m", "8m")}  # fmt: skip
"""What is trained: the folders of its runs, and the focus of the captures that it is trained on and judged by."""
FOCUSED = [name for name in ROWS if name != SHARP]
NEAR = 3.0
"""Metres: up to there the paper finds all focus distances alike."""


@dataclass(frozen=True, slots=True, kw_only=True)
class D3NetSizes(Sizes):
    """What a scale is made of.

    Attributes
    ----------
    config
        What all rows are trained by.
    samples
        Predictions with dropout, for uncertainty.
    real
        What is done with real photographs, where they are given.
    """

    config: str
    samples: int
    real: RealSizes


_PIXELS = "camera.pixel_pitch=11.2 um"
"""Twice the size, and a quarter of the frame taken: blur is half as wide in pixels as in the paper's."""
_NARROW = (
    "data.crop=[64, 64]",
    "target.kind=depth",
    "target.span=[0.0, 5.0]",
    "model.dropout=0.2",
    "data.validation_split=val",
)
"""Of the small U-Net that stands in for D3-Net on CPUs, whose target and loss it has."""
SIZES: dict[Scale, D3NetSizes] = {
    "smoke": D3NetSizes(
        scenes=changes("scenes.count=24", "scenes.size=[64, 96]", _PIXELS,
                       "output.splits={ train = 0.6, val = 0.15, test = 0.25 }"),
        training=changes("run.steps=10", "data.batch_size=8", *_NARROW),
        variant="-smoke", config="unet-smoke", samples=3, seeds=(0,), judged=4,
        real=RealSizes(
            size=changes("scenes.size=[96, 144]", "camera.pixel_pitch=161.2 um"),
            scenes=changes("scenes.count=16", "output.splits={ train = 0.8, val = 0.2 }"),
            photographs=changes("scenes.count=16"), pairs=2,
            training=changes("run.steps=6", "data.batch_size=8", *_NARROW),
            tuning=changes("run.steps=4", "data.batch_size=8", *_NARROW),
        ),
    ),
    "small": D3NetSizes(
        scenes=changes("scenes.count=800", "scenes.size=[120, 160]", _PIXELS,
                       "output.splits={ train = 0.86, val = 0.04, test = 0.1 }"),
        training=changes("run.steps=2000", "run.validate_every=500", "run.ema=0.99", *_NARROW),
        variant="-smoke", config="unet-smoke", samples=20, seeds=(0, 1, 2), judged=60,
        real=RealSizes(
            # Half the pixels of the photographs along a side.
            size=changes("scenes.size=[216, 320]", "camera.pixel_pitch=72 um"),
            scenes=changes("scenes.count=400", "output.splits={ train = 0.95, val = 0.05 }"),
            photographs=(), pairs=20,
            training=changes("run.steps=2000", "run.validate_every=500", "run.ema=0.99", *_NARROW),
            tuning=changes("run.steps=400", "run.validate_every=100", "optimiser.rate=5e-4", *_NARROW),
        ),
    ),
    "full": D3NetSizes(
        # As many scenes as NYUv2 has for training and for testing: 795 and 654.
        scenes=changes("scenes.count=1449", "output.splits={ train = 0.5, val = 0.05, test = 0.45 }"),
        training=changes("data.validation_split=val"),
        variant="", config="d3net", samples=50, seeds=(0, 1, 2), judged=654,
        real=RealSizes(
            size=changes("scenes.size=[432, 640]"),
            scenes=changes("scenes.count=1449", "output.splits={ train = 0.95, val = 0.05 }"),
            photographs=(), pairs=110,
            training=changes("data.validation_split=val"),
            # As many times over the photographs as the public code goes over them.
            tuning=changes("run.epochs=3000", "data.validation_split=val"),
        ),
    ),
}  # fmt: skip


class D3Net(Paper):
    """One network on sharp pictures, and on captures focused at three distances."""

    name = "d3net"
    title, citation, scales = TITLE, CITATION, SIZES

    sizes: D3NetSizes
    takes: ClassVar[Mapping[str, str]] = {
        "real": "real photographs (Table 2) and the physical check, on the DSLR pairs"
    }

    def last(self) -> str:
        """Tell of the physical check, which is of photographs alone."""
        return "With the page comes the physical check of the photographs." if self.real else ""

    @property
    def real(self) -> RealPart | None:
        """The part on real photographs; None where they are not given."""
        if "real" not in self.given:
            return None
        return RealPart(self.out, self.given["real"], self.sizes.real, self.sizes.config, self.seeds, self.run)

    def check(self) -> None:
        """Refuse scenes and photographs that cannot be read before anything is begun.

        Raises
        ------
        InputError
            If they cannot.
        """
        if self.real:
            self.real.check()
        super().check()

    def _captures(self, focus: str) -> Path:
        return self.out / f"captures-{focus}"

    def _train(self, row: str, seed: int) -> Train:
        folder, focus = ROWS[row]
        options = ("--seed", str(seed), *self.sizes.training, *(changes("data.input=aif") if row == SHARP else ()))
        return Train(self.sizes.config, self._captures(focus), self.run(folder, seed), options)

    @property
    def steps(self) -> list[Step]:
        """Everything that is done, in order."""
        arrays = changes('output.arrays=["aif", "depth", "capture"]')
        focuses = list(dict.fromkeys(focus for _, focus in ROWS.values()))
        return [
            *(self.generate(f"d3net-{focus}", f"captures-{focus}", *arrays) for focus in focuses),
            *(self._train(row, seed) for seed in self.seeds for row in ROWS),
            *(self._report(focus, seed) for seed in self.seeds for focus in focuses),
            *(self.real.steps if self.real else ()),
        ]

    def _report(self, focus: str, seed: int) -> Evaluate:
        runs = tuple(self.run(folder, seed) for folder, of in ROWS.values() if of == focus)
        options = [*self.unseen, "--dropout-samples", str(self.sizes.samples)]
        # It has no seeds.
        options += ["--baseline", "zhuo-sim"] if focus == "8m" and seed == self.seeds[0] else []
        return Evaluate(runs, self._captures(focus), self.out / f"report-{focus}-{seed}", tuple(options))

    def _judged(self, row: str) -> list[Mapping[str, Any]]:
        """Return what was found of a row, for each seed."""
        folder, focus = ROWS[row]
        return [self._report(focus, seed).judged()[f"{folder}-{seed}"] for seed in self.seeds]

    def found(self) -> Reproduction:
        """Gather what the reports say."""
        judged = {row: self._judged(row) for row in ROWS}
        zhuo = self._report("8m", self.seeds[0]).judged()["zhuo-sim"]
        numbers = {row: columns_of(found, METRICS) for row, found in judged.items()}
        numbers[ZHUO] = columns_of([zhuo], METRICS)
        curves = {row: [DepthCurve.of(one) for one in found] for row, found in judged.items()}
        doubt = {row: [one["uncertainty"] for one in found] for row, found in judged.items()}
        tables, relations, pictures = self.real.tables() if self.real else ([], [], [])
        drawn = self.pictures({row: self.run(folder, self.seeds[0]) for row, (folder, _) in ROWS.items()})
        return self.page(
            tables=[_table(numbers), _by_depth(curves), _doubts(doubt), *tables],
            relations=[*_table_relations(numbers), *_depth_relations(curves), *_doubt_relations(doubt), *relations],
            curves=[_figure(curves)],
            pictures=[*drawn, *pictures],
        )


@dataclass(frozen=True, eq=False, slots=True)
class DepthCurve:
    """Squared error in bins of true depth.

    Attributes
    ----------
    edges
        float64 (N + 1,), m.
    pixels, squares
        float64 (N,): pixels of each bin, and the sum of their squared errors in m^2.
    """

    edges: np.ndarray[Any, np.dtype[np.float64]]
    pixels: np.ndarray[Any, np.dtype[np.float64]]
    squares: np.ndarray[Any, np.dtype[np.float64]]

    @classmethod
    def of(cls, judged: Mapping[str, Any]) -> "DepthCurve":
        """Return that of a run, as an evaluation's `scores.json` has it."""
        curve = judged["depth"]["error over depth"]
        # A bin without pixels has no error.
        rmse = np.array([0.0 if value is None else value for value in curve["rmse"]])
        pixels = np.array(curve["pixels"], np.float64)
        return cls(np.array(curve["edges"], np.float64), pixels, pixels * rmse**2)

    @property
    def rmse(self) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Of each bin, float64 (N,) m; NaN of an empty one."""
        with np.errstate(invalid="ignore"):
            return np.asarray(np.sqrt(self.squares / np.where(self.pixels, self.pixels, np.nan)), np.float64)

    @property
    def split(self) -> int:
        """First bin that begins at `NEAR` or beyond."""
        return int(np.searchsorted(self.edges[:-1], NEAR))

    def within(self, first: int, last: int) -> float:
        """RMSE in m of bins `first` to `last`, the last one excluded; NaN without pixels."""
        pixels = self.pixels[first:last].sum()
        return math.sqrt(self.squares[first:last].sum() / pixels) if pixels else NAN

    @property
    def near(self) -> float:
        """RMSE in m of the bins before `split`."""
        return self.within(0, self.split)

    @property
    def far(self) -> float:
        """RMSE in m of the others."""
        return self.within(self.split, len(self.pixels))


Curves = Mapping[str, Sequence[DepthCurve]]
Numbers = Mapping[str, Mapping[str, list[float]]]
Doubts = Mapping[str, Sequence[Mapping[str, float]]]


def _table(numbers: Numbers) -> PaperTable:
    return PaperTable(
        title="Depth of unseen scenes (Table 1)",
        rows=[TableRow(name=row, values=numbers[row]) for row in TABLE],
        paper={
            row: {metric: value for metric, value in zip(METRICS, values, strict=True) if not math.isnan(value)}
            for row, values in TABLE.items()
        },
        note="The paper's numbers are of NYUv2 with synthetic blur. Its rows of Trouvé et al. and of the data of Anwar "
        "et al. are left out: those are not of this network, or of no camera.",
    )


def _by_depth(curves: Curves) -> PaperTable:
    split = curves[SHARP][0].edges[curves[SHARP][0].split]
    return PaperTable(
        title="RMSE over true depth (Figure 7)",
        rows=[
            TableRow(
                name=row,
                values={f"up to {split:.2g} m [m]": [one.near for one in found],
                        f"beyond {split:.2g} m [m]": [one.far for one in found]},
            )
            for row, found in curves.items()
        ],
        paper={},
        note="Over all pixels of the unseen scenes. The paper gives a figure without numbers.",
    )  # fmt: skip


def _figure(curves: Curves) -> PaperCurves:
    first = curves[SHARP][0]
    middles = np.sqrt(first.edges[1:] * first.edges[:-1])
    return PaperCurves(
        title="RMSE [m] over true depth (Figure 7)",
        note="Mean over seeds. Bars: share of the unseen pixels.",
        x_title="true depth [m]",
        lines={row: (middles, np.mean([one.rmse for one in found], axis=0)) for row, found in curves.items()},
        edges=first.edges,
        share=first.pixels / first.pixels.sum(),
    )


def _doubts(doubt: Doubts) -> PaperTable:
    return PaperTable(
        title="Uncertainty by dropout (section 3.4)",
        rows=[
            TableRow(
                name=row,
                values={"ause": [one["ause"] for one in found], "aurg": [one["aurg"] for one in found],
                        "uncertainty, RMS [m]": [one["root mean square"] for one in found]},
            )
            for row, found in doubt.items()
        ],
        paper={},
        note="The paper shows maps and gives no numbers. AURG is above 0 where pixels of more uncertainty are those of "
        "more error.",
    )  # fmt: skip


def _table_relations(numbers: Numbers) -> list[Relation]:
    pairs = [(row, SHARP) for row in FOCUSED] + [("2 m focus", row) for row in FOCUSED[1:]]
    pairs += [("8 m focus", "4 m focus"), ("8 m focus", ZHUO)]
    place, found = METRICS.index("rmse"), []
    for better, worse in pairs:
        ours, theirs = numbers[better]["rmse"], numbers[worse]["rmse"]
        found.append(
            Relation(
                text=f"RMSE: {better} below {worse}",
                better=ours,
                # A classical method gives the same number whatever the network's seed is.
                worse=theirs * len(ours) if worse == ZHUO else theirs,
                paper=(TABLE[better][place], TABLE[worse][place]),
            )
        )
    return found


def _depth_relations(curves: Curves) -> list[Relation]:
    first = curves[SHARP][0]
    limit = f"{first.edges[first.split]:.2g} m"
    focal = int(np.searchsorted(first.edges, 2.0, side="right")) - 1
    sharp = curves[SHARP]
    wanted = [
        (f"RMSE over depth, {row}: lower up to {limit} than beyond",
         [one.near for one in curves[row]], [one.far for one in curves[row]])
        for row in FOCUSED
    ]  # fmt: skip
    wanted += [
        (f"RMSE beyond {limit}: 2 m focus below {row}",
         [one.far for one in curves["2 m focus"]], [one.far for one in curves[row]])
        for row in FOCUSED[1:]
    ]  # fmt: skip
    wanted += [
        (f"share of the RMSE of sharp pictures that is left, {row}: less up to {limit} than beyond",
         [one.near / other.near for one, other in zip(curves[row], sharp, strict=True)],
         [one.far / other.far for one, other in zip(curves[row], sharp, strict=True)])
        for row in FOCUSED
    ]  # fmt: skip
    wanted += [
        (f"RMSE around the focal plane, {first.edges[focal]:.2g} to {first.edges[focal + 1]:.2g} m: 2 m focus below "
         f"{SHARP}",
         [one.within(focal, focal + 1) for one in curves["2 m focus"]],
         [one.within(focal, focal + 1) for one in sharp]),
    ]  # fmt: skip
    return [
        Relation(text=text, better=better, worse=worse)
        for text, better, worse in wanted
        # Of a few scenes a range of depths may have no pixels.
        if all(map(math.isfinite, itertools.chain(better, worse)))
    ]


def _doubt_relations(doubt: Doubts) -> list[Relation]:
    size = {row: [one["root mean square"] for one in found] for row, found in doubt.items()}
    gains = [
        Relation(
            text=f"AURG, {row}: above 0, which is chance",
            better=[one["aurg"] for one in found],
            worse=[0.0] * len(found),
            higher=True,
        )
        for row, found in doubt.items()
    ]
    return [
        *gains,
        Relation(text=f"uncertainty: 2 m focus below {SHARP}", better=size["2 m focus"], worse=size[SHARP]),
    ]
