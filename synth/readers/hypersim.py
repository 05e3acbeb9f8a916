"""Hypersim."""

import csv
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ... import InputError
from ..camera import Intrinsics
from .base import Frame, Item, Reader, matching, pixels
from .depth import known
from .hdf5 import array, opened, whole

Float64 = npt.NDArray[np.float64]

PERCENTILE, BRIGHTNESS = 90, 0.8**2.2
"""What share of the pixels, per cent, is at most so bright after exposure."""
BRIGHTEST = 65504.0
"""Of 16-bit floating point."""
DEFAULT = np.diag([math.sqrt(1 / 3), math.sqrt(1 / 3) * 0.75, -1.0])
"""60 degrees across, square pixels at 4:3: rays (x right, y up, z backwards) of (u, v, 1), u and v from -1 to 1."""
CAMERAS, SPLIT = "metadata_camera_parameters.csv", "metadata_images_split_scene_v1.csv"


@dataclass(frozen=True, kw_only=True)
class Hypersim(Reader):
    """Hypersim: 74,619 rendered pictures of 461 indoor scenes, 1024 x 768, linear light with its highlights.

    Give the folder that holds the scenes (``ai_VVV_NNN``), or one scene. Read are
    ``images/scene_cam_XX_final_hdf5/frame.IIII.color.hdf5`` (``dataset``, (768, 1024, 3), 16-bit floating point, linear
    radiance) and ``images/scene_cam_XX_geometry_hdf5/frame.IIII.depth_meters.hdf5`` (``dataset``, (768, 1024), 16-bit
    floating point). Two tables of the toolkit are used if they lie in the folder:
    ``metadata_images_split_scene_v1.csv`` gives the official split by scene into train, val and test (and leaves out
    what the release does not include), ``metadata_camera_parameters.csv`` each scene's camera. A group is a scene; the
    owners warn that some objects appear in several.

    Depth is stored as the distance from the camera's centre in metres, NaN where there is no surface (windows); it
    is turned into z along the normal of the image plane. Without the second table every scene is taken for the
    standard camera, 60 degrees across (fx = fy = 886.81), which is wrong for those that were rendered with shifted or
    other lenses: get the table.

    Exposure is the toolkit's, without its gamma and its clipping: radiance is scaled so that the 90th percentile of
    0.3 R + 0.59 G + 0.11 B, over pixels with depth, is 0.8 to the power of 2.2 (0.612). What is brighter than 1 stays.

    Facts: the toolkit (README.md, scene_generate_images_tonemap.py, contrib/mikeroberts3000).
    """

    TITLE = "Hypersim"
    LICENCE = "CC BY-SA 3.0"
    COMMERCIAL = True
    PARTS = ("train", "val", "test")

    def _layout(self) -> str:
        if self.part:
            return f"the split is read from {SPLIT}, which should lie in that folder."
        return "ai_*/images/scene_cam_*_final_hdf5/frame.*.color.hdf5 and its depth_meters.hdf5 were looked for."

    def _find(self) -> Iterator[Item]:
        splits = self._splits()
        alone = re.fullmatch(r"ai_\d{3}_\d{3}", self.path.resolve().name)
        pattern = "images/scene_cam_*_final_hdf5/frame.*.color.hdf5"
        for colour in matching(self.path, pattern if alone else f"ai_*/{pattern}"):
            images = colour.parents[1]
            camera = colour.parent.name.removeprefix("scene_").removesuffix("_final_hdf5")
            frame = colour.name.removesuffix(".color.hdf5")
            depth = images / f"scene_{camera}_geometry_hdf5" / f"{frame}.depth_meters.hdf5"
            scene = self.path.resolve().name if alone else images.parent.name
            key = (scene, camera, frame.removeprefix("frame.").lstrip("0") or "0")
            if splits is not None and not splits.get(key):
                continue
            if not depth.is_file():
                raise InputError(f"{depth} is missing for {colour}: fetch it, or remove the picture.")
            split = splits[key] if splits is not None else ""
            yield Item(f"{scene}/{camera}/{frame}", (colour, depth), scene, split, beside=(self.path / CAMERAS,))

    def _load(self, item: Item) -> Frame:
        colour, depth = item.files
        with opened(colour) as file:
            light = whole(array(file, "dataset", (None, None, 3), "f"), colour).astype(np.float32)
        with opened(depth) as file:
            distance = known(whole(array(file, "dataset", (None, None), "f"), depth), np.inf)
        if light.shape[:2] != distance.shape:
            raise InputError(
                f"{depth} has {pixels(distance.shape)} pixels, its picture {pixels(light.shape)}: fetch it again."
            )
        rays = DEFAULT if self._cameras is None else self._cameras.get(item.group)
        if rays is None:
            raise InputError(f"{self.path / CAMERAS} does not have the scene {item.group}: fetch it again.")
        directions, camera = _pinhole(rays, *distance.shape)
        return Frame(_exposed(light, np.isfinite(distance), colour), distance * directions, camera)

    @cached_property
    def _cameras(self) -> dict[str, Float64] | None:
        path = self.path / CAMERAS
        rows = _table(path)
        if rows is None:
            return None
        cameras = {}
        for row in rows:
            try:
                numbers = [[float(row[f"M_cam_from_uv_{i}{j}"]) for j in range(3)] for i in range(3)]
                cameras[row["scene_name"]] = matrix = np.array(numbers)
            except (KeyError, TypeError, ValueError):
                raise InputError(f"{path} lacks a scene's numbers M_cam_from_uv_00 to _22: fetch it again.") from None
            if not (np.isfinite(matrix).all() and abs(np.linalg.det(matrix)) > 1e-6):
                raise InputError(f"{path} has a camera that sees nothing ({row['scene_name']}): fetch it again.")
        return cameras

    def _splits(self) -> dict[tuple[str, str, str], str] | None:
        rows = _table(self.path / SPLIT)
        if rows is None:
            return None
        try:
            return {
                (row["scene_name"], row["camera_name"], row["frame_id"]): row["split_partition_name"]
                for row in rows
                if row["included_in_public_release"] == "True"
            }
        except KeyError as error:
            raise InputError(f"{self.path / SPLIT} has no column {error.args[0]!r}: fetch it again.") from None


def _table(path: Path) -> list[dict[str, str]] | None:
    """Read a table; None if there is none."""
    if not path.is_file():
        return None
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error):
        raise InputError(f"{path} is damaged or not a table of text: fetch it again.") from None


def _exposed(light: npt.NDArray[np.float32], valid: npt.NDArray[np.bool_], path: Path) -> npt.NDArray[np.float32]:
    if np.isnan(light).any():
        raise InputError(f"{path} has radiance that is not a number: leave this picture out.")
    light = np.clip(light, 0.0, np.float32(BRIGHTEST))
    if not valid.any():
        return light
    weights = np.array([0.3, 0.59, 0.11], np.float32)
    brightness = (light * weights).sum(axis=2, dtype=np.float64)[valid]
    level = float(np.percentile(brightness, PERCENTILE))
    if level < 1e-4:
        raise InputError(f"{path} is black (nine tenths of it below {level:.1e}): leave this picture out.")
    return np.asarray(light * np.float32(BRIGHTNESS / level))


def _pinhole(rays: Float64, height: int, width: int) -> tuple[Float64, Intrinsics | None]:
    """Return z per distance of each pixel (height, width), and the intrinsics, none where pixels are skewed.

    z is along the normal of the image plane, which a shifted or tilted camera of Hypersim is not held square to.
    """
    u = (2 * np.arange(width) + 1) / width - 1
    v = 1 - (2 * np.arange(height) + 1) / height
    ray = rays[:, 0] * u[None, :, None] + rays[:, 1] * v[:, None, None] + rays[:, 2]
    # The camera matrix times its rotation, from rays to pixels: rows of the inverse of `rays`, up to scale.
    to_u, to_v, normal = (np.cross(rays[:, (k + 1) % 3], rays[:, (k + 2) % 3]) for k in range(3))
    length = np.sqrt((normal**2).sum())
    across = (to_u * (width / 2) + normal * ((width - 1) / 2)) / length
    down = (to_v * (-height / 2) + normal * ((height - 1) / 2)) / length
    normal = normal / length
    cx, cy = float((across * normal).sum()), float((down * normal).sum())
    across, down = across - cx * normal, down - cy * normal
    fx, fy = float(np.sqrt((across**2).sum())), float(np.sqrt((down**2).sum()))
    skewed = abs(float((across * down).sum())) > 1e-3 * fx * fy
    toward = (ray * normal).sum(axis=2) / np.sqrt((ray**2).sum(axis=2))
    return np.abs(toward), None if skewed else Intrinsics(fx=fx, fy=fy, cx=cx, cy=cy)
