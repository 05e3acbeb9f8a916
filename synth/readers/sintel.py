"""MPI Sintel with its depth."""

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import numpy as np

from ... import InputError
from ..camera import Intrinsics
from .base import Frame, Item, Reader, matching, relative
from .cameras import pinhole
from .depth import known
from .files import read_bytes, read_depth, read_image

_TAG = np.array(202021.25, "<f4").tobytes()
_SKY = 1e10  # metres; the sky is stored as 1e11


class Sintel(Reader):
    """MPI Sintel: 1064 frames of 23 shots of an animated film, with depth and cameras.

    `path` holds ``training`` (or is it): ``clean/alley_1/frame_0001.png``, ``depth/alley_1/frame_0001.dpt`` and
    ``camdata_left/alley_1/frame_0001.cam``. The colour comes with the flow archive, depth and cameras with that of
    depth. The test frames have no public depth and are left out.

    Depth is z, float32 after a tag and two sizes, in the film's unit, which is taken as a metre, as others do (not
    confirmed). The sky is stored as 1e11 and becomes `inf`. Intrinsics are those of ``camdata_left``, one matrix a
    frame, float64 after the same tag; without that folder there are none. Frames are 1024x436.

    Variants: "clean" (no motion blur, no fog, no defocus), "final" (with all of it: not all in focus), "albedo". There
    is no official split of the frames with depth. One group is the shots of one place: ``alley_1`` and ``alley_2``.

    Sources: the layout of its archives as others' code reads it; files of one frame.
    """

    TITLE: ClassVar[str] = "MPI Sintel"
    VARIANTS: ClassVar[tuple[str, ...]] = ("clean", "final", "albedo")

    def _find(self) -> Iterator[Item]:
        for prefix in ("training/", "*/training/", ""):
            images = matching(self.path, f"{prefix}{self.variant}/*/frame_*.png")
            if images:
                break
        for rgb in images:
            shot, training = rgb.parent.name, rgb.parents[2]
            camera = training / "camdata_left" / shot / f"{rgb.stem}.cam"
            depth = training / "depth" / shot / f"{rgb.stem}.dpt"
            files = (rgb, camera, depth) if (training / "camdata_left").is_dir() else (rgb, depth)
            yield Item(relative(rgb, self.path), files, shot.rstrip("0123456789").rstrip("_"))

    def _layout(self) -> str:
        return f"no training/{self.variant}/SHOT/frame_0001.png in it."

    def _load(self, item: Item) -> Frame:
        rgb, *camera, depth = item.files
        z = known(read_depth(depth))
        z[z >= _SKY] = np.inf
        return Frame(read_image(rgb), z, _camera(camera[0]) if camera else None)


def _camera(path: Path) -> Intrinsics:
    """Read a tag, 3x3 intrinsics and 3x4 extrinsics."""
    data = read_bytes(path)
    if data[:4] != _TAG or len(data) != 4 + 8 * (9 + 12):
        raise InputError(
            f"{path} is not a .cam file (its tag is not 202021.25, or its length not 172): fetch it again."
        )
    return pinhole(np.frombuffer(data, "<f8", 9, offset=4).reshape(3, 3), path)
