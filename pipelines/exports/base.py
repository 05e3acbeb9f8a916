"""What all layouts share: what is exported, a sample of it, and the steps in which a layout is written."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

import numpy as np
import numpy.typing as npt

from ... import InputError
from ...synth.recipe import Recipe
from ...synth.store import Store
from .kinds import Kind

Arrays = dict[str, npt.NDArray[Any]]
Files = list[tuple[str, bytes]]
"""Paths relative to the export's folder, with slashes, and contents."""
Beyond = Literal["refuse", "unknown"]
Images = Literal["png", "jpg"]
LOOKED_AT = 16
"""Samples of each split that are looked at before anything is written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Choices that some layouts leave.

    Attributes
    ----------
    depth_unit
        Metres that one number of a 16-bit depth map means.
    beyond
        What to do with depth that 16 bits cannot hold in that unit: "refuse", or write it as "unknown".
    images
        Format of pictures where loaders read either: "png" loses nothing, "jpg" is read by more of them.
    shard_bytes
        Most bytes of arrays in one tar file, as they are before compression.
    """

    depth_unit: float = 0.001
    beyond: Beyond = "refuse"
    images: Images = "png"
    shard_bytes: float = 256e6

    def __post_init__(self) -> None:
        for name, kinds in (("beyond", Beyond), ("images", Images)):
            if getattr(self, name) not in get_args(kinds):
                raise InputError(f"{name} must be one of {', '.join(get_args(kinds))}, not {getattr(self, name)!r}.")
        if not 1e-6 <= self.depth_unit <= 1:
            raise InputError(f"a unit of depth is between 1 um and 1 m, not {self.depth_unit:g} m.")
        if not 1e3 <= self.shard_bytes <= 1e12:
            raise InputError(f"a tar file takes between 1 kB and 1 TB of arrays, not {self.shard_bytes:g} bytes.")

    @classmethod
    def of(cls, kind: Kind, given: Mapping[str, Any]) -> "Options":
        """Take what was chosen for a kind; None counts as not chosen.

        Raises
        ------
        InputError
            If a choice does not concern it.
        """
        chosen = {name: value for name, value in given.items() if value is not None}
        for name in chosen:
            if name not in {one.name for one in fields(cls)}:
                raise InputError(f"exports have no option {name!r}: use {', '.join(one.name for one in fields(cls))}.")
            if name not in kind.options:
                own = f"it has {', '.join(map(_flag, kind.options))}" if kind.options else "it has none"
                raise InputError(f"{_flag(name)} does not concern the layout {kind.name}: leave it out, {own}.")
        return cls(**chosen)


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


@dataclass(frozen=True)
class Job:
    """What is exported.

    Attributes
    ----------
    store
        The dataset.
    kind
        The layout.
    splits
        Name there of each split that is exported, by its name in the store, in their order.
    counts
        Samples of each, by its name in the store.
    options
        Choices.
    """

    store: Store
    kind: Kind
    splits: dict[str, str]
    counts: dict[str, int]
    options: Options = field(default_factory=Options)

    @property
    def recipe(self) -> Recipe:
        """Recipe of the dataset."""
        return self.store.recipe

    @property
    def total(self) -> int:
        """Samples in all."""
        return sum(self.counts.values())

    @property
    def arrays(self) -> tuple[str, ...]:
        """Arrays that are read."""
        return tuple(name for name in self.kind.arrays if name in self.recipe.arrays)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width, pixels."""
        height, width = next(iter(self.store.facts.values()))["image_size"]
        return int(height), int(width)

    @property
    def slices(self) -> int:
        """Slices of a stack; 1 where there is none."""
        return self.recipe.stack.count if self.recipe.stack else 1

    def numbered(self, slice_: int) -> str:
        """Return the number of a slice with as many digits as all have, at least two."""
        return f"{slice_:0{max(2, len(str(self.slices - 1)))}d}"

    def count_of(self, name: str) -> int:
        """Return the samples of the split that has a name in the export; 0 if none has."""
        return sum(self.counts[split] for split, there in self.splits.items() if there == name)

    def first_rows(self, name: str) -> Iterator[npt.NDArray[Any]]:
        """Yield an array of the first few samples of each split."""
        for split, count in self.counts.items():
            yield from np.asarray(self.store.array(split, name)[: min(count, LOOKED_AT)])


@dataclass(frozen=True)
class Sample:
    """One sample of an export.

    Attributes
    ----------
    place
        Its number in the export, from 0.
    place_in_split
        Its number among those of its split.
    split
        Its split, as the export names it.
    index
        Its number in the recipe.
    arrays
        What the layout takes of it.
    facts
        Its line in `samples.jsonl`, without what the layout adds.
    """

    place: int
    place_in_split: int
    split: str
    index: int
    arrays: Arrays
    facts: dict[str, Any]

    @property
    def name(self) -> str:
        """Its number in the recipe with eight digits, so that names sort as numbers do."""
        return f"{self.index:08d}"

    def near_first(self) -> npt.NDArray[np.intp]:
        """Return the numbers of its slices, nearest focus first; slices of one distance keep their order."""
        return np.argsort(self.arrays["focus"], kind="stable")


class Layout(ABC):
    """Writes the samples of an export.

    `check` is called first, then `begin`, `encode` and `put` for each sample, `finish`, and `close` in any case.
    `encode` may run in several threads at once; all else runs in one.
    """

    KIND: ClassVar[Kind]

    def __init__(self, job: Job, folder: Path) -> None:
        self.job, self.folder = job, folder

    def check(self) -> list[str]:
        """Return what whoever exports should know, one sentence each; writes nothing.

        Raises
        ------
        InputError
            If the layout cannot hold the dataset.
        """
        return []

    def begin(self, done: int) -> None:  # noqa: B027
        """Get ready to write, so many samples being there from an earlier run."""

    def label(self, sample: Sample) -> str:
        """Return what a sample is called in the layout, for `samples.jsonl`."""
        return sample.name

    @abstractmethod
    def encode(self, sample: Sample) -> Files:
        """Return the files of a sample.

        Raises
        ------
        InputError
            If the layout cannot hold it.
        """

    def put(self, sample: Sample, files: Files) -> list[Path]:
        """Write a sample; return the files that are complete by now and were not before."""
        paths = []
        for name, content in files:
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            paths.append(path)
        return paths

    @property
    def at_rest(self) -> bool:
        """Whether all samples so far lie in complete files, so that a later run can go on from here."""
        return True

    def finish(self) -> None:  # noqa: B027
        """Complete what all samples share."""

    def close(self) -> None:  # noqa: B027
        """Let go of open files, whether or not all samples are written."""

    def facts(self) -> dict[str, Any]:
        """Return what the layout has in common for all samples, JSON data."""
        return {}

    def reading(self) -> list[str]:
        """Return how its loaders are told of it, a sentence or a line of code each, for the export's README."""
        return []


def one_aperture(job: Job) -> None:
    """Check that a stack is focused again and again through one aperture.

    Raises
    ------
    InputError
        If its slices are a grid of distances and f-numbers.
    """
    stack = job.recipe.stack
    if stack is not None and stack.f_numbers and len(stack.f_numbers) > 1:
        raise InputError(
            f"{job.kind.name} has slices of one aperture, and {job.store.path} has {len(stack.f_numbers)} of each "
            f"focus "
            "distance: generate it with one of stack.f_numbers, or export it as zedd."
        )


def common(job: Job, name: str, what: str) -> npt.NDArray[Any]:
    """Return an array that is the same in all samples, as far as the first ones tell; see `same`.

    Raises
    ------
    InputError
        If it is not.
    """
    rows = job.first_rows(name)
    first = next(rows)
    for row in rows:
        same(job, first, row, what)
    return first


def same(job: Job, first: npt.NDArray[Any], row: npt.NDArray[Any], what: str) -> None:
    """Check that an array of a sample is that of the first one.

    Raises
    ------
    InputError
        If it is not.
    """
    if not np.array_equal(first, row):
        raise InputError(
            f"{job.kind.name} has the same {what} for all samples, and those of {job.store.path} differ: generate it "
            "without drawing them, or export it as folder or webdataset."
        )


def spoken(value: npt.NDArray[Any] | np.floating[Any] | float) -> str:
    """Write a number of float32 as it is spoken, in the fewest digits that give it back: 0.1, not 0.10000000149.

    Unlike `str`, it does not depend on how a program has set up NumPy's printing.
    """
    return np.format_float_positional(np.float32(value), unique=True, trim="0")
