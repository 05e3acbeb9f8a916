"""Recordings of RGB-D cameras whose depth lies on the colour picture already: TUM RGB-D and Redwood."""

import bisect
import re
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import ClassVar

from ... import InputError
from ..camera import Intrinsics
from .base import Frame, Item, Reader, matching, relative
from .cameras import camera, expect_size, read_lines
from .depth import known
from .files import read_depth, read_image

_TOLERANCE = 0.020  # seconds between a colour frame and its depth map
_KINECT = camera(525.0, 525.0, 319.5, 239.5)


class _Recording(Reader):
    """Colour and integer depth of one size, 0 unknown."""

    UNIT: ClassVar[float]

    @abstractmethod
    def _camera(self, item: Item) -> Intrinsics:
        """Return the camera of an item."""

    def _load(self, item: Item) -> Frame:
        rgb, depth = item.files
        image = read_image(rgb)
        expect_size(rgb, image, (480, 640))
        return Frame(image, known(read_depth(depth), 0) * self.UNIT, self._camera(item))


class Tum(_Recording):
    """TUM RGB-D: hand-held Kinect recordings of offices and halls.

    `path` is one sequence or a folder of them: ``rgbd_dataset_freiburg1_desk/rgb/1305031452.791720.png``,
    ``depth/1305031452.785000.png``, ``rgb.txt``, ``depth.txt`` (lines of time in seconds and file). Where there is
    an ``associations.txt`` (``associate.txt``, ``associated.txt``), its pairs are taken; otherwise colour and depth
    are paired by the nearest times of the two lists, at most 20 ms apart, each used once; frames without a partner are
    left out.

    Depth is z in 1/5000 m, 16-bit PNG, 0 where unknown, registered to the colour frame. Frames are 640x480.
    Intrinsics are the calibrated ones of freiburg1, 2 or 3, by the folder's name, otherwise the driver's
    (525, 525, 319.5, 239.5). The pictures of freiburg1 and 2 keep their lens distortion, for depth was registered so;
    those of freiburg3 have none. Kinect depth is ragged at the edges of objects.

    There is no official split. One group is one sequence; several sequences show the same office or hall.

    Sources: the dataset's page on file formats (unit, layout, registration), as quoted by others.
    """

    TITLE: ClassVar[str] = "TUM RGB-D"
    UNIT: ClassVar[float] = 1 / 5000
    CAMERAS: ClassVar[dict[str, Intrinsics]] = {
        "1": camera(517.3, 516.5, 318.6, 255.3),
        "2": camera(520.9, 521.0, 325.1, 249.7),
        "3": camera(535.4, 539.2, 320.1, 247.6),
    }
    LISTS: ClassVar[tuple[str, ...]] = ("associations.txt", "associate.txt", "associated.txt")

    def _find(self) -> Iterator[Item]:
        lists = matching(self.path, *(prefix + name for prefix in ("", "*/") for name in ("rgb.txt", *self.LISTS)))
        for folder in dict.fromkeys(path.parent for path in lists):
            for rgb, depth in dict(self._pairs(folder)).items():
                yield Item(relative(rgb, self.path), (rgb, depth), folder.resolve().name)

    def _layout(self) -> str:
        return "no rgb.txt and depth.txt, and no associations.txt, in it or in its folders."

    def _pairs(self, folder: Path) -> list[tuple[Path, Path]]:
        for name in self.LISTS:
            if (folder / name).is_file():
                return self._associated(folder / name)
        colour, depth = _times(folder / "rgb.txt"), _times(folder / "depth.txt")
        pairs = associate([time for time, _ in colour], [time for time, _ in depth], _TOLERANCE)
        if not pairs:
            raise InputError(
                f"{folder / 'rgb.txt'} and depth.txt have no times within 20 ms: they are of two recordings."
            )
        return [
            (_listed(folder / "rgb.txt", colour[i][1]), _listed(folder / "depth.txt", depth[j][1])) for i, j in pairs
        ]

    @staticmethod
    def _associated(path: Path) -> list[tuple[Path, Path]]:
        pairs: dict[Path, Path] = {}
        for line in read_lines(path):
            words = line.split()
            if len(words) != 4:
                raise InputError(
                    f"{path} has a line that is not time, file, time and file ({line[:60]!r}): mend or delete it."
                )
            names = words[1::2]
            rgb, depth = names[::-1] if names[0].startswith("depth") else names
            pairs.setdefault(_listed(path, rgb), _listed(path, depth))
        return list(pairs.items())

    def _camera(self, item: Item) -> Intrinsics:
        match = re.search(r"freiburg([123])", item.group)
        return self.CAMERAS[match[1]] if match else _KINECT


class Redwood(_Recording):
    """Redwood: recordings of Kinect-like cameras, real (scans) and rendered (living rooms and offices of ICL-NUIM).

    `path` is one recording or a folder of them. Its colour lies in ``rgb``, ``color`` or ``image``, its depth in
    ``depth``; or both in folders that share the beginning of their names, as in Open3D's sample: ``redwood_color`` and
    ``redwood_depth``. Files pair by name (``00000.jpg``, ``00000.png``). In the object scans, whose names are
    ``FRAME-MICROSECONDS`` (``0000001-000000000000.jpg``), they pair by the nearest times, at most 20 ms apart (that the
    numbers are microseconds is not confirmed); frames without a partner are left out.

    Depth is z in millimetres, 16-bit PNG, 0 where unknown, registered to the colour frame. Frames are 640x480,
    intrinsics (525, 525, 319.5, 239.5), the driver's. There is no official split. One group is one recording.

    The licence is that of the object scans; that of the rooms is not confirmed. Sources: the README of redwood-3dscan
    (terms), Open3D's tutorials (unit), others' readers (intrinsics), files of one recording.
    """

    TITLE: ClassVar[str] = "Redwood"
    LICENCE: ClassVar[str] = "public domain (the object scans)"
    UNIT: ClassVar[float] = 0.001

    def _find(self) -> Iterator[Item]:
        for colour in sorted(p for pattern in ("*", "*/*") for p in self.path.glob(pattern) if p.is_dir()):
            match = re.fullmatch(r"(|.*[_-])(?:rgb|color|image)", colour.name)
            depth = colour.with_name(f"{match[1]}depth") if match else None
            if match and depth and depth.is_dir():
                group = (colour.parent.resolve().name + "/" + match[1]).rstrip("/_-")
                for pair in _recorded(matching(colour, "*.*"), matching(depth, "*.png")):
                    yield Item(relative(pair[0], self.path), pair, group)

    def _layout(self) -> str:
        return "no rgb (color, image) beside depth in it or in its folders."

    def _camera(self, item: Item) -> Intrinsics:
        return _KINECT


def _recorded(colour: Sequence[Path], depth: Sequence[Path]) -> list[tuple[Path, Path]]:
    names = [re.fullmatch(r"\d+-(\d+)", path.stem) for path in (*colour, *depth)]
    if colour and depth and all(names):
        times = [int(match[1]) * 1e-6 for match in names if match]
        pairs = associate(times[: len(colour)], times[len(colour) :], _TOLERANCE)
        return [(colour[i], depth[j]) for i, j in pairs]
    by_name = {path.stem: path for path in depth}
    unique = {path.stem: path for path in reversed(colour)}
    missing = [path for path in colour if path.stem not in by_name]
    if missing:
        raise InputError(f"{missing[0]} has no depth map of the same name beside it: fetch it again, or remove it.")
    return [(unique[stem], by_name[stem]) for stem in sorted(unique)]


def _times(path: Path) -> list[tuple[float, str]]:
    """Time and file of each line of a list."""
    entries = []
    for line in read_lines(path):
        time, _, name = line.partition(" ")
        try:
            entries.append((float(time), name.strip()))
        except ValueError:
            name = ""
        if not name:
            raise InputError(f"{path} has a line that is not a time and a file ({line[:60]!r}): fetch it again.")
    return entries


def _listed(path: Path, name: str) -> Path:
    """Find the file that a list beside it names."""
    if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
        raise InputError(f"{path} names {name[:60]!r}, which lies elsewhere: names are relative to the list.")
    return path.parent / name


def associate(first: Sequence[float], second: Sequence[float], tolerance: float) -> list[tuple[int, int]]:
    """Pair two lists of times: the nearest first, each used once, none farther apart than `tolerance`.

    Returns
    -------
    Indices into both, in the order of `first`.
    """
    order = sorted(range(len(second)), key=lambda j: second[j])
    times = [second[j] for j in order]
    near = []
    for i, time in enumerate(first):
        at = bisect.bisect_left(times, time - tolerance)
        while at < len(times) and times[at] - time <= tolerance:
            near.append((abs(times[at] - time), i, order[at]))
            at += 1
    pairs: dict[int, int] = {}
    taken: set[int] = set()
    for _, i, j in sorted(near):
        if i not in pairs and j not in taken:
            pairs[i] = j
            taken.add(j)
    return sorted(pairs.items())
