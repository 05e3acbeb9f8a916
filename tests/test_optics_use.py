"""Runs that learned a mask, in use: their captures, evaluation, fine-tuning."""

import json
import shutil

import numpy as np
import pytest
import torch
from learning import made, same
from training import config

from defocal import InputError
from defocal.pipelines.evaluation import Options, evaluate
from defocal.pipelines.evaluation_report import report_numbers, write_report
from defocal.synth import open_store
from defocal.train import load_model, train
from defocal.train import trainer as module
from defocal.train.batches import prepare
from defocal.train.checkpoint import load_checkpoint
from defocal.train.data import StoreDataset
from defocal.train.pipeline import world
from defocal.train.settings import DataSettings
from defocal.train.trainer import Training


def test_what_a_model_sees_is_what_a_store_of_the_mask_holds(learned_run, tmp_path):
    """The run's mask.json in a recipe: synth's captures beside those of the trainer, and evaluation takes either."""
    out, _ = learned_run
    noisy = made(tmp_path / "noiseless", {"kind": "file", "path": str(out / "mask.json"), "wavelength": "550 nm"})
    store = open_store(noisy)
    model = load_model(out, device="cpu")
    model.optics.sensor = None
    for row in range(2):
        sample = store.sample("test", row)
        ours = model.capture(sample["aif"], sample["depth"]).astype(float)
        error = np.mean((ours - sample["capture"]) ** 2)
        # Nine planes there, five here: the same light, more coarsely in depth.
        assert 10 * np.log10(255**2 / error) > 30
        assert np.mean((sample["aif"] - sample["capture"].astype(float)) ** 2) > 4 * error
    stored = evaluate([out], noisy, Options(device="cpu", captures="stored"))
    rendered = evaluate([out], noisy, Options(device="cpu"))
    numbers = [report_numbers(one)["judged"][0] for one in (stored, rendered)]
    assert [one["facts"]["input"] for one in numbers] == ["stored captures", "rendered captures"]
    assert numbers[0]["mask"].keys() == {"lobes", "confinement"}
    page = write_report(rendered, tmp_path / "report")[0].read_text()
    assert "Learned masks" in page
    assert "lobes" in page


def test_captures_through_another_mask_are_not_taken_for_the_runs_own(learned_run, helix_store, tiny_store):
    with pytest.raises(InputError, match="made through another mask than learned's"):
        evaluate([learned_run[0]], helix_store, Options(device="cpu", captures="stored"))
    asked = {"baselines": ("wiener",), "depth_from": learned_run[0], "device": "cpu"}
    with pytest.raises(InputError, match="let it look at the store's own with --captures stored"):
        evaluate([], helix_store, Options(**asked))
    with pytest.raises(InputError, match="made through another mask than learned's"):
        evaluate([], helix_store, Options(**asked, captures="stored"))
    with pytest.raises(InputError, match="captures are rendered or stored"):
        evaluate([learned_run[0]], helix_store, Options(device="cpu", captures="drawn"))
    with pytest.raises(InputError, match=r"focal_length|f_number|focus_distance|pixel_pitch"):
        evaluate([learned_run[0]], tiny_store, Options(device="cpu"))


def test_noise_of_a_rendered_capture_is_the_samples_own(learned_run, helix_store):
    model = load_model(learned_run[0], device="cpu")
    sample = open_store(helix_store).sample("test", 0)
    one, again, other = (model.capture(sample["aif"], sample["depth"], k) for k in (0, 0, 1))
    np.testing.assert_array_equal(one, again)
    assert (one != other).mean() > 0.3
    assert model.predict(one)["depth"].shape == sample["depth"].shape
    with pytest.raises(InputError, match="needs some known depth"):
        model.capture(sample["aif"], np.full_like(sample["depth"], np.nan))
    for aif, depth in ((sample["aif"].tolist(), sample["depth"]), (sample["aif"], "far"), (sample["aif"], [1.0])):
        with pytest.raises(InputError, match="must be a numpy array"):
            model.capture(aif, depth)
    with pytest.raises(InputError, match="sample must be a whole number"):
        model.capture(sample["aif"], sample["depth"], "0")
    with pytest.raises(InputError, match="a capture is made of"):
        model.capture(sample["aif"][..., 0], sample["depth"])


def test_scenes_are_flipped_and_cropped_before_the_lens(helix_store):
    """Flips of scenes are right whatever the PSFs; of captures through asymmetric ones they are refused."""
    flips = {"crop": [32, 32], "augment": {"flips": ["left-right", "up-down", "transpose"]}}
    with pytest.raises(InputError, match="not their own mirror images"):
        StoreDataset.of([helix_store], DataSettings.parse(flips))
    chosen = DataSettings.parse({**flips, "input": "aif"})
    data = StoreDataset.of([helix_store], chosen)
    batch = data[0] | {}
    raw = {name: tensor[None] for name, tensor in batch.items()}
    ready = prepare(raw, chosen, data.facts, surface=True)
    seen = world(ready)
    assert seen["aif"].shape == (1, 3, 32, 32)
    assert seen["depth"].shape == (1, 32, 32)
    torch.testing.assert_close(torch.where(seen["valid"], seen["depth"], 0.0), ready["depth"])


def test_depths_that_are_not_asked_for_are_rendered_all_the_same(helix_store):
    chosen = DataSettings.parse({"input": "aif", "depth": [0.8, 1.2], "augment": {"flips": []}})
    data = StoreDataset.of([helix_store], chosen)
    raw = {name: tensor[None] for name, tensor in data[0].items()}
    ready = prepare(raw, chosen, data.facts, surface=True)
    assert ready["surface"].nan_to_num(0).max() > 2
    assert ready["depth"].max() <= 1.2
    assert "surface" not in prepare(raw, chosen, data.facts)


def test_fine_tuning_begins_with_a_runs_weights_and_nothing_else(learned_run, helix_store, tmp_path, capsys):
    """Third stage: captures of a helix_store, the mask as good as given, the optimiser new."""
    source = shutil.copytree(learned_run[0], tmp_path / "source")
    begun = config(run={"steps": 2, "start_from": str(source)}, data={"augment": {"flips": []}})
    with module.join_team("cpu") as team:
        training = Training(begun, [helix_store], tmp_path / "tuned", team, resume=False)
        assert same(training.model.state_dict(), load_checkpoint(source / "best.pt")["average"])
        assert not training.optimiser.state_dict()["state"]
        training.close()
    shutil.rmtree(tmp_path / "tuned")
    assert train(begun, [helix_store], tmp_path / "tuned").complete
    assert "all weights are those of step" in capsys.readouterr().err
    facts = json.loads((tmp_path / "tuned" / "run.json").read_text())
    assert "trained on tiny through the mask of that run" in facts["weights"]
    for path in (tmp_path / "tuned").rglob("*.json*"):
        assert str(tmp_path) not in path.read_text()
    assert str(tmp_path).encode() not in (tmp_path / "tuned" / "last.pt").read_bytes()
    # The run that it began with may be gone when it is resumed.
    shutil.rmtree(source)
    assert train(begun, [helix_store], tmp_path / "tuned", resume=True).complete
    assert json.loads((tmp_path / "tuned" / "run.json").read_text())["weights"] == facts["weights"]


def test_fine_tuning_of_another_architecture_is_refused(learned_run, helix_store, tmp_path):
    wider = {"kind": "unet", "levels": 3, "width": 5, "output": "linear"}
    augment = {"augment": {"flips": []}}
    with pytest.raises(InputError, match="holds the weights of another model"):
        train(
            config(model=wider, data=augment, run={"start_from": str(learned_run[0])}), [helix_store], tmp_path / "run"
        )
    with pytest.raises(InputError, match="there is no run at"):
        train(config(data=augment, run={"start_from": str(tmp_path / "none")}), [helix_store], tmp_path / "run")
    assert not (tmp_path / "run").exists()
