"""An average of a model's weights over the steps of a run."""

import copy

import torch


class Average:
    """Exponential moving average of weights and of running statistics.

    Parameters
    ----------
    model
        Its weights are the average's first: any module, of which the average is a copy.
    decay
        Share of the average that each step keeps; the first steps keep less, so that it forgets where it began.

    Attributes
    ----------
    model
        A model with the averaged weights.
    """

    def __init__(self, model: torch.nn.Module, decay: float) -> None:
        self.model = copy.deepcopy(model).requires_grad_(False)
        self.decay = decay

    @torch.no_grad()
    def update(self, model: torch.nn.Module, step: int) -> None:
        """Take the weights after a step, counted from 0, into the average."""
        decay = min(self.decay, (1 + step) / (10 + step))
        own = self.model.state_dict()
        for name, value in model.state_dict().items():
            if value.is_floating_point():
                own[name].lerp_(value, 1 - decay)
            else:
                own[name].copy_(value)
