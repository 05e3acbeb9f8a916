"""Relations that a paper's numbers obey, and whether ours do: beyond the spread over seeds, within it or not."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from .. import InputError

Numbers = Sequence[float]


@dataclass(frozen=True, kw_only=True)
class Relation:
    """One row is better than another.

    Parameters
    ----------
    text
        What is claimed, as a sentence.
    better, worse
        Ours, a number for each seed, of the row that should be better and of the one that should be worse.
    paper
        The paper's numbers of the same two rows; None where it gives none.
    higher
        Whether higher numbers are better.

    Raises
    ------
    InputError
        If a row has no number, or one that is none.
    """

    text: str
    better: Numbers
    worse: Numbers
    paper: tuple[float, float] | None = None
    higher: bool = False

    def __post_init__(self) -> None:
        for numbers in (self.better, self.worse):
            if not numbers or not all(map(math.isfinite, numbers)):
                raise InputError(f"the relation {self.text!r} needs finite numbers on both sides, not {list(numbers)}.")

    @property
    def seeds(self) -> int:
        """Seeds behind the row that has fewer."""
        return min(len(self.better), len(self.worse))

    @property
    def _sign(self) -> float:
        return 1.0 if self.higher else -1.0

    @property
    def gain(self) -> float:
        """By how much the mean of one is better than that of the other; negative if it is worse."""
        return self._sign * (statistics.fmean(self.better) - statistics.fmean(self.worse))

    @property
    def spread(self) -> float | None:
        """Sum of both standard deviations over seeds (n - 1); None with fewer than two seeds."""
        if self.seeds < 2:
            return None
        return statistics.stdev(self.better) + statistics.stdev(self.worse)

    @property
    def verdict(self) -> str:
        """One of "holds", "within the spread", "one seed" (better, with no spread known) and "does not hold"."""
        if self.gain <= 0:
            return "does not hold"
        if self.spread is None:
            return "one seed"
        return "holds" if self.gain > self.spread else "within the spread"

    @property
    def won(self) -> int | None:
        """Seeds with which one row is better than the other; None with fewer than two, or not the same number of each.

        Runs of one seed begin with the same weights where their networks are alike, and see scenes in the same order: a
        lucky or unlucky beginning is in both rows' spreads, and not in their difference.
        """
        if self.seeds < 2 or len(self.better) != len(self.worse):
            return None
        return sum(self._sign * (one - other) > 0 for one, other in zip(self.better, self.worse, strict=True))

    @property
    def holds(self) -> bool:
        """Whether it holds beyond the spread."""
        return self.verdict == "holds"
