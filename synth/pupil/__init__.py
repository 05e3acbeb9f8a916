"""Wave optics of the pupil: masks, their phase and material, and the PSFs that they make.

Everything that computes is written on the array API: numpy arrays give banks in float64, torch tensors give the same
with gradients.
"""

from .files import load_mask, save_mask
from .glass import GLASSES, Glass
from .masks import (
    MASKS,
    AmplitudeMask,
    ClearMask,
    CubicMask,
    HeightMap,
    Mask,
    RadialMask,
    SpiralMask,
    ZernikeMask,
    mask_from,
)
from .propagation import mask_psfs

__all__ = [
    "GLASSES",
    "MASKS",
    "AmplitudeMask",
    "ClearMask",
    "CubicMask",
    "Glass",
    "HeightMap",
    "Mask",
    "RadialMask",
    "SpiralMask",
    "ZernikeMask",
    "load_mask",
    "mask_from",
    "mask_psfs",
    "save_mask",
]
