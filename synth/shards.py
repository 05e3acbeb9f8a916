"""Shards: runs of samples that are made, written and committed as a whole, and how a dataset is divided into them.

Nothing here grows with the number of samples, as long as the scenes are made and not listed: a dataset of millions is
dealt to its splits again, block by block, whenever a part of it is asked for.
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np
import numpy.typing as npt

from .arrays import shard_samples
from .samples import SampleMaker

BLOCK = 1 << 16
"""Samples that are dealt to their splits at once."""
KEPT_BLOCKS = 4

Int64 = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Shard:
    """A run of samples of one split that is made, written and committed as a whole.

    Attributes
    ----------
    split
        Its split.
    number
        Its number within the split.
    first_row
        Row of its first sample within the split.
    samples
        Numbers of its samples in the recipe.
    """

    split: str
    number: int
    first_row: int
    samples: tuple[int, ...]

    @property
    def name(self) -> str:
        """Name of the shard and of its marker."""
        return f"{self.split}-{self.number:06d}"


class Shards(Sequence[Shard]):
    """The shards of a dataset in order, split by split, or some of them: a slice has the same type.

    Attributes
    ----------
    maker
        What makes the samples.
    per_shard
        Samples in a shard; the last of a split may have fewer.
    lengths
        Number of samples of each split that has any, in the order of the recipe's splits.

    Parameters
    ----------
    maker
        What makes the samples.
    chosen
        Numbers of the shards, in order; all if left out.
    """

    def __init__(self, maker: SampleMaker, chosen: range | None = None, whole: "Shards | None" = None) -> None:
        self.maker = maker
        if whole is None:
            self.per_shard = shard_samples(maker.recipe, maker.size, maker.count)
            self._recent: dict[int, dict[str, Int64]] = {}
            self._before = self._count()
            self.lengths = {split: int(before[-1]) for split, before in self._before.items()}
            self._shards = {split: -(-length // self.per_shard) for split, length in self.lengths.items()}
        else:
            self.__dict__.update(whole.__dict__)
        self._chosen = range(sum(self._shards.values())) if chosen is None else chosen

    def _count(self) -> dict[str, Int64]:
        """For each split, how many of its samples come before each block, and in all."""
        blocks = -(-self.maker.count // BLOCK)
        counts: dict[str, Int64] = {}
        for block in range(blocks):
            for split, members in self._block(block).items():
                counts.setdefault(split, np.zeros(blocks + 1, np.int64))[block + 1] = len(members)
        return {split: counts[split].cumsum() for split in self.maker.recipe.ordered_splits(counts)}

    def _block(self, block: int) -> dict[str, Int64]:
        if block not in self._recent:
            while len(self._recent) >= KEPT_BLOCKS:
                del self._recent[next(iter(self._recent))]
            first = block * BLOCK
            self._recent[block] = self.maker.deal(first, min(first + BLOCK, self.maker.count))
        return self._recent[block]

    def members(self, split: str, first: int, last: int) -> Int64:
        """Return the sample numbers of rows `first` to `last`, exclusive, of a split; they ascend."""
        before = self._before[split]
        start, stop = bisect_right(before, first) - 1, bisect_right(before, last - 1) - 1
        offset = int(before[start])
        if start == stop:
            return self._block(start)[split][first - offset : last - offset]
        nothing = np.zeros(0, np.int64)
        found = np.concatenate([self._block(block).get(split, nothing) for block in range(start, stop + 1)])
        return found[first - offset : last - offset]

    def __len__(self) -> int:
        return len(self._chosen)

    @overload
    def __getitem__(self, key: int) -> Shard: ...

    @overload
    def __getitem__(self, key: slice) -> "Shards": ...

    def __getitem__(self, key: int | slice) -> "Shard | Shards":
        if isinstance(key, slice):
            return Shards(self.maker, self._chosen[key], self)
        split, number = self._place(self._chosen[key])
        first = number * self.per_shard
        last = min(first + self.per_shard, self.lengths[split])
        return Shard(split, number, first, tuple(self.members(split, first, last).tolist()))

    def _place(self, number: int) -> tuple[str, int]:
        for split, count in self._shards.items():
            if number < count:
                return split, number
            number -= count
        raise IndexError(number)

    @property
    def samples(self) -> int:
        """Number of samples in these shards."""
        if len(self._chosen) == sum(self._shards.values()):
            return self.maker.count
        total = 0
        for split, number in map(self._place, self._chosen):
            total += min(self.per_shard, self.lengths[split] - number * self.per_shard)
        return total

    @property
    def whole(self) -> bool:
        """Whether these are all shards of the dataset."""
        return len(self._chosen) == sum(self._shards.values())

    def of(self, split: str) -> "Shards":
        """Return all shards of a split."""
        first = 0
        for name, count in self._shards.items():
            if name == split:
                return Shards(self.maker, range(first, first + count), self)
            first += count
        raise KeyError(split)

    def all(self) -> "Shards":
        """Return all shards of the dataset."""
        return Shards(self.maker, None, self)

    def by_sample(self) -> Iterator[tuple[int, str]]:
        """Yield every sample of the dataset in order, with its split."""
        for block in range(-(-self.maker.count // BLOCK)):
            dealt = self._block(block)
            splits = list(dealt)
            samples = np.concatenate([dealt[split] for split in splits])
            codes = np.repeat(np.arange(len(splits)), [len(dealt[split]) for split in splits])
            order = np.argsort(samples)
            yield from zip(samples[order].tolist(), (splits[code] for code in codes[order]), strict=True)
