"""DenseNet-121 (Huang et al. 2017) as the encoder of D3-Net and 2HDED:NET.

Written here because the networks cut it open: the max-pool is a convolution, the activations of the stem are leaky, and
skips leave between a transition's convolution and its pooling. Names of layers are torchvision's, so that its ImageNet
checkpoints, and timm's, fit.
"""

from typing import Annotated, Literal, cast

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import relu

from ..settings import Section

GROWTH = 32
FEATURES = 64
BOTTLENECK = 4

Layers = Annotated[int, Field(ge=1, le=64)]


class DenseSettings(Section):
    """What networks with this encoder have in common."""

    width: float = Field(default=1.0, ge=1 / 16, le=4)
    """Factor of all numbers of channels: below 1 for trials on small machines."""
    blocks: tuple[Layers, Layers, Layers, Layers] = (6, 12, 24, 16)
    """Layers of the four dense blocks."""
    stem: Literal[3, 7] = 7
    """Width of the first convolution's kernel, pixels."""
    init_std: float = Field(default=0.02, gt=0, le=1)
    """Standard deviation of random convolution weights."""
    weights: str = ""
    """Path of an ImageNet checkpoint of DenseNet-121 (.pth or .safetensors) for the encoder; random without one."""


class DenseLayer(nn.Module):
    """BN, ReLU, 1x1 to a bottleneck, BN, ReLU, 3x3 to `growth` channels, which join those it was given."""

    def __init__(self, channels: int, growth: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(channels)
        self.conv1 = nn.Conv2d(channels, BOTTLENECK * growth, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(BOTTLENECK * growth)
        self.conv2 = nn.Conv2d(BOTTLENECK * growth, growth, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, channels + growth, H, W)."""
        narrow = self.conv1(relu(self.norm1(x), inplace=True))
        return torch.cat([x, self.conv2(relu(self.norm2(narrow), inplace=True))], dim=1)


class Transition(nn.Module):
    """BN, ReLU and a 1x1 convolution that halves the channels; the pooling that follows is not part of it."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels)
        self.conv = nn.Conv2d(channels, channels // 2, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, channels / 2, H, W)."""
        return cast(Tensor, self.conv(relu(self.norm(x), inplace=True)))


class DenseEncoder(nn.Module):
    """DenseNet-121 with D3-Net's changes; halves its input five times.

    Parameters
    ----------
    settings
        Its shape.
    in_channels
        Channels of the images.

    Attributes
    ----------
    skips
        Channels of what leaves at 1/2, 1/4, 1/8 and 1/16 of the size: (64, 128, 256, 512) at full width.
    channels
        Channels at 1/32: 1024 at full width.
    """

    def __init__(self, settings: DenseSettings, in_channels: int) -> None:
        super().__init__()
        growth, channels = round(GROWTH * settings.width), round(FEATURES * settings.width)
        self.conv0 = nn.Conv2d(in_channels, channels, settings.stem, stride=2, padding=settings.stem // 2, bias=False)
        self.norm0 = nn.BatchNorm2d(channels)
        self.downconv0 = nn.Conv2d(channels, channels, 4, stride=2, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(channels)
        self.leaky = nn.LeakyReLU(0.2, inplace=True)
        self.pool = nn.AvgPool2d(2)
        self.skips: tuple[int, ...] = (channels,)
        for number, layers in enumerate(settings.blocks, 1):
            block = nn.Sequential()
            for layer in range(layers):
                block.add_module(f"denselayer{layer + 1}", DenseLayer(channels + layer * growth, growth))
            self.add_module(f"denseblock{number}", block)
            channels += layers * growth
            if number < len(settings.blocks):
                self.add_module(f"transition{number}", Transition(channels))
                channels //= 2
                self.skips = (*self.skips, channels)
        self.norm5 = nn.BatchNorm2d(channels)
        self.channels = channels

    def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return the features at 1/32 of the size, and the skips from 1/2 to 1/16."""
        x = self.leaky(self.norm0(self.conv0(x)))
        skips = [x]
        x = self.leaky(self.norm1(self.downconv0(x)))
        for number in range(1, len(self.skips)):
            x = self.get_submodule(f"denseblock{number}")(x)
            x = self.get_submodule(f"transition{number}")(x)
            skips.append(x)
            x = self.pool(x)
        x = self.get_submodule(f"denseblock{len(self.skips)}")(x)
        return self.leaky(self.norm5(x)), skips
