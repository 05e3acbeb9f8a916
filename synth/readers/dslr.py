"""The DSLR set of D3-Net: two photographs of each scene, sharp and defocused."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import ClassVar

from ... import InputError
from ..camera import ThinLens
from ..scene import Scene
from .base import Frame, Item, Reader, matching, relative
from .depth import known
from .files import read_depth, read_image

_FOLDERS = {"N8": "dfd_dataset_indoor_N8", "N2_8": "dfd_dataset_indoor_N2_8"}
_TOLERANCE = 0.4  # seconds between the two clocks' names of a scene; two scenes are at least 14 s apart


class Dslr(Reader):
    """D3-Net's indoor photographs for depth from defocus: 110 scenes through f/8 and f/2.8, with a depth sensor's map.

    `path` is ``dfd_indoor``, with ``dfd_dataset_indoor_N8/rgb/train/2018-04-26T16:38:31.689710.JPG`` (the nearly
    all-in-focus photograph; N2_8 is the defocused one; train or test) and
    ``dfd_dataset_indoor_N8/depth/train/2018-04-26T16:38:31.655986.png``. Where N8 has no depth, that of N2_8 is taken:
    they have the same names.

    Depth is 16-bit PNG, millimetres of z from an Asus Xtion, registered to the camera; 0 would mean unknown, but the
    published maps are filled. Photographs are JPEG, 645x432. Camera and sensor named their files by two clocks: the
    files of a split are paired by order, and refused where a pair's times differ by more than 0.4 s.

    Variants: "N8", and "N2_8" for the real defocused photograph as input of an evaluation; `pair` reads both. The lens
    (`LENS`: Nikon D200, 35 mm, focused at 1.7 m, pixels of 36 um) is that of the authors' script that imitates it,
    there at f/2.5, and not part of the files: no intrinsics are handed on. The official split has 81 scenes for
    training and 29 for testing. Nothing tells which scenes were taken in one room: each is its own group.

    The licence is that of the repository they lie in. Sources: its files and scripts, Carvalho et al. 2018, section 4.
    """

    TITLE: ClassVar[str] = "D3-Net's DSLR set"
    LICENCE: ClassVar[str] = "GPLv3 and for non-commercial research only, by its repository"
    VARIANTS: ClassVar[tuple[str, ...]] = ("N8", "N2_8")
    PARTS: ClassVar[tuple[str, ...]] = ("train", "test")
    LENS: ClassVar[ThinLens] = ThinLens(focal_length=0.035, f_number=2.8, focus_distance=1.7, pixel_pitch=36e-6)

    @staticmethod
    def has_part(path: Path, part: str) -> bool:
        """Return whether there are photographs of a part; nothing is read."""
        return (path / _FOLDERS["N8"] / "rgb" / part).is_dir()

    def _find(self) -> Iterator[Item]:
        for split in sorted(self.PARTS):
            photographs = matching(self.path, f"{_FOLDERS[self.variant]}/rgb/{split}/*.*")
            depths: list[Path] = []
            for variant in (self.variant, *self.VARIANTS):
                depths = depths or matching(self.path, f"{_FOLDERS[variant]}/depth/{split}/*.*")
            if len(photographs) != len(depths):
                raise InputError(
                    f"{self.path} has {len(photographs)} photographs and {len(depths)} depth maps for "
                    f"{split}, which cannot pair in order: fetch it again."
                )
            for rgb, depth in zip(photographs, depths, strict=True):
                if abs(_seconds(rgb) - _seconds(depth)) > _TOLERANCE:
                    raise InputError(f"{rgb} and {depth} were not taken together: files of this set are missing.")
                yield Item(relative(rgb, self.path), (rgb, depth), f"{split}/{depth.stem}", split)

    def _layout(self) -> str:
        if self.path.is_file():
            return "it is a file; give the folder dfd_indoor that the set comes in."
        parts = (self.part,) if self.part else self.PARTS
        places = " or ".join(f"{_FOLDERS[self.variant]}/rgb/{part}" for part in parts)
        return f"no photograph is in {places}; give the folder dfd_indoor that the set comes in."

    def _load(self, item: Item) -> Frame:
        rgb, depth = item.files
        return Frame(read_image(rgb), known(read_depth(depth), 0) * 0.001)

    def pair(self, i: int) -> tuple[Scene, Scene]:
        """Read scene `i` through f/8 and through f/2.8.

        Raises
        ------
        InputError
            As `read` does, or if the other photograph is not there.
        """
        group = self._items[i].group
        scenes = []
        for variant in self.VARIANTS:
            reader = self if variant == self.variant else replace(self, variant=variant, listing=None)
            at = [k for k, item in enumerate(reader.scan()) if item.group == group]
            if not at:
                raise InputError(f"{self.path} has no photograph {variant} of {self.source(i)}: fetch it again.")
            scenes.append(reader.read(at[0]))
        return scenes[0], scenes[1]


def _seconds(path: Path) -> float:
    try:
        return datetime.fromisoformat(path.stem).timestamp()
    except ValueError:
        raise InputError(f"{path} is not named by date and time, as 2018-04-26T16:38:31.689710: remove it.") from None
