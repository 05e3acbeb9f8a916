"""Real focal stacks: a folder of photographs, and the distances at which they were focused."""

import io
import os
import re
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from .. import InputError
from ..evaluate.smoothing import reduced
from ..evaluate.stack_depth import NEAREST
from ..synth.readers.files import decode_image, read_bytes
from ..synth.units import parse_length

SUFFIXES = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".webp")
_INFINITE = ("inf", "infinity", "\u221e")


def natural(name: str) -> list[tuple[bool, int, str]]:
    """Return a key by which numbers in names are in the order of numbers: 2.jpg before 10.jpg."""
    return [
        (part.isdecimal(), int(part) if part.isdecimal() else 0, part.lower()) for part in re.split(r"([0-9]+)", name)
    ]


def shown_name(path: Path) -> str:
    """Return the name of a file as it can be printed: systems allow bytes that are no text, and line breaks."""
    text = os.fsencode(path.name).decode("utf-8", "replace")
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in text)


def find_photographs(folder: Path) -> list[Path]:
    """Return the photographs of a folder in the natural order of their names; not those of folders within it.

    Raises
    ------
    InputError
        If there is no such folder, or no photograph in it.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder: give the folder that holds the photographs of one focal stack.")
    try:
        inside = [path for path in folder.iterdir() if not (path.name.startswith(".") or path.is_dir())]
    except OSError as error:
        raise InputError(f"{folder} cannot be read ({error.strerror}): check its permissions.") from None
    found = [path for path in inside if path.suffix.lower() in SUFFIXES]
    if not found:
        raise InputError(f"{folder} holds no photographs: they end in {', '.join(SUFFIXES)}.")
    return sorted(found, key=lambda path: (natural(path.name), path.name))


def read_photographs(paths: list[Path], longest: int | None) -> npt.NDArray[Any]:
    """Read photographs as one focal stack.

    Parameters
    ----------
    paths
        In order.
    longest
        Make larger ones so small that their longer edge has so many pixels.

    Returns
    -------
    uint8 or uint16 (S, H, W, 3), sRGB, turned as the camera was.

    Raises
    ------
    InputError
        If one cannot be read, or they differ in size or bit depth.
    """
    slices: list[npt.NDArray[Any]] = []
    first: npt.NDArray[Any] | None = None
    for path in paths:
        picture = _picture(path)
        if first is None:
            first = picture
        if picture.shape != first.shape or picture.dtype != first.dtype:
            raise InputError(
                f"{path.name} is {_words(picture)} and {paths[0].name} is {_words(first)}: "
                "the photographs of a stack are of one size and bit depth."
            )
        small = picture if longest is None else reduced(picture, longest)
        slices.append(np.ascontiguousarray(small[..., ::-1]))
    return np.stack(slices)


def _picture(path: Path) -> npt.NDArray[Any]:
    """Return a photograph as uint8 or uint16 (H, W, 3), blue first."""
    data = read_bytes(path)
    decoded = decode_image(data, cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH)
    if decoded is None or decoded.dtype not in (np.uint8, np.uint16):
        raise InputError(
            f"{path} is damaged or no photograph of 8 or 16 bits: take it out of the folder, or save it as PNG or TIFF."
        )
    if (pages := _pages(path, data)) > 1:
        raise InputError(f"{path} holds {pages} pictures: save each of them as a file of its own.")
    return np.asarray(decoded)


def _pages(path: Path, data: bytes) -> int:
    """Count the pictures of a file that are as large as its first: beside it, TIFF may have a small preview."""
    if path.suffix.lower() not in (".tif", ".tiff", ".webp"):
        return 1
    try:
        with Image.open(io.BytesIO(data)) as file:
            first, count = file.size, getattr(file, "n_frames", 1)
            sizes = [first]
            for page in range(1, count):
                file.seek(page)
                sizes.append(file.size)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        # A kind of TIFF that OpenCV alone reads.
        return 1
    return sizes.count(first)


def _words(picture: npt.NDArray[Any]) -> str:
    return f"{picture.shape[1]}x{picture.shape[0]} with {8 * picture.itemsize} bits"


def focus_distances(given: str, count: int) -> list[float]:
    """Read focus distances from a list or from a file.

    Parameters
    ----------
    given
        "0.1m, 0.2 m, inf": lengths with or without units, metres if without; or the path of a text file with one on
        each line, where what follows # is a comment.
    count
        How many there must be.

    Returns
    -------
    Metres.

    Raises
    ------
    InputError
        If there is no such file, or these are not so many lengths above 0.
    """
    path = Path(given)
    where = "--focus"
    # A long list is no path: asking whether there is such a file would fail.
    if os.path.isfile(given):
        where = str(path)
        try:
            lines = path.read_text(encoding="utf-8-sig").splitlines()
        except UnicodeDecodeError:
            raise InputError(f"{path} is no text: give one focus distance on each line.") from None
        except OSError as error:
            raise InputError(f"{path} cannot be read ({error.strerror}): check its permissions.") from None
        words = [line.split("#")[0].strip() for line in lines]
    elif re.search(r"\d|inf|\u221e", given) and not Path(given).suffix.isalpha() and "/" not in given:
        words = [word.strip() for word in given.split(",")]
    else:
        raise InputError(
            f"there is no file {given[:200]!r}: give focus distances as a text file, or as '0.1m, 0.2m, ...'."
        )
    words = [word for word in words if word]
    distances = [_distance(word, where) for word in words]
    if len(distances) != count:
        raise InputError(
            f"{where} gives {len(distances)} focus distances for {count} photographs: give one for each, in the "
            "natural order of their names."
        )
    return distances


def _distance(word: str, where: str) -> float:
    if word.lower() in _INFINITE:
        return float("inf")
    try:
        metres = float(word) if re.fullmatch(r"[+-]?[\d.]+(?:[eE][+-]?\d+)?", word) else parse_length(word)
    except ValueError:
        raise InputError(f"{where}: {word[:40]!r} is no length: write for example '0.35 m', '350 mm' or inf.") from None
    if not metres > 0:
        raise InputError(f"{where}: a focus distance is above 0, not {word[:40]}.")
    if not NEAREST <= metres <= 1 / NEAREST:
        raise InputError(f"{where}: {word[:40]} is not from {NEAREST:g} to {1 / NEAREST:g} m: beyond that, write inf.")
    return metres
