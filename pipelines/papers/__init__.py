"""One paper a module: its systems as ordinary commands, and the relations that its numbers obey."""

from pathlib import Path

from ... import InputError
from .base import Paper, Scale
from .dff_wild import DffWild
from .rpsf import Rpsf
from .udfd import Udfd

PAPERS: dict[str, type[Paper]] = {one.name: one for one in (Rpsf, Udfd, DffWild)}

__all__ = ["PAPERS", "Paper", "Scale", "paper"]


def paper(name: str, out: Path, scale: Scale, scenes: str | None = None) -> Paper:
    """Return the reproduction of a paper.

    Raises
    ------
    InputError
        If there is none of that name.
    """
    if name not in PAPERS:
        raise InputError(f"there is no paper {name!r}: choose from {', '.join(PAPERS)}.")
    return PAPERS[name](out, scale, scenes)
