"""Real focal stacks: a folder of photographs, and the distances at which they were focused."""

import re
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from .. import InputError
from ..evaluate.smoothing import reduced
from ..synth.units import parse_length

SUFFIXES = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".webp")
_INFINITE = ("inf", "infinity", "\u221e")


def natural(name: str) -> list[tuple[bool, int, str]]:
    """Return a key by which numbers in names are in the order of numbers: 2.jpg before 10.jpg."""
    return [(part.isdigit(), int(part) if part.isdigit() else 0, part.lower()) for part in re.split(r"([0-9]+)", name)]


def find_photographs(folder: Path) -> list[Path]:
    """Return the photographs of a folder in the natural order of their names.

    Raises
    ------
    InputError
        If there is no such folder, or no photograph in it.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder: give the folder that holds the photographs of one focal stack.")
    found = [path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and not path.name.startswith(".")]
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
        data = np.frombuffer(path.read_bytes(), np.uint8)
        picture = cv2.imdecode(data, cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH) if data.size else None
        if picture is None or picture.dtype not in (np.uint8, np.uint16):
            raise InputError(
                f"{path} is damaged or no photograph of 8 or 16 bits: take it out of the folder, or save it as "
                "PNG or TIFF."
            )
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
    if path.is_file():
        where = str(path)
        try:
            lines = path.read_text(encoding="utf-8-sig").splitlines()
        except UnicodeDecodeError:
            raise InputError(f"{path} is no text: give one focus distance on each line.") from None
        words = [line.split("#")[0].strip() for line in lines]
    elif re.search(r"\d|inf|\u221e", given) and not Path(given).suffix.isalpha() and "/" not in given:
        words = [word.strip() for word in given.split(",")]
    else:
        raise InputError(f"there is no file {given}: give focus distances as a text file, or as '0.1m, 0.2m, ...'.")
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
        raise InputError(f"{where}: a focus distance is above 0, not {word}.")
    return metres
