"""Alignment of focal stacks whose field of view and principal point move with the focus (Won and Jeon 2022).

A slice is brought into the frame of the reference slice, in which the ground truth is, by a scale and a shift: what the
reference has at x lies in the slice at ``middle + scale (x - middle) + shift``, in pixels whose centres have whole
numbers; `middle` is that of the picture. An alignment is (B, S, 3): scale, shift along x, shift along y; the
reference's own is (1, 0, 0).
"""

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from torch import Tensor, nn

from ..slices import Reference, reference_place

SCALE_STEP = 1e-3
"""What a 1 of the network adds to a scale; a 1 of a shift is a pixel. The public code's."""


def reference_slice(focus: Tensor, rule: Reference) -> Tensor:
    """Return which slice is the reference: (B, S) booleans, one true in each row, of (B, S) focus distances."""
    return torch.arange(focus.shape[1], device=focus.device) == reference_place(focus, rule)[:, None]


def thin_lens_alignment(focus: Tensor, focal_length: Tensor, reference: Tensor) -> Tensor:
    """Return the alignment of a thin lens on the picture's axis: magnifications v(d) / v(d_ref), v(d) = f d / (d - f).

    Parameters
    ----------
    focus
        (B, S) metres, beyond the focal length; may be infinite.
    focal_length
        (B,) metres.
    reference
        (B, S) booleans.
    """
    distance = focal_length[:, None] / (1 - focal_length[:, None] / focus)
    scale = distance / _of_reference(distance, reference)
    return torch.stack([scale, torch.zeros_like(scale), torch.zeros_like(scale)], -1)


def true_alignment(intrinsics: Tensor, reference: Tensor, size: tuple[int, int]) -> Tensor:
    """Return the alignment that camera matrices say, as neither the camera nor the scene moves.

    Parameters
    ----------
    intrinsics
        (B, S, 3, 3) pixels. If the focal lengths along x and y change by different factors, the scale is their mean.
    reference
        (B, S) booleans.
    size
        Height and width of the pictures, pixels.
    """
    focal, centre = intrinsics.diagonal(dim1=-2, dim2=-1)[..., :2], intrinsics[..., :2, 2]
    scale = (focal / _of_reference(focal, reference)).mean(-1, keepdim=True)
    middle = _middle(size, intrinsics)
    return torch.cat([scale, centre - middle + scale * (middle - _of_reference(centre, reference))], -1)


def positions(alignment: Tensor, size: tuple[int, int], stride: int = 1) -> Tensor:
    """Return where the reference's pixels lie in the slices.

    Parameters
    ----------
    alignment
        (B, S, 3).
    size
        Height and width of the pictures, pixels.
    stride
        Take each such pixel along y and x, the first first.

    Returns
    -------
    (B, S, H / stride, W / stride, 2) x and y, pixels of the pictures.
    """
    own = _pixels(size, stride, alignment) - _middle(size, alignment)
    moved = alignment[..., None, None, :1] * own + alignment[..., None, None, 1:]
    return moved + _middle(size, alignment)


def aligned(stack: Tensor, alignment: Tensor) -> Tensor:
    """Return the slices (B, S, C, H, W) in the reference's frame, interpolated bicubically, with gradients for both.

    What a slice does not show is its border, continued.
    """
    at = positions(alignment.to(stack.dtype), (stack.shape[-2], stack.shape[-1]))
    found = F.grid_sample(
        stack.flatten(0, 1), _normalised(at, stack).flatten(0, 1), "bicubic", "border", align_corners=False
    )
    return found.view_as(stack)


def displacement(found: Tensor, true: Tensor, reference: Tensor, size: tuple[int, int]) -> Tensor:
    """Return by how many pixels the places differ that two alignments take a slice's pixels from, on average.

    Parameters
    ----------
    found, true
        (B, S, 3).
    reference
        (B, S) booleans: these slices do not count.
    size
        Height and width of the pictures, pixels.

    Returns
    -------
    A scalar, pixels; 0 where the stacks have no other slice, and its gradient 0 where nothing differs.
    """
    differ = positions(found - true, size) - _middle(size, found)
    square = (differ**2).sum(-1)
    distance = torch.where(square > 0, square.where(square > 0, square.new_ones(())).sqrt(), 0).mean((-2, -1))
    others = ~reference
    return torch.where(others, distance, 0).sum() / others.sum().clamp(min=1)


class AlignmentNet(nn.Module):
    """Finds each slice's alignment from the pictures, coarse to fine, beginning with that of a thin lens.

    Features of three sizes, by residual blocks; at each, those of the reference, those of the slice as it is aligned so
    far, and by how much it was moved go through four convolutions, whose mean over the picture is added to the
    alignment. The public code's layers, but that the mean is each slice's own, so that any number of slices will do
    (there it is hard-wired to ten), that shifts are pixels of the picture at all sizes, and that the last convolutions
    begin at zero: an untrained network gives the thin lens.

    Parameters
    ----------
    width
        Features at the full size; the sizes below have two and four times as many. Pictures' heights and widths must be
        multiples of 4.
    """

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        channels = (width, 2 * width, 4 * width)
        self.features = nn.ModuleList(
            nn.Sequential(_Residual(before, after, 2 if level else 1), _Residual(after, after))
            for level, (before, after) in enumerate(zip((3, *channels), channels, strict=False))
        )
        self.estimates = nn.ModuleList(_estimate(after) for after in channels)

    def forward(self, stack: Tensor, alignment: Tensor, reference: Tensor) -> Tensor:
        """Refine an alignment.

        Parameters
        ----------
        stack
            (B, S, 3, H, W), any range.
        alignment
            (B, S, 3), where to begin.
        reference
            (B, S) booleans.

        Returns
        -------
        (B, S, 3), float32 at least; the reference's is (1, 0, 0).
        """
        batch, size = stack.shape[:2], (stack.shape[-2], stack.shape[-1])
        x = stack.flatten(0, 1)
        if x.device.type == "cpu":
            x = x.contiguous(memory_format=torch.channels_last)
        levels: list[Tensor] = []
        for block in self.features:
            x = block(x)
            levels.append(x)
        alignment = _fixed(alignment, reference)
        for level in reversed(range(len(levels))):
            features = levels[level]
            own = _of_reference(features.view(*batch, *features.shape[1:]), reference).expand(*batch, -1, -1, -1)
            at = positions(alignment, size, 2**level) / 2**level
            grid = _normalised(at, features).flatten(0, 1).to(features.dtype)
            moved = F.grid_sample(features, grid, "bilinear", "border", align_corners=False)
            flow = at - _pixels(size, 2**level, at) / 2**level
            seen = [own.flatten(0, 1), moved, flow.flatten(0, 1).movedim(-1, 1).to(moved.dtype)]
            step = self.estimates[level](torch.cat(seen, 1)).mean((-2, -1)).unflatten(0, batch)
            alignment = _fixed(
                alignment + step.to(alignment.dtype) * alignment.new_tensor([SCALE_STEP, 1, 1]), reference
            )
        return alignment


class _Residual(nn.Module):
    def __init__(self, before: int, after: int, stride: int = 1) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(before, after, 3, stride, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU(inplace=True),
            nn.Conv2d(after, after, 3, 1, 1, bias=False), nn.BatchNorm2d(after),
        )  # fmt: skip
        self.stride = stride
        self.skip = nn.Conv2d(before, after, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        # A 1x1 convolution of stride 2 writes outside its memory on CPUs, in channels_last (torch 2.13).
        thin = x[..., :: self.stride, :: self.stride]
        return F.relu(self.skip(thin) + self.body(x))


def _estimate(features: int) -> nn.Sequential:
    wide = 2 * features
    layers: list[nn.Module] = []
    for before in (wide + 2, wide, wide):
        layers += [nn.Conv2d(before, wide, 3, padding=1, bias=False), nn.BatchNorm2d(wide), nn.ReLU(inplace=True)]
    last = nn.Conv2d(wide, 3, 3, padding=1)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)  # type: ignore[arg-type]
    return nn.Sequential(*layers, last)


def _fixed(alignment: Tensor, reference: Tensor) -> Tensor:
    return torch.where(reference[..., None], alignment.new_tensor([1.0, 0.0, 0.0]), alignment)


def _of_reference(values: Tensor, reference: Tensor) -> Tensor:
    """Return (B, 1, ...), what the reference slices have of (B, S, ...)."""
    return values[reference].unsqueeze(1)


def _middle(size: tuple[int, int], like: Tensor) -> Tensor:
    return like.new_tensor([(size[1] - 1) / 2, (size[0] - 1) / 2])


def _pixels(size: tuple[int, int], stride: int, like: Tensor) -> Tensor:
    rows, columns = (torch.arange(0, length, stride, dtype=like.dtype, device=like.device) for length in size)
    y, x = torch.meshgrid(rows, columns, indexing="ij")
    return torch.stack([x, y], -1)


def _normalised(at: Tensor, picture: Tensor) -> Tensor:
    """Turn pixels into what `grid_sample` calls -1 to 1: the outer edges of the outermost pixels."""
    sides = at.new_tensor([picture.shape[-1], picture.shape[-2]])
    return (2 * at + 1) / sides - 1
