"""How unsure a model is, and whether that tells where it is wrong.

`monte_carlo` runs a model many times with its dropout left on (Gal and Ghahramani 2016; D3-Net, Section 3.4, draws 50
samples). The uncertainty of a pixel is the standard deviation of its depths. It is judged in three ways:

- *Sparsification* (Ilg et al. 2018, ECCV): the error of what remains when the most uncertain pixels are left out,
  beside what remains when the truly worst are (the oracle). AUSE is the area between the two; AURG (Poggi et al. 2020,
  CVPR) the area between leaving out at random and by uncertainty. Both are of curves divided by the error of all
  pixels, so that they are pure numbers.
- *Calibration*: root mean square error against the uncertainty that was stated; equal where it is calibrated.
- *Coverage* (Kuleshov et al. 2018): how many true depths lie within the central interval of a Gaussian that should
  hold a share of them.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import InputError
from .depth_errors import DepthProtocol, judge
from .running import Running
from .scores import CurveTally

Float64 = npt.NDArray[np.float64]

SAMPLES = 50
"""Forward passes of D3-Net, Section 3.4."""
FRACTIONS: Float64 = np.linspace(0, 0.98, 50)
"""Shares of the pixels that are left out, from none to all but a fiftieth."""
SHARES: Float64 = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99])
"""Shares that central intervals should hold."""
_STEPS: Float64 = np.geomspace(1e-3, 10, 25)  # edges in m of the bins of stated uncertainty


@dataclass(frozen=True, eq=False, kw_only=True)
class Sampled:
    """What many runs of a model on one image say.

    Parameters
    ----------
    mean, std
        float64 (H, W), m: mean, and population standard deviation (1/n), of the predicted depths.
    samples
        How many runs.
    """

    mean: Float64
    std: Float64
    samples: int


def monte_carlo(
    predict: Callable[[Any, int], npt.ArrayLike], image: object, samples: int = SAMPLES, *, first: int = 0
) -> Sampled:
    """Run a model many times and keep mean and spread, never all of its depth maps.

    Parameters
    ----------
    predict
        predict(image, sample) gives a depth map (H, W) in m. Its dropout is on, and its random numbers depend on
        `sample` alone, so that a second evaluation gives the same numbers.
    image
        Whatever `predict` takes.
    samples
        How many runs, 2 or more.
    first
        Number of the first sample.

    Raises
    ------
    InputError
        If there are fewer than two samples, or a depth map is not (H, W), not finite, or unlike the first one.
    """
    if samples < 2:
        raise InputError(f"a spread of predictions needs at least 2 samples, not {samples}.")
    mean, squares = np.zeros(()), np.zeros(())
    for k in range(samples):
        depth = np.asarray(predict(image, first + k), np.float64)
        if depth.ndim != 2 or (k and depth.shape != mean.shape):
            raise InputError(f"sample {first + k} of the prediction has shape {depth.shape}; all are one (H, W).")
        if not np.isfinite(depth).all():
            raise InputError(f"sample {first + k} of the prediction holds NaN or infinity; repair the model.")
        step = depth - mean
        mean = mean + step / (k + 1)
        squares = squares + step * (depth - mean)
    return Sampled(mean=mean, std=np.sqrt(squares / samples), samples=samples)


@dataclass(frozen=True, eq=False, kw_only=True)
class Sparsification:
    """Error that remains when a share of the pixels is left out, divided by the error of all.

    Parameters
    ----------
    fractions
        float64 (N,): shares left out.
    by_uncertainty, by_error
        float64 (N,): what remains when the most uncertain pixels are left out, and the oracle.
    ause, aurg
        Areas between the curves, by trapezoids over `fractions`: 0 is best for AUSE; AURG is above 0 where the
        uncertainty is worth more than chance.
    """

    fractions: Float64
    by_uncertainty: Float64
    by_error: Float64
    ause: float
    aurg: float


def _remaining(squares: Float64, order_by: Float64) -> Float64:
    """Return the RMSE of what remains, for every fraction, where pixels of equal rank share their mean error."""
    order = np.argsort(order_by, kind="stable")
    sorted_squares, ranks = squares[order], order_by[order]
    starts = np.flatnonzero(np.concatenate([[True], ranks[1:] != ranks[:-1]]))
    counts = np.diff(np.append(starts, len(ranks)))
    shared = np.repeat(np.add.reduceat(sorted_squares, starts) / counts, counts)
    kept = np.maximum(1, len(ranks) - np.floor(FRACTIONS * len(ranks)).astype(np.intp))
    return np.asarray(np.sqrt(np.cumsum(shared)[kept - 1] / kept), np.float64)


def sparsification(error: npt.ArrayLike, uncertainty: npt.ArrayLike) -> Sparsification:
    """Judge whether uncertainty tells which pixels are wrong.

    Parameters
    ----------
    error, uncertainty
        Of the same pixels, any shape, in m. Pixels of equal uncertainty are left out together in the mean of all
        orders, so that a constant uncertainty gives a flat line and no order of pixels matters.

    Returns
    -------
    The curves over `FRACTIONS`, of the RMSE; NaN without pixels, and flat where there is no error at all.

    Raises
    ------
    InputError
        If the shapes differ, a value is not finite, or an uncertainty is negative.
    """
    e, u = np.ravel(np.asarray(error, np.float64)), np.ravel(np.asarray(uncertainty, np.float64))
    if e.shape != u.shape:
        raise InputError(f"every error needs its uncertainty: there are {e.size} and {u.size}.")
    if not (np.isfinite(e).all() and np.isfinite(u).all() and (u >= 0).all()):
        raise InputError("errors and uncertainties are finite, and uncertainties are not negative.")
    squares = np.square(e)
    if not e.size:
        curves = np.full((2, len(FRACTIONS)), np.nan)
    elif not squares.any():
        curves = np.ones((2, len(FRACTIONS)))
    else:
        curves = np.stack([_remaining(squares, order) for order in (u, squares)]) / math.sqrt(squares.mean())
    return _areas(*curves)


def _areas(by_uncertainty: Float64, by_error: Float64) -> Sparsification:
    return Sparsification(
        fractions=FRACTIONS,
        by_uncertainty=by_uncertainty,
        by_error=by_error,
        ause=float(np.trapezoid(by_uncertainty - by_error, FRACTIONS)),
        aurg=float(np.trapezoid(1 - by_uncertainty, FRACTIONS)),
    )


@dataclass(frozen=True, eq=False, kw_only=True)
class Calibration:
    """Stated uncertainty beside the error that was found, over many images.

    Parameters
    ----------
    images, pixels
        How many images had pixels that count, and how many.
    stated, found
        float64 (N,), m: root mean square of the uncertainty, and of the error, in bins of uncertainty; empty bins are
        left out.
    counts
        int64 (N,): pixels of each bin.
    shares, coverage
        float64 (M,): shares of true depths that central Gaussian intervals should hold, and do; NaN without pixels.
    sparsification
        Mean over images of their curves, each divided by its own error.
    depth_edges, spread
        float64 (K + 1,) and (K,), m: bins of true depth and the root mean square uncertainty in each, NaN where empty;
        None if not asked for.
    """

    images: int
    pixels: int
    stated: Float64
    found: Float64
    counts: npt.NDArray[np.int64]
    shares: Float64
    coverage: Float64
    sparsification: Sparsification
    depth_edges: Float64 | None = None
    spread: Float64 | None = None

    @property
    def size(self) -> float:
        """Root mean square of the stated uncertainty over all pixels, m; NaN without pixels."""
        pixels = int(self.counts.sum())
        return math.sqrt(float((np.square(self.stated) * self.counts).sum()) / pixels) if pixels else math.nan

    @property
    def calibration_error(self) -> float:
        """Mean of |coverage - share|: 0 where every interval holds what it should; NaN without pixels."""
        return float(np.abs(self.coverage - self.shares).mean())


class UncertaintyScores:
    """Judges uncertainty over many images, by `add`, one by one, and `result`; memory does not grow.

    Parameters
    ----------
    protocol
        Which pixels count, as for depth metrics.
    depth_edges
        Edges in m of bins of true depth, for the spread of predictions over depth.
    """

    def __init__(self, protocol: DepthProtocol | None = None, depth_edges: npt.ArrayLike | None = None) -> None:
        self.protocol = protocol or DepthProtocol()
        self._bins = np.zeros((3, len(_STEPS) + 1))  # pixels, squared uncertainty, squared error
        self._inside = np.zeros(len(SHARES))
        self._curves = np.zeros((2, len(FRACTIONS)))
        self._ause, self._aurg = Running(), Running()
        self._depth = None if depth_edges is None else CurveTally(depth_edges)

    def add(
        self, mean: npt.ArrayLike, std: npt.ArrayLike, target: npt.ArrayLike, valid: npt.ArrayLike | None = None
    ) -> Sparsification:
        """Count one image and return its own curves.

        Parameters
        ----------
        mean, std, target
            (H, W), m: predicted depth, its standard deviation, and the truth, NaN where unknown.
        valid
            bool (H, W): pixels that count.

        Raises
        ------
        InputError
            If arrays do not fit, or a prediction or an uncertainty that counts is not finite, or below 0.
        """
        found = judge(mean, target, valid, self.protocol)
        spread = np.asarray(std, np.float64)
        if spread.shape != found.mask.shape:
            raise InputError(f"the uncertainty has the shape of the depth, {found.mask.shape}, not {spread.shape}.")
        error, u = found.prediction - found.target, spread[found.mask]
        own = sparsification(error, u)
        if not error.size:
            return own
        bins = np.searchsorted(_STEPS, u)
        for k, values in enumerate((np.ones(u.size), u * u, error * error)):
            self._bins[k] += np.bincount(bins, values, self._bins.shape[1])
        normal = NormalDist()
        for k, share in enumerate(SHARES.tolist()):
            self._inside[k] += int((np.abs(error) <= normal.inv_cdf((1 + share) / 2) * u).sum())
        self._curves += (own.by_uncertainty, own.by_error)
        self._ause.add(own.ause)
        self._aurg.add(own.aurg)
        if self._depth is not None:
            self._depth.add(found.target, u)
        return own

    def merge(self, other: "UncertaintyScores") -> None:
        """Count what another one has counted, of the same protocol and bins.

        Raises
        ------
        InputError
            If protocols or bins differ.
        """
        if self.protocol != other.protocol or (self._depth is None) != (other._depth is None):
            raise InputError("uncertainties of different protocols or bins cannot be merged.")
        if self._depth is not None and other._depth is not None:
            self._depth.merge(other._depth)
        self._bins += other._bins
        self._inside += other._inside
        self._curves += other._curves
        self._ause.merge(other._ause)
        self._aurg.merge(other._aurg)

    def result(self) -> Calibration:
        """Return curves and areas of what was counted so far."""
        count, stated, found = self._bins
        held, pixels, images = count > 0, int(count.sum()), self._ause.count
        mean = self._curves / images if images else np.full_like(self._curves, np.nan)
        return Calibration(
            images=images,
            pixels=pixels,
            stated=np.sqrt(stated[held] / count[held]),
            found=np.sqrt(found[held] / count[held]),
            counts=count[held].astype(np.int64),
            shares=SHARES,
            coverage=self._inside / pixels if pixels else np.full(len(SHARES), np.nan),
            sparsification=_areas(mean[0], mean[1]),
            depth_edges=None if self._depth is None else self._depth.edges,
            spread=None if self._depth is None else self._depth.result().rmse,
        )
