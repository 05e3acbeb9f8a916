"""Quantiles of depth and circle of confusion over every pixel of a dataset, exact and in little memory.

Depth is stored with 10 bits of mantissa and the circle of confusion as float16: every value that either can take has a
counter of its own.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Counts = npt.NDArray[np.int64]
_DROPPED = 13
"""Bits at the end of a stored depth that are zero: 23 of mantissa, 10 kept."""
_DEPTHS = (np.arange(1 << 19, dtype=np.uint32) << np.uint32(_DROPPED)).view(np.float32)
_COCS = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
HEADINGS = ("least", "5 %", "25 %", "median", "75 %", "95 %", "most")


@dataclass(frozen=True)
class Summary:
    """What a quantity is like over all pixels of a split, or of all.

    Attributes
    ----------
    quantity
        "depth in m" or "CoC in px".
    split
        The split, or "all".
    quantiles
        At `QUANTILES`, of known finite values: each is the value of some pixel. Empty if there is none.
    unknown
        Share of the pixels that is NaN.
    infinite
        Share of the pixels that is infinitely far.
    sharp
        Of the circle of confusion, the share of the known pixels within a pixel of zero; None of depth.
    """

    quantity: str
    split: str
    quantiles: tuple[float, ...]
    unknown: float
    infinite: float
    sharp: float | None = None


class Statistics:
    """Counts the values of depth and circle of confusion, split by split."""

    def __init__(self) -> None:
        self._depth: dict[str, Counts] = {}
        self._coc: dict[str, Counts] = {}

    def add(self, split: str, arrays: dict[str, npt.NDArray[Any]]) -> None:
        """Count the pixels of a sample, as it is stored."""
        if "depth" in arrays:
            codes = arrays["depth"].view(np.uint32).ravel() >> np.uint32(_DROPPED)
            self._count(self._depth, split, codes, len(_DEPTHS))
        if "coc" in arrays:
            self._count(self._coc, split, arrays["coc"].view(np.uint16).ravel(), len(_COCS))

    @staticmethod
    def _count(counts: dict[str, Counts], split: str, codes: npt.NDArray[Any], most: int) -> None:
        counts.setdefault(split, np.zeros(most, np.int64))
        counts[split] += np.bincount(codes, minlength=most)

    def summaries(self) -> list[Summary]:
        """Return a summary of each quantity for each split, and where there are several for all."""
        rows = []
        for quantity, counts, values in (("depth in m", self._depth, _DEPTHS), ("CoC in px", self._coc, _COCS)):
            rows += [_summary(quantity, split, one, values) for split, one in counts.items()]
            if len(counts) > 1:
                rows.append(_summary(quantity, "all", np.sum(list(counts.values()), axis=0), values))
        return rows


def _summary(quantity: str, split: str, counts: Counts, values: npt.NDArray[Any]) -> Summary:
    pixels = max(int(counts.sum()), 1)
    finite = np.flatnonzero(np.isfinite(values) & (counts > 0))
    finite = finite[np.argsort(values[finite], kind="stable")]
    reached, known = np.cumsum(counts[finite]), int(counts[finite].sum())
    ranks = [max(0, int(np.ceil(q * known)) - 1) for q in QUANTILES] if known else []
    quantiles = tuple(float(values[finite[np.searchsorted(reached, rank, side="right")]]) for rank in ranks)
    sharp = None
    if values is _COCS:
        sharp = float(counts[finite][np.abs(values[finite]) <= 1].sum()) / max(known, 1)
    share = [float(counts[test(values)].sum()) / pixels for test in (np.isnan, np.isinf)]
    return Summary(quantity, split, quantiles, share[0], share[1], sharp)
