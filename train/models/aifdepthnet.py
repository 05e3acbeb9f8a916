"""AiFDepthNet (Wang et al., ICCV 2021): depth and an all-in-focus image from a focal stack, by an inflated Inception.

Layers are those of the authors' public code, with the attention that depth and image share: 16.5 million parameters.
"""

from typing import Literal

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from pydantic import Field
from torch import Tensor, nn

from .base import Model, ModelSection, by_focus
from .hded import Heads
from .volumes import Conv3d, blend, expectation, volume

Widths = tuple[int, int, int, int, int, int]
MIXED: dict[str, tuple[Widths, ...]] = {
    "3": ((64, 96, 128, 16, 32, 32), (128, 128, 192, 32, 96, 64)),
    "4": (
        (192, 96, 208, 16, 48, 64),
        (160, 112, 224, 24, 64, 64),
        (128, 128, 256, 24, 64, 64),
        (112, 144, 288, 32, 64, 64),
        (256, 160, 320, 32, 128, 128),
    ),
    "5": ((256, 160, 320, 32, 128, 128), (384, 192, 384, 48, 128, 128)),
}
"""Channels of the convolutions of each Inception block: 1^3 | 1^3, 3^3 | 1^3, 3^3 | 1^3 after pooling."""
DECODER = ((64, 64), (64, 64), (32, 32), (32, 16))
"""Channels of each transposed convolution, and of the convolution after it, to which as many of a skip are added."""


class AifDepthNetSettings(ModelSection):
    """AiFDepthNet, of Wang et al. 2021."""

    kind: Literal["aifdepthnet"] = "aifdepthnet"
    width: float = Field(default=1.0, gt=0, le=4)
    """Factor of all numbers of channels."""
    heads: Heads = ("depth", "aif")
    """What it returns; both come from the same scores, and no head has weights of its own."""


class AifDepthNet(Model):
    """AiFDepthNet. Pictures are read as they are, in [0, 1].

    Parameters
    ----------
    settings
        Its shape.
    """

    inputs = ("stack", "sharp_at")
    multiple = 32

    def __init__(self, settings: AifDepthNetSettings) -> None:
        super().__init__()
        self.outputs = settings.heads

        def wide(channels: int) -> int:
            return max(1, round(channels * settings.width))

        def mixed(before: int, widths: tuple[Widths, ...]) -> tuple[nn.Sequential, int]:
            blocks = []
            for six in widths:
                blocks.append(_Mixed(before, [wide(channels) for channels in six]))
                before = blocks[-1].channels
            return nn.Sequential(*blocks), before

        first, second = wide(64), wide(192)
        self.stage1 = _convolution(3, first, 7, stride=2)
        self.stage2 = nn.Sequential(_convolution(first, first, 1), _convolution(first, second, 3))
        self.stage3, third = mixed(second, MIXED["3"])
        self.stage4, fourth = mixed(third, MIXED["4"])
        self.stage5, fifth = mixed(fourth, MIXED["5"])
        skipped, entering = (fourth, third, second, first), fifth
        self.up, self.skip = nn.ModuleList(), nn.ModuleList()
        for before, channels in zip(skipped, DECODER, strict=True):
            between, after = map(wide, channels)
            self.up.append(nn.Sequential(_enlargement(entering, between), _convolution(between, after, 3)))
            self.skip.append(_convolution(before, after, 1))
            entering = 2 * after
        self.last_up = nn.ConvTranspose3d(entering, entering, (3, 4, 4), (1, 2, 2), 1)
        self.score = Conv3d(entering, 1, 3, padding=1)

    def compute(self, *tensors: Tensor) -> dict[str, Tensor]:
        """Return `depth` (B, H, W) and `aif` (B, 3, H, W), or what heads there are."""
        stack, sharp_at = tensors
        sharp_at, stack = by_focus(sharp_at, stack)
        scores = self.scores(stack)
        found: dict[str, Tensor] = {}
        if "depth" in self.outputs:
            found["depth"] = expectation(scores, sharp_at)
        if "aif" in self.outputs:
            found["aif"] = blend(scores, stack)
        return found

    def scores(self, stack: Tensor) -> Tensor:
        """Return how sharp it finds each pixel of each slice.

        Parameters
        ----------
        stack
            (B, S, 3, H, W) in [0, 1], in the order of focus.

        Returns
        -------
        (B, S, H, W).
        """
        first = self.stage1(volume(stack))
        second = self.stage2(_pooled(first))
        third = self.stage3(_pooled(second))
        fourth = self.stage4(_pooled(third))
        x = self.stage5(F.max_pool3d(fourth, (1, 2, 2)))
        for up, skip, features in zip(self.up, self.skip, (fourth, third, second, first), strict=True):
            x = torch.cat([up(x), skip(features)], 1)
        found: Tensor = self.score(self.last_up(x))
        return found.squeeze(1)


class _Mixed(nn.Module):
    """A block of the inflated Inception: four branches side by side."""

    def __init__(self, before: int, widths: list[int]) -> None:
        super().__init__()
        plain, enter1, leave1, enter2, leave2, pooled = widths
        self.branches = nn.ModuleList(
            [
                _convolution(before, plain, 1),
                nn.Sequential(_convolution(before, enter1, 1), _convolution(enter1, leave1, 3)),
                nn.Sequential(_convolution(before, enter2, 1), _convolution(enter2, leave2, 3)),
                nn.Sequential(nn.MaxPool3d(3, 1, 1), _convolution(before, pooled, 1)),
            ]
        )
        self.channels = plain + leave1 + leave2 + pooled

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([branch(x) for branch in self.branches], 1)


def _convolution(before: int, after: int, size: int, stride: int = 1) -> nn.Sequential:
    layer = Conv3d(before, after, size, (1, stride, stride), size // 2)
    return nn.Sequential(layer, nn.BatchNorm3d(after), nn.ReLU(inplace=True))


def _enlargement(before: int, after: int) -> nn.Sequential:
    layer = nn.ConvTranspose3d(before, after, (3, 4, 4), (1, 2, 2), 1)
    return nn.Sequential(layer, nn.BatchNorm3d(after), nn.ReLU(inplace=True))


def _pooled(x: Tensor) -> Tensor:
    return F.max_pool3d(x, (1, 3, 3), (1, 2, 2), (0, 1, 1))
