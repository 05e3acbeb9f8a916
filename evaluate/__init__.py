"""Metrics and pictures of arrays: knows no store, no model class and no trainer.

Names are loaded when first used, so that the trainer's machine needs numpy alone.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .metrics import DepthProtocol, DepthScores, ImageScores, bumpiness, depth_metrics, image_metrics
    from .uncertainty import monte_carlo
    from .zhuo_sim import defocus_map

_HOME = {
    "DepthProtocol": "metrics",
    "DepthScores": "metrics",
    "ImageScores": "metrics",
    "bumpiness": "metrics",
    "defocus_map": "zhuo_sim",
    "depth_metrics": "metrics",
    "image_metrics": "metrics",
    "monte_carlo": "uncertainty",
}

__all__ = [
    "DepthProtocol",
    "DepthScores",
    "ImageScores",
    "bumpiness",
    "defocus_map",
    "depth_metrics",
    "image_metrics",
    "monte_carlo",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOME[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted(__all__)
