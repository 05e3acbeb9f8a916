"""Photographs as textures of procedural scenes: a folder of any image files, read as linear light and mip-mapped."""

import hashlib
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from .. import InputError
from .light import srgb_to_linear
from .procedural_kernels import TILE_TEXELS
from .readers.files import read_image
from .shapes import Rng

Texels = npt.NDArray[np.uint16]

SIDE = 512
SUFFIXES = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp", ".bmp", ".ppm")
MOST_KEPT = 24
"""Photographs that a process keeps, 2 MB each."""
IN_A_SCENE = 4
"""Different photographs in one scene, at most: reading them is what takes time."""


@dataclass(frozen=True)
class Photographs:
    """The photographs of a folder and its subfolders, or a part of them.

    They are named, sorted and parted by their paths within the folder: where the folder lies, and in which order the
    system lists it, changes nothing.

    Parameters
    ----------
    folder
        Where they are.
    names
        Their paths within the folder, with slashes, in the order of the names' digests.
    """

    folder: Path
    names: tuple[str, ...]

    @classmethod
    def of(cls, folder: str | Path) -> "Photographs":
        """Find the photographs of a folder: JPEG, PNG, TIFF, WebP, BMP, PPM.

        Raises
        ------
        InputError
            If there is no such folder, or none in it.
        """
        folder = Path(folder)
        try:
            if not folder.is_dir():
                raise InputError(f"there is no folder {folder} of photographs for textures: correct scenes.textures.")
            found = [
                path.relative_to(folder).as_posix()
                for path in folder.rglob("*")
                if path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()
            ]
        except InputError:
            raise
        except (OSError, ValueError) as error:
            raise InputError(f"cannot read the folder {folder} of photographs: {error}.") from None
        if not found:
            raise InputError(f"the folder {folder} holds no photographs: textures are {', '.join(SUFFIXES)} files.")
        return cls(folder, tuple(sorted(found, key=_digest)))

    def part(self, start: float, stop: float, name: str) -> "Photographs":
        """Return those from one share to another (0 to 1) of the names in order: each is in one part only.

        Raises
        ------
        InputError
            If none is; `name` tells whose part it was to be.
        """
        count = len(self.names)
        kept = tuple(text for k, text in enumerate(self.names) if start <= (k + 0.5) / count < stop)
        if not kept:
            raise InputError(
                f"the folder {self.folder} holds too few photographs ({count}), none is left for {name}: add more."
            )
        return replace(self, names=kept)

    @property
    def fingerprint(self) -> str:
        """What tells that the folder is still the same: a digest of names and sizes."""
        sizes = (f"{name} {(self.folder / name).stat().st_size}\n" for name in self.names)
        return hashlib.sha256("".join(sizes).encode("utf-8", "surrogateescape")).hexdigest()[:16]

    def texels(self, index: int) -> tuple[Texels, float]:
        """Read a photograph: the square in its middle, and along how many texels one of its pixels lies.

        It is (TILE_TEXELS, 3) uint16, linear, white 65535: its levels of SIDE, SIDE / 2, ... 8 pixels, flattened one
        after the other. Read-only.

        Raises
        ------
        InputError
            If the file cannot be read, naming it.
        """
        path = self.folder / self.names[index]
        try:
            status = path.stat()
        except OSError as error:
            raise InputError(f"cannot read the photograph {path}: {error.strerror}.") from None
        return _texels(path, status.st_size, status.st_mtime_ns)

    def draw(self, rng: Rng) -> tuple[Texels, list[float]]:
        """Draw a few photographs for a scene: (k, TILE_TEXELS, 3), and how many texels a pixel of each takes."""
        count = min(IN_A_SCENE, len(self.names))
        chosen = np.argsort(rng.random(len(self.names)), kind="stable")[:count]
        found = [self.texels(k) for k in chosen.tolist()]
        return np.stack([texels for texels, _ in found]), [coarse for _, coarse in found]


def _digest(name: str) -> bytes:
    return hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()


@lru_cache(maxsize=2)
def _table(bits: int) -> Texels:
    linear = srgb_to_linear(np.arange(2**bits, dtype=np.float64) / (2**bits - 1))
    return np.rint(linear.astype(np.float64) * 65535.0).astype(np.uint16)


@lru_cache(maxsize=MOST_KEPT)
def _texels(path: Path, size: int, changed: int) -> tuple[Texels, float]:
    """Read a photograph; `size` and `changed` only tell the cache when it is another one."""
    from .photo_kernels import resampled

    image = read_image(path)
    if image.dtype.kind == "f":
        raise InputError(f"{path} holds linear light: give photographs of 8 or 16 bits as textures.")
    level = np.empty((SIDE, SIDE, 3), np.uint16)
    resampled(image, _table(8 * image.dtype.itemsize), SIDE, level)
    out = np.empty((TILE_TEXELS, 3), np.uint16)
    at = 0
    while len(level) >= 8:
        out[at : at + level.shape[0] ** 2] = level.reshape(-1, 3)
        at += level.shape[0] ** 2
        four = level.astype(np.uint32)
        mean = four[::2, ::2] + four[1::2, ::2] + four[::2, 1::2] + four[1::2, 1::2]
        level = ((mean + np.uint32(2)) >> np.uint32(2)).astype(np.uint16)
    out.setflags(write=False)
    return out, max(SIDE / min(image.shape[:2]), 1.0)
