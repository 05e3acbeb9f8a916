"""Small RGB-D files in their true layouts, and where the real ones are."""

import os
import struct
from pathlib import Path

import cv2
import numpy as np
import pytest

from defocal import InputError

DATA = Path(os.environ.get("DEFOCAL_TEST_DATA") or Path(__file__).parents[1] / ".." / "shared" / "data")
RAMP = np.arange(1, 13).reshape(3, 4)  # every value differs, rows and columns too


def real(name: str) -> Path:
    folder = DATA / name
    if not folder.is_dir():
        pytest.skip(f"{folder} is not on this machine")
    return folder


def save(path: Path, array: np.ndarray) -> Path:
    """Write through OpenCV, colour given as RGB."""
    path.parent.mkdir(parents=True, exist_ok=True)
    bgr = array[..., [2, 1, 0, 3][: array.shape[2]]] if array.ndim == 3 else array
    assert cv2.imwrite(str(path), bgr)
    return path


def pfm(values: np.ndarray, scale: float) -> bytes:
    height, width = values.shape
    rows = values[::-1].astype("<f4" if scale < 0 else ">f4")  # bottom row first
    return b"Pf\n%d %d\n%r\n" % (width, height, scale) + rows.tobytes()


def dpt(values: np.ndarray) -> bytes:
    height, width = values.shape
    return struct.pack("<fii", 202021.25, width, height) + values.astype("<f4").tobytes()


def scene_folder(path: Path, names=("a",), depth: np.ndarray | None = None, size=(3, 4)) -> Path:
    for name in names:
        save(path / "rgb" / f"{name}.png", np.full((*size, 3), (200, 100, 50), np.uint8))
        values = np.full(size, 1500) if depth is None else depth
        save(path / "depth" / f"{name}.png", values.astype(np.uint16))
    return path


def noise_folder(path: Path, count: int) -> dict:
    """Write frames of noise; return the section of a recipe that reads them."""
    rng = np.random.default_rng(0)
    for i in range(count):
        save(path / "rgb" / f"{i}.png", rng.integers(0, 255, (32, 40, 3), dtype=np.uint8))
        save(path / "depth" / f"{i}.png", rng.integers(900, 3000, (32, 40), dtype=np.uint16))
    return {"kind": "folder", "path": str(path), "depth": ["0.5 m", "4 m"]}


def refusal(call, *mentions) -> str:
    """Call, and return the one sentence it is refused with."""
    with pytest.raises(InputError) as caught:
        call()
    text = str(caught.value)
    assert "\n" not in text
    assert text.endswith(".")
    for mention in mentions:
        assert str(mention) in text
    return text
