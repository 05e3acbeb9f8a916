"""Stores whose samples are cheap noise, and what the noise is."""

import numpy as np
from conftest import recipe_data

from defocal.pipelines.generate import create, run
from defocal.synth import Recipe
from defocal.synth.arrays import array_layout
from defocal.synth.samples import SampleMaker

STACK = {"focus": ["0.9 m", "1.6 m", "3 m"], "breathing": True, "hand_rotation": 0.001}


def noise(recipe, size, sample):
    """Arrays of a sample: codes over their whole range, depth from 0.8 to 4 m with a tenth unknown."""
    rng = np.random.default_rng([recipe.seed, sample])
    made = {}
    for name, (shape, dtype) in array_layout(recipe, size).items():
        if dtype.kind == "f":
            made[name] = (0.8 + 3.2 * rng.random(shape)).astype(dtype)
        elif dtype.kind == "b":
            made[name] = rng.random(shape) < 0.9
        else:
            made[name] = rng.integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)
    if "depth" in made:
        made["depth"][rng.random(size) < 0.1] = np.nan
    return {name: made[name] for name in recipe.arrays}


def noise_store(out, *, count=70, **changes):
    """Write a store of `count` samples, with sections or keys of the recipe replaced; return its folder."""
    changes["scenes"] = {"count": count, **changes.get("scenes", {})}
    recipe = Recipe.parse(recipe_data(**changes))
    maker = SampleMaker(recipe)
    maker.make = lambda sample: noise(recipe, maker.size, sample)
    assert not run(out, maker, create(out, maker)).failed
    return out
