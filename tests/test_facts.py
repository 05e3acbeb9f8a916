"""What `info --json` and `plan --json` say: numbers with units in their names, under keys that stay."""

import json

import numpy as np
import pytest
from click.testing import CliRunner
from conftest import recipe_data
from pydantic import BaseModel

from defocal.pipelines.cli import cli
from defocal.pipelines.facts import UNITS, recipe_numbers
from defocal.pipelines.generate import create
from defocal.pipelines.release_manifest import stored_id
from defocal.pipelines.shipped import find_recipe, shipped
from defocal.synth import Recipe, open_store
from defocal.synth.commit import dataset_digest, make_shard, read_samples
from defocal.synth.recipe_psf import MaskPsf
from defocal.synth.samples import SampleMaker

ALWAYS = {
    "facts", "type", "recipe", "scenes", "camera", "coc", "psf", "render", "sensor", "stack", "drawn", "output",
    "arrays",
}  # fmt: skip
DATASET = {
    "path", "format", "complete", "shards_done", "samples", "height_px", "width_px", "disk_bytes", "raw_bytes",
    "splits", "content_digest", "psf_digest", "sources_digest", "release_id", "versions",
}  # fmt: skip
PLAN = {
    "samples", "height_px", "width_px", "splits", "shards", "samples_per_shard", "sample_bytes", "raw_bytes",
    "disk_bytes_about", "free_bytes", "worker_memory_bytes", "shard_memory_bytes", "seconds_per_sample", "core_seconds",
    "kernel_width_px", "surveyed",
}  # fmt: skip
WITHOUT_UNIT = {
    "scenes": "kind count objects world lights textures path listing fit rgb depth_map depth_kind invalid encoding "
    "pairing group variant part",
    "camera": "phone f_number distortion",
    "psf": "kind sigma_per_coc exponent blades roundness obstruction pattern picture clipping rim side nodes mask "
    "planes energy samples path",
    "psf.mask": "kind glass obstruction zones lobes confinement form gain wrapped path sha256 any_camera pattern "
    "picture square",
    "sensor": "preset bits exposure gain shot_noise prnu cfa response demosaic white_balance",
    "stack": "slices far_over_near spacing power quantiles order f_numbers reference breathing fov_intercept",
}
"""Keys whose numbers are counts, ratios, or what the dataset says, and words."""


def said(*words):
    result = CliRunner().invoke(cli, [str(word) for word in words])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def kinds(annotation):
    """All models in an annotation, however deep in unions it has them."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return {annotation}
    return set().union(*(kinds(inner) for inner in getattr(annotation, "__args__", ())))


def test_every_key_of_a_recipe_has_a_unit_or_needs_none():
    keys = set()
    for name in ("scenes", "camera", "psf", "sensor", "stack"):
        for model in kinds(Recipe.model_fields[name].annotation):
            keys |= {f"{name}.{key}" for key in model.model_fields}
    for model in kinds(MaskPsf.model_fields["mask"].annotation):
        keys |= {f"psf.mask.{key}" for key in model.model_fields}
    without = {f"{section}.{key}" for section, text in WITHOUT_UNIT.items() for key in text.split()}
    assert keys == without | UNITS.keys()
    assert not without & UNITS.keys()


@pytest.mark.parametrize("name", shipped())
def test_every_shipped_recipe_has_the_keys(name):
    facts, recipe = recipe_numbers(find_recipe(name)), find_recipe(name)
    assert json.loads(json.dumps(facts, allow_nan=False)) == facts
    assert facts.keys() == ALWAYS
    assert facts["recipe"]["hash"] == recipe.hash()
    assert facts["camera"]["focal_length_m"] == recipe.lens.focal_length
    assert facts["coc"]["min_px"] < facts["coc"]["max_px"]
    assert set(facts["arrays"]) == {*recipe.arrays, "index"}
    assert (facts["stack"] is None) == (recipe.stack is None)
    assert len(facts["drawn"]) == len(recipe.draws)


def test_a_dataset_is_described_to_the_byte(tiny_store):
    facts, store = said("info", tiny_store, "--json"), open_store(tiny_store)
    assert facts.keys() == ALWAYS | {"dataset"}
    assert facts["type"] == "dataset"
    there = facts["dataset"]
    assert there.keys() == DATASET
    assert there["complete"]
    assert (there["samples"], there["height_px"], there["width_px"]) == (12, 40, 56)
    assert there["content_digest"] == dataset_digest(read_samples(tiny_store))
    assert there["disk_bytes"] == sum(f.stat().st_size for f in tiny_store.rglob("*") if f.is_file())
    assert there["shards_done"] == sum(split["shards"] for split in there["splits"].values())
    total = 0
    for split, said_of_it in there["splits"].items():
        for name, array in facts["arrays"].items():
            stored = store.array(split, name)
            assert said_of_it["shapes"][name] == list(stored.shape) == [said_of_it["samples"], *array["sample_shape"]]
            assert (array["dtype"], array["units"]) == (stored.dtype.name, stored.attrs["units"])
            assert array["dims"] == list(stored.metadata.dimension_names)
            total += int(np.prod(stored.shape)) * stored.dtype.itemsize
    assert there["raw_bytes"] == total
    assert there["release_id"] is None
    assert there["versions"]["defocal"]


def test_an_unfinished_dataset_and_a_release_say_so(tiny, made, tmp_path):
    maker = SampleMaker(tiny)
    todo = create(tmp_path / "d", maker)
    make_shard(tmp_path / "d", maker, todo[0])
    begun = said("info", tmp_path / "d", "--json")["dataset"]
    assert (begun["complete"], begun["shards_done"], begun["content_digest"]) == (False, 1, None)
    released = said("info", made, "--json")
    assert released["type"] == "release"
    assert released["dataset"]["release_id"] == stored_id(made)


def test_units_and_words_of_what_is_drawn(tmp_path):
    data = recipe_data(
        camera={"focus_distance": {"uniform": ["1 m", "2 m"]}},
        sensor={"preset": "dslr"},
        psf={"kind": "mask", "mask": {"kind": "clear", "wavelength": "500 nm"}, "size": 35},
    )
    path = tmp_path / "r.toml"
    path.write_text(Recipe.parse(data | {"accept": ["all-blurred", "all-sharp"]}).to_toml())
    facts = said("info", path, "--json")
    assert facts["drawn"] == {"camera.focus_distance_m": {"uniform": [1.0, 2.0]}}
    assert facts["camera"]["focus_distance_m"] == 1.5
    assert facts["psf"]["mask"]["wavelength_m"] == 5e-7
    assert facts["psf"]["size_px"] == 35
    assert facts["sensor"]["full_well_e"] > 0
    assert facts["sensor"]["white_level_dn"] > facts["sensor"]["black_level_dn"]
    assert facts["scenes"]["size_px"] == [40, 56]


def test_a_plan_in_numbers_is_the_plan_in_words(tmp_path):
    path = tmp_path / "tiny.toml"
    path.write_text(Recipe.parse(recipe_data()).to_toml())
    facts = said("plan", path, "--json", "--limit", 10)
    assert facts.keys() == ALWAYS | {"plan"}
    assert facts["type"] == "plan"
    plan = facts["plan"]
    assert plan.keys() == PLAN
    assert plan["samples"] == sum(plan["splits"].values()) == 10
    assert plan["raw_bytes"] == 10 * sum(plan["sample_bytes"].values())
    assert plan["worker_memory_bytes"] > plan["shard_memory_bytes"] > max(plan["sample_bytes"].values())
    assert plan["core_seconds"] == pytest.approx(10 * plan["seconds_per_sample"])
    seen = plan["surveyed"]
    assert sum(seen["coc_shares"]) == pytest.approx(1)
    assert len(seen["coc_edges_px"]) == len(seen["coc_shares"]) + 1
    assert seen["sharp_share"] + seen["nearer_share"] + seen["farther_share"] == pytest.approx(1)
    words = CliRunner().invoke(cli, ["plan", str(path), "--limit", "10"]).output
    assert f"{plan['shards']} of up to {plan['samples_per_shard']} samples" in words
    assert f"{seen['sharp_share']:.1%} of pixels" in words
    assert f"kernels up to {plan['kernel_width_px']} px wide" in words


def test_scenes_whose_size_is_not_known_yet_have_no_shapes(frames):
    facts = recipe_numbers(find_recipe("quickstart", scenes=f"folder:{frames}"))
    assert facts["arrays"]["depth"]["sample_shape"] is None
    assert facts["arrays"]["index"]["sample_shape"] == []
    assert facts["scenes"]["depth_unit_m"] == 1e-3
