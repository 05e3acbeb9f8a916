"""The trainer: what it leaves behind, exact resumption, and what it refuses."""

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from training import config

from defocal import InputError
from defocal.train import trainer as module
from defocal.train.checkpoint import load_checkpoint, save_checkpoint
from defocal.train.devices import Team
from defocal.train.feeding import Feed
from defocal.train.journal import read_log
from defocal.train.trainer import DivergedError, Training, train
from defocal.train.validation import in_words


def weights(run, name="last.pt"):
    return load_checkpoint(run / name)["model"]


def equal(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def timeless(lines):
    return [{k: v for k, v in line.items() if k not in ("samples_per_second", "waiting", "seconds")} for line in lines]


@pytest.fixture(scope="module")
def finished(tiny_store, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "whole"
    outcome = train(config(run={"ema": 0.9}), [tiny_store], out)
    assert outcome.complete
    return out, outcome


def test_a_run_leaves_what_one_wants_to_read(finished):
    out, outcome = finished
    facts = json.loads((out / "run.json").read_text())
    assert facts["parameters"] > 0
    assert facts["steps"] == 6
    assert facts["data"][0]["recipe"] == "tiny"
    assert [line["step"] for line in read_log(out, "validation")] == [3, 6]
    assert outcome.numbers["rmse"] == read_log(out, "validation")[-1]["rmse"]
    assert outcome.best["loss"] == min(line["loss"] for line in read_log(out, "validation"))
    with Image.open(out / "pictures" / "step-000006.png") as sheet:
        # Two rows of four pictures of 32 px, which are enlarged to make room for their titles.
        assert sheet.size == (4 * 96 + 3 * 4, 18 + 2 * 96 + 4)
    assert not list(out.rglob("*.partial"))


def test_nothing_in_a_run_says_where_it_was_made(finished, tiny_store):
    out, _ = finished
    for path in out.rglob("*.json*"):
        assert str(tiny_store.parent) not in path.read_text()
    assert str(tiny_store.parent).encode() not in (out / "last.pt").read_bytes()


@pytest.mark.parametrize("stop", [1, 3, 5])
def test_a_resumed_run_makes_the_very_steps_of_an_uninterrupted_one(finished, tiny_store, tmp_path, stop):
    whole, outcome = finished
    out = tmp_path / "run"
    settings = config(run={"ema": 0.9})
    with module.join_team("cpu") as team:
        training = Training(settings, [tiny_store], out, team, resume=False)
        make = training._make_step

        def step(batch):
            if training.step + 1 == stop:
                training.stop.wished.set()
            return make(batch)

        training._make_step = step
        assert not training.run().complete
        training.close()
    assert load_checkpoint(out / "last.pt")["step"] == stop
    resumed = train(settings, [tiny_store], out, resume=True)
    assert resumed == outcome
    for name in ("last.pt", "best.pt"):
        one, other = load_checkpoint(whole / name), load_checkpoint(out / name)
        assert equal(one["model"], other["model"])
        assert equal(one["average"], other["average"])
    for group in ("train", "validation"):
        assert timeless(read_log(out, group)) == timeless(read_log(whole, group))


def test_readers_change_nothing(finished, tiny_store, tmp_path):
    out = tmp_path / "run"
    train(config(run={"ema": 0.9}, data={"workers": 2}), [tiny_store], out)
    # Where a run reads is free to change; what it reads is not.
    assert equal(weights(out), weights(finished[0]))


def test_a_complete_run_has_nothing_left_to_do(finished, tiny_store, capsys):
    out, outcome = finished
    before = (out / "last.pt").read_bytes()
    assert train(config(run={"ema": 0.9}), [tiny_store], out, resume=True) == outcome
    assert (out / "last.pt").read_bytes() == before
    assert "nothing to do" in capsys.readouterr().err


def test_the_average_is_what_is_validated_and_kept(finished):
    state = load_checkpoint(finished[0] / "last.pt")
    assert not equal(state["model"], state["average"])


def test_a_folder_that_is_not_empty_is_refused(tiny_store, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.tex").write_text("mine")
    with pytest.raises(InputError, match="is not empty: give another folder, or --resume"):
        train(config(), [tiny_store], tmp_path / "run")


def test_resuming_nothing_says_so(tiny_store, tmp_path):
    with pytest.raises(InputError, match="there is no checkpoint"):
        train(config(), [tiny_store], tmp_path / "run", resume=True)
    assert not (tmp_path / "run").exists()


def test_a_run_is_not_resumed_with_another_config_or_other_data(finished, tiny_store, tmp_path):
    with pytest.raises(InputError, match=r"another config: optimiser\.rate is 0\.5, and was 0\.003"):
        train(config(run={"ema": 0.9}, optimiser={"rate": 0.5}), [tiny_store], finished[0], resume=True)
    other = shutil.copytree(tiny_store, tmp_path / "other")
    (other / "samples.csv").write_text((tiny_store / "samples.csv").read_text().replace("procedural", "other"))
    with pytest.raises(InputError, match="begun on other data"):
        train(config(run={"ema": 0.9}), [other], finished[0], resume=True)


def test_two_runs_keep_out_of_each_others_folder(tiny_store, tmp_path):
    with module.join_team("cpu") as team:
        training = Training(config(), [tiny_store], tmp_path / "run", team, resume=False)
        with pytest.raises(InputError, match="another process trains in"):
            Training(config(), [tiny_store], tmp_path / "run", team, resume=False)
        training.close()


def test_a_run_that_was_killed_at_once_is_resumed_from_its_very_beginning(finished, tiny_store, tmp_path, monkeypatch):
    out = tmp_path / "run"
    monkeypatch.setattr(Training, "_make_step", lambda self, batch: (_ for _ in ()).throw(KeyError("killed")))
    with pytest.raises(KeyError):
        train(config(run={"ema": 0.9}), [tiny_store], out)
    monkeypatch.undo()
    assert train(config(run={"ema": 0.9}), [tiny_store], out, resume=True) == finished[1]
    assert equal(weights(out), weights(finished[0]))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"data": {"crop": [33, 32]}}, "multiples of 4, not 33 x 32"),
        ({"data": {"depth": [100.0, 200.0]}}, "no depth is known in the split 'test', or none within data.depth"),
        ({"run": {"best": "psnr"}}, "run.best is 'psnr', and this model is not trained for aif"),
        ({"data": {"workers": 200}}, "too many for the"),
    ],
)
def test_what_cannot_work_leaves_nothing(tiny_store, tmp_path, changes, words):
    with pytest.raises(InputError) as caught:
        train(config(**changes), [tiny_store], tmp_path / "run")
    assert words in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_a_store_is_given_once(tiny_store, tmp_path):
    with pytest.raises(InputError, match="is given twice"):
        train(config(), [tiny_store, tiny_store], tmp_path / "run")


def test_a_store_by_another_path_or_its_copy_is_given_once(tiny_store, tmp_path):
    (tmp_path / "link").symlink_to(tiny_store)
    shutil.copytree(tiny_store, tmp_path / "copy")
    for other in (f"{tiny_store}/", tmp_path / "link", tmp_path / "copy"):
        with pytest.raises(InputError, match="hold the same samples"):
            train(config(), [tiny_store, other], tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_run_needs_a_place_for_its_folder(tiny_store, tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "nowhere").symlink_to(tmp_path / "gone")
    for out, words in (("file", "is a file"), ("file/run", "cannot make the folder"), ("nowhere", "cannot make")):
        with pytest.raises(InputError, match=words):
            train(config(), [tiny_store], tmp_path / out)
    shutil.copytree(tiny_store, tmp_path / "data")
    with pytest.raises(InputError, match=r"is inside the dataset .*--out"):
        train(config(), [tmp_path / "data"], tmp_path / "data" / "run")
    assert not (tmp_path / "data" / "run").exists()


def test_a_damaged_log_is_no_reason_not_to_go_on(tiny_store, tmp_path):
    train(config(run={"steps": 2}), [tiny_store], tmp_path / "run")
    log = tmp_path / "run" / "log.jsonl"
    whole = log.read_bytes()
    log.write_bytes(whole + b'\xff\xfe\x00bad\n{"step": 1}\n{"step"')
    assert train(config(run={"steps": 2}), [tiny_store], tmp_path / "run", resume=True).complete
    assert read_log(tmp_path / "run", "train") == [
        json.loads(line) for line in whole.splitlines() if b'"train"' in line
    ]


def test_what_is_validated_on_what_is_learned_is_not_called_unseen(tiny_store):
    split = {"train_split": "train", "validation_split": "train"}
    for data, words in (({}, "unseen ones"), (split, "the same split to validate on")):
        feed = Feed(config(data=data), [tiny_store], Team(0, 1, torch.device("cpu")))
        assert feed.words.endswith(words)
        feed.close()


def test_another_config_is_named_by_its_name(finished, tiny_store):
    other = config(run={"ema": 0.9}, name="other", description="of another kind")
    with pytest.raises(InputError, match="another config: name is 'other', and was 'tiny'"):
        train(other, [tiny_store], finished[0], resume=True)


def test_where_a_run_computes_may_change(finished, tiny_store):
    changed = config(run={"ema": 0.9, "pictures": 0, "device": "auto"}, data={"workers": 1})
    assert train(changed, [tiny_store], finished[0], resume=True, device="cpu").complete


def test_numbers_that_are_none_stop_a_run_and_keep_the_batch(tiny_store, tmp_path):
    out = tmp_path / "run"
    with pytest.raises(DivergedError, match="no finite number") as caught:
        train(config(optimiser={"rate": 10.0, "kind": "sgd", "momentum": 0.99}, loss={"kind": "rpsf"},
                     schedule={"kind": "constant", "warm_up": 0},
                     model={"kind": "unet", "levels": 2, "width": 2, "output": "linear"}, run={"steps": 400},
                     target={"kind": "depth", "span": [0.0, 1e-30]}), [tiny_store], out)  # fmt: skip
    path = next(out.glob("refused-*.npz"))
    assert path.name in str(caught.value)
    with np.load(path, allow_pickle=False) as batch:
        assert batch["capture"].shape == (3, 40, 56, 3)


def test_a_device_without_memory_names_what_to_lower(tiny_store, tmp_path, monkeypatch):
    def full(self, batch):
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr("defocal.train.models.unet.UNet.forward", full)
    with pytest.raises(InputError, match=r"out of memory at batches of 3 \(32x32 px.*lower data.batch_size"):
        train(config(), [tiny_store], tmp_path / "run")


def test_batches_too_small_to_normalise_are_explained(tiny_store, tmp_path):
    model = {"kind": "d3net", "width": 0.0625, "blocks": [1, 1, 1, 1]}
    with pytest.raises(InputError, match=r"raise data\.crop or data\.batch_size"):
        train(config(model=model, data={"batch_size": 1}), [tiny_store], tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_a_device_that_is_not_there_is_refused_before_anything_is_written(tiny_store, tmp_path):
    for name in ("cuda", "tpu", "cpu:x"):
        with pytest.raises(InputError, match=r"no CUDA device|there is no device"):
            train(config(), [tiny_store], tmp_path / "run", device=name)
    assert not (tmp_path / "run").exists()


def test_the_checkpoint_of_another_model_is_refused(finished, tiny_store, tmp_path):
    out = tmp_path / "run"
    train(config(run={"steps": 1}), [tiny_store], out)
    state = load_checkpoint(out / "last.pt")
    del state["format"]
    save_checkpoint(out / "last.pt", {**state, "model": {"a": torch.zeros(1)}})
    with pytest.raises(InputError, match="weights of another model: it lacks"):
        train(config(run={"steps": 1}), [tiny_store], out, resume=True)


def test_a_sigmoid_that_cannot_say_these_depths_is_refused(tiny_store, tmp_path):
    model = {"kind": "unet", "levels": 2, "width": 2, "output": "sigmoid"}
    with pytest.raises(InputError, match=r"set target.span to at least \[0\.25, 1\.25\]"):
        train(config(model=model), [tiny_store], tmp_path / "run")


def test_parts_of_a_batch_add_up_to_the_whole(tiny_store, tmp_path):
    """Without batch normalisation and dropout, the gradient of a batch is the mean over its parts."""
    found = []
    for name, parts in (("one", 1), ("three", 3)):
        settings = config(run={"steps": 1, "accumulate": parts}, optimiser={"kind": "sgd", "rate": 1e-2})
        with module.join_team("cpu") as team:
            training = Training(settings, [tiny_store], tmp_path / name, team, resume=False)
            training.model.eval()
            training.model.train = lambda mode=True: training.model  # noqa: B023 - used before the next turn
            training.run()
            training.close()
            found.append(training.model.state_dict())
    for name, value in found[0].items():
        torch.testing.assert_close(value, found[1][name], rtol=1e-4, atol=1e-6)


def test_pixels_in_a_row_are_as_exact_after_a_resumption(tiny_store, tmp_path):
    settings = config(run={"channels_last": True, "ema": 0.9})
    train(settings, [tiny_store], tmp_path / "whole")
    with module.join_team("cpu") as team:
        training = Training(settings, [tiny_store], tmp_path / "run", team, resume=False)
        kernels = [p for p in training.model.parameters() if p.ndim == 4]
        assert all(p.is_contiguous(memory_format=torch.channels_last) for p in kernels)
        training.stop.wished.set()
        assert not training.run().complete
        training.close()
    train(settings, [tiny_store], tmp_path / "run", resume=True)
    assert equal(weights(tmp_path / "run"), weights(tmp_path / "whole"))


def test_half_precision_learns_too(tiny_store, tmp_path):
    outcome = train(config(run={"steps": 3, "precision": "bf16"}), [tiny_store], tmp_path / "run")
    assert np.isfinite(outcome.numbers["rmse"])
    assert all(v.dtype != torch.bfloat16 for v in weights(tmp_path / "run").values())


def test_metrics_are_told_with_units_and_terms_of_the_loss_without():
    numbers = {"depth/rmse": 0.12, "depth_defocus/l1": 0.3, "rmse": 0.5, "DefocusNet/mae": 0.4, "psnr": 30.0}
    expected = "depth/rmse 0.12, depth_defocus/l1 0.3, rmse 0.5 m, DefocusNet/mae 0.4 m, psnr 30 dB"
    assert in_words(numbers) == expected
