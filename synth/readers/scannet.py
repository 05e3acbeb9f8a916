"""ScanNet, as frames exported from its recordings."""

from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from ..light import decode
from .base import Frame, Item, Reader, matching, relative
from .cameras import pinhole, read_lines, read_matrix
from .depth import known
from .files import read_depth, read_image


class Scannet(Reader):
    """ScanNet: 1513 hand-held recordings of 707 indoor places, with a structured-light sensor's depth.

    `path` is the folder of the scans, one above it, or one scan, exported by ScanNet's own reader of ``.sens`` files:
    ``scene0000_00/color/0.jpg``, ``depth/0.png``, ``intrinsic/intrinsic_color.txt`` and ``intrinsic_depth.txt`` (4x4).

    Depth is z in millimetres, 16-bit PNG, 0 where unknown, 640x480; colour is 1296x968 and was taken as seen from the
    same point. Colour is brought to the depth map, not the reverse: each depth pixel gets the mean, in linear light, of
    the part of the colour picture that it covers by the two matrices. So depth keeps its edges, the scene has 640x480
    pixels and the depth camera's intrinsics; where the colour picture does not reach, depth becomes unknown. Colour of
    the depth map's size and camera is taken as it is.

    Official split: if ``scannetv2_train.txt``, ``scannetv2_val.txt``, ``scannetv2_test.txt`` lie in `path`, they tell
    the part of each scan; otherwise none is known. One group is one place: ``scene0000_00`` and ``scene0000_01``.

    Sources: ScanNet's terms, its exporter's layout as others' code reads it. That exported depth needs no turn or
    shift between the two cameras is not confirmed.
    """

    TITLE: ClassVar[str] = "ScanNet"
    LICENCE: ClassVar[str] = "ScanNet's terms of use: for non-commercial research and education only"
    PARTS: ClassVar[tuple[str, ...]] = ("train", "val", "test")

    def _find(self) -> Iterator[Item]:
        splits = {
            scan: part
            for part in self.PARTS
            for path in matching(self.path, f"scannetv2_{part}.txt")
            for scan in read_lines(path)
        }
        for rgb in matching(self.path, *(prefix + "color/*.*" for prefix in ("", "*/", "*/*/"))):
            scan = rgb.parents[1]
            name = scan.resolve().name
            cameras = [scan / "intrinsic" / f"intrinsic_{what}.txt" for what in ("color", "depth")]
            files = (rgb, *cameras, scan / "depth" / f"{rgb.stem}.png")
            yield Item(relative(rgb, self.path), files, name.partition("_")[0], splits.get(name, ""))

    def _layout(self) -> str:
        return "no SCAN/color/0.jpg in it."

    def _load(self, item: Item) -> Frame:
        rgb, colour_camera, depth_camera, depth = item.files
        image = read_image(rgb)
        z = known(read_depth(depth), 0) * 0.001
        own = pinhole(read_matrix(colour_camera, (4, 4), (3, 3)), colour_camera)
        wanted = pinhole(read_matrix(depth_camera, (4, 4), (3, 3)), depth_camera)
        if image.shape[:2] == z.shape and own == wanted:
            return Frame(image, z, own)
        light = image.astype(np.float32) if image.dtype.kind == "f" else decode(image, "srgb")
        height, width = z.shape
        lines, rows = _covered(light, height, (wanted.fy, wanted.cy), (own.fy, own.cy))
        turned, columns = _covered(lines.swapaxes(0, 1), width, (wanted.fx, wanted.cx), (own.fx, own.cx))
        z[~np.outer(rows, columns)] = np.nan
        return Frame(np.maximum(turned.swapaxes(0, 1), 0).astype(np.float32), z, wanted)


def _covered(
    light: npt.NDArray[Any], count: int, wanted: tuple[float, float], own: tuple[float, float]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """Average along the first axis over what each of `count` pixels of another camera covers.

    Parameters
    ----------
    light
        (n, ...) radiance.
    count
        Pixels of the other camera.
    wanted, own
        Focal length and centre along this axis, pixels, of the other camera and of `light`.

    Returns
    -------
    (count, ...) means, and whether the middle of each pixel lies on the picture; those beyond get its last ones.
    """
    n = len(light)
    (f, c), (own_f, own_c) = wanted, own
    middle = (np.arange(count) - c) / f * own_f + own_c + 0.5  # from the picture's edge
    half = own_f / f / 2
    inside = (middle > 0) & (middle < n)
    middle = np.clip(middle, min(0.5, half), n - min(0.5, half))
    low, high = np.maximum(middle - half, 0), np.minimum(middle + half, n)
    sums = np.zeros((n + 1, *light.shape[1:]))
    np.cumsum(light, axis=0, out=sums[1:])
    ends = []
    for at in (low, high):
        whole = np.minimum(at.astype(np.int64), n - 1)
        part = (at - whole).reshape(-1, *[1] * (light.ndim - 1))
        ends.append(sums[whole] * (1 - part) + sums[whole + 1] * part)
    return (ends[1] - ends[0]) / (high - low).reshape(-1, *[1] * (light.ndim - 1)), inside
