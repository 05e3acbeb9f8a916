"""Reproductions: steps that are left out, begun, gone on with; what they refuse; the RPSF paper's steps."""

import json
import re
import subprocess
import textwrap
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from click.testing import CliRunner
from conftest import recipe_data
from processes import toy_environment, wait_until
from rgbd import refusal

from defocal import InputError
from defocal.pipelines import outlook
from defocal.pipelines import steps as module
from defocal.pipelines.cli import cli
from defocal.pipelines.generate import create
from defocal.pipelines.lock import hold_folder
from defocal.pipelines.papers import PAPERS, paper
from defocal.pipelines.reproduction import prepare
from defocal.pipelines.steps import Evaluate, Generate, StepError, Train, run_steps
from defocal.synth import Recipe
from defocal.synth.commit import FOLDER
from defocal.synth.samples import SampleMaker
from defocal.train.config import load_config

SCALES = ("smoke", "small", "full")


@dataclass(frozen=True)
class Note:
    """A step that writes what it was asked into a file, after it has read what it needs."""

    out: Path
    needs: tuple[Path, ...] = ()
    broken: bool = False

    def done(self):
        return self.out.is_file()

    def fresh(self):
        return ["note", str(self.out), *map(str, self.needs), *(["broken"] if self.broken else [])]

    def command(self):
        return self.fresh()


@pytest.fixture
def notes(monkeypatch):
    """Run notes in the place of commands; return them in the order in which they began."""
    begun = []

    class Process:
        def __init__(self, command, **_):
            _, out, *needs = command[4:]
            begun.append(Path(out).name)
            self.returncode = 3 if "broken" in needs else 0
            if self.returncode == 0:
                assert all(Path(path).is_file() for path in needs), command
                Path(out).write_text("done")

        def poll(self):
            return self.returncode

        def terminate(self):
            pass

        wait = terminate

    monkeypatch.setattr(module.subprocess, "Popen", Process)
    return begun


def chain(folder):
    first, second, third = (folder / name for name in ("first", "second", "third"))
    return [Note(first), Note(second), Note(third, (first, second))]


@pytest.mark.parametrize("jobs", [1, 2, 5])
def test_steps_are_done_in_an_order_that_serves_their_needs(tmp_path, notes, jobs):
    said = []
    run_steps(chain(tmp_path), tmp_path / "times.json", said.append, jobs)
    assert notes == ["first", "second", "third"]
    assert set(json.loads((tmp_path / "times.json").read_text())) == {"first", "second", "third"}
    assert sum("$ defocal note" in line for line in said) == 3
    run_steps(chain(tmp_path), tmp_path / "times.json", said.append, jobs)
    assert notes == ["first", "second", "third"]


def test_what_is_done_is_left_out(tmp_path, notes):
    (tmp_path / "second").write_text("done before")
    run_steps(chain(tmp_path), tmp_path / "times.json", lambda line: None)
    assert notes == ["first", "third"]


def test_a_step_that_fails_says_which_and_how_to_go_on(tmp_path, notes):
    steps = [Note(tmp_path / "first", broken=True), Note(tmp_path / "second")]
    with pytest.raises(StepError, match=r"step 1 of 2, .*first, failed \(exit code 3\): mend what it says, or delete"):
        run_steps(steps, tmp_path / "times.json", lambda line: None)
    assert notes == ["first"]


def test_a_dataset_is_generated_gone_on_with_or_left_alone(tmp_path):
    recipe = tmp_path / "tiny.toml"
    recipe.write_text(Recipe.parse(recipe_data(scenes={"count": 2})).to_toml())
    step = Generate(str(recipe), tmp_path / "d", ("--workers", "0"))
    assert step.command()[0] == "generate"
    assert CliRunner().invoke(cli, step.command()).exit_code == 0
    assert step.done()
    begun = Generate(str(recipe), tmp_path / "e", ("--set", "seed=4", "--workers", "2"))
    create(tmp_path / "e", SampleMaker(Recipe.parse(recipe_data(scenes={"count": 2}))))
    assert not begun.done()
    assert begun.command() == ["resume", str(tmp_path / "e"), "--workers", "2"]


def test_a_run_is_trained_gone_on_with_or_left_alone(tiny_store, tmp_path):
    changes = ("run.steps=2", "data.crop=[32, 32]", "data.batch_size=2", "run.device=cpu")
    step = Train("unet-smoke", tiny_store, tmp_path / "run", tuple(w for c in changes for w in ("--set", c)))
    assert not step.done()
    assert "--resume" not in step.command()
    assert CliRunner().invoke(cli, step.command()).exit_code == 0
    assert step.done()
    assert step.command()[-1] == "--resume"
    judged = Evaluate((step.out,), tiny_store, tmp_path / "report", ("--limit", "2"))
    assert not judged.done()
    assert CliRunner().invoke(cli, judged.command()).exit_code == 0
    assert judged.done()
    assert judged.judged()["run"]["depth"]["mean over images"]["rmse_defocus"] > 0


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("name", PAPERS)
def test_every_command_of_a_paper_is_one_that_can_be_given(name, scale, tmp_path):
    """Options parse, recipes and configs are valid with their changes, and each step leaves a thing of its own."""
    steps = paper(name, tmp_path, scale).steps
    assert len({step.out for step in steps}) == len(steps)
    for step in steps:
        words = step.fresh()
        command = cli.commands[words[0]]
        context = command.make_context(words[0], list(words[1:]))
        changes = [c for c in context.params.get("changes", ()) if not c.startswith("run.start_from")]
        if isinstance(step, Train):
            load_config(step.config, seed=context.params["seed"], changes=changes)
        if isinstance(step, Generate):
            from defocal.pipelines.shipped import find_recipe

            find_recipe(step.recipe, changes=changes)


def test_the_same_folder_goes_on_with_the_same(tmp_path):
    prepare(paper("rpsf", tmp_path / "out", "smoke"))
    prepare(paper("rpsf", tmp_path / "out", "smoke"))
    refusal(lambda: prepare(paper("rpsf", tmp_path / "out", "small")), "was begun with", "smoke")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").write_text("years of work")
    refusal(lambda: prepare(paper("rpsf", tmp_path / "other", "smoke")), "holds something else")
    # An option that is there and empty, as of a variable that is not set, asks for no procedural scenes.
    refusal(lambda: prepare(paper("udfd", tmp_path / "new", "smoke", "")), "KIND:PATH")
    assert not (tmp_path / "new").exists()


def test_the_command_tells_its_steps_and_refuses_what_it_does_not_know(tmp_path):
    found = CliRunner().invoke(
        cli, ["reproduce", "rpsf", "--scale", "smoke", "--dry-run", "--out", str(tmp_path / "o")]
    )
    assert found.exit_code == 0
    steps = paper("rpsf", tmp_path / "o", "smoke").steps
    lines = found.output.splitlines()
    assert len(lines) == 2 * len(steps) + 1
    assert [line for line in lines if "$ defocal" in line] == [f"    $ {module.spoken(s.fresh())}" for s in steps]
    assert re.fullmatch(r"\[1/13\] scenes: to do, about [0-9.]+ MB", lines[0])
    assert re.fullmatch(r"\[2/13\] aif-0: to do, about [0-9.]+ MB", lines[2])
    assert "13 to do, for a time that is not known yet; about" in lines[-1]
    assert not (tmp_path / "o").exists()
    refused = CliRunner().invoke(cli, ["reproduce", "nonsense"])
    assert refused.exit_code == 2
    assert "there is no paper 'nonsense': choose from rpsf, udfd, dff-wild" in refused.output


def test_an_outline_knows_what_is_done_and_the_time_of_other_seeds(tmp_path, monkeypatch):
    work = paper("rpsf", tmp_path / "o", "small")
    prepare(work)
    (work.out / "times.json").write_text(json.dumps({"scenes": 200.0, "learned-0": 600.0}))
    monkeypatch.setattr(Generate, "done", lambda step: step.out.name == "scenes")
    monkeypatch.setattr(outlook, "_run_bytes", lambda *_: 2e6)
    lines = outlook.outline(work)
    assert lines[0] == "[1/23] scenes: done, 3 min"
    assert [line for line in lines if "learned-" in line and line[0] == "["] == [
        f"[{number}/23] learned-{seed}: to do, about 10 min, about 2.0 MB" for seed, number in enumerate((5, 9, 13))
    ]
    assert "22 to do, about 30 min one after the other; 19 of them for a time that is not known yet" in lines[-1]


def test_what_a_run_takes_follows_its_changes():
    narrow, wide, averaged = (
        outlook._run_bytes("unet-smoke", changes) for changes in ((), ("model.width=16",), ("run.ema=0.99",))
    )
    assert 3.5 < wide / narrow < 4.1
    assert averaged == pytest.approx(narrow * 4 / 3)


ALONE = """
    import sys
    from pathlib import Path
    from defocal.pipelines.lock import hold_folder
    from defocal.pipelines.steps import Generate, run_steps

    folder = Path(sys.argv[2])
    with hold_folder(folder, "a reproduction") as held:
        run_steps([Generate(sys.argv[1], folder / "data")], folder / "times.json", print, 1, held)
"""


def test_two_in_one_folder_keep_apart_and_steps_end_with_a_killed_one(recipe_file, tmp_path):
    (tmp_path / "alone.py").write_text(textwrap.dedent(ALONE))
    words = [module.sys.executable, str(tmp_path / "alone.py"), str(recipe_file), str(tmp_path)]
    first = subprocess.Popen(words, env=toy_environment(sleep=1.0), stdout=subprocess.DEVNULL)
    wait_until(lambda: list((tmp_path / "data").glob(f"{FOLDER}/*.json")))
    with pytest.raises(InputError, match=rf"a reproduction is under way in .* \(process {first.pid} on "):
        hold_folder(tmp_path, "a reproduction").__enter__()
    (step,) = [one for one in psutil.Process(first.pid).children() if "attached" in " ".join(one.cmdline())]
    first.kill()
    first.wait()
    if module.sys.platform.startswith("linux"):
        step.wait(60)
    else:
        step.terminate()
    with hold_folder(tmp_path, "a reproduction") as held:
        assert held
    assert not Generate(str(recipe_file), tmp_path / "data").done()


@pytest.mark.slow
def test_the_rpsf_paper_at_its_smallest(tmp_path):
    """All three stages by the command, stopped once on the way."""
    command = ["defocal", "reproduce", "rpsf", "--scale", "smoke", "--out", str(tmp_path / "out"), "--jobs", "2"]
    words = [module.sys.executable, "-m", "defocal.pipelines.cli", *command[1:]]
    first = subprocess.Popen(words, stdout=subprocess.DEVNULL)
    while not (tmp_path / "out" / "aif-0" / "last.pt").is_file():
        assert first.poll() is None
        module.time.sleep(0.5)
    first.terminate()
    assert first.wait() != 0
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "is done." in done.stdout
    numbers = json.loads((tmp_path / "out" / "relations.json").read_text())
    assert len(numbers["relations"]) == 7
    assert {"coded image", "classical Wiener", "deep Wiener"} == set(numbers["tables"]["Restoration (Table 1)"])
    assert (tmp_path / "out" / "learned-0" / "mask.json").is_file()
