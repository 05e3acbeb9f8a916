"""Configs of training: what is refused, what ships, targets, schedules, checkpoints."""

import json
import math
import pickle
import re
import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from training import config, config_data

from defocal import InputError
from defocal.pipelines.cli import cli
from defocal.synth.camera import ThinLens
from defocal.train.checkpoint import load_checkpoint, save_checkpoint
from defocal.train.config import Config, RunSection, load_config, shipped_configs
from defocal.train.models import build
from defocal.train.optimise import OptimiserSection, ScheduleSection
from defocal.train.targets import Target

DATA = '[{"camera": {}, "encoding": "srgb"}]'
REST = {"average": None, "optimiser": {}, "steps": 1, "numbers": {}, "best": {}}
LENS = ThinLens(focal_length=0.05, f_number=2.0, focus_distance=2.0, pixel_pitch=1e-5)


def test_a_config_comes_back_from_its_own_data():
    assert Config.parse(config().to_dict()) == config()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"run": {"stepz": 3}}, "run.stepz: unknown key"),
        ({"crop": [64, 64]}, "crop: unknown key (perhaps 'data.crop' is meant)"),
        ({"target": {"kind": "depth", "wavelength": 5e-7}}, "target.wavelength: unknown key; there are kind, span"),
        ({"run": {"steps": None}}, "run: give steps or epochs"),
        ({"run": {"epochs": 2.0}}, "run: give steps or epochs"),
        ({"run": {"accumulate": 2}}, "run.accumulate = 2 must divide data.batch_size = 3"),
        ({"model": {"kind": "resnet"}}, "model: kind must be one of"),
        ({"loss": {"kind": "l3"}}, "loss: kind must be one of"),
        ({"model": {"width": 0}}, "model.width: must be greater than or equal to 1, not '0'"),
        ({"target": {"span": [1.0, 1.0]}}, "target: span needs two different numbers"),
        ({"schedule": {"kind": "step"}}, "schedule: milestones belong to kind = 'step'"),
        ({"schedule": {"kind": "step", "milestones": [0.5, 0.2]}}, "milestones must ascend"),
        ({"seed": -1}, "seed: must be"),
        ({"data": {"augment": {"blur": 1.0}}}, "no processing that modifies out-of-focus"),
        ({"optimiser": {"rate": math.nan}}, "optimiser.rate"),
    ],
)
def test_what_is_wrong_is_named_by_its_key(changes, words):
    data = config_data(**changes)
    data["run"] = {k: v for k, v in data["run"].items() if v is not None}
    with pytest.raises(InputError, match=r"^the config") as caught:
        Config.parse(data)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_all_errors_come_at_once():
    with pytest.raises(InputError, match="has 2 errors"):
        Config.parse(config_data(seed=-1, run={"x": 1}))


def test_the_command_line_changes_keys(tmp_path):
    changed = load_config("unet-smoke", seed=4, changes=["run.steps=7", "data.crop=[64, 64]", "run.device=cpu"])
    assert (changed.seed, changed.run.steps, changed.data.crop, changed.run.device) == (4, 7, (64, 64), "cpu")
    in_epochs = load_config("unet-smoke", changes=["run.epochs=2"]).run
    assert (in_epochs.steps, in_epochs.epochs) == (None, 2)
    with pytest.raises(InputError, match="give steps or epochs"):
        load_config("unet-smoke", changes=["run.epochs=2", "run.steps=3"])
    for wrong in ("run.steps", "=3", "a.b.c.d.e=1", "name.x=1"):
        with pytest.raises(InputError, match="--set"):
            load_config("unet-smoke", changes=[wrong])
    with pytest.raises(InputError, match=r"there is no config 'nothing': name one of .*, or to train a .toml file"):
        load_config("nothing")


def test_a_shipped_config_is_printed_for_one_of_your_own(tmp_path):
    done = CliRunner().invoke(cli, ["configs", "unet-smoke"])
    (tmp_path / "mine.toml").write_text(done.stdout)
    assert load_config(str(tmp_path / "mine.toml")) == load_config("unet-smoke")
    done = CliRunner().invoke(cli, ["configs", "unet-smok"])
    assert done.exit_code == 2
    assert "unet-smoke" in done.stderr


def test_the_page_on_training_has_every_key():
    page = (Path(__file__).parents[1] / "docs" / "training.md").read_text()
    for section in (OptimiserSection, ScheduleSection, RunSection):
        for key in section.model_fields:
            assert re.search(rf"[`.]{key}`", page), key


def test_weights_are_found_beside_the_config_or_from_where_one_types(tmp_path, monkeypatch):
    home = tmp_path / "configs"
    home.mkdir()
    text = '[data]\n[model]\nkind = "d3net"\nweights = "net.pth"\n[loss]\nkind = "l1"\n[run]\nsteps = 1\n'
    (home / "mine.toml").write_text('version = 1\nname = "mine"\n' + text)
    monkeypatch.chdir(tmp_path)
    assert load_config("configs/mine.toml").model.weights == str(home / "net.pth")
    assert load_config("d3net", changes=["model.weights=other.pth"]).model.weights == str(tmp_path / "other.pth")


def test_configs_in_the_docs_are_whole():
    pages = (Path(__file__).parents[1] / "docs").glob("*.md")
    blocks = [block for page in pages for block in re.findall(r"```toml config\n(.*?)```", page.read_text(), re.S)]
    assert blocks
    for block in blocks:
        Config.parse(tomllib.loads(block))


@pytest.mark.parametrize("name", shipped_configs())
def test_shipped_configs_can_be_built(name):
    loaded = load_config(name)
    assert loaded.name == name
    assert loaded.description.endswith(".")
    model = build(loaded.model)
    # Depth and image of AiFDepthNet come from the same scores: it may be trained for one alone.
    assert set(loaded.data.targets) <= {*model.outputs, *model.inputs, *loaded.loss.needs} & {"depth", "aif"}
    assert set(loaded.data.targets) >= {*loaded.loss.needs, *model.inputs} & {"depth", "aif"}
    assert loaded.data.crop is None or all(side % model.multiple == 0 for side in loaded.data.crop)


@pytest.mark.parametrize("kind", ["depth", "inverse-depth", "log-depth", "coc", "defocus"])
def test_targets_come_back_as_metres(kind):
    target = Target(config(target={"kind": kind, "span": [-2.0, 3.0]}).target, LENS, (0.5, 10.0))
    depth = torch.linspace(0.5, 10, 50)
    torch.testing.assert_close(target.decode(target.encode(depth)), depth, rtol=1e-5, atol=0)


def test_targets_are_what_they_are_called():
    depth = torch.tensor([0.8, 2.0, 7.0], dtype=torch.float64)
    expected = {
        "depth": depth.numpy(), "inverse-depth": 1 / depth.numpy(), "log-depth": np.log(depth.numpy()),
        "coc": LENS.coc(depth.numpy()), "defocus": LENS.defocus(depth.numpy(), 550e-9),
    }  # fmt: skip
    for kind, values in expected.items():
        target = Target(config(target={"kind": kind}).target, LENS, (0.5, 10.0))
        np.testing.assert_allclose(target.encode(depth).numpy(), values, rtol=1e-9, atol=1e-9)


def test_beyond_infinity_there_is_no_depth():
    target = Target(config(target={"kind": "inverse-depth"}).target, None, (0.5, 10.0))
    assert target.decode(torch.tensor([-1.0, 0.0, 1e-9])).tolist() == [20.0] * 3


def test_blur_cannot_be_learned_without_a_camera():
    with pytest.raises(InputError, match="cameras of their own"):
        Target(config(target={"kind": "coc"}).target, None, (0.5, 10.0))


def test_a_network_must_be_able_to_say_what_it_learns():
    target = Target(config(target={"kind": "defocus", "span": [-10.0, 10.0]}).target, LENS, (0.5, 10.0))
    target.check(None)
    with pytest.raises(InputError, match=r"set target\.span to at least"):
        target.check((0.0, 1.0))


@pytest.mark.parametrize("kind", ["defocus", "coc", "depth", "log-depth", "inverse-depth"])
@pytest.mark.parametrize("depth", [(0.5, 10.0), (0.8, 8.0), (0.123456, 9.87654), (1.0, 1234.5)])
def test_the_span_that_is_told_is_wide_enough(kind, depth):
    section = {"kind": kind, "span": [1e-3, 2e-3]}
    with pytest.raises(InputError) as caught:
        Target(config(target=section).target, LENS, depth).check((0.0, 1.0))
    told = json.loads("[" + str(caught.value).split("[")[-1].rstrip("."))
    Target(config(target=section | {"span": told}).target, LENS, depth).check((0.0, 1.0))


def test_schedules_by_hand():
    def factors(steps=10, **section):
        return [round(ScheduleSection(**section).at(step, steps), 6) for step in range(steps)]

    assert factors() == [1.0] * 10
    assert factors(warm_up=3)[:4] == [0.25, 0.5, 0.75, 1.0]
    assert factors(kind="step", milestones=(0.5, 0.8)) == [1.0] * 5 + [0.1] * 3 + [0.01] * 2
    assert factors(kind="linear", hold=0.5) == [1.0] * 6 + [0.8, 0.6, 0.4, 0.2]
    cosine = factors(kind="cosine", floor=0.1)
    assert cosine[0] == 1.0
    assert cosine[5] == pytest.approx(0.55)
    assert cosine == sorted(cosine, reverse=True)
    assert ScheduleSection(kind="cosine", floor=0.1).at(10, 10) == pytest.approx(0.1)


@pytest.mark.parametrize("kind", ["adam", "adamw", "sgd"])
def test_optimisers_are_those_of_torch(kind):
    weight = torch.nn.Parameter(torch.ones(3))
    fixed = torch.nn.Parameter(torch.ones(3), requires_grad=False)
    made = OptimiserSection(kind=kind, rate=0.1).build([weight, fixed])
    assert type(made).__name__.lower() == kind
    assert [len(group["params"]) for group in made.param_groups] == [1]


class Evil:
    def __reduce__(self):
        return (print, ("owned",))


def test_a_checkpoint_runs_no_code(tmp_path, capsys):
    path = tmp_path / "last.pt"
    torch.save({"format": 1, "config": "{}", "data": "[]", "model": Evil(), "step": 0}, path)
    with pytest.raises(InputError, match="cannot be read as a checkpoint"):
        load_checkpoint(path)
    path.write_bytes(pickle.dumps(Evil()))
    with pytest.raises(InputError, match="cannot be read as a checkpoint"):
        load_checkpoint(path)
    assert "owned" not in capsys.readouterr().out


def test_a_checkpoint_that_is_damaged_or_of_another_format_is_refused(tmp_path):
    path = tmp_path / "last.pt"
    state = {"config": "{}", "data": DATA, "model": {"a": torch.ones(1000)}, "step": 0, **REST}
    save_checkpoint(path, state)
    whole = path.read_bytes()
    for wrong in (b"", whole[:100], whole[: len(whole) // 2], b"PK" + whole[:50]):
        path.write_bytes(wrong)
        with pytest.raises(InputError, match="cannot be read as a checkpoint"):
            load_checkpoint(path)
    torch.save({"step": 0}, path)
    with pytest.raises(InputError, match=r"is no checkpoint of defocal"):
        load_checkpoint(path)
    torch.save({**state, "format": 9}, path)
    with pytest.raises(InputError, match="has format 9"):
        load_checkpoint(path)


@pytest.mark.parametrize(
    "wrong",
    [
        {"average": 5}, {"optimiser": 5}, {"numbers": {"a": "b"}}, {"best": 5}, {"model": {"a": 5}}, {"model": {1: 2}},
        {"step": 1.5}, {"step": -1}, {"step": 99}, {"config": 5}, {"config": "{"}, {"config": "[]"}, {"data": "[]"},
        {"config": "[" * 100_000}, {"data": "[{}]"}, {"extra": 1}, {"steps": None},
    ],
    ids=str,
)  # fmt: skip
def test_what_a_checkpoint_holds_is_checked(tmp_path, wrong):
    state = {"config": "{}", "data": DATA, "model": {"a": torch.ones(3)}, "step": 0, **REST}
    save_checkpoint(tmp_path / "last.pt", state)
    load_checkpoint(tmp_path / "last.pt")
    save_checkpoint(tmp_path / "last.pt", {**state, **wrong})
    with pytest.raises(InputError, match=r"no checkpoint of defocal|does not say what"):
        load_checkpoint(tmp_path / "last.pt")


def test_one_flipped_byte_of_a_checkpoint_is_seen(tmp_path):
    path = tmp_path / "last.pt"
    save_checkpoint(path, {"config": "{}", "data": DATA, "model": {"a": torch.ones(5000)}, "step": 0, **REST})
    whole = bytearray(path.read_bytes())
    whole[len(whole) // 2] ^= 255
    path.write_bytes(whole)
    with pytest.raises(InputError, match="cannot be read as a checkpoint"):
        load_checkpoint(path)


def test_a_checkpoint_that_cannot_be_written_leaves_the_old_one(tmp_path):
    path = tmp_path / "last.pt"
    save_checkpoint(path, {"config": "{}", "data": DATA, "model": {}, "step": 1, **REST})
    with pytest.raises(TypeError):
        save_checkpoint(path, {"config": "{}", "data": "[]", "model": {}, "step": (x for x in ()), **REST})
    assert load_checkpoint(path)["step"] == 1
    assert [p.name for p in tmp_path.iterdir()] == ["last.pt"]
