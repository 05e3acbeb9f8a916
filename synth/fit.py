"""Scenes brought to one size."""

from .scene import Scene


def fit_scene(scene: Scene, size: tuple[int, int], fit: str) -> Scene:
    """Replaced by the branch that makes it."""
    return scene
