"""The U-Net of PhaseCam3D (Wu et al. 2019), which the RPSF paper took over as DEPTH-DNN.

Layers are those of PhaseCam3D's public `UNet_2`: 8,635,907 parameters.
"""

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from .base import Model, ModelSection


class UNetSettings(ModelSection):
    """U-Net of Wu et al. 2019 and of the RPSF paper."""

    kind: Literal["unet"] = "unet"
    levels: int = Field(default=5, ge=2, le=8)
    """Sizes of feature maps; each halves the one before."""
    width: int = Field(default=32, ge=1, le=1024)
    """Channels at the full size; each level doubles them."""
    in_channels: int = Field(default=3, ge=1, le=1024)
    output: Literal["sigmoid", "linear"] = "sigmoid"
    """`sigmoid` returns numbers in (0, 1): scale the target to that range, as the paper does. `linear` any number."""
    head_norm: bool = True
    """Batch normalisation of the one output channel before the sigmoid, as in the public code. In training it takes the
    mean and spread of a prediction from the batch: turn it off for small batches."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Probability of dropping in the first four convolutions of the way up. The paper has none."""


class UNet(Model):
    """U-Net: two 3x3 convolutions a level, max-pooling down, 3x3 transposed convolutions of stride 2 up.

    Parameters
    ----------
    settings
        Its shape. Images are read as they are, in [0, 1].
    """

    def __init__(self, settings: UNetSettings) -> None:
        super().__init__()
        channels = [settings.width * 2**level for level in range(settings.levels)]
        self.multiple = 2 ** (settings.levels - 1)
        self.in_channels = settings.in_channels
        self.bounds = (0.0, 1.0) if settings.output == "sigmoid" else None
        self.down = nn.ModuleList(
            _pair(before, after) for before, after in zip([settings.in_channels, *channels], channels, strict=False)
        )
        self.pool = nn.MaxPool2d(2)
        self.up = nn.ModuleList()
        self.merge = nn.ModuleList()
        for step, level in enumerate(reversed(range(settings.levels - 1))):
            below, here = channels[level + 1], channels[level]
            self.up.append(nn.ConvTranspose2d(below, here, 3, stride=2, bias=False))
            self.merge.append(_pair(2 * here, here, settings.dropout if step < 2 else 0.0))
        self.head = nn.Sequential(nn.Conv2d(channels[0], 1, 1))
        if settings.head_norm:
            self.head.append(_norm(1))
        if settings.output == "sigmoid":
            self.head.append(nn.Sigmoid())
        self._initialise()

    def _initialise(self) -> None:
        """Glorot's uniform distribution: what TensorFlow gives variables by default."""
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.xavier_uniform_(layer.weight)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)

    def compute(self, *tensors: Tensor) -> dict[str, Tensor]:
        """Return `depth` (B, H, W)."""
        (x,) = tensors
        skips = []
        for level, block in enumerate(self.down):
            x = block(self.pool(x) if level else x)
            skips.append(x)
        for up, merge, skip in zip(self.up, self.merge, reversed(skips[:-1]), strict=True):
            # TensorFlow's "SAME" for this layer: 2n + 1 rows and columns, the last of which is dropped.
            x = merge(torch.cat([up(x)[..., :-1, :-1], skip], dim=1))
        return {"depth": self.head(x).squeeze(1)}


def _norm(channels: int) -> nn.BatchNorm2d:
    # TensorFlow's default epsilon, and its momentum of 0.9 in torch's sense.
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.1)


def _pair(before: int, after: int, dropout: float = 0.0) -> nn.Sequential:
    layers: list[nn.Module] = []
    for channels in (before, after):
        layers += [nn.Conv2d(channels, after, 3, padding=1), _norm(after), nn.Dropout(dropout), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)
