"""Cameras of datasets: what small text files tell of them, and that pictures have the size that they hold for."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ... import InputError
from ..camera import Intrinsics
from .base import pixels
from .files import read_bytes


def camera(fx: float, fy: float, cx: float, cy: float) -> Intrinsics:
    """Return a pinhole camera of four numbers in pixels, in the order that datasets give them."""
    return Intrinsics(fx=fx, fy=fy, cx=cx, cy=cy)


def read_lines(path: Path) -> list[str]:
    """Read the lines of a text file, without empty ones and comments (#).

    Raises
    ------
    InputError
        If it cannot be read or is not text.
    """
    try:
        text = read_bytes(path).decode("utf-8")
    except UnicodeDecodeError:
        raise InputError(f"{path} is not text in UTF-8: fetch it again.") from None
    lines = (line.partition("#")[0].strip() for line in text.splitlines())
    return [line for line in lines if line]


def read_matrix(path: Path, *shapes: tuple[int, int]) -> npt.NDArray[np.float64]:
    """Read a table of numbers, separated by spaces, tabs, commas or semicolons.

    Raises
    ------
    InputError
        If the file cannot be read, or does not hold finite numbers in one of the shapes.
    """
    rows = [line.replace(",", " ").replace(";", " ").split() for line in read_lines(path)]
    try:
        matrix = np.array(rows, np.float64)
    except ValueError:  # words, or rows of different lengths
        matrix = np.empty(0)
    if matrix.shape not in shapes or not np.isfinite(matrix).all():
        wanted = " or ".join(f"{height}x{width}" for height, width in shapes)
        raise InputError(f"{path} does not hold {wanted} numbers: fetch it again.")
    return matrix


def pinhole(matrix: npt.NDArray[Any], path: Path) -> Intrinsics:
    """Return the camera of a matrix [[fx, 0, cx], [0, fy, cy], ...] that a file gives.

    Raises
    ------
    InputError
        If its numbers cannot be a camera's.
    """
    fx, fy, cx, cy = (float(matrix[at]) for at in ((0, 0), (1, 1), (0, 2), (1, 2)))
    if not (np.isfinite([fx, fy, cx, cy]).all() and fx > 0 and fy > 0):
        raise InputError(f"{path} has focal lengths {fx:g}, {fy:g} and centre {cx:g}, {cy:g} pixels: fetch it again.")
    return camera(fx, fy, cx, cy)


def expect_size(path: Path, image: npt.NDArray[Any], *sizes: tuple[int, int]) -> None:
    """Check that an image has the size (height, width) that its camera is known for.

    Raises
    ------
    InputError
        If it has not.
    """
    if image.shape[:2] not in sizes:
        wanted = " or ".join(pixels(size) for size in sizes)
        raise InputError(
            f"{path} has {pixels(image.shape)} pixels, not the {wanted} that its camera is known for: "
            "use the original files, or read them as kind 'folder'."
        )
