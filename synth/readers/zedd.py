"""ZEDD, the benchmark of zero-shot depth from defocus."""

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from ... import InputError
from .base import Frame, Item, Reader, matching, naming, pixels
from .cameras import pinhole, read_lines, read_matrix
from .depth import known
from .files import read_depth, read_image

_NAME = re.compile(r"img_run_(\d+)_motor_([0-9A-Fa-f]+)_aperture_F([\d.]+)")
_MIDDLE = 5  # of the 9 runs, the one whose f/16 photograph is all-in-focus by the benchmark's own evaluation


class Zedd(Reader):
    """ZEDD: 100 real scenes, each photographed at 9 focus distances and 6 apertures, with scanned depth.

    `path` is ``ZEDD`` or the folder above: ``val/val_0001/focus_stack/img_run_1_motor_6D3E_aperture_F1.4.jpg``,
    ``gt/depth.npy``, ``gt/K.txt`` (3x3) and, once for all scenes, ``metadata.txt`` (lines of run, motor code and focus
    distance in metres, 0.82 to 8.10, separated by tabs). Apertures are F1.4, F2.0, F2.8, F4.0, F5.6 and F16.0.

    Read is the photograph at F16.0 of run 5, which the benchmark takes as all-in-focus too. Depth is float32, z in
    metres, NaN or infinite where unknown; values up to 0 are unknown too. Photographs and depth are 1824x1216;
    intrinsics are those of K.txt. `stack` reads the real defocused photographs for an evaluation.

    Official split: "val" (50 scenes) and "test" (50), whose depth is not public: scenes without depth are left out. One
    group is one scene.

    Sources: the dataset's card and the authors' reader (princeton-vl/FOSSA).
    """

    TITLE: ClassVar[str] = "ZEDD"
    LICENCE: ClassVar[str] = "CC BY 4.0"
    COMMERCIAL: ClassVar[bool] = True
    PARTS: ClassVar[tuple[str, ...]] = ("val", "test")

    def _find(self) -> Iterator[Item]:
        name = f"focus_stack/img_run_{_MIDDLE}_motor_*_aperture_F16.0.jpg"
        photographs = matching(self.path, f"*/*/{name}", f"*/*/*/{name}")
        without = 0
        for rgb in photographs:
            scene = rgb.parents[1]
            if scene.parent.name not in self.PARTS:
                continue
            if not (scene / "gt" / "depth.npy").is_file():
                without += 1
                continue
            files = (rgb, scene / "gt" / "K.txt", scene / "gt" / "depth.npy")
            yield Item(scene.relative_to(self.path).as_posix(), files, scene.name, scene.parent.name)
        if without and without == len(photographs):
            raise InputError(f"{self.path} has {without} scenes but no depth: that of ZEDD's test part is not public.")

    def _layout(self) -> str:
        return (
            f"no (val|test)/SCENE/focus_stack/img_run_{_MIDDLE}_motor_*_aperture_F16.0.jpg with gt/depth.npy "
            "in it (depth of the test part is not public)."
        )

    def _load(self, item: Item) -> Frame:
        rgb, camera, depth = item.files
        intrinsics = pinhole(read_matrix(camera, (3, 3)), camera)
        z = known(read_depth(depth), math.inf, -math.inf)
        z[z <= 0] = np.nan
        return Frame(read_image(rgb), z, intrinsics)

    def stack(self, i: int, aperture: float) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float64]]:
        """Read the photographs of scene `i` through one aperture.

        Parameters
        ----------
        i
            Index into `scan()`.
        aperture
            f-number: 1.4, 2, 2.8, 4, 5.6 or 16.

        Returns
        -------
        (S, H, W, 3) uint8, sRGB, nearest focus first, and the S focus distances, metres.

        Raises
        ------
        InputError
            If there are no such photographs, or a file cannot be read.
        """
        folder = self._items[i].files[0].parent
        with naming(folder, self.TITLE):
            distances = _focus_distances(folder.parents[2] / "metadata.txt")
            found = []
            for path in matching(folder, "img_run_*.jpg"):
                match = _NAME.fullmatch(path.stem)
                if match and float(match[3]) == aperture:
                    if match[1] not in distances:
                        raise InputError(f"{folder.parents[2] / 'metadata.txt'} has no run_{match[1]}: fetch it again.")
                    found.append((distances[match[1]], path))
            if not found:
                raise InputError(f"{folder} has no photographs at F{aperture:.1f}: use 1.4, 2, 2.8, 4, 5.6 or 16.")
            return read_stack(found)


def read_stack(found: list[tuple[float, Path]]) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float64]]:
    """Read photographs, each with its focus distance, nearest first; all must have one size.

    Raises
    ------
    InputError
        If a file cannot be read, or is not of 8 bits and the size of the first.
    """
    found = sorted(found)
    images: list[npt.NDArray[np.uint8]] = []
    for _, path in found:
        image = read_image(path)
        if image.dtype != np.uint8:
            raise InputError(f"{path} has {image.dtype} pixels: photographs of a stack have 8 bits.")
        if images and image.shape != images[0].shape:
            raise InputError(
                f"{path} has {pixels(image.shape)} pixels, others of its stack {pixels(images[0].shape)}: "
                "fetch it again."
            )
        images.append(np.asarray(image, np.uint8))
    return np.stack(images), np.array([distance for distance, _ in found])


def _focus_distances(path: Path) -> dict[str, float]:
    """Focus distance of each run's number, metres."""
    distances = {}
    for line in read_lines(path):
        try:
            run, _, distance = line.split()
            distances[run.removeprefix("run_")] = float(distance)
        except ValueError:
            raise InputError(
                f"{path} has a line that is not run, motor and distance ({line[:60]!r}): fetch it again."
            ) from None
    if not all(0 < distance < math.inf for distance in distances.values()):
        raise InputError(f"{path} has a focus distance that is not positive: fetch it again.")
    return distances
