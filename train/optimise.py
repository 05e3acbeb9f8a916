"""Optimisers and the course of their learning rate, as configs name them."""

import math
from collections.abc import Iterable
from typing import Annotated, Literal, Self

import torch
from pydantic import Field, model_validator

from .settings import Section

Share = Annotated[float, Field(ge=0, lt=1)]


class OptimiserSection(Section):
    """What turns gradients into steps."""

    kind: Literal["adam", "adamw", "sgd"] = "adam"
    rate: float = Field(default=2e-4, gt=0, le=10)
    """Learning rate before the schedule's factor."""
    betas: tuple[Share, Share] = (0.9, 0.999)
    """Of "adam" and "adamw"."""
    momentum: Share = 0.0
    """Of "sgd"."""
    weight_decay: float = Field(default=0.0, ge=0, le=1)
    clip: float | None = Field(default=None, gt=0)
    """Largest norm of all gradients together; longer ones are shortened."""

    def build(self, parameters: Iterable[torch.nn.Parameter]) -> torch.optim.Optimizer:
        """Return the optimiser of these parameters."""
        wanted = [p for p in parameters if p.requires_grad]
        if self.kind == "sgd":
            return torch.optim.SGD(wanted, lr=self.rate, momentum=self.momentum, weight_decay=self.weight_decay)
        kind = torch.optim.Adam if self.kind == "adam" else torch.optim.AdamW
        return kind(wanted, lr=self.rate, betas=self.betas, weight_decay=self.weight_decay)


class ScheduleSection(Section):
    """How the learning rate goes over the steps of a run."""

    kind: Literal["constant", "cosine", "step", "linear"] = "constant"
    warm_up: int = Field(default=0, ge=0)
    """Steps over which the rate grows from nothing, in a straight line, before anything else."""
    floor: float = Field(default=0.0, ge=0, le=1)
    """Last factor of "cosine" and "linear"."""
    hold: Share = 0.0
    """Share of the steps before "linear" begins to fall."""
    milestones: tuple[Share, ...] = ()
    """Shares of all steps at which "step" multiplies the rate by `factor`."""
    factor: float = Field(default=0.1, gt=0, le=1)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if list(self.milestones) != sorted(set(self.milestones)):
            raise ValueError("milestones must ascend")
        if (self.kind == "step") != bool(self.milestones):
            raise ValueError("milestones belong to kind = 'step', and it needs some")
        return self

    def at(self, step: int, steps: int) -> float:
        """Return the factor of the learning rate at a step, counted from 0, of a run of so many."""
        if step < self.warm_up:
            return (step + 1) / (self.warm_up + 1)
        done = min(1.0, (step - self.warm_up) / max(1, steps - self.warm_up))
        if self.kind == "cosine":
            return self.floor + (1 - self.floor) * 0.5 * (1 + math.cos(math.pi * done))
        if self.kind == "linear":
            falling = max(0.0, done - self.hold) / (1 - self.hold)
            return 1 - (1 - self.floor) * falling
        if self.kind == "step":
            return self.factor ** sum(step >= share * steps for share in self.milestones)
        return 1.0


def set_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    """Give all parameters of an optimiser the same learning rate."""
    for group in optimiser.param_groups:
        group["lr"] = rate
