"""Folders of colour images beside depth maps, in whatever unit and naming they come."""

import glob
import math
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from ... import InputError
from ..camera import Intrinsics
from ..light import Encoding
from ..scene import PLAUSIBLE_DEPTH
from .base import Frame, Item, Reader, pixels
from .depth import known, z_from_disparity, z_from_ray
from .files import read_depth, read_image

DepthKind = Literal["z", "ray", "disparity"]
Pairing = Literal["name", "order"]
Group = Literal["file", "folder"]
Float = npt.NDArray[np.float32] | npt.NDArray[np.float64]

# Tried in this order when a map does not fit its range, to name the unit that would.
_UNITS = {1.0: "metres", 0.001: "millimetres", 0.01: "centimetres", 0.0002: "1/5000 metre (TUM RGB-D)"}


@dataclass(frozen=True, kw_only=True)
class FolderReader(Reader):
    """A folder of colour images and depth maps.

    In `rgb` and `depth_map` every `*` stands for a part of one file or folder name, `**` between slashes for
    any number of folders; all other characters mean themselves. What the stars stand for is a file's name in
    pairing: `*_color.png` and `*_depth.png` pair `3_color.png` with `3_depth.png`. Where a pattern ends in
    `*`, the extension is not part of that name. Hidden files are left out.

    Parameters
    ----------
    path
        The folder.
    rgb, depth_map
        Patterns of the colour files and of the depth files, relative to `path`, with `/` between folders.
    pairing
        "name": files belong together if their names agree. "order": the first colour file belongs to the
        first depth file and so on, for recordings that name both by their own clock; the counts must agree.
    depth_unit
        Metres per stored number; 1.0 where the file holds metres. Not used for disparity.
    depth_kind
        "z": distance along the optical axis. "ray": distance from the camera's centre, converted with
        `intrinsics`. "disparity": pixels, ``z = focal * baseline / |disparity + disparity_offset|``.
    invalid
        Stored numbers that mean unknown. NaN and infinity always do.
    focal
        Focal length in pixels, for disparity.
    baseline
        Metres, for disparity.
    disparity_offset
        Pixels added to each disparity (Middlebury's `doffs`).
    intrinsics
        Of all images of the folder; handed on with each scene, and needed for "ray".
    encoding
        Of the colour files.
    depth_range
        Nearest and farthest depth to expect, metres. A map with more than half of its valid depths outside is
        refused, because its unit is wrong; without it, the range is 5 cm to 100 km.
    size
        Height and width to expect, pixels.
    group
        What was taken at one place, and goes to one split: each colour "file" for itself, or all of a "folder".
    listing
        A text file with the sources to take, one a line; everything if left out.

    Raises
    ------
    InputError
        If an option makes no sense. Files are looked for at the first call of `scan` or `read`.
    """

    TITLE = "the folder"
    LICENCE = "that of your files"
    COMMERCIAL = True

    rgb: str = "rgb/*"
    depth_map: str = "depth/*"
    pairing: Pairing = "name"
    depth_unit: float = 0.001
    depth_kind: DepthKind = "z"
    invalid: tuple[float, ...] = (0.0,)
    focal: float | None = None
    baseline: float | None = None
    disparity_offset: float = 0.0
    intrinsics: Intrinsics | None = None
    encoding: Encoding = "srgb"
    depth_range: tuple[float, float] | None = None
    size: tuple[int, int] | None = None
    group: Group = "file"

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("invalid", "depth_range", "size"):
            value = getattr(self, name)
            if value is None and name != "invalid":
                continue
            if not isinstance(value, (tuple, list)) or not all(map(_is_number, value)):
                raise InputError(f"{name} must be a list of numbers, not {value!r}.")
            object.__setattr__(self, name, tuple(value))  # recipes give lists
        for name, options in (
            ("depth_kind", DepthKind), ("pairing", Pairing), ("encoding", Encoding), ("group", Group),
        ):  # fmt: skip
            if getattr(self, name) not in get_args(options):
                raise InputError(f"{name} must be one of {', '.join(get_args(options))}, not {getattr(self, name)!r}.")
        for name in ("rgb", "depth_map"):
            pattern = getattr(self, name)
            if not pattern or Path(pattern).is_absolute():
                raise InputError(f"{name} must be a pattern relative to the folder, not {pattern!r}.")
        self._check_numbers()

    def _check_numbers(self) -> None:
        needed = ("depth_unit", "focal", "baseline") if self.depth_kind == "disparity" else ("depth_unit",)
        for name in needed:
            value = getattr(self, name)
            if not (_is_number(value) and math.isfinite(value) and value > 0):
                raise InputError(f"{name} must be a positive number for depth_kind {self.depth_kind!r}, not {value!r}.")
        if not math.isfinite(self.disparity_offset):
            raise InputError(f"disparity_offset must be a finite number of pixels, not {self.disparity_offset}.")
        if self.depth_kind == "ray" and self.intrinsics is None:
            raise InputError("depth_kind 'ray' needs intrinsics: without them ray distance cannot become z-depth.")
        limits = self.depth_range
        if limits is not None and not (len(limits) == 2 and 0 <= limits[0] < limits[1]):
            raise InputError(f"depth_range must be two growing distances in metres, not {limits}.")
        if self.size is not None and not (len(self.size) == 2 and min(self.size) > 0):
            raise InputError(f"size must be a positive height and width in pixels, not {self.size}.")

    def _find(self) -> list[Item]:
        items = []
        for colour, depth in self._pairs():
            source = _without_extension(colour)
            group = PurePosixPath(colour).parent.as_posix() if self.group == "folder" else source
            items.append(Item(source, (self.path / colour, self.path / depth), group))
        return items

    def _load(self, item: Item) -> Frame:
        rgb_path, depth_path = item.files
        image, raw = read_image(rgb_path), read_depth(depth_path)
        if self.size is not None and image.shape[:2] != self.size:
            raise InputError(
                f"{rgb_path} has {pixels(image.shape)} pixels, not the expected {pixels(self.size)}: "
                "resize or crop both files first, or change size."
            )
        if raw.shape != image.shape[:2]:  # before ray distances ask for the lens
            return Frame(image, raw)
        return Frame(image, self._z_depth(raw, depth_path), self.intrinsics, self.encoding)

    def _z_depth(self, raw: Float, path: Path) -> npt.NDArray[np.float32]:
        with np.errstate(over="ignore"):  # of a number that no float32 file can hold
            numbers = known(raw, math.inf, -math.inf, *map(float, self.invalid))
        if np.isnan(numbers).all():
            raise InputError(
                f"{path} has no valid depth, every number being NaN, infinite or among invalid = "
                f"{list(self.invalid)}: leave this scene out, or correct invalid."
            )
        metres = self._to_metres(numbers, path)
        with np.errstate(over="ignore"):
            depth = metres.astype(np.float32)
        if (depth <= 0).any():
            raise InputError(
                f"{path} has {int((depth <= 0).sum())} depths that are zero or negative (lowest stored "
                f"number {float(np.nanmin(numbers)):g}): add the number that means unknown to invalid."
            )
        self._check_range(metres, path)
        return depth

    def _to_metres(self, numbers: npt.NDArray[np.float64], path: Path) -> npt.NDArray[np.float64]:
        if self.depth_kind != "disparity":
            metres = numbers * self.depth_unit
            if self.depth_kind == "ray" and self.intrinsics is not None:
                metres = z_from_ray(metres, self.intrinsics)
            return metres
        disparity = numbers + self.disparity_offset
        low, high = float(np.nanmin(disparity)), float(np.nanmax(disparity))
        if low < 0 < high:
            # Either sign is in use, but of both only one can be in front of the camera.
            raise InputError(
                f"{path} has disparities of both signs ({low:g} to {high:g} pixels with the offset): "
                "set disparity_offset, or add the number that means unknown to invalid."
            )
        assert self.focal is not None
        assert self.baseline is not None
        return z_from_disparity(np.abs(disparity), self.focal, self.baseline)

    def _check_range(self, metres: npt.NDArray[np.float64], path: Path) -> None:
        valid = metres[~np.isnan(metres)]
        near, far = self.depth_range or PLAUSIBLE_DEPTH
        if 2 * np.count_nonzero((valid < near) | (valid > far)) > valid.size:
            median = float(np.median(valid))
            raise InputError(
                f"{path} has more than half of its depths outside {near:g} to {far:g} m, the median is "
                f"{median:g} m: {self._range_advice(median)}, otherwise change the depth range (scenes.depth)."
            )

    def _range_advice(self, median: float) -> str:
        if self.depth_kind == "disparity":
            return "check focal (pixels), baseline (metres) and disparity_offset"
        near, far = self.depth_range or (0.1, 100.0)
        for unit, name in _UNITS.items():
            if unit != self.depth_unit and near <= median / self.depth_unit * unit <= far:
                return f"if the file is in {name}, set depth_unit = {unit:g}"
        return f"check depth_unit ({self.depth_unit:g} metres per stored number)"

    def _pairs(self) -> list[tuple[str, str]]:
        """Colour files and their depth maps, relative to the folder."""
        if not self.path.is_dir():
            raise InputError(f"{self.path} is not a folder: give the folder that holds colour and depth files.")
        colour, depth = self._files("rgb"), self._files("depth_map")
        both = sorted(set(colour) & set(depth))
        if both:
            raise InputError(
                f"{self.path / both[0]} matches both rgb = {self.rgb!r} and depth_map = {self.depth_map!r}: "
                "make the patterns exclude each other."
            )
        pairs = self._pair_by_order(colour, depth) if self.pairing == "order" else self._pair_by_name(colour, depth)
        first: dict[str, str] = {}
        for name, _ in pairs:
            other = first.setdefault(_without_extension(name), name)
            if other != name:
                raise InputError(
                    f"{self.path / other} and {name} differ only in their extension: put it into rgb, "
                    f"for example rgb = {_without_extension(self.rgb) + PurePosixPath(other).suffix!r}."
                )
        return pairs

    def _files(self, option: Literal["rgb", "depth_map"]) -> list[str]:
        """Sort what an option's pattern matches: files, relative to the folder, with slashes."""
        pattern = _normal(getattr(self, option))
        escaped = "*".join(glob.escape(part) for part in pattern.split("*"))
        found = {name.replace(os.sep, "/") for name in glob.iglob(escaped, root_dir=self.path, recursive=True) if name}
        files = sorted(name for name in found if (self.path / name).is_file())
        unspeakable = [name for name in files if not name.isprintable() and "\udc80" <= max(name) <= "\udcff"]
        if unspeakable:
            raise InputError(f"{self.path} has a file whose name is not UTF-8 ({unspeakable[0]!r}): rename it.")
        if not files:
            what = "colour" if option == "rgb" else "depth"
            advice = f"only folders match, try {pattern + '/*'!r}" if found else f"correct {option}"
            raise InputError(f"{self.path} has no {what} files that match {option} = {pattern!r}: {advice}.")
        return files

    def _pair_by_order(self, colour: Sequence[str], depth: Sequence[str]) -> list[tuple[str, str]]:
        if len(colour) != len(depth):
            raise InputError(
                f"{self.path} has {len(colour)} colour files and {len(depth)} depth files, which cannot pair "
                "in order: remove those without a partner."
            )
        return list(zip(colour, depth, strict=True))

    def _pair_by_name(self, colour: Sequence[str], depth: Sequence[str]) -> list[tuple[str, str]]:
        of_colour, of_depth = self._by_key("rgb", colour), self._by_key("depth_map", depth)
        for mine, others, what, partner in (
            (of_colour, of_depth, "colour files", "depth map"),
            (of_depth, of_colour, "depth files", "colour image"),
        ):
            lonely = sorted(mine[key] for key in mine.keys() - others.keys())
            if lonely:
                if len(lonely) < len(mine):
                    remedy = "remove them, or correct rgb and depth_map"
                else:
                    remedy = "correct rgb and depth_map, or set pairing = 'order' if their orders agree"
                raise InputError(
                    f"{len(lonely)} of {len(mine)} {what} have no {partner} of the same name, the first is "
                    f"{self.path / lonely[0]}: {remedy}."
                )
        return [(name, of_depth[key]) for key, name in of_colour.items()]

    def _by_key(self, option: Literal["rgb", "depth_map"], files: Sequence[str]) -> dict[str, str]:
        pattern = _normal(getattr(self, option))
        keys: dict[str, str] = {}
        for name in files:
            other = keys.setdefault(_key(pattern, name), name)
            if other != name:
                raise InputError(
                    f"{self.path / other} and {name} both match {option} = {pattern!r} under one name: "
                    "narrow the pattern, for example with an extension."
                )
        return keys


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float, np.number)) and not isinstance(value, bool)


def _normal(pattern: str) -> str:
    return PurePosixPath(pattern).as_posix()


def _without_extension(name: str) -> str:
    return PurePosixPath(name).with_suffix("").as_posix()


def _key(pattern: str, name: str) -> str:
    """Join, by slashes, what the stars of a pattern stand for in a file's name."""
    match = None
    if pattern.endswith("*"):
        match = _stars(pattern.removesuffix(".*")).fullmatch(_without_extension(name))
    match = match or _stars(pattern).fullmatch(name)
    # Without a match the file system ignores case where the pattern does not.
    return "/".join(filter(None, match.groups())) if match else name


def _stars(pattern: str) -> re.Pattern[str]:
    """Regular expression that captures what each star stands for."""
    *folders, last = pattern.split("/")
    parts = ["(?:(.*)/)?" if folder == "**" else _star(folder) + "/" for folder in folders]
    return re.compile("".join(parts) + ("(.*)" if last == "**" else _star(last)), re.DOTALL)


def _star(part: str) -> str:
    return "([^/]*)".join(re.escape(text) for text in re.split(r"\*+", part))
