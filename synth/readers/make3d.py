"""Make3D."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ... import InputError
from ..light import decode
from ..scene import block_mean
from .base import Frame, Item, Reader, matching, pixels, relative
from .depth import known
from .files import read_image
from .hdf5 import checked
from .mat5 import read_mat

REDUCTION = 4
"""Pixels of the photograph along one that is delivered."""
FARTHEST = 80.0
"""Metres along the ray: the scanner's end."""


@dataclass(frozen=True, kw_only=True)
class Make3d(Reader):
    """Make3D: 534 outdoor photographs with the depth of a laser scanner on a grid of 55 x 305 points.

    Poor for rendering: one number of depth is 41 rows high and 6 columns wide in the photograph, so that blur follows
    steps which the picture does not show. It is here because papers test on it.

    Give the folder with ``Train400Img`` or ``Test134`` (``img-*.jpg``, upright, 2272 rows of 1704 pixels) and
    ``Train400Depth``, ``Test134Depth`` or ``Gridlaserdata`` (``depth_sph_corr-*.mat``, MATLAB v5); folders within
    folders are found. Photographs without depth are left out: the archives do not agree everywhere.

    ``Position3DGrid`` (55, 305, 4) holds a point in its first three numbers and the ray's length in the last, metres.
    Delivered is the third, z along the camera's axis; papers evaluate on the last, which is longer away from the
    axis. Rays of 80 m and more are the scanner's end (sky, or no return) and unknown, as are numbers that are not
    positive. The photograph is averaged over 4 x 4 pixels in linear light, to 568 rows of 426 pixels, and depth
    enlarged to that by the nearest number. Intrinsics are not known.

    The official split is that of the folders. A group is the stand of the scanner: what precedes "-p-", the pan, in a
    file's name.

    Facts: code of users of the dataset; its own Readme could not be consulted, so that z is the third number is not
    confirmed by its owners.
    """

    TITLE = "Make3D"
    PARTS = ("train", "test")

    def _layout(self) -> str:
        return "files img-*.jpg in folders Train400* or Test134*, and depth_sph_corr-*.mat anywhere were looked for."

    def _find(self) -> Iterator[Item]:
        grids = matching(self.path, "**/depth_sph_corr-*.mat")
        depths = {file.stem.removeprefix("depth_sph_corr-"): file for file in grids}
        for file in matching(self.path, "**/img-*.jpg"):
            name = file.stem.removeprefix("img-")
            folders = (self.path.name, *file.relative_to(self.path).parts[:-1])
            splits = [split for part, split in (("Train400", "train"), ("Test134", "test"))
                      if any(folder.startswith(part) for folder in folders)]  # fmt: skip
            if name in depths:
                place = re.sub(r"-p-.*", "", name)
                yield Item(relative(file, self.path), (file, depths[name]), place, splits[-1] if splits else "")

    def _load(self, item: Item) -> Frame:
        colour, depth = item.files
        image = read_image(colour)
        height, width = (n // REDUCTION for n in image.shape[:2])
        grid = read_mat(depth, "Position3DGrid")["Position3DGrid"]
        checked(grid, depth, "Position3DGrid", (None, None, 4), "f")
        rows, columns = grid.shape[:2]
        if height < rows or width < columns:
            raise InputError(
                f"{colour} has {pixels(image.shape)} pixels, too few for {columns}x{rows} numbers of depth: the "
                "originals have 1704x2272."
            )
        light = decode(image[: height * REDUCTION, : width * REDUCTION], "srgb")
        z, ray = known(grid[..., 2]), known(grid[..., 3])
        z[~((z > 0) & (ray > 0) & (ray < FARTHEST))] = np.nan
        return Frame(block_mean(light, REDUCTION), z[_nearest(height, rows)[:, None], _nearest(width, columns)])


def _nearest(wanted: int, have: int) -> npt.NDArray[np.int64]:
    """Return which of `have` equal cells the centre of each of `wanted` lies in."""
    return (2 * np.arange(wanted) + 1) * have // (2 * wanted)
