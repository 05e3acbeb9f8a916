"""DIODE."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ... import InputError
from ..camera import Intrinsics
from .base import Frame, Item, Reader, matching, pixels, relative
from .depth import known
from .files import read_depth, read_image

CAMERA = Intrinsics(fx=886.81, fy=927.06, cx=511.5, cy=383.5)


@dataclass(frozen=True, kw_only=True)
class Diode(Reader):
    """DIODE: indoor and outdoor pictures cut from a laser scanner's panoramas, 1024 x 768, with far-reaching depth.

    Give the folder that holds ``train`` and ``val`` (81 and 2.6 GB as archives), or any folder below. In them lie
    ``{indoors,outdoor}/scene_*/scan_*/NAME.png``, ``NAME_depth.npy`` (768, 1024, 1) float32, metres, and
    ``NAME_depth_mask.npy`` (768, 1024), 1 where the scanner had a return; all else is unknown, and so is the sky. The
    official split is the folder; its validation part has 325 indoor and 446 outdoor pictures. A group is a scene: one
    building or street.

    The owners do not say whether depth is z or the ray's length. It is taken as z: two independent measurements found
    that walls and floors are flat only so. The intrinsics are those of the devkit, fx 886.81, fy 927.06: pixels are
    not square. Its principal point (512, 384), half of the size, is 511.5, 383.5 where the first pixel's centre is 0.

    Facts: the devkit (README.md, diode.py, intrinsics.txt).
    """

    TITLE = "DIODE"
    LICENCE = "MIT"
    COMMERCIAL = True
    PARTS = ("train", "val")

    def _layout(self) -> str:
        return "files NAME.png with NAME_depth.npy and NAME_depth_mask.npy beside them were looked for."

    def _find(self) -> Iterator[Item]:
        root = self.path.resolve()
        for depth in matching(self.path, "**/*_depth.npy"):
            stem = depth.name.removesuffix("_depth.npy")
            colour, mask = depth.with_name(f"{stem}.png"), depth.with_name(f"{stem}_depth_mask.npy")
            for partner in (colour, mask):
                if not partner.is_file():
                    raise InputError(f"{partner} is missing beside {depth.name}: fetch it again.")
            split, *place = (root / depth.relative_to(self.path)).parts[-5:-2]
            split = split if split in self.PARTS else ""
            yield Item(relative(colour, self.path), (colour, mask, depth), "/".join(place), split)

    def _load(self, item: Item) -> Frame:
        colour, mask, depth = item.files
        image, valid, metres = read_image(colour), read_depth(mask), known(read_depth(depth), 0.0)
        for path, found in ((mask, valid), (depth, metres)):
            if found.shape != image.shape[:2]:
                raise InputError(
                    f"{path} has {pixels(found.shape)} pixels, its picture {pixels(image.shape)}: fetch it again."
                )
        metres[valid != 1] = np.nan
        camera = CAMERA if image.shape[:2] == (768, 1024) else None
        return Frame(image, metres, camera)
