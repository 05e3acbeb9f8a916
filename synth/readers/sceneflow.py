"""Scene Flow: FlyingThings3D, Driving, Monkaa."""

import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import ClassVar

import numpy as np

from .base import Frame, Item, Reader, matching, relative
from .cameras import camera, expect_size
from .depth import z_from_disparity
from .files import read_depth, read_image

_BASELINE = 1.0
_SPLITS = {"TRAIN": "train", "TEST": "test"}
_SAME_PLACE = re.compile(r"_(?:augmented\d+|camera\d+|difftex\d*|winter|naked|x2)(?=_|$)")


class SceneFlow(Reader):
    """FlyingThings3D, Driving and Monkaa: 39,000 rendered frames of flying objects, a street and cartoon animals.

    `path` is what an archive unpacks to, or a folder with several of them. Read are the left views of
    ``frames_cleanpass`` or ``frames_finalpass`` (PNG or WebP) with the left maps of ``disparity``:

    - FlyingThings3D: ``TRAIN/A/0000/left/0006.png`` (TRAIN or TEST; A, B or C);
    - Driving: ``15mm_focallength/scene_forwards/fast/left/0001.png``;
    - Monkaa: ``a_rain_of_stones_x2/left/0000.png``;
    - the subset for DispNet: ``train/image_clean/left/0000000.png``, ``train/disparity/left/0000000.pfm`` (train or
      val; `path` is ``FlyingThings3D_subset`` or above).

    Stored is the disparity in pixels, float32 PFM. It is positive in the whole datasets and negative in the subset:
    its size counts. z = f b / disparity with f = 1050 px (450 px in ``15mm_focallength``) and a baseline of one unit
    of the modelling program, which is taken as 1 m: these scenes have no true scale. Zero disparity is infinitely far.
    Principal point (479.5, 269.5); all frames have 960x540 pixels, others are refused.

    Official splits: TRAIN and TEST of FlyingThings3D, train and val of the subset; Driving and Monkaa have none. One
    group is one sequence of FlyingThings3D, all of Driving (one street, driven along twice), or one place of Monkaa
    (``lonetree_x2``, ``lonetree_winter_x2`` ... are one). In the subset, ten consecutive numbers are taken as a
    sequence; that is not confirmed.

    The subset that PhaseCam3D and the RPSF paper train on (5077, 553 and 419 patches by PhaseCam3D's own count) was
    published as patches without names: `listing` takes names of frames as this reader gives them.

    Sources: the dataset's page (cameras, signs, layout) and the readers of torchvision and others.
    """

    TITLE: ClassVar[str] = "Scene Flow"
    VARIANTS: ClassVar[tuple[str, ...]] = ("clean", "final")
    PARTS: ClassVar[tuple[str, ...]] = ("train", "val", "test")

    def _find(self) -> Iterator[Item]:
        found: dict[str, tuple[Path, Path, str, str]] = {}  # the first of a PNG and a WebP
        for prefix in ("", "*/"):
            for image in matching(self.path, f"{prefix}frames_{self.variant}pass/**/left/*.*"):
                above, inside = self._around(image, f"frames_{self.variant}pass")
                disparity = above / "disparity" / inside.with_suffix(".pfm")
                split = _SPLITS.get(inside.parts[0], "")
                found.setdefault(self._name(image), (image, disparity, _place(inside), split))
            for image in matching(self.path, f"{prefix}*/image_{self.variant}/left/*.*"):
                above, inside = self._around(image, f"image_{self.variant}")
                disparity = above / "disparity" / inside.with_suffix(".pfm")
                if above.name in ("train", "val") and image.stem.isdecimal():
                    group = f"subset/{above.name}/{int(image.stem) // 10:05d}"
                    found.setdefault(self._name(image), (image, disparity, group, above.name))
        for source in sorted(found):
            image, disparity, group, split = found[source]
            if image.suffix.lower() in (".png", ".webp"):
                yield Item(source, (image, disparity), group, split)

    def _name(self, image: Path) -> str:
        return relative(image, self.path)

    def _around(self, image: Path, folder: str) -> tuple[Path, PurePosixPath]:
        """Split a path at a folder: what lies above, what lies inside."""
        parts = image.relative_to(self.path).parts
        at = parts.index(folder)
        return self.path.joinpath(*parts[:at]), PurePosixPath(*parts[at + 1 :])

    def _layout(self) -> str:
        return f"no frames_{self.variant}pass/.../left and no (train|val)/image_{self.variant}/left in it or below it."

    def _load(self, item: Item) -> Frame:
        rgb, disparity = item.files
        image = read_image(rgb)
        expect_size(rgb, image, (540, 960))
        focal = 450.0 if "15mm_focallength" in rgb.parts else 1050.0
        z = z_from_disparity(np.abs(read_depth(disparity)), focal, _BASELINE)
        return Frame(image, z, camera(focal, focal, 479.5, 269.5))


def _place(inside: PurePosixPath) -> str:
    """Name what frames below frames_*pass show."""
    top = inside.parts[0]
    if top in _SPLITS:
        return inside.parent.parent.as_posix()
    return "driving" if top.endswith("mm_focallength") else _SAME_PLACE.sub("", top)
