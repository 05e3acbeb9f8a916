"""DfF in the Wild (Won and Jeon, ECCV 2022): depth from a focal stack of any number of slices, by 3-D convolutions.

Layers are those of the authors' public code, 4.02 million parameters, without the convolutions that it makes and never
uses; see docs/models.md. A network for stacks whose field of view changes aligns them first.
"""

from typing import Literal

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from pydantic import Field
from torch import Tensor, nn

from ..slices import Reference
from .alignment import AlignmentNet, aligned, reference_slice, thin_lens_alignment, true_alignment
from .base import Model, ModelSection, by_focus
from .hded import Heads
from .hourglass import Aggregation, Hourglass
from .volumes import (
    Conv3d,
    blend,
    convolution,
    enlargement,
    expectation,
    full_size,
    initialise_by_fan_out,
    rectified,
    volume,
)

NAMES = ("_1", "_2", "_3", "")
"""Ends of the names of the four outputs, coarse to fine."""


class DffSettings(ModelSection):
    """DfF in the Wild, of Won and Jeon 2022."""

    kind: Literal["dff"] = "dff"
    width: int = Field(default=8, ge=1, le=256)
    """Channels at the full size, the paper's C; half the size has twice as many, a quarter four times, and below that
    up to sixteen times."""
    heads: Heads = ("depth",)
    """What it returns. No head has weights of its own: depth is the mean of the slices' focus distances by the softplus
    of their scores (Eq. 1), the all-in-focus image the mean of the slices by their exponential (Eqs. 2 and 3)."""
    alignment: Literal["none", "intrinsics", "learned"] = "none"
    """How slices are brought into the reference's frame first: not at all; by their true camera matrices; or by a
    network, which begins with the breathing of a thin lens and is trained with this one."""
    reference: Reference = "farthest"
    """The slice in whose frame the ground truth is, as `stack.reference` of the data's recipe; for the alignment."""
    alignment_width: int = Field(default=8, ge=1, le=256)
    """Channels of the alignment's network at the full size."""


class Dff(Model):
    """DfF in the Wild. Pictures are scaled to [-1, 1] inside.

    Returns `depth` and `aif`, or what heads there are, and for the loss the same of the three coarser hourglasses,
    `depth_1` to `depth_3` and `aif_1` to `aif_3`, at the full size too. With an alignment it returns `alignment` too,
    (B, S, 3), as `models.alignment` has it, and `alignment_reference`, (B, S), 1 for the reference slice and 0 for
    others.

    Parameters
    ----------
    settings
        Its shape.
    """

    multiple = 32

    def __init__(self, settings: DffSettings) -> None:
        super().__init__()
        self.settings = settings
        self.outputs = settings.heads
        more = {"none": (), "intrinsics": ("focus", "intrinsics"), "learned": ("focus", "lens")}
        self.inputs = ("stack", "sharp_at", *more[settings.alignment])
        self.reference = None if settings.alignment == "none" else settings.reference
        wide = settings.width
        self.extract = nn.Sequential(*rectified(convolution(3, wide, (1, 9, 9), dilation=2)), _Detection(wide))
        self.down1 = nn.Sequential(_Downsampling(wide, 2 * wide), _Detection(2 * wide))
        self.down2 = nn.Sequential(_Downsampling(2 * wide, 4 * wide), _Detection(4 * wide))
        self.aggregate = Aggregation(4 * wide)
        self.enter = rectified(convolution(4 * wide, 8 * wide), convolution(8 * wide, 8 * wide))
        self.up = nn.ModuleList(enlargement(2 * after, after) for after in (4 * wide, 2 * wide, wide))
        self.refine = nn.ModuleList(Hourglass(after) for after in (4 * wide, 2 * wide, wide))
        coarse = nn.Sequential(*rectified(convolution(4 * wide, 4 * wide)), Conv3d(4 * wide, 1, 3, 1, 1, bias=False))
        self.score = nn.ModuleList([coarse, *(Conv3d(after, 1, 1, bias=False) for after in (4 * wide, 2 * wide, wide))])
        initialise_by_fan_out(self)
        self.align = AlignmentNet(settings.alignment_width) if settings.alignment == "learned" else None

    def compute(self, *tensors: Tensor) -> dict[str, Tensor]:
        """Return `depth` (B, H, W) and `aif` (B, 3, H, W), or what heads there are, of four scales, and `alignment`."""
        given = dict(zip(self.inputs, tensors, strict=True))
        sharp_at, stack = given["sharp_at"], given["stack"]
        found: dict[str, Tensor] = {}
        if self.settings.alignment == "none":
            sharp_at, stack = by_focus(sharp_at, stack)
        else:
            reference = reference_slice(given["focus"], self.settings.reference)
            places = torch.arange(stack.shape[1], device=stack.device).expand_as(sharp_at)
            beside = given["intrinsics"] if "intrinsics" in given else given["focus"]
            sharp_at, stack, mask, beside, places = by_focus(sharp_at, stack, reference, beside, places)
            alignment = self._alignment(2 * stack - 1, beside, mask, given.get("lens"))
            stack = aligned(stack, alignment)
            # Back in the order in which the slices came.
            rows = torch.arange(len(places), device=places.device)[:, None]
            found["alignment"] = alignment[rows, places.argsort(1)]
            found["alignment_reference"] = reference.to(alignment.dtype)
        scores = self.scores(2 * stack - 1)
        if "depth" in self.outputs:
            found |= {f"depth{end}": expectation(one, sharp_at) for end, one in zip(NAMES, scores, strict=True)}
        if "aif" in self.outputs:
            found |= {f"aif{end}": blend(one, stack) for end, one in zip(NAMES, scores, strict=True)}
        return found

    def scores(self, stack: Tensor) -> list[Tensor]:
        """Return how sharp the four hourglasses find each pixel of each slice, K in the paper, coarse to fine.

        Parameters
        ----------
        stack
            (B, S, 3, H, W) in [-1, 1], aligned, in the order of focus.

        Returns
        -------
        Of (B, S, H, W).
        """
        size = (stack.shape[-2], stack.shape[-1])
        full = self.extract(volume(stack))
        half = self.down1(full)
        quarter = self.down2(half)
        x = self.aggregate(quarter)
        found = [full_size(self.score[0](x), size)]
        x = self.enter(x)
        pre, post = None, None
        stages = zip(self.up, self.refine, (quarter, half, full), self.score[1:], strict=True)
        for up, refine, skip, score in stages:
            x = up(x)
            pre, post = refine(torch.cat([x, skip], 1), pre, post)
            x = x + post
            found.append(full_size(score(x), size))
        return found

    def _alignment(self, stack: Tensor, beside: Tensor, reference: Tensor, lens: Tensor | None) -> Tensor:
        if self.align is None or lens is None:
            return true_alignment(beside, reference, (stack.shape[-2], stack.shape[-1]))
        found: Tensor = self.align(stack, thin_lens_alignment(beside, lens[:, 0], reference), reference)
        return found


class _Detection(nn.Module):
    """Sharp region detection, SRD: a residual block within slices, and what one between slices adds."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        within = (1, 3, 3)
        self.within = nn.Sequential(
            *rectified(convolution(channels, channels, within)), convolution(channels, channels, within)
        )
        self.between = rectified(
            Conv3d(channels, channels, (3, 1, 1), padding=(1, 0, 0), bias=False),
            Conv3d(channels, channels, 1, bias=False),
        )

    def forward(self, x: Tensor) -> Tensor:
        features = F.relu(x + self.within(x))
        found: Tensor = features + self.between(features)
        return found


class _Downsampling(nn.Module):
    """Effective downsampling, EFD: a convolution of stride 2, and one after max-pooling, added."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.strided = convolution(before, after, stride=2)
        self.pooled = convolution(before, after)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.strided(x) + self.pooled(F.max_pool3d(x, (1, 2, 2))))
