"""One paper a module: its systems as ordinary commands, and the relations that its numbers obey."""

from collections.abc import Mapping
from pathlib import Path

from ... import InputError
from .base import Paper, Scale
from .d3net import D3Net
from .dff_wild import DffWild
from .hded import Hded
from .rendering import Rendering
from .rpsf import Rpsf
from .udfd import Udfd

PAPERS: dict[str, type[Paper]] = {one.name: one for one in (Rpsf, Udfd, DffWild, D3Net, Hded, Rendering)}

__all__ = ["PAPERS", "Paper", "Scale", "paper"]


def paper(
    name: str, out: Path, scale: Scale, scenes: str | None = None, given: Mapping[str, Path] | None = None,
    seeds: int | None = None,
) -> Paper:  # fmt: skip
    """Return the reproduction of a paper, as `Paper` takes what is given.

    Raises
    ------
    InputError
        If there is none of that name, or it has no use for what is given.
    """
    if name not in PAPERS:
        raise InputError(f"there is no paper {name!r}: choose from {', '.join(PAPERS)}.")
    for option, path in (given or {}).items():
        if option not in PAPERS[name].takes:
            takers = [one.name for one in PAPERS.values() if option in one.takes]
            raise InputError(f"{name} has no use for --{option}: it is an option of {' and '.join(takers)}.")
        if not path.exists():
            raise InputError(f"there is no {path}: give --{option} a path that exists.")
    return PAPERS[name](out, scale, scenes, given, seeds)
