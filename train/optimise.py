"""Optimisers and the course of their learning rate, as configs name them."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

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

    def build(self, parameters: Iterable[Any]) -> torch.optim.Optimizer:
        """Return the optimiser of parameters, those that are frozen left out, or of groups as torch takes them."""
        wanted = [p for p in parameters if isinstance(p, dict) or p.requires_grad]
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


@dataclass(frozen=True, eq=False)
class Group:
    """Parameters that share a learning rate.

    Attributes
    ----------
    prefix
        Of its numbers' names in the log.
    parameters
        Those that are learned.
    rate
        Before any factor.
    clip
        Largest norm of all its gradients together; None leaves them.
    decays
        Whether weight decay reaches it.
    factor
        Of the rate at a step, beside the schedule's.
    """

    prefix: str
    parameters: Sequence[torch.nn.Parameter]
    rate: float
    clip: float | None
    decays: bool = True
    factor: Callable[[int], float] = lambda step: 1.0


class Steps:
    """Turns gradients into steps, each group's with its own rate and clip.

    Parameters
    ----------
    section, schedule
        Of the config.
    groups
        Of parameters; those without any are left out.
    """

    def __init__(self, section: OptimiserSection, schedule: ScheduleSection, groups: Sequence[Group]) -> None:
        self.schedule, self.groups = schedule, [group for group in groups if group.parameters]
        self._optimiser = section.build(
            {"params": list(group.parameters), **({} if group.decays else {"weight_decay": 0.0})}
            for group in self.groups
        )

    def begin(self, step: int, steps: int) -> dict[str, float]:
        """Forget the last gradients; set the rates of a step, counted from 0, of so many, and return them by name."""
        self._optimiser.zero_grad(set_to_none=True)
        factor = self.schedule.at(step, steps)
        rates = {f"{group.prefix}rate": group.rate * factor * group.factor(step) for group in self.groups}
        for table, rate in zip(self._optimiser.param_groups, rates.values(), strict=True):
            table["lr"] = rate
        return rates

    def norms(self) -> dict[str, float]:
        """Clip the gradients; return their norms before that by name."""
        return {
            f"{group.prefix}gradient": float(
                torch.nn.utils.clip_grad_norm_(group.parameters, math.inf if group.clip is None else group.clip)
            )
            for group in self.groups
        }

    def step(self) -> None:
        """Change the parameters."""
        self._optimiser.step()

    def state_dict(self) -> dict[str, Any]:
        """Return torch's state of the optimiser."""
        return self._optimiser.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take back torch's state of the optimiser."""
        self._optimiser.load_state_dict(dict(state))
