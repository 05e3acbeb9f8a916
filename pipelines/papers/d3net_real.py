"""D3-Net on real photographs: trained on captures of the same camera, fine-tuned on its pairs (Table 2)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...evaluate.paper_page import PaperPicture, PaperTable
from ...evaluate.relations import Relation
from ...evaluate.tables import TableRow
from ...synth.readers.dslr import Dslr
from ..steps import Evaluate, Generate, Step, Train
from ..widened import GATHER, GAUSSIAN, NONE, OURS, SUM, WAYS, Widened, widen_pairs
from .base import changes, columns_of, table_rows

METRICS = ("abs_rel", "log10", "rmse", "rmse_log", "delta1", "delta2", "delta3")
TABLE = {
    "f/2.8, zero-shot": None,
    "f/2.8, fine-tuned": (0.157, 0.065, 0.546, 0.234, 0.809, 0.944, 0.976),
    "f/8, zero-shot": None,
    "f/8, fine-tuned": (0.225, 0.095, 0.730, 0.285, 0.602, 0.877, 0.980),
}
"""Table 2, percents as shares. Its row of resized pictures is of another way to train."""
ROWS = {"f/2.8, zero-shot": ("dslr-blurred", "blurred"), "f/2.8, fine-tuned": ("dslr-blurred-tuned", "blurred"),
        "f/8, zero-shot": ("dslr-sharp", "sharp"), "f/8, fine-tuned": ("dslr-sharp-tuned", "sharp")}  # fmt: skip
MEAN = "mean depth of all photographs"


@dataclass(frozen=True, slots=True, kw_only=True)
class RealSizes:
    """What a scale is made of.

    Attributes
    ----------
    size
        Options of `generate`: size of pictures, and that of pixels which belongs to it.
    scenes
        Options of `generate` for synthetic captures.
    photographs
        Options of `generate` for real ones.
    training, tuning
        Options of `train` on synthetic and on real captures.
    pairs
        How many are rendered through the wide aperture, at most.
    """

    size: tuple[str, ...]
    scenes: tuple[str, ...]
    photographs: tuple[str, ...]
    training: tuple[str, ...]
    tuning: tuple[str, ...]
    pairs: int


@dataclass(frozen=True, slots=True)
class RealPart:
    """The steps on real photographs, and what they show.

    Attributes
    ----------
    out
        Folder of everything.
    path
        Of the DSLR set.
    sizes
        How much of it.
    config
        What all rows are trained by.
    seeds
        Of the rows.
    run
        Gives the folder of a row's run of a seed.
    """

    out: Path
    path: Path
    sizes: RealSizes
    config: str
    seeds: tuple[int, ...]
    run: Callable[[str, int], Path]

    def _data(self, name: str) -> Path:
        return self.out / f"dslr-{name}-captures"

    def _photographs(self, variant: str) -> tuple[str, ...]:
        # Where the official test is missing, some of what is for training is kept for it.
        official = Dslr.has_part(self.path, "test")
        part = () if official else changes("scenes.part=train")
        splits = changes("output.splits={ train = 0.7, val = 0.1, test = 0.2 }")
        source = ("--scenes", f"dslr:{self.path}", *changes(f"scenes.variant={variant}"), *part, *splits)
        return (*self.sizes.size, *source, *self.sizes.photographs)

    def _generate(self, name: str, *options: str) -> Generate:
        return Generate("d3net-dslr", self._data(name), options)

    def _train(self, row: str, data: str, seed: int, *options: str) -> Train:
        return Train(self.config, self._data(data), self.run(row, seed), ("--seed", str(seed), *options))

    @property
    def steps(self) -> list[Step]:
        """Everything that is done, in order."""
        sharp, sizes = changes("data.input=aif"), self.sizes
        rows: list[Step] = []
        for seed in self.seeds:
            for kind, given in (("blurred", ()), ("sharp", sharp)):
                start = changes(f"run.start_from={self.run(f'dslr-{kind}', seed)}")
                rows += [
                    self._train(f"dslr-{kind}", "synthetic", seed, *sizes.training, *given),
                    self._train(f"dslr-{kind}-tuned", kind, seed, *sizes.tuning, *given, *start),
                ]
        arrays = changes('output.arrays=["aif", "depth", "capture"]')
        taken = changes("render.method=taken", 'output.arrays=["depth", "capture"]')
        return [
            self._generate("synthetic", *arrays, *sizes.size, *sizes.scenes),
            self._generate("blurred", *self._photographs("N2_8"), *taken),
            self._generate("sharp", *self._photographs("N8"), *changes('output.arrays=["aif", "depth"]')),
            *rows,
            *(self._report(kind, seed) for seed in self.seeds for kind in ("blurred", "sharp")),
        ]

    def _report(self, kind: str, seed: int) -> Evaluate:
        runs = tuple(self.run(folder, seed) for folder, of in ROWS.values() if of == kind)
        options = ["--split", "test"]
        options += ["--baseline", "mean-depth"] if kind == "blurred" and seed == self.seeds[0] else []
        return Evaluate(runs, self._data(kind), self.out / f"report-dslr-{kind}-{seed}", tuple(options))

    def check(self) -> None:
        """Refuse a path that is not the DSLR set.

        Raises
        ------
        InputError
            If it is not.
        """
        Dslr(path=self.path).scan()

    def tables(self) -> tuple[list[PaperTable], list[Relation], list[PaperPicture]]:
        """Return what the reports and the physical check say."""
        numbers = {
            row: columns_of([self._report(kind, seed).judged()[f"{folder}-{seed}"] for seed in self.seeds], METRICS)
            for row, (folder, kind) in ROWS.items()
        }
        mean = columns_of([self._report("blurred", self.seeds[0]).judged()["mean-depth"]], METRICS)
        table = PaperTable(
            title="Real photographs (Table 2)",
            rows=table_rows({**numbers, MEAN: mean}),
            paper={row: dict(zip(METRICS, paper, strict=True)) for row, paper in TABLE.items() if paper},
            note="The paper's test set has 29 photographs; where it is not given, a fifth of the others is kept for "
            "the test. Its networks were pretrained on NYUv2.",
        )
        pairs = self._pairs()
        return [table, _widened_table(pairs)], [*_relations(numbers), *_widened_relations(pairs)], _pictures(pairs)

    def _pairs(self) -> list[Widened]:
        reader = Dslr(path=self.path)
        found = len(reader.scan())
        places = np.unique(np.linspace(0, found - 1, min(self.sizes.pairs, found)).round().astype(int))
        return widen_pairs(reader, places.tolist())


def _relations(numbers: Mapping[str, Mapping[str, list[float]]]) -> list[Relation]:
    place, found = METRICS.index("rmse"), []
    for better, worse in (("f/2.8, fine-tuned", "f/8, fine-tuned"), ("f/2.8, zero-shot", "f/8, zero-shot"),
                          ("f/2.8, fine-tuned", "f/2.8, zero-shot")):  # fmt: skip
        ours, theirs = TABLE[better], TABLE[worse]
        found.append(
            Relation(
                text=f"RMSE of real photographs: {better} below {worse}",
                better=numbers[better]["rmse"],
                worse=numbers[worse]["rmse"],
                paper=(ours[place], theirs[place]) if ours and theirs else None,
            )
        )
    return found


def _widened_table(pairs: Sequence[Widened]) -> PaperTable:
    gains = [one.gain[OURS] for one in pairs]
    return PaperTable(
        title="The f/8 photograph rendered at f/2.8, against the real one",
        rows=[
            TableRow(
                name=name,
                values={"psnr": float(np.mean([one.psnr[name] for one in pairs])),
                        "ssim": float(np.mean([one.ssim[name] for one in pairs]))},
            )
            for name in WAYS
        ],
        paper={},
        note=f"Mean over {len(pairs)} pairs, without 16 pixels at each side. Exposure is aligned by one gain in linear "
        f"light for each pair and way, from {min(gains):.2f} to {max(gains):.2f}; the camera moved between the "
        f"photographs, by {np.mean([np.hypot(*one.shift) for one in pairs]):.2g} pixels in the mean, which is taken "
        "back. What f/8 blurs already is taken into account.",
    )  # fmt: skip


def _widened_relations(pairs: Sequence[Widened]) -> list[Relation]:
    return [
        Relation(
            text=f"PSNR gained by {OURS} over {name}, pair by pair, in dB: above 0",
            better=[one.psnr[OURS] - one.psnr[name] for one in pairs],
            worse=[0.0] * len(pairs),
            higher=True,
        )
        for name in (NONE, GAUSSIAN, SUM, GATHER)
    ]


def _pictures(pairs: Sequence[Widened]) -> list[PaperPicture]:
    shown = [name for name in WAYS if name not in (NONE, GAUSSIAN)]
    return [
        PaperPicture(
            caption=f"{one.name}, where most is hidden: through f/8; {'; '.join(shown)}; really through f/2.8",
            picture=one.tiles,
        )
        for one in pairs[:2]
    ]
