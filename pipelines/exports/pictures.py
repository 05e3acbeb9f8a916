"""Arrays as files of pictures, with fixed settings: the same array gives the same bytes."""

import io
import math
import tempfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from ... import InputError
from ...evaluate.pictures import eight_bits, encoded
from .base import Job, Sample

# Of the filters, at the fastest level, the one that was measured to give the smallest files: half the time of the
# default for six per cent more.
_PNG = [cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_PAETH]
_JPEG = [
    cv2.IMWRITE_JPEG_QUALITY, 100, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
]  # fmt: skip
CODES = 65535
"""The largest number of 16 bits."""


def png(image: npt.NDArray[Any]) -> bytes:
    """Encode (H, W, 3) RGB or (H, W), uint8 or uint16, as PNG."""
    return encoded(image, ".png", _PNG)


def jpeg(image: npt.NDArray[Any]) -> bytes:
    """Encode (H, W, 3) RGB, uint8, as JPEG of quality 100 with colours at full resolution."""
    return encoded(eight_bits(image), ".jpg", _JPEG)


def tiff(image: npt.NDArray[Any]) -> bytes:
    """Encode (H, W, 3) RGB as TIFF of 8 bits, compressed without loss."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(eight_bits(image)).save(file, "TIFF", compression="tiff_adobe_deflate")
    return file.getvalue()


def npy(array: npt.NDArray[Any]) -> bytes:
    """Encode an array as .npy, little-endian."""
    file = io.BytesIO()
    np.save(file, np.ascontiguousarray(array, array.dtype.newbyteorder("<")), allow_pickle=False)
    return file.getvalue()


def exr(plane: npt.NDArray[np.float16]) -> bytes:
    """Encode (H, W) float16 as OpenEXR, three equal channels R, G and B of half floats."""
    import OpenEXR

    header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
    with tempfile.TemporaryDirectory(prefix="defocal-") as folder:
        path = Path(folder, "depth.exr")
        with OpenEXR.File(header, {channel: np.ascontiguousarray(plane) for channel in "RGB"}) as file:
            file.write(str(path))
        return path.read_bytes()


def depth_codes(job: Job, sample: Sample) -> npt.NDArray[np.uint16]:
    """Return depth as whole numbers of the chosen unit, to the nearest; 0 where unknown.

    Returns
    -------
    (H, W) uint16.

    Raises
    ------
    InputError
        If a depth is nearer than half a unit or farther than 65535 of them, unless that is to be unknown.
    """
    depth, unit = sample.arrays["depth"].astype(np.float64), job.options.depth_unit
    with np.errstate(invalid="ignore"):
        numbers = np.rint(depth / unit)
        wrong = ~np.isnan(depth) & ~((numbers >= 1) & (numbers <= CODES))
    check_range(job, sample, wrong, f"16 bits hold {unit:g} to {CODES * unit:g} m in units of {unit:g} m")
    return np.where(wrong | np.isnan(depth), 0, numbers).astype(np.uint16)


def check_range(job: Job, sample: Sample, wrong: npt.NDArray[np.bool_], holds: str) -> None:
    """Refuse depth that a layout cannot hold, unless it is to be unknown there.

    Raises
    ------
    InputError
        Naming the sample and what to do.
    """
    if job.options.beyond == "unknown" or not wrong.any():
        return
    depth = sample.arrays["depth"][wrong]
    farthest = float(depth.max())
    ways = []
    if "depth_unit" in job.kind.options and job.options.depth_unit < farthest / CODES <= 1:
        ways.append(f'a coarser --depth-unit ("{_rounded_up(farthest / CODES * 1000):g} mm" or more)')
    ways += ["--beyond unknown to write it as unknown"] if "beyond" in job.kind.options else []
    remedy = f"give {' or '.join(ways)}" if ways else "export it as folder, zedd or webdataset"
    raise InputError(
        f"sample {sample.index} has {depth.size} pixels at depths such as {farthest:g} m, and {holds}: {remedy}."
    )


def _rounded_up(value: float) -> float:
    """Return the next number of two digits."""
    step = 10.0 ** (math.floor(math.log10(value)) - 1)
    return math.ceil(value / step) * step
