"""Readers of outside datasets: each lists the scenes of a folder or a file and reads them one by one as `Scene`.

A reader has `scan`, `source(i)`, `read(i)` and a length; `base.Reader` says what they share. `READERS` names them as
recipes do.
"""

import os
from dataclasses import fields
from pathlib import Path
from typing import Any

from ... import InputError
from .base import Item, Reader
from .ddff import Ddff12
from .diode import Diode
from .dslr import Dslr
from .folder import FolderReader
from .hammer import Hammer
from .hci import Hci
from .hypersim import Hypersim
from .infinigen import InfinigenDefocus
from .make3d import Make3d
from .middlebury import Middlebury
from .nyu import NyuLabelled, NyuRaw
from .rgbd import Redwood, Tum
from .scannet import Scannet
from .sceneflow import SceneFlow
from .sintel import Sintel
from .sun import SunRgbd
from .tartanair import TartanAir
from .zedd import Zedd

__all__ = ["READERS", "FolderReader", "Item", "Reader", "read_scenes"]

READERS: dict[str, type[Reader]] = {
    "folder": FolderReader,
    "nyuv2": NyuLabelled,
    "nyu-raw": NyuRaw,
    "sun-rgbd": SunRgbd,
    "make3d": Make3d,
    "hypersim": Hypersim,
    "diode": Diode,
    "ddff12": Ddff12,
    "hci": Hci,
    "sceneflow": SceneFlow,
    "middlebury": Middlebury,
    "dslr": Dslr,
    "tartanair": TartanAir,
    "tum": Tum,
    "redwood": Redwood,
    "scannet": Scannet,
    "zedd": Zedd,
    "infinigen-defocus": InfinigenDefocus,
    "hammer": Hammer,
    "sintel": Sintel,
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
