"""The cameras that stores were made with, and whether they are the one that a model is trained for."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import InputError
from ..synth.camera import ThinLens
from ..synth.recipe import Recipe
from .settings import LENS, CameraSettings

TOLERANCE = 1e-6
"""Relative difference up to which two numbers are the same."""


@dataclass(frozen=True, slots=True)
class Camera:
    """What a store's recipe says of its camera.

    Attributes
    ----------
    focal_length, focus_distance, pixel_pitch
        Metres; of a stack `focus_distance` is None, as its slices have their own.
    f_number
        Focal length over aperture diameter.
    psf
        Kind of the PSFs.
    depth
        Nearest and farthest depth of the scenes, metres.
    drawn
        Distributions that the recipe draws for every sample, by the dotted names of their keys; of what they decide
        the values above are typical ones.
    optics
        The recipe's whole `psf` section, JSON data.
    stack
        Its whole `stack` section, JSON data; empty for single captures.
    """

    focal_length: float
    f_number: float
    focus_distance: float | None
    pixel_pitch: float
    psf: str
    depth: tuple[float, float]
    drawn: Mapping[str, Any]
    optics: Mapping[str, Any]
    stack: Mapping[str, Any]

    @classmethod
    def of(cls, recipe: Recipe) -> "Camera":
        """Return the camera of a recipe."""
        lens, data = recipe.lens, recipe.to_dict()
        optical = {n: d.table() for n, d in recipe.draws.items() if n.split(".")[0] in ("camera", "psf", "stack")}
        return cls(
            focal_length=lens.focal_length,
            f_number=lens.f_number,
            focus_distance=None if recipe.stack else lens.focus_distance,
            pixel_pitch=lens.pixel_pitch,
            psf=recipe.psf.kind,
            depth=recipe.scenes.depth,
            drawn=optical,
            optics=data["psf"],
            stack=data.get("stack", {}),
        )

    def to_dict(self) -> dict[str, Any]:
        """Return JSON data, for checkpoints; `of_dict` reads it."""
        return {**asdict(self), "depth": list(self.depth)}

    @classmethod
    def of_dict(cls, data: Mapping[str, Any]) -> "Camera":
        """Return the camera that `to_dict` wrote."""
        return cls(**{**data, "depth": tuple(data["depth"])})


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=TOLERANCE)
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(_same(a, b) for a, b in zip(one, other, strict=True))
    return bool(one == other)


def _words(key: str, value: Any) -> str:
    if value is None:
        return "none of its own (a stack)"
    if not isinstance(value, float):
        return str(value)[:120]
    if key == "f_number":
        return f"{value:.6g}"
    factor, unit = (1e6, "um") if key == "pixel_pitch" else (1e3, "mm") if key == "focal_length" else (1.0, "m")
    return f"{value * factor:.6g} {unit}"


def _keys(camera: Camera, psf: bool) -> dict[str, Any]:
    """Return what must agree, by names that the recipe has too; a section that differs is named by its keys."""
    keys: dict[str, Any] = {name: getattr(camera, name) for name in LENS}
    # Where a key is drawn it is the distribution that must agree, not its typical value.
    keys |= {name.removeprefix("camera."): table for name, table in camera.drawn.items()}
    for section, values in (("psf", camera.optics), ("stack", camera.stack)):
        keys |= {f"{section}.{key}": value for key, value in values.items() if f"{section}.{key}" not in keys}
    return keys if psf else {key: value for key, value in keys.items() if not key.startswith("psf.")}


def check_cameras(
    cameras: Mapping[str, Camera], expected: CameraSettings, *, mixed: bool = False, psf: bool = True
) -> None:
    """Refuse stores whose cameras differ among themselves, or from the one that is expected.

    A network learns the blur of one camera; on another's pictures its depths are wrong without a sign of it.

    Parameters
    ----------
    cameras
        By the name of the store; also those of validation data, or of a checkpoint.
    expected
        What a configuration says.
    mixed
        Whether differences are wanted.
    psf
        Whether the PSFs of the cameras must agree: those of sharp pictures are not seen.

    Raises
    ------
    InputError
        Naming the key that differs, and both values.
    """
    if mixed or not cameras:
        return
    how = "give data that one camera made, or set mixed_cameras = true."
    for name, camera in cameras.items():
        found = {**_keys(camera, psf), "psf": camera.psf}
        for key, value in expected.model_dump(exclude_none=True).items():
            if not _same(found[key], value):
                raise InputError(
                    f"camera.{key} is {_words(key, value)} in the configuration and {_words(key, found[key])} in "
                    f"{name}: correct the one, or set mixed_cameras = true."
                )
    first, *others = cameras
    reference = _keys(cameras[first], psf)
    for name in others:
        keys = _keys(cameras[name], psf)
        for key in dict.fromkeys((*reference, *keys)):
            ours, theirs = reference.get(key, "not given"), keys.get(key, "not given")
            if not _same(ours, theirs):
                raise InputError(f"{key} is {_words(key, ours)} in {first} and {_words(key, theirs)} in {name}: {how}")


def common_lens(cameras: Sequence[Camera]) -> ThinLens | None:
    """Return the lens that all cameras have, with all of their samples; None if there is none."""
    first = cameras[0]
    numbers = [(one.focal_length, one.f_number, one.focus_distance, one.pixel_pitch) for one in cameras]
    drawn = any(name.startswith("camera.") for one in cameras for name in one.drawn)
    if drawn or first.focus_distance is None or any(one != numbers[0] for one in numbers):
        return None
    return ThinLens(
        focal_length=first.focal_length,
        f_number=first.f_number,
        focus_distance=first.focus_distance,
        pixel_pitch=first.pixel_pitch,
    )


def common_capture(recipes: Sequence[Recipe]) -> ThinLens | None:
    """Return the lens that all recipes have, focused as their single captures are; None if there is none.

    Unlike `common_lens` it has one for stacks too, unless their slices differ in f-number: what blurs a picture is told
    by the lens and by where each picture is focused.
    """
    lenses = [recipe.lens for recipe in recipes]
    drawn = any(name.startswith("camera.") for recipe in recipes for name in recipe.draws)
    several = any(recipe.stack is not None and recipe.stack.f_numbers for recipe in recipes)
    return None if drawn or several or any(lens != lenses[0] for lens in lenses) else lenses[0]


def common_depth(cameras: Sequence[Camera]) -> tuple[float, float]:
    """Return the nearest and the farthest depth of all cameras' scenes, metres."""
    return min(one.depth[0] for one in cameras), max(one.depth[1] for one in cameras)


class LensTable:
    """The lens of each sample of a store.

    Attributes
    ----------
    drawn
        Names of what the recipe draws: the numbers that `lens` takes.

    Parameters
    ----------
    recipe
        The store's recipe.
    """

    def __init__(self, recipe: Recipe) -> None:
        self.drawn = tuple(recipe.draws)
        self._recipe = recipe
        self._typical = _columns(recipe)
        # All else that is drawn either leaves the lens alone, or has the whole recipe decide it.
        direct = {f"camera.{name}": column for column, name in enumerate(LENS)}
        self._direct = {place: direct[name] for place, name in enumerate(self.drawn) if name in direct}
        through = [name for name in self.drawn if name not in direct]
        self._simple = not any(name.split(".")[0] in ("camera", "psf") for name in through)
        self._simple = self._simple and recipe.camera.defocus is None

    def lens(self, numbers: Sequence[float] = ()) -> npt.NDArray[np.float64]:
        """Return focal length, f-number, focus distance (NaN of stacks) and pixel pitch, (4,) float64.

        Parameters
        ----------
        numbers
            What was drawn for the sample, as `drawn` of the store has it.
        """
        if not numbers:
            return self._typical
        if not self._simple:
            return _columns(self._recipe.as_drawn(numbers))
        columns = self._typical.copy()
        for place, column in self._direct.items():
            columns[column] = numbers[place]
        if self._recipe.stack:
            columns[LENS.index("focus_distance")] = math.nan
        return columns


def _columns(recipe: Recipe) -> npt.NDArray[np.float64]:
    lens = recipe.lens
    focus = math.nan if recipe.stack else lens.focus_distance
    return np.array([lens.focal_length, lens.f_number, focus, lens.pixel_pitch])
