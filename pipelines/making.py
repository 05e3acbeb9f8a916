"""A phase mask on its way to a workshop: which one, for which camera, and what making does to its PSFs."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from .. import InputError
from ..synth.banks import check_mask_camera, checked_bank, make_mask
from ..synth.camera import ThinLens
from ..synth.places import dataset_at
from ..synth.pupil import Mask, mask_from
from ..synth.pupil.files import load_mask_for
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
    made_for: ThinLens | None = None
    """The camera that the mask's file names."""

    @property
    def lens(self) -> ThinLens | None:
        """The camera's lens."""
        return self.recipe.lens if self.recipe else self.made_for

    def camera(self, diameter: float) -> ThinLens | None:
        """Return the camera that the mask is made for, with a pupil of that diameter; None if none is known."""
        if self.lens is None or (self.recipe and any(name.startswith("camera.") for name in self.recipe.draws)):
            return None
        same = math.isclose(diameter, self.lens.aperture_diameter, rel_tol=1e-9)
        return self.lens if same else replace(self.lens, f_number=self.lens.focal_length / diameter)


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
        mask, lens = load_mask_for(path)
        camera = find_recipe(recipe, mask=path, changes=changes) if recipe else None
        if camera is not None:
            check_mask_camera(camera)
        return Subject(mask, _name(path), camera, lens)
    if recipe is not None:
        none = "is none" if path.exists() else "is no file that there is"
        raise InputError(
            f"--recipe gives a camera to a mask from a file, and {target} {none}: check it, or leave --recipe away."
        )
    if (where := dataset_at(target)) is not None:
        if changes:
            raise InputError(f"{target} is a dataset, whose mask is made already: leave --set out, it is for recipes.")
        found = open_store(where, unfinished=True).recipe
        _refuse_other_psfs(found, target)
        bank = checked_bank(stored_folders(where)[0])
        return Subject(mask_from(bank.facts["mask"]), found.name, found)
    found = find_recipe(target, changes=changes)
    return Subject(make_mask(_refuse_other_psfs(found, target).mask), found.name, found)


def _name(path: Path) -> str:
    """Name a mask by its file; by the run where that file is called as in every run."""
    return path.absolute().parent.name or path.stem if path.stem == "mask" else path.stem


def _refuse_other_psfs(recipe: Recipe, target: str) -> MaskPsf:
    if not isinstance(recipe.psf, MaskPsf):
        raise InputError(
            f"{target} has no mask, its psf.kind is {recipe.psf.kind!r}: name a mask's file, or a recipe or "
            "dataset with psf.kind = 'mask'."
        )
    return recipe.psf


def view_of(subject: Subject) -> View:
    """Return where the PSFs of a mask are looked at: as its camera sees them, or in units of diffraction."""
    mask, lens = subject.mask, subject.lens
    if lens is None or subject.recipe is None:
        visible = 380e-9 <= mask.wavelength <= 760e-9
        wavelengths = COLOURS if visible else (mask.wavelength,)
        # Nothing is farther than infinity.
        far = -DEFOCUS if lens is None else max(-DEFOCUS, float(lens.defocus(math.inf, mask.wavelength)))
        psi = _planes(far, DEFOCUS)
        pixel = PIXEL if lens is None else lens.pixel_pitch / (mask.wavelength * lens.working_f_number)
        pixels = [pixel * mask.wavelength / w for w in wavelengths]
        needed = samples_needed(DEFOCUS * mask.wavelength / min(wavelengths), 0.0, mask.steepness())
        return View(
            wavelengths=wavelengths, pixels=pixels, defocus=psi, size=_window(psi, pixel, None),
            samples=min(MOST_SAMPLES, max(256, -(-needed // 64) * 64)),
        )  # fmt: skip
    psf = _refuse_other_psfs(subject.recipe, subject.name)
    far, near = (float(lens.defocus(z, mask.wavelength)) for z in reversed(subject.recipe.scenes.depth))
    psi = _planes(far, near)
    pixels = [lens.pixel_pitch / (w * lens.working_f_number) for w in psf.wavelengths]
    size = _window(psi, lens.pixel_pitch / (mask.wavelength * lens.working_f_number), psf.size)
    return View(wavelengths=psf.wavelengths, pixels=pixels, defocus=psi, size=size, samples=psf.samples)


def _planes(far: float, near: float) -> npt.NDArray[np.float64]:
    """Lay planes from end to end, one of them in focus where that lies between; evenly on each side of it."""
    if not far < 0 < near:
        return np.linspace(far, near, PLANES)
    focus = min(max(round(-far / (near - far) * (PLANES - 1)), 1), PLANES - 2)
    return np.concatenate([np.linspace(far, 0.0, focus + 1), np.linspace(0.0, near, PLANES - focus)[1:]])


def _window(psi: npt.NDArray[np.float64], pixel: float, size: int | None) -> int:
    """Odd size in pixels that holds the circle of confusion and the side lobes."""
    if size is not None:
        return size
    widest = 4 / math.pi * float(np.abs(psi).max())
    return min(LARGEST_WINDOW, 2 * math.ceil((1.2 * widest + SIDE_LOBES) / pixel / 2) + 1)


def compare(
    mask: Mask, plate: Plate, levels: Levels, view: View, error: float,
    report: Callable[[str], None] = lambda step: None,
) -> Found:  # fmt: skip
    """Compare the PSFs of a mask as designed, in cells, as made, and with all depths wrong by `error`."""
    made = levels.on(plate)
    variants = {"cells": plate, "made": made, "too deep": made.scaled(1 + error), "too shallow": made.scaled(1 - error)}
    cells = len(plate.heights)
    report("PSFs as designed")
    design = view.fields(mask, cells)
    before, after = view.psfs(design, mask.wavelength), np.empty(0)
    changes, efficiencies = {}, {}
    for name, variant in variants.items():
        report(f"PSFs {'in cells' if name == 'cells' else f'as {name}' if name == 'made' else name}")
        fields: Fields = view.fields(MadeMask.of(variant, mask), cells)
        psfs = view.psfs(fields, mask.wavelength)
        changes[name], efficiencies[name] = change(before, psfs), efficiency(design, fields)
        if name == "made":
            after = psfs
    return Found(before, after, changes, efficiencies)
