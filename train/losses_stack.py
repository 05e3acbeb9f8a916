"""Losses of networks for focal stacks: DfF in the Wild (Won and Jeon 2022) and AiFDepthNet (Wang et al. 2021).

Each can add how well a network aligns stacks whose field of view changes, by `alignment_weight`.
"""

from collections.abc import Mapping
from typing import Literal

from torch import Tensor

from .. import InputError
from .loss_functions import l1, mse
from .losses import LossBase, LossContext, Objective, Term, Weight
from .models.alignment import displacement, true_alignment

SCALES = (("1", 0.3), ("2", 0.5), ("3", 0.7), ("", 1.0))
"""Scales of the outputs of DfF in the Wild, coarse to fine, and the weight of each."""


def edge_aware_smoothness(depth: Tensor, image: Tensor, edge: float = 150.0) -> Tensor:
    """Mean of exp(-a sum |dI/dx|) |dD/dx|, plus that along y (Won and Jeon 2022, supplement, Eq. 6).

    Differences are forward ones, the sum is over colours, and each mean over all pairs of neighbours.

    Parameters
    ----------
    depth
        (B, H, W).
    image
        (B, 3, H, W) in [0, 1].
    edge
        The paper's a.
    """
    return sum(
        ((-edge * colours.abs().sum(1)).exp() * steps.abs()).mean()
        for colours, steps in zip(_steps(image), _steps(depth), strict=True)
    )  # type: ignore[return-value]


def robust_smoothness(depth: Tensor, image: Tensor, edge: float = 150.0) -> Tensor:
    """Mean of exp(-mean((a dI/dx)^2)) sqrt((dD/dx)^2 + 1e-6) and of the same along y: AiFDepthNet's public code.

    Parameters are those of `edge_aware_smoothness`; the mean in the exponent is over colours. The paper (and Won and
    Jeon's Eq. 6) has no square there.
    """
    return sum(
        ((-((edge * colours) ** 2).mean(1)).exp() * (steps**2 + 1e-6).sqrt()).mean() / 2
        for colours, steps in zip(_steps(image), _steps(depth), strict=True)
    )  # type: ignore[return-value]


class StackLossBase(LossBase):
    """What these losses have in common."""

    alignment_weight: Weight = 0.0
    """Of the mean distance, in pixels, between the places from which slices are taken and those from which the true
    camera matrices say that they should be."""

    @property
    def needs(self) -> tuple[str, ...]:
        """Names of what a batch must hold."""
        outputs = tuple(dict.fromkeys(term.output for term in self.terms()))
        return (*outputs, *(("intrinsics",) if self.alignment_weight else ()))

    def build(self, context: LossContext) -> Objective:
        """Make the function that a training step minimises; see `LossBase.build`."""
        summed = super().build(context)

        def objective(
            outputs: Mapping[str, Tensor], targets: Mapping[str, Tensor], valid: Tensor | None = None
        ) -> dict[str, Tensor]:
            found = summed(outputs, targets, valid)
            for name, (weight, value) in self.more(outputs, targets).items():
                found[name] = value
                found["total"] = found["total"] + weight * value
            return found

        return objective

    def more(self, outputs: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> dict[str, tuple[float, Tensor]]:
        """Return terms that are not of one output and its target, each with its weight."""
        if not self.alignment_weight:
            return {}
        if "alignment" not in outputs:
            raise InputError("the loss has an alignment_weight, and the model aligns nothing: set model.alignment.")
        size = (targets["stack"].shape[-2], targets["stack"].shape[-1])
        reference = outputs["alignment_reference"] > 0
        true = true_alignment(targets["intrinsics"], reference, size)
        distance = displacement(outputs["alignment"], true, reference, size)
        return {"alignment/displacement": (self.alignment_weight, distance)}


class DffLossSettings(StackLossBase):
    """Mean squared error of depth at four scales: DfF in the Wild, its public code."""

    kind: Literal["dff"] = "dff"

    def terms(self) -> tuple[Term, ...]:
        """Return what is added up."""
        return tuple(Term("depth", "mse", weight, mse, scale) for scale, weight in SCALES)


class DffUnsupervisedSettings(StackLossBase):
    """All-in-focus images at four scales, and smooth depth; no depth is read: DfF in the Wild, supplement, Eqs. 4-6."""

    kind: Literal["dff-unsupervised"] = "dff-unsupervised"
    smoothness_weight: Weight = 0.002
    edge: Weight = 150.0
    """The paper's a, for images of 0 to 1."""

    def terms(self) -> tuple[Term, ...]:
        """Return what is added up."""
        return tuple(Term("aif", "l1", weight, l1, scale) for scale, weight in SCALES)

    def more(self, outputs: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> dict[str, tuple[float, Tensor]]:
        """Return the smoothness of each scale's depth, by the edges of its own all-in-focus image."""
        found = super().more(outputs, targets)
        for end, weight in ((f"_{scale}" if scale else "", weight) for scale, weight in SCALES):
            if self.smoothness_weight and f"depth{end}" in outputs:
                value = edge_aware_smoothness(outputs[f"depth{end}"], outputs[f"aif{end}"], self.edge)
                found[f"depth{end}/smoothness"] = (weight * self.smoothness_weight, value)
        return found


class AifDepthNetLossSettings(StackLossBase):
    """L1 of depth, or of the all-in-focus image with smooth depth, or both: AiFDepthNet."""

    kind: Literal["aifdepthnet"] = "aifdepthnet"
    supervision: Literal["depth", "aif", "both"] = "depth"
    """What is known in training."""
    aif_weight: Weight = 1.0
    smoothness_weight: Weight = 0.002
    edge: Weight = 150.0
    """The paper's alpha, for images of 0 to 1."""

    def terms(self) -> tuple[Term, ...]:
        """Return what is added up."""
        depth, aif = Term("depth", "l1", 1.0, l1), Term("aif", "l1", self.aif_weight, l1)
        return {"depth": (depth,), "aif": (aif,), "both": (depth, aif)}[self.supervision]

    def more(self, outputs: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> dict[str, tuple[float, Tensor]]:
        """Return how smooth depth is, but for the edges of the true all-in-focus image."""
        found = super().more(outputs, targets)
        if self.supervision != "depth" and self.smoothness_weight and "depth" in outputs:
            value = robust_smoothness(outputs["depth"], targets["aif"], self.edge)
            found["depth/smoothness"] = (self.smoothness_weight, value)
        return found


def _steps(values: Tensor) -> tuple[Tensor, Tensor]:
    """Return forward differences along x and along y."""
    return values.diff(dim=-1), values.diff(dim=-2)
