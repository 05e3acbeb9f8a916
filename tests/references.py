"""Path-traced references: scenes with their true image, read from a folder that is not part of the project.

A scene is a folder with three files. ``images.npz``: ``thinlens`` (H, W, 3), the truth, linear radiance; ``aif``
(H, W, 3), the same through a pinhole; ``depth_z`` (H, W), metres along the axis. ``layers.npz``: textures ``rgb0``,
``alpha0``, ``rgb1``, ... from far to near, uint8 (value / 255; coverage is 0 or 1) or float32. ``params.json``: under
``camera`` the lens, metres, and ``tau``, the tangent of one pixel; under ``layers`` where each texture stands: one that
faces the camera (``kind`` "fronto") at depth ``z``, its corner (``ox``, ``oy``) pixels from that of the image, a texel
being ``texel`` pixels; or one on the plane ``z = z0 + m X`` (``kind`` "slanted"), its texel (i, j) beginning at
``X = a0 + j da``, ``Y = b0 + i db``, metres.
"""

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from defocal.synth import Patch, Scene, ThinLens

FINER = 32
"""Samples of a slanted texture along each side of a pixel of the layer that it becomes."""


class Reference(NamedTuple):
    """One scene with its true image."""

    lens: ThinLens
    truth: Any
    """(H, W, 3) float32, linear radiance."""
    scene: Scene
    layers: list[dict[str, Any]]
    """``params.json``'s, each with its texture ``rgba``, premultiplied."""
    tangent: float
    """Of one pixel."""

    @property
    def heading(self) -> str:
        """What the scene is, in a few words."""
        coc = self.lens.coc(np.array([self.scene.depth.max(), self.scene.depth.min()], np.float64))
        what = "slanted plane" if self.layers[0]["kind"] == "slanted" else f"{len(self.layers)} layers"
        return f"{what}, CoC {coc[0]:.1f} to {coc[1]:.1f} px" + ", highlights" * bool(self.scene.aif.max() > 1.01)

    def patches(self, margin: int, texels: int) -> tuple[tuple[int, int], list[Patch]]:
        """Return the true layers, far to near, so many texels along a pixel, and their frame with its margin."""
        height, width = self.scene.size
        frame = (height + 2 * margin) * texels, (width + 2 * margin) * texels
        make = {"slanted": self._slanted, "fronto": self._fronto}
        return frame, [make[layer["kind"]](layer, margin, texels) for layer in self.layers]

    def _fronto(self, layer: dict[str, Any], margin: int, texels: int) -> Patch:
        """Place a texture that faces the camera; average it if its texels are finer than those wanted."""
        scale = 1 / layer["texel"]
        by = round(scale / texels)
        top, left = round((layer["oy"] + margin) * scale), round((layer["ox"] + margin) * scale)
        rgba = layer["rgba"]
        around = [(start % by, -(start + size) % by) for start, size in zip((top, left), rgba.shape[:2], strict=True)]
        rgba = np.pad(rgba, [*around, (0, 0)])
        height, width = rgba.shape[0] // by, rgba.shape[1] // by
        return Patch(rgba.reshape(height, by, width, by, 4).mean(axis=(1, 3)), layer["z"], top // by, left // by)

    def _slanted(self, layer: dict[str, Any], margin: int, texels: int) -> Patch:
        """Look up where the rays of a pinhole meet the plane, and average over each texel."""
        texture, fine = layer["rgba"], FINER // texels

        def tangents(pixels: int, parts: int) -> Any:
            return ((np.arange((pixels + 2 * margin) * parts) + 0.5) / parts - margin - pixels / 2) * self.tangent

        def depth(x: Any) -> Any:
            return layer["z0"] / (1 - layer["m"] * x)

        y, x = (tangents(pixels, FINER) for pixels in self.scene.size)
        z = depth(x)
        column = np.clip(np.floor((x * z - layer["a0"]) / layer["da"]).astype(int), 0, texture.shape[1] - 1)
        rows = []
        for some in y.reshape(-1, fine, 1):
            row = np.floor((some * z - layer["b0"]) / layer["db"]).astype(int)
            found = texture[np.clip(row, 0, len(texture) - 1), column]
            rows.append(found.reshape(fine, -1, fine, 4).mean(axis=(0, 2)))
        return Patch(np.stack(rows), np.tile(depth(tangents(self.scene.size[1], texels)), (len(rows), 1)))


def _radiance(texture: Any) -> Any:
    return texture.astype(np.float32) / (255 if texture.dtype == np.uint8 else 1)


def read_reference(folder: Path) -> Reference:
    """Read one scene."""
    about = json.loads((folder / "params.json").read_text())
    camera, layers = about["camera"], []
    with np.load(folder / "layers.npz") as textures:
        for i, layer in enumerate(about["layers"]):
            alpha = textures[f"alpha{i}"].astype(np.float32)[..., None]
            layers.append({**layer, "rgba": np.concatenate([_radiance(textures[f"rgb{i}"]) * alpha, alpha], axis=-1)})
    lens = ThinLens(
        focal_length=camera["focal_length_m"],
        f_number=camera["f_number"],
        focus_distance=camera["focus_distance"],
        pixel_pitch=camera["pixel_pitch_m"],
    )
    with np.load(folder / "images.npz") as images:
        scene = Scene(images["aif"], images["depth_z"])
        return Reference(lens, images["thinlens"], scene, layers, camera["tau"])


def read_references(folder: Path) -> list[Reference]:
    """Read all scenes of a folder, in the order of their names."""
    return [read_reference(path.parent) for path in sorted(folder.glob("*/params.json"))]
