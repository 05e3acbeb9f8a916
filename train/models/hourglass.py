"""The hourglasses of DfF in the Wild (Won and Jeon 2022), after their public code; volumes are (B, C, S, H, W)."""

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from torch import Tensor, nn

from .volumes import Conv3d, convolution, enlargement, rectified

STRIDED = (1, 2, 2)


class Aggregation(nn.Module):
    """The first hourglass: features of three sizes, pooled from one, brought together and back to the largest.

    Parameters
    ----------
    channels
        That enter and leave, C. What leaves has half the height and width; they must be multiples of 8.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        deep, deeper = 2 * channels, 4 * channels
        self.enter = nn.ModuleList(_pair(channels, after) for after in (channels, deep, deep))
        self.refine = nn.ModuleList(_half_pair(after) for after in (channels, deep, deep))
        self.down1 = Conv3d(channels, deep, 3, STRIDED, 1, bias=False)
        self.merge1 = rectified(convolution(2 * deep, deep), convolution(deep, deep))
        self.down2 = Conv3d(deep, deeper, 3, STRIDED, 1, bias=False)
        self.merge2 = rectified(convolution(deeper + deep, deeper), convolution(deeper, deeper))
        self.up2 = enlargement(deeper, deep)
        self.up1 = enlargement(deep, channels)
        self.skip2 = convolution(deep, deep, 1)
        self.skip1 = convolution(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, C, S, H / 2, W / 2)."""
        sizes = []
        for step, (enter, refine) in enumerate(zip(self.enter, self.refine, strict=True), 1):
            entered = enter(F.avg_pool3d(x, (1, 2**step, 2**step)))
            sizes.append(refine(entered) + entered)
        largest, middle, smallest = sizes
        first = self.merge1(torch.cat([self.down1(largest), middle], 1))
        second = self.merge2(torch.cat([self.down2(first), smallest], 1))
        back = F.relu(self.up2(second) + self.skip2(first))
        return F.relu(self.up1(back) + self.skip1(largest))


class Hourglass(nn.Module):
    """One of the hourglasses that refine, each handing features of two sizes to the next.

    Parameters
    ----------
    channels
        That leave, C; twice as many enter. Heights and widths must be multiples of 4.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        deep = 2 * channels
        self.enter = rectified(convolution(deep, channels))
        self.down1 = rectified(convolution(channels, deep, stride=2))
        self.inner = convolution(deep, deep)
        self.down2 = rectified(convolution(deep, deep, stride=2), convolution(deep, deep))
        self.up2 = enlargement(deep, deep)
        self.up1 = enlargement(deep, channels)

    def forward(self, x: Tensor, pre: Tensor | None, post: Tensor | None) -> tuple[Tensor, Tensor]:
        """Refine, with what the hourglass before said of half the size.

        Parameters
        ----------
        x
            (B, 2 C, S, H, W).
        pre, post
            (B, 2 C, S, H / 2, W / 2): the two tensors that the hourglass before returned, None of the first.

        Returns
        -------
        pre, post
            (B, C, S, H, W) for the next one: features of the way in, and those of the way out.
        """
        entered = self.enter(x)
        inner = self.inner(self.down1(entered))
        inner = F.relu(inner if post is None else inner + post)
        out = F.relu(self.up2(self.down2(inner)) + (inner if pre is None else pre))
        return entered, self.up1(out)


def _pair(before: int, after: int) -> nn.Sequential:
    return rectified(convolution(before, after), convolution(after, after))


def _half_pair(channels: int) -> nn.Sequential:
    """Two convolutions, the second of which has no ReLU: it is added to something."""
    return nn.Sequential(*rectified(convolution(channels, channels)), convolution(channels, channels))
