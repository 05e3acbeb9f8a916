"""Reproductions whose folder was damaged, or that are stopped: one sentence says what to do."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from conftest import recipe_data
from rgbd import refusal, scene_folder

from defocal.pipelines import steps as module
from defocal.pipelines.cli import cli
from defocal.pipelines.generate import create, run
from defocal.pipelines.outlook import outline
from defocal.pipelines.papers import paper
from defocal.pipelines.reproduction import check_folder, prepare
from defocal.pipelines.steps import Evaluate, Generate, StepError, Train, read_times, run_steps
from defocal.synth import Recipe
from defocal.synth.samples import SampleMaker
from defocal.train.checkpoint import BEST, LAST


@pytest.fixture
def begun(tmp_path):
    """Return a reproduction of which nothing is done but its folder."""
    work = paper("udfd", tmp_path / "out", "smoke")
    prepare(work)
    return work


def test_a_dataset_that_lost_a_split_is_not_gone_on_with(tmp_path):
    recipe = Recipe.parse(recipe_data(scenes={"count": 4}))
    maker = SampleMaker(recipe)
    run(tmp_path / "d", maker, create(tmp_path / "d", maker))
    step = Generate("tiny", tmp_path / "d")
    assert step.done()
    lost = next(iter(recipe.output.splits))
    shutil.rmtree(tmp_path / "d" / f"{lost}.zarr")
    assert not step.done()
    refusal(step.command, "complete without its split", lost, "delete", tmp_path / "d")


@pytest.mark.parametrize("damage", ['{"stacks": "abc"}', '{"stacks": null}', "[1]", "", '{"a": NaN}', '{"a": -1}'])
def test_damaged_times_are_refused_before_anything_is_done(begun, damage):
    times = begun.out / "times.json"
    times.write_text(damage)
    refusal(lambda: read_times(times), times, "damaged", "delete it")
    refusal(lambda: prepare(begun), times)
    refusal(lambda: outline(begun), times)


@pytest.mark.parametrize("name", ["lock", "relations.json", "report.html", "times.json"])
def test_a_folder_with_the_name_of_a_file_is_refused_before_anything_is_done(begun, name):
    (begun.out / name).unlink(missing_ok=True)
    (begun.out / name).mkdir()
    refusal(lambda: check_folder(begun), begun.out / name)


def test_a_damaged_checkpoint_says_what_to_delete(tmp_path):
    for name in (LAST, BEST):
        (tmp_path / name).write_bytes(b"PK\x03\x04 cut off")
    refusal(Train("unet-smoke", tmp_path / "data", tmp_path).done, tmp_path / LAST, f"delete {tmp_path} ", "anew")


def test_a_report_without_numbers_is_judged_again(tmp_path):
    step = Evaluate((tmp_path / "net-0",), tmp_path / "data", tmp_path)
    scores = tmp_path / module.NUMBERS
    for judged, done in (
        ({"depth": {"mean over images": {"rmse": 1.0}}}, True), ({"aif": {"mean over images": {"psnr": 30.0}}}, True),
        ({}, False), ({"depth": {}}, False), ({"depth": {"mean over images": {}}}, False), ({"depth": 3}, False),
    ):  # fmt: skip
        scores.write_text(json.dumps({"judged": [{"name": "net-0", "run": "net-0", **judged}]}))
        assert step.done() is done, judged


def test_a_damaged_picture_of_a_run_says_that_it_may_be_deleted(begun):
    run = begun.out / "full-0"
    picture = run / "pictures" / "step-000020.png"
    picture.parent.mkdir(parents=True)
    picture.write_text("hi")
    refusal(lambda: begun.pictures({"full": run}), picture, "delete it")
    picture.unlink()
    assert begun.pictures({"full": run}) == []


def test_scenes_that_cannot_be_read_leave_no_folder(tmp_path):
    scenes = scene_folder(tmp_path / "scenes", size=(32, 40))
    prepare(paper("d3net", tmp_path / "good", "smoke", f"folder:{scenes}"))
    (scenes / "rgb" / "a.png").write_text("no picture")
    refusal(lambda: prepare(paper("d3net", tmp_path / "bad", "smoke", f"folder:{scenes}")), "a.png")
    scene_folder(scenes, depth=np.zeros((32, 40)), size=(32, 40))
    refusal(lambda: prepare(paper("d3net", tmp_path / "bad", "smoke", f"folder:{scenes}")), "no valid depth")
    assert not (tmp_path / "bad").exists()


@dataclass(frozen=True)
class Empty:
    """A step that ends well and leaves nothing."""

    out: Path

    def done(self):
        return False

    def fresh(self):
        return ["--version"]

    command = fresh


def test_a_step_that_ends_well_and_leaves_nothing_was_not_interrupted(tmp_path):
    with pytest.raises(StepError, match=r"step 1 of 1, .*a, did not leave all that it should: delete .*a and give"):
        run_steps([Empty(tmp_path / "a")], tmp_path / "times.json", lambda line: None)


def test_what_was_stopped_counts_its_time_and_says_how_to_go_on(begun, monkeypatch):
    def stopped(work):
        raise KeyboardInterrupt

    monkeypatch.setattr(module.Work, "_wait", stopped)
    found = CliRunner().invoke(cli, ["reproduce", "udfd", "--scale", "smoke", "--out", str(begun.out)])
    assert found.exit_code == 1
    assert "Stopped: give the same command to go on." in found.output
    (seconds,) = read_times(begun.out / "times.json").values()
    assert seconds > 0
