"""Apertures: how much light passes each point of the square around the pupil, as the camera sees it.

All are (n, n) float64 from 0 to 1, [y, x], row 0 at the top; the pupil's circle is inscribed in the square. Give one to
`PsfBank.aperture`, or as the pattern of an `AmplitudeMask`.
"""

import math
from pathlib import Path

import numpy as np
import numpy.typing as npt

from .. import InputError
from .psf_shapes import overlaps, quadrant_area
from .pupil.patterns import PATTERNS

Float64 = npt.NDArray[np.float64]

LATTICE = (377, 233)
"""Points of a Fibonacci lattice in each cell at a polygon's edge, which resolve an edge of any direction alike."""
MOST_SAMPLES = 512
"""Larger pictures are averaged down to so many cells a side."""


def round_aperture(samples: int = 256, obstruction: float = 0.0) -> Float64:
    """Round aperture, by the exact area of each cell inside it.

    Parameters
    ----------
    samples
        Cells along a side.
    obstruction
        Radius of an opaque disk at the centre (a mirror lens), over the aperture's radius.

    Raises
    ------
    InputError
        If there are not 2 to 4096 samples, or the obstruction is not in 0 to 1, 1 excluded.
    """
    edges = _edges(samples)
    if not 0 <= obstruction < 1:
        raise InputError(
            f"an aperture's obstruction must be at least 0 and below 1 (of its radius), not {obstruction}."
        )
    covered = _disk_area(edges, 1.0)
    if obstruction:
        covered -= _disk_area(edges, obstruction)
    return _shares(covered)


def _edges(samples: int) -> Float64:
    if not (samples == int(samples) and 2 <= samples <= 4096):
        raise InputError(f"an aperture needs 2 to 4096 samples along a side, not {samples}.")
    return np.linspace(-1.0, 1.0, int(samples) + 1)


def _disk_area(edges: Float64, radius: float, centre: tuple[float, float] = (0.0, 0.0)) -> Float64:
    """Area of each cell that lies within a disk, its centre (y, x) in pupil radii."""
    y, x = edges - centre[0], edges - centre[1]
    corners = quadrant_area(x[None, :], y[:, None], radius)
    return np.asarray(np.diff(np.diff(corners, axis=0), axis=1))


def _shares(area: Float64) -> Float64:
    """Share of each cell that an area in it is; cells wholly in or out are exactly 1 or 0, not what rounding leaves."""
    share = np.clip(area / (2.0 / len(area)) ** 2, 0.0, 1.0)
    return np.asarray(np.where(np.abs(share - np.rint(share)) < 1e-9, np.rint(share), share))


def polygon_aperture(blades: int, *, roundness: float = 0.0, rotation: float = 0.0, samples: int = 256) -> Float64:
    """Iris of several blades: a regular polygon inscribed in the pupil's circle, straight or with curved sides.

    Each side is a circular arc between two corners, as a blade's edge is, with `roundness` times the curvature of the
    pupil's circle. Cells at the edge are averaged over the points of `LATTICE`: their error is below
    0.02, without a bias.

    Parameters
    ----------
    blades
        Corners, 3 or more.
    roundness
        0 for straight sides, up to 1 for a circle.
    rotation
        Radians, counter-clockwise in the picture; at 0 a corner points up.
    samples
        Cells along a side.

    Raises
    ------
    InputError
        If a parameter is out of range.
    """
    edges = _edges(samples)
    if not (blades == int(blades) and 3 <= blades <= 64):
        raise InputError(f"an iris needs 3 to 64 blades, not {blades}: use round_aperture for a circle.")
    if not 0 <= roundness <= 1:
        raise InputError(f"an iris's roundness must be between 0 (straight) and 1 (a circle), not {roundness}.")
    if not math.isfinite(rotation):
        raise InputError(f"an iris's rotation must be a number of radians, not {rotation}.")
    cell = 2.0 / samples
    middle = edges[:-1] + cell / 2
    beyond = _beyond_side(middle[None, :], middle[:, None], int(blades), roundness, rotation)
    pattern = np.where(beyond < 0.0, 1.0, 0.0)
    # `beyond` grows by at most 1 / cos(pi / blades), 2 or less, times the distance moved.
    row, column = np.nonzero(np.abs(beyond) < 2.0 * cell)
    inside = np.zeros(len(row))
    points, step = LATTICE
    for point in range(points):
        x = edges[column] + cell * (point + 0.5) / points
        y = edges[row] + cell * (step * point % points + 0.5) / points
        inside += _beyond_side(x, y, int(blades), roundness, rotation) <= 0.0
    pattern[row, column] = inside / points
    return pattern


def _beyond_side(x: Float64, y: Float64, blades: int, roundness: float, rotation: float) -> Float64:
    """How far a point lies beyond the side of its sector, in pupil radii along the sector's axis; negative inside."""
    half = math.pi / blades
    # Turned into one sector: `along` its axis, at right angles to the chord between two corners, and `across` it.
    angle = (np.arctan2(-x, -y) - rotation) % (2.0 * half) - half
    radius = np.hypot(x, y)
    along, across = radius * np.cos(angle), radius * np.sin(angle)
    # How far the arc stands out from the chord; written without 1 / roundness, which may be 0.
    bow = np.sqrt(np.maximum(1.0 - (roundness * across) ** 2, 0.0)) + math.sqrt(1.0 - (roundness * math.sin(half)) ** 2)
    return np.asarray(along - math.cos(half) - roundness * (math.sin(half) ** 2 - across**2) / np.maximum(bow, 1e-9))


def clipped_aperture(transmission: Float64, centre: tuple[float, float], radius: float) -> Float64:
    """Return what a round window leaves of an aperture, by the area of each cell that it lets through.

    Parameters
    ----------
    transmission
        (n, n) float64, the square around the pupil.
    centre
        (y, x) of the window, in pupil radii from the pupil's centre, y downwards.
    radius
        Of the window, in pupil radii.

    Returns
    -------
    (n, n) float64. In the few cells that the window's edge crosses together with another, shares are multiplied.
    """
    edges = _edges(len(transmission))
    seen, pupil = _shares(_disk_area(edges, radius, centre)), _shares(_disk_area(edges, 1.0))
    # Where the pupil's own edge cuts a cell, what lies beyond that is opaque already: on the axis both edges coincide.
    passed = np.where(pupil > 0.0, np.minimum(seen / np.maximum(pupil, 1e-9), 1.0), seen)
    return np.asarray(passed * transmission)


def coded_aperture(name: str) -> Float64:
    """Coded aperture by name: one of `PATTERNS`, one cell a sample.

    Raises
    ------
    InputError
        If there is no pattern of that name.
    """
    if name not in PATTERNS:
        raise InputError(
            f"there is no coded aperture {name!r}; there are {', '.join(PATTERNS)}: give any other as a picture of its "
            "cells, with picture_aperture."
        )
    return PATTERNS[name].astype(np.float64)


def picture_aperture(path: str | Path) -> Float64:
    """Aperture from a square picture: white is open, black opaque, grey passes light in proportion to its number.

    Numbers are taken as they are, without gamma, over 255 or 65535; of colours the mean of R, G and B. A picture of
    more than `MOST_SAMPLES` pixels a side is averaged down to that, by area.

    Parameters
    ----------
    path
        PNG, TIFF or another format that `read_image` knows.

    Raises
    ------
    InputError
        If the picture cannot be read, is not square, or is black all over.
    """
    from .readers.files import read_image

    picture = read_image(Path(path))
    if picture.dtype.kind == "f":
        raise InputError(f"{path} is a picture of linear light: give the aperture as PNG, white where light passes.")
    height, width = picture.shape[:2]
    if height != width:
        raise InputError(
            f"{path} has {width} x {height} pixels: crop the picture of an aperture to the square around the pupil."
        )
    if not picture.any():
        raise InputError(f"{path} is black all over, an aperture without light: white must mean open.")
    pattern = picture.mean(axis=2) / (255 if picture.dtype == np.uint8 else 65535)
    if width > MOST_SAMPLES:
        share = overlaps(np.linspace(0.0, width, MOST_SAMPLES + 1), np.arange(width + 1.0)) * (MOST_SAMPLES / width)
        pattern = np.clip(share @ pattern @ share.T, 0.0, 1.0)
    return np.asarray(pattern, np.float64)
