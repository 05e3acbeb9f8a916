"""Synthesis of captures: cameras, PSF banks, scenes, rendering and the store.

Names are loaded when first used, so that reading a camera does not import the compilers of the renderer.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .align import align_depth
    from .apertures import coded_aperture, picture_aperture, polygon_aperture, round_aperture
    from .breathing import PHONES, Breathing
    from .camera import Intrinsics, ThinLens
    from .fill import fill_depth
    from .fit import fit_scene
    from .lightfield import LightField, light_field_lens, refocus
    from .procedural import procedural_scene
    from .psf import PsfBank
    from .pupil import AmplitudeMask, ClearMask, CubicMask, HeightMap, RadialMask, SpiralMask, ZernikeMask
    from .pupil.designs import fisher_mask
    from .pupil.files import load_mask, save_mask
    from .readers import read_scenes
    from .recipe import Recipe, load_recipe
    from .rendering import render
    from .scene import LayeredScene, Patch, Scene
    from .sensor import Sensor, capture
    from .stack import FocalStack, render_stack
    from .store import open_store

_HOME = {
    "AmplitudeMask": "pupil",
    "Breathing": "breathing",
    "ClearMask": "pupil",
    "CubicMask": "pupil",
    "FocalStack": "stack",
    "HeightMap": "pupil",
    "Intrinsics": "camera",
    "LayeredScene": "scene",
    "LightField": "lightfield",
    "PHONES": "breathing",
    "Patch": "scene",
    "PsfBank": "psf",
    "RadialMask": "pupil",
    "Recipe": "recipe",
    "Scene": "scene",
    "Sensor": "sensor",
    "SpiralMask": "pupil",
    "ThinLens": "camera",
    "ZernikeMask": "pupil",
    "align_depth": "align",
    "capture": "sensor",
    "coded_aperture": "apertures",
    "fill_depth": "fill",
    "fisher_mask": "pupil.designs",
    "fit_scene": "fit",
    "light_field_lens": "lightfield",
    "load_mask": "pupil.files",
    "load_recipe": "recipe",
    "open_store": "store",
    "picture_aperture": "apertures",
    "polygon_aperture": "apertures",
    "procedural_scene": "procedural",
    "read_scenes": "readers",
    "refocus": "lightfield",
    "render": "rendering",
    "render_stack": "stack",
    "round_aperture": "apertures",
    "save_mask": "pupil.files",
}

__all__ = [
    "PHONES",
    "AmplitudeMask",
    "Breathing",
    "ClearMask",
    "CubicMask",
    "FocalStack",
    "HeightMap",
    "Intrinsics",
    "LayeredScene",
    "LightField",
    "Patch",
    "PsfBank",
    "RadialMask",
    "Recipe",
    "Scene",
    "Sensor",
    "SpiralMask",
    "ThinLens",
    "ZernikeMask",
    "align_depth",
    "capture",
    "coded_aperture",
    "fill_depth",
    "fisher_mask",
    "fit_scene",
    "light_field_lens",
    "load_mask",
    "load_recipe",
    "open_store",
    "picture_aperture",
    "polygon_aperture",
    "procedural_scene",
    "read_scenes",
    "refocus",
    "render",
    "render_stack",
    "round_aperture",
    "save_mask",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOME[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted(__all__)
