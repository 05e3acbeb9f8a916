"""An average of a module's weights over the steps of a run."""

import copy
from typing import Generic, TypeVar

import torch

M = TypeVar("M", bound=torch.nn.Module)


class Average(Generic[M]):
    """Exponential moving average of weights and of running statistics.

    Parameters
    ----------
    module
        Its weights are the average's first.
    decay
        Share of the average that each step keeps; the first steps keep less, so that it forgets where it began.

    Attributes
    ----------
    module
        A copy with the averaged weights.
    """

    def __init__(self, module: M, decay: float) -> None:
        self.module: M = copy.deepcopy(module).requires_grad_(False)
        self.decay = decay

    @torch.no_grad()
    def update(self, module: M, step: int) -> None:
        """Take the weights after a step, counted from 0, into the average."""
        decay = min(self.decay, (1 + step) / (10 + step))
        own = self.module.state_dict()
        for name, value in module.state_dict().items():
            if value.is_floating_point():
                own[name].lerp_(value, 1 - decay)
            else:
                own[name].copy_(value)
