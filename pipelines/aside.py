"""Folders that are whole or absent."""

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from .. import InputError
from ..synth.places import Place

Made = TypeVar("Made")


def nearest(out: Path) -> Path:
    """Return what is there of a place, itself or a folder around it; a link that leads nowhere is there."""
    return next(place for place in (out.absolute(), *out.absolute().parents) if os.path.lexists(place))


def check_place(out: Path) -> None:
    """Refuse a folder that cannot be made, or written to, before work for it is done.

    Raises
    ------
    InputError
        If it cannot.
    """
    around = nearest(out)
    if not os.path.isdir(around):
        raise InputError(f"{out} cannot be written, for {around} is no folder: give another --out.")
    if not os.access(around, os.W_OK | os.X_OK):
        raise InputError(f"{out} cannot be written, for {around} lets you write nothing: give another --out.")


def check_new(out: Place) -> None:
    """Refuse a folder that holds something.

    Raises
    ------
    InputError
        If it does, is no folder, or cannot be looked into.
    """
    try:
        if isinstance(out, Path):
            there = nearest(out)
            if not there.is_dir():
                raise InputError(f"{there} is no folder, where one is to be made: choose another place.")
        taken = out.exists() and any(out.iterdir())
    except OSError as error:
        raise InputError(f"{out} cannot be written to ({error.strerror}): choose another folder.") from None
    if taken:
        raise InputError(f"{out} already exists and is not empty: choose another folder, or delete it first.")


def write_aside(out: Path, fill: Callable[[Path], Made], what: str, mode: int | None = None) -> Made:
    """Fill a folder aside, and give it its name when all is written; return what filling it returned.

    Parameters
    ----------
    out
        A new or empty folder.
    fill
        Writes into the folder that it is given.
    what
        What is written, in words, for the refusal.
    mode
        Permissions of the folder; those of any new one if left out.

    Raises
    ------
    InputError
        If it cannot be written.
    """
    aside = None
    try:
        # Of a link to a folder, the folder is filled.
        out = out.resolve()
        out.parent.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(prefix=f".{out.name[:100]}-", suffix=".partial", dir=out.parent))
        made = fill(aside)
        aside.chmod(0o777 & ~_umask() if mode is None else mode)
        if out.exists():
            out.rmdir()
        aside.rename(out)
    except OSError as error:
        raise InputError(
            f"cannot write {what} to {out}: {error.strerror or error}. Mend that, or choose another place."
        ) from None
    finally:
        if aside is not None:
            shutil.rmtree(aside, ignore_errors=True)
    return made


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
