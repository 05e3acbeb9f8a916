"""Distributions: values of a recipe that are drawn anew for every sample.

Where a recipe has a number or a word of its camera, PSF, sensor or stack, it may have a table in its place:
``{ uniform = [a, b] }``, ``{ log-uniform = [a, b] }``, ``{ inverse-uniform = [a, b] }`` (uniform in 1/x, for
distances), ``{ choice = [...], weights = [...] }``, ``{ from = "intrinsics" }`` (a focal length: what the scene's
intrinsics say), ``{ from = "views" }`` (an f-number: that of a light field's aperture), ``{ from = "depth", quantiles =
[p, q] }`` (a distance: uniform in 1/x between two quantiles of the scene's depths), or ``{ original = x }`` (a pixel
pitch: x in the files' images, larger as they are made smaller). Each is drawn by (seed, sample, name), so that no other
changes when one is added.
"""

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import InputError
from .lightfield import LightField
from .scene import Scene
from .seeding import Purpose, generator
from .units import parse_length

SECTIONS = ("camera", "psf", "sensor", "stack")
RANGES = ("uniform", "log-uniform", "inverse-uniform")
KINDS = (*RANGES, "choice", "from", "original")
_BESIDES = {"choice": {"weights"}, "from": {"quantiles"}}
MOST_WEIGHT = 1e9
FIRST = ("camera.pixel_pitch", "camera.focal_length")
"""What is drawn before what depends on it."""
MOST_SKEW = 1.05
"""Ratio of a scene's two focal lengths, in pixels, that is still taken as one."""
WIDEST_VIEWS = 8.0
"""F-number that stands for a light field's until one is read."""
OF_SCENES = {"intrinsics": "camera.focal_length", "views": "camera.f_number"}
"""What a scene tells of the camera that took it, and the keys that it decides."""
DISTANCES = ("camera.focus_distance", "stack.near", "stack.far")
PROCEDURAL_FOV = 1.0
"""Radians, of a procedural scene's width: see `procedural.procedural_scene`."""

Value = Any
"""A number, or a word."""


@dataclass(frozen=True, slots=True)
class Draw:
    """A distribution.

    Attributes
    ----------
    kind
        One of `RANGES`, "choice", "original", or what of the scene decides: "depth", "intrinsics", "views".
    values
        Its ends, or what is chosen from; of "depth" its quantiles; of "original" the pixel pitch of the files' images.
    weights
        Of each choice, if they are not alike.
    """

    kind: str
    values: tuple[Value, ...]
    weights: tuple[float, ...] = ()

    @property
    def numeric(self) -> bool:
        """Whether what is drawn is a number."""
        return self.kind != "choice" or all(isinstance(value, int | float) for value in self.values)

    @property
    def of_scene(self) -> bool:
        """Whether the scene decides, and its bounds are not known before."""
        return self.kind == "depth" or self.kind in OF_SCENES

    def table(self) -> dict[str, Any]:
        """Return the distribution as a recipe writes it."""
        if self.of_scene:
            return {"from": self.kind, **({"quantiles": list(self.values)} if self.values else {})}
        if self.kind == "original":
            return {"original": self.values[0]}
        return {self.kind: list(self.values), **({"weights": list(self.weights)} if self.weights else {})}

    def number(self, value: Value) -> float:
        """Return the number that stands for a drawn value in a dataset: itself, or its place among the choices."""
        return float(value if self.numeric else self.values.index(value))

    def value(self, number: float) -> Value:
        """Return the drawn value that a number of a dataset stands for."""
        if not self.numeric:
            return self.values[int(number)]
        whole = not self.of_scene and all(isinstance(value, int) for value in self.values)
        return int(number) if whole else number


def extract(data: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Draw]]:
    """Take the distributions out of a recipe's data.

    Returns
    -------
    The data with a possible value in the place of each distribution, and the distributions by their dotted names;
    their numbers may have units yet.

    Raises
    ------
    ValueError
        Naming a distribution that cannot be one.
    """
    found: dict[str, Draw] = {}
    plain = dict(data)
    for section in SECTIONS:
        if isinstance(plain.get(section), Mapping):
            plain[section] = _extracted(plain[section], section, found)
    # Those that are drawn from others come after them, whatever the order of the keys.
    for name, draw in sorted(found.items(), key=lambda item: item[1].of_scene):
        plain = with_value(plain, name, _possible(plain, draw) if draw.of_scene else draw.values[0])
    return plain, found


def _extracted(section: Mapping[str, Any], path: str, found: dict[str, Draw]) -> dict[str, Any]:
    plain = {}
    for key, value in section.items():
        name = f"{path}.{key}"
        if isinstance(value, Mapping) and set(value) & set(KINDS):
            found[name] = _read(value, name)
        else:
            plain[key] = _extracted(value, name, found) if isinstance(value, Mapping) else value
    return plain


def _read(table: Mapping[str, Any], name: str) -> Draw:
    kind, *more = set(table) & set(KINDS)
    if more or set(table) - {kind} - _BESIDES.get(kind, set()):
        raise ValueError(f"{name}: {_shown(table)} is no distribution: give one of {', '.join(KINDS)}")
    if kind == "from":
        return _read_from(table, name)
    if kind == "original":
        if name != "camera.pixel_pitch":
            raise ValueError(f"{name}: only camera.pixel_pitch can be that of the original images")
        return Draw(kind, (table[kind],))
    values = table[kind]
    if not isinstance(values, list) or not values or (kind in RANGES and len(values) != 2):
        raise ValueError(f"{name}: {kind} needs {'its two ends' if kind in RANGES else 'a list'}, not {_shown(values)}")
    if not all(isinstance(value, str | int | float) and not isinstance(value, bool) for value in values):
        raise ValueError(f"{name}: {kind} takes numbers or words, not {_shown(values)}")
    weights = table.get("weights", [])
    fit = isinstance(weights, list) and len(weights) in (0, len(values))
    if not fit or not all(isinstance(w, int | float) and 0 < w < MOST_WEIGHT for w in weights):
        raise ValueError(f"{name}: weights must be as many positive numbers as there are choices")
    return Draw(kind, tuple(values), tuple(float(w) for w in weights))


def _read_from(table: Mapping[str, Any], name: str) -> Draw:
    if not isinstance(table["from"], str):
        raise ValueError(f"{name}: {_shown(table)} must be from 'intrinsics', 'views', or 'depth' with two quantiles")
    if table["from"] in OF_SCENES and "quantiles" not in table:
        if name != OF_SCENES[table["from"]]:
            raise ValueError(f"{name}: only {OF_SCENES[table['from']]} can be drawn from the scene's {table['from']}")
        return Draw(table["from"], ())
    quantiles = table.get("quantiles", [0.05, 0.95])
    ordered = isinstance(quantiles, list) and len(quantiles) == 2 and all(isinstance(q, int | float) for q in quantiles)
    if table["from"] != "depth" or not ordered or not 0 <= quantiles[0] <= quantiles[1] <= 1:
        raise ValueError(
            f"{name}: {_shown(table)} must be from 'intrinsics', 'views', or 'depth' with two ordered quantiles"
        )
    if name not in DISTANCES:
        raise ValueError(f"{name}: only {', '.join(DISTANCES)} can be drawn from the scene's depth")
    return Draw("depth", tuple(float(q) for q in quantiles))


def _shown(value: Any) -> str:
    return str(value)[:80]


def _possible(data: Mapping[str, Any], draw: Draw) -> float:
    try:
        return _placeholder(data, draw)
    except InputError:
        raise
    except (LookupError, TypeError, ValueError, ArithmeticError):
        # The key that it is taken from is wrong itself, and will be named.
        return 1.0


def _placeholder(data: Mapping[str, Any], draw: Draw) -> float:
    """Return what the scenes, as far as a recipe tells, would give for a value that is drawn from them."""
    scenes = data.get("scenes")
    scenes = scenes if isinstance(scenes, Mapping) else {}
    if draw.kind == "views":
        return WIDEST_VIEWS
    if draw.kind == "depth":
        near, far = (parse_length(z) for z in scenes["depth"])
        return 2 / (1 / near + 1 / far)
    pitch = parse_length(data["camera"]["pixel_pitch"])
    if scenes.get("kind") != "folder" and scenes.get("intrinsics") is None:
        # Datasets tell it scene by scene; until then they count as if they were as wide as procedural scenes.
        return pitch * 0.5 * float((scenes.get("size") or (480, 640))[1]) / math.tan(0.5 * PROCEDURAL_FOV)
    if scenes.get("intrinsics") is None:
        raise InputError("camera.focal_length: drawing it from intrinsics needs scenes.intrinsics = [fx, fy, cx, cy]")
    fx, fy, *_ = (float(value) for value in scenes["intrinsics"])
    return pitch * (fx + fy) / 2


def with_value(data: Mapping[str, Any], name: str, value: Value) -> dict[str, Any]:
    """Return nested data with one value changed, by its dotted name."""
    key, dot, rest = name.partition(".")
    return {**data, key: with_value(data.get(key, {}), rest, value) if dot else value}


def value_at(data: Mapping[str, Any], name: str) -> Value:
    """Return one value of nested data, by its dotted name."""
    found: Value = data
    for key in name.split("."):
        found = found[key]
    return found


def extremes(draw: Draw, depth: tuple[float, float], placeholder: Value) -> tuple[Value, ...]:
    """Return the least and the greatest value that can be drawn, SI, or all words; see `ends`."""
    values = ends(draw, depth, placeholder)
    return tuple(dict.fromkeys((min(values), max(values)))) if draw.numeric else tuple(dict.fromkeys(values))


def ends(draw: Draw, depth: tuple[float, float], placeholder: Value) -> tuple[Value, ...]:
    """Return the values that bound what can be drawn, or all of them; `depth` is that of the recipe's scenes."""
    if draw.of_scene:
        return depth if draw.kind == "depth" else (placeholder,)
    return draw.values


def check_range(draw: Draw, where: str) -> None:
    """Check the ends of a range, numbers by now.

    Raises
    ------
    InputError
        If they are not in order, or not positive where they must be.
    """
    if draw.kind not in RANGES:
        return
    if any(isinstance(value, str | bool) for value in draw.values) or not draw.values[0] <= draw.values[1]:
        raise InputError(f"{where}: {draw.kind} needs two ends in order, not {_shown(list(draw.values))}.")
    if draw.kind != "uniform" and not draw.values[0] > 0:
        raise InputError(f"{where}: {draw.kind} needs positive ends, not {_shown(list(draw.values))}.")


def typical(draw: Draw) -> Value:
    """Return a value from the middle of a distribution of numbers without units, or of words."""
    if draw.kind == "original":
        return draw.values[0]
    if draw.kind == "choice":
        ordered = sorted(draw.values) if draw.numeric else draw.values
        return ordered[len(ordered) // 2] if draw.numeric else ordered[0]
    return _between(draw, 0.5)


def _between(draw: Draw, share: float) -> Value:
    low, high = draw.values
    if draw.kind == "uniform":
        if isinstance(low, int) and isinstance(high, int):
            return min(low + int(share * (high - low + 1)), high)
        between = low + share * (high - low)
    elif draw.kind == "log-uniform":
        between = math.exp(math.log(low) + share * (math.log(high) - math.log(low)))
    else:
        between = 1 / (1 / low + share * (1 / high - 1 / low))
    # What rounding moves beyond an end may not be possible.
    return min(max(_rounded(between), low), high)


def _rounded(value: float) -> float:
    # Logarithms differ in their last bits between processors, and rounding to float32 hides that.
    return float(np.float32(value))


def draw_all(
    draws: Mapping[str, Draw], seed: int, sample: int, scene: Scene, camera: Mapping[str, Any]
) -> dict[str, Value]:
    """Draw all values for a sample.

    Parameters
    ----------
    draws
        By dotted name.
    seed, sample
        Of the recipe, and the sample's number.
    scene
        What the values that are drawn from scenes are drawn from.
    camera
        The recipe's, for what is not drawn itself: `pixel_pitch` and `focal_length`, metres.

    Raises
    ------
    InputError
        If the scene has no intrinsics, or views, and they are needed.
    """
    drawn: dict[str, Value] = {}
    for name in sorted(draws, key=lambda name: (*(name != first for first in FIRST), name)):
        draw = draws[name]
        share = float(_generator(seed, sample, name).random())
        if draw.kind == "choice":
            weights = np.cumsum(draw.weights or [1.0] * len(draw.values))
            place = np.searchsorted(weights, share * weights[-1], side="right")
            drawn[name] = draw.values[min(int(place), len(draw.values) - 1)]
        elif draw.kind == "original":
            drawn[name] = _rounded(draw.values[0] / scene.scale)
        elif not draw.of_scene:
            drawn[name] = _between(draw, share)
        elif draw.kind == "depth":
            near, far = depth_quantiles(scene.depth, draw.values[0], draw.values[1])
            drawn[name] = _rounded(1 / (1 / near + share * (1 / far - 1 / near)))
        elif draw.kind == "views":
            focal_length = drawn.get("camera.focal_length", camera["focal_length"])
            drawn[name] = _rounded(focal_length / _light_field_of(scene).aperture)
        else:
            if scene.intrinsics is None:
                raise InputError(f"{scene.source}: has no intrinsics to take camera.focal_length from.")
            if not 1 / MOST_SKEW < scene.intrinsics.fx / scene.intrinsics.fy < MOST_SKEW:
                raise InputError(
                    f"{scene.source}: its focal lengths {scene.intrinsics.fx:g} and {scene.intrinsics.fy:g} px differ, "
                    "pixels are not square: give camera.focal_length itself."
                )
            pitch = drawn.get("camera.pixel_pitch", camera["pixel_pitch"])
            drawn[name] = _rounded(pitch * (scene.intrinsics.fx + scene.intrinsics.fy) / 2)
    return drawn


def _light_field_of(scene: Scene) -> LightField:
    if scene.light_field is None:
        raise InputError(f"{scene.source}: has no views to take camera.f_number from.")
    return scene.light_field


def _generator(seed: int, sample: int, name: str) -> np.random.Generator:
    key = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big")
    return generator(seed, Purpose.OPTICS, sample, key)


def depth_quantiles(depth: npt.NDArray[np.float32], low: float, high: float) -> tuple[float, float]:
    """Return two quantiles of the known depths of a map, metres: exact order statistics, the nearest lower ones."""
    known = depth[np.isfinite(depth)]
    if not known.size:
        raise InputError("a scene has no finite depth to draw a focus distance from.")
    first, last = (float(v) for v in np.quantile(known, [low, high], method="lower"))
    return first, last
