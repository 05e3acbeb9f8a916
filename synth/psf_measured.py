"""Measured point spread functions: from the pictures of a point at several depths to a bank."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import InputError
from .camera import ThinLens
from .psf_field import FieldBank, StoredBank
from .psf_files import read_npz
from .psf_sampled import SampledBank
from .psf_shapes import overlaps
from .shapes import rounded

Float64 = npt.NDArray[np.float64]
Arrays = dict[str, npt.NDArray[Any]]


def measured_bank(path: Path, lens: ThinLens, *, size: int | None = None) -> StoredBank:
    """Bank of measured PSFs, one plane for each measured depth, at one or at several positions of the picture.

    The .npz file holds these arrays, and any others:

    `psf`
        (K, h, w), or with three channels (K, 3, h, w) or (K, h, w, 3): linear light of the upright picture, in any
        scale, not negative.
    `depth` or `coc`
        (K,) metres along the axis, or signed CoC of `lens` in pixels; in any order.
    `pixel_pitch`, optional
        Metres; that of `lens` if absent. PSFs of another pitch are resampled.
    `background`, optional
        A number, or one for each plane, (K,), that is subtracted; what would become negative is 0.
    `centre`, optional
        (y, x) of the optical axis in pixels of `psf`, the first pixel's centre at 0.
    `field`, optional
        (F, 2) positions (y, x) in the picture that PSFs were measured at: from its centre, y downwards, in
        half-diagonals of the picture. They form a grid, in any order; between its nodes PSFs are interpolated,
        and beyond them repeated. `psf` then has an axis of length F before all others, and `centre`, which is where
        a sharp point at that position is seen, may be (F, 2).

    Without `centre` the axis is taken to be at the energy centroid of the sharpest plane, all channels together: the
    one whose light is on the fewest pixels, ``(sum psf)^2 / sum psf^2``. All planes are shifted alike, since where the
    light of each stands relative to the others is part of what was measured. Shift and change of pitch are one step:
    each measured pixel is a square of uniform light that is integrated exactly over the new pixels. This keeps the
    energy and makes nothing negative, and a shift by a fraction blurs as linear interpolation does.

    Parameters
    ----------
    path
        The .npz file.
    lens
        The lens that the PSFs were measured with, at the focus of the measurement.
    size
        Pixels of the square that is kept around the axis; None keeps all light. What share of the light it holds is
        the bank's `energy`; what it holds is normalised to 1.

    Raises
    ------
    InputError
        If the file cannot be read, lacks an array, or its arrays hold anything but that.
    """
    if size is not None and not (size == int(size) and 1 <= size <= 4096):
        raise InputError(f"the size of a PSF bank's kernels must be 1 to 4096 pixels, not {size}.")
    arrays = read_npz(path, "the measured PSFs")
    if "field" in arrays:
        return _field_bank(arrays, path, lens, size)
    return _bank(arrays, path, lens, size)


def _bank(arrays: Arrays, path: Path, lens: ThinLens, size: int | None) -> SampledBank:
    psf = _light(arrays, path)
    coc = _coc(arrays, len(psf), lens, path)
    pitch = _number(arrays, "pixel_pitch", lens.pixel_pitch, path)
    centre = _centre(arrays, psf, path)
    square = _resample(psf, centre, pitch / lens.pixel_pitch)
    total = square.sum(axis=(2, 3))
    cut = square if size is None else _crop(square, int(size))
    kept = cut.sum(axis=(2, 3))
    if not (kept > 0).all():
        plane = int(np.argmin(kept.min(axis=1)))
        raise InputError(f"{path}: a window of {size} pixels holds no light of plane {plane}: choose a larger size.")
    facts = {
        "kind": "measured",
        "file": path.name,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "pixel_pitch": pitch,
        "centre": list(centre),
        "size": size,
    }
    order = np.argsort(coc)
    kernels, energy = cut / kept[:, :, None, None], rounded(kept / total)
    return SampledBank("measured", lens, kernels[order], coc[order], energy=energy[order], facts=facts)


def _field_bank(arrays: Arrays, path: Path, lens: ThinLens, size: int | None) -> FieldBank[SampledBank]:
    field_y, field_x, order = _grid(arrays, path)
    banks = [_bank_at(int(n), arrays, path, lens, size) for n in order]
    widest = max(max(bank.size) for bank in banks)
    if any(bank.size != (widest, widest) for bank in banks):
        # Axes stand at different places of their windows: the kernels of all positions must have one size.
        banks = [_bank_at(int(n), arrays, path, lens, widest) for n in order]
    facts = {**banks[0].facts, "centre": [bank.facts["centre"] for bank in banks], "size": size}
    return FieldBank("measured", tuple(banks), field_y, field_x, facts)


def _bank_at(number: int, arrays: Arrays, path: Path, lens: ThinLens, size: int | None) -> SampledBank:
    own = {**arrays, "psf": arrays["psf"][number]}
    if "centre" in arrays and arrays["centre"].ndim == 2:
        own["centre"] = arrays["centre"][number]
    try:
        return _bank(own, path, lens, size)
    except InputError as error:
        raise InputError(f"at field position {number}: {error}") from None


def _grid(arrays: Arrays, path: Path) -> tuple[Float64, Float64, npt.NDArray[np.int64]]:
    """Rows and columns of the field positions, and the number of the position at each node, row by row."""
    field, count = arrays["field"], len(np.atleast_1d(arrays.get("psf", 0)))
    if field.dtype.kind not in "uif" or field.shape != (count, 2) or not np.isfinite(field).all():
        raise InputError(
            f"{path}: 'field' has shape {field.shape} and type {field.dtype}, and 'psf' begins with {count} positions: "
            "give two numbers, (y, x), for each; heights along one radius must be turned on to a grid first."
        )
    if "centre" in arrays and arrays["centre"].shape not in ((2,), (count, 2)):
        raise InputError(f"{path}: 'centre' must be (y, x), or one for each of the {count} positions of 'field'.")
    y, x = np.round(field.astype(np.float64), 6).T
    field_y, row = np.unique(y, return_inverse=True)
    field_x, column = np.unique(x, return_inverse=True)
    node = row * len(field_x) + column
    if len(np.unique(node)) != count or count != len(field_y) * len(field_x):
        raise InputError(
            f"{path}: the {count} positions of 'field' have {len(field_y)} different y and {len(field_x)} different x, "
            "and are no grid: give one position for every pair of them."
        )
    return field_y, field_x, np.argsort(node).astype(np.int64)


def _light(arrays: Arrays, path: Path) -> Float64:
    """(K, C, h, w) light above the background."""
    if "psf" not in arrays:
        raise InputError(f"{path} has no array 'psf' (it has {', '.join(arrays) or 'none'}): name the PSFs so.")
    psf = arrays["psf"]
    if psf.ndim == 3:
        psf = psf[:, None]
    elif psf.ndim == 4 and psf.shape[1] != 3 and psf.shape[3] == 3:
        psf = np.moveaxis(psf, 3, 1)
    if psf.ndim != 4 or psf.shape[1] not in (1, 3) or 0 in psf.shape:
        raise InputError(
            f"{path}: 'psf' has shape {arrays['psf'].shape}: it must be (planes, height, width), or with three "
            "channels (planes, 3, height, width) or (planes, height, width, 3)."
        )
    if psf.dtype.kind not in "uif":
        raise InputError(f"{path}: 'psf' holds {psf.dtype} values: save it as integers or floating-point numbers.")
    for wrong, what in ((~np.isfinite(psf), "not finite"), (psf < 0, "negative")):
        if wrong.any():
            counts = wrong.sum(axis=(1, 2, 3))
            plane = int(np.argmax(counts > 0))
            raise InputError(
                f"{path}: plane {plane} of 'psf' has {counts[plane]} values that are {what}: light is a finite number, "
                "0 or more."
            )
    light = psf.astype(np.float64)
    if "background" in arrays:
        light = np.maximum(light - _background(arrays["background"], len(light), path), 0.0)
    dark = np.argwhere(light.max(axis=(2, 3)) == 0)
    if len(dark):
        raise InputError(
            f"{path}: plane {dark[0][0]} of 'psf', channel {dark[0][1]}, has no light above the background."
        )
    # Planes may come in any scale: relative to their maximum, sums of squares cannot overflow.
    return np.asarray(light / light.max(axis=(1, 2, 3), keepdims=True))


def _background(background: npt.NDArray[Any], planes: int, path: Path) -> Float64:
    if background.shape not in ((), (1,), (planes,)) or background.dtype.kind not in "uif":
        raise InputError(
            f"{path}: 'background' has shape {background.shape} and type {background.dtype}: give one number, or one "
            f"for each of the {planes} planes."
        )
    if not np.isfinite(background).all():
        raise InputError(f"{path}: 'background' has values that are not finite: give numbers.")
    return background.astype(np.float64).reshape(-1, 1, 1, 1)


def _coc(arrays: Arrays, planes: int, lens: ThinLens, path: Path) -> Float64:
    """(K,) signed CoC of each plane, pixels."""
    given = [name for name in ("depth", "coc") if name in arrays]
    if len(given) != 1:
        have = "both 'depth' and 'coc'" if given else "neither 'depth' nor 'coc'"
        raise InputError(f"{path} has {have}: say where the planes are with one of them.")
    name, values = given[0], arrays[given[0]]
    if values.dtype.kind not in "uif" or values.shape != (planes,):
        raise InputError(
            f"{path}: '{name}' has shape {values.shape} and type {values.dtype}, and 'psf' {planes} planes: give one "
            "number for each plane."
        )
    values = values.astype(np.float64)
    wrong = ~(values > 0) if name == "depth" else ~np.isfinite(values)
    if wrong.any():
        plane = int(np.argmax(wrong))
        kind = "positive" if name == "depth" else "finite"
        raise InputError(f"{path}: '{name}' of plane {plane} is {values[plane]}: it must be a {kind} number.")
    coc = np.asarray(lens.coc(values) if name == "depth" else values, np.float64)
    order = np.argsort(coc, kind="stable")
    # The difference of two equal depths is exactly 0; different depths may still share a CoC, but for rounding.
    twin = np.flatnonzero(np.diff(coc[order]) <= 1e-9 * max(1.0, float(np.abs(coc).max())))
    if len(twin):
        first, second = sorted((int(order[twin[0]]), int(order[twin[0] + 1])))
        raise InputError(
            f"{path}: planes {first} and {second} ({name} {values[first]:.6g} and {values[second]:.6g}) have the same "
            f"CoC, {coc[first]:.6g} px: keep one of them."
        )
    return coc


def _number(arrays: Arrays, name: str, default: float, path: Path) -> float:
    if name not in arrays:
        return default
    value = arrays[name]
    if value.dtype.kind not in "uif" or value.size != 1 or not 0 < float(value.reshape(-1)[0]) < np.inf:
        raise InputError(f"{path}: '{name}' must be one positive number, in metres.")
    return float(value.reshape(-1)[0])


def _centre(arrays: Arrays, psf: Float64, path: Path) -> tuple[float, float]:
    """(y, x) of the optical axis, pixels of `psf`."""
    height, width = psf.shape[2:]
    if "centre" in arrays:
        centre = arrays["centre"]
        if centre.dtype.kind not in "uif" or centre.shape != (2,) or not _inside(centre, height, width):
            raise InputError(
                f"{path}: 'centre' must be two numbers, (y, x), within the {height} x {width} pixels of 'psf'."
            )
        return float(centre[0]), float(centre[1])
    light = psf.sum(axis=1)
    spread = light.sum(axis=(1, 2)) ** 2 / (light**2).sum(axis=(1, 2))
    sharpest = light[np.argmin(spread)]
    y, x = (np.average(np.arange(n), weights=sharpest.sum(axis=axis)) for n, axis in ((height, 1), (width, 0)))
    return float(y), float(x)


def _inside(centre: npt.NDArray[Any], height: int, width: int) -> bool:
    return bool((centre >= -0.5).all() and (centre <= np.array([height, width]) - 0.5).all())


def _resample(psf: Float64, centre: tuple[float, float], ratio: float) -> Float64:
    """(K, C, n, n), n odd, with `centre` in the middle of the middle pixel; old pixels are `ratio` new ones wide."""
    cells = [(np.arange(n + 1) - 0.5 - c) * ratio for n, c in zip(psf.shape[2:], centre, strict=True)]
    reach = max(float(np.abs(c).max()) for c in cells)
    half = max(0, int(np.ceil(reach - 0.5 - 1e-9)))
    if half > 2048:
        raise InputError(
            f"the measured PSFs would be {2 * half + 1} pixels wide at the lens's pixel pitch: check 'pixel_pitch', or "
            "crop them."
        )
    edges = np.arange(-half, half + 2) - 0.5
    share_y, share_x = (overlaps(edges, c) / ratio for c in cells)
    return np.asarray(share_y @ psf @ share_x.T)


def _crop(square: Float64, size: int) -> Float64:
    """Window of `size` pixels, its pixel `size` // 2 being the middle one; zeros where it is larger than `square`."""
    half, before = square.shape[-1] // 2, size // 2
    out = np.zeros((*square.shape[:2], size, size))
    low, high = max(0, before - half), min(size, before + half + 1)
    source = slice(low - before + half, high - before + half)
    out[:, :, low:high, low:high] = square[:, :, source, source]
    return out
