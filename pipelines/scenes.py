"""Scenes from files before any recipe: what there is, whether all of it can be read, and what it is like."""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import InputError
from ..synth.readers import READERS, Reader
from ..synth.recipe import parse_scenes
from ..synth.recipe_scenes import ReadScenes
from ..synth.sources import open_reader
from .shipped import read_change, split_kind

Facts = list[tuple[str, str]]
OF_RECIPES = ("count", "size", "fit", "align")
"""Keys of scenes that change nothing of what is read."""
BINS = np.geomspace(1e-3, 1e6, 9 * 32 + 1)
"""Edges of the bins that depths are counted in, metres."""


def kinds() -> Facts:
    """Return the kinds of scenes that can be read, each with what may be chosen of it."""
    rows = []
    for kind, reader in READERS.items():
        words = [reader.TITLE[0].upper() + reader.TITLE[1:]]
        words += [f"{name} {', '.join(options)}" for name, options in _choices(reader) if options]
        rows.append((kind, "; ".join(words)))
    return rows


def _choices(reader: type[Reader]) -> Sequence[tuple[str, tuple[str, ...]]]:
    return (("variant", reader.VARIANTS), ("part", reader.PARTS))


def section_of(target: str, changes: Sequence[str] = ()) -> ReadScenes:
    """Return the section of a recipe that `KIND:PATH` stands for, with keys of it changed.

    Raises
    ------
    InputError
        If it cannot be read as such, or a key is wrong.
    """
    kind, path = split_kind(target)
    section: dict[str, Any] = {"kind": kind, "path": str(path)}
    for change in changes:
        keys, value = read_change(change.removeprefix("scenes."))
        if len(keys) != 1:
            raise InputError(f"--set takes KEY=VALUE here, for example variant=raw, not {change!r}.")
        if keys[0] in OF_RECIPES:
            raise InputError(f"{keys[0]} is what a recipe makes of scenes: here they are taken as they are.")
        section[keys[0]] = value
    return parse_scenes(section, target)


def opened(target: str, changes: Sequence[str] = ()) -> Reader:
    """Return the reader of `KIND:PATH`, its scenes listed.

    Raises
    ------
    InputError
        If there are none, or a key is wrong.
    """
    reader = open_reader(section_of(target, changes))
    reader.scan()
    return reader


def list_scenes(reader: Reader) -> list[dict[str, str]]:
    """Return a row for each scene: its source, the place where it was taken, its official split."""
    return [{"source": item.source, "group": item.group or item.source, "split": item.split} for item in reader.scan()]


def counts(reader: Reader) -> str:
    """Say how many scenes there are, in which official splits, at how many places."""
    items = reader.scan()
    splits = Counter(item.split for item in items)
    places = len({item.group or item.source for item in items})
    named = ", ".join(f"{split or 'no split'} {n}" for split, n in sorted(splits.items())) if any(splits) else ""
    words = [_count(len(items), "scene") + (f" ({named})" if named else "")]
    return ", ".join([*words, *([_count(places, "place")] if places < len(items) else [])])


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"


@dataclass
class Check:
    """What reading all scenes of a dataset found; it stays small however many they are.

    Attributes
    ----------
    scenes
        Words for how many there are.
    sizes
        How many scenes have each size (height, width).
    counts
        (bins,) known pixels by depth, in `BINS`; beyond them in the last ones.
    sky
        Pixels at infinity.
    unknown
        Share of unknown pixels of each scene, with its source.
    broken
        A sentence for each scene that cannot be read.
    """

    scenes: str
    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)
    counts: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(len(BINS) - 1, np.int64))
    sky: int = 0
    unknown: list[tuple[float, str]] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)

    def add(self, depth: npt.NDArray[np.float32], source: str) -> None:
        """Count a depth map (H, W), metres, NaN unknown."""
        self.sizes[(depth.shape[0], depth.shape[1])] += 1
        missing = np.isnan(depth)
        self.unknown.append((float(missing.mean()), source))
        self.sky += int(np.isinf(depth).sum())
        finite = depth[np.isfinite(depth)]
        self.counts += np.histogram(np.clip(finite, BINS[0], BINS[-1]), BINS)[0]

    def quantile(self, share: float) -> float:
        """Return the depth below which a share of the known finite pixels lie, metres, to a bin (7 %)."""
        below = np.cumsum(self.counts) / max(self.counts.sum(), 1)
        return float(BINS[min(int(np.searchsorted(below, share, side="right")), len(BINS) - 2)])

    def facts(self) -> Facts:
        """Describe what was found as (heading, text) lines."""
        rows = [("found", self.scenes)]
        if self.sizes:
            sizes = [f"{w}x{h}" + (f" ({n})" if len(self.sizes) > 1 else "") for (h, w), n in self.sizes.most_common(6)]
            more = f" and {len(self.sizes) - 6} more" if len(self.sizes) > 6 else ""
            rows.append(("sizes", ", ".join(sizes) + more))
            low, middle, high = (self.quantile(share) for share in (0.01, 0.5, 0.99))
            rows.append(("depth", f"median {middle:.3g} m, 98 % from {low:.3g} to {high:.3g} m"))
            shares = sorted(self.unknown)
            mean = sum(share for share, _ in shares) / len(shares)
            most = f"{mean:.1%} of pixels, at most {shares[-1][0]:.1%} ({shares[-1][1]})"
            rows.append(("unknown", most if mean else "none"))
        if self.sky:
            rows.append(("sky", f"{self.sky} pixels at infinity"))
        return [*rows, ("broken", _count(len(self.broken), "scene") if self.broken else "none")]

    def histogram(self) -> list[str]:
        """Draw the depths as text, a line for each bin of equal ratio."""
        there = np.flatnonzero(self.counts)
        first, last = int(there[0]), int(there[-1]) + 1
        edges = np.arange(first, last + 12, math.ceil((last - first) / 12))
        edges = np.append(edges[edges < last], min(edges[edges >= last][0], len(BINS) - 1))
        shares = np.array([self.counts[a:b].sum() for a, b in pairwise(edges)]) / self.counts.sum()
        return [
            f"{BINS[a]:8.3g} to {BINS[b]:8.3g} m  {'#' * round(40 * share / shares.max()):<40} {share:5.1%}"
            for (a, b), share in zip(pairwise(edges), shares, strict=True)
        ]


def check(reader: Reader, report: Callable[[int], None] = lambda done: None) -> Check:
    """Read every scene once.

    Parameters
    ----------
    reader
        Of the dataset.
    report
        Called with 1 after each scene.
    """
    found = Check(counts(reader))
    for i in range(len(reader)):
        try:
            found.add(reader.read(i).depth, reader.source(i))
        except InputError as error:
            found.broken.append(str(error))
        report(1)
    return found
