"""Models of focal stacks and of two depths after training: prediction, evaluation, reports, commands, bad input."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from stacking import STACK, stack_store, toy_config

from defocal import InputError
from defocal.evaluate.metrics import depth_metrics
from defocal.pipelines.baselines import BASELINES
from defocal.pipelines.classical import Classical
from defocal.pipelines.cli import cli
from defocal.pipelines.evaluation import Options, evaluate
from defocal.pipelines.evaluation_report import cautions, report_tables, summary, write_report
from defocal.pipelines.judged import Sample
from defocal.synth import ThinLens, open_store
from defocal.train import load_model, train
from defocal.train.config import Config

pytestmark = pytest.mark.usefixtures("one_thread", "toys")


@pytest.fixture(scope="module")
def runs(toys, toy_stacks, tmp_path_factory):
    """A model of stacks, and one of two depths, which reads the capture too."""
    out = tmp_path_factory.mktemp("runs")
    train(Config.parse(toy_config(run={"steps": 2})), [toy_stacks], out / "one")
    both = {"model": {"heads": ["depth", "depth_defocus"]}, "data": {"extra": ["capture"]}, "run": {"steps": 2}}
    train(Config.parse(toy_config(**both)), [toy_stacks], out / "both")
    train(Config.parse(toy_config(**both, seed=6)), [toy_stacks], out / "both-seed1")
    return out


@pytest.fixture(scope="module")
def sample(toy_stacks):
    return open_store(toy_stacks).sample("test", 0)


class Middle(Classical):
    """A baseline of stacks: the middle distance everywhere, and the first slice as the sharp image."""

    input, outputs = "stack", ("depth", "aif")
    words = "says the mean of the focus distances"

    def __init__(self, store):
        pass

    def tell(self, picture, focus, depth):
        return {"depth": np.full(picture.shape[1:3], focus.mean(), np.float32), "aif": picture[0] / np.float32(255)}


def run_command(*arguments):
    return CliRunner().invoke(cli, [str(argument) for argument in arguments], catch_exceptions=False)


# --- prediction -----------------------------------------------------------------------------------------------------


def test_stacks_of_any_size_type_and_order_are_predicted(runs, sample):
    model = load_model(runs / "one", device="cpu")
    stack, focus = sample["stack"][:, :37, :51], sample["focus"]
    found = model.predict(stack, focus=focus)
    assert {name: value.shape for name, value in found.items()} == {"depth": (37, 51), "aif": (37, 51, 3)}
    assert focus.min() <= found["depth"].min() <= found["depth"].max() <= focus.max()
    turned = model.predict(stack[::-1], focus=focus[::-1].tolist())
    for name, value in found.items():
        np.testing.assert_array_equal(turned[name], value)
    np.testing.assert_allclose(model.predict(stack.astype(np.uint16) * 257, focus=focus)["depth"], found["depth"])
    several = model.predict(np.stack([stack, stack[::-1]]), focus=np.stack([focus, focus[::-1]]))
    np.testing.assert_allclose(several["depth"][0], several["depth"][1])
    assert model.predict(stack[:2], focus=[0.9, np.inf])["depth"].shape == (37, 51)
    assert model.predict(np.stack([stack, stack]), focus=focus)["aif"].shape == (2, 37, 51, 3)


def test_what_a_model_of_stacks_cannot_use_is_refused(runs, sample, toy_stacks, tmp_path):
    model = load_model(runs / "one", device="cpu")
    stack, focus = sample["stack"], sample["focus"]
    for images, given, says in (
        (stack, {}, r"give predict\(images, focus=...\), the focus distances of the 4 slices in metres"),
        (stack, {"focus": focus[:3]}, r"focus must have shape \(4,\) or \(1, 4\), a distance for each slice, not \(3,"),
        (stack, {"focus": 2.0}, r"focus must have shape"),
        (stack, {"focus": [1, 2, np.nan, 3]}, "focus distances must be metres above 0, not nan"),
        (stack, {"focus": [1, 2, -1, 3]}, "focus distances must be metres above 0, not -1"),
        (stack, {"focus": ["near"] * 4}, "focus must be numbers, in metres"),
        (stack, {"focus": ["1", "2", "3", "4"]}, "focus must be numbers, in metres"),
        (stack, {"focus": [1e-40, 1, 2, 3]}, "focus distances are from 1e-12 to 1e"),
        (stack, {"focus": [1, 2, 3, 1e39]}, "focus distances are from 1e-12 to 1e"),
        (stack, {"focus": focus, "depth": np.ones((40, 56))}, "no depth: leave depth out"),
        (np.ma.masked_array(stack, stack < 9), {"focus": focus}, "no masked pixels"),
        (stack, {"focus": focus * 1000}, r"focus is from 900 to 3000 m, .* scenes of 0.8 to 4 m: give focus"),
        (stack[0], {"focus": focus}, r"images must have shape \(slices, h, w, 3\) .*, as the model reads focal stacks"),
        (stack, {"focus": focus, "capture": stack[0]}, "reads focal stacks and no capture: leave capture out"),
        (stack, {"focus": focus, "intrinsics": np.eye(3)}, "no intrinsics: leave intrinsics out"),
        (stack.astype(np.float32), {"focus": focus}, r"finite and in \[0, 1\]"),
    ):
        with pytest.raises(InputError, match=says):
            model.predict(images, **given)
    assert model.predict(stack, focus=focus * 1000, anywhere=True)["depth"].shape == (40, 56)
    lens = ThinLens(focal_length=0.05, f_number=2.0, focus_distance=9.0, pixel_pitch=2e-4)
    model.predict(stack, lens, focus=focus)
    with pytest.raises(InputError, match="these images have f_number 4, and the model was trained for 2"):
        model.predict(stack, dataclasses.replace(lens, f_number=4.0), focus=focus)
    train(Config.parse(toy_config(model={"takes": [4, 4]}, run={"steps": 1})), [toy_stacks], tmp_path / "four")
    with pytest.raises(InputError, match="Toy takes stacks of 4 slices, not of 5"):
        load_model(tmp_path / "four", device="cpu").predict(stack[[0, 1, 2, 3, 3]], focus=[1, 2, 3, 4, 5])


def test_either_depth_of_a_model_of_two_can_be_had_alone(runs, sample):
    both = load_model(runs / "both", device="cpu")
    given = {"focus": sample["focus"], "capture": sample["capture"]}
    found = both.predict(sample["stack"], **given)
    assert set(found) == {"depth", "depth_defocus"}
    alone = load_model(runs / "both", device="cpu", heads="depth_defocus")
    assert sum(p.numel() for p in alone.model.parameters()) == 3 * 9 + 1
    told = alone.predict(sample["capture"])
    np.testing.assert_array_equal(told["depth_defocus"], found["depth_defocus"])
    with pytest.raises(InputError, match="reads single pictures and no focus: leave focus out"):
        alone.predict(sample["capture"], focus=[1.0])
    with pytest.raises(InputError, match=r"give predict\(images, capture=...\)"):
        both.predict(sample["stack"], focus=sample["focus"])
    with pytest.raises(InputError, match=r"the capture is .* and the stack .*: give both in one size"):
        both.predict(sample["stack"], focus=sample["focus"], capture=sample["capture"][:8])
    focus = load_model(runs / "both", device="cpu", heads=["depth"])
    assert focus.predict(sample["stack"], focus=sample["focus"]).keys() == {"depth"}
    with pytest.raises(InputError, match="cannot return aif"):
        load_model(runs / "both", heads=["aif"])


# --- evaluation -----------------------------------------------------------------------------------------------------


def test_each_depth_of_a_run_is_a_row_and_its_scores_are_those_of_the_predictions(runs, toy_stacks, tmp_path):
    options = Options(device="cpu", baselines=("mean-depth",), pictures=2)
    found = evaluate([runs / "one", runs / "both"], toy_stacks, options)
    assert [one.name for one in found.judged] == ["one", "both (FocusNet)", "both (DefocusNet)", "mean-depth"]
    model, opened, each = load_model(runs / "both", device="cpu"), open_store(toy_stacks), []
    for row in range(found.samples):
        one = opened.sample("test", row)
        told = model.predict(one["stack"], focus=one["focus"], capture=one["capture"])
        each.append(depth_metrics(told["depth_defocus"], one["depth"]))
    scores = found.judged[2].depth.result()
    for name in ("rmse", "mse", "mae", "bumpiness", "bad_pixels"):
        assert scores.per_image[name] == pytest.approx(np.mean([one[name] for one in each]), rel=1e-6)
    first = summary(found).splitlines()[0].split()
    assert [first.index(name) for name in ("MAE", "MSE", "RMSE", "Bumpiness", "BadPix", "PSNR", "SSIM")] == sorted(
        first.index(name) for name in ("MAE", "MSE", "RMSE", "Bumpiness", "BadPix", "PSNR", "SSIM")
    )
    assert report_tables(found)[0].columns()[:6] == ["mae", "mse", "rmse", "abs_rel", "delta1", "bumpiness"]
    paths = write_report(found, tmp_path / "report")
    page = paths[0].read_text()
    for words in ("Slice focused at 0.9 m", "Slice focused at 3 m", "both (DefocusNet)", "the depth of DefocusNet"):
        assert words in page
    numbers = json.loads(Path(paths[1]).read_text())["judged"]
    assert numbers[2]["depth"]["mean over images"]["bumpiness"] > 0
    assert [one.get("run") for one in numbers] == ["one", "both", "both", None]


def test_seeds_of_a_model_of_two_depths_are_a_row_for_each(runs, toy_stacks):
    found = evaluate([runs / "both", runs / "both-seed1"], toy_stacks, Options(device="cpu", limit=1, pictures=0))
    rows = report_tables(found)[0].rows
    assert [row.name for row in rows] == ["both (2 seeds) (FocusNet)", "both (2 seeds) (DefocusNet)"]


def test_a_baseline_of_stacks_is_judged_on_all_that_it_tells(toy_stacks, tmp_path, monkeypatch):
    monkeypatch.setitem(BASELINES, "middle", Middle)
    one = evaluate([], toy_stacks, Options(baselines=("middle",), pictures=1)).judged[0]
    assert one.images.result().per_image["psnr"] > 5
    assert one.depth.result().per_image["rmse"] > 0
    bare = stack_store(tmp_path / "bare", count=2, output={"arrays": ["depth", "stack"], "splits": {"test": 1}})
    with pytest.raises(InputError, match="mean-depth needs a split 'train'"):
        evaluate([], bare, Options(baselines=("sml", "mean-depth")))
    with pytest.raises(InputError, match="has no array 'aif', which fusion-depth needs"):
        evaluate([], bare, Options(baselines=("fusion-depth",)))
    assert evaluate([], bare, Options(baselines=("sml",))).judged[0].depth.result().per_image["rmse"] > 0


def test_stacks_that_cannot_be_registered_are_counted_once_and_told(tmp_path):
    output = {"arrays": ["aif", "depth", "stack"], "splits": {"test": 1}}
    noise = stack_store(tmp_path / "noise", count=2, stack={**STACK, "breathing": True}, output=output)
    found = evaluate([], noise, Options(baselines=("sml", "fusion-pyramid"), pictures=0))
    assert found.unregistered == 2
    said = "The slices of 2 of 2 stacks could not be registered: the baselines saw them as they are."
    assert cautions(found) == [said]
    assert said in write_report(found, tmp_path / "report")[0].read_text()
    # Of another evaluation nothing is left over.
    assert evaluate([], noise, Options(baselines=("sml",), limit=1, pictures=0)).unregistered == 1


def test_mean_depth_is_at_home_on_stores_of_stacks_alone(tmp_path):
    bare = stack_store(tmp_path / "bare", count=4, output={"arrays": ["depth", "stack"]})
    assert evaluate([], bare, Options(baselines=("mean-depth",))).judged[0].depth.result().per_image["rmse"] > 0


def test_a_store_of_another_range_or_without_what_is_read_is_refused(runs, toy_stacks, tmp_path):
    options = Options(device="cpu")
    near = stack_store(tmp_path / "near", count=2, stack={"focus": ["0.9 m", "2 m"]}, output={"splits": {"test": 1}})
    with pytest.raises(InputError, match=r"stack.range is 0.9 to 3 m in the training data of one and 0.9 to 2 m in"):
        evaluate([runs / "one"], near, options)
    fewer = stack_store(
        tmp_path / "fewer", count=2, stack={"focus": ["0.9 m", "3 m"]},
        output={"arrays": ["aif", "depth", "stack"], "splits": {"test": 1}},
    )  # fmt: skip
    assert evaluate([runs / "one"], fewer, options).samples == 2
    with pytest.raises(InputError, match="has no array 'capture', which both"):
        evaluate([runs / "both"], fewer, options)


def test_the_commands_lead_from_stacks_to_a_report(toy_stacks, tmp_path):
    data = toy_config(run={"steps": 2}, data={"slices": [2, 4]})
    lines = [f"{key} = {json.dumps(value)}" for key, value in data.items() if not isinstance(value, dict)]
    for name, section in data.items():
        if isinstance(section, dict):
            lines += [f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in section.items())]
    (tmp_path / "mine.toml").write_text("\n".join(lines))
    done = run_command("train", tmp_path / "mine.toml", "--data", toy_stacks, "--out", tmp_path / "run")
    assert done.exit_code == 0, done.output
    done = run_command(
        "evaluate", tmp_path / "run", "--data", toy_stacks, "--out", tmp_path / "report", "--device", "cpu"
    )
    assert done.exit_code == 0, done.output
    assert "Bumpiness" in done.output
    assert "2 to 4" in (tmp_path / "report" / "report.html").read_text()
    done = run_command("train", tmp_path / "mine.toml", "--data", toy_stacks, "--out", tmp_path / "two", "--set",
                       "data.slices=[5, 6]")  # fmt: skip
    assert done.exit_code == 2
    assert "data.slices asks for up to 6: lower it" in done.output


def test_depth_that_is_no_distance_is_not_judged():
    sample = Sample(0, "a scene", {"depth": np.array([[1.0, 0.0], [-2.0, np.inf]], np.float32)})
    assert sample.valid.tolist() == [[True, False], [False, False]]
