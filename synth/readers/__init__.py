"""Readers of outside datasets: each lists the scenes of a folder or a file and reads them one by one as `Scene`.

A reader has `scan`, `source(i)`, `read(i)` and a length; `base.Reader` says what they share. `READERS` names them as
recipes do; `synth.datasets` lists those of the field's datasets.
"""

import os
from dataclasses import fields
from importlib import import_module
from pathlib import Path
from typing import Any

from ... import InputError
from ..datasets import DATASETS
from .base import Item, Reader
from .folder import FolderReader

__all__ = ["READERS", "FolderReader", "Item", "Reader", "read_scenes"]


def _reader(place: str) -> type[Reader]:
    module, name = place.split(".")
    found: type[Reader] = getattr(import_module(f".{module}", __name__), name)
    return found


READERS: dict[str, type[Reader]] = {
    "folder": FolderReader,
    **{kind: _reader(place) for kind, place in DATASETS.items()},
}


def read_scenes(kind: str, path: str | os.PathLike[str], **options: Any) -> Reader:
    """Open a dataset from outside.

    Parameters
    ----------
    kind
        Its name, one of `READERS`; "folder" for colour images beside depth maps.
    path
        Where it lies.
    **options
        Of the reader: `variant`, `part` and `listing`, see `base.Reader`; for "folder" see `FolderReader`.

    Raises
    ------
    InputError
        If the kind or an option is unknown, or an option makes no sense.
    """
    if kind not in READERS:
        raise InputError(f"there are no scenes of kind {kind!r}: use one of {', '.join(READERS)}.")
    reader = READERS[kind]
    known = options_of(kind)
    unknown = [name for name in options if name not in known]
    if unknown:
        raise InputError(f"scenes of kind {kind!r} have no option {unknown[0]!r}: use {', '.join(known)}.")
    return reader(path=Path(path), **options)


def options_of(kind: str) -> list[str]:
    """Return the names of what may be chosen of a kind of scenes."""
    reader = READERS[kind]
    shared = {"variant": bool(reader.VARIANTS), "part": bool(reader.PARTS), "listing": True}
    own = [field.name for field in fields(reader) if field.name not in ("path", *shared)]
    return own + [name for name, there in shared.items() if there]
