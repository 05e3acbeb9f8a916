"""Masks whose parameters are learned: modules that give a `Mask` with gradients, kept in range by how they are written.

Every parameter is a number without unit (`Bounded.raw`), so that one learning rate means much the same for all of them:
a step of 0.01 moves a value by up to 1/400 of its range. The 1e-8 of PhaseCam3D and the 1e-9 of Ikoma et al. 2021 are
for heights in metres, and would not move anything here.
"""

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from ... import InputError
from ...synth.pupil import AmplitudeMask, HeightMap, Mask, RadialMask, SpiralMask, ZernikeMask, mask_from
from ...synth.pupil.base import real_number
from ...synth.pupil.designs import FISHER_COEFFICIENTS
from ...synth.pupil.files import load_mask
from ...synth.pupil.patterns import PATTERNS
from ...synth.pupil.phase import phase_of_height
from ..seeds import key
from .mask_settings import (
    AmplitudeSection,
    Bound,
    FileSection,
    HeightSection,
    MaskSection,
    RadialSection,
    SpiralSection,
    ZernikeSection,
)

__all__ = ["Bounded", "LearnedMask", "MaskSection", "build_mask"]

Values = npt.NDArray[np.float64]

LEAST_TRANSMISSION = 1e-6
"""Of a cell that is learned: the amplitude, its square root, has no gradient at 0."""
OPEN_AND_CLOSED = (0.95, 0.05)
"""Transmissions that a learned aperture starts from where its pattern is so: at 1 and 0 nothing would be learned."""


class Bounded(nn.Module):
    """Numbers within a range, by a parameter that knows no range.

    Parameters
    ----------
    start
        Where they start, any shape, inside the range.
    low, high
        The range.
    bound
        "sigmoid": ``low + (high - low) sigmoid(raw)``, which a tanh is too, of half the argument. "wrap":
        ``low + (high - low) (raw mod 1)``.
    """

    def __init__(self, start: Any, low: float, high: float, bound: Bound = "sigmoid") -> None:
        super().__init__()
        self.low, self.high, self.bound = low, high, bound
        share = (np.asarray(start, np.float64) - low) / (high - low)
        raw = np.log(share / (1 - share)) if bound == "sigmoid" else share
        self.raw = nn.Parameter(torch.as_tensor(raw, dtype=torch.float32))

    def forward(self) -> Tensor:
        """Return the numbers."""
        share = torch.sigmoid(self.raw) if self.bound == "sigmoid" else torch.remainder(self.raw, 1.0)
        # Rounding must not leave the range.
        return (self.low + (self.high - self.low) * share).clamp(self.low, self.high)


class LearnedMask(nn.Module):
    """What stands in the pupil while it is learned."""

    def mask(self) -> Mask:
        """Return the mask as it is now; gradients pass through its parameters."""
        raise TypeError(f"{type(self).__name__} does not say what mask it is.")

    def penalty(self) -> Tensor:
        """Return what the mask adds to the loss, a scalar with its weight in it; 0 where it adds nothing."""
        return torch.zeros(())

    def numbers(self) -> dict[str, float]:
        """Parameters by name, in plain units, for logs."""
        return {}

    @torch.no_grad()
    def finished(self) -> Mask:
        """Return the mask as it is now without gradients, on numpy: what is written to files."""
        return mask_from(self.mask().to_dict())


class LearnedSpiral(LearnedMask):
    """Spiral zones: N and epsilon."""

    def __init__(self, section: SpiralSection) -> None:
        super().__init__()
        self.fixed = _base(section) | {"zones": section.zones, "gain": section.gain}
        self.form = section.form
        self.lobes, self.confinement = (
            _Frozen(start) if name in section.frozen else Bounded(start, *limits)
            for name, start, limits in (
                ("lobes", section.lobes, section.lobes_range),
                ("confinement", section.confinement, section.confinement_range),
            )
        )

    def mask(self) -> Mask:
        """Return the mask as it is now."""
        return SpiralMask(lobes=self.lobes(), confinement=self.confinement(), form=self.form, **self.fixed)

    def numbers(self) -> dict[str, float]:
        """N and epsilon."""
        return {name: real_number(name, getattr(self, name)()) for name in ("lobes", "confinement")}

    @torch.no_grad()
    def finished(self, form: str | None = None) -> Mask:
        """Return the mask on numpy, in the form that was learned or in another, as "hard" zones are made."""
        return mask_from(self.mask().to_dict() | ({} if form is None else {"form": form}))


class LearnedZernike(LearnedMask):
    """Zernike coefficients from `first` to `last`; those before stay what they are."""

    before: Tensor

    def __init__(self, section: ZernikeSection) -> None:
        super().__init__()
        self.fixed, self.first = _base(section) | {"wrapped": section.wrapped}, section.first
        given = section.coefficients
        start = FISHER_COEFFICIENTS if given == "fisher" else () if isinstance(given, str) else given
        values = np.zeros(section.last)
        values[: len(start)] = start[: section.last]
        if given == "zero" and section.wrapped and section.first > 1:
            # In the middle of the turn: at phase 0 every height would jump to the other end at the first step.
            values[0] = math.pi
        self.register_buffer("before", torch.from_numpy(values[: section.first - 1]).float())
        self.learned = Bounded(values[section.first - 1 :], -section.limit, section.limit)

    def mask(self) -> Mask:
        """Return the mask as it is now."""
        return ZernikeMask(torch.cat([self.before, self.learned()]), **self.fixed)

    def numbers(self) -> dict[str, float]:
        """Every learned coefficient by Noll's number, and the root mean square of their phase, radians."""
        values = self.learned().detach().double()
        named = {f"z{j}": float(value) for j, value in enumerate(values, start=self.first)}
        return {"rms": float(values.square().sum().sqrt()), **named}


class _LearnedSurface(LearnedMask):
    """Heights between two ends."""

    def __init__(self, heights: Bounded, fixed: dict[str, Any], smoothness: float) -> None:
        super().__init__()
        self.heights, self.fixed, self.smoothness = heights, fixed, smoothness

    def penalty(self) -> Tensor:
        """Return the weighted mean squared step of the phase between neighbours; of wrapped ones modulo a turn."""
        heights: Tensor = self.heights()
        if not self.smoothness:
            return 0.0 * heights.sum()
        mask = self.mask()
        phase = phase_of_height(heights, mask.wavelength, mask.material.index(mask.wavelength))
        steps = torch.cat([phase.diff(dim=axis).reshape(-1) for axis in range(phase.ndim)])
        # Of small steps both are the same; across the end of a wrapped range there is no step.
        squares = 2 - 2 * torch.cos(steps) if self.heights.bound == "wrap" else steps.square()
        return squares.mean() * self.smoothness

    def numbers(self) -> dict[str, float]:
        """Lowest, mean and highest height, nanometres."""
        heights = self.heights().detach().double() * 1e9
        return {"lowest_nm": float(heights.min()), "mean_nm": float(heights.mean()), "highest_nm": float(heights.max())}


class LearnedHeights(_LearnedSurface):
    """A free height map."""

    def mask(self) -> Mask:
        """Return the mask as it is now."""
        return HeightMap(self.heights(), **self.fixed)


class LearnedRadial(_LearnedSurface):
    """A radially symmetric profile."""

    def mask(self) -> Mask:
        """Return the mask as it is now."""
        return RadialMask(self.heights(), **self.fixed)


class LearnedAmplitude(LearnedMask):
    """Transmissions of cells."""

    def __init__(self, transmission: Bounded, fixed: dict[str, Any], binary: float = 0.0) -> None:
        super().__init__()
        self.transmission, self.fixed, self.binary = transmission, fixed, binary

    def mask(self) -> Mask:
        """Return the mask as it is now."""
        return AmplitudeMask(self.transmission(), **self.fixed)

    def penalty(self) -> Tensor:
        """Return the weighted mean of 4 t (1 - t)."""
        t: Tensor = self.transmission()
        return (4 * t * (1 - t)).mean() * self.binary

    def numbers(self) -> dict[str, float]:
        """Mean transmission, and the share of cells that are nearer to open or closed than to a half."""
        t = self.transmission().detach()
        return {"transmission": float(t.mean()), "decided": float(((t - 0.5).abs() > 0.25).double().mean())}


class KeptMask(LearnedMask):
    """A mask that is not learned."""

    def __init__(self, mask: Mask) -> None:
        super().__init__()
        self._mask = mask

    def mask(self) -> Mask:
        """Return the mask."""
        return self._mask


class _Frozen(nn.Module):
    """A number that stays exactly what it is."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = value

    def forward(self) -> float:
        return self.value


def build_mask(section: MaskSection, seed: int) -> LearnedMask:
    """Make a mask that is learned from what a config says.

    Parameters
    ----------
    section
        See `mask_settings`.
    seed
        The run's; of it come the random parts of a start, and they alone.

    Raises
    ------
    InputError
        If a file cannot be used, or holds a mask that cannot be learned on.
    """
    match section:
        case SpiralSection():
            return LearnedSpiral(section)
        case ZernikeSection():
            return LearnedZernike(section)
        case HeightSection():
            heights = Bounded(_surface(section, (section.cells, section.cells), seed), 0.0, section.top, section.bound)
            return LearnedHeights(heights, _base(section), section.smoothness)
        case RadialSection():
            heights = Bounded(_surface(section, (section.rings,), seed), 0.0, section.top, section.bound)
            return LearnedRadial(heights, _base(section) | {"form": section.form}, section.smoothness)
        case AmplitudeSection():
            transmission = _transmissions(_transmission(section, seed))
            return LearnedAmplitude(transmission, _base(section) | {"square": section.square}, section.binary)
        case FileSection():
            mask = load_mask(section.path)
            return _learned_on(mask, section) if section.learn else KeptMask(mask)


def _base(mask: Any) -> dict[str, Any]:
    return {"wavelength": mask.wavelength, "glass": mask.glass, "obstruction": mask.obstruction}


def _random(seed: int, shape: tuple[int, ...]) -> Values:
    generator = np.random.Generator(np.random.Philox(key=key(seed, "mask")))
    return np.asarray(generator.standard_normal(shape))


def _surface(section: HeightSection | RadialSection, shape: tuple[int, ...], seed: int) -> Values:
    share = section.start + section.spread * _random(seed, shape)
    return np.asarray(np.clip(share, 0.01, 0.99) * section.top)


def _transmission(section: AmplitudeSection, seed: int) -> Values:
    if section.pattern is not None:
        return np.where(PATTERNS[section.pattern] > 0, *OPEN_AND_CLOSED)
    return np.clip(section.start + section.spread * _random(seed, (section.cells,) * 2), 0.01, 0.99)


def _transmissions(start: Values) -> Bounded:
    return Bounded(start, LEAST_TRANSMISSION, 1 - LEAST_TRANSMISSION)


def _learned_on(mask: Mask, section: FileSection) -> LearnedMask:
    """Return a module that starts from a mask of a file, with the default ranges of its kind or wider ones."""
    base, origin = _base(mask), f"the mask in {section.path}"
    match mask:
        case SpiralMask():
            if mask.form == "hard":
                raise InputError(
                    f"{origin} has hard zones, which have no gradient: save it in the form rings or blend."
                )
            return LearnedSpiral(_spiral_of(mask, base, origin))
        case ZernikeMask():
            values = tuple(np.asarray(mask.coefficients, np.float64).tolist())
            limit = max(math.pi / 2, 1.25 * max(abs(value) for value in values))
            last, wrapped = max(len(values), 4), mask.wrapped
            made = ZernikeSection(kind="zernike", coefficients=values, last=last, limit=limit, wrapped=wrapped, **base)
            return LearnedZernike(made)
        case HeightMap():
            return LearnedHeights(_around(mask.heights, mask), base, section.smoothness)
        case RadialMask():
            return LearnedRadial(_around(mask.heights, mask), base | {"form": mask.form}, section.smoothness)
        case AmplitudeMask():
            softened = np.clip(np.asarray(mask.transmission, np.float64), OPEN_AND_CLOSED[1], OPEN_AND_CLOSED[0])
            return LearnedAmplitude(_transmissions(softened), base | {"square": mask.square})
        case _:
            raise InputError(f"{origin} ({mask.name}) has no parameters that are learned: set learn = false.")


def _spiral_of(mask: SpiralMask, base: dict[str, Any], origin: str) -> SpiralSection:
    try:
        return SpiralSection(
            kind="spiral", zones=int(mask.zones), lobes=float(mask.lobes), confinement=float(mask.confinement),
            form=mask.form, gain=float(mask.gain), **base,
        )  # fmt: skip
    except ValidationError as error:
        found = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise InputError(f"{origin} cannot be learned on ({found}): use kind = 'spiral' with wider ranges.") from None


def _around(heights: Any, mask: Mask) -> Bounded:
    """Heights that start as a file has them, in a range of a turn or more about them."""
    values = np.asarray(heights, np.float64)
    turn = mask.wavelength / (mask.material.index(mask.wavelength) - 1)
    low, high = float(values.min()), float(values.max())
    room = max((turn - (high - low)) / 2, 0.05 * turn)
    return Bounded(values, low - room, high + room)
