"""Recipes, datasets and plans in numbers, for programs: the JSON of `info --json` and `plan --json`.

Names say the unit after an underscore (`focal_length_m`, `size_px`); what has none is a count, a ratio or a code. Keys
are a contract: within one `FACTS` version none is renamed, removed or given another meaning; more may come.
"""

import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from ..synth.arrays import REGISTRY, array_dims, array_layout, sample_bytes
from ..synth.commit import FOLDER, dataset_digest, read_samples
from ..synth.places import Place, dataset_at, total_size
from ..synth.recipe import Recipe
from ..synth.recipe_scenes import DatasetScenes
from ..synth.samples import SampleMaker
from ..synth.shards import Shards
from ..synth.store import Store, open_store
from .generate import free_bytes
from .memory import shard_bytes, worker_bytes
from .plan import COMPRESSED, SHARP, Cost, Survey
from .release_manifest import is_release, stored_id
from .shipped import find_recipe, refuse_mask

FACTS = 1
"""Version of the layout."""
UNITS = {
    "scenes.depth": "m", "scenes.size": "px", "scenes.depth_unit": "m", "scenes.baseline": "m", "scenes.focal": "px",
    "scenes.intrinsics": "px", "scenes.disparity_offset": "px", "scenes.align": "px",
    "camera.focal_length": "m", "camera.focus_distance": "m", "camera.pixel_pitch": "m", "camera.defocus": "rad",
    "psf.rotation": "rad", "psf.size": "px", "psf.wavelengths": "m", "psf.mask.wavelength": "m",
    "psf.mask.coefficients": "rad", "psf.mask.strength": "rad", "psf.mask.heights": "m",
    "sensor.full_well": "e", "sensor.black_level": "dn", "sensor.white_level": "dn", "sensor.read_noise": "e",
    "sensor.adc_noise": "dn", "sensor.dark_current": "e_per_s", "sensor.exposure_time": "s", "sensor.dsnu": "e",
    "stack.focus": "m", "stack.near": "m", "stack.far": "m", "stack.fov_slope": "m", "stack.shift_mean": "px",
    "stack.shift_spread": "px", "stack.shift_width": "px", "stack.hand_rotation": "rad", "stack.hand_translation": "m",
}  # fmt: skip
"""Unit of each key of a recipe that has one."""
Facts = dict[str, Any]


def named(key: str) -> str:
    """Return a recipe's dotted key with its unit."""
    return f"{key}_{UNITS[key]}" if key in UNITS else key


def plain(value: Any) -> Any:
    """Return JSON data: tuples as lists, and None for infinity and NaN, which JSON has no numbers for."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float | np.floating):
        return float(value) if math.isfinite(value) else None
    return value


def _section(name: str, values: Facts) -> Facts:
    """Name the keys of a section, and of the sections in it, with their units."""
    found = {}
    for key, value in values.items():
        dotted = f"{name}.{key}"
        inner = isinstance(value, dict)
        found[named(dotted).rpartition(".")[2]] = _section(dotted, value) if inner else value
    return found


def recipe_numbers(recipe: Recipe) -> Facts:
    """Describe a recipe; of values that are drawn for every sample, the typical one stands in its place."""
    data = recipe.model_dump(mode="json")
    lenses = [lens for extreme in recipe.extremes for lens in extreme.widest_lenses]
    cocs = [float(lens.coc(z)) for lens in lenses for z in recipe.scenes.depth]
    sharp_near, sharp_far = recipe.lens.depth_of_field(SHARP)
    draws = {named(name): draw.table() for name, draw in recipe.draws.items()}
    facts = {
        "facts": FACTS,
        "type": "recipe",
        "recipe": {key: data[key] for key in ("name", "seed", "description", "accept")} | {"hash": recipe.hash()},
        "scenes": _section("scenes", data["scenes"]) | _terms(recipe),
        "camera": _camera(recipe, data["camera"]),
        "coc": {"min_px": min(cocs), "max_px": max(cocs), "sharp_near_m": sharp_near, "sharp_far_m": sharp_far},
        "psf": _section("psf", data["psf"]),
        "render": data["render"],
        "sensor": _sensor(recipe),
        "stack": recipe.stack and _section("stack", data["stack"]) | {"slices": recipe.stack.count},
        "drawn": draws,
        "output": {
            **{key: data["output"][key] for key in ("encoding", "bits", "compression")},
            "shard_bytes": int(recipe.output.shard_bytes),
            "shares": data["output"]["splits"],
        },
        "arrays": _arrays(recipe, getattr(recipe.scenes, "size", None)),
    }  # fmt: skip
    found: Facts = plain(facts)
    return found


def _camera(recipe: Recipe, given: Facts) -> Facts:
    """Describe the lens, whether it was given by its own numbers, by a phone or by the defocus that it makes."""
    lens = recipe.lens
    swept = recipe.stack is not None and recipe.camera.focus_distance is None
    return {
        "phone": given["phone"],
        "focal_length_m": lens.focal_length,
        "f_number": lens.f_number,
        "focus_distance_m": None if swept else lens.focus_distance,
        "pixel_pitch_m": lens.pixel_pitch,
        "aperture_diameter_m": lens.aperture_diameter,
        "image_distance_m": None if swept else lens.image_distance,
        "distortion": given["distortion"],
        "defocus_rad": given["defocus"],
    }


def _sensor(recipe: Recipe) -> Facts | None:
    """Describe the sensor with every default of its preset."""
    if recipe.sensor is None:
        return None
    sensor = recipe.sensor.sensor()
    return {"preset": recipe.sensor.preset, **_section("sensor", asdict(sensor) | {"white_level": sensor.white})}


def _terms(recipe: Recipe) -> Facts:
    if not isinstance(recipe.scenes, DatasetScenes):
        return {}
    from ..synth.readers import READERS

    reader = READERS[recipe.scenes.kind]
    return {"title": reader.TITLE, "licence": reader.LICENCE, "commercial": bool(reader.COMMERCIAL)}


def _arrays(recipe: Recipe, size: tuple[int, int] | None) -> Facts:
    """Describe the arrays of a sample; without a size the shapes of those that depend on it are not known."""
    layout = array_layout(recipe, size or (0, 0))
    return {
        name: {
            "dims": list(array_dims(recipe, name)),
            "dtype": dtype.name,
            "units": REGISTRY[name].unit,
            "sample_shape": list(shape) if size or "y" not in array_dims(recipe, name) else None,
        }
        for name, (shape, dtype) in layout.items()
    }


def store_numbers(store: Store) -> Facts:
    """Describe a dataset: all that `recipe_numbers` says of its recipe, and what there is of it."""
    stated = next(iter(store.facts.values()))
    size = tuple(stated["image_size"])
    begun = (store.path / FOLDER).exists()
    released = is_release(store.path)
    names = (*store.recipe.arrays, "index")
    splits = {}
    for split in store.splits:
        shapes = {name: list(store.array(split, name).shape) for name in names}
        shards = store.array(split, store.recipe.arrays[0]).shards
        samples, per_shard = shapes["index"][0], shards[0] if shards else 1
        splits[split] = {
            "path": f"{split}.zarr", "samples": samples, "shards": -(-samples // per_shard),
            "samples_per_shard": per_shard, "shapes": shapes,
        }  # fmt: skip
    return {
        **recipe_numbers(store.recipe),
        "type": "release" if released else "dataset",
        "arrays": _arrays(store.recipe, size),
        "dataset": {
            "path": str(store.path),
            "format": stated["format"],
            "complete": not begun,
            "shards_done": len(list((store.path / FOLDER).glob("*.json"))) if begun else _total(splits, "shards"),
            "samples": len(store),
            "height_px": size[0],
            "width_px": size[1],
            "disk_bytes": total_size(store.path),
            "raw_bytes": len(store) * sum(sample_bytes(store.recipe, size).values()),
            "splits": splits,
            "content_digest": None if begun else dataset_digest(read_samples(store.path)),
            "psf_digest": stated["psf"]["sha256"],
            "sources_digest": stated["sources_sha256"],
            "release_id": stored_id(store.path) if released else None,
            "versions": stated["versions"],
        },
    }


def _total(splits: Facts, key: str) -> int:
    return sum(split[key] for split in splits.values())


def target_numbers(target: str, mask: Path | None = None) -> Facts:
    """Describe the dataset in the folder `target`, or the recipe of that name or path with the mask of a file in it.

    Raises
    ------
    InputError
        If it is neither.
    """
    if (where := dataset_at(target)) is not None:
        refuse_mask(target, mask)
        return store_numbers(open_store(where, unfinished=True))
    return recipe_numbers(find_recipe(target, mask=mask))


def plan_numbers(recipe: Recipe, maker: SampleMaker, seen: Survey, out: Place, costs: Cost) -> Facts:
    """Describe what a recipe will do: all that `recipe_numbers` says, and the numbers of `plan.describe`."""
    shards, sizes = Shards(maker), sample_bytes(recipe, maker.size)
    raw = sum(sizes.values()) * maker.count
    counts, edges = np.histogram(seen.coc, bins=12)
    plan = {
        "samples": maker.count,
        "height_px": maker.size[0],
        "width_px": maker.size[1],
        "splits": dict.fromkeys(recipe.output.splits, 0) | shards.lengths,
        "shards": len(shards),
        "samples_per_shard": shards.per_shard,
        "sample_bytes": sizes,
        "raw_bytes": raw,
        "disk_bytes_about": round(raw * COMPRESSED),
        "free_bytes": free_bytes(out),
        "worker_memory_bytes": round(worker_bytes(maker, costs.memory)),
        "shard_memory_bytes": round(shard_bytes(maker)),
        "seconds_per_sample": costs.seconds,
        "core_seconds": costs.seconds * maker.count,
        "kernel_width_px": 2 * maker.reach + 1,
        "surveyed": {
            "scenes": seen.scenes,
            "depth_min_m": float(seen.depth.min()),
            "depth_max_m": float(seen.depth.max()),
            "coc_min_px": float(seen.coc.min()),
            "coc_max_px": float(seen.coc.max()),
            "coc_edges_px": edges.tolist(),
            "coc_shares": (counts / max(len(seen.coc), 1)).tolist(),
            "sharp_within_px": SHARP,
            "sharp_share": seen.sharp,
            "nearer_share": seen.nearer,
            "farther_share": abs(1 - seen.sharp - seen.nearer),
            "unknown_share": seen.unknown,
        },
    }
    return {
        **recipe_numbers(recipe),
        "type": "plan",
        "arrays": _arrays(recipe, maker.size),
        "plan": plain(plan),
    }
