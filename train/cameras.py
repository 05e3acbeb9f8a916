"""The cameras that stores were made with, and whether they are the one that a model is trained for."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
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
    capture_focus
        Where the single captures beside a stack are focused, metres; None where there are none.
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
    capture_focus: float | None = None

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
            capture_focus=lens.focus_distance if recipe.stack and _captures(recipe) else None,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return JSON data, for checkpoints; `of_dict` reads it."""
        data = {**asdict(self), "depth": list(self.depth)}
        if self.capture_focus is None:
            # Runs from before it was told are resumed by comparing these.
            del data["capture_focus"]
        return data

    @classmethod
    def of_dict(cls, data: Mapping[str, Any]) -> "Camera":
        """Return the camera that `to_dict` wrote."""
        return cls(**{**data, "depth": tuple(data["depth"])})


def _captures(recipe: Recipe) -> bool:
    """Whether samples hold pictures at the focus of single captures."""
    return recipe.stack is None or bool({"capture", "dual", "raw"} & set(recipe.arrays))


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
    if key == "stack.range":
        return f"{value[0]:.6g} to {value[1]:.6g} m" if isinstance(value[0], float) else str(value[0])
    if not isinstance(value, float):
        return str(value)[:120]
    if key == "f_number":
        return f"{value:.6g}"
    factor, unit = (1e6, "um") if key == "pixel_pitch" else (1e3, "mm") if key == "focal_length" else (1.0, "m")
    return f"{value * factor:.6g} {unit}"


_SCHEDULE = {
    f"stack.{key}"
    for key in ("focus", "slices", "near", "far", "far_over_near", "spacing", "power", "quantiles", "order")
}
"""Keys of a stack that say where its slices are focused."""


def _range(stack: Mapping[str, Any]) -> tuple[float, float] | tuple[str]:
    """Return the nearest and the farthest focus distance of stacks, metres, or who decides them."""
    if stack.get("focus"):
        return float(min(stack["focus"])), float(max(stack["focus"]))
    if stack["spacing"] == "quantiles":
        return (f"quantiles {list(stack['quantiles'])} of each scene's depths",)
    far = stack.get("far")
    return float(stack["near"]), float(stack["near"] * stack["far_over_near"] if far is None else far)


def _keys(camera: Camera, psf: bool, captures: bool) -> dict[str, Any]:
    """Return what must agree, by names that the recipe has too; a section that differs is named by its keys.

    Of the slices of a stack it is their range that must agree, not their number, order and spacing: models of stacks
    are told each distance.
    """
    keys: dict[str, Any] = {name: getattr(camera, name) for name in LENS}
    # Where a key is drawn it is the distribution that must agree, not its typical value.
    keys |= {name.removeprefix("camera."): table for name, table in camera.drawn.items()}
    if camera.stack:
        keys["stack.range"] = _range(camera.stack)
        keys |= {"focus_distance of captures": camera.capture_focus} if captures else {}
    for section, values in (("psf", camera.optics), ("stack", camera.stack)):
        named = {f"{section}.{key}": value for key, value in values.items()}
        keys |= {key: value for key, value in named.items() if key not in keys and key not in _SCHEDULE}
    return keys if psf else {key: value for key, value in keys.items() if not key.startswith("psf.")}


def check_cameras(
    cameras: Mapping[str, Camera], expected: CameraSettings, *, mixed: bool = False, psf: bool = True,
    captures: bool = False, allow: str = ", or set data.mixed_cameras = true",
) -> None:  # fmt: skip
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
    captures
        Whether single captures beside stacks are seen, and must be focused alike.
    allow
        How a message goes on that says what to do; "" where cameras cannot be mixed by a setting.

    Raises
    ------
    InputError
        Naming the key that differs, and both values.
    """
    if mixed or not cameras:
        return
    how = f"give data that one camera made{allow}."
    for name, camera in cameras.items():
        found = {**_keys(camera, psf, captures), "psf": camera.psf}
        for key, value in expected.model_dump(exclude_none=True).items():
            if not _same(found[key], value):
                raise InputError(
                    f"camera.{key} is {_words(key, value)} in the configuration and {_words(key, found[key])} in "
                    f"{name}: correct the one{allow}."
                )
    first, *others = cameras
    reference = _keys(cameras[first], psf, captures)
    for name in others:
        keys = _keys(cameras[name], psf, captures)
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


def common_numbers(cameras: Sequence[Camera]) -> dict[str, float]:
    """Return those numbers of the lens that all samples of all cameras have, by their names; none if some differ.

    Of stacks the focus distance is not among them, and the f-number is only where all slices have one.
    """
    first = cameras[0]
    if common_lens([_focused(one) for one in cameras]) is None:
        return {}
    several = any(one.stack.get("f_numbers") for one in cameras)
    names = [name for name in LENS if not (name == "f_number" and several)]
    return {name: value for name in names if (value := getattr(first, name)) is not None}


def _focused(camera: Camera) -> Camera:
    return camera if camera.focus_distance is not None else replace(camera, focus_distance=math.inf)


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
    """The lens of each sample of a store, focused as its single captures are.

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
        """Return focal length, f-number, focus distance and pixel pitch, (4,) float64.

        The focus distance of stacks without single captures is NaN.

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
        if not _captures(self._recipe):
            columns[LENS.index("focus_distance")] = math.nan
        return columns


def _columns(recipe: Recipe) -> npt.NDArray[np.float64]:
    lens = recipe.lens
    focus = lens.focus_distance if _captures(recipe) else math.nan
    return np.array([lens.focal_length, lens.f_number, focus, lens.pixel_pitch])
