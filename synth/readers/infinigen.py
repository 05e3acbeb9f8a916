"""InfinigenDefocus."""

import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from ... import InputError
from ..camera import Intrinsics
from .base import Frame, Item, Reader, matching, naming, relative
from .cameras import pinhole
from .depth import known
from .files import read_bytes, read_depth, read_image
from .zedd import read_stack

_NAME = re.compile(r"image_ap_([\d.]+)_fd_([\d.]+)")
_SKY = 1000.0  # metres; the authors' evaluation takes what is farther as unknown


class InfinigenDefocus(Reader):
    """InfinigenDefocus: rendered rooms with path-traced focal stacks of real defocus, a benchmark beside ZEDD.

    `path` is the unpacked archive or the folder above: ``1a4897de_1/image_all_in_focus.png``, ``depth.npy``,
    ``cam_all_in_focus.npz`` (the 3x3 matrix ``K`` in it), and of each photograph ``image_ap_1.40_fd_0.80.png`` and
    ``cam_ap_1.40_fd_0.80.npz`` (f-number and focus distance in metres in the name).

    Depth is metres, taken as z, which the authors' reader does too (not otherwise confirmed); NaN is unknown; what is
    farther than 1 km, seen through windows, is sky: `inf`. `stack` reads the defocused photographs for an evaluation,
    which do not come from this project's renderer.

    The authors evaluate on all of it, by a list (val.json) that lies in their repository; there is no split. One group
    is one room: ``1a4897de_1`` and ``1a4897de_2``.

    Sources: the authors' README and reader (princeton-vl/FOSSA) and the dataset's card (licence).
    """

    TITLE: ClassVar[str] = "InfinigenDefocus"
    LICENCE: ClassVar[str] = "BSD 3-clause"
    COMMERCIAL: ClassVar[bool] = True

    def _find(self) -> Iterator[Item]:
        for rgb in matching(self.path, *(prefix + "image_all_in_focus.png" for prefix in ("", "*/", "*/*/"))):
            folder = rgb.parent
            files = (rgb, folder / "cam_all_in_focus.npz", folder / "depth.npy")
            yield Item(relative(rgb, self.path), files, re.sub(r"_\d+$", "", folder.resolve().name))

    def _layout(self) -> str:
        return "no SCENE/image_all_in_focus.png in it."

    def _load(self, item: Item) -> Frame:
        rgb, camera, depth = item.files
        z = known(read_depth(depth))
        z[z > _SKY] = np.inf
        return Frame(read_image(rgb), z, _camera(camera))

    def stack(self, i: int, aperture: float) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float64]]:
        """Read the photographs of scene `i` through one aperture.

        Parameters
        ----------
        i
            Index into `scan()`.
        aperture
            f-number.

        Returns
        -------
        (S, H, W, 3) uint8, sRGB, nearest focus first, and the S focus distances, metres.

        Raises
        ------
        InputError
            If there are no such photographs, or a file cannot be read.
        """
        folder = self._items[i].files[0].parent
        with naming(folder, self.TITLE):
            names = [(path, _NAME.fullmatch(path.stem)) for path in matching(folder, "image_ap_*.png")]
            found = [(float(m[2]), path) for path, m in names if m and float(m[1]) == aperture]
            if not found:
                others = sorted({float(m[1]) for _, m in names if m})
                raise InputError(f"{folder} has no photographs at f/{aperture:g}: it has {others or 'none at all'}.")
            return read_stack(found)


def _camera(path: Path) -> Intrinsics:
    data = read_bytes(path)
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as archive:
            matrix = archive["K"]
    except Exception:  # numpy, zipfile and zlib raise a dozen types for damaged files
        raise InputError(f"{path} holds no camera matrix K: fetch it again.") from None
    if matrix.shape != (3, 3) or matrix.dtype.kind not in "uif":
        raise InputError(f"{path} holds a matrix K of shape {matrix.shape}, not 3x3 numbers: fetch it again.")
    return pinhole(matrix, path)
