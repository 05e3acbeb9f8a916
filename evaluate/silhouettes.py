"""Errors at silhouettes and away from them: where something hides what is behind it, rendering models differ."""

import math

import numpy as np
import numpy.typing as npt

from .depth_errors import DepthProtocol, DepthTally, counted_pixels, tally_pixels

Mask = npt.NDArray[np.bool_]

JUMP = 0.1
"""Relative difference of depth beyond which neighbours are on two sides of a silhouette."""
REACH = 4
"""Pixels on each side of a silhouette that count to it."""


def silhouettes(depth: npt.ArrayLike, *, jump: float = JUMP, reach: int = REACH) -> Mask:
    """Return which pixels lie within `reach` pixels of a jump of depth, as rows and columns count.

    Parameters
    ----------
    depth
        (H, W), m; between unknown pixels (NaN) and others there is no jump.
    jump
        Difference between neighbours in a row or a column, in parts of the nearer one's depth, beyond which they are
        two surfaces. A steep slope seen at a grazing angle is taken for one too.
    reach
        Pixels; 1 marks just the two pixels of a jump.

    Returns
    -------
    bool (H, W).
    """
    z = np.asarray(depth, np.float64)
    found = np.zeros(z.shape, np.bool_)
    for axis in (0, 1):
        a, b = np.moveaxis(z, axis, 0), np.moveaxis(found, axis, 0)
        with np.errstate(invalid="ignore"):
            edge = np.abs(a[1:] - a[:-1]) > jump * np.minimum(a[1:], a[:-1])
        b[1:] |= edge
        b[:-1] |= edge
    for axis in (0, 1):
        lines: Mask = np.moveaxis(found, axis, 0)
        near: Mask = lines.copy()
        for step in range(1, reach):
            near[step:] |= lines[:-step]
            near[:-step] |= lines[step:]
        lines[:] = near
    return found


class SilhouetteScores:
    """Depth errors over many images, apart for silhouettes and interiors, by `add`, one by one, and `result`.

    Parameters
    ----------
    protocol
        Which pixels count, as for depth metrics.
    """

    def __init__(self, protocol: DepthProtocol | None = None) -> None:
        self.protocol = protocol or DepthProtocol()
        self._tallies = {"silhouettes": DepthTally(), "interiors": DepthTally()}

    def add(self, prediction: npt.ArrayLike, target: npt.ArrayLike, valid: npt.ArrayLike | None = None) -> None:
        """Count one image, with the parameters and errors of `depth_metrics`."""
        p, t = np.asarray(prediction, np.float64), np.asarray(target, np.float64)
        counted, edge = counted_pixels(t, valid, self.protocol), silhouettes(t)
        if self.protocol.clamp:
            p = np.clip(p, self.protocol.min_depth, self.protocol.max_depth)
        for name, where in (("silhouettes", edge), ("interiors", ~edge)):
            mask = counted & where
            self._tallies[name].merge(tally_pixels(p[mask], t[mask], self.protocol))

    def result(self) -> dict[str, dict[str, float]]:
        """Return RMSE and MAE, m, and Abs Rel over all pixels of each part, and their number; NaN without pixels."""
        found = {}
        for name, tally in self._tallies.items():
            metrics = tally.metrics() if tally.pixels else {}
            found[name] = {metric: metrics.get(metric, math.nan) for metric in ("rmse", "mae", "abs_rel")}
            found[name]["pixels"] = tally.pixels
        return found
