"""DDFF 12-Scene: light fields as scenes, and its focal stacks for evaluation."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ... import InputError
from ..camera import Intrinsics
from ..lightfield import LightField
from .base import Frame, Item, Reader, matching, naming
from .depth import known, z_from_disparity
from .files import read_depth
from .hdf5 import array, checked, opened

FIELD = LightField(focal=521.4052, baseline=1982.0250823695178 / 7317.020641763665 * 1e-3, views=9)
CAMERA = Intrinsics(fx=521.4, fy=521.4, cx=285.11, cy=187.83)
NEAR, FAR = 0.5, 7.0
"""Metres: where the first and the last slice of a stack are focused."""


@dataclass(frozen=True, kw_only=True)
class Ddff12(Reader):
    """DDFF 12-Scene: 720 light fields of 12 indoor places, 9 x 9 views of 552 x 383 pixels (Lytro Illum), with depth.

    Give a folder that holds the archives ``lightfield`` and ``depthregistered``, in folders of any depth:
    ``.../PART/SCENE/LF_NNNN.npy``, (9, 9, 383, 552, 3) uint8, and ``.../PART/SCENE/DEPTH_NNNN.png``, 16 bits,
    millimetres, registered to the central view, 0 unknown. The picture of a scene is the central view, which is as
    all-in-focus as a lens 0.27 mm wide makes it. PART is train, val or test and is the official split; depth of the
    test part was not published, and light fields without depth are left out. A group is a SCENE.

    The HDF5 files (``ddff-dataset-trainval.h5``: ``stack_train``, ``disp_train``, ``stack_val``, ``disp_val``;
    ``ddff-dataset-test.h5``) hold focal stacks made from these views, and no all-in-focus picture: a slice-wise
    selection of what is sharp is not one, so they cannot be rendered from. `stack` and `views` read either for
    evaluation.

    Of the calibration, the focal length of the views, 521.4052 pixels, and the distance between them, 0.27088 mm, are
    the toolbox's; the principal point (285.11, 187.83) is quoted from the paper by others. z = focal x baseline /
    disparity.

    Facts: the dataset's page; the toolbox (refocus.py); ddff-pytorch (its reader of the HDF5 files). How folders
    within the archives are nested is not confirmed, nor is the size of what ``stack_train`` holds: pieces of 224 x 224
    pixels, by its size.
    """

    TITLE = "DDFF 12-Scene"
    LICENCE = "CC BY 4.0"
    COMMERCIAL = True
    PARTS = ("train", "val", "test")

    def _layout(self) -> str:
        return "files SCENE/LF_NNNN.npy and SCENE/DEPTH_NNNN.png were looked for, or an HDF5 file with stack_*."

    def _find(self) -> Iterator[Item]:
        if self.path.is_file():
            yield from self._stacks()
            return
        depths = {_key(file, "DEPTH_"): file for file in matching(self.path, "**/DEPTH_*.png")}
        seen: dict[str, Path] = {}
        for file in matching(self.path, "**/LF_*.npy"):
            part, scene, number = key = _key(file, "LF_")
            if key not in depths:
                continue
            source = "/".join(filter(None, (part, scene, number)))
            if seen.setdefault(source, file) != file:
                raise InputError(f"{file} is there twice, also as {seen[source]}: remove one of them.")
            yield Item(source, (file, depths[key]), scene, part)

    def _stacks(self) -> Iterator[Item]:
        with opened(self.path) as file:
            for part in self.PARTS:
                if f"stack_{part}" in file:
                    count = array(file, f"stack_{part}", (None, None, None, None, 3), "uf").shape[0]
                    for row in range(count):
                        yield Item(f"{part}/{row:05d}", (self.path,), "", part, row)

    def _load(self, item: Item) -> Frame:
        if len(item.files) == 1:
            raise InputError(
                f"{self.path} holds focal stacks but no all-in-focus pictures: give the folder with the dataset's "
                "archives lightfield and depthregistered."
            )
        views = _light_field(item.files[0])
        centre = np.array(views[views.shape[0] // 2, views.shape[1] // 2])
        camera = CAMERA if centre.shape[:2] == (383, 552) else None
        return Frame(centre, known(read_depth(item.files[1]), 0) / 1000, camera)

    def views(self, i: int) -> npt.NDArray[np.uint8]:
        """Return the views of a light field, (9, 9, H, W, 3) uint8, for `refocus`; not read until used.

        Raises
        ------
        InputError
            If the file is damaged, or the dataset is given as focal stacks.
        """
        item = self._items[i]
        if len(item.files) == 1:
            raise InputError(f"{self.path} holds focal stacks, not light fields: give the folder of light fields.")
        return _light_field(item.files[0])

    def stack(self, i: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float64], npt.NDArray[np.float64] | None]:
        """Return a focal stack of the HDF5 file, the distances that its slices are focused at, and z.

        Slices are uniform in disparity from 0.5 to 7 m.

        Returns
        -------
        (S, H, W, 3) uint8, sRGB; (S,) metres; (H, W) metres, NaN unknown, or None where it was not published.

        Raises
        ------
        InputError
            If the file is damaged, or the dataset is given as light fields.
        """
        item = self._items[i]
        if len(item.files) != 1:
            raise InputError(f"{self.path} holds light fields: refocus their views, or give the HDF5 file.")
        with naming(self.path, self.TITLE), opened(self.path) as file:
            stored = array(file, f"stack_{item.split}", (None, None, None, None, 3), "uf")[item.row]
            disparity = None
            if f"disp_{item.split}" in file:
                disparity = np.squeeze(file[f"disp_{item.split}"][item.row])
                if disparity.shape != stored.shape[1:3] or disparity.dtype.kind != "f":
                    raise InputError(f"{self.path} has disparities of another shape than its stacks: fetch it again.")
        if not (stored.min() >= 0 and stored.max() <= 255):
            raise InputError(f"{self.path} has stacks that are not within 0 to 255: fetch it again.")
        focus = FIELD.depth(np.linspace(float(FIELD.disparity(NEAR)), float(FIELD.disparity(FAR)), len(stored)))
        z = None if disparity is None else z_from_disparity(known(disparity, 0.0), FIELD.focal, FIELD.baseline)
        return np.rint(stored).astype(np.uint8), focus, z


def _key(file: Path, prefix: str) -> tuple[str, str, str]:
    """Name the part, the scene and the number of a file."""
    scene = file.resolve().parent
    part = scene.parent.name
    return part if part in Ddff12.PARTS else "", scene.name, file.stem.removeprefix(prefix)


def _light_field(path: Path) -> npt.NDArray[Any]:
    try:
        views = np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception:  # numpy raises several types for damaged files
        raise InputError(f"{path} is damaged or not a .npy file of numbers: fetch it again.") from None
    if not isinstance(views, np.ndarray) or views.dtype != np.uint8:
        raise InputError(f"{path} does not hold a light field of uint8: check that it is the right file.")
    return np.asarray(checked(views, path, "views", (9, 9, None, None, 3), "u"))
