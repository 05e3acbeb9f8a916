"""Changes of brightness and of single colours by factors, and how often colours change at all: Godard et al., UDfD."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from .seeds import Stream, generator
from .settings import AugmentSettings


def tint(
    before: Mapping[str, Tensor],
    after: Mapping[str, Tensor],
    augment: AugmentSettings,
    seed: int,
    epoch: int,
    samples: Sequence[int],
) -> dict[str, Tensor]:
    """Multiply pictures by a factor, and each colour by one of its own; and leave some samples as they were.

    All pictures of a sample change alike.

    Parameters
    ----------
    before, after
        Pictures (B, ..., 3, H, W) of 0 to 1, as they were and with whatever else was changed of their colours.
    augment
        `gain`, `colour` and `probability`.
    seed, epoch, samples
        Decide what is drawn: (B,) indices of samples.
    """
    random = np.stack([generator(seed, Stream.TINTS, epoch, sample).random(5) for sample in samples])
    ranges = np.array([augment.gain, *[augment.colour] * 3])
    values = ranges[:, 0] + random[:, 1:] * (ranges[:, 1] - ranges[:, 0])
    found = {}
    for name, picture in after.items():
        factors = torch.as_tensor(values[:, :1] * values[:, 1:], dtype=picture.dtype, device=picture.device)
        changes = torch.as_tensor(random[:, 0] < augment.probability, device=picture.device)
        shape = [len(samples), *[1] * (picture.ndim - 4), 3, 1, 1]
        tinted = (picture * factors.view(shape)).clamp(0, 1)
        found[name] = torch.where(changes.view(-1, *[1] * (picture.ndim - 1)), tinted, before[name])
    return found
