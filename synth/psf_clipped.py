"""Cat's eyes: the shadow of an aperture that the lens's barrel clips, more so the farther from the axis.

A window of the barrel, in front of the aperture or behind it, is seen displaced against the aperture by a point off the
axis, in proportion to the point's position in the picture. Light passes where both overlap.
"""

import math
from functools import cache
from typing import Literal

import numpy as np
import numpy.typing as npt

from .. import InputError
from .apertures import clipped_aperture, round_aperture
from .camera import ThinLens
from .psf_field import FieldBank
from .psf_shaped import ShapeBank
from .psf_shapes import aperture_kernel, checked_pattern

Float64 = npt.NDArray[np.float64]

MOST_NODES = 33
MOST_CLIPPING = 0.9
CELLS = 128
"""Coarser apertures are divided into at least so many cells a side, to be cut by the window's edge."""


def cat_eye_bank(
    lens: ThinLens,
    transmission: npt.ArrayLike | None = None,
    *,
    clipping: float,
    rim: float,
    side: Literal["front", "rear"],
    nodes: int,
    coc_step: float,
) -> FieldBank[ShapeBank]:
    """Bank of an aperture that a round window of the barrel clips, displaced in proportion to the field position.

    Kernels have unit sum: the shape of the blur changes over the picture, its brightness does not.

    Parameters
    ----------
    lens
        Its aperture diameter is the side of the pattern's square.
    transmission
        (n, n), 0 to 1, as for `PsfBank.aperture`; round if None.
    clipping
        Share of a round pupil that the window hides in the picture's corners, above 0 and up to 0.9. Beyond them it
        hides at most half of what it leaves there.
    rim
        Radius of the window over that of the pupil, as projected through the pupil: 1 or more. At 1 clipping begins at
        the centre of the picture; the larger, the farther out, as when a lens is stopped down.
    side
        Where the window stands: before the aperture ("front": the side of the pupil that lies towards the point is
        hidden), or behind ("rear": the other one).
    nodes
        Rows and columns of the square grid of field positions from -1 to 1 half-diagonal that have kernels of their
        own, odd; see `psf_field`.
    coc_step
        Pixels of CoC between two kernels.

    Raises
    ------
    InputError
        If a parameter is out of range, or the window leaves no light of the aperture somewhere.
    """
    _check(clipping, rim, side, nodes)
    pattern = round_aperture() if transmission is None else checked_pattern(transmission)
    pattern = np.asarray(np.kron(pattern, np.ones((math.ceil(CELLS / len(pattern)),) * 2)), np.float64)
    at_corner = window_displacement(clipping, rim)
    most = window_displacement((1.0 + clipping) / 2.0, rim)
    # Seen from a point to the right, what stands before the pupil is displaced to the left, and vice versa.
    sign = -1.0 if side == "front" else 1.0
    positions = np.linspace(-1.0, 1.0, nodes)
    banks = []
    for y in positions:
        for x in positions:
            moved = sign * min(at_corner, most / max(math.hypot(y, x), 1.0))
            banks.append(_clipped_bank(lens, pattern, (moved * y, moved * x), rim, coc_step))
    facts = {
        "kind": "cat-eye", "clipping": clipping, "rim": rim, "side": side, "coc_step": coc_step,
        "transmission": "round" if transmission is None else np.asarray(transmission).tolist(),
    }  # fmt: skip
    return FieldBank("cat-eye", tuple(banks), positions, positions, facts)


def window_displacement(clipping: float, rim: float) -> float:
    """How far a window must be displaced, in pupil radii, to hide a share of a round pupil.

    Parameters
    ----------
    clipping
        0 to 1, both excluded.
    rim
        Radius of the window over that of the pupil, 1 or more.
    """
    low, high = rim - 1.0, rim + 1.0
    for _ in range(60):
        middle = (low + high) / 2.0
        if overlap(middle, rim) > 1.0 - clipping:
            low = middle
        else:
            high = middle
    return (low + high) / 2.0


def overlap(distance: float, rim: float) -> float:
    """Share of the unit disk that a disk of radius `rim` covers, from its centre so many units away."""
    if distance <= rim - 1.0:
        return 1.0
    if distance >= rim + 1.0:
        return 0.0
    # Two circular segments on both sides of the common chord.
    pupil_chord = (distance**2 + 1.0 - rim**2) / (2.0 * distance)
    segments = _segment(1.0, pupil_chord) + _segment(rim, distance - pupil_chord)
    return segments / math.pi


def _segment(radius: float, distance: float) -> float:
    """Area of a disk beyond a chord so far from its centre; more than half of it if that is negative."""
    cosine = min(max(distance / radius, -1.0), 1.0)
    return radius**2 * (math.acos(cosine) - cosine * math.sqrt(1.0 - cosine**2))


def _clipped_bank(
    lens: ThinLens, pattern: Float64, centre: tuple[float, float], rim: float, coc_step: float
) -> ShapeBank:
    @cache
    def clipped() -> Float64:
        left = clipped_aperture(pattern, centre, rim)
        if not left.sum() > 1e-6 * pattern.sum():
            raise InputError("the barrel leaves no light of the aperture near a corner: lower psf.clipping.")
        return left

    return ShapeBank("aperture", lens, coc_step, lambda coc: aperture_kernel(clipped(), coc), 0.5, turns=True)


def _check(clipping: float, rim: float, side: str, nodes: int) -> None:
    if not 0 < clipping <= MOST_CLIPPING:
        raise InputError(f"psf.clipping must be above 0 and at most {MOST_CLIPPING} (of the pupil), not {clipping}.")
    if not 1 <= rim <= 100:
        raise InputError(f"psf.rim must be at least 1 (the pupil's radius) and at most 100, not {rim}.")
    if side not in ("front", "rear"):
        raise InputError(f"psf.side must be 'front' or 'rear', not {side!r}.")
    if not (isinstance(nodes, int | np.integer) and 3 <= nodes <= MOST_NODES and nodes % 2):
        raise InputError(f"psf.nodes must be an odd number from 3 to {MOST_NODES}, not {nodes!r}.")
