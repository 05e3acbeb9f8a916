"""Readers of outside datasets: each lists the scenes of a folder and reads them one by one as `Scene`.

A reader has `scan`, `source(i)`, `read(i)` and a length. `READERS` names them as recipes do.
"""

import os
from dataclasses import fields
from pathlib import Path
from typing import Any

from ... import InputError
from .folder import FolderReader

__all__ = ["READERS", "FolderReader", "read_scenes"]

READERS = {"folder": FolderReader}


def read_scenes(kind: str, path: str | os.PathLike[str], **options: Any) -> FolderReader:
    """Open a dataset from outside.

    Parameters
    ----------
    kind
        How it is laid out: "folder" for colour images beside depth maps.
    path
        Where it lies.
    **options
        Of the reader; for "folder" see `FolderReader`.

    Raises
    ------
    InputError
        If the kind or an option is unknown, or an option makes no sense.
    """
    if kind not in READERS:
        raise InputError(f"there are no scenes of kind {kind!r}: use one of {', '.join(READERS)}.")
    reader = READERS[kind]
    known = [field.name for field in fields(reader) if field.name != "path"]
    unknown = [name for name in options if name not in known]
    if unknown:
        raise InputError(f"scenes of kind {kind!r} have no option {unknown[0]!r}: use {', '.join(known)}.")
    return reader(path=Path(path), **options)
