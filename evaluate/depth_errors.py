"""Errors of one depth map: which pixels count, and what is computed from them. numpy alone.

Formulas, units and what other codes do differently are in docs/metrics.md.
"""

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from .. import InputError
from .running import Running

Float64 = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

BAD_PIXEL = 0.07
"""Error beyond which a pixel is bad, in the unit of the depth map (Hazirbas et al. 2018, DDFF, of disparity)."""
BUMP_LIMIT = 0.05
"""Curvature at which Bumpiness stops counting (Honauer et al. 2016, the HCI light field benchmark)."""
_EIGEN = (45, 471, 41, 601)  # top, bottom, left, right of 480 x 640, ends excluded
_THRESHOLDS = (1.25, 1.25**2, 1.25**3)
_SUMS = ("mae", "mse", "log10", "abs_rel", "sq_rel", "delta1", "delta2", "delta3", "bad_pixels")


@dataclass(frozen=True, kw_only=True)
class DepthProtocol:
    """Which pixels count, and what is done to predictions before they are judged.

    Parameters
    ----------
    min_depth, max_depth
        Metres: pixels count where min_depth < true depth <= max_depth.
    crop
        "eigen": only pixels inside `eigen_crop`.
    clamp
        Predictions are clamped into [min_depth, max_depth] for every metric, as BTS and AdaBins do; otherwise they
        are judged as they are.
    floor
        Metres: predictions below it, 0 and less among them, count as this in the metrics that take a logarithm or a
        ratio to the prediction: RMSE log, log10, SILog and the deltas. The others use the prediction as it is.
    bad_pixel
        Metres of absolute error beyond which a pixel is bad.
    bumpiness
        The quantity whose curvature is judged: "depth" in m, or "disparity", 1/depth in 1/m.

    Raises
    ------
    InputError
        If a limit cannot be used.
    """

    min_depth: float = 0.0
    max_depth: float = float("inf")
    crop: Literal["none", "eigen"] = "none"
    clamp: bool = False
    floor: float = 1e-3
    bad_pixel: float = BAD_PIXEL
    bumpiness: Literal["depth", "disparity"] = "depth"

    def __post_init__(self) -> None:
        if not 0 <= self.min_depth < self.max_depth:
            limits = f"{self.min_depth:g} to {self.max_depth:g}"
            raise InputError(f"the depths that count run from 0 or more metres to more than that, not {limits}.")
        if not 0 < self.floor < float("inf"):
            raise InputError(f"the floor of predictions under a logarithm is above 0 metres, not {self.floor:g}.")
        if not self.bad_pixel > 0:
            raise InputError(f"the error of a bad pixel is above 0 metres, not {self.bad_pixel:g}.")
        if self.crop not in ("none", "eigen"):
            raise InputError(f"the crop is 'none' or 'eigen', not {self.crop!r}.")
        if self.bumpiness not in ("depth", "disparity"):
            raise InputError(f"bumpiness is of 'depth' or 'disparity', not {self.bumpiness!r}.")


NYU_EIGEN = DepthProtocol(min_depth=1e-3, max_depth=10.0, crop="eigen", clamp=True)
"""NYUv2 as BTS and AdaBins judge it: Eigen's crop, depths up to 10 m, predictions clamped to 1 mm to 10 m."""
MAKE3D_C1 = DepthProtocol(max_depth=70.0)
"""Make3D's first criterion: true depth up to 70 m (Liu, Salzmann and He 2014; 2HDED:NET Section V)."""
MAKE3D_C2 = DepthProtocol(max_depth=80.0)
"""Make3D's second criterion: true depth up to 80 m."""
PROTOCOLS = {"all": DepthProtocol(), "nyu-eigen": NYU_EIGEN, "make3d-c1": MAKE3D_C1, "make3d-c2": MAKE3D_C2}
"""Protocols by name."""


def eigen_crop(height: int, width: int) -> tuple[slice, slice]:
    """Return rows and columns of the crop of Eigen et al. (2014) for a full frame.

    It is [45:471, 41:601] of 480 x 640, as public codes write it (MATLAB's original counts from 1 and includes its
    ends, hence 427 x 561). At other sizes of the same shape it is scaled and rounded to whole pixels.

    Raises
    ------
    InputError
        If the frame is not 4:3 within 1 %: then it is not the whole frame that the crop is meant for.
    """
    if min(height, width) < 12 or abs(width * 3 / (height * 4) - 1) > 0.01:
        raise InputError(f"Eigen's crop is for whole 4:3 frames; {width}x{height} is not one. Use another protocol.")
    top, bottom, left, right = _EIGEN
    rows, columns = height / 480, width / 640
    return slice(round(top * rows), round(bottom * rows)), slice(round(left * columns), round(right * columns))


def _checked(prediction: npt.ArrayLike, target: npt.ArrayLike, valid: npt.ArrayLike | None) -> tuple[Any, Any, Mask]:
    p, t = np.asarray(prediction), np.asarray(target)
    if p.ndim != 2 or p.shape != t.shape:
        raise InputError(f"prediction and true depth share one shape (H, W), not {p.shape} and {t.shape}.")
    if np.iscomplexobj(p) or np.iscomplexobj(t):
        raise InputError("prediction and true depth are real numbers in metres, not complex ones.")
    known = np.isfinite(t)
    if valid is not None:
        given = np.asarray(valid)
        if given.shape != t.shape or given.dtype != np.bool_:
            raise InputError(f"valid pixels are booleans of shape {t.shape}, not {given.dtype} {given.shape}.")
        known &= given
    return p, t, known


def counted_pixels(target: npt.ArrayLike, valid: npt.ArrayLike | None, protocol: DepthProtocol) -> Mask:
    """Return which pixels of a true depth map, (H, W) in m, count: known, valid, within the limits and the crop."""
    _, t, known = _checked(target, target, valid)
    return _counted(t, known, protocol)


def _counted(t: npt.NDArray[Any], known: Mask, protocol: DepthProtocol) -> Mask:
    with np.errstate(invalid="ignore"):
        mask = known & (t > protocol.min_depth) & (t <= protocol.max_depth)
    if protocol.crop == "eigen":
        inside = np.zeros_like(mask)
        inside[eigen_crop(*t.shape)] = True
        mask &= inside
    return mask


def _slope(values: Float64, axis: int) -> Float64:
    """Apply Scharr's derivative, [3 10 3]/16 by [1 0 -1] with mirrored borders: a slope of 1 a pixel gives 2."""
    v = np.pad(values, 1, mode="symmetric")
    v = v if axis == 1 else v.T
    smooth = (3 * v[:-2] + 10 * v[1:-1] + 3 * v[2:]) / 16
    found = smooth[:, 2:] - smooth[:, :-2]
    return found if axis == 1 else found.T


def _curvature(difference: Float64, known: Mask) -> tuple[Float64, Mask]:
    """Return min(|Hessian|, limit) of a difference, and where its 5 x 5 window holds known pixels alone."""
    dx, dy = (_slope(np.where(known, difference, 0.0), axis) for axis in (1, 0))
    squares = [_slope(d, axis) ** 2 for d in (dx, dy) for axis in (1, 0)]
    usable = known.copy()
    for axis in (0, 1):
        hole = np.pad(~usable, [(2, 2) if a == axis else (0, 0) for a in (0, 1)])
        size = usable.shape[axis]
        usable = ~np.logical_or.reduce([np.take(hole, np.arange(k, k + size), axis) for k in range(5)])
    return np.minimum(np.sqrt(sum(squares)), BUMP_LIMIT), usable


def bumpiness(prediction: npt.ArrayLike, target: npt.ArrayLike, valid: npt.ArrayLike | None = None) -> float:
    """Return how bumpy an error is: 100 times the mean curvature of prediction minus truth, 0 to 5.

    The Frobenius norm of the Hessian by Scharr's filter applied twice, each curvature clipped at 0.05 (Honauer et al.
    2016, HCI benchmark, BumpinessPlanes). A pixel counts where its 5 x 5 window holds no unknown or invalid one.

    Parameters
    ----------
    prediction, target
        (H, W), any quantity. The HCI benchmark and DDFF judge disparity; `DepthProtocol` says which it is in tables.
    valid
        bool (H, W): pixels to judge, such as a plane; unknown values (NaN) are left out as well.

    Returns
    -------
    The score, NaN where no pixel counts.

    Raises
    ------
    InputError
        If the shapes differ, or a prediction to be judged is not finite.
    """
    p, t, known = _checked(prediction, target, valid)
    _refuse_unknown(p[known])
    found, usable = _curvature(np.where(known, p, 0.0).astype(float) - np.where(known, t, 0.0), known)
    return float(100 * found[usable].mean()) if usable.any() else float("nan")


def _refuse_unknown(predictions: npt.NDArray[Any]) -> None:
    broken = int(predictions.size - np.isfinite(predictions).sum())
    if broken:
        raise InputError(
            f"{broken} of {predictions.size} predictions to be judged are NaN or infinite; "
            "repair the model, or leave those pixels out of `valid` and say so."
        )


@dataclass
class DepthTally:
    """What depth metrics are computed from: sums over pixels, of one image or of many.

    Attributes
    ----------
    pixels
        How many pixels are counted.
    sums
        Of the error terms, by metric.
    logs
        ln(prediction / truth) of all pixels.
    bumps, bump_pixels
        Sum of the curvatures, and of how many pixels.
    """

    pixels: int = 0
    sums: dict[str, float] = field(default_factory=lambda: dict.fromkeys(_SUMS, 0.0))
    logs: Running = field(default_factory=Running)
    bumps: float = 0.0
    bump_pixels: int = 0

    def merge(self, other: "DepthTally") -> None:
        """Count what another one has counted."""
        self.pixels += other.pixels
        for name, value in other.sums.items():
            self.sums[name] += value
        self.logs.merge(other.logs)
        self.bumps += other.bumps
        self.bump_pixels += other.bump_pixels

    def metrics(self) -> dict[str, float]:
        """Return every depth metric over the counted pixels; NaN where there are none."""
        nan = float("nan")
        means = {name: self.sums[name] / self.pixels if self.pixels else nan for name in _SUMS}
        mean, variance = self.logs.average, self.logs.variance
        return {
            "rmse": means["mse"] ** 0.5,
            "mae": means["mae"],
            "mse": means["mse"],
            "rmse_log": (variance + mean * mean) ** 0.5,
            "log10": means["log10"],
            "silog": 100 * variance**0.5,
            "abs_rel": means["abs_rel"],
            "sq_rel": means["sq_rel"],
            "delta1": means["delta1"],
            "delta2": means["delta2"],
            "delta3": means["delta3"],
            "bad_pixels": means["bad_pixels"],
            "bumpiness": 100 * self.bumps / self.bump_pixels if self.bump_pixels else nan,
        }


def tally_pixels(p: Float64, t: Float64, protocol: DepthProtocol) -> DepthTally:
    """Count predictions and true depths of some pixels, float64 (N,) in m, all but the bumpiness."""
    if not t.size:
        return DepthTally()
    error = np.abs(p - t)
    above = np.maximum(p, protocol.floor)
    ratio = np.log(above / t)
    worst = np.maximum(above / t, t / above)
    centre = float(ratio.mean())
    sums = {
        "mae": error.sum(),
        "mse": np.square(error).sum(),
        "log10": np.abs(ratio).sum() / np.log(10),
        "abs_rel": (error / t).sum(),
        "sq_rel": (np.square(error) / t).sum(),
        "bad_pixels": (error > protocol.bad_pixel).sum(),
        **{f"delta{k}": (worst < limit).sum() for k, limit in enumerate(_THRESHOLDS, 1)},
    }
    logs = Running(t.size, centre, float(np.square(ratio - centre).sum()))
    return DepthTally(t.size, {name: float(sums[name]) for name in _SUMS}, logs)


@dataclass(frozen=True, eq=False)
class Judged:
    """One depth map, ready to be counted: `mask` bool (H, W), and of its pixels float64 (N,) depths in m."""

    mask: Mask
    prediction: Float64
    target: Float64
    tally: DepthTally


def judge(
    prediction: npt.ArrayLike, target: npt.ArrayLike, valid: npt.ArrayLike | None, protocol: DepthProtocol
) -> Judged:
    """Choose the pixels that count and count them, with the parameters and errors of `depth_metrics`."""
    p, t, known = _checked(prediction, target, valid)
    mask = _counted(t, known, protocol)
    wanted, truth = p[mask].astype(np.float64), t[mask].astype(np.float64)
    _refuse_unknown(wanted)
    low, high = (protocol.min_depth, protocol.max_depth) if protocol.clamp else (-np.inf, np.inf)
    wanted = np.clip(wanted, low, high)
    tally = tally_pixels(wanted, truth, protocol)
    if truth.size:
        with np.errstate(invalid="ignore"):
            known &= np.isfinite(p) & (t > 0)
        u, v = np.clip(np.where(known, p, 1.0).astype(np.float64), low, high), np.where(known, t, 1.0)
        if protocol.bumpiness == "disparity":
            u, v = 1 / np.maximum(u, protocol.floor), 1 / v
        curvature, usable = _curvature(u - v, known)
        usable &= mask
        tally.bumps, tally.bump_pixels = float(curvature[usable].sum()), int(usable.sum())
    return Judged(mask, wanted, truth, tally)


def depth_metrics(
    prediction: npt.ArrayLike,
    target: npt.ArrayLike,
    valid: npt.ArrayLike | None = None,
    protocol: DepthProtocol | None = None,
) -> dict[str, float]:
    """Judge one predicted depth map.

    Definitions: RMSE, RMSE log (natural), Abs Rel, Sq Rel and the deltas of Eigen, Puhrsch and Fergus (2014); log10 of
    Saxena et al. (2009); SILog of the KITTI depth benchmark, 100 times the standard deviation of ln(prediction/truth),
    which is Eigen's scale-invariant error with lambda = 1; BadPix of DDFF (2018); `bumpiness`.

    Parameters
    ----------
    prediction, target
        (H, W), z-depth in m; NaN in the target is unknown, as is infinity, and 0 or less does not count.
    valid
        bool (H, W): pixels that count; by default all with a known depth.
    protocol
        Limits, crop and what is done to predictions; by default all pixels, and predictions as they are.

    Returns
    -------
    Every metric by its name in `MEASURES`, and `pixels`, how many counted. All are NaN where none does; Bumpiness is
    where no pixel has a known 5 x 5 window.

    Raises
    ------
    InputError
        If shapes or types do not fit, or a prediction that counts is NaN or infinite.
    """
    tally = judge(prediction, target, valid, protocol or DepthProtocol()).tally
    return {**tally.metrics(), "pixels": float(tally.pixels)}
