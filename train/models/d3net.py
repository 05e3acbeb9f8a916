"""D3-Net (Carvalho et al. 2018): depth from one defocused image by a DenseNet-121 with a decoder and skips.

Layers are those of the authors' public code, 24.22 million parameters; see docs/models.md for where paper, figure and
code differ.
"""

from collections.abc import Sequence
from typing import Literal, cast

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import relu

from .base import Model, ModelSection, initialise_normal
from .densenet import DenseEncoder, DenseSettings
from .weights import load_encoder


class D3NetSettings(DenseSettings, ModelSection):
    """D3-Net of Carvalho et al. 2018."""

    kind: Literal["d3net"] = "d3net"
    in_channels: int = Field(default=3, ge=1, le=1024)
    dropout: float = Field(default=0.5, ge=0, lt=1)
    """Probability of dropping in the first four convolutions of the decoder."""


class DecoderBlock(nn.Module):
    """A 4x4 transposed convolution that doubles the size, then a 3x3 one, each with BN, dropout and ReLU."""

    def __init__(self, before: int, after: int, dropout: float) -> None:
        super().__init__()
        self.conv1 = nn.ConvTranspose2d(before, after, 4, stride=2, padding=1)
        self.norm1 = nn.BatchNorm2d(after)
        self.conv2 = nn.Conv2d(after, after, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(after)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, after, 2 H, 2 W)."""
        x = relu(self.dropout(self.norm1(self.conv1(x))))
        return relu(self.dropout(self.norm2(self.conv2(x))))


class Decoder(nn.Module):
    """Five blocks from 1/32 of the size to all of it, each but the first with a skip from the encoder.

    Parameters
    ----------
    encoder
        Whose features it reads: 1024 channels become 512, 256, 128, 64 and 64 at full width.
    outputs
        Channels that it returns.
    dropout
        Probability, in the first two blocks.
    """

    def __init__(self, encoder: DenseEncoder, outputs: int, dropout: float) -> None:
        super().__init__()
        widths = [*reversed(encoder.skips), encoder.skips[0]]
        before = [encoder.channels, *(2 * width for width in widths[:-1])]
        self.blocks = nn.ModuleList(
            DecoderBlock(inside, outside, dropout if step < 2 else 0.0)
            for step, (inside, outside) in enumerate(zip(before, widths, strict=True))
        )
        self.last = nn.Conv2d(widths[-1], outputs, 3, padding=1, bias=False)

    def forward(self, x: Tensor, skips: Sequence[Tensor]) -> Tensor:
        """Return (B, outputs, H, W) from features at 1/32 of the size and skips from 1/2 to 1/16."""
        first, *others = self.blocks
        x = first(x)
        for block, skip in zip(others, reversed(skips), strict=True):
            x = block(torch.cat([skip, x], dim=1))
        return cast(Tensor, self.last(x))


class D3Net(Model):
    """D3-Net. Images are scaled to [-1, 1] inside; depth is the last convolution's number, as in the public code.

    Parameters
    ----------
    settings
        Its shape, and where weights of the encoder come from.

    Raises
    ------
    InputError
        If the checkpoint cannot be read or is not of a DenseNet-121.
    """

    multiple = 32

    def __init__(self, settings: D3NetSettings) -> None:
        super().__init__()
        self.in_channels = settings.in_channels
        self.encoder = DenseEncoder(settings, settings.in_channels)
        self.decoder = Decoder(self.encoder, 1, settings.dropout)
        initialise_normal(self, settings.init_std)
        if settings.weights:
            self.note = load_encoder(self.encoder, settings.weights)

    def compute(self, *tensors: Tensor) -> dict[str, Tensor]:
        """Return `depth` (B, H, W)."""
        (image,) = tensors
        return {"depth": self.decoder(*self.encoder(2 * image - 1)).squeeze(1)}
