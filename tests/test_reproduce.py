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
from commanding import refused
from conftest import recipe_data
from datasets_images import dslr
from processes import toy_environment, wait_until
from rgbd import refusal

from defocal import InputError
from defocal.evaluate.paper_page import PaperTable
from defocal.evaluate.tables import TableRow
from defocal.pipelines import outlook
from defocal.pipelines import steps as module
from defocal.pipelines.cli import cli
from defocal.pipelines.generate import create
from defocal.pipelines.lock import hold_folder
from defocal.pipelines.papers import PAPERS, paper
from defocal.pipelines.papers.rendering import Rendering
from defocal.pipelines.reproduction import prepare, write_page
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
@pytest.mark.parametrize(("name", "given"), [*((name, {}) for name in PAPERS), ("d3net", {"real": Path()})])
def test_every_command_of_a_paper_is_one_that_can_be_given(name, given, scale, tmp_path):
    """Options parse, recipes and configs are valid with their changes, and each step leaves a thing of its own."""
    steps = paper(name, tmp_path, scale, given=given).steps
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

            scenes = context.params["scenes"]
            find_recipe(step.recipe, scenes=scenes, changes=changes)


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


@pytest.mark.parametrize("name", PAPERS)
def test_seeds_are_added_to_those_that_there_are(name, tmp_path):
    one, all_of_them, more = (paper(name, tmp_path, "small", seeds=seeds) for seeds in (1, None, 5))
    assert [work.seeds for work in (one, all_of_them, more)] == [(0,), (0, 1, 2), (0, 1, 2, 3, 4)]
    commands = [{tuple(step.fresh()) for step in work.steps} for work in (one, all_of_them, more)]
    assert commands[0] < commands[1] < commands[2]
    prepare(one)
    prepare(more)


def test_data_that_were_left_out_at_first_are_added_and_others_refused(tmp_path):
    real, other = dslr(tmp_path / "real"), dslr(tmp_path / "other")
    prepare(paper("d3net", tmp_path / "out", "smoke"))
    for _ in range(2):
        prepare(paper("d3net", tmp_path / "out", "smoke", given={"real": real}))
    refusal(lambda: prepare(paper("d3net", tmp_path / "out", "smoke")), "was begun with", "real")
    refusal(lambda: prepare(paper("d3net", tmp_path / "out", "smoke", given={"real": other})), str(real))
    (tmp_path / "empty").mkdir()
    refusal(lambda: prepare(paper("d3net", tmp_path / "new", "smoke", given={"real": tmp_path / "empty"})), "empty")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("option", ["real", "test"])
def test_papers_refuse_data_that_they_have_no_use_for(tmp_path, option):
    for name, one in PAPERS.items():
        if option not in one.takes:
            refusal(lambda name=name: paper(name, tmp_path, "smoke", given={option: tmp_path}), name, f"--{option}")
    taker = next(name for name, one in PAPERS.items() if option in one.takes)
    refusal(lambda: paper(taker, tmp_path, "smoke", given={option: tmp_path / "none"}), "there is no", "none")


def test_a_dataset_without_stacks_is_no_test_of_rendering(tiny_store, tmp_path):
    work = paper("rendering", tmp_path / "out", "smoke", given={"test": tiny_store})
    refusal(lambda: prepare(work), "has no array 'stack'", "--test")
    words = ("rendering", "--scale", "smoke", "--out", tmp_path / "out", "--test", tiny_store)
    assert "has no array 'stack'" in refused("reproduce", *words, "--dry-run")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("more", [(), ("--dry-run",)])
def test_a_place_that_cannot_be_written_is_refused_before_scenes_are_read(tmp_path, monkeypatch, more):
    (tmp_path / "file").write_text("x")
    (tmp_path / "astray").symlink_to("nowhere")
    monkeypatch.setattr(Generate, "check", lambda step: pytest.fail("scenes were read"))
    for place in ("file/x", "file/x/y", "astray"):
        sentence = refused("reproduce", "udfd", "--scale", "smoke", "--out", tmp_path / place, *more)
        assert "cannot be written" in sentence
        assert "give another --out" in sentence


def test_a_dry_run_refuses_scenes_as_the_run_does(tmp_path):
    (tmp_path / "empty").mkdir()
    words = ("udfd", "--scale", "smoke", "--out", tmp_path / "out", "--scenes", f"folder:{tmp_path / 'empty'}")
    assert refused("reproduce", *words, "--dry-run") == refused("reproduce", *words)
    assert not (tmp_path / "out").exists()


def scores(name, depth=0.5, psnr=30.0, error=1.0):
    """What an evaluation says of a run."""
    edges = [0.7, 1.5, 2.5, 3.5, 10.0]
    metrics = dict.fromkeys(("rmse", "mae", "abs_rel", "log10", "rmse_log", "delta1", "delta2", "delta3"), depth)
    curve = {"edges": edges, "pixels": [10, 20, 0, 30], "rmse": [0.1 * error, 0.2 * error, None, 0.4 * error]}
    parts = {part: {"rmse": depth, "mae": depth} for part in ("silhouettes", "interiors")}
    return {
        "name": name,
        "depth": {"mean over images": metrics, "error over depth": curve, **parts},
        "aif": {"mean over images": {"psnr": psnr, "ssim": psnr / 50}},
        "uncertainty": {"ause": 0.2, "aurg": 0.1, "calibration error": 0.1, "root mean square": depth},
    }


def told(work, number):
    """Write reports of all runs, each of which is as good as `number` says of its folder."""
    for step in work.steps:
        if isinstance(step, Evaluate):
            judged = [scores(run.name, number(run.name), 30 - number(run.name), number(run.name)) for run in step.runs]
            names = [b for a, b in zip(step.options, step.options[1:], strict=False) if a == "--baseline"]
            step.out.mkdir(parents=True, exist_ok=True)
            (step.out / "scores.json").write_text(json.dumps({"judged": judged + [scores(n, 9.0, 1.0) for n in names]}))
    return write_page(work)


def test_the_page_of_d3net_tells_which_focus_is_better_and_where(tmp_path):
    work = paper("d3net", tmp_path, "small")
    best = {"sharp": 4.0, "focus-2m": 1.0, "focus-4m": 3.0, "focus-8m": 2.0}
    path, relations = told(work, lambda run: best[run[:-2]] + 0.01 * int(run[-1]))
    verdicts = {one.text: one.verdict for one in relations}
    for row in ("2 m", "4 m", "8 m"):
        assert verdicts[f"RMSE: {row} focus below all-in-focus"] == "holds"
        assert verdicts[f"AURG, {row} focus: above 0, which is chance"] == "holds"
        assert verdicts[f"RMSE over depth, {row} focus: lower up to 3.5 m than beyond"] == "holds"
    assert verdicts["RMSE: 8 m focus below Zhuo and Sim, 8 m focus"] == "holds"
    assert verdicts["uncertainty: 2 m focus below all-in-focus"] == "holds"
    # All gain alike, near and far.
    assert (
        verdicts["share of the RMSE of sharp pictures that is left, 4 m focus: less up to 3.5 m than beyond"] != "holds"
    )
    page = path.read_text()
    assert "paper 0.274" in page
    assert "<svg" in page
    assert "Give --real PATH to the same command to add it." in page
    numbers = json.loads((tmp_path / "relations.json").read_text())["tables"]["RMSE over true depth (Figure 7)"]
    # Of a bin without pixels nothing is told; the others count by their pixels.
    near = numbers["2 m focus"]["ours"]["up to 3.5 m [m]"][0]
    assert near == pytest.approx(((10 * 0.1**2 + 20 * 0.2**2) / 30) ** 0.5)


def test_the_page_of_2hded_tells_what_each_term_and_each_head_is_worth(tmp_path):
    best = {
        "charbonnier": 3.0,
        "l1": 4.0,
        "gradient": 2.0,
        "ssim": 2.5,
        "both": 1.0,
        "sharp-head": 5.0,
        "depth-head": 6.0,
    }
    path, relations = told(paper("2hded", tmp_path, "small"), lambda run: best[run[:-2]] + 0.01 * int(run[-1]))
    verdicts = [one.verdict for one in relations]
    assert len(verdicts) == 16
    assert set(verdicts) == {"holds"}
    assert relations[-2].paper == (0.989, 0.919)
    assert "34.84" in path.read_text()


def test_the_page_of_rendering_tells_every_pair_and_where(tmp_path, monkeypatch):
    row = PaperTable(
        title="Stacks, against the exact ones", rows=[TableRow(name="layers", values={"psnr": 40.0})], paper={}
    )
    monkeypatch.setattr(Rendering, "_fidelity", lambda work: row)
    best = {"eq7": 4.0, "gather": 3.0, "layers": 2.0, "exact": 1.0}
    path, relations = told(paper("rendering", tmp_path, "small"), lambda run: best[run[:-2]] + 0.01 * int(run[-1]))
    assert [one.verdict for one in relations] == ["holds"] * 18
    assert sum("silhouettes" in one.text for one in relations) == 6
    assert "Give --test PATH" in path.read_text()


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
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.tex").write_text("x")
    for words in ([], ["--dry-run"]):
        assert "holds something else" in refused("reproduce", "rpsf", "--out", tmp_path / "mine", *words)
    assert "there is no paper 'nonsense': choose from rpsf, udfd, dff-wild" in refused("reproduce", "nonsense")


def test_an_outline_knows_what_is_done_and_the_time_of_other_seeds(tmp_path, monkeypatch):
    work = paper("rpsf", tmp_path / "o", "small")
    prepare(work)
    (work.out / "times.json").write_text(json.dumps({"scenes": 200.0, "learned-0": 600.0}))
    monkeypatch.setattr(Generate, "done", lambda step: step.out.name == "scenes")
    monkeypatch.setattr(Train, "done", lambda step: step.out.name == "learned-0")
    monkeypatch.setattr(outlook, "_run_bytes", lambda *_: 2e6)
    lines = outlook.outline(work)
    assert lines[0] == "[1/23] scenes: done, 3 min"
    assert [line for line in lines if "learned-" in line and line[0] == "["] == [
        "[5/23] learned-0: done, 10 min",
        *(f"[{number}/23] learned-{seed}: to do, about 10 min, about 2.0 MB" for seed, number in ((1, 17), (2, 22))),
    ]
    assert "21 to do, about 20 min one after the other; 19 of them for a time that is not known yet" in lines[-1]


def test_an_outline_knows_no_time_of_an_attempt_that_was_broken_off(tmp_path, monkeypatch):
    work = paper("udfd", tmp_path / "o", "smoke", seeds=2)
    prepare(work)
    (work.out / "times.json").write_text(json.dumps({"stacks": 200.0, "full-0": 8.0}))
    monkeypatch.setattr(Generate, "done", lambda step: True)
    lines = outlook.outline(work)
    assert not any("8 s" in line for line in lines)
    assert "to do, for a time that is not known yet; about" in lines[-1]


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


@pytest.mark.night
@pytest.mark.parametrize(("name", "relations"), [("2hded", 16), ("rendering", 18), ("udfd", 7), ("dff-wild", 8)])
def test_a_paper_at_its_smallest(name, relations, tmp_path):
    command = ["reproduce", name, "--scale", "smoke", "--out", str(tmp_path / "out")]
    done = subprocess.run(
        [module.sys.executable, "-m", "defocal.pipelines.cli", *command], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert len(json.loads((tmp_path / "out" / "relations.json").read_text())["relations"]) == relations


@pytest.mark.night
def test_d3net_at_its_smallest_with_real_photographs(real_data, tmp_path):
    command = ["reproduce", "d3net", "--scale", "smoke", "--out", str(tmp_path / "out")]
    command += ["--real", str(real_data / "dfd_indoor")]
    done = subprocess.run(
        [module.sys.executable, "-m", "defocal.pipelines.cli", *command], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    numbers = json.loads((tmp_path / "out" / "relations.json").read_text())
    pairs = numbers["tables"]["The f/8 photograph rendered at f/2.8, against the real one"]
    ours = pairs["layers with what they hide"]["ours"]["psnr"][0]
    assert ours > pairs["no blur"]["ours"]["psnr"][0]
