"""Losses of the papers, masked by valid pixels.

Every function takes `prediction` and `target`, (B, H, W) or (B, C, H, W) in the same units, and `valid`, booleans
(B, H, W) or of the shape of the prediction (None: all). What is not valid has no influence, whatever it holds, NaN
included. The result is a scalar in float32, or in float64 for float64 predictions; if nothing at all is valid it is 0,
and so are its gradients. Sums run over all valid pixels of the batch, so that an image counts by its valid pixels;
`scale_invariant` alone can average over images. `objectives` makes of them what a config's `loss` section asks for.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Literal, NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from pydantic import Field
from torch import Tensor

from .. import InputError
from ..synth.camera import ThinLens
from .settings import Section
from .ssim import ssim_map, whole_windows
from .targets import Target

LossFunction = Callable[[Tensor, Tensor, Tensor | None], Tensor]


def l1(prediction: Tensor, target: Tensor, valid: Tensor | None = None) -> Tensor:
    """Mean absolute error (2HDED Eq. 1; D3-Net's loss)."""
    residual, mask = _residual(prediction, target, valid)
    return _mean(residual.abs(), mask)


def charbonnier(prediction: Tensor, target: Tensor, valid: Tensor | None = None, *, epsilon: float = 1e-3) -> Tensor:
    """Mean of sqrt(error^2 + epsilon^2) (2HDED Eq. 4); `epsilon` in units of the target."""
    residual, mask = _residual(prediction, target, valid)
    return _mean(torch.where(mask, torch.sqrt(residual**2 + epsilon**2), 0), mask)


def mse(prediction: Tensor, target: Tensor, valid: Tensor | None = None) -> Tensor:
    """Mean squared error (the public code of Won and Jeon 2022)."""
    residual, mask = _residual(prediction, target, valid)
    return _mean(residual**2, mask)


def rmse(prediction: Tensor, target: Tensor, valid: Tensor | None = None) -> Tensor:
    """Root mean squared error (RPSF Eq. 9); its gradient is taken as 0 where the error is exactly 0."""
    residual, mask = _residual(prediction, target, valid)
    return _root(_mean(residual**2, mask))


def gradient_l1(prediction: Tensor, target: Tensor, valid: Tensor | None = None) -> Tensor:
    """Sum of |d error/dx| + |d error/dy| over the number of valid pixels (2HDED Eq. 2).

    Differences are forward ones, between neighbours that are both valid.
    """
    residual, mask = _residual(prediction, target, valid)
    across, down = _differences(residual, mask)
    return _mean(across.abs(), mask) + _mean(down.abs(), mask)


def gradient_rmse(prediction: Tensor, target: Tensor, valid: Tensor | None = None) -> Tensor:
    """Root mean square of d error/dx, plus that of d error/dy (RPSF Eq. 10, after PhaseCam3D's public code).

    Differences are forward ones, between neighbours that are both valid; as in TensorFlow's `image_gradients` the mean
    is over the number of pixels, whose last row or column has none.
    """
    residual, mask = _residual(prediction, target, valid)
    across, down = _differences(residual, mask)
    return _root(_mean(across**2, mask)) + _root(_mean(down**2, mask))


def structural_dissimilarity(
    prediction: Tensor, target: Tensor, valid: Tensor | None = None, *, data_range: float = 1.0
) -> Tensor:
    """1 - SSIM (2HDED Eq. 5), the mean over windows of 11x11 pixels that lie inside the image and are wholly valid.

    `data_range` is that of the target. SSIM is `ssim_map`'s: that of Wang et al. 2004.

    Raises
    ------
    InputError
        If the image is smaller than a window.
    """
    guess, truth, mask = _pair(prediction, target, valid)
    if guess.ndim == 3:
        guess, truth, mask = guess[:, None], truth[:, None], mask[:, None]
    likeness, windows = ssim_map(guess, truth, data_range), whole_windows(mask)
    return _mean(torch.where(windows, 1 - likeness, 0), windows)


def scale_invariant(
    prediction: Tensor,
    target: Tensor,
    valid: Tensor | None = None,
    *,
    balance: float = 0.5,
    logarithmic: bool = False,
    per_image: bool = True,
    root: bool = False,
    floor: float = 1e-2,
) -> Tensor:
    """Scale-invariant error of log depth, mean(d^2) - balance mean(d)^2 with d = log prediction - log target.

    With `balance` 0.5, image by image, this is Eq. 4 of Eigen et al. 2014; with 0.85, over all valid pixels of the
    batch and with the root it is a tenth of BTS's "SiLog" (Lee et al. 2019).

    Parameters
    ----------
    prediction, target, valid
        As of every loss.
    balance
        0 for the plain squared error of the logarithm, 1 for one that no common factor of the prediction changes.
    logarithmic
        Prediction and target are logarithms already.
    per_image
        Whether the error is that of each image, averaged over the images that have valid pixels, or that of the batch.
    root
        Take the root of each error.
    floor
        Below it the logarithm is continued by its tangent: a target may be 0, as the farthest depth is in some units,
        and a network that starts with negative numbers is led out of there.
    """
    guess, truth, mask = _pair(prediction, target, valid)
    if not logarithmic:
        guess, truth = _log(guess, floor), _log(truth, floor)
    error = torch.where(mask, guess - truth, 0)
    dims = tuple(range(1, error.ndim)) if per_image else tuple(range(error.ndim))
    count = mask.sum(dims)
    mean, square = error.sum(dims) / count.clamp(min=1), (error**2).sum(dims) / count.clamp(min=1)
    value = (square - balance * mean**2).clamp(min=0)
    return _mean(_root(value) if root else value, count > 0)


def _pair(prediction: Tensor, target: Tensor, valid: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """Return prediction and target with zeros where they are not valid, in at least 32 bits, and the mask."""
    if prediction.shape != target.shape:
        raise ValueError(f"prediction {tuple(prediction.shape)} and target {tuple(target.shape)} differ in shape")
    dtype = torch.promote_types(prediction.dtype, torch.float32)
    if valid is None:
        mask = torch.ones_like(prediction, dtype=torch.bool)
    else:
        mask = (valid if valid.ndim == prediction.ndim else valid.unsqueeze(1)).expand_as(prediction)
    return torch.where(mask, prediction.to(dtype), 0), torch.where(mask, target.to(dtype), 0), mask


def _residual(prediction: Tensor, target: Tensor, valid: Tensor | None) -> tuple[Tensor, Tensor]:
    guess, truth, mask = _pair(prediction, target, valid)
    return guess - truth, mask


def _differences(residual: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Return forward differences along x and along y, 0 unless both neighbours are valid."""
    across = torch.where(mask[..., 1:] & mask[..., :-1], residual[..., 1:] - residual[..., :-1], 0)
    down = torch.where(mask[..., 1:, :] & mask[..., :-1, :], residual[..., 1:, :] - residual[..., :-1, :], 0)
    return across, down


def _mean(values: Tensor, mask: Tensor) -> Tensor:
    """Divide the sum of values, which are 0 where they do not count, by how many count."""
    return values.sum() / mask.sum().clamp(min=1)


def _root(value: Tensor) -> Tensor:
    """Square root whose gradient at 0 is 0; NaN stays NaN."""
    none = value <= 0
    return torch.where(none, 0, torch.sqrt(torch.where(none, 1, value)))


def _log(value: Tensor, floor: float) -> Tensor:
    above = value.clamp(min=floor)
    return above.log() + (value - above) / floor


def at_own_size(function: LossFunction) -> LossFunction:
    """Make of a loss one that compares a smaller prediction with the target brought to its size.

    The target (B, C, H, W) is reduced bilinearly, as DWDN's public code does: at half the size by means of 2x2 pixels.
    A pixel is valid where all are that it stands for.
    """

    def resized(prediction: Tensor, target: Tensor, valid: Tensor | None = None) -> Tensor:
        size = (prediction.shape[-2], prediction.shape[-1])
        small = F.interpolate(target, size, mode="bilinear", align_corners=False)
        if valid is None:
            return function(prediction, small, None)
        whole = F.adaptive_avg_pool2d(valid.unsqueeze(1).float(), size).squeeze(1) == 1
        return function(prediction, small, whole)

    return resized


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
                    f"the loss {kind} is of {of}, and the model returns {' and '.join(outputs)}: choose another "
                    "loss, or set its key on."
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
