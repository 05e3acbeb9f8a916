"""DWDN (Dong et al. 2020), which the RPSF paper made into IMAGE-DNN: all-in-focus images by deep Wiener deconvolution.

Features of the capture are deconvolved, once at the full size, with the PSF of each layer of depth; an encoder-decoder
makes the picture of them, first at half the size, then at the full one, with the same weights but for its first block.
Layers are those of DWDN's public code: 7,049,507 parameters.
"""

from typing import Literal

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from pydantic import Field
from torch import Tensor, nn

from ... import InputError
from ..banks import NAMES, Bank, planes_of
from ..deconvolution import wiener_layers
from .base import Model, ModelSection

SIZE = 5
"""Width of all convolutions but the transposed ones."""


class DwdnSettings(ModelSection):
    """DWDN of Dong et al. 2020, with a deconvolution for each layer of depth: IMAGE-DNN of the RPSF paper."""

    kind: Literal["dwdn"] = "dwdn"
    features: int = Field(default=16, ge=1, le=1024)
    """Features that are deconvolved."""
    width: int = Field(default=32, ge=1, le=1024)
    """Channels after that at the full size; each of the two sizes below doubles them."""
    blocks: int = Field(default=3, ge=1, le=16)
    """Residual blocks, of two convolutions, in each part."""
    planes: int = Field(default=32, ge=1, le=1024)
    """Layers of depth at most: of stores with more kernels, evenly chosen ones are taken."""
    residual: bool = False
    """Add the capture to what the last convolution says, at both sizes: learns sooner. Neither paper does."""
    edgetaper: bool = True
    """Make the borders of features periodic before the deconvolution, as the RPSF paper does; DWDN does not."""


class Dwdn(Model):
    """DWDN by layers of depth. Reads `depth` in metres, NaN or 0 where unknown, and the PSF bank of `attach`.

    Returns `aif`, not clipped, and for the loss `aif_half`, (B, 3, H / 2, W / 2).

    Parameters
    ----------
    settings
        Its shape.
    """

    inputs = ("image", "depth")
    outputs = ("aif",)
    multiple = 8
    reads_bank = True
    bank_kernels: Tensor
    bank_coc: Tensor
    bank_optics: Tensor

    def __init__(self, settings: DwdnSettings) -> None:
        super().__init__()
        self.settings = settings
        deep, wide, count = settings.features, settings.width, settings.blocks
        self.extract = nn.Sequential(_convolution(3, deep), _blocks(deep, count))
        self.enter_half = nn.Sequential(_convolution(deep, wide), _blocks(wide, count))
        self.enter_full = nn.Sequential(_convolution(deep + wide, wide), _blocks(wide, count))
        self.down1 = nn.Sequential(_convolution(wide, 2 * wide, stride=2), _blocks(2 * wide, count))
        self.down2 = nn.Sequential(_convolution(2 * wide, 4 * wide, stride=2), _blocks(4 * wide, count))
        self.up2 = nn.Sequential(_blocks(4 * wide, count), *_enlargement(4 * wide, 2 * wide))
        self.up1 = nn.Sequential(_blocks(2 * wide, count), *_enlargement(2 * wide, wide))
        self.leave = _blocks(wide, count)
        self.picture = nn.Conv2d(wide, 3, SIZE, padding=SIZE // 2)

    def attach(self, bank: Bank) -> None:
        """Take the PSFs to deconvolve with: from now on part of the model's state, hence of its checkpoints.

        A feature is a mixture of colours, so that no colour's kernel is its own: the mean over colours is used.
        """
        thin = bank.thinned(self.settings.planes)
        thin = Bank(thin.kernels.mean(1, keepdim=True), thin.coc, thin.optics).trimmed()
        some = self.picture.weight
        for name in NAMES:
            self.register_buffer(f"bank_{name}", getattr(thin, name).to(some.device, some.dtype))

    def compute(self, *tensors: Tensor) -> dict[str, Tensor]:
        """Return `aif` (B, 3, H, W) and `aif_half` (B, 3, H / 2, W / 2)."""
        image, depth = tensors
        if "bank_coc" not in self._buffers:
            raise InputError("Dwdn deconvolves with the PSFs of a camera: give it a bank by attach first.")
        sharp = self._deconvolved(self.extract(image), depth)
        half = self._refine(self.enter_half(_resized(sharp, 0.5)))
        full = self._refine(self.enter_full(torch.cat([sharp, _resized(half, 2.0)], 1)))
        found = {"aif": self.picture(full), "aif_half": self.picture(half)}
        if self.settings.residual:
            found = {"aif": found["aif"] + image, "aif_half": found["aif_half"] + _resized(image, 0.5)}
        return found

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def _deconvolved(self, features: Tensor, depth: Tensor) -> Tensor:
        """Return the features sharp; which layers there are is known when it runs, which no compiler foresees."""
        plane = planes_of(depth, self.bank_coc, self.bank_optics)
        return wiener_layers(features, plane, self.bank_kernels[:, 0], taper=self.settings.edgetaper)

    def _refine(self, entered: Tensor) -> Tensor:
        first = self.down1(entered)
        second = self.down2(first)
        found: Tensor = self.leave(self.up1(self.up2(second) + first) + entered)
        return found


class _Residual(nn.Module):
    """Two convolutions, added to what they are given."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            _convolution(channels, channels), nn.Conv2d(channels, channels, SIZE, padding=SIZE // 2)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, C, H, W) of the same."""
        found: Tensor = x + self.body(x)
        return found


def _blocks(channels: int, count: int) -> nn.Sequential:
    return nn.Sequential(*(_Residual(channels) for _ in range(count)))


def _convolution(before: int, after: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(before, after, SIZE, stride, SIZE // 2), nn.ReLU(inplace=True))


def _enlargement(before: int, after: int) -> tuple[nn.Module, nn.Module]:
    return nn.ConvTranspose2d(before, after, 3, 2, 1, output_padding=1), nn.ReLU(inplace=True)


def _resized(features: Tensor, factor: float) -> Tensor:
    # At half the size this is the mean of 2x2 pixels.
    return F.interpolate(features, scale_factor=factor, mode="bilinear", align_corners=False)
