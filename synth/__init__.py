"""Synthesis of captures: cameras, PSF banks, scenes, rendering and the store.

Names are loaded when first used, so that reading a camera does not import the compilers of the renderer.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .camera import Intrinsics, ThinLens
    from .procedural import procedural_scene
    from .psf import PsfBank
    from .readers import read_scenes
    from .recipe import Recipe, load_recipe
    from .rendering import render
    from .scene import LayeredScene, Patch, Scene
    from .store import open_store

_HOME = {
    "Intrinsics": "camera",
    "LayeredScene": "scene",
    "Patch": "scene",
    "PsfBank": "psf",
    "Recipe": "recipe",
    "Scene": "scene",
    "ThinLens": "camera",
    "load_recipe": "recipe",
    "open_store": "store",
    "procedural_scene": "procedural",
    "read_scenes": "readers",
    "render": "rendering",
}

__all__ = [
    "Intrinsics",
    "LayeredScene",
    "Patch",
    "PsfBank",
    "Recipe",
    "Scene",
    "ThinLens",
    "load_recipe",
    "open_store",
    "procedural_scene",
    "read_scenes",
    "render",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOME[name]}", __name__), name)


def __dir__() -> list[str]:
    return __all__
