"""SUN RGB-D."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ... import InputError
from ..camera import Intrinsics
from .base import Frame, Item, Reader, matching
from .depth import known
from .files import read_depth, read_image
from .mat5 import read_mat

FARTHEST = 8.0
"""Metres: where the toolbox cuts depth off."""


@dataclass(frozen=True, kw_only=True)
class SunRgbd(Reader):
    """SUN RGB-D: 10,335 indoor frames of four sensors (two Kinects, RealSense, Xtion), each with its own intrinsics.

    Give the folder ``SUNRGBD`` or any below it. A frame is a folder with ``image/*.jpg``, ``depth/*.png``,
    ``depth_bfx/*.png`` and ``intrinsics.txt``. Variant "bfx" is the depth map whose holes the dataset's owners filled;
    "raw" is the sensor's.

    The PNG holds 16-bit numbers v; z is (v >> 3) | (v << 13) in 16 bits, millimetres, 0 unknown. The toolbox sets what
    is beyond 8 m to 8 m, a wall that is not there; here it is unknown. ``intrinsics.txt`` holds the nine numbers of the
    camera matrix; the toolbox counts pixels from 1, so its principal point is moved by one.

    The official split of 5,285 frames for training and 5,050 for testing is taken from ``allsplit.mat`` (``alltrain``,
    ``alltest``: folders, of which the part behind ``SUNRGBD/`` counts), given as `splits`, or found at
    ``SUNRGBDtoolbox/traintestSUNRGBD/allsplit.mat`` in the folder or beside it. A group is the folder of a sequence for
    the frames of SUN3D (``xtion/sun3ddata``), and else the frame itself: the dataset does not tell which other frames
    show one room.

    Facts: the dataset's toolbox (read3dPoints.m, read_3d_pts_general.m); the layout of allsplit.mat as its users read
    it.

    Parameters
    ----------
    splits
        Path of ``allsplit.mat``, if it lies elsewhere.
    """

    TITLE = "SUN RGB-D"
    VARIANTS = ("bfx", "raw")
    PARTS = ("train", "test")

    splits: Path | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.splits is not None:
            object.__setattr__(self, "splits", Path(self.splits))

    def _layout(self) -> str:
        if self.part:
            return "its split is in allsplit.mat of the toolbox, see docs/datasets.md."
        return "folders with image/*.jpg, depth/*.png or depth_bfx/*.png, and intrinsics.txt were looked for."

    def _find(self) -> Iterator[Item]:
        splits, root = self._splits(), self.path.resolve()
        for camera in matching(self.path, "**/intrinsics.txt"):
            folder = camera.parent
            images = matching(folder, "image/*.jpg")
            depths = matching(folder, ("depth_bfx" if self.variant == "bfx" else "depth") + "/*.png")
            if not images and not depths:
                continue
            if len(images) != 1 or len(depths) != 1:
                raise InputError(
                    f"{folder} has {len(images)} colour and {len(depths)} depth files (variant {self.variant!r}) where "
                    "one of each is expected: fetch it again, or remove the folder."
                )
            name = folder.relative_to(self.path).as_posix()
            source = name if name != "." else folder.name
            inside = _within((root / name).as_posix()) or name
            group = folder.parent.relative_to(self.path).as_posix() if "/sun3ddata/" in f"/{inside}" else source
            yield Item(source, (images[0], camera, depths[0]), group, splits.get(inside, ""))

    def _load(self, item: Item) -> Frame:
        colour, camera, depth = item.files
        stored = read_depth(depth)
        if not ((stored >= 0) & (stored <= 65535) & (stored == np.floor(stored))).all():
            raise InputError(f"{depth} does not hold 16-bit whole numbers: fetch it again.")
        turned = stored.astype(np.uint16)
        z = known((turned >> 3) | (turned << 13), 0) / 1000
        z[z > FARTHEST] = np.nan
        return Frame(read_image(colour), z, _intrinsics(camera))

    def _splits(self) -> dict[str, str]:
        path = self.splits
        if path is None:
            inside = Path("SUNRGBDtoolbox", "traintestSUNRGBD", "allsplit.mat")
            path = next((file for folder in (self.path, self.path.parent) if (file := folder / inside).is_file()), None)
            if path is None:
                return {}
        found = read_mat(path, "alltrain", "alltest")
        splits: dict[str, str] = {}
        for name, split in (("alltrain", "train"), ("alltest", "test")):
            for cell in found[name].ravel():
                if not isinstance(cell, str):
                    raise InputError(f"{path} has a {name} that does not hold names of folders: fetch it again.")
                splits[_within(cell)] = split
        return splits


def _within(folder: str) -> str:
    """Name a frame's folder within SUNRGBD, however its path is written; "" if it is not below such a folder."""
    parts = [part for part in folder.split("/") if part]
    return "/".join(parts[len(parts) - parts[::-1].index("SUNRGBD") :]) if "SUNRGBD" in parts else ""


def _intrinsics(path: Path) -> Intrinsics:
    try:
        fx, skew, cx, below, fy, cy, *last = map(float, path.read_text(encoding="ascii").split())
        fits = np.isfinite([fx, fy, cx, cy]).all() and min(fx, fy) > 0 and skew == below == 0 and last == [0, 0, 1]
    except ValueError:  # includes undecodable text
        fits = False
    if not fits:
        raise InputError(f"{path} does not hold a camera matrix of nine numbers: fetch it again.")
    return Intrinsics(fx=fx, fy=fy, cx=cx - 1, cy=cy - 1)
