"""Masks from files in recipes: `--mask`, what a dataset keeps of them, and the recipe that leaves its mask open."""

import json
import math
import shutil
from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pytest
from commanding import defocal, refused
from conftest import recipe_data

from defocal import InputError
from defocal.pipelines import psf as psf_module
from defocal.pipelines.generate import create, reopen, run
from defocal.pipelines.release_facts import named_paths
from defocal.pipelines.shipped import find_recipe
from defocal.pipelines.verify import verify
from defocal.synth import HeightMap, PsfBank, Recipe, SpiralMask, ZernikeMask, load_mask, open_store, save_mask
from defocal.synth.banks import make_bank, mask_digest, pinned
from defocal.synth.commit import dataset_digest, read_samples
from defocal.synth.samples import SampleMaker

LEARNED = SpiralMask(lobes=1.3, confinement=0.62, form="rings")
PSF = {"kind": "mask", "mask": {"kind": "file"}, "planes": 5, "size": 15, "samples": 64}


SHEET = np.zeros((4, 4, 3), np.uint8)


def data(**changes):
    camera = {"focal_length": "50 mm", "defocus": [-4, 4], "pixel_pitch": "15 um"}
    found = recipe_data(**({"scenes": {"count": 2}, "psf": PSF} | changes))
    found["camera"] = changes.get("camera", camera)
    return found


@pytest.fixture
def mask(tmp_path):
    path = tmp_path / "run" / "mask.json"
    path.parent.mkdir()
    save_mask(LEARNED, path)
    return path


@pytest.fixture
def recipe_file(tmp_path):
    path = tmp_path / "mine.toml"
    psf = {**PSF, "mask": {"kind": "spiral"}}
    path.write_text(Recipe.parse(data(psf=psf)).to_toml())
    return path


def test_a_mask_from_a_file_takes_the_place_of_a_recipes_own(mask, recipe_file, tmp_path):
    out = tmp_path / "d"
    done = defocal("generate", recipe_file, out, "--mask", mask)
    assert done.exit_code == 0, done.output
    assert "The mask is that of a file" in defocal("info", out).output
    assert "of a file" not in defocal("info", recipe_file).output
    bank = PsfBank.load(out)
    assert bank.facts["mask"] == json.loads(json.dumps(LEARNED.to_dict()))
    wanted = PsfBank.from_mask(
        LEARNED, bank.lens, bank.wavelengths, depth=(0.8, 4.0), planes=5, size=15, samples=64
    )  # fmt: skip
    assert (bank.kernels == wanted.kernels).all()


def test_the_place_of_the_file_changes_nothing(mask, recipe_file, tmp_path):
    digests, hashes, texts = set(), set(), set()
    for name in ("a", "b/c"):
        there = tmp_path / name / "some.json"
        there.parent.mkdir(parents=True)
        shutil.copy(mask, there)
        out = tmp_path / f"of-{name[0]}"
        assert defocal("generate", recipe_file, out, "--mask", there, "--limit", 1).exit_code == 0
        there.unlink()
        assert not verify(out, rerender=1).problems
        store = open_store(out)
        digests.add(dataset_digest(read_samples(out)))
        hashes.add(store.recipe.hash())
        texts.add((out / "recipe.toml").read_text())
        assert str(tmp_path) not in (out / "recipe.toml").read_text()
        assert not named_paths(store.recipe)
    assert len(digests) == len(hashes) == len(texts) == 1


def test_the_hash_is_that_of_the_content(mask, recipe_file, tmp_path):
    one = find_recipe(str(recipe_file), mask=mask)
    text = json.dumps(json.loads(mask.read_text()), indent=4, sort_keys=True)
    (tmp_path / "other.json").write_text(text)
    assert find_recipe(str(recipe_file), mask=tmp_path / "other.json").hash() == one.hash()
    save_mask(SpiralMask(lobes=1.31, confinement=0.62, form="rings"), tmp_path / "other.json")
    assert find_recipe(str(recipe_file), mask=tmp_path / "other.json").hash() != one.hash()
    written = Recipe.parse(data(psf={**PSF, "mask": {"kind": "file", "path": str(mask), "wavelength": "550 nm"}}))
    assert pinned(written).hash() == one.hash()
    assert pinned(one) is one


def test_a_digest_and_a_pupil_that_cannot_be_are_named(mask, recipe_file):
    with pytest.raises(InputError, match=r"psf\.mask\.sha256: must be the 64 hexadecimal digits .*, not 'xx'"):
        find_recipe("rpsf-learned", changes=["psf.mask.sha256=xx"])
    with pytest.raises(
        InputError, match=r"--mask puts a mask into .* has 'disk': leave out either --mask or the --set"
    ):
        find_recipe("rpsf-learned", mask=mask, changes=["psf.kind=disk"])


def test_digests_of_masks():
    assert mask_digest(SpiralMask(lobes=2)) == mask_digest(SpiralMask(lobes=2.0, confinement=0.5))
    assert mask_digest(SpiralMask(lobes=2)) != mask_digest(SpiralMask(lobes=2, obstruction=0.1))
    assert mask_digest(ZernikeMask([0, 1])) == mask_digest(ZernikeMask((0.0, 1.0)))
    assert len({mask_digest(m) for m in (ZernikeMask([0, 1]), HeightMap([[0.0]]), SpiralMask())}) == 3


def test_slices_and_drawn_cameras_find_the_mask_in_the_dataset(mask, tmp_path):
    camera = {
        "focal_length": "50 mm", "f_number": 17.0, "pixel_pitch": "15 um",
        "focus_distance": {"uniform": [1.4, 1.8]},
    }  # fmt: skip
    section = {**PSF, "mask": {"kind": "file", "path": str(mask)}, "samples": 96}
    recipe = Recipe.parse(data(camera=camera, psf=section, scenes={"count": 1, "size": [32, 32]}))
    maker = SampleMaker(recipe)
    out = tmp_path / "d"
    assert not run(out, maker, create(out, maker)).failed
    mask.unlink()
    assert not verify(out, rerender=1).problems
    again, _ = reopen(out)
    assert (
        again.make(0)["capture"] == open_store(out).sample(*next(iter(open_store(out).rows()))[:2])["capture"]
    ).all()


def test_another_mask_in_a_dataset_is_found(mask, recipe_file, tmp_path):
    recipe = find_recipe(str(recipe_file), mask=mask)
    other = make_bank(recipe, mask=SpiralMask()).sampled(*recipe.scenes.depth)
    with pytest.raises(InputError, match="is not the one that the recipe was made with"):
        SampleMaker(recipe, other)


@pytest.mark.parametrize("command", ["plan", "generate", "psf", "preview", "info"])
def test_every_command_that_takes_a_recipe_takes_a_mask(mask, tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "r.toml").write_text(Recipe.parse(data(psf=PSF | {"mask": {"kind": "spiral"}})).to_toml())
    out = ("out",) if command == "generate" else ()
    done = defocal(command, "r.toml", *out, "--mask", mask)
    assert done.exit_code == 0, done.output
    if command in ("plan", "psf", "info"):
        assert f"sha256 {mask_digest(LEARNED)[:12]}" in done.output
    assert "psf.kind" in refused(command, "quickstart", *out, "--mask", mask)


def test_a_recipe_that_leaves_its_mask_open_says_how_to_get_one(mask, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for words in (("plan", "rpsf-learned"), ("generate", "rpsf-learned", "out"), ("psf", "rpsf-learned")):
        assert "--mask FILE, for example RUN/mask.json" in refused(*words)
    assert not (tmp_path / "out").exists()
    assert defocal("info", "rpsf-learned").exit_code == 0
    recipe, noisy = find_recipe("rpsf-learned", mask=mask), find_recipe("rpsf-noisy")
    assert (recipe.camera, recipe.sensor, recipe.output) == (noisy.camera, noisy.sensor, noisy.output)
    assert make_bank(recipe).facts["mask"]["lobes"] == 1.3


def test_the_recipe_of_a_dataset_asks_for_its_own_mask(mask, recipe_file, tmp_path):
    recipe = find_recipe(str(recipe_file), mask=mask)
    (tmp_path / "again.toml").write_text(recipe.to_toml())
    assert find_recipe(str(tmp_path / "again.toml"), mask=mask) == recipe
    assert "`defocal mask STORE OUT` takes it out" in refused("plan", tmp_path / "again.toml")
    save_mask(SpiralMask(), tmp_path / "other.json")
    sentence = refused("plan", tmp_path / "again.toml", "--mask", tmp_path / "other.json")
    assert "is not the one that the recipe was made with" in sentence


def test_a_mask_for_another_pupil_is_refused_unless_it_is_meant(mask, recipe_file, tmp_path):
    lens = find_recipe(str(recipe_file)).lens
    for factor, refusing in ((1.009, False), (0.95, True), (1.05, True)):
        save_mask(LEARNED, mask, replace(lens, f_number=lens.f_number * factor, focus_distance=math.inf))
        for command, *more in (("plan",), ("psf",), ("preview",), ("generate", tmp_path / "out")):
            words = (command, recipe_file, *more, "--mask", mask)
            if refusing:
                assert "give --set psf.mask.any_camera=true if you mean it" in refused(*words)
        with pytest.raises(InputError, match="pupil") if refusing else nullcontext():
            make_bank(find_recipe(str(recipe_file), mask=mask))
    assert not (tmp_path / "out").exists()
    done = defocal("generate", recipe_file, tmp_path / "out", "--mask", mask, "--set", "psf.mask.any_camera=true")
    assert done.exit_code == 0, done.output
    meant = "psf.mask.any_camera=true"
    assert defocal("preview", recipe_file, "--out", tmp_path / "p", "--mask", mask, "--set", meant).exit_code == 0
    # It is the same dataset: who means it says so, and that is all.
    assert open_store(tmp_path / "out").recipe.hash() == find_recipe(str(recipe_file), mask=mask).hash()
    assert "any_camera" not in (tmp_path / "out/recipe.toml").read_text()
    maker = ("--recipe", recipe_file, "--cell", "20 um")
    assert "is for a pupil of" in refused("mask", mask, tmp_path / "made", *maker)
    assert defocal("mask", mask, tmp_path / "made", *maker, "--set", meant).exit_code == 0


@pytest.mark.parametrize(
    "camera", [[], {"f_number": 2}, {"focal_length": 0.05, "f_number": "2", "focus_distance": 1, "pixel_pitch": 1e-5},
               {"focal_length": 0.05, "f_number": -2, "focus_distance": 1, "pixel_pitch": 1e-5}],
)  # fmt: skip
def test_damaged_cameras_of_masks_are_refused(mask, camera):
    mask.write_text(json.dumps({**json.loads(mask.read_text()), "camera": camera}))
    assert "holds no usable mask" in refused("plan", "rpsf-learned", "--mask", mask)


def test_a_sheet_names_the_mask_and_not_the_file_kind(mask, recipe_file, tmp_path, monkeypatch):
    titles = []
    monkeypatch.setattr(psf_module, "psf_sheet", lambda *_, title, facts, **__: titles.append((title, facts)) or SHEET)
    done = defocal("psf", recipe_file, "--mask", mask, "--out", tmp_path / "p.png")
    assert done.exit_code == 0, done.output
    title, facts = titles[0]
    assert title.endswith("spiral mask of run/mask.json")
    assert any(fact.startswith("mask: spiral, L = 7, N = 1.3") for fact in facts)
    assert not any(str(tmp_path) in fact for fact in facts)


def test_masks_that_cannot_be_used_are_refused(mask, tmp_path, tiny_store):
    assert "none.json cannot be read" in refused("plan", "rpsf-learned", "--mask", tmp_path / "none.json")
    (tmp_path / "broken.json").write_text("{}")
    assert "not a file that holds a mask" in refused("plan", "rpsf-learned", "--mask", tmp_path / "broken.json")
    assert "is a dataset" in refused("psf", tiny_store, "--mask", mask)
    assert "is a dataset" in refused("info", tiny_store, "--mask", mask)
    assert "is a dataset" in refused("preview", tiny_store, "--mask", mask)
    assert load_mask(mask).to_dict() == LEARNED.to_dict()
