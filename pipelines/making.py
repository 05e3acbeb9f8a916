"""A phase mask on its way to a workshop: which one, for which camera, and what making does to its PSFs."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from .. import InputError
from ..synth import load_mask
from ..synth.banks import checked_bank, make_mask
from ..synth.camera import ThinLens
from ..synth.places import dataset_at
from ..synth.pupil import Mask, mask_from
from ..synth.pupil.propagation import samples_needed
from ..synth.recipe import Recipe
from ..synth.recipe_psf import MaskPsf
from ..synth.store import open_store, stored_folders
from .plate import Fields, Levels, MadeMask, Plate, View, change, efficiency
from .shipped import find_recipe

PLANES = 7
DEFOCUS, PIXEL = 10.0, 0.5
"""Of a mask without a camera: largest |psi|, radians, and pixels in units of wavelength times f-number."""
COLOURS = (640e-9, 550e-9, 460e-9)
SIDE_LOBES = 24.0
"""Light that a window holds beyond the circle of confusion, in units of wavelength times f-number."""
LARGEST_WINDOW = 255
"""Pixels."""
MOST_SAMPLES = 1024


@dataclass(frozen=True, kw_only=True)
class Making:
    """How a mask is made.

    Attributes
    ----------
    levels
        Heights that a cell can have.
    cell
        Side of a cell, metres.
    diameter
        Of the pupil, metres; that of the camera if None.
    wrap
        Take heights modulo one wave first.
    etch_error
        Relative error of all depths that the page looks at.
    """

    levels: int = 8
    cell: float = 3e-6
    diameter: float | None = None
    wrap: bool = False
    etch_error: float = 0.05


@dataclass(frozen=True, eq=False)
class Subject:
    """A mask, and the camera that it is for if one is known."""

    mask: Mask
    name: str
    recipe: Recipe | None

    @property
    def lens(self) -> ThinLens | None:
        """The camera's lens."""
        return self.recipe.lens if self.recipe else None


@dataclass(frozen=True, eq=False)
class Found:
    """What making does to the PSFs, by variant: "cells", "made", "too deep", "too shallow".

    Attributes
    ----------
    before, after
        (K, C, size, size): PSFs of the design, and of the plate as it is made.
    changes
        By variant (K, C), relative L1 differences from the design.
    efficiencies
        By variant (C,), see `plate.efficiency`.
    """

    before: npt.NDArray[np.float64]
    after: npt.NDArray[np.float64]
    changes: dict[str, npt.NDArray[np.float64]]
    efficiencies: dict[str, npt.NDArray[np.float64]]


def find_subject(target: str, recipe: str | None, changes: Sequence[str] = ()) -> Subject:
    """Return the mask of a file, of a dataset, or of a recipe by name or path.

    Parameters
    ----------
    target
        A file that `save_mask` or a training wrote, the place of a dataset, or a recipe.
    recipe
        The camera of a mask from a file, as a recipe with psf.kind = "mask".
    changes
        Of that recipe, see `find_recipe`.

    Raises
    ------
    InputError
        If there is no mask.
    """
    path = Path(target)
    if path.suffix != ".toml" and path.is_file():
        if recipe is None and changes:
            raise InputError("--set changes the recipe of a camera: name one with --recipe.")
        mask = load_mask(path)
        return Subject(mask, path.stem, find_recipe(recipe, mask=path, changes=changes) if recipe else None)
    if recipe is not None:
        raise InputError(f"--recipe gives a camera to a mask from a file, and {target} is none: leave it away.")
    if (where := dataset_at(target)) is not None:
        if changes:
            raise InputError(f"{target} is a dataset, whose mask is made: --set is for recipes.")
        found = open_store(where, unfinished=True).recipe
        _refuse_other_psfs(found, target)
        bank = checked_bank(stored_folders(where)[0])
        return Subject(mask_from(bank.facts["mask"]), found.name, found)
    found = find_recipe(target, changes=changes)
    return Subject(make_mask(_refuse_other_psfs(found, target).mask), found.name, found)


def _refuse_other_psfs(recipe: Recipe, target: str) -> MaskPsf:
    if not isinstance(recipe.psf, MaskPsf):
        raise InputError(f"{target} has no mask: its psf.kind is {recipe.psf.kind!r}.")
    return recipe.psf


def view_of(subject: Subject) -> View:
    """Return where the PSFs of a mask are looked at: as its camera sees them, or in units of diffraction."""
    mask, lens = subject.mask, subject.lens
    if lens is None or subject.recipe is None:
        visible = 380e-9 <= mask.wavelength <= 760e-9
        wavelengths = COLOURS if visible else (mask.wavelength,)
        psi = np.linspace(-DEFOCUS, DEFOCUS, PLANES)
        pixels = [PIXEL * mask.wavelength / w for w in wavelengths]
        needed = samples_needed(DEFOCUS * mask.wavelength / min(wavelengths), 0.0, mask.steepness())
        return View(
            wavelengths=wavelengths, pixels=pixels, defocus=psi, size=_window(psi, PIXEL, None),
            samples=min(MOST_SAMPLES, max(256, -(-needed // 64) * 64)),
        )  # fmt: skip
    psf = _refuse_other_psfs(subject.recipe, subject.name)
    far, near = (float(lens.defocus(z, mask.wavelength)) for z in reversed(subject.recipe.scenes.depth))
    psi = np.linspace(far, near, PLANES)
    if far <= 0 <= near:
        psi[np.abs(psi).argmin()] = 0.0
    pixels = [lens.pixel_pitch / (w * lens.working_f_number) for w in psf.wavelengths]
    size = _window(psi, lens.pixel_pitch / (mask.wavelength * lens.working_f_number), psf.size)
    return View(wavelengths=psf.wavelengths, pixels=pixels, defocus=psi, size=size, samples=psf.samples)


def _window(psi: npt.NDArray[np.float64], pixel: float, size: int | None) -> int:
    """Odd size in pixels that holds the circle of confusion and the side lobes."""
    if size is not None:
        return size
    widest = 4 / math.pi * float(np.abs(psi).max())
    return min(LARGEST_WINDOW, 2 * math.ceil((1.2 * widest + SIDE_LOBES) / pixel / 2) + 1)


def compare(mask: Mask, plate: Plate, levels: Levels, view: View, error: float) -> Found:
    """Compare the PSFs of a mask as designed, in cells, as made, and with all depths wrong by `error`."""
    made = levels.on(plate)
    variants = {"cells": plate, "made": made, "too deep": made.scaled(1 + error), "too shallow": made.scaled(1 - error)}
    cells = len(plate.heights)
    design = view.fields(mask, cells)
    before, after = view.psfs(design, mask.wavelength), np.empty(0)
    changes, efficiencies = {}, {}
    for name, variant in variants.items():
        fields: Fields = view.fields(MadeMask.of(variant, mask), cells)
        psfs = view.psfs(fields, mask.wavelength)
        changes[name], efficiencies[name] = change(before, psfs), efficiency(design, fields)
        if name == "made":
            after = psfs
    return Found(before, after, changes, efficiencies)
