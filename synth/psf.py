"""Point spread functions (PSFs) by circle of confusion: the banks that the renderer blurs with.

A bank gives the kernel of any signed CoC. Kernels are float32, odd-sized, centred, indexed [y, x], unit sum, as the
image of a point on the sensor. The renderer rounds CoCs to `coc_step` pixels, so that each kernel is made once.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from .. import InputError
from .camera import ThinLens

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]

GAUSSIAN_REACH = 3.5
"""Gaussian kernels end at this many standard deviations: 0.2 % of the energy lies beyond, and is given back."""


def _quadrant_area(x: Float64, y: Float64, radius: float) -> Float64:
    """Signed area of the disk (centre 0) within the rectangle from the origin to (x, y); elementwise."""
    sign = np.sign(x) * np.sign(y)
    x, y = np.minimum(np.abs(x), radius), np.minimum(np.abs(y), radius)
    # The rectangle's top edge leaves the disk at x = corner; beyond it the circle itself is the upper bound.
    corner = np.minimum(x, np.sqrt(np.maximum(radius**2 - y**2, 0.0)))

    def under_circle(u: Float64) -> Float64:
        return 0.5 * (u * np.sqrt(np.maximum(radius**2 - u**2, 0.0)) + radius**2 * np.arcsin(u / radius))

    return np.asarray(sign * (y * corner + under_circle(x) - under_circle(corner)))


def disk_kernel(diameter: float) -> Float64:
    """Area of each pixel that a disk covers, as a kernel of unit sum.

    Parameters
    ----------
    diameter
        Pixels, 0 or more, any real number. Up to one pixel the disk stays inside its pixel: no blur.

    Returns
    -------
    (n, n) float64, n odd. Continuous in `diameter`.
    """
    radius = diameter / 2
    if radius <= 0.5:
        return np.ones((1, 1))
    half = int(np.ceil(radius - 0.5))
    edges = np.arange(-half, half + 2, dtype=np.float64) - 0.5
    area = _quadrant_area(edges[None, :], edges[:, None], radius)
    coverage = np.maximum(np.diff(np.diff(area, axis=0), axis=1), 0.0)
    # Whole pixels cover exactly 1: what the subtraction leaves of rounding would cost the renderer its flat interior.
    coverage[np.abs(coverage - 1.0) < 1e-9] = 1.0
    coverage[coverage < 1e-9] = 0.0
    return np.asarray(coverage / coverage.sum())


def gaussian_kernel(sigma: float) -> Float64:
    """Gaussian of standard deviation `sigma` pixels, integrated over each pixel, cut at `GAUSSIAN_REACH`, unit sum.

    Returns
    -------
    (n, n) float64, n odd. A `sigma` of 0 gives the 1x1 kernel.
    """
    from scipy.special import erf

    if sigma < 1e-3:
        return np.ones((1, 1))
    half = max(1, int(np.ceil(GAUSSIAN_REACH * sigma)))
    edges = np.arange(-half, half + 2) - 0.5
    profile = np.diff(erf(edges / (np.sqrt(2.0) * sigma)))
    kernel = profile[:, None] * profile[None, :]
    offset = np.arange(-half, half + 1)
    reach = GAUSSIAN_REACH * sigma + 0.5
    kernel[offset[:, None] ** 2 + offset[None, :] ** 2 > reach**2] = 0.0
    return np.asarray(kernel / kernel.sum())


@dataclass(frozen=True, slots=True)
class TapTable:
    """The kernels of consecutive slots as lists of taps, for the compiled renderer.

    A tap adds weight times the source to the pixel `dy` rows and `dx` columns away. Where `integrate` is true the
    taps are the kernel's differences along x (a disk has few), and running sums along x give the blurred image.
    """

    starts: npt.NDArray[np.int64]
    """(slots + 1) first tap of each slot."""
    dy: npt.NDArray[np.int64]
    dx: npt.NDArray[np.int64]
    weight: Float32
    radius: npt.NDArray[np.int64]
    """(slots) half-size of each kernel, pixels."""
    integrate: bool


def _taps(kernel: Float64, integrate: bool) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], Float32]:
    half = kernel.shape[0] // 2
    if integrate:
        kernel = np.diff(kernel, axis=1, prepend=0.0, append=0.0)
    y, x = np.nonzero(kernel)
    return y - half, x - half, kernel[y, x].astype(np.float32)


class PsfBank:
    """Kernels for every signed circle of confusion of a lens.

    Make one with `disk` or `gaussian`.

    Attributes
    ----------
    kind
        "disk" or "gaussian".
    lens
        The lens whose CoCs the bank answers for.
    coc_step
        Pixels of CoC between two kernels that the renderer tells apart.
    sigma_per_coc
        Gaussian banks: standard deviation over CoC diameter.
    """

    def __init__(
        self,
        kind: Literal["disk", "gaussian"],
        lens: ThinLens,
        *,
        sigma_per_coc: float = 0.25,
        coc_step: float = 0.125,
    ) -> None:
        if not 0 < sigma_per_coc < 10:
            raise InputError(f"psf.sigma_per_coc must be a positive number below 10, not {sigma_per_coc}.")
        if not 0 < coc_step <= 4:
            raise InputError(f"psf.coc_step must be between 0 and 4 pixels, not {coc_step}.")
        self.kind, self.lens = kind, lens
        self.sigma_per_coc, self.coc_step = sigma_per_coc, coc_step
        self._table: TapTable | None = None

    @classmethod
    def disk(cls, lens: ThinLens, *, coc_step: float = 0.125) -> "PsfBank":
        """Uniform disks as wide as the CoC, antialiased by pixel coverage: geometric optics of a round aperture."""
        return cls("disk", lens, coc_step=coc_step)

    @classmethod
    def gaussian(cls, lens: ThinLens, *, sigma_per_coc: float = 0.25, coc_step: float = 0.125) -> "PsfBank":
        """Gaussians with a standard deviation of `sigma_per_coc` CoC diameters.

        1/4 has the disk's second moment and is 2HDED's choice (rho = epsilon / 4); D3-Net's code uses 0.3.
        """
        return cls("gaussian", lens, sigma_per_coc=sigma_per_coc, coc_step=coc_step)

    def kernel(self, coc: float) -> Float32:
        """Kernel of a signed CoC in pixels: (n, n) float32, n odd, unit sum."""
        return self._kernel64(abs(float(coc))).astype(np.float32)

    def _kernel64(self, diameter: float) -> Float64:
        if self.kind == "disk":
            return disk_kernel(diameter)
        return gaussian_kernel(self.sigma_per_coc * diameter)

    def reach(self, coc: npt.ArrayLike) -> Any:
        """Half-size in pixels, an upper bound, of the kernel of a signed CoC; same shape, int64."""
        diameter = np.abs(np.asarray(coc, np.float64)) + self.coc_step
        radius = diameter / 2 if self.kind == "disk" else GAUSSIAN_REACH * self.sigma_per_coc * diameter
        return np.ceil(radius).astype(np.int64)

    def slots(self, coc: npt.NDArray[Any]) -> npt.NDArray[np.int32]:
        """Number of the kernel that serves each signed CoC: |c| / coc_step, rounded; same shape, int32."""
        return np.asarray(np.rint(np.abs(coc) * (1.0 / self.coc_step)), np.int32)

    def table(self, highest_slot: int) -> TapTable:
        """Taps of the kernels 0 to at least `highest_slot`; made once and kept."""
        if self._table is None or len(self._table.radius) <= highest_slot:
            self._table = self._make_table(highest_slot + 16)
        return self._table

    def _make_table(self, highest_slot: int) -> TapTable:
        integrate = self.kind == "disk"
        parts, radius = [], []
        for slot in range(highest_slot + 1):
            kernel = self._slot_kernel(slot)
            parts.append(_taps(kernel, integrate))
            radius.append(kernel.shape[0] // 2)
        return TapTable(
            starts=np.cumsum([0] + [len(p[2]) for p in parts]).astype(np.int64),
            dy=np.concatenate([p[0] for p in parts]),
            dx=np.concatenate([p[1] for p in parts]),
            weight=np.concatenate([p[2] for p in parts]),
            radius=np.array(radius, np.int64),
            integrate=integrate,
        )

    def _slot_kernel(self, slot: int) -> Float64:
        return _cached_kernel(self.kind, self.sigma_per_coc, slot * self.coc_step)

    def sampled(self, near: float, far: float) -> tuple[Float32, Float32]:
        """Kernels of all CoCs between two depths in metres, one every `coc_step` pixels.

        Returns
        -------
        kernels
            (K, 1, n, n) float32, unit sum, zero-padded to one size; the second axis is the channel.
        coc
            (K,) float32, signed diameter in pixels, ascending.
        """
        first, last = (round(float(self.lens.coc(z)) / self.coc_step) for z in (far, near))
        slots = np.arange(first, last + 1)
        cut = [self._slot_kernel(abs(int(s))) for s in slots]
        size = max(k.shape[0] for k in cut)
        kernels = np.zeros((len(slots), 1, size, size), np.float32)
        for out, kernel in zip(kernels, cut, strict=True):
            margin = (size - kernel.shape[0]) // 2
            out[0, margin : size - margin, margin : size - margin] = kernel
        return kernels, (slots * self.coc_step).astype(np.float32)


@lru_cache(maxsize=4096)
def _cached_kernel(kind: str, sigma_per_coc: float, diameter: float) -> Float64:
    return disk_kernel(diameter) if kind == "disk" else gaussian_kernel(sigma_per_coc * diameter)
