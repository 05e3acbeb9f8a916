"""Encoded pixels to linear radiance and back.

`encoding` is "srgb" (IEC 61966-2-1) or "linear". Encoded images are uint8 or uint16, full scale = radiance 1.0.
"""

from functools import lru_cache
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from .. import InputError

Encoding = Literal["srgb", "linear"]
Float32 = npt.NDArray[np.float32]


def srgb_to_linear(encoded: npt.ArrayLike) -> Float32:
    """Decode sRGB values (any shape, nominal 0 to 1) to linear radiance, float32."""
    v = np.asarray(encoded, np.float64)
    # Transcendentals in float64 with one rounding: the last bits of float32 ones differ between processors.
    return np.where(v <= 0.04045, v / 12.92, ((np.maximum(v, 0.04045) + 0.055) / 1.055) ** 2.4).astype(np.float32)


def linear_to_srgb(linear: npt.ArrayLike) -> Float32:
    """Encode linear radiance (any shape) as sRGB values, float32; the inverse of `srgb_to_linear`."""
    v = np.asarray(linear, np.float64)
    high = 1.055 * np.maximum(v, 0.0031308) ** (1 / 2.4) - 0.055
    return np.where(v <= 0.0031308, 12.92 * v, high).astype(np.float32)


@lru_cache(maxsize=8)
def _decode_table(bits: int, encoding: Encoding) -> Float32:
    levels = np.arange(2**bits, dtype=np.float64) / (2**bits - 1)
    return srgb_to_linear(levels) if encoding == "srgb" else levels.astype(np.float32)


def decode(image: npt.NDArray[Any], encoding: Encoding) -> Float32:
    """Turn stored pixels into linear radiance.

    Parameters
    ----------
    image
        uint8 or uint16, any shape.
    encoding
        How the pixels are encoded.

    Returns
    -------
    float32 of the same shape, 1.0 at full scale.

    Raises
    ------
    InputError
        If the image is neither uint8 nor uint16.
    """
    if image.dtype not in (np.uint8, np.uint16):
        raise InputError(f"encoded images are uint8 or uint16, not {image.dtype}.")
    return np.asarray(_decode_table(8 * image.dtype.itemsize, encoding)[image])


@lru_cache(maxsize=8)
def _encode_tables(bits: int, encoding: Encoding) -> tuple[Float32, npt.NDArray[np.uint16]]:
    """Thresholds between codes, and the first candidate code of each of 65536 equal steps of radiance."""
    middles = (np.arange(2**bits - 1) + 0.5) / (2**bits - 1)
    thresholds = srgb_to_linear(middles) if encoding == "srgb" else middles.astype(np.float32)
    starts = np.searchsorted(thresholds, np.arange(2**16 + 1, dtype=np.float32) / np.float32(2**16), side="right")
    return thresholds, starts.astype(np.uint16)


def encode(linear: Float32, encoding: Encoding, bits: int = 8) -> npt.NDArray[Any]:
    """Turn linear radiance into stored pixels: clipped to [0, 1] and rounded to the nearest code.

    Parameters
    ----------
    linear
        float32, any shape.
    encoding
        How to encode.
    bits
        8 gives uint8, 16 gives uint16.

    Raises
    ------
    InputError
        If `bits` is neither 8 nor 16.
    """
    if bits not in (8, 16):
        raise InputError(f"stored images have 8 or 16 bits, not {bits}.")
    from .light_kernels import encode_by_thresholds

    out = np.empty(linear.shape, np.uint8 if bits == 8 else np.uint16)
    thresholds, starts = _encode_tables(bits, encoding)
    encode_by_thresholds(np.ascontiguousarray(linear).reshape(-1), thresholds, starts, out.reshape(-1))
    return out
