"""The files that a workshop makes a phase mask from, in a folder that is whole or absent."""

import csv
import io
import json
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from PIL.TiffImagePlugin import IFDRational

from .. import InputError
from ..synth import save_mask
from ..synth.files import write_atomically
from ..synth.pupil import SpiralMask
from ..synth.pupil.phase import zone_charge, zone_radius
from .aside import check_new, write_aside
from .making import Making, Subject, compare, view_of
from .making_report import Facts, describe, has_zones, numbers, outcome, page
from .plate import DIGITS, Levels, Plate, cut, quantise, wave_height


def export(
    subject: Subject, out: Path, making: Making, report: Callable[[str], None] = lambda step: None
) -> tuple[Facts, list[Path]]:
    """Write all that a workshop needs into a new folder, which is whole or absent.

    Parameters
    ----------
    subject
        The mask.
    out
        A new or empty folder.
    making
        How it is made.
    report
        Called with what is under way.

    Returns
    -------
    What was made, in words, and the files.

    Raises
    ------
    InputError
        If the mask cannot be made so, or the folder cannot be written.
    """
    check_new(out)
    mask, diameter = subject.mask, making.diameter
    if diameter is None:
        if subject.lens is None:
            raise InputError(
                "how large the mask is does not follow from its file, which names no camera: give the pupil's "
                "--diameter, for example '5 mm', or its camera as --recipe RECIPE."
            )
        diameter = subject.lens.aperture_diameter
    report(f"cutting the mask into cells of {making.cell * 1e6:g} um")
    wave = wave_height(mask)
    plate = cut(mask, diameter, making.cell, wrap=making.wrap)
    levels = quantise(plate, making.levels, wave)
    view = view_of(subject)
    found = compare(mask, plate, levels, view, making.etch_error, report)
    facts = describe(subject, plate, levels, making)
    told = numbers(subject, plate, levels, making, view, found)
    written = page(subject, plate, levels, making, view, found, facts)

    def fill(folder: Path) -> None:
        save_mask(mask, folder / "mask.json", subject.camera(diameter))
        _write_plate(folder, plate, levels)
        if has_zones(mask):
            assert isinstance(mask, SpiralMask)
            write_atomically(folder / "zones.csv", zones_csv(mask, diameter))
        write_atomically(folder / "mask-export.json", json.dumps(told, indent=1, allow_nan=False) + "\n")
        write_atomically(folder / "mask.html", written)

    report(f"writing {len(plate.heights)} x {len(plate.heights)} cells")
    write_aside(out, fill, "the mask")
    return outcome(facts, found, making, view), sorted(out.iterdir())


def _write_plate(folder: Path, plate: Plate, levels: Levels) -> None:
    """Write the heights and levels as TIFF, and the etch masks as PNG, all with the size of their cells."""
    per_digit = plate.relief / DIGITS
    digits = np.empty(plate.heights.shape, np.uint16)
    for row, heights in enumerate(plate.heights):
        digits[row] = np.rint(heights / np.float64(per_digit)).clip(0, DIGITS)
    _write_tiff(folder / "heights.tif", digits, plate.cell, f"height in metres = {per_digit!r} * value")
    index = levels.index.astype(np.uint8)
    _write_tiff(folder / "levels.tif", index, plate.cell, f"height in metres = {levels.step!r} * value")
    dots = 0.0254 / plate.cell
    for bit in range(len(levels.etches)):
        Image.fromarray(levels.etched(bit)).save(folder / f"etch-{bit + 1}.png", dpi=(dots, dots))


def _write_tiff(path: Path, values: npt.NDArray[Any], cell: float, description: str) -> None:
    # Picometres are whole numbers for any cell that is meant, and TIFF's resolution is a fraction of 32 bits.
    per_centimetre = Fraction(10**10, max(1, round(cell * 1e12))).limit_denominator(2**31)
    resolution = IFDRational(per_centimetre.numerator, per_centimetre.denominator)
    tags = {270: description, 282: resolution, 283: resolution, 296: 3}
    Image.fromarray(values).save(path, tiffinfo=tags)


def zones_csv(mask: SpiralMask, diameter: float) -> str:
    """List the zones of a spiral mask: radii in metres, turns of phase around the centre (charge)."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["zone", "inner_radius_m", "outer_radius_m", "charge"])
    lobes, confinement = float(mask.lobes), float(mask.confinement)
    edges = [diameter / 2 * float(zone_radius(zone, mask.zones, confinement)) for zone in range(mask.zones + 1)]
    for zone in range(1, mask.zones + 1):
        inner, outer, charge = edges[zone - 1], edges[zone], float(zone_charge(zone, lobes))
        writer.writerow([zone, f"{inner:.9g}", f"{outer:.9g}", f"{charge:.9g}"])
    return text.getvalue()
