"""What the reproductions of all papers have in common."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

from ... import InputError
from ...evaluate.paper_page import PaperCurves, PaperPicture, PaperTable, Reproduction, duration
from ...evaluate.relations import Relation
from ...evaluate.tables import TableRow
from ...train.journal import machine
from ..steps import Generate, Step, numbers_of, read_times, spoken

Scale = Literal["smoke", "small", "full"]
TIMES = "times.json"
FEW = "output.splits={ train = 0.84, val = 0.06, test = 0.1 }"
"""How a few hundred scenes are shared out: enough are left to learn from, and to judge by."""


def changes(*given: str) -> tuple[str, ...]:
    """Return the options of a command that change its recipe or config."""
    return tuple(word for change in given for word in ("--set", change))


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """What a scale is made of.

    Attributes
    ----------
    scenes
        Options of `generate`, for all datasets alike.
    training
        Options of `train`.
    variant
        End of the names of the configs: "" or "-smoke".
    seeds
        Of the rows whose spread is told.
    judged
        Unseen scenes that are looked at.
    """

    scenes: tuple[str, ...]
    training: tuple[str, ...]
    variant: str
    seeds: tuple[int, ...]
    judged: int


class Paper(ABC):
    """A paper's systems as steps, and what they must show.

    Parameters
    ----------
    out
        Folder of everything that is made.
    scale
        How much of it.
    scenes
        Where scenes come from, as `generate --scenes` takes it; procedural ones if None.
    given
        More data, by the names of `takes`.
    seeds
        How many seeds rows have, from 0 on; None for as many as the scale has.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    citation: ClassVar[str]
    scales: ClassVar[Mapping[Scale, Sizes]]
    takes: ClassVar[Mapping[str, str]] = {}
    """Options of `reproduce` with data that a paper can do without, and what they bring."""

    def __init__(
        self, out: Path, scale: Scale, scenes: str | None = None, given: Mapping[str, Path] | None = None,
        seeds: int | None = None,
    ) -> None:  # fmt: skip
        self.out, self.scale, self.scenes, self.given = out, scale, scenes, dict(given or {})
        self.sizes = self.scales[scale]
        self._seeds = self.sizes.seeds if seeds is None else tuple(range(seeds))

    @property
    def seeds(self) -> tuple[int, ...]:
        """Seeds of the rows whose spread is told."""
        return self._seeds

    def run(self, row: str, seed: int) -> Path:
        """Return the folder of a row's run."""
        return self.out / f"{row}-{seed}"

    def generate(self, recipe: str, name: str, *options: str) -> Generate:
        """Return the step that makes a dataset, at this scale and of these scenes."""
        source = () if self.scenes is None else ("--scenes", self.scenes)
        return Generate(recipe, self.out / name, (*options, *self.sizes.scenes, *source))

    def last(self) -> str:
        """Return what is done when the page is written, beside the steps; "" if nothing is."""
        return ""

    @property
    def unseen(self) -> tuple[str, ...]:
        """Options of `evaluate`: what is judged."""
        return ("--split", "test", "--limit", str(self.sizes.judged))

    @property
    @abstractmethod
    def steps(self) -> list[Step]:
        """Everything that is done, in the order in which it is needed."""

    def check(self) -> None:
        """Refuse scenes that cannot be read before anything is begun.

        Raises
        ------
        InputError
            If they cannot.
        """
        for step in self.steps:
            if isinstance(step, Generate):
                step.check()
                return

    @abstractmethod
    def found(self) -> Reproduction:
        """Gather what the steps have left."""

    def times(self) -> dict[str, float]:
        """Return the seconds that each step took, by the name of what it left."""
        return read_times(self.out / TIMES)

    def facts(self) -> dict[str, str]:
        """Return what the page says of how the numbers came about."""
        about, taken = machine(), sum(self.times().values())
        return {
            "scale": self.scale + " (shows that everything runs; its numbers say nothing)" * (self.scale == "smoke"),
            "seeds": ", ".join(map(str, self.seeds)),
            "scenes": self.scenes or "procedural",
            **{name: str(path) for name, path in self.given.items()},
            "machine": f"{about['cores']} cores, {about['processor']}, {about['system']}",
            "time of all steps": duration(taken),
            "made with": f"defocal {about['defocal']}, torch {about['torch']}",
        }

    def missing(self) -> list[str]:
        """Return a sentence for each part that is left out for want of data."""
        return [
            f"Not here: {what}. Give --{name} PATH to the same command to add it."
            for name, what in self.takes.items()
            if name not in self.given
        ]

    def pictures(self, runs: Mapping[str, Path]) -> list[PaperPicture]:
        """Return what each run drew at its last validation, by what it is to be called.

        Raises
        ------
        InputError
            If a picture is damaged.
        """
        drawn = {name: sorted((run / "pictures").glob("step-*.png")) for name, run in runs.items()}
        return [PaperPicture(caption=name, picture=_picture(paths[-1])) for name, paths in drawn.items() if paths]

    def page(
        self, tables: Sequence[PaperTable], relations: Sequence[Relation], pictures: Sequence[PaperPicture],
        curves: Sequence[PaperCurves] = (),
    ) -> Reproduction:  # fmt: skip
        """Return what was found, with all that the pages of all papers say."""
        return Reproduction(
            title=self.title, paper=self.citation, facts=self.facts(), tables=tables, relations=relations,
            pictures=pictures, curves=curves, notes=self.missing(), commands=self.commands(),
        )  # fmt: skip

    def commands(self) -> list[tuple[str, float | None]]:
        """Return each step as it is typed on an empty folder, with the seconds that it took."""
        times = self.times()
        return [(spoken(step.fresh()), times.get(step.out.name)) for step in self.steps]


def _picture(path: Path) -> npt.NDArray[np.uint8]:
    try:
        return np.asarray(Image.open(path).convert("RGB"))
    except OSError:
        raise InputError(
            f"{path} is damaged: delete it and give the same command; the page then goes without it."
        ) from None


def columns_of(judged: Iterable[Mapping[str, Any]], metrics: Iterable[str]) -> dict[str, list[float]]:
    """Return metrics of a row of a table, a number for each of its seeds, of what was judged of these."""
    found = [numbers_of(one) for one in judged]
    return {metric: [numbers[metric] for numbers in found] for metric in metrics}


def of_seeds(judged: Mapping[int, Mapping[str, Any]], name: str) -> list[Mapping[str, Any]]:
    """Return what was judged of a row for each seed; `{seed}` in its name is replaced."""
    return [rows[name.format(seed=seed)] for seed, rows in judged.items()]


def table_rows(found: Mapping[str, Mapping[str, list[float]]]) -> list[TableRow]:
    """Return rows as tables have them, by their names."""
    return [TableRow(name=name, values=values) for name, values in found.items()]
