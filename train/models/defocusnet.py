"""DefocusNet of the UDfD paper: depth from one defocused image by a small DenseNet with an up-projecting decoder.

"Unsupervised simultaneous depth-from-defocus and depth-from-focus", section 3.2 and Figure 3. No code of it is public:
what the paper does not say is chosen here, and docs/models.md says what.
"""

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import interpolate, relu

from ..settings import Section
from .base import Model, ModelSection

Layers = Annotated[int, Field(ge=1, le=64)]
Output = Literal["sigmoid", "linear"]


class DefocusNetShape(Section):
    """Shape of DefocusNet, by itself or as a part of the joint model."""

    blocks: tuple[Layers, Layers] = (6, 12)
    """Layers of the two dense blocks of the encoder: those of DenseNet-121's first two."""
    growth: int = Field(default=32, ge=1, le=256)
    """Channels that each layer of a dense block adds."""
    width: int = Field(default=64, ge=2, le=1024)
    """Channels of the first convolution."""
    decoder: tuple[Layers, Layers, Layers] = (4, 4, 4)
    """Layers of the decoder's dense blocks, the first of which is at 1/8 of the size."""
    output: Output = "sigmoid"
    """`sigmoid` returns numbers in (0, 1): target.span says what they mean. `linear` any number."""


class DefocusNetSettings(DefocusNetShape, ModelSection):
    """DefocusNet by itself."""

    kind: Literal["defocusnet"] = "defocusnet"


class PlainDenseBlock(nn.Module):
    """Layers of BN, ReLU and a 3x3 convolution to `growth` channels, each of which reads all those before it.

    Attributes
    ----------
    channels
        Those it was given and those of its layers: what it returns.
    """

    def __init__(self, channels: int, layers: int, growth: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.Sequential(
                nn.BatchNorm2d(channels + layer * growth),
                nn.ReLU(inplace=True),
                nn.Conv2d(channels + layer * growth, growth, 3, padding=1, bias=False),
            )
            for layer in range(layers)
        )
        self.channels = channels + layers * growth

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, channels, H, W)."""
        for layer in self.layers:
            x = torch.cat([x, layer(x)], dim=1)
        return x


class TransitionDown(nn.Sequential):
    """BN, ReLU, a 1x1 convolution that halves the channels, and a mean over 2x2 pixels."""

    def __init__(self, channels: int) -> None:
        super().__init__(
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, channels // 2, 1, bias=False),
            nn.AvgPool2d(2),
        )


class UpProjection(nn.Module):
    """Doubles the size: a residual block of 5x5 convolutions on enlarged features (Laina et al. 2016).

    Features are enlarged by repetition, and not by zeros between them, which leave patterns.
    """

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, after, 5, padding=2, bias=False)
        self.norm1 = nn.BatchNorm2d(after)
        self.conv2 = nn.Conv2d(after, after, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(after)
        self.project = nn.Conv2d(before, after, 5, padding=2, bias=False)
        self.norm3 = nn.BatchNorm2d(after)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, after, 2 H, 2 W)."""
        x = interpolate(x, scale_factor=2.0, mode="nearest")
        inner = relu(self.norm1(self.conv1(x)), inplace=True)
        return relu(self.norm2(self.conv2(inner)) + self.norm3(self.project(x)))


class DefocusNet(Model):
    """DefocusNet. Images are scaled to [-1, 1] inside.

    Parameters
    ----------
    settings
        Its shape.
    """

    multiple = 8

    def __init__(self, settings: DefocusNetShape) -> None:
        super().__init__()
        growth, width = settings.growth, settings.width
        self.stem = nn.Conv2d(3, width, 7, stride=2, padding=3, bias=False)
        self.block1 = PlainDenseBlock(width, settings.blocks[0], growth)
        self.down1 = TransitionDown(self.block1.channels)
        self.block2 = PlainDenseBlock(self.block1.channels // 2, settings.blocks[1], growth)
        self.down2 = TransitionDown(self.block2.channels)
        blocks, ups = [], []
        channels = self.block2.channels // 2
        for layers, skip, after in zip(
            settings.decoder,
            (self.block2.channels, self.block1.channels, 0),
            (2 * width, width, width // 2),
            strict=True,
        ):
            blocks.append(PlainDenseBlock(channels, layers, growth))
            ups.append(UpProjection(blocks[-1].channels, after))
            channels = after + skip
        self.blocks, self.ups = nn.ModuleList(blocks), nn.ModuleList(ups)
        self.last = nn.Conv2d(channels, 1, 3, padding=1)
        self.bounds = (0.0, 1.0) if settings.output == "sigmoid" else None
        initialise(self)

    def compute(self, *tensors: Tensor) -> dict[str, Tensor]:
        """Return `depth` (B, H, W)."""
        (image,) = tensors
        first = self.block1(self.stem(2 * image - 1))
        second = self.block2(self.down1(first))
        x = self.down2(second)
        for block, up, skip in zip(self.blocks, self.ups, (second, first, None), strict=True):
            x = up(block(x))
            x = x if skip is None else torch.cat([x, skip], dim=1)
        x = self.last(x).squeeze(1)
        return {"depth": x if self.bounds is None else torch.sigmoid(x)}


def initialise(module: nn.Module) -> None:
    """Draw weights of convolutions as He et al. 2015 do, biases 0; batch normalisation begins as the identity."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
