"""What a training through a mask refuses, and how it names it."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
from conftest import recipe_data
from learning import OPTICS, recipe, settings
from training import config_data

from defocal import InputError
from defocal.synth import HeightMap, Recipe, save_mask
from defocal.train import load_model, train
from defocal.train.checkpoint import load_checkpoint, save_checkpoint
from defocal.train.config import Config
from defocal.train.trainer import DivergedError


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"data": {"input": "capture"}}, r"set data\.input = 'aif'"),
        ({"data": {"targets": ["aif"]}}, r"'depth' among data\.targets"),
        ({"data": {"extra": ["raw"], "augment": {"flips": []}}}, r"data\.extra holds raw"),
        ({"data": {"augment": {"noise": 0.1, "allow_blur_changes": True}}}, "before the lens"),
        ({"optics": {"mask": {"kind": "prism"}}}, r"optics\.mask: kind must be one of"),
        ({"optics": {"wavelengths": ["640 nm", "550 nm"]}}, "wavelengths must be three"),
        ({"optics": {"sensor": {"shot_noise": "poisson"}}}, r"optics\.sensor\.shot_noise"),
        ({"optics": {"rates": 1.0}}, r"optics\.rates: unknown key"),
    ],
)
def test_what_cannot_be_is_named_by_its_key(changes, words):
    data = config_data(data={"input": "aif", **changes.get("data", {})}, optics={**OPTICS, **changes.get("optics", {})})
    with pytest.raises(InputError, match=words):
        Config.parse(data)


def test_samples_with_cameras_of_their_own_have_no_pupil_for_a_mask(tmp_path):
    camera = {
        "focal_length": "50 mm",
        "f_number": {"uniform": [1.8, 2.4]},
        "focus_distance": "1.6 m",
        "pixel_pitch": "200 um",
    }
    data = recipe_data(camera=camera, scenes={"count": 4}, output={"splits": {"train": 0.5, "test": 0.5}})
    from defocal.pipelines.generate import create, run
    from defocal.synth.samples import SampleMaker

    maker = SampleMaker(Recipe.parse(data))
    assert not run(tmp_path / "drawn", maker, create(tmp_path / "drawn", maker)).failed
    with pytest.raises(InputError, match="the mask stands in one lens"):
        train(settings(data={"batch_size": 2}), [tmp_path / "drawn"], tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_mask_for_another_pupil_is_refused_unless_it_is_meant(helix_store, tmp_path):
    lens = recipe({"kind": "clear"}).lens
    save_mask(HeightMap(np.zeros((2, 2))), tmp_path / "m.json", replace(lens, f_number=2 * lens.f_number))
    mask = {"kind": "file", "path": str(tmp_path / "m.json")}
    with pytest.raises(InputError, match=r"is for a pupil of .* give --set optics\.mask\.any_camera=true"):
        train(settings({"mask": mask}), [helix_store], tmp_path / "run")
    assert not (tmp_path / "run").exists()
    chosen = settings({"mask": {**mask, "any_camera": True}}, run={"steps": 1})
    assert train(chosen, [helix_store], tmp_path / "run").complete


def test_kernels_that_cannot_be_are_refused_before_anything_is_written(helix_store, tmp_path):
    with pytest.raises(InputError, match=r"optics\.size|optics\.samples"):
        train(settings({"size": 3}), [helix_store], tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_checkpoint_without_its_mask_is_refused(learned_run, tmp_path):
    run = shutil.copytree(learned_run[0], tmp_path / "run")
    state = load_checkpoint(run / "best.pt")
    del state["format"]
    for text in ("{}", "[]", '{"kind": ["clear"]}', f'{{"kind": "spiral", "zones": 1{400 * "0"}}}', 9999 * "["):
        broken = {**state["optics"], "mask": text}
        save_checkpoint(run / "best.pt", {**state, "optics": broken})
        with pytest.raises(InputError, match="holds no usable mask"):
            load_model(run, device="cpu")
    del state["optics"]
    save_checkpoint(run / "best.pt", state)
    with pytest.raises(InputError, match="holds no usable mask"):
        load_model(run, device="cpu")


@pytest.mark.parametrize("cells", [4, 6])
def test_a_mask_is_not_learned_on_from_a_file_that_has_changed(helix_store, tmp_path, cells):
    """Its range comes from the file: the same parameters would be another mask."""
    kept = tmp_path / "kept.json"
    save_mask(HeightMap(heights=np.full((4, 4), 2e-7)), kept)
    chosen = settings({"mask": {"kind": "file", "path": str(kept), "learn": True}, "hold": 0})
    train(chosen, [helix_store], tmp_path / "run")
    save_mask(HeightMap(heights=np.full((cells, cells), 9e-7)), kept)
    with pytest.raises(InputError, match=r"made through another mask than optics\.mask says now"):
        train(chosen, [helix_store], tmp_path / "run", resume=True)


def test_masks_numbers_that_are_none_stop_a_run(helix_store, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "defocal.train.optics.module.render", lambda aif, plane, kernels, model: aif * kernels.sum() / 0
    )
    with pytest.raises(DivergedError, match=r"no finite number.*optics\.rate"):
        train(settings(), [helix_store], tmp_path / "run")
    assert next((tmp_path / "run").glob("refused-*.npz"))
