"""Verification: an intact store passes, any damage is found, and samples made again are the same."""

import json
import re
import shutil

import numpy as np
import pytest
import zarr
from conftest import recipe_data

from defocal import InputError
from defocal.pipelines.generate import create, run
from defocal.pipelines.verify import compare, comparison_words, verify, worst
from defocal.synth import Recipe
from defocal.synth.commit import read_samples
from defocal.synth.samples import SampleMaker


@pytest.fixture
def copy(tiny_store, tmp_path):
    out = tmp_path / "copy"
    shutil.copytree(tiny_store, out)
    return out


def edit(path, old, new):
    text = path.read_bytes().decode()
    assert old in text
    path.write_bytes(text.replace(old, new).encode())


def flip(path, position=-40):
    data = bytearray(path.read_bytes())
    data[position] ^= 1
    path.write_bytes(data)


def test_an_intact_store_passes_and_is_made_again_bit_for_bit(tiny_store):
    seen = []
    verdict = verify(tiny_store, rerender=5, report=seen.append)
    assert verdict.problems == []
    assert verdict.samples == 12
    assert sum(seen) == verdict.samples + len(verdict.rerendered)
    assert [comparison_words(words) for _, words in verdict.rerendered] == ["bit-exact"] * 5
    assert worst(verdict.rerendered) == dict.fromkeys(("aif", "depth", "coc", "capture"), "bit-exact")


def test_a_flipped_bit_anywhere_in_a_shard_is_found(copy):
    rng = np.random.default_rng(0)
    shards = sorted(copy.glob("*.zarr/*/c/**/*"))
    shards = [s for s in shards if s.is_file() and "index" not in s.parts]
    for path in rng.choice(np.array(shards, object), 6, replace=False):
        whole = path.read_bytes()
        flip(path, int(rng.integers(0, len(whole))))
        assert verify(copy).problems, path
        path.write_bytes(whole)
    assert not verify(copy).problems


@pytest.mark.parametrize("how", ["delete", "truncate", "swap"])
def test_missing_and_damaged_shards_are_found_with_their_samples(copy, how):
    first, second = sorted(p for p in (copy / "train.zarr/capture/c").rglob("*") if p.is_file())[:2]
    if how == "delete":
        first.unlink()
    elif how == "truncate":
        first.write_bytes(first.read_bytes()[:-100])
    else:
        a, b = first.read_bytes(), second.read_bytes()
        first.write_bytes(b)
        second.write_bytes(a)
    problems = verify(copy).problems
    assert problems
    assert all("train, row" in problem for problem in problems)


def test_an_edited_sample_table_is_found(copy):
    path = copy / "samples.csv"
    lines = path.read_text().splitlines()
    for edited in (
        lines[:-1],
        [lines[0], lines[2], lines[1].replace(",0,", ",9,", 1), *lines[3:]],
        [*lines[:3], lines[3][:-1] + ("0" if lines[3][-1] != "0" else "1"), *lines[4:]],
    ):
        path.write_text("\n".join(edited) + "\n")
        assert verify(copy).problems


def test_a_damaged_psf_bank_is_found(copy):
    group = zarr.open_group(copy / "train.zarr", mode="r+")
    kernels = group["psf/main/kernel"]
    kernels[0] = kernels[0] * 1.5
    assert any("psf/main of split train" in problem for problem in verify(copy).problems)


def test_physics_is_checked_and_not_only_digests(tmp_path, monkeypatch):
    """A store whose CoC map belongs to another lens has the right digests and is wrong all the same."""
    make = SampleMaker.make

    def wrong(self, sample):
        arrays = make(self, sample)
        arrays["coc"] = (arrays["coc"] * np.float16(1.1)).astype(np.float16)
        return arrays

    maker = SampleMaker(Recipe.parse(recipe_data(scenes={"count": 2})))
    with monkeypatch.context() as patch:
        patch.setattr(SampleMaker, "make", wrong)
        run(tmp_path / "d", maker, create(tmp_path / "d", maker))
    assert all("coc is not the circle of confusion" in problem for problem in verify(tmp_path / "d").problems)
    assert len(verify(tmp_path / "d").problems) == 2


def test_a_store_of_another_recipe_is_not_made_again_the_same(copy):
    for path in copy.glob("*.zarr/zarr.json"):
        content = json.loads(path.read_text())
        recipe = Recipe.parse(content["attributes"]["defocal"]["recipe"] | {"seed": 99})
        content["attributes"]["defocal"] |= {"recipe": recipe.to_dict(), "recipe_hash": recipe.hash()}
        path.write_text(json.dumps(content))
    assert any("recipe.toml is not the recipe" in problem for problem in verify(copy).problems)
    (copy / "recipe.toml").write_text(recipe.to_toml())
    verdict = verify(copy, rerender=2)
    assert all("mismatch" in words["aif"] for _, words in verdict.rerendered)
    assert worst(verdict.rerendered)["capture"] == "mismatch"
    assert len(verdict.problems) == 2


def test_attributes_of_one_split_that_were_edited_are_found(copy):
    path = copy / "test.zarr/zarr.json"
    content = json.loads(path.read_text())
    content["attributes"]["defocal"]["recipe"]["camera"]["f_number"] = 4.0
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match="recipe is not that of the other splits"):
        verify(copy)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda out: (out / "recipe.toml").unlink(), "recipe.toml is not"),
        (lambda out: (out / "notes.txt").write_text("x"), "notes.txt does not belong"),
        (lambda out: (out / "train.zarr/extra").mkdir(), "train.zarr/extra does not belong"),
        (lambda out: shutil.rmtree(out / "train.zarr/psf"), "psf is missing"),
        (lambda out: (out / "train.zarr/index/c/0").write_bytes(b""), "index is damaged"),
        (lambda out: edit(out / "samples.csv", "procedural/000003", "procedural/000004"), "another source"),
        (lambda out: edit(out / "samples.csv", "\n1,", "\n01,"), "differ|damaged|not the one"),
        (lambda out: edit(out / "samples.csv", "\n", "\r\n"), "damaged"),
        (lambda out: edit(out / "samples.csv", "\n2,", "\nx,"), "damaged"),
    ],
)
def test_damage_beside_the_shards_is_found(copy, damage, words):
    damage(copy)
    assert re.search(words, " ".join(verify(copy).problems))


@pytest.mark.parametrize(
    ("arrays", "light"), [(["capture"], "srgb"), (["depth", "coc"], "linear"), (["aif"], "linear")]
)
@pytest.mark.parametrize("encoding", ["srgb", "linear"])
def test_any_choice_of_arrays_bits_and_encoding_verifies(tmp_path, arrays, light, encoding):
    output = {"arrays": arrays, "bits": 16, "encoding": encoding, "compression": "fast", "splits": {"all": 1.0}}
    recipe = Recipe.parse(recipe_data(scenes={"count": 2}, output=output, render={"light": light, "planes": 8}))
    maker = SampleMaker(recipe)
    run(tmp_path / "d", maker, create(tmp_path / "d", maker))
    verdict = verify(tmp_path / "d", rerender=1)
    assert verdict.problems == []
    assert set(read_samples(tmp_path / "d")[0]) >= {f"sha256_{name}" for name in arrays}


def test_blurring_encoded_values_differs_from_blurring_light(tiny):
    encoded = SampleMaker(Recipe.parse(recipe_data(render={"light": "srgb"})))
    linear = SampleMaker(tiny)
    a, b = encoded.make(0), linear.make(0)
    np.testing.assert_array_equal(a["aif"], b["aif"])
    assert np.abs(a["capture"].astype(int) - b["capture"]).max() > 3


def test_differences_are_told_apart():
    a = {"x": np.array([1, 2], np.uint8), "y": np.array([1.0, np.nan], np.float32)}
    near = {"x": np.array([2, 2], np.uint8), "y": np.nextafter(a["y"], np.float32(9))}
    far = {"x": np.array([3, 2], np.uint8), "y": a["y"]}
    nan = {"x": a["x"], "y": np.array([1.0, 2.0], np.float32)}
    assert compare(a, a) == {"x": "bit-exact", "y": "bit-exact"}
    assert compare(a, near) == {"x": "within one LSB (1 of 2 values)", "y": "within one LSB (1 of 2 values)"}
    assert compare(a, far)["x"] == "mismatch (1 of 2 values, up to 2)"
    assert compare(a, nan) == {"x": "bit-exact", "y": "mismatch (1 of 2 values, unknown in one of the two)"}
    other = {"x": a["x"][:1], "y": a["y"].astype(np.float64)}
    assert set(compare(a, other).values()) == {"mismatch (another shape or type)"}
    assert compare(a, {}) == dict.fromkeys(a, "mismatch (another shape or type)")
    mask = {"valid": np.array([True, False])}
    assert compare(mask, {"valid": ~mask["valid"]}) == {"valid": "mismatch (2 of 2 values)"}
    infinite = {"depth": np.array([np.inf, 1], np.float32)}
    assert compare(infinite, infinite)["depth"] == "bit-exact"
    assert compare(infinite, {"depth": np.array([9, 1], np.float32)})["depth"] == "mismatch (1 of 2 values, up to inf)"
    assert comparison_words(compare(a, far)) == "x mismatch (1 of 2 values, up to 2); y bit-exact"


def test_a_store_without_its_table_is_refused(copy):
    (copy / "samples.csv").unlink()
    with pytest.raises(InputError, match="unfinished"):
        verify(copy)
