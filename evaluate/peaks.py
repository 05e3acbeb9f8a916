"""Where focus is best between the slices of a stack: peaks of focus measures that were sampled at a few distances.

Both ways work on logarithms: far from a peak a focus measure falls by factors. `x` is the coordinate in which focus
goes evenly, 1 / distance: circles of confusion are proportional to its differences.
"""

import numpy as np
import numpy.typing as npt

Float64 = npt.NDArray[np.float64]


def gaussian_fit(logs: Float64, x: Float64, share: float = 0.4) -> Float64:
    """Return the peak of the Gaussian that fits all measures around the greatest that are high.

    Where slices are so close that several are equally sharp, three of them say nothing, and the greatest is chance:
    what falls on both sides says where the middle is. Slices count that reach from the greatest without a gap at
    least `share` of the way from the least measure to the greatest, and the next on either side. Their logarithms are
    fitted by a parabola with the squares of the measures as weights (Guo 2011, "A simple algorithm for fitting a
    Gaussian function", IEEE Signal Processing Magazine 28, 134). Where one slice alone is high that is the parabola
    through it and its two neighbours (Nayar and Nakagawa 1994). A greatest measure at an end of the stack, beside one
    lower slice, is not bracketed, and the end itself is the peak.

    Parameters
    ----------
    logs
        (S, N): logarithms of focus measures.
    x
        (S,) in strict order, up or down.
    share
        From 0 to 1.

    Returns
    -------
    float64 (N,), from x[0] to x[-1], and not beyond the slices that count.
    """
    count, best = len(logs), logs.argmax(axis=0)
    if count < 3:
        return np.asarray(x[best], np.float64)
    fall = logs - logs.max(axis=0)
    height = np.exp(fall)
    least = height.min(axis=0)
    at = np.arange(count)[:, None]
    low = height - least < share * (1 - least)
    first = np.where(low & (at < best), at, 0).max(axis=0)
    last = np.where(low & (at > best), at, count - 1).min(axis=0)
    weight = np.where((at >= first) & (at <= last), np.square(height), 0.0)
    # From the greatest, in lengths of the stack: the powers stay near 1.
    length = np.ptp(x)
    away = (x[:, None] - x[best]) / length
    powers = [(weight * away**k).sum(axis=0) for k in range(5)]
    slant, bend = _parabola(powers, [(weight * fall * away**k).sum(axis=0) for k in range(3)])
    with np.errstate(divide="ignore", invalid="ignore"):
        top = np.where(bend < 0, -slant / (2 * bend), 0.0)
    ends = x[first], x[last]
    found = np.clip(x[best] + length * np.nan_to_num(top), np.minimum(*ends), np.maximum(*ends))
    # Two points are no parabola.
    return np.asarray(np.where(last - first >= 2, found, x[best]), np.float64)


def _parabola(s: list[Float64], t: list[Float64]) -> tuple[Float64, Float64]:
    """Solve the normal equations of a parabola by Cramer's rule; return its slope and its bend at 0."""
    whole = s[0] * (s[2] * s[4] - s[3] ** 2) - s[1] * (s[1] * s[4] - s[2] * s[3]) + s[2] * (s[1] * s[3] - s[2] ** 2)
    slant = s[0] * (t[1] * s[4] - s[3] * t[2]) - t[0] * (s[1] * s[4] - s[3] * s[2]) + s[2] * (s[1] * t[2] - t[1] * s[2])
    bend = s[0] * (s[2] * t[2] - t[1] * s[3]) - s[1] * (s[1] * t[2] - t[1] * s[2]) + t[0] * (s[1] * s[3] - s[2] ** 2)
    with np.errstate(divide="ignore", invalid="ignore"):
        return slant / whole, bend / whole


def tent_peak(logs: Float64, x: Float64, radius: int) -> tuple[Float64, Float64]:
    """Return the peak of the tent that fits best, and how high it is: windowed linear least squares.

    Cou and Guennebaud, "Depth from focus using windowed linear least squares regressions": in windows of slices that
    slide along the stack the logarithms are fitted by two lines of one slope, up before the window's middle and down
    after it, which is linear least squares in three unknowns. The highest of the tents whose top is inside its
    window's middle is taken. They divide slices evenly and correct a bias by a polynomial; here slices lie at `x`,
    and nothing is corrected.

    Parameters
    ----------
    logs
        (S, N): logarithms of focus measures.
    x
        (S,) in strict order, up or down.
    radius
        Slices on either side of a window's middle.

    Returns
    -------
    float64 (N,) and float64 (N,): the peak in x, NaN where no tent fits, and its logarithm.
    """
    count, pixels = logs.shape
    peak, height = np.full(pixels, np.nan), np.full(pixels, -np.inf)
    sign = 1.0 if x[-1] >= x[0] else -1.0
    even = sign * x
    for k in range(1, count - 2):
        first, last = max(0, k + 1 - radius), min(count, k + 1 + radius)
        before = np.arange(first, last) <= k
        # Distances from the middle keep the system well conditioned wherever the window lies.
        middle = (even[k] + even[k + 1]) / 2
        along = np.where(before, 1.0, -1.0) * (even[first:last] - middle)
        design = np.stack([before, ~before, along], axis=1).astype(np.float64)
        rising, falling, slope = np.linalg.pinv(design) @ logs[first:last]
        with np.errstate(divide="ignore", invalid="ignore"):
            top = (falling - rising) / (2 * slope)
        value = (rising + falling) / 2
        low = even[k] - 1.5 * (even[k + 1] - even[k]) - middle
        high = even[k + 1] + 1.5 * (even[k + 1] - even[k]) - middle
        taken = (slope > 0) & (top >= low) & (top <= high) & (value > height)
        peak[taken], height[taken] = sign * (top[taken] + middle), value[taken]
    return np.clip(peak, min(x[0], x[-1]), max(x[0], x[-1])), height
