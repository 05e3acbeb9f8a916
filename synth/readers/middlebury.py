"""Middlebury stereo: 2005, 2006, 2014, 2021."""

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from ... import InputError
from .base import Frame, Item, Reader, matching, pixels, relative
from .cameras import camera, pinhole, read_lines
from .depth import known, z_from_disparity
from .files import read_depth, read_image

# 2005 and 2006: how many pixels of the full size one pixel covers, by the picture's height.
_SCALES = {1110: 1, 555: 2, 370: 3}
_FOCAL_2005, _BASELINE_2005 = 3740.0, 0.160  # pixels at full size; metres


class Middlebury(Reader):
    """Middlebury's indoor still lifes with disparities from structured light: the sets of 2005, 2006, 2014 and 2021.

    `path` is a scene's folder or any folder above. 2014 and 2021: ``Adirondack-perfect/im0.png``, ``disp0.pfm`` (or
    ``disp0GT.pfm``, as the evaluation set calls it), ``calib.txt``. 2005 and 2006: ``Art/view1.png``, ``disp1.png``,
    ``dmin.txt``. Read is the left view.

    2014 and 2021 store disparity in pixels as float32 PFM, `inf` where unknown; z = baseline f / (d + doffs) with f and
    the principal point from ``cam0`` of calib.txt and the baseline there in millimetres. The PFM header's scale
    (-0.0039) is no factor: OpenCV divides by it and gets disparities 256 times too large, this reader ignores it. A
    picture whose size is not that of calib.txt is refused, for then the calibration does not hold.

    2005 and 2006 store 8 bits, 0 where unknown; divided by 1, 2 or 3 they are disparities in pixels of the full, half
    or third size, known by the heights of 1110, 555 and 370. z = 160 mm (3740 px / scale) / (d + dmin), dmin being
    dmin.txt as it stands in the folder, taken in pixels of that size (not confirmed for the smaller sizes). The
    principal point is not given: the picture's centre is handed on.

    There is no official split. One group is a scene's name without ``-perfect``, ``-imperfect`` and a number at the
    end: ``Sword1`` and ``Sword2`` show one place, at whatever resolution.

    Sources: the dataset's pages of 2005, 2006, 2014 and 2021, as quoted in others' code.
    """

    TITLE: ClassVar[str] = "Middlebury stereo"

    def _find(self) -> Iterator[Item]:
        images = matching(self.path, "**/im0.png") + matching(self.path, "**/view1.png")
        for rgb in sorted(images, key=lambda path: relative(path, self.path)):
            folder = rgb.parent
            if rgb.name == "view1.png":
                files = (rgb, folder / "dmin.txt", folder / "disp1.png")
            else:
                names = [name for name in ("disp0.pfm", "disp0GT.pfm") if (folder / name).is_file()]
                if not names and folder.parent.name in ("testF", "testH", "testQ"):
                    continue  # the evaluation set keeps these disparities to itself
                files = (rgb, folder / "calib.txt", folder / (names or ["disp0.pfm"])[0])
            place = re.sub(r"(?:-(?:im)?perfect)?$", "", folder.resolve().name)
            yield Item(relative(rgb, self.path), files, re.sub(r"(?<=\D)\d+$", "", place))

    def _layout(self) -> str:
        return "no folder with im0.png, disp0.pfm and calib.txt, and none with view1.png, disp1.png and dmin.txt."

    def _load(self, item: Item) -> Frame:
        rgb, calibration, depth = item.files
        image = read_image(rgb)
        if rgb.name == "view1.png":
            return self._of_2005(image, item)
        numbers = _calibration(calibration)
        camera = pinhole(numbers["cam0"], calibration)
        size = int(numbers["height"][0, 0]), int(numbers["width"][0, 0])
        if image.shape[:2] != size:
            raise InputError(
                f"{calibration} is for {pixels(size)} pixels but {rgb} has {pixels(image.shape)}: "
                "use the files of one resolution."
            )
        disparity = known(read_depth(depth), math.inf)
        baseline, offset = float(numbers["baseline"][0, 0]), float(numbers["doffs"][0, 0])
        return Frame(image, z_from_disparity(disparity, camera.fx, baseline / 1000, offset), camera)

    def _of_2005(self, image: npt.NDArray[Any], item: Item) -> Frame:
        rgb, minimum, depth = item.files
        height, width = image.shape[:2]
        if height not in _SCALES:
            raise InputError(
                f"{rgb} has {pixels(image.shape)} pixels: the sets of 2005 and 2006 are 1110, 555 or 370 pixels high, "
                "and their disparities cannot be read at another size."
            )
        scale = _SCALES[height]
        lines = read_lines(minimum)
        offset = _number(lines[0]) if len(lines) == 1 else math.nan
        if not (math.isfinite(offset) and offset >= 0):
            raise InputError(f"{minimum} does not hold one number, the least disparity: fetch it again.")
        stored = read_depth(depth)
        if stored.max() > 255:
            raise InputError(f"{depth} has numbers above 255: disparities of 2005 and 2006 have 8 bits.")
        focal = _FOCAL_2005 / scale
        z = z_from_disparity(known(stored, 0) / scale, focal, _BASELINE_2005, offset)
        return Frame(image, z, camera(focal, focal, (width - 1) / 2, (height - 1) / 2))


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _calibration(path: Path) -> dict[str, npt.NDArray[np.float64]]:
    """Matrices of calib.txt: ``cam0=[3979.9 0 1244.8; 0 3979.9 1019.5; 0 0 1]``, ``doffs=124.3`` and so on."""
    shapes = {"cam0": (3, 3), "doffs": (1, 1), "baseline": (1, 1), "width": (1, 1), "height": (1, 1)}
    texts = dict(line.split("=", 1) for line in read_lines(path) if "=" in line)
    numbers = {}
    for key, shape in shapes.items():
        rows = [row.split() for row in texts.get(key, "").strip(" []").split(";")]
        matrix = np.array([[_number(word) for word in row] for row in rows] if len({*map(len, rows)}) == 1 else [])
        if matrix.shape != shape or not np.isfinite(matrix).all():
            raise InputError(f"{path} has no {key} of {shape[0]}x{shape[1]} numbers: fetch it again.")
        numbers[key] = matrix
    if numbers["baseline"][0, 0] <= 0:
        raise InputError(f"{path} has a baseline of {numbers['baseline'][0, 0]:g} mm: fetch it again.")
    return numbers
