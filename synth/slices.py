"""The lenses of a recipe's focal stack: where each slice is focused, and through which aperture."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from .camera import ThinLens
from .draws import depth_quantiles
from .recipe import Recipe
from .schedules import power_inverse, spaced
from .seeding import Purpose, generator


def slice_lenses(recipe: Recipe, sample: int, depth: npt.NDArray[np.float32]) -> list[ThinLens]:
    """Return the lens of each slice: the recipe's apertures, one after the other, each at all focus distances.

    Parameters
    ----------
    recipe
        With a stack, and without distributions.
    sample
        Number of the sample, for focus distances that are drawn.
    depth
        (H, W) float32, metres: for focus distances that the scene decides.

    Raises
    ------
    InputError
        If a focus distance lies at or inside the focal length.
    """
    assert recipe.stack is not None
    lens = recipe.lens
    apertures = recipe.stack.f_numbers or (lens.f_number,)
    focus = _distances(recipe, sample, depth)
    return [replace(lens, focus_distance=float(d), f_number=n) for n in apertures for d in focus]


def _distances(recipe: Recipe, sample: int, depth: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    stack = recipe.stack
    assert stack is not None
    if stack.focus is not None:
        return np.array(stack.focus)
    near, far = stack.range or depth_quantiles(depth, *stack.quantiles)
    distances = _spread(recipe, sample, near, far)
    # Powers differ in their last bits between processors, and rounding to float32 hides that.
    distances = distances.astype(np.float32).astype(np.float64)
    return distances if stack.order == "near-first" else distances[::-1]


def _spread(recipe: Recipe, sample: int, near: float, far: float) -> npt.NDArray[np.float64]:
    stack = recipe.stack
    assert stack is not None
    slices = stack.slices or 1
    if near == far:
        # A scene all at one depth leaves no choice.
        return np.full(slices, near)
    if stack.spacing == "power-inverse":
        return power_inverse(slices, near, far, stack.power)
    if stack.spacing == "random":
        shares = np.sort(generator(recipe.seed, Purpose.FOCUS, sample).random(slices))
        return np.asarray(1 / (1 / near + shares * (1 / far - 1 / near)))
    spacing = "inverse" if stack.spacing == "quantiles" else stack.spacing
    return spaced(slices, near, far, spacing, recipe.lens.focal_length)


def reference_slice(recipe: Recipe, focus: Sequence[float]) -> int:
    """Return the number of the slice, focused at so many metres, whose frame the ground truth is in."""
    assert recipe.stack is not None
    match recipe.stack.reference:
        case "farthest":
            return int(np.argmax(focus))
        case "nearest":
            return int(np.argmin(focus))
        case "first":
            return 0
        case "last":
            return len(focus) - 1
