"""Parts of networks that see a focal stack as a volume (B, C, S, H, W), and what they make of its slices' scores."""

import math

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from torch import Tensor, nn

EPSILON = 1e-6
"""Added to each softplus, so that the shares of slices stay defined where all scores are far below zero."""


class Conv3d(nn.Conv3d):
    """`torch.nn.Conv3d`, computed in a quicker way on the CPU where its kernel is 1x1x1 or reaches along slices only.

    Volumes that keep the channels of a pixel together in memory can be seen as pictures of (S, H W) pixels without
    copying anything; torch's own convolutions along one axis of three are several times slower.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Return (B, D, S', H', W') of (B, C, S, H, W)."""
        plain = self.stride == (1, 1, 1) and self.dilation == (1, 1, 1) and self.groups == 1
        if input.device.type != "cpu" or not plain or self.kernel_size[1:] != (1, 1) or self.padding[1:] != (0, 0):
            return super().forward(input)
        if self.kernel_size[0] == 1 and self.padding[0] == 0:
            return F.linear(input.permute(0, 2, 3, 4, 1), self.weight.flatten(1), self.bias).permute(0, 4, 1, 2, 3)
        found = F.conv2d(input.flatten(3), self.weight.flatten(3), self.bias, padding=(int(self.padding[0]), 0))
        return found.view(*found.shape[:3], *input.shape[3:])


def convolution(
    before: int, after: int, kernel: int | tuple[int, int, int] = 3, stride: int = 1, dilation: int = 1
) -> nn.Sequential:
    """Convolution without bias, and batch normalisation; the size stays, or is divided by `stride` along y and x."""
    size = (kernel,) * 3 if isinstance(kernel, int) else kernel
    padding = (size[0] // 2, dilation * (size[1] // 2), dilation * (size[2] // 2))
    layer = Conv3d(before, after, size, (1, stride, stride), padding, (1, dilation, dilation), bias=False)
    return nn.Sequential(layer, nn.BatchNorm3d(after))


def enlargement(before: int, after: int) -> nn.Sequential:
    """Transposed convolution that doubles height and width, without bias, and batch normalisation."""
    layer = nn.ConvTranspose3d(before, after, 3, (1, 2, 2), 1, output_padding=(0, 1, 1), bias=False)
    return nn.Sequential(layer, nn.BatchNorm3d(after))


def rectified(*layers: nn.Module) -> nn.Sequential:
    """Put a ReLU after each."""
    return nn.Sequential(*(part for layer in layers for part in (layer, nn.ReLU(inplace=True))))


def initialise_by_fan_out(module: nn.Module) -> None:
    """Draw weights of 3-D convolutions from N(0, 2 / (taps x channels that leave)), as PSMNet's heirs do."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv3d):
            nn.init.normal_(layer.weight, 0.0, math.sqrt(2.0 / (math.prod(layer.kernel_size) * layer.out_channels)))


def volume(stack: Tensor) -> Tensor:
    """Turn (B, S, C, H, W) into (B, C, S, H, W); on the CPU in the memory format that its convolutions like best."""
    found = stack.transpose(1, 2)
    return found.contiguous(memory_format=torch.channels_last_3d) if found.device.type == "cpu" else found.contiguous()


def full_size(scores: Tensor, size: tuple[int, int]) -> Tensor:
    """Bring the scores (B, 1, S, h, w) of slices to (B, S, H, W), bilinearly."""
    found = scores.squeeze(1)
    if found.shape[-2:] == size:
        return found
    return F.interpolate(found, size, mode="bilinear", align_corners=False)


def expectation(scores: Tensor, values: Tensor) -> Tensor:
    """Return the mean of the slices' values, each slice counted by the softplus of its score.

    Won and Jeon 2022, supplement, Eq. 1; the normalised softplus is that of Wang et al. 2021.

    Parameters
    ----------
    scores
        (B, S, H, W).
    values
        (B, S), of each slice.

    Returns
    -------
    (B, H, W), float32 or float64: between the least and the greatest value.
    """
    weights = F.softplus(scores.to(torch.promote_types(scores.dtype, torch.float32))) + EPSILON
    return torch.einsum("bshw,bs->bhw", weights, values.to(weights.dtype)) / weights.sum(1)


def blend(scores: Tensor, stack: Tensor) -> Tensor:
    """Return the slices' mean picture, each pixel of a slice counted by the exponential of its score.

    Won and Jeon 2022, supplement, Eqs. 2 and 3.

    Parameters
    ----------
    scores
        (B, S, H, W).
    stack
        (B, S, C, H, W).

    Returns
    -------
    (B, C, H, W), float32 or float64.
    """
    weights = scores.to(torch.promote_types(scores.dtype, torch.float32)).softmax(1)
    return (weights.unsqueeze(2) * stack.to(weights.dtype)).sum(1)
