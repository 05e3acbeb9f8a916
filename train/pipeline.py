"""What a run trains: a network, and before it, where the mask is learned too, the optics that it looks through."""

import json
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from .. import InputError
from .checkpoint import load_weights
from .optics.module import Optics

SURFACE = "surface"
"""Depth of all that is seen, wanted or not: (B, H, W) metres, NaN where unknown."""


class Pipeline(nn.Module):
    """Optics and network as one module, so that whatever works on a module works on both.

    Parameters
    ----------
    model
        The network.
    optics
        What makes its images of sharp pictures; None where the data hold the images.
    """

    def __init__(self, model: nn.Module, optics: Optics | None = None) -> None:
        super().__init__()
        self.model, self.optics = model, optics

    def forward(self, batch: Mapping[str, Tensor], key: int = 0) -> dict[str, Tensor]:
        """Compute the outputs of the model.

        Parameters
        ----------
        batch
            As `batches.prepare` returns it; through optics with `surface`, and `image` is the sharp picture.
        key
            Of the sensor's noise.

        Returns
        -------
        What the model returns; through optics also `image`, what the model saw, and where the mask adds to the loss
        `penalty`, a scalar.
        """
        if self.optics is None:
            return dict(self.model(batch))
        seen = self.optics(world(batch), key)
        penalty = {"penalty": self.optics.mask.penalty()} if self.optics.penalises else {}
        return {**self.model({**batch, "image": seen["image"]}), "image": seen["image"], **penalty}

    def state(self, average: "Pipeline | None" = None) -> dict[str, Any]:
        """Return what a checkpoint keeps of this one and of its average: all weights, and the mask to look through."""
        found: dict[str, Any] = {"model": self.model.state_dict(), "average": None}
        if average is not None:
            found["average"] = average.model.state_dict()
        if self.optics is not None:
            kept = (average or self).optics
            assert kept is not None
            found["optics"] = {
                "mask": json.dumps(kept.to_dict()),
                "numbers": kept.mask.numbers(),
                "parameters": self.optics.mask.state_dict(),
                "average": kept.mask.state_dict() if average is not None else None,
            }
        return found

    def restore(self, state: Mapping[str, Any], origin: str, average: "Pipeline | None" = None) -> None:
        """Take back what `state` returned.

        Raises
        ------
        InputError
            If it is that of another model or mask.
        """
        load_weights(self.model, state["model"], origin)
        if average is not None:
            load_weights(average.model, state["average"] or {}, origin)
        optics = state.get("optics")
        if (optics is None) != (self.optics is None):
            raise InputError(f"{origin} {'lacks' if optics is None else 'has'} the mask of a run with optics.")
        if self.optics is not None and optics is not None:
            another = InputError(f"{origin} was made through another mask than optics.mask says now: give that one.")
            try:
                load_weights(self.optics.mask, optics["parameters"], origin)
                if average is not None and average.optics is not None:
                    load_weights(average.optics.mask, optics["average"] or {}, origin)
            except InputError:
                raise another from None
            # Parameters alone do not tell: what they mean may come from a file that has changed.
            kept = (average or self).optics
            if kept is None or json.loads(optics["mask"]) != json.loads(json.dumps(kept.to_dict())):
                raise another


def world(batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return what optics look at: the sharp picture, its depth, and where that is known."""
    known = torch.isfinite(batch[SURFACE])
    depth = torch.where(known, batch[SURFACE], torch.ones_like(batch[SURFACE]))
    return {"aif": batch["image"], "depth": depth, "valid": known, "index": batch["index"]}
