"""What a lens makes of a sharp picture and a depth map, differentiable to both: how depth is learned without depth.

The layered model of Hasinoff and Kutulakos 2007 as the UDfD paper has it (Eqs. 1-3), on planes uniform in inverse
depth. A pixel belongs to the two planes around it by hat functions of its depth, so that the picture follows depth
smoothly.
"""

import math

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from torch import Tensor

from .. import InputError
from ..synth.camera import ThinLens
from .transforms import fast_size

FAINT = 1e-3
"""A pixel that belongs less than this to a plane shows nothing of it, and is continued there from its neighbours."""
SNAP = 1e-9
"""Shares of a pixel nearer to 0 or 1 than this are 0 or 1: rounding of the area's formula."""


def disk_kernels(diameters: Tensor, size: int) -> Tensor:
    """Return disks antialiased by the area of each pixel that they cover, as `defocal.synth` has them.

    Parameters
    ----------
    diameters
        (...) pixels, of either sign; up to one pixel a disk stays inside its pixel.
    size
        Height and width, odd, at least as large as the disks.

    Returns
    -------
    (..., size, size), unit sum, in the dtype of `diameters`; computed in float64.
    """
    radius = (diameters.detach().double().abs() / 2).clamp_min(0.5)[..., None, None]
    edges = torch.arange(size + 1, dtype=torch.float64, device=diameters.device) - size / 2
    x, y = edges.expand(size + 1, size + 1), edges[:, None].expand(size + 1, size + 1)
    area = _quadrant(x, y, radius).diff(dim=-1).diff(dim=-2)
    area = torch.where((area - 1).abs() < SNAP, 1.0, torch.where(area < SNAP, 0.0, area))
    middle = torch.zeros(size, size, dtype=torch.float64, device=diameters.device)
    middle[size // 2, size // 2] = 1
    kernels = torch.where(radius <= 0.5, middle, area / area.sum((-2, -1), keepdim=True))
    return kernels.to(diameters.dtype)


def _quadrant(x: Tensor, y: Tensor, radius: Tensor) -> Tensor:
    """Signed area of a disk about 0 within the rectangle from there to (x, y)."""
    sign = torch.sign(x) * torch.sign(y)
    x, y = torch.minimum(x.abs(), radius), torch.minimum(y.abs(), radius)
    square = radius * radius
    corner = torch.minimum(x, torch.sqrt((square - y * y).clamp_min(0)))

    def under_circle(u: Tensor) -> Tensor:
        return 0.5 * (u * torch.sqrt((square - u * u).clamp_min(0)) + square * torch.asin((u / radius).clamp(-1, 1)))

    return sign * (y * corner + under_circle(x) - under_circle(corner))


class Reblur:
    """A thin lens that is focused at several distances, in front of a picture with depth.

    Parameters
    ----------
    lens
        Focal length, f-number and pixel pitch; its own focus distance does not count.
    depth
        Nearest and farthest depth of the planes, metres; nearer and farther pixels lie on the first and the last.
    planes
        K, uniform in inverse depth from one end to the other. More are not better: on slopes the model lays each
        plane's blurred edge over those behind it, so that with many planes too much of what is near is seen.

    Attributes
    ----------
    dioptres
        (K,) float64: the planes, from far to near.

    Raises
    ------
    InputError
        If there are fewer than two planes, or the depths are not in order.
    """

    def __init__(self, lens: ThinLens, depth: tuple[float, float], planes: int = 8) -> None:
        if planes < 2:
            raise InputError(f"a re-blur needs two planes or more, not {planes}.")
        if not 0 < depth[0] < depth[1]:
            raise InputError(f"a re-blur needs a nearest and a farthest depth in metres, not {list(depth)}.")
        self.lens = lens
        self.dioptres = torch.linspace(1 / depth[1], 1 / depth[0], planes, dtype=torch.float64)
        self._kernels: dict[tuple[object, torch.dtype, torch.device], Tensor] = {}

    def coc(self, focus: Tensor) -> Tensor:
        """Return the signed CoC of each plane, (..., K) float64 pixels, at focus distances (...) in metres (Eq. 1)."""
        focus = focus.detach().double()
        focal, at = self.lens.focal_length, 1 / focus
        if bool((focus <= focal).any()):
            raise InputError(f"a focus distance lies within the focal length of {focal:g} m.")
        # s = f / (1 - f / focus), so that infinity is a distance like others.
        per_dioptre = self.lens.aperture_diameter * focal / (1 - focal * at) / self.lens.pixel_pitch
        return per_dioptre[..., None] * (self.dioptres.to(focus.device) - at[..., None])

    def shares(self, dioptres: Tensor) -> Tensor:
        """Return to how much pixels belong to each plane, (B, K, H, W): two that are not 0, of unit sum."""
        planes = self.dioptres.to(dioptres)
        step = (planes[-1] - planes[0]) / (len(planes) - 1)
        place = (dioptres.clamp(float(planes[0]), float(planes[-1])) - planes[0]) / step
        number = torch.arange(len(planes), dtype=place.dtype, device=place.device)[:, None, None]
        return (1 - (place[:, None] - number).abs()).clamp_min(0)

    def __call__(self, sharp: Tensor, dioptres: Tensor, focus: Tensor) -> Tensor:
        """Blur a picture by its depth.

        ``L = sum_k (h_k * (A_k L_k)) prod_{j > k} (1 - h_j * A_j)`` over planes from far to near (Eqs. 2-3): A_k is
        what belongs to plane k and all before it, L_k the picture there, continued behind what is nearer ("push-pull").
        Beyond its borders the picture is its mirror image.

        Parameters
        ----------
        sharp
            (B, 3, H, W) linear light.
        dioptres
            (B, H, W) inverse depth, 1/m.
        focus
            (F,) or (B, F) focus distances, metres; no gradient goes there.

        Returns
        -------
        (B, F, 3, H, W) linear light, float32 or, of float64, float64; under autocast too.

        Raises
        ------
        InputError
            If shapes do not fit, or a blur is wider than the picture.
        """
        _check(sharp, dioptres, focus)
        dtype = torch.promote_types(torch.promote_types(sharp.dtype, dioptres.dtype), torch.float32)
        with torch.autocast(device_type=sharp.device.type, enabled=False):
            sharp, dioptres = sharp.to(dtype), dioptres.to(dtype)
            kernels = self._kernels_of(focus if focus.ndim == 2 else focus[None], dtype, sharp.device)
            height, width = sharp.shape[-2:]
            if kernels.shape[-1] > min(height, width):
                raise InputError(
                    f"the blur is up to {kernels.shape[-1]} pixels wide, and the pictures {width}x{height}: take "
                    "larger crops, or a smaller range of depths."
                )
            layers = self._layers(sharp, self.shares(dioptres))
            return _composed(_blurred(layers, kernels))

    def _layers(self, sharp: Tensor, shares: Tensor) -> Tensor:
        """Return light and coverage of each plane, (B, K, 4, H, W)."""
        seen = (shares.detach() > FAINT).to(shares.dtype)
        cover = shares.flip(1).cumsum(1).flip(1).clamp(max=1) * (seen.sum((-2, -1), keepdim=True) > 0)
        known = seen.flatten(0, 1)[:, None]
        light = sharp[:, None].expand(-1, shares.shape[1], -1, -1, -1).flatten(0, 1)
        light = _continued(light, known).view(*shares.shape[:2], 3, *shares.shape[2:])
        return torch.cat([light * cover[:, :, None], cover[:, :, None]], 2)

    def _kernels_of(self, focus: Tensor, dtype: torch.dtype, device: torch.device) -> Tensor:
        """Return (B or 1, F, K, n, n); those of the last few lists of focus distances are kept."""
        key = (tuple(map(tuple, focus.tolist())), dtype, device)
        found = self._kernels.get(key)
        if found is None:
            same = focus[:1] if bool((focus == focus[:1]).all()) else focus
            coc = self.coc(same).to(device)
            half = max(0, math.ceil(float(coc.abs().max()) / 2 - 0.5))
            found = disk_kernels(coc, 2 * half + 1).to(dtype)
            while len(self._kernels) >= 4:
                self._kernels.pop(next(iter(self._kernels)))
            self._kernels[key] = found
        return found


def _check(sharp: Tensor, dioptres: Tensor, focus: Tensor) -> None:
    if sharp.ndim != 4 or sharp.shape[1] != 3 or dioptres.shape != (len(sharp), *sharp.shape[2:]):
        raise InputError(
            f"a re-blur takes pictures (B, 3, H, W) and inverse depths (B, H, W), not {tuple(sharp.shape)} and "
            f"{tuple(dioptres.shape)}."
        )
    if focus.ndim not in (1, 2) or not focus.numel() or (focus.ndim == 2 and len(focus) != len(sharp)):
        raise InputError(f"a re-blur takes focus distances (F,) or (B, F), not {tuple(focus.shape)}.")


def _continued(image: Tensor, known: Tensor) -> Tensor:
    """Fill images (N, 3, H, W) where `known` (N, 1, H, W) is 0, by push-pull (Gortler et al. 1996), coarse to fine."""
    # Twin of `optics.continuation.continued`, which writes in place to save memory, and so lets no gradient through.
    height, width = known.shape[-2:]
    if min(height, width) < 2:
        mean = (image * known).sum((-2, -1), keepdim=True) / known.sum((-2, -1), keepdim=True).clamp_min(1)
        return mean + (image - mean) * known
    even = (0, width % 2, 0, height % 2)
    light, there = (F.pad(one, even, mode="replicate") for one in (image * known, known))
    total = 4 * F.avg_pool2d(there, 2)
    coarse = 4 * F.avg_pool2d(light, 2) / total.clamp_min(1)
    filled = _continued(coarse, (total > 0).to(known.dtype))
    doubled = F.interpolate(filled, scale_factor=2, mode="bilinear", align_corners=False)[..., :height, :width]
    return doubled + (image - doubled) * known


def _blurred(layers: Tensor, kernels: Tensor) -> Tensor:
    """Convolve layers (B, K, 4, H, W) by kernels (B or 1, F, K, n, n), mirrored at borders: (B, F, K, 4, H, W)."""
    half, (height, width) = kernels.shape[-1] // 2, layers.shape[-2:]
    if half == 0:
        return layers[:, None].expand(-1, kernels.shape[1], -1, -1, -1, -1)
    padded = _mirrored(_mirrored(layers, half, -2), half, -1)
    shape = [fast_size(size + 2 * half) for size in (height, width)]
    spectra = torch.fft.rfft2(padded, s=shape)[:, None] * torch.fft.rfft2(kernels, s=shape)[:, :, :, None]
    blurred: Tensor = torch.fft.irfft2(spectra, s=shape)
    return blurred[..., 2 * half : 2 * half + height, 2 * half : 2 * half + width]


def _mirrored(image: Tensor, border: int, axis: int) -> Tensor:
    """Continue an image along an axis by its mirror image, whose first pixel is the border's again."""
    size = image.shape[axis]
    before, after = image.narrow(axis, 0, border).flip(axis), image.narrow(axis, size - border, border).flip(axis)
    return torch.cat([before, image, after], axis)


def _composed(blurred: Tensor) -> Tensor:
    """Lay planes (B, F, K, 4, H, W) over each other, from far to near: (B, F, 3, H, W)."""
    out = torch.zeros_like(blurred[:, :, 0, :3])
    for light, cover in zip(blurred[:, :, :, :3].unbind(2), blurred[:, :, :, 3:].unbind(2), strict=True):
        out = out * (1 - cover) + light
    return out
