"""The registry of arrays: what a store may hold, and which shapes, types and attributes a recipe's arrays have."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from .recipe import Recipe


@dataclass(frozen=True, slots=True)
class ArraySpec:
    """An array that a store may hold.

    Attributes
    ----------
    dims
        Names of its axes.
    dtypes
        NumPy type codes that it may have.
    unit
        Of its numbers; "" where they are codes.
    doc
        What it is, for readers of the store.
    """

    dims: tuple[str, ...]
    dtypes: tuple[str, ...]
    unit: str
    doc: str


REGISTRY: dict[str, ArraySpec] = {
    "aif": ArraySpec(("sample", "y", "x", "channel"), ("u1", "u2"), "", "all-in-focus image, RGB, encoded"),
    "depth": ArraySpec(("sample", "y", "x"), ("f4",), "m", "z-depth; NaN where unknown; 10 bits of mantissa are kept"),
    "valid": ArraySpec(("sample", "y", "x"), ("b1",), "", "whether depth is known, and ground truth"),
    "coc": ArraySpec(
        ("sample", "slice", "y", "x"),
        ("f2",),
        "px",
        "signed diameter of the circle of confusion, positive nearer than the focus plane; NaN where unknown",
    ),
    "capture": ArraySpec(("sample", "y", "x", "channel"), ("u1", "u2"), "", "defocused image, RGB, encoded"),
    "raw": ArraySpec(("sample", "y", "x"), ("u2",), "DN", "mosaic of the sensor, digital numbers"),
    "dual": ArraySpec(
        ("sample", "view", "y", "x", "channel"),
        ("u1", "u2"),
        "",
        "captures through the left and the right half of the aperture, RGB, encoded",
    ),
    "stack": ArraySpec(
        ("sample", "slice", "y", "x", "channel"),
        ("u1", "u2"),
        "",
        "focal stack, each slice in its own frame, RGB, encoded",
    ),
    "stack_raw": ArraySpec(("sample", "slice", "y", "x"), ("u2",), "DN", "mosaic of each slice, digital numbers"),
    "focus": ArraySpec(("sample", "slice"), ("f4",), "m", "focus distance of each slice"),
    "f_number": ArraySpec(("sample", "slice"), ("f4",), "", "f-number of each slice"),
    "intrinsics": ArraySpec(
        ("sample", "slice", "row", "col"), ("f4",), "px", "camera matrix of each slice; maps have the reference's"
    ),
    "pose": ArraySpec(
        ("sample", "slice", "component"),
        ("f4",),
        "rad, m",
        "of each slice's camera, if a hand moves it: rotation vector and translation of points from the reference's",
    ),
    "drawn": ArraySpec(
        ("sample", "parameter"), ("f8",), "", "what the recipe drew, see `parameters`; words by their place there"
    ),
    "index": ArraySpec(("sample",), ("u8",), "", "number of the sample in the recipe"),
}


def array_dims(recipe: Recipe, name: str) -> tuple[str, ...]:
    """Names of an array's axes: those of the registry, without slices where a recipe has no stack."""
    return tuple(dim for dim in REGISTRY[name].dims if dim != "slice" or recipe.stack)


def array_facts(recipe: Recipe, name: str) -> dict[str, Any]:
    """Attributes of an array: unit, what it is, and how to read its numbers."""
    spec = REGISTRY[name]
    facts: dict[str, Any] = {"units": spec.unit, "description": spec.doc}
    if "channel" in spec.dims:
        facts["encoding"] = recipe.output.encoding
    if name in ("raw", "stack_raw") and recipe.sensor:
        sensor = recipe.sensor.sensor()
        levels = {"black_level": sensor.black_level, "white_level": sensor.white}
        facts |= {**levels, "cfa": sensor.cfa, "bits": sensor.bits}
    if name == "drawn":
        facts["parameters"] = [{"name": name, **draw.table()} for name, draw in recipe.draws.items()]
    return facts


def array_layout(recipe: Recipe, size: tuple[int, int]) -> dict[str, tuple[tuple[int, ...], np.dtype[Any]]]:
    """Shape of one sample and dtype of each array that a recipe stores, `index` included."""
    codes = np.dtype("u1" if recipe.output.bits == 8 else "u2")
    lengths = {
        "y": size[0],
        "x": size[1],
        "channel": 3,
        "view": 2,
        "row": 3,
        "col": 3,
        "component": 6,
        "parameter": len(recipe.draws),
    }
    if recipe.stack:
        lengths["slice"] = recipe.stack.count
    layout: dict[str, tuple[tuple[int, ...], np.dtype[Any]]] = {}
    for name in recipe.arrays:
        dims, dtypes = array_dims(recipe, name)[1:], REGISTRY[name].dtypes
        layout[name] = (tuple(lengths[dim] for dim in dims), codes if len(dtypes) > 1 else np.dtype(dtypes[0]))
    layout["index"] = ((), np.dtype("u8"))
    return layout


def sample_bytes(recipe: Recipe, size: tuple[int, int]) -> dict[str, int]:
    """Raw bytes of one sample of each array."""
    return {
        name: int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        for name, (shape, dtype) in array_layout(recipe, size).items()
    }


def shard_samples(recipe: Recipe, size: tuple[int, int], count: int) -> int:
    """Samples in a shard: as many as `output.shard_bytes` allows, but at least 16 shards in a small dataset."""
    by_bytes = int(recipe.output.shard_bytes // max(sample_bytes(recipe, size).values()))
    return max(1, min(by_bytes, -(-count // 16)))
