"""HCI 4D light field benchmark."""

import configparser
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ... import InputError
from ..camera import Intrinsics
from ..lightfield import LightField
from .base import Frame, Item, Reader, matching, naming, pixels
from .depth import known
from .files import read_depth, read_image

KEYS = {
    "intrinsics": ("focal_length_mm", "sensor_size_mm", "image_resolution_x_px", "image_resolution_y_px"),
    "extrinsics": ("num_cams_x", "num_cams_y", "baseline_mm", "focus_distance_m"),
}


@dataclass(frozen=True, kw_only=True)
class Hci(Reader):
    """HCI 4D light field benchmark: 28 rendered scenes, each of 9 x 9 views of 512 x 512 pixels, with depth.

    Give the folder with the folders ``additional``, ``training``, ``stratified`` and ``test``, or any below. A scene is
    a folder with ``input_Cam000.png`` to ``input_Cam080.png``, row by row from the top left (its owners imply this
    order without stating it), of which 040 is the central view and the picture of the scene; ``parameters.cfg``;
    ``gt_depth_lowres.pfm``, z in metres, and ``gt_disp_lowres.pfm``, disparity in pixels between neighbouring views.
    The ground truth of ``test`` is hidden, so these scenes are left out. The parts are the benchmark's folders; papers
    on depth from focus train on "additional" and test on "training" and "stratified". A group is a scene.

    Variant "depth" reads the map of depth; "disparity" computes z from disparity with the numbers of
    ``parameters.cfg``, 1 / z = 1000 sensor disparity / (baseline focal max(w, h)) + 1 / focus, as the benchmark's
    toolkit does. PFM files are read by a reader that ignores their scale, as intended: OpenCV divides by it. The focal
    length in pixels is focal_length_mm / sensor_size_mm times the larger side; the principal point is the centre.

    `views` gives all views for `refocus`, `geometry` where they were taken from. The older benchmark in HDF5 files is
    another dataset.

    Facts: the benchmark's toolkit (base_scene.py, file_io.py, parameters.cfg).
    """

    TITLE = "HCI 4D light field"
    LICENCE = "CC BY-NC-SA 4.0"
    VARIANTS = ("depth", "disparity")
    PARTS = ("additional", "training", "stratified")

    def _layout(self) -> str:
        return (
            "folders with input_Cam040.png, parameters.cfg, gt_depth_lowres.pfm or gt_disp_lowres.pfm were looked for."
        )

    def _find(self) -> Iterator[Item]:
        name = "gt_depth_lowres.pfm" if self.variant == "depth" else "gt_disp_lowres.pfm"
        for truth in matching(self.path, f"**/{name}"):
            folder = truth.parent
            files = (folder / "input_Cam040.png", folder / "parameters.cfg")
            for file in files:
                if not file.is_file():
                    raise InputError(f"{file} is missing beside {name}: fetch the scene again.")
            names = folder.resolve().parts[-2:]
            part = names[0] if names[0] in self.PARTS else ""
            source = folder.relative_to(self.path).as_posix()
            views = tuple(folder / f"input_Cam{number:03d}.png" for number in range(81))
            yield Item(source if source != "." else names[1], (*files, truth), names[1], part, beside=views)

    def _load(self, item: Item) -> Frame:
        image, truth = read_image(item.files[0]), known(read_depth(item.files[2]), np.inf, -np.inf)
        parameters = self._parameters(item)
        if image.shape[:2] != parameters.size:
            raise InputError(
                f"{item.files[0]} has {pixels(image.shape)} pixels where {item.files[1].name} says "
                f"{pixels(parameters.size)}: fetch the scene again."
            )
        if self.variant == "disparity":
            z = parameters.field.depth(np.where(np.isnan(truth), 0.0, truth))
            truth = np.where(np.isnan(truth), np.nan, z)
        height, width = parameters.size
        focal = parameters.field.focal
        camera = Intrinsics(fx=focal, fy=focal, cx=(width - 1) / 2, cy=(height - 1) / 2)
        return Frame(image, truth, camera, light_field=parameters.field)

    def views(self, i: int) -> npt.NDArray[np.uint8]:
        """Read all views of scene `i`: (9, 9, H, W, 3) uint8, sRGB.

        Raises
        ------
        InputError
            If one cannot be read.
        """
        item = self._items[i]
        parameters = self._parameters(item)
        with naming(item.files[1], self.TITLE):  # where sizes are huge
            views = np.empty((9, 9, *parameters.size, 3), np.uint8)
        for number in range(81):
            path = item.files[0].with_name(f"input_Cam{number:03d}.png")
            view = read_image(path)
            if view.shape != views.shape[2:] or view.dtype != np.uint8:
                raise InputError(f"{path} is not an 8-bit picture of {pixels(parameters.size)} pixels: fetch it again.")
            views[divmod(number, 9)] = view
        return views

    def geometry(self, i: int) -> LightField:
        """Return where the views of scene `i` were taken from.

        Raises
        ------
        InputError
            If its parameters cannot be read.
        """
        return self._parameters(self._items[i]).field

    @staticmethod
    def _parameters(item: Item) -> "_Parameters":
        return _Parameters(item.files[1])


@dataclass(frozen=True)
class _Parameters:
    path: Path

    @cached_property
    def _numbers(self) -> dict[str, float]:
        parser = configparser.ConfigParser(interpolation=None)
        try:
            parser.read_string(self.path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, configparser.Error):
            raise InputError(f"{self.path} is damaged or not a file of parameters: fetch it again.") from None
        numbers = {}
        for section, names in KEYS.items():
            for name in names:
                try:
                    numbers[name] = number = float(parser[section][name])
                except (KeyError, ValueError):
                    raise InputError(f"{self.path} has no number {name} in [{section}]: fetch it again.") from None
                if not 0 < number < 1e6:
                    raise InputError(f"{self.path} has {name} = {number:g}, which cannot be: fetch it again.")
        if (numbers["num_cams_x"], numbers["num_cams_y"]) != (9, 9):
            raise InputError(f"{self.path} is not of 9x9 views: only those are read.")
        return numbers

    @property
    def size(self) -> tuple[int, int]:
        return int(self._numbers["image_resolution_y_px"]), int(self._numbers["image_resolution_x_px"])

    @property
    def field(self) -> LightField:
        n = self._numbers
        return LightField(
            focal=n["focal_length_mm"] / n["sensor_size_mm"] * max(self.size),
            baseline=n["baseline_mm"] / 1000,
            convergence=n["focus_distance_m"],
            views=9,
        )
