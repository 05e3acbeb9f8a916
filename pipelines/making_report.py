"""What making does to a phase mask: in words, as numbers for programs, and as a page."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import __version__
from ..evaluate.mask_page import MaskPage, mask_page
from ..synth.banks import mask_digest
from ..synth.pupil import Mask, SpiralMask
from .info import lens_words
from .making import Found, Making, Subject
from .plate import DIGITS, Levels, Plate, View, wave_height

FORMAT = 1
"""Version of `mask-export.json`."""
Facts = list[tuple[str, str]]
Table = tuple[Sequence[str], Sequence[tuple[str, Sequence[str]]]]


def describe(subject: Subject, plate: Plate, levels: Levels, making: Making) -> Facts:
    """Describe a mask and how it is made as (heading, text) lines."""
    mask, n = subject.mask, len(plate.heights)
    index = mask.material.index(mask.wavelength)
    divided = "one wave" if levels.waves else "the relief"
    made = [
        ("mask", mask.name),
        ("material", f"{mask.glass}, index {index:.5f} at {mask.wavelength * 1e9:g} nm, the design wavelength"),
        ("pupil", f"{plate.diameter * 1e3:.6g} mm across{' (of the camera)' if making.diameter is None else ''}"),
        ("cells", f"{n} x {n} of {plate.cell * 1e6:g} um"),
        ("relief", f"{plate.relief * 1e9:.1f} nm, where one wave is {wave_height(mask) * 1e9:.1f} nm"),
        ("levels", f"{levels.count}, {levels.step * 1e9:.2f} nm apart, which divide {divided}"),
    ]
    if levels.etches:
        depths = ", ".join(f"{depth * 1e9:.2f}" for depth in levels.etches)
        made.append(
            ("etch steps", f"{len(levels.etches)}, of {depths} nm: etch-1.png to etch-{len(levels.etches)}.png")
        )
    if mask.obstruction:
        made.append(("obstruction", f"opaque within {mask.obstruction:g} of the radius"))
    if isinstance(mask, SpiralMask):
        soft = f"no zones.csv: zones of the form {mask.form!r} have soft edges, which the heights alone tell"
        made.append(("zones", "zones.csv: their radii, and turns of phase around each" if has_zones(mask) else soft))
    return made


def has_zones(mask: Mask) -> bool:
    """Tell whether a mask consists of zones that a table of radii describes."""
    return isinstance(mask, SpiralMask) and mask.form == "hard"


def outcome(facts: Facts, found: Found, making: Making, view: View) -> Facts:
    """Add to the description what making does to the PSFs, in each colour."""
    colours = f"at {', '.join(f'{w * 1e9:g}' for w in view.wavelengths)} nm"
    made, error = found.changes["made"].mean(axis=0), making.etch_error
    wrong = np.maximum(*(found.changes[name].mean(axis=0) for name in ("too deep", "too shallow")))
    return [
        *facts,
        ("light", f"{_shares(found.efficiencies['made'])} of it {colours} goes where the design sends it"),
        ("PSFs", f"{_shares(made)} of the light {colours} lies elsewhere than in the design's PSFs (relative L1)"),
        ("tolerance", f"{_shares(wrong)} {colours} with all depths wrong by {100 * error:g} %"),
    ]


def _shares(values: npt.NDArray[np.float64]) -> str:
    return ", ".join(f"{100 * float(value):.1f}" for value in values) + " %"


def numbers(subject: Subject, plate: Plate, levels: Levels, making: Making, view: View, found: Found) -> dict[str, Any]:
    """Return all that the files do not say themselves, as JSON; names say the unit."""
    mask, names = subject.mask, ("cells", "made", "too deep", "too shallow")
    quality = [
        {
            "wavelength_m": wavelength,
            **{f"efficiency_{name.replace(' ', '_')}": float(found.efficiencies[name][c]) for name in names},
            **{f"psf_change_{name.replace(' ', '_')}": float(found.changes[name][:, c].mean()) for name in names},
        }
        for c, wavelength in enumerate(view.wavelengths)
    ]
    return {
        "format": FORMAT,
        "made_by": f"defocal {__version__}",
        "mask": {
            "file": "mask.json", "name": mask.name, "sha256": mask_digest(mask), "glass": mask.glass,
            "wavelength_m": mask.wavelength, "index": mask.material.index(mask.wavelength),
            "wave_height_m": wave_height(mask), "obstruction": mask.obstruction,
        },
        "camera": None if (lens := subject.camera(plate.diameter)) is None else {
            "focal_length_m": lens.focal_length, "f_number": lens.f_number, "pixel_pitch_m": lens.pixel_pitch,
            "focus_distance_m": lens.focus_distance if math.isfinite(lens.focus_distance) else None,
        },
        "plate": {
            "cells": len(plate.heights), "cell_m": plate.cell, "pupil_diameter_m": plate.diameter,
            "axes": "rows down, columns right, seen from the sensor towards the scene; the pupil is centred; cells "
            "outside it have height 0",
        },
        "heights": {
            "file": "heights.tif", "metres_per_digit": plate.relief / DIGITS, "relief_m": plate.relief,
            "wrapped": making.wrap,
        },
        "levels": {
            "file": "levels.tif", "count": levels.count, "step_m": levels.step, "divide_one_wave": levels.waves,
            "heights_m": levels.heights.tolist(),
        },
        "etch_steps": [
            {"file": f"etch-{bit + 1}.png", "depth_m": depth, "white": "cells that stand higher by this depth"}
            for bit, depth in enumerate(levels.etches)
        ],
        "etch_error": making.etch_error,
        "defocus_rad": view.defocus.tolist(),
        "quality": quality,
    }  # fmt: skip


def page(subject: Subject, plate: Plate, levels: Levels, making: Making, view: View, found: Found, facts: Facts) -> str:
    """Write the page for the workshop; see `mask_page`."""
    inside = plate.inside()
    planes = [_plane(float(psi), subject) for psi in view.defocus]
    colours = [f"{w * 1e9:g} nm" for w in view.wavelengths]
    tables, notes = _tables(levels, making, colours, found)
    more = {"files": "heights.tif, levels.tif, mask-export.json (scales, units, axes), mask.json (the design)"}
    if subject.lens is not None:
        whose = f"of the recipe {subject.recipe.name}" if subject.recipe else "that the mask's file names"
        more["camera"] = f"{lens_words(subject.lens)}, {whose}"
    return mask_page(
        MaskPage(
            title=f"Phase mask: {subject.name}",
            facts=dict(facts) | more,
            heights=np.where(inside, plate.heights, np.float32(np.nan)),
            made=np.where(inside, levels.on(plate).heights, np.float32(np.nan)),
            cell=plate.cell,
            wave=wave_height(subject.mask),
            before=np.maximum(found.before, 0),
            after=np.maximum(found.after, 0),
            planes=planes,
            colours=colours,
            changes=found.changes["made"],
            tables=tables,
            notes=notes,
        )
    )


def _plane(psi: float, subject: Subject) -> str:
    """Name a plane by its defocus, and by its depth where there is a camera."""
    name = "\u03c8 0 rad" if abs(psi) < 0.005 else f"\u03c8 {psi:+.2f} rad".replace("-", "\u2212")
    if subject.lens is None:
        return name
    depth = float(subject.lens.depth_at_defocus(psi, subject.mask.wavelength))
    return f"{name}, infinity" if math.isinf(depth) else f"{name}, {depth:.3g} m"


def _tables(
    levels: Levels, making: Making, colours: Sequence[str], found: Found
) -> tuple[dict[str, Table], dict[str, Sequence[str]]]:
    error = f"{100 * making.etch_error:g} %"
    variants = {
        "cells": "in cells, any height",
        "made": f"in cells, {levels.count} levels",
        "too deep": f"all depths {error} too deep",
        "too shallow": f"all depths {error} too shallow",
    }
    rows = [
        (words, [f"{100 * found.efficiencies[name][c]:.2f} %" for c in range(len(colours))]
         + [f"{100 * found.changes[name][:, c].mean():.2f} %" for c in range(len(colours))])
        for name, words in variants.items()
    ]  # fmt: skip
    columns = [f"light, {colour}" for colour in colours] + [f"PSF, {colour}" for colour in colours]
    heights = [(f"level {k}", [f"{h * 1e9:.2f}"]) for k, h in enumerate(levels.heights)]
    tables: dict[str, Table] = {}
    notes: dict[str, Sequence[str]] = {}
    tables["What making costs"] = (columns, rows)
    ideal = np.sinc(1 / levels.count) ** 2
    notes["What making costs"] = [
        "Light: the share that goes where the design sends it, in each colour; the rest is scattered. PSF: relative L1 "
        "difference from the design's PSFs, mean of the planes below.",
        f"{levels.count} levels evenly spread over one wave send {100 * ideal:.2f} % where they should, "
        "in light of the design wavelength: sinc(1/N) squared.",
    ]
    if levels.etches:
        etches = [(f"etch-{b + 1}.png", [f"{depth * 1e9:.2f}"]) for b, depth in enumerate(levels.etches)]
        tables["Etch steps"] = (["depth in nm"], etches)
        notes["Etch steps"] = [
            "White cells stand higher by the depth. To etch the relief into the plate itself, open the black cells; to "
            "etch a mould that the plate is cast from, open the white ones.",
            "All files show the mask from the sensor, looking towards the scene: the relief from above, if it is on "
            "the sensor's side of the plate. On the scene's side, mirror them from left to right; for a mould, mirror "
            "them once more.",
        ]
    if levels.count <= 32:
        tables["Levels"] = (["height in nm"], heights)
    return tables, notes
