"""The metrics of depth and of restored images: the one module of this room that the trainer imports.

It and what it takes in need numpy alone.
"""

from .depth_errors import (
    BAD_PIXEL,
    MAKE3D_C1,
    MAKE3D_C2,
    NYU_EIGEN,
    PROTOCOLS,
    DepthProtocol,
    bumpiness,
    counted_pixels,
    depth_metrics,
    eigen_crop,
)
from .image_errors import image_metrics, ssim_map
from .measures import DEPTH, MEASURES, Measure, measure
from .scores import DepthScores, ErrorCurve, ImageScores, Scores

__all__ = [
    "BAD_PIXEL",
    "DEPTH",
    "MAKE3D_C1",
    "MAKE3D_C2",
    "MEASURES",
    "NYU_EIGEN",
    "PROTOCOLS",
    "DepthProtocol",
    "DepthScores",
    "ErrorCurve",
    "ImageScores",
    "Measure",
    "Scores",
    "bumpiness",
    "counted_pixels",
    "depth_metrics",
    "eigen_crop",
    "image_metrics",
    "measure",
    "ssim_map",
]
