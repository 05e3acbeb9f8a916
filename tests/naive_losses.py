"""Slow, obvious twins of the training losses: numpy, float64, one pixel, pair or window at a time."""

import math

import numpy as np


def pixels(mask):
    return [tuple(at) for at in np.argwhere(mask)]


def l1(p, t, mask):
    return sum(abs(p[at] - t[at]) for at in pixels(mask)) / max(mask.sum(), 1)


def charbonnier(p, t, mask, epsilon):
    return sum(math.sqrt((p[at] - t[at]) ** 2 + epsilon**2) for at in pixels(mask)) / max(mask.sum(), 1)


def rmse(p, t, mask):
    return math.sqrt(sum((p[at] - t[at]) ** 2 for at in pixels(mask)) / max(mask.sum(), 1))


def steps(p, t, mask, axis):
    """Differences of the error between valid neighbours along an axis."""
    found = []
    for at in pixels(mask):
        beside = list(at)
        beside[axis] += 1
        beside = tuple(beside)
        if beside[axis] < mask.shape[axis] and mask[beside]:
            found.append((p[beside] - t[beside]) - (p[at] - t[at]))
    return found


def gradient_l1(p, t, mask):
    return sum(abs(step) for axis in (-1, -2) for step in steps(p, t, mask, axis)) / max(mask.sum(), 1)


def gradient_rmse(p, t, mask):
    squares = [sum(step**2 for step in steps(p, t, mask, axis)) / max(mask.sum(), 1) for axis in (-1, -2)]
    return sum(math.sqrt(square) for square in squares)


def scale_invariant(p, t, mask, balance):
    """One image, or a batch taken as one."""
    errors = [math.log(p[at]) - math.log(t[at]) for at in pixels(mask)]
    n = len(errors)
    return sum(e**2 for e in errors) / n - balance * sum(errors) ** 2 / n**2


def ssim_windows(x, y, data_range=1.0):
    """SSIM of every 11x11 window of two (H, W) images, by the sums of Wang et al. 2004, Eqs. 13-16."""
    at = np.arange(-5, 6)
    gaussian = np.exp(-(at[:, None] ** 2 + at[None, :] ** 2) / (2 * 1.5**2))
    w = gaussian / gaussian.sum()
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    out = np.empty((x.shape[0] - 10, x.shape[1] - 10))
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            a, b = x[i : i + 11, j : j + 11], y[i : i + 11, j : j + 11]
            ma, mb = (w * a).sum(), (w * b).sum()
            va, vb, cov = (w * (a - ma) ** 2).sum(), (w * (b - mb) ** 2).sum(), (w * (a - ma) * (b - mb)).sum()
            out[i, j] = (2 * ma * mb + c1) * (2 * cov + c2) / ((ma**2 + mb**2 + c1) * (va + vb + c2))
    return out
