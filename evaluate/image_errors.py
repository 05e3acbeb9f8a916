"""PSNR and SSIM of restored images, with valid pixels. numpy alone."""

from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import InputError

Float64 = npt.NDArray[np.float64]

SSIM_WINDOW, SSIM_SIGMA, SSIM_K = 11, 1.5, (0.01, 0.03)


@lru_cache(maxsize=1)
def _taps() -> Float64:
    x = np.arange(SSIM_WINDOW) - SSIM_WINDOW // 2
    weights = np.exp(-(x**2) / (2 * SSIM_SIGMA**2))
    return np.asarray(weights / weights.sum(), np.float64)


def _window_mean(values: Float64) -> Float64:
    """Weigh (H, W, C) by the Gaussian window, where it lies wholly inside."""
    for axis in (0, 1):
        size = values.shape[axis] - SSIM_WINDOW + 1
        parts = (np.take(values, np.arange(k, k + size), axis) for k in range(SSIM_WINDOW))
        values = sum((w * part for w, part in zip(_taps(), parts, strict=True)), np.zeros(()))
    return values


def _pair(prediction: npt.ArrayLike, target: npt.ArrayLike) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    p, t = np.asarray(prediction), np.asarray(target)
    if p.shape != t.shape or p.ndim not in (2, 3) or not p.size:
        raise InputError(f"two images to compare share one shape (H, W) or (H, W, C), not {p.shape} and {t.shape}.")
    if p.dtype != t.dtype and not (np.issubdtype(p.dtype, np.floating) and np.issubdtype(t.dtype, np.floating)):
        raise InputError(f"two images to compare have one type of numbers, not {p.dtype} and {t.dtype}.")
    return (p[..., None], t[..., None]) if p.ndim == 2 else (p, t)


def _range(dtype: np.dtype[Any], data_range: float | None) -> float:
    if data_range is not None:
        if not 0 < data_range < float("inf"):
            raise InputError(f"the data range of images is above 0, not {data_range:g}.")
        return float(data_range)
    if np.issubdtype(dtype, np.floating):
        return 1.0
    if np.issubdtype(dtype, np.unsignedinteger):
        return float(np.iinfo(dtype).max)
    raise InputError(f"images of {dtype} have no customary range; say which with data_range.")


def _mask(valid: npt.ArrayLike | None, shape: tuple[int, ...]) -> npt.NDArray[np.bool_]:
    if valid is None:
        return np.ones(shape[:2], np.bool_)
    given = np.asarray(valid)
    if given.shape != shape[:2] or given.dtype != np.bool_:
        raise InputError(f"valid pixels are booleans of shape {shape[:2]}, not {given.dtype} {given.shape}.")
    return given


def ssim_map(prediction: npt.ArrayLike, target: npt.ArrayLike, data_range: float | None = None) -> Float64:
    """Return the structural similarity of every window that lies wholly inside two images.

    Wang, Bovik, Sheikh and Simoncelli (2004), IEEE TIP 13, 600: Gaussian window of 11 x 11 and sigma 1.5,
    K1 = 0.01, K2 = 0.03, population covariance; each colour by itself, the images as they are (no resizing, no luma).

    Parameters
    ----------
    prediction, target
        (H, W) or (H, W, C), both at least 11 pixels high and wide.
    data_range
        What white is worth; by default the greatest value of unsigned integers, and 1 of floating-point numbers.

    Returns
    -------
    float64 (H - 10, W - 10, C); the window of [y, x] has its centre at pixel [y + 5, x + 5].

    Raises
    ------
    InputError
        If the images do not fit each other, are smaller than a window, or have no customary range.
    """
    p, t = _pair(prediction, target)
    peak = _range(t.dtype, data_range)
    if min(p.shape[:2]) < SSIM_WINDOW:
        raise InputError(f"SSIM needs images of at least 11x11 pixels, not {p.shape[1]}x{p.shape[0]}.")
    a, b = p.astype(np.float64), t.astype(np.float64)
    c1, c2 = ((k * peak) ** 2 for k in SSIM_K)
    mean_a, mean_b = _window_mean(a), _window_mean(b)
    variances = _window_mean(a * a + b * b) - mean_a**2 - mean_b**2
    covariance = _window_mean(a * b) - mean_a * mean_b
    similar = (2 * mean_a * mean_b + c1) * (2 * covariance + c2)
    return np.asarray(similar / ((mean_a**2 + mean_b**2 + c1) * (variances + c2)), np.float64)


def image_sums(
    prediction: npt.ArrayLike, target: npt.ArrayLike, valid: npt.ArrayLike | None, data_range: float | None
) -> tuple[float, int, float, int]:
    """Return sum and count of squared errors in parts of the range, and of SSIM, over what counts."""
    p, t = _pair(prediction, target)
    mask, peak = _mask(valid, t.shape), _range(t.dtype, data_range)
    wanted, truth = p[mask].astype(np.float64) / peak, t[mask].astype(np.float64) / peak
    if not (np.isfinite(wanted).all() and np.isfinite(truth).all()):
        raise InputError("a pixel to be judged is NaN or infinite; leave it out of `valid`, or repair the image.")
    errors = float(np.square(wanted - truth).sum())
    if min(p.shape[:2]) < SSIM_WINDOW:
        return errors, wanted.size, 0.0, 0
    hole = ~mask
    for axis in (0, 1):
        size = hole.shape[axis] - SSIM_WINDOW + 1
        hole = np.logical_or.reduce([np.take(hole, np.arange(k, k + size), axis) for k in range(SSIM_WINDOW)])
    inside = mask[..., None]
    found = ssim_map(np.where(inside, p, 0), np.where(inside, t, 0), peak)[~hole]
    return errors, wanted.size, float(found.sum()), found.size


def image_results(errors: float, count: int, similarity: float, windows: int) -> dict[str, float]:
    """Turn the sums of `image_sums` into PSNR in dB and SSIM; NaN where nothing counts."""
    nan = float("nan")
    mse = errors / count if count else nan
    psnr = float("inf") if mse == 0 else float(-10 * np.log10(mse))
    return {"psnr": psnr, "ssim": similarity / windows if windows else nan}


def image_metrics(
    prediction: npt.ArrayLike,
    target: npt.ArrayLike,
    valid: npt.ArrayLike | None = None,
    data_range: float | None = None,
) -> dict[str, float]:
    """Judge one restored image by PSNR and SSIM.

    PSNR is 10 log10(range^2 / MSE), the mean over valid pixels and all colours; infinite for equal images. SSIM is the
    mean of `ssim_map` over the windows that hold valid pixels alone, and over colours.

    Parameters
    ----------
    prediction, target
        (H, W) or (H, W, C) of one type: unsigned integers, or floating point.
    valid
        bool (H, W): pixels that count; by default all.
    data_range
        What white is worth; by default the greatest value of unsigned integers, and 1 of floating-point numbers.

    Returns
    -------
    `psnr` in dB and `ssim`; NaN where nothing counts, SSIM also of images smaller than its window.

    Raises
    ------
    InputError
        If the images do not fit each other, have no customary range, or a pixel that counts is not finite.
    """
    return image_results(*image_sums(prediction, target, valid, data_range))
