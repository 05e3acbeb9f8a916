"""What all readers share: scenes are listed first, read one by one, and checked before anyone sees them."""

import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from ... import InputError
from ..camera import Intrinsics
from ..light import Encoding, decode
from ..lightfield import LightField
from ..scene import Scene
from .files import read_bytes


@dataclass(frozen=True, slots=True)
class Item:
    """One scene of a dataset before it is read.

    Attributes
    ----------
    source
        Names it within the dataset: unique, with slashes, without the extension.
    files
        What it is read from, the colour file first.
    group
        The place where it was taken: scenes of one group go to one split. Its source if left out.
    split
        The official split that it belongs to, if there is one: "train", "val" or "test".
    row
        Its place in files that hold several.
    beside
        Further files that decide what it is, such as a table of cameras.
    """

    source: str
    files: tuple[Path, ...]
    group: str = ""
    split: str = ""
    row: int = 0
    beside: tuple[Path, ...] = ()


@dataclass(frozen=True, eq=False, slots=True)
class Frame:
    """What the files of an item hold.

    Attributes
    ----------
    image
        (H, W, 3) uint8 or uint16, encoded; or float32, linear radiance with white at 1.
    depth
        (H, W) float, z in metres, NaN where unknown; `inf` is a sky.
    intrinsics
        Of the image, if the dataset tells.
    encoding
        Of an image of integers.
    light_field
        Where the other views were taken from, if the image is one of many.
    """

    image: npt.NDArray[Any]
    depth: npt.NDArray[Any]
    intrinsics: Intrinsics | None = None
    encoding: Encoding = "srgb"
    light_field: LightField | None = None


@dataclass(frozen=True, kw_only=True)
class Reader(ABC):
    """Lists the scenes of a dataset and reads them one by one; holds no file open and no pixel in memory.

    Parameters
    ----------
    path
        Where the dataset lies.
    variant
        Which of the dataset's `VARIANTS`; the first if left out.
    part
        Only what belongs to this one of its `PARTS`; everything if left out.
    listing
        A text file with the sources to take, one a line; everything if left out.

    Attributes
    ----------
    TITLE
        Name of the dataset.
    LICENCE
        Its terms, as far as they are known.
    COMMERCIAL
        Whether they allow commercial use.
    VARIANTS
        What there is to choose between, such as two depth maps of a scene.
    PARTS
        The official splits.

    Raises
    ------
    InputError
        If an option makes no sense. Files are looked for at the first call of `scan` or `read`.
    """

    TITLE: ClassVar[str]
    LICENCE: ClassVar[str] = "unknown"
    COMMERCIAL: ClassVar[bool] = False
    VARIANTS: ClassVar[tuple[str, ...]] = ()
    PARTS: ClassVar[tuple[str, ...]] = ()

    path: Path
    variant: str = ""
    part: str = ""
    listing: Path | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", Path(self.path))
        if self.listing is not None:
            object.__setattr__(self, "listing", Path(self.listing))
        for name, known in (("variant", self.VARIANTS), ("part", self.PARTS)):
            value = getattr(self, name)
            if value and value not in known:
                options = f"use one of {', '.join(known)}" if known else "leave it out"
                raise InputError(f"{self.TITLE} has no {name} {value!r}: {options}.")
        if not self.variant and self.VARIANTS:
            object.__setattr__(self, "variant", self.VARIANTS[0])

    @abstractmethod
    def _find(self) -> Iterable[Item]:
        """List the items of the dataset, whatever `part` and `listing` say, in an order that no machine changes."""

    @abstractmethod
    def _load(self, item: Item) -> Frame:
        """Read an item. Damaged files may raise what they like."""

    @cached_property
    def _items(self) -> tuple[Item, ...]:
        # These are false where `Path.exists` raises: for names that are too long, or loops of links.
        if not (os.path.isfile(self.path) or os.path.isdir(self.path)):
            raise InputError(f"{self.path} does not exist, or is neither a file nor a folder: check the path.")
        with naming(self.path, self.TITLE):
            items = tuple(item for item in self._find() if self.part in ("", item.split))
        if not items:
            what = f" of the split {self.part!r}" if self.part else ""
            raise InputError(f"{self.path} holds no scene{what} of {self.TITLE}: {self._layout()}")
        for item in items:
            if not item.source.isprintable():
                raise InputError(f"{self.path} has a scene whose name cannot be printed ({item.source!r}): rename it.")
        return self._listed(items) if self.listing else items

    def _layout(self) -> str:
        return f"see docs/datasets.md for the files that {self.TITLE} has."

    def _listed(self, items: tuple[Item, ...]) -> tuple[Item, ...]:
        assert self.listing is not None
        try:
            lines = read_bytes(self.listing).decode("utf-8-sig").splitlines()
        except UnicodeDecodeError:
            raise InputError(f"the list {self.listing} is not text in UTF-8.") from None
        known = {item.source: item for item in items}
        wanted = dict.fromkeys(line.strip() for line in lines if line.strip())
        missing = [line for line in wanted if line not in known]
        if missing or not wanted:
            what = f"{len(missing)} of the list's {len(wanted)}" if wanted else "none, for the list is empty"
            example = f"{missing[0]!r} is not among them, " if missing else ""
            raise InputError(
                f"{self.listing} names scenes that {self.path} does not have ({what}): {example}names are like "
                f"{items[0].source!r}."
            )
        return tuple(known[line] for line in wanted)

    def __len__(self) -> int:
        """Count the scenes; looks for them on the first call."""
        return len(self._items)

    def scan(self) -> list[Item]:
        """List the scenes. They are looked for once and the result is kept.

        Raises
        ------
        InputError
            If the dataset is absent or not laid out as it should be.
        """
        return list(self._items)

    def files(self, i: int) -> tuple[Path, ...]:
        """Return the files of scene `i`, the colour file first."""
        return self._items[i].files

    def source(self, i: int) -> str:
        """Identify scene `i` within the dataset."""
        return self._items[i].source

    def views(self, i: int) -> npt.NDArray[Any]:
        """Read all views of scene `i`, (V, U, H, W, 3) uint8, sRGB; see `lightfield.refocus`.

        Raises
        ------
        InputError
            If it has only one, or one cannot be read.
        """
        raise InputError(f"{self.TITLE} has one view of each scene: it cannot be refocused.")

    def read(self, i: int) -> Scene:
        """Read one scene.

        Parameters
        ----------
        i
            Index into `scan()`.

        Returns
        -------
        The scene: linear radiance, z-depth in metres with NaN where unknown. A sky's depth is huge or `inf`.

        Raises
        ------
        InputError
            If a file cannot be read, colour and depth differ in size, or the depth cannot be right.
        """
        item = self._items[i]
        with naming(item.files[0] if item.files else self.path, self.TITLE):
            frame = self._load(item)
        return self._scene(frame, item)

    def _scene(self, frame: Frame, item: Item) -> Scene:
        rgb, depth = item.files[0], item.files[-1]
        image, z = frame.image, np.asarray(frame.depth)
        if image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
            raise InputError(f"{rgb} holds an image of shape {image.shape}: colour has shape (H, W, 3).")
        if z.shape != image.shape[:2]:
            raise InputError(
                f"{rgb} has {pixels(image.shape)} pixels but {depth} has {pixels(z.shape)}: "
                "register the depth map to the colour image first."
            )
        if np.isnan(z).all():
            raise InputError(f"{depth} has no valid depth: leave this scene ({item.source}) out.")
        with np.errstate(over="ignore"):
            metres = z.astype(np.float32)
        if (metres <= 0).any():
            raise InputError(
                f"{depth} has {int((metres <= 0).sum())} depths that are zero or negative, which "
                f"{self.TITLE} does not have: fetch {item.source} again."
            )
        if image.dtype.kind != "f":
            light = decode(image, frame.encoding)
            return Scene(light, metres, frame.intrinsics, item.source, light_field=frame.light_field)
        light = image.astype(np.float32)
        if not (light.min() >= 0 and light.max() < np.inf):
            raise InputError(f"{rgb} holds negative or non-finite radiance: fetch {item.source} again.")
        return Scene(light, metres, frame.intrinsics, item.source)


def pixels(shape: Iterable[int]) -> str:
    """Write the size of an image of shape (H, W, ...) as width x height."""
    height, width, *_ = (*shape, 0, 0)
    return f"{width}x{height}"


@contextmanager
def naming(path: Path, title: str) -> Iterator[None]:
    """Turn what a library raises of a damaged file into one sentence that names it.

    Raises
    ------
    InputError
        In place of anything else.
    """
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # h5py, scipy, zipfile and the like raise a dozen types
        named = getattr(error, "filename", None)
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise InputError(
            f"{named or path} is damaged or not what {title} has ({reason.splitlines()[0][:160].rstrip('.')}): "
            "fetch it again."
        ) from None


def relative(path: Path, root: Path) -> str:
    """Name a file within a dataset: with slashes, without its extension."""
    return path.relative_to(root).with_suffix("").as_posix()


def matching(root: Path, *patterns: str) -> list[Path]:
    """List the files below `root` that patterns of `Path.glob` find, by code point of their relative names."""
    found = {path for pattern in patterns for path in root.glob(pattern)}
    files = (path for path in found if path.is_file() and not path.name.startswith("."))
    return sorted(files, key=lambda path: os.fsencode(path.relative_to(root).as_posix()))
