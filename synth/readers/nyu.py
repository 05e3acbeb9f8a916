"""NYU Depth V2: the labelled frames, and the raw recordings of a Kinect."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ... import InputError
from ..camera import Intrinsics
from .base import Frame, Item, Reader, matching, pixels, relative
from .depth import known
from .files import read_depth, read_image
from .hdf5 import array, opened
from .mat5 import read_mat

Float64 = npt.NDArray[np.float64]

HEIGHT, WIDTH = 480, 640
CROP = np.s_[44:471, 40:601]
"""Toolbox: rows 45 to 471 and columns 41 to 601, counted from 1, both ends included."""

# The toolbox's camera_params.m. It counts pixels from 1.
_COLOUR = Intrinsics(
    fx=5.1885790117450188e02, fy=5.1946961112127485e02, cx=3.2558244941119034e02 - 1, cy=2.5373616633400465e02 - 1
)
_DEPTH = Intrinsics(
    fx=5.8262448167737955e02, fy=5.8269103270988637e02, cx=3.1304475870804731e02 - 1, cy=2.3844389626620386e02 - 1
)
# k1, k2, p1, p2, k3
_COLOUR_LENS = (
    2.0796615318809061e-01, -5.8613825163911781e-01, 7.2231363135888329e-04, 1.0479627195765181e-03,
    4.9856986684705107e-01,
)  # fmt: skip
_DEPTH_LENS = (
    -9.9897236553084481e-02, 3.9065324602765344e-01, 1.9290592870229277e-03, -1.9422022475975055e-03,
    -5.1031725053400578e-01,
)  # fmt: skip
_ROTATION = np.array([
    [9.9997798940829263e-01, 5.0518419386157446e-03, 4.3011152014118693e-03],
    [-5.0359919480810989e-03, 9.9998051861143999e-01, -3.6879781309514218e-03],
    [-4.3196624923060242e-03, 3.6662365748484798e-03, 9.9998394948385538e-01],
])  # fmt: skip
# In this order in depth_world2rgb_world.m: x, "z", "y".
_TRANSLATION = np.array([2.5031875059141302e-02, -2.9342312935846411e-04, 6.6238747008330102e-04])

CROPPED = Intrinsics(fx=_COLOUR.fx, fy=_COLOUR.fy, cx=_COLOUR.cx - 40, cy=_COLOUR.cy - 44)
"""Of the colour camera after the crop, pixels counted from 0."""

FARTHEST = 10.0
"""Metres: the toolbox's maxDepth."""
UNKNOWN = 2047
MOST_APART = 0.05
"""Seconds between a colour and a depth frame that are taken as one."""


@dataclass(frozen=True, kw_only=True)
class NyuLabelled(Reader):
    """NYU Depth V2, labelled: 1,449 indoor frames of a Kinect with in-painted and raw depth, in one file.

    Give the file ``nyu_depth_v2_labeled.mat`` (2.8 GB) or its folder; ``splits.mat`` beside it gives the official
    split into 795 frames for training and 654 for testing.

    The file is HDF5 (MATLAB v7.3), so that its axes come reversed: ``images`` (N, 3, 640, 480) uint8, ``depths`` and
    ``rawDepths`` (N, 640, 480) float32, z in metres, both registered to the colour image and free of lens distortion.
    Variant "filled" is ``depths``, without holes, in-painted by colourisation; "raw" is ``rawDepths``, where 0 is
    unknown. One frame is read at a time.

    Of each 640 x 480 frame the toolbox's region is delivered, 561 x 427 pixels: around it lies a white border that
    undistortion left. The intrinsics are the toolbox's for the colour camera (fx 518.858, fy 519.470, cx 325.582,
    cy 253.736), moved by one pixel because MATLAB counts from 1, and by the crop.

    A group is a scene by its name (``scenes``) without the letter at its end: basement_0001a and basement_0001b are
    two recordings of one place. The official split goes before. Sources are the frames' numbers from 0001.

    Facts: the dataset's page and its toolbox; the names in splits.mat (``trainNdxs``, ``testNdxs``, counted from 1) are
    as all users read them.
    """

    TITLE = "NYU Depth V2 (labelled)"
    VARIANTS = ("filled", "raw")
    PARTS = ("train", "test")

    def _file(self) -> Path:
        return self.path / "nyu_depth_v2_labeled.mat" if self.path.is_dir() else self.path

    def _layout(self) -> str:
        return f"its split is in splits.mat, which should lie beside {self._file().name}."

    def _find(self) -> Iterator[Item]:
        path = self._file()
        with opened(path) as file:
            count = _array(file, "images").shape[0]
            for name in ("depths", "rawDepths"):
                if len(_array(file, name)) != count:
                    raise InputError(f"{path} has {count} images but {len(file[name])} {name}: fetch it again.")
            groups = _scene_names(file, count)
        splits = _splits(path.with_name("splits.mat"), count)
        for i, (group, split) in enumerate(zip(groups, splits, strict=True)):
            yield Item(f"{i + 1:04d}", (path,), group, split, i)

    def _load(self, item: Item) -> Frame:
        with opened(item.files[0]) as file:
            image = _array(file, "images")[item.row]
            depth = _array(file, "depths" if self.variant == "filled" else "rawDepths")[item.row]
        return Frame(np.ascontiguousarray(image.T[CROP]), known(depth.T[CROP], 0.0), CROPPED)


def _array(file: Any, name: str) -> Any:
    if name == "images":
        images = array(file, name, (None, 3, WIDTH, HEIGHT), "u")
        if images.dtype != np.uint8:
            raise InputError(
                f"{file.filename} has images of {images.dtype}, not uint8: check that it is the right file."
            )
        return images
    return array(file, name, (None, WIDTH, HEIGHT), "f")


def _scene_names(file: Any, count: int) -> list[str]:
    """Name the place of each frame; "" where the file does not have the field."""
    if "scenes" not in file:
        return [""] * count
    references = array(file, "scenes", (1, count), "O")[0]
    return [place("".join(map(chr, np.ravel(file[reference][()])))) for reference in references]


def place(scene: str) -> str:
    """Name what several recordings of one place, told apart by a letter, have in common."""
    return re.sub(r"(?<=\d)[a-z]$", "", scene)


def _splits(path: Path, count: int) -> list[str]:
    splits = [""] * count
    if not path.is_file():
        return splits
    numbers = read_mat(path, "trainNdxs", "testNdxs")
    for name, split in (("trainNdxs", "train"), ("testNdxs", "test")):
        for number in numbers[name].ravel().tolist():
            if number != int(number) or not 1 <= number <= count or splits[int(number) - 1]:
                raise InputError(
                    f"{path} has the number {number:g} in {name}, twice or beyond the dataset's {count} frames: "
                    "fetch it again."
                )
            splits[int(number) - 1] = split
    return splits


@dataclass(frozen=True, kw_only=True)
class NyuRaw(Reader):
    """NYU Depth V2, raw: recordings of 464 indoor scenes by a Kinect, 407,024 frames, depth registered to colour here.

    Give the folder that holds the scenes' folders, or one of those. In them lie ``r-TIME-TICK.ppm``, 8-bit colour, and
    ``d-TIME-TICK.pgm``, the Kinect's 11-bit disparity, both 640 x 480; TIME is in seconds. Each depth frame is paired
    with the colour frame next in time; pairs more than 0.05 s apart are left out. There is no official split; a group
    is a folder's name without the letter at its end, as for the labelled frames.

    A PGM's 16-bit numbers should come with the high byte first, but these come with the low one first, which no
    library guesses. They are read in the order that keeps all of them within 11 bits. 2047 is unknown; otherwise
    z = 351.3 / (1092.5 - number) metres. The toolbox sets what is beyond 10 m to 10 m; here it is unknown.

    The two cameras do not see the same picture. Variant "registered" takes the distortion out of the colour image and
    moves every depth pixel into it, by the calibration of the toolbox, the nearest depth winning where several meet;
    then both are cropped to the toolbox's 561 x 427 pixels. It differs from the toolbox in that depth is not blended
    between pixels first, and is z of the colour camera rather than of the depth camera (0.2 % apart at most). Colour
    pixels that no depth pixel meets are unknown. Variant "unregistered" gives both as they are, without intrinsics:
    edges do not agree.

    Facts: the toolbox (camera_params.m, project_depth_map.m, get_synched_frames.m).
    """

    TITLE = "NYU Depth V2 (raw)"
    VARIANTS = ("registered", "unregistered")

    def _layout(self) -> str:
        return "folders with files r-*.ppm and d-*.pgm no more than 0.05 s apart were looked for."

    def _find(self) -> Iterator[Item]:
        colour = _frames(self.path, "**/r-*.ppm")
        for folder, frames in _frames(self.path, "**/d-*.pgm").items():
            partners = colour.get(folder, [])
            times = np.array([time for time, _ in partners])
            for time, file in frames if partners else []:
                nearest = int(np.argmin(np.abs(times - time)))
                if abs(times[nearest] - time) <= MOST_APART:
                    group = place(folder.resolve().name)
                    yield Item(relative(file, self.path), (partners[nearest][1], file), group)

    def _load(self, item: Item) -> Frame:
        colour, depth = item.files
        image, raw = read_image(colour), disparity(depth)
        with np.errstate(divide="ignore"):
            z = 351.3 / (1092.5 - known(raw, UNKNOWN))
        z[(z < 0) | (z > FARTHEST)] = np.nan
        if self.variant == "unregistered":
            return Frame(image, z)
        for path, found in ((colour, image), (depth, raw)):
            if found.shape[:2] != (HEIGHT, WIDTH):
                raise InputError(
                    f"{path} has {pixels(found.shape)} pixels: the cameras were calibrated for 640x480, so use variant "
                    "'unregistered'."
                )
        return Frame(undistorted(image)[CROP], registered(z)[CROP], CROPPED)


def _frames(path: Path, pattern: str) -> dict[Path, list[tuple[float, Path]]]:
    """List the frames of each folder with their times, in seconds; files that are named otherwise are left out."""
    frames: dict[Path, list[tuple[float, Path]]] = {}
    for file in matching(path, pattern):
        if match := re.fullmatch(r"[rd]-(\d+\.\d+)-\d+", file.stem):
            frames.setdefault(file.parent, []).append((float(match[1]), file))
    return frames


def disparity(path: Path) -> npt.NDArray[np.uint16]:
    """Read the Kinect's 11-bit disparity from a PGM in either order of bytes.

    Raises
    ------
    InputError
        If the file cannot be read or holds no such numbers.
    """
    stored = read_depth(path)
    if stored.max() <= 255 or stored.max() > 65535:
        raise InputError(f"{path} is not a 16-bit PGM of a Kinect's disparities: fetch it again.")
    numbers = stored.astype(np.uint16)
    for candidate in (numbers.byteswap(), numbers):
        if candidate.max() <= UNKNOWN:
            return np.asarray(candidate)
    raise InputError(f"{path} has numbers over 2047 in either order of bytes, so it is no Kinect's disparity.")


def _distorted(x: Float64, y: Float64, lens: tuple[float, ...]) -> tuple[Float64, Float64]:
    """Return where a lens (k1, k2, p1, p2, k3) images the direction (x, y)."""
    k1, k2, p1, p2, k3 = lens
    square = x * x + y * y
    radial = 1 + square * (k1 + square * (k2 + square * k3))
    across = x * radial + 2 * p1 * x * y + p2 * (square + 2 * x * x)
    return across, y * radial + p1 * (square + 2 * y * y) + 2 * p2 * x * y


def undistorted(image: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return the colour camera's picture (480, 640, 3) as a pinhole would have it; black where it has none."""
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(np.float64)
    x, y = _distorted((x - _COLOUR.cx) / _COLOUR.fx, (y - _COLOUR.cy) / _COLOUR.fy, _COLOUR_LENS)
    return _interpolated(image, y * _COLOUR.fy + _COLOUR.cy, x * _COLOUR.fx + _COLOUR.cx)


def _interpolated(image: npt.NDArray[Any], y: Float64, x: Float64) -> npt.NDArray[Any]:
    """Interpolate codes linearly at positions, with black around the picture; OpenCV's depends on the processor."""
    wide = np.pad(image, ((2, 2), (2, 2), (0, 0))).astype(np.float64)
    top, left = np.clip(np.floor(y), -2, image.shape[0]), np.clip(np.floor(x), -2, image.shape[1])
    down, across = np.clip(y - top, 0.0, 1.0)[..., None], np.clip(x - left, 0.0, 1.0)[..., None]
    i, j = top.astype(np.intp) + 2, left.astype(np.intp) + 2
    upper = wide[i, j] * (1.0 - across) + wide[i, j + 1] * across
    lower = wide[i + 1, j] * (1.0 - across) + wide[i + 1, j + 1] * across
    return np.asarray(np.rint(upper * (1.0 - down) + lower * down).astype(image.dtype))


def _depth_rays() -> tuple[Float64, Float64]:
    """Return the directions x / z and y / z of the depth camera's pixels, its lens's distortion taken out."""
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(np.float64)
    x, y = (x - _DEPTH.cx) / _DEPTH.fx, (y - _DEPTH.cy) / _DEPTH.fy
    true_x, true_y = x, y
    for _ in range(20):
        seen_x, seen_y = _distorted(true_x, true_y, _DEPTH_LENS)
        true_x, true_y = true_x + x - seen_x, true_y + y - seen_y
    return true_x, true_y


def registered(z: Float64) -> Float64:
    """Return the depth camera's z (480, 640), metres, NaN unknown, as z at pixels of the undistorted colour image."""
    x, y = _depth_rays()
    there = np.isfinite(z)
    depth = z[there]
    points = np.stack([x[there] * depth, y[there] * depth, depth])
    turn = _ROTATION.T  # the toolbox inverts it, which is the same to 1e-15
    moved = [sum(turn[row, k] * points[k] for k in range(3)) - _TRANSLATION[row] for row in range(3)]
    with np.errstate(divide="ignore", invalid="ignore"):
        columns = np.rint(moved[0] / moved[2] * _COLOUR.fx + _COLOUR.cx)
        rows = np.rint(moved[1] / moved[2] * _COLOUR.fy + _COLOUR.cy)
    seen = (moved[2] > 0) & (columns >= 0) & (columns < WIDTH) & (rows >= 0) & (rows < HEIGHT)
    out = np.full(HEIGHT * WIDTH, np.inf)
    np.minimum.at(out, rows[seen].astype(np.int64) * WIDTH + columns[seen].astype(np.int64), moved[2][seen])
    return np.where(np.isinf(out), np.nan, out).reshape(HEIGHT, WIDTH)
