"""Two half-planes whose image through a thin lens has a closed form: a truth that needs no renderer.

A near half-plane with a straight edge hides part of a far wall, whose radiance has a step parallel to that edge. Seen
from the aperture point a (unit disk) the sensor point t, in pixels along the common normal of both edges, looks at
``t + (c / 2) s`` of a surface with circle of confusion c, s being the part of a along the normal. Each edge thus cuts
the aperture along a straight line, and the image is a sum of areas and first moments of circular segments. Only the
average over the pixel is a quadrature: its error is below 1e-8 (test_halfplanes.py).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from defocal.synth import LayeredScene, Patch, Scene, ThinLens

NODES = 8


def segment_area(s: Any) -> Any:
    """Share of the unit disk with a coordinate below s, s in [-1, 1]."""
    return 0.5 + (s * np.sqrt(1 - s * s) + np.arcsin(s)) / math.pi


def segment_moment(s: Any) -> Any:
    """Integral of that coordinate over the same part of the disk, over the area of the disk."""
    return -2 / (3 * math.pi) * (1 - s * s) ** 1.5


@dataclass(frozen=True)
class Ramp:
    """Radiance that varies linearly along the normal of the edges: ``base + slope t``, RGB, slope per pixel."""

    base: tuple[float, float, float]
    slope: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def at(self, t: Any) -> Any:
        """Radiance (..., 3) at t (...)."""
        return np.asarray(self.base) + np.asarray(self.slope) * t[..., None]

    def through(self, t: Any, radius: float, share: Any, moment: Any) -> Any:
        """Light (..., 3) that a part of the aperture, its area and first moment (...), sends to the sensor at t."""
        return self.at(t) * share[..., None] + radius * np.asarray(self.slope) * moment[..., None]


@dataclass(frozen=True)
class HalfPlanes:
    """A near half-plane before a far wall with a step.

    Positions t are pixels from the centre of the picture along the normal, which points `angle` radians from x to y.

    Attributes
    ----------
    lens
        The camera.
    size
        Height and width of the picture, pixels.
    angle
        0 makes the edges vertical.
    near_depth, far_depth
        Metres.
    near_edge
        The near half-plane is where t is greater.
    far_step
        Where the radiance of the wall changes from `before` to `after`.
    near, before, after
        Radiances.
    """

    lens: ThinLens
    size: tuple[int, int] = (96, 120)
    angle: float = 0.0
    near_depth: float = 1.0
    far_depth: float = 3.0
    near_edge: float = 0.3
    far_step: float = -2.4
    near: Ramp = Ramp((0.15, 0.45, 0.8), (0.002, -0.001, 0.0))
    before: Ramp = Ramp((0.9, 0.2, 0.4), (0.001, 0.0, -0.002))
    after: Ramp = Ramp((0.3, 0.7, 0.1), (0.0, 0.002, 0.001))

    @property
    def radii(self) -> tuple[float, float]:
        """Signed radius of the circle of confusion, pixels, of the near and of the far surface."""
        return self.lens.coc(self.near_depth) / 2, self.lens.coc(self.far_depth) / 2

    def seen(self, t: Any) -> Any:
        """Light (..., 3) that falls on the points t (...) of the sensor."""
        near, far = self.radii
        cuts = [np.full_like(t, -1), _cut(t, self.near_edge, near), _cut(t, self.far_step, far), np.full_like(t, 1)]
        s = np.sort(np.stack(cuts), axis=0)
        shares, moments = np.diff(segment_area(s), axis=0), np.diff(segment_moment(s), axis=0)
        light = np.zeros((*t.shape, 3))
        for middle, share, moment in zip((s[1:] + s[:-1]) / 2, shares, moments, strict=True):
            hidden = (t + near * middle > self.near_edge)[..., None]
            after = (t + far * middle > self.far_step)[..., None]
            wall = np.where(after, *(ramp.through(t, far, share, moment) for ramp in (self.after, self.before)))
            light += np.where(hidden, self.near.through(t, near, share, moment), wall)
        return light

    def truth(self, nodes: int = NODES) -> Any:
        """Return the picture that the lens makes, (H, W, 3) float64, averaged over each pixel."""
        near, far = self.radii
        kinks = [self.near_edge - near, self.near_edge + near, self.far_step - far, self.far_step + far]
        if near != far:
            # Where both edges cut the aperture along the same line.
            kinks.append((self.far_step * near - self.near_edge * far) / (near - far))
        return self._averaged(self.seen, kinks, 0, 1, nodes)

    def scene(self, margin: int) -> Scene:
        """Return image and depth: what a pinhole sees averaged over each pixel, and the depth at its centre."""
        aif = self._averaged(self._pinhole, [self.near_edge, self.far_step], margin, 1)
        depth = np.where(self._positions(margin, 1) > self.near_edge, self.near_depth, self.far_depth)
        return Scene(aif, depth, margin=margin)

    def layers(self, margin: int) -> LayeredScene:
        """Return the true layers, averaged over each pixel."""
        return LayeredScene.from_patches(*self.patches(margin, 1), margin=margin)

    def patches(self, margin: int, texels: int) -> tuple[tuple[int, int], list[Patch]]:
        """Return the true layers with so many texels along a pixel, far to near, and the size of their frame."""
        far = self._averaged(lambda t: _with_coverage(self._wall(t)), [self.far_step], margin, texels)
        near = self._averaged(
            lambda t: _with_coverage(self.near.at(t)) * (t > self.near_edge)[..., None],
            [self.near_edge], margin, texels,
        )  # fmt: skip
        return far.shape[:2], [Patch(far, self.far_depth), Patch(near, self.near_depth)]

    def _wall(self, t: Any) -> Any:
        return np.where((t > self.far_step)[..., None], self.after.at(t), self.before.at(t))

    def _pinhole(self, t: Any) -> Any:
        return np.where((t > self.near_edge)[..., None], self.near.at(t), self._wall(t))

    def _positions(self, margin: int, texels: int) -> Any:
        """Position t of the centre of each texel of the picture and its margin."""
        y, x = ((np.arange((n + 2 * margin) * texels) + 0.5) / texels - margin - n / 2 for n in self.size)
        return x[None, :] * math.cos(self.angle) + y[:, None] * math.sin(self.angle)

    def _averaged(
        self, light: Callable[[Any], Any], kinks: list[float], margin: int, texels: int, nodes: int = NODES
    ) -> Any:
        """Average light over each texel; row by row, because every texel takes many nodes."""
        rows = self._positions(margin, texels)
        return np.stack([square_average(light, row, 1 / texels, self.angle, kinks, nodes) for row in rows])


def _with_coverage(rgb: Any) -> Any:
    return np.concatenate([rgb, np.ones_like(rgb[..., :1])], axis=-1)


def _cut(t: Any, edge: float, radius: float) -> Any:
    """Where an edge cuts the aperture, in [-1, 1]."""
    return np.clip((edge - t) / radius, -1, 1) if radius else np.ones_like(t)


def square_average(
    light: Callable[[Any], Any], t: Any, side: float, angle: float, kinks: list[float], nodes: int
) -> Any:
    """Average a function of t over squares centred at t (N), turned by `angle` against the normal.

    The square's extent along the normal is a trapezoid. Between its corners and the kinks of `light`, where the latter
    is smooth but for square roots at the ends, Gauss-Legendre nodes are graded so that those become polynomials.

    Returns
    -------
    (N, C) float64.
    """
    short, long = sorted((side / 2 * abs(math.cos(angle)), side / 2 * abs(math.sin(angle))))
    short, reach = max(short, 1e-9), max(short, 1e-9) + long
    stops = [t - reach, t - (long - short), t + (long - short), t + reach, *(np.full_like(t, k) for k in kinks)]
    stops = np.sort(np.clip(np.stack(stops, axis=-1), (t - reach)[:, None], (t + reach)[:, None]), axis=-1)
    x, weight = np.polynomial.legendre.leggauss(nodes)
    u = (x + 1) / 2
    length = np.diff(stops)[..., None]
    at = stops[:, :-1, None] + length * (u * u * (3 - 2 * u))
    density = np.clip((reach - np.abs(at - t[:, None, None])) / (4 * short * long), 0, 1 / (2 * long))
    weight = density * length * (weight / 2 * 6 * u * (1 - u))
    return np.einsum("nij,nijc->nc", weight, light(at))
