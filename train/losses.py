"""Losses as a config's `loss` section names them: which functions of which outputs are added up, and their weights."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Literal, NamedTuple

from pydantic import Field
from torch import Tensor

from .. import InputError
from ..synth.camera import ThinLens
from .loss_functions import (
    LossFunction,
    at_own_size,
    charbonnier,
    gradient_l1,
    gradient_rmse,
    l1,
    rmse,
    scale_invariant,
    structural_dissimilarity,
)
from .settings import Section
from .targets import Target

Output = Literal["depth", "aif"]
Weight = Annotated[float, Field(ge=0, le=1e6)]


class Term(NamedTuple):
    """One loss of one output, and its weight in the total."""

    output: Output
    name: str
    weight: float
    function: LossFunction
    scale: str = ""
    """Which one of several sizes of the output it is of: "half" is what the model returns as `aif_half`."""

    @property
    def said(self) -> str:
        """Name of what the model returns."""
        return f"{self.output}_{self.scale}" if self.scale else self.output


Objective = Callable[[Mapping[str, Tensor], Mapping[str, Tensor], Tensor | None], dict[str, Tensor]]
"""Of (outputs, targets, valid): what the model returned; the whole batch, with `depth` in units of the target; and the
mask of known depth (B, H, W), or None. Returns `total`, and its terms without their weights, as in `depth/l1`."""


@dataclass(frozen=True, slots=True)
class LossContext:
    """What a loss may need to know beside the batch.

    Attributes
    ----------
    target
        What the model's numbers stand for.
    lens
        The camera that all samples have in common, focused as their single captures are; None where samples have
        cameras of their own.
    depth
        Nearest and farthest depth of the scenes, metres.
    encoded
        Whether pictures are sRGB, and not linear light.
    """

    target: Target
    lens: ThinLens | None
    depth: tuple[float, float]
    encoded: bool = True


class LossBase(Section):
    """What all `loss` sections have in common: a sum of `terms`, or whatever a section makes in `build`."""

    aif_valid: Literal["all", "depth"] = "all"
    """Pixels where losses of all-in-focus images count: all of them, as in the papers, or those of known depth."""

    @property
    def needs(self) -> tuple[str, ...]:
        """Names of what a batch must hold; where it does not, training does not begin."""
        return ()

    def terms(self) -> tuple[Term, ...]:
        """Return what is added up."""
        raise TypeError(f"{type(self).__name__} does not say what it adds up.")

    def build(self, context: LossContext) -> Objective:
        """Make the function that a training step minimises: by default the sum of the terms of weight above 0.

        Terms of outputs that the model does not have are left out; if that leaves none, or a target is missing, the
        function raises `InputError`.

        Raises
        ------
        InputError
            If nothing is left to minimise, or the context is not one that the loss can work in.
        """
        kind: str = getattr(self, "kind", type(self).__name__)
        terms = tuple(term for term in self.terms() if term.weight > 0)
        if not terms:
            raise InputError(f"the loss {kind} has no term whose weight is above 0: give one of its weights.")

        def objective(
            outputs: Mapping[str, Tensor], targets: Mapping[str, Tensor], valid: Tensor | None = None
        ) -> dict[str, Tensor]:
            found = {}
            total: Tensor | None = None
            for term in terms:
                if term.said not in outputs:
                    continue
                if term.output not in targets:
                    raise InputError(
                        f"the loss {kind} needs the array {term.output!r}, and the data have none: add it to "
                        "data.targets."
                    )
                mask = None if term.output == "aif" and self.aif_valid == "all" else valid
                value = term.function(outputs[term.said], targets[term.output], mask)
                found[f"{term.said}/{term.name}"] = value
                total = term.weight * value if total is None else total + term.weight * value
            if total is None:
                of = " and ".join(sorted({term.output for term in terms}))
                raise InputError(
                    f"the loss {kind} is of {of}, and the model returns {' and '.join(outputs)}: give it such a head "
                    "(model.heads), or another loss."
                )
            return {**found, "total": total}

        return objective


class L1Settings(LossBase):
    """Mean absolute error: D3-Net."""

    kind: Literal["l1"] = "l1"
    on: Output = "depth"

    def terms(self) -> tuple[Term, ...]:
        """Return what is added up."""
        return (Term(self.on, "l1", 1.0, l1),)


class L1GradientSettings(LossBase):
    """Mean absolute error and that of its gradient: 2HDED Eq. 3."""

    kind: Literal["l1-gradient"] = "l1-gradient"
    on: Output = "depth"
    gradient_weight: Weight = 0.001
    """The paper's mu."""

    def terms(self) -> tuple[Term, ...]:
        """Return what is added up."""
        return (Term(self.on, "l1", 1.0, l1), Term(self.on, "gradient", self.gradient_weight, gradient_l1))


class CharbonnierSettings(LossBase):
    """Smoothed absolute error: 2HDED Eq. 4."""

    kind: Literal["charbonnier"] = "charbonnier"
    on: Output = "aif"
    epsilon: float = Field(default=1e-3, gt=0, le=1e3)

    def terms(self) -> tuple[Term, ...]:
        """Return what is added up."""
        return (Term(self.on, "charbonnier", 1.0, partial(charbonnier, epsilon=self.epsilon)),)


class SsimSettings(LossBase):
    """1 - SSIM: 2HDED Eq. 5."""

    kind: Literal["ssim"] = "ssim"
    on: Output = "aif"
    data_range: float = Field(default=1.0, gt=0, le=1e6)
    """Largest minus least value of the target."""

    def terms(self) -> tuple[Term, ...]:
        """Return what is added up."""
        return (Term(self.on, "ssim", 1.0, partial(structural_dissimilarity, data_range=self.data_range)),)


class RpsfSettings(LossBase):
    """RMSE and the RMSE of gradients: RPSF Eqs. 8-10, PhaseCam3D."""

    kind: Literal["rpsf"] = "rpsf"
    gradient_weight: Weight = 1.0

    def terms(self) -> tuple[Term, ...]:
        """Return what is added up."""
        return (Term("depth", "rmse", 1.0, rmse), Term("depth", "gradient", self.gradient_weight, gradient_rmse))


class ScaleInvariantSettings(LossBase):
    """Scale-invariant error of log depth: Eigen et al. 2014, Eq. 4."""

    kind: Literal["scale-invariant"] = "scale-invariant"
    balance: float = Field(default=0.5, ge=0, le=1)
    """The paper's lambda."""
    logarithmic: bool = False
    """The target is the logarithm of depth already, as Eigen's is: best for networks that can return any number."""
    floor: float = Field(default=1e-2, gt=0, le=1e3)
    """Where logarithms are continued by their tangent, in units of the target."""

    def terms(self) -> tuple[Term, ...]:
        """Return what is added up."""
        function = partial(scale_invariant, balance=self.balance, logarithmic=self.logarithmic, floor=self.floor)
        return (Term("depth", "scale-invariant", 1.0, function),)


class SilogSettings(LossBase):
    """Root of the scale-invariant error over a batch: BTS (Lee et al. 2019)."""

    kind: Literal["silog"] = "silog"
    balance: float = Field(default=0.85, ge=0, le=1)
    """BTS's lambda."""
    weight: Weight = 10.0
    """BTS's alpha."""
    logarithmic: bool = False
    """The target is the logarithm of depth already, as Eigen's is: best for networks that can return any number."""
    floor: float = Field(default=1e-2, gt=0, le=1e3)
    """Where logarithms are continued by their tangent, in units of the target."""

    def terms(self) -> tuple[Term, ...]:
        """Return what is added up."""
        function = partial(
            scale_invariant,
            balance=self.balance,
            logarithmic=self.logarithmic,
            floor=self.floor,
            per_image=False,
            root=True,
        )
        return (Term("depth", "silog", self.weight, function),)


class HdedLossSettings(LossBase):
    """Depth and all-in-focus image together: 2HDED Eq. 7, of whichever heads the model has."""

    kind: Literal["2hded"] = "2hded"
    gradient_weight: Weight = 0.001
    """The paper's mu."""
    deblurring_weight: Weight = 0.01
    """The paper's lambda: of all that concerns the all-in-focus image."""
    ssim_weight: Weight = 4.0
    """The paper's psi: of 1 - SSIM beside `deblurring`."""
    deblurring: Literal["charbonnier", "l1"] = "charbonnier"
    epsilon: float = Field(default=1e-3, gt=0, le=1e3)
    """Of the Charbonnier loss, in units of the encoded image, [0, 1]."""

    def terms(self) -> tuple[Term, ...]:
        """Return what is added up."""
        pixelwise: LossFunction = l1 if self.deblurring == "l1" else partial(charbonnier, epsilon=self.epsilon)
        return (
            Term("depth", "l1", 1.0, l1),
            Term("depth", "gradient", self.gradient_weight, gradient_l1),
            Term("aif", self.deblurring, self.deblurring_weight, pixelwise),
            Term("aif", "ssim", self.deblurring_weight * self.ssim_weight, structural_dissimilarity),
        )


class DwdnLossSettings(LossBase):
    """Mean absolute error of the all-in-focus image at the full size and at half of it: DWDN, RPSF section 5.2."""

    kind: Literal["dwdn"] = "dwdn"
    half_weight: Weight = 1.0
    """Of the image of half the size."""

    def terms(self) -> tuple[Term, ...]:
        """Return what is added up."""
        return (Term("aif", "l1", 1.0, l1), Term("aif", "l1", self.half_weight, at_own_size(l1), "half"))
