"""HAMMER."""

import re
from collections.abc import Iterator
from typing import ClassVar

from .base import Frame, Item, Reader, matching, relative
from .cameras import pinhole, read_matrix
from .depth import known
from .files import read_depth, read_image

_MAPS = {"gt": "_gt", "d435": "depth_d435", "l515": "depth_l515", "tof": "depth_tof"}
_SEQUENCE = re.compile(r"scene(\d+)_traj\d+(?:_naked)?_\d+")
_TEST = (12, 13, 14)


class Hammer(Reader):
    """HAMMER: table-top scenes with glass and metal, in colour, with rendered depth and three sensors' maps of it.

    `path` is the unpacked dataset, a folder above it or one sequence: ``scene2_traj1_1/polarization/rgb/000000.png``,
    ``_gt/000000.png``, ``depth_d435/``, ``depth_l515/``, ``depth_tof/`` and ``intrinsics.txt`` (3x3). Read is the
    polarisation camera, onto whose picture the sensors' maps are brought; the folders of the other cameras are left
    out.

    Depth is z in millimetres, 16-bit PNG, 0 where unknown. Variants: "gt" (rendered from the scanned scene), "d435"
    (active stereo), "l515" (direct time of flight), "tof" (indirect).

    Official split: scenes 12, 13 and 14 are for testing (18 sequences), 2 to 11 for training (46). One group is one
    scene, whatever the trajectory and whether with its objects or without (``_naked``).

    Sources: others' code that reads the published archive (layout, unit, counts, split as its README gives it).
    """

    TITLE: ClassVar[str] = "HAMMER"
    VARIANTS: ClassVar[tuple[str, ...]] = tuple(_MAPS)
    PARTS: ClassVar[tuple[str, ...]] = ("train", "test")

    def _find(self) -> Iterator[Item]:
        above = ("", "*/", "*/*/", "*/*/*/")
        for rgb in matching(self.path, *(prefix + "polarization/rgb/*.png" for prefix in above)):
            camera = rgb.parents[1]
            match = _SEQUENCE.fullmatch(camera.parent.resolve().name)
            if match:
                files = (rgb, camera / "intrinsics.txt", camera / _MAPS[self.variant] / rgb.name)
                number = int(match[1])
                yield Item(relative(rgb, self.path), files, f"scene{number}", "test" if number in _TEST else "train")

    def _layout(self) -> str:
        return "no sceneX_trajY_Z/polarization/rgb in it or below it."

    def _load(self, item: Item) -> Frame:
        rgb, camera, depth = item.files
        intrinsics = pinhole(read_matrix(camera, (3, 3)), camera)
        return Frame(read_image(rgb), known(read_depth(depth), 0) * 0.001, intrinsics)
