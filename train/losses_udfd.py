"""Losses of the UDfD paper: depth from pictures alone, by what a lens would make of it; and with depth, for comparison.

"Unsupervised simultaneous depth-from-defocus and depth-from-focus", Eqs. 4-7. A batch holds the pictures; no loss but
`udfd-supervised` reads depth. Depths are in units of the target, pictures in [0, 1].
"""

import math
from collections.abc import Callable, Mapping
from types import EllipsisType
from typing import Literal

from pydantic import Field
from torch import Tensor

from .. import InputError
from .batches import linear_to_srgb, srgb_to_linear
from .completion import complete, select, sharpness
from .loss_functions import l1
from .losses import LossBase, LossContext, Objective, Term, Weight
from .reblur import Reblur
from .ssim import WINDOW, ssim_map

HEADS = ("depth", "depth_defocus")
"""Depths that a model may return: of FocusNet and of DefocusNet."""
CHARBONNIER = (1e-3, 0.45)
"""Epsilon and exponent of the generalised Charbonnier function (Sun et al. 2010, section 5)."""
DULLEST = 1e-4
"""Least normalised sharpness: below it a picture is called no duller."""


def generalised_charbonnier(value: Tensor, epsilon: float = CHARBONNIER[0], power: float = CHARBONNIER[1]) -> Tensor:
    """Return ``(x^2 + epsilon^2)^power`` of each number (Sun et al. 2010)."""
    return (value**2 + epsilon**2) ** power


def likeness_loss(first: Tensor, second: Tensor, alpha: float = 0.85) -> Tensor:
    """Return how far two pictures are apart: UDfD Eqs. 4 and 5.

    ``alpha / 2 (1 - SSIM) + (1 - alpha) rho(|difference|)``, the first a mean over windows that lie inside the picture
    and over colours, the second over pixels, of the mean absolute difference over colours. SSIM is `ssim_map`'s, for
    values of 0 to 1; rho is `generalised_charbonnier`.

    Parameters
    ----------
    first, second
        (B, C, H, W).
    alpha
        Share of SSIM.
    """
    unlike = (1 - ssim_map(first, second)).mean() / 2
    return alpha * unlike + (1 - alpha) * generalised_charbonnier((first - second).abs().mean(1)).mean()


def blur_loss(picture: Tensor, beta: float = 2.5, most: float = 1000.0) -> Tensor:
    """Return ``-beta log(n)``, the mean over pictures (B, 3, H, W) of 0 to 1: UDfD Eq. 6.

    `n` is the variance of the Laplacian in 8-bit codes, over `most`, between `DULLEST` and 1.
    """
    return -beta * (sharpness(picture) / most).clamp(DULLEST, 1).log().mean()


def smoothness_loss(depth: Tensor, picture: Tensor, beta: float = 2.5) -> Tensor:
    """Return the mean of ``(exp(-beta |dI|) dD)^2`` along x plus that along y: UDfD Eq. 7.

    Parameters
    ----------
    depth
        (B, H, W).
    picture
        (B, 3, H, W) of 0 to 1; |dI| is the mean absolute difference over colours. No gradient goes there.
    beta
        How much edges of the picture excuse those of depth.
    """
    total = depth.new_zeros(())
    for axis in (-1, -2):
        edge = picture.detach().diff(dim=axis).abs().mean(1)
        total = total + ((-beta * edge).exp() * depth.diff(dim=axis)).square().mean()
    return total


class UdfdLossSettings(LossBase):
    """Depth without depth: UDfD Eqs. 4-7, of whichever networks the model has."""

    kind: Literal["udfd"] = "udfd"
    sharp: Literal["given", "completed"] = "given"
    """What is blurred again: the all-in-focus picture of the store, or one put together of the stack."""
    reconstruction_weight: Weight = 1.0
    """The paper's lambda 1: of pictures blurred again, Eq. 4."""
    consistency_weight: Weight = 1.0
    """Lambda 2: of the two depths with each other, Eq. 5."""
    blur_weight: Weight = 0.2
    """Lambda 3: of the picture that depth selects from the stack, Eq. 6."""
    smooth_weight: Weight = 0.2
    """Lambda 4: of depth across smooth parts of the picture, Eq. 7; 0 for the paper's "w/o smooth"."""
    alpha: float = Field(default=0.85, ge=0, le=1)
    """Share of SSIM in Eqs. 4 and 5."""
    blur_beta: float = Field(default=2.5, gt=0, le=1e3)
    """Beta of Eq. 6."""
    edge_beta: float = Field(default=2.5, ge=0, le=1e3)
    """Beta of Eq. 7; the paper gives a number for one beta alone."""
    planes: int = Field(default=8, ge=2, le=256)
    """Planes of the re-blur, uniform in inverse depth over the depths of the scenes."""
    border: int | None = Field(default=None, ge=0)
    """Pixels at each side that Eq. 4 leaves out: light comes there from outside the crop. By default the radius of the
    largest blur, but at most a quarter of the picture."""

    @property
    def needs(self) -> tuple[str, ...]:
        """The stack, its focus distances, and the all-in-focus picture where it is given."""
        return ("stack", "focus", "aif") if self.sharp == "given" else ("stack", "focus")

    def build(self, context: LossContext) -> Objective:
        """Make the function that a training step minimises.

        Raises
        ------
        InputError
            If samples have cameras of their own: their blur is not one lens's; or no weight is above 0.
        """
        if context.lens is None:
            raise InputError("the loss udfd blurs pictures again, and these samples have cameras of their own.")
        if not any((self.reconstruction_weight, self.consistency_weight, self.blur_weight, self.smooth_weight)):
            raise InputError("the loss udfd has no term whose weight is above 0.")
        return _Unsupervised(self, context)


class _Unsupervised:
    """The objective of `UdfdLossSettings`."""

    def __init__(self, settings: UdfdLossSettings, context: LossContext) -> None:
        assert context.lens is not None
        self.settings, self.context, self.lens = settings, context, context.lens
        self.reblur = Reblur(context.lens, context.depth, settings.planes)

    def __call__(
        self, outputs: Mapping[str, Tensor], targets: Mapping[str, Tensor], valid: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Return `total` and its terms; `valid` is not looked at, as no depth is."""
        depths = {name: outputs[name] for name in HEADS if name in outputs}
        if not depths:
            raise InputError(
                f"the loss udfd is of depth, and the model returns {' and '.join(outputs)}: take another loss."
            )
        settings = self.settings
        sharp = targets["aif"] if settings.sharp == "given" else complete(targets["stack"])
        terms: dict[str, tuple[float, Callable[[], Tensor]]] = {}
        for name, depth in depths.items():
            terms |= self._terms(name, depth, sharp, targets)
        if len(depths) == 2:
            first, second = depths.values()
            terms["depth/consistency"] = (
                settings.consistency_weight, lambda: likeness_loss(first, second, settings.alpha)
            )  # fmt: skip
        found, total = {}, sharp.new_zeros(())
        for name, (weight, term) in terms.items():
            if weight > 0:
                found[name] = term()
                total = total + weight * found[name]
        return {**found, "total": total}

    def _terms(
        self, name: str, depth: Tensor, sharp: Tensor, targets: Mapping[str, Tensor]
    ) -> dict[str, tuple[float, Callable[[], Tensor]]]:
        """Return weight and value of what concerns one depth alone."""
        settings, stack, focus = self.settings, targets["stack"], targets["focus"]
        if name == "depth_defocus":
            if "image" not in targets:
                raise InputError("the loss udfd blurs what DefocusNet saw again: add 'capture' to data.extra.")
            seen, at = targets["image"][:, None], focus.new_tensor([self.lens.focus_distance])
        else:
            seen, at = stack, focus
        dioptres = 1 / self.context.target.decode(depth).clamp_min(1e-3)
        return {
            f"{name}/reconstruction": (
                settings.reconstruction_weight, lambda: self._reconstruction(sharp, dioptres, at, seen)
            ),
            f"{name}/blur": (
                settings.blur_weight, lambda: blur_loss(select(stack, 1 / focus, dioptres), settings.blur_beta)
            ),
            f"{name}/smooth": (settings.smooth_weight, lambda: smoothness_loss(depth, sharp, settings.edge_beta)),
        }  # fmt: skip

    def _reconstruction(self, sharp: Tensor, dioptres: Tensor, focus: Tensor, seen: Tensor) -> Tensor:
        """Blur the sharp picture by the depth, and compare it with what was seen, (B, F, 3, H, W)."""
        light = srgb_to_linear(sharp) if self.context.encoded else sharp
        again = self.reblur(light, dioptres, focus)
        again = linear_to_srgb(again) if self.context.encoded else again
        inner = self._inner(focus, seen.shape[-2:])
        return likeness_loss(again.flatten(0, 1)[inner], seen.flatten(0, 1)[inner], self.settings.alpha)

    def _inner(self, focus: Tensor, size: tuple[int, ...]) -> tuple[EllipsisType | slice, ...]:
        """Return the part of pictures that no light from outside reaches."""
        border = self.settings.border
        if border is None:
            border = min(math.ceil(float(self.reblur.coc(focus).abs().max()) / 2), min(size) // 4)
        if min(size) - 2 * border < WINDOW:
            raise InputError(
                f"loss.border leaves less than {WINDOW} pixels of pictures of {size[0]} x {size[1]}, which SSIM "
                "needs: lower it, or take larger crops."
            )
        return (..., *(slice(border, length - border) for length in size))


class UdfdSupervisedSettings(LossBase):
    """Mean absolute error of both networks' depth: the paper's rows "gt", whose loss it does not say."""

    kind: Literal["udfd-supervised"] = "udfd-supervised"

    def terms(self) -> tuple[Term, ...]:
        """Return what is added up."""
        return (Term("depth", "l1", 1.0, l1), Term("depth", "l1", 1.0, l1, "defocus"))
