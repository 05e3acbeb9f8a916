"""Metrics over many images, one after another: memory does not grow with their number, and parts merge.

Two averages exist in the field, and differ: the *mean over images* of each image's metric, which the codes of BTS and
AdaBins print, and the metric *over all pixels* of all images at once, as Eigen et al. (2014) write their formulas, in
which images with more valid pixels weigh more. Both are given, under those names.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import InputError
from .depth_errors import DepthProtocol, DepthTally, judge
from .image_errors import image_results, image_sums
from .running import Running

Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False, kw_only=True)
class ErrorCurve:
    """Error against another quantity, in bins; D3-Net's Figure 7 against true depth.

    Parameters
    ----------
    edges
        float64 (N + 1,), ascending: bin k holds edges[k] <= x < edges[k + 1], the last one its upper edge too.
    pixels
        int64 (N,): how many pixels each bin holds.
    rmse, mae, bias
        float64 (N,), m: root mean square error, mean absolute error, and mean of prediction minus truth; NaN of an
        empty bin.
    outside
        How many pixels lie in no bin, those with an unknown x among them.
    """

    edges: Float64
    pixels: npt.NDArray[np.int64]
    rmse: Float64
    mae: Float64
    bias: Float64
    outside: int

    @property
    def share(self) -> Float64:
        """Fraction of the pixels in bins that each bin holds, float64 (N,)."""
        return np.asarray(self.pixels / max(1, int(self.pixels.sum())), np.float64)


class CurveTally:
    """Counts errors in the bins of another quantity.

    Parameters
    ----------
    edges
        At least two, ascending and finite.

    Raises
    ------
    InputError
        If the edges are no bins.
    """

    def __init__(self, edges: npt.ArrayLike) -> None:
        self.edges = np.asarray(edges, np.float64)
        if self.edges.ndim != 1 or len(self.edges) < 2 or not np.isfinite(self.edges).all():
            raise InputError("a curve needs two or more finite edges of bins.")
        if not (np.diff(self.edges) > 0).all():
            raise InputError("the edges of a curve's bins ascend.")
        self.pixels = np.zeros(len(self.edges) - 1, np.int64)
        self.sums = np.zeros((3, len(self.edges) - 1))
        self.outside = 0

    def add(self, x: Float64, error: Float64) -> None:
        """Count signed errors, float64 (N,) in m, at x (N,)."""
        bins = np.searchsorted(self.edges, x, side="right") - 1
        bins[x == self.edges[-1]] = len(self.pixels) - 1
        inside = (bins >= 0) & (bins < len(self.pixels))
        where, e = bins[inside], error[inside]
        for k, values in enumerate((e, np.abs(e), np.square(e))):
            self.sums[k] += np.bincount(where, values, len(self.pixels))
        self.pixels += np.bincount(where, minlength=len(self.pixels))
        self.outside += int(x.size - where.size)

    def merge(self, other: "CurveTally") -> None:
        """Count what another one with the same bins has counted."""
        if not np.array_equal(self.edges, other.edges):
            raise InputError("curves of different bins cannot be merged.")
        self.pixels += other.pixels
        self.sums += other.sums
        self.outside += other.outside

    def result(self) -> ErrorCurve:
        """Return the curve of what was counted so far."""
        with np.errstate(invalid="ignore"):
            bias, mae, mse = self.sums / np.where(self.pixels, self.pixels, np.nan)
        return ErrorCurve(
            edges=self.edges, pixels=self.pixels.copy(), rmse=np.sqrt(mse), mae=mae, bias=bias, outside=self.outside
        )


@dataclass(frozen=True, eq=False, kw_only=True)
class Scores:
    """Metrics over a set of images.

    Parameters
    ----------
    images
        Images with at least one pixel that counts.
    empty
        Images with none; they are in no average.
    pixels
        Pixels that count, of all images.
    per_image
        Mean over images of each metric; images where it is NaN are left out of its mean.
    per_pixel
        Each metric over all pixels.
    deviation
        Standard deviation (n - 1) of each metric between images; NaN of fewer than two.
    depth_curve, coc_curve
        Error against true depth in m, and against the signed circle of confusion in px, if asked for.
    """

    images: int
    empty: int
    pixels: int
    per_image: dict[str, float]
    per_pixel: dict[str, float]
    deviation: dict[str, float]
    depth_curve: ErrorCurve | None = None
    coc_curve: ErrorCurve | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return everything as lists and numbers for JSON, with None for NaN and infinity."""
        found: dict[str, Any] = {"images": self.images, "images without valid pixels": self.empty}
        found["pixels"] = self.pixels
        found["mean over images"] = _plain(self.per_image)
        found["over all pixels"] = _plain(self.per_pixel)
        found["standard deviation between images"] = _plain(self.deviation)
        for name, curve in (("error over depth", self.depth_curve), ("error over CoC", self.coc_curve)):
            if curve is not None:
                names = ("edges", "pixels", "rmse", "mae", "bias", "outside")
                found[name] = {key: _plain(getattr(curve, key)) for key in names}
        return found


def _plain(value: Any) -> Any:
    """Turn arrays into lists, and what JSON has no number for into None."""
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, np.ndarray):
        return [_plain(one) for one in value.tolist()]
    return None if isinstance(value, float) and not math.isfinite(value) else value


@dataclass
class _Means:
    """Mean and spread over images of every metric."""

    of: dict[str, Running] = field(default_factory=dict)
    images: int = 0
    empty: int = 0

    def add(self, metrics: dict[str, float], counts: bool) -> None:
        self.images += counts
        self.empty += not counts
        for name, value in metrics.items():
            running = self.of.setdefault(name, Running())
            if not math.isnan(value):
                running.add(value)

    def merge(self, other: "_Means") -> None:
        self.images += other.images
        self.empty += other.empty
        for name, running in other.of.items():
            self.of.setdefault(name, Running()).merge(running)

    def averages(self) -> tuple[dict[str, float], dict[str, float]]:
        mean = {name: running.average for name, running in self.of.items()}
        return mean, {name: running.deviation for name, running in self.of.items()}


class DepthScores:
    """Depth metrics over many images, by `add`, one by one, and `result`.

    Parameters
    ----------
    protocol
        Which pixels count; by default all that are known.
    depth_edges
        Edges in m of the bins of true depth, for a curve of error against depth; left out, no curve.
    coc_edges
        Edges in px of the bins of the signed circle of confusion, for a second curve.

    Raises
    ------
    InputError
        If edges are no bins.
    """

    def __init__(
        self,
        protocol: DepthProtocol | None = None,
        *,
        depth_edges: Sequence[float] | Float64 | None = None,
        coc_edges: Sequence[float] | Float64 | None = None,
    ) -> None:
        self.protocol = protocol or DepthProtocol()
        self._tally = DepthTally()
        self._means = _Means()
        self._depth = None if depth_edges is None else CurveTally(depth_edges)
        self._coc = None if coc_edges is None else CurveTally(coc_edges)

    def add(
        self,
        prediction: npt.ArrayLike,
        target: npt.ArrayLike,
        valid: npt.ArrayLike | None = None,
        coc: npt.ArrayLike | None = None,
    ) -> dict[str, float]:
        """Count one image and return its own metrics, with the parameters and errors of `depth_metrics`.

        `coc`, (H, W) signed px, is needed if a curve against it was asked for, and unused otherwise.
        """
        found = judge(prediction, target, valid, self.protocol)
        error = found.prediction - found.target
        if self._coc is not None:
            blur = np.asarray(coc, np.float64) if coc is not None else np.empty(0)
            if blur.shape != found.mask.shape:
                raise InputError(f"the CoC of an image has its shape {found.mask.shape}, not {blur.shape}.")
            self._coc.add(blur[found.mask], error)
        if self._depth is not None:
            self._depth.add(found.target, error)
        metrics = found.tally.metrics()
        self._tally.merge(found.tally)
        self._means.add(metrics, found.tally.pixels > 0)
        return {**metrics, "pixels": float(found.tally.pixels)}

    def merge(self, other: "DepthScores") -> None:
        """Count what another one has counted, of the same protocol and bins.

        Raises
        ------
        InputError
            If protocols or bins differ.
        """
        if self.protocol != other.protocol:
            raise InputError("scores of different protocols cannot be merged.")
        pairs = ((self._depth, other._depth), (self._coc, other._coc))
        if any((mine is None) != (theirs is None) for mine, theirs in pairs):
            raise InputError("scores with different curves cannot be merged.")
        for mine, theirs in pairs:
            if mine is not None and theirs is not None:
                mine.merge(theirs)
        self._tally.merge(other._tally)
        self._means.merge(other._means)

    def result(self) -> Scores:
        """Return both averages, and the curves, of what was counted so far."""
        per_image, deviation = self._means.averages()
        per_pixel = self._tally.metrics()
        nothing = dict.fromkeys(per_pixel, math.nan)
        return Scores(
            images=self._means.images,
            empty=self._means.empty,
            pixels=self._tally.pixels,
            per_image={**nothing, **per_image},
            per_pixel=per_pixel,
            deviation={**nothing, **deviation},
            depth_curve=self._depth.result() if self._depth else None,
            coc_curve=self._coc.result() if self._coc else None,
        )


class ImageScores:
    """PSNR and SSIM over many images, by `add`, one by one, and `result`.

    Over all pixels, PSNR is that of the mean squared error of all pixels, and SSIM the mean over all windows.

    Parameters
    ----------
    data_range
        As for `image_metrics`.
    """

    def __init__(self, data_range: float | None = None) -> None:
        self.data_range = data_range
        self._sums = np.zeros(2)
        self._counts = [0, 0]
        self._means = _Means()

    def add(
        self, prediction: npt.ArrayLike, target: npt.ArrayLike, valid: npt.ArrayLike | None = None
    ) -> dict[str, float]:
        """Count one image and return its own metrics, with the parameters and errors of `image_metrics`."""
        errors, count, similarity, windows = image_sums(prediction, target, valid, self.data_range)
        self._sums += (errors, similarity)
        self._counts = [self._counts[0] + count, self._counts[1] + windows]
        metrics = image_results(errors, count, similarity, windows)
        self._means.add(metrics, count > 0)
        return metrics

    def merge(self, other: "ImageScores") -> None:
        """Count what another one with the same range has counted.

        Raises
        ------
        InputError
            If the ranges differ.
        """
        if self.data_range != other.data_range:
            raise InputError("image scores of different data ranges cannot be merged.")
        self._sums += other._sums
        self._counts = [a + b for a, b in zip(self._counts, other._counts, strict=True)]
        self._means.merge(other._means)

    def result(self) -> Scores:
        """Return both averages of what was counted so far; `pixels` counts every colour by itself."""
        per_image, deviation = self._means.averages()
        per_pixel = image_results(self._sums[0], self._counts[0], self._sums[1], self._counts[1])
        nothing = dict.fromkeys(per_pixel, math.nan)
        return Scores(
            images=self._means.images,
            empty=self._means.empty,
            pixels=self._counts[0],
            per_image={**nothing, **per_image},
            per_pixel=per_pixel,
            deviation={**nothing, **deviation},
        )
