"""The examples run, at a small size, and their headers ask for what they import."""

import ast
import re
import runpy
import shutil
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
from conftest import recipe_data
from learning import made
from PIL import Image

from defocal import InputError
from defocal.synth import open_store

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
HEADER = re.compile(r"\A# /// script\n((?:# .*\n)+)# ///\n")


def ran(name, monkeypatch, capsys, *arguments):
    """Run an example as a program; return what it printed."""
    monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
    runpy.run_path(str(ROOT / "examples" / name), run_name="__main__")
    return capsys.readouterr().out


def refused(name, monkeypatch, capsys, *arguments):
    """Run an example with what it cannot take; return the one sentence that it says."""
    with pytest.raises(SystemExit) as ended:
        ran(name, monkeypatch, capsys, *arguments)
    said = capsys.readouterr().err
    assert ended.value.code == 2
    assert re.fullmatch(r"Error: .*\.\n", said)
    return said


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_headers_and_length(path):
    text = path.read_text()
    header = tomllib.loads("".join(line[2:] for line in HEADER.match(text)[1].splitlines(keepends=True)))
    assert header["requires-python"] == ">=3.11"
    (wanted,) = header["dependencies"]
    assert len(text.splitlines()) < 75
    used = {node.module for node in ast.walk(ast.parse(text)) if isinstance(node, ast.ImportFrom)}
    light = {"defocal.synth", "defocal.evaluate"}
    makes = any(name.startswith(("defocal.synth.", "defocal.pipelines")) for name in used if name not in light)
    trains = "defocal.train" in used
    expected = [extra for extra, needed in (("synth", makes or not trains), ("train", trains)) if needed]
    assert wanted == f"defocal[{','.join(expected)}]"


def test_one_photograph(tmp_path, monkeypatch, capsys):
    rng, out = np.random.default_rng(0), tmp_path / "captures"
    depth = np.tile(np.linspace(900, 3900, 96), (72, 1)).astype(np.uint16)
    depth[rng.random(depth.shape) < 0.1] = 0
    Image.fromarray(rng.integers(0, 255, (72, 96, 3), dtype=np.uint8)).save(tmp_path / "photo.png")
    Image.fromarray(depth).save(tmp_path / "depth.png")
    said = ran("one_photograph.py", monkeypatch, capsys, tmp_path / "photo.png", tmp_path / "depth.png", "--out", out)
    assert said.count("blur of") == 2
    disk, spiral = (np.asarray(Image.open(out / f"{name}.png")) for name in ("disk", "spiral"))
    assert disk.shape == spiral.shape == (72, 96, 3)
    assert (disk != spiral).any()


def test_one_photograph_of_a_procedural_scene(tmp_path, monkeypatch, capsys):
    ran("one_photograph.py", monkeypatch, capsys, "--size", 40, 56, "--out", tmp_path)
    assert np.asarray(Image.open(tmp_path / "spiral.png")).shape == (40, 56, 3)


def test_own_frames(frames, tmp_path, monkeypatch, capsys):
    out = tmp_path / "data"
    said = ran("own_frames.py", monkeypatch, capsys, frames, out)
    assert "2 frames" in said
    assert "problems: none" in said
    assert (tmp_path / "data-preview" / "preview.html").is_file()


def test_focal_stack(tmp_path, monkeypatch, capsys):
    said = ran("focal_stack.py", monkeypatch, capsys, "--size", 64, 96, "--slices", 6, "--out", tmp_path)
    assert len(list(tmp_path.glob("*m.png"))) == 6
    # A constant in the middle of the range is off by far more.
    assert float(re.search(r"RMSE ([\d.]+) m", said)[1]) < 0.8
    assert np.load(tmp_path / "depth.npy").shape == (64, 96)


def test_train_and_predict(tiny_store, tmp_path, monkeypatch, capsys, one_thread):
    options = ("--steps", 2, "--crop", 32, "--device", "cpu")
    said = ran("train_and_predict.py", monkeypatch, capsys, tiny_store, tmp_path / "run", *options)
    assert re.search(r"RMSE \d", said)
    assert (tmp_path / "run" / "best.pt").is_file()


def test_learn_a_mask(tmp_path, monkeypatch, capsys, one_thread):
    data = made(tmp_path / "scenes", {"kind": "spiral"}, output={**recipe_data()["output"], "arrays": ["aif", "depth"]})
    out, options = tmp_path / "learned", ("--steps", 2, "--crop", 32, "--cell", 1e-4, "--device", "cpu")
    said = ran("learn_a_mask.py", monkeypatch, capsys, data, out, *options)
    assert re.search(r"learned: \d.*, as after step [12] of 2, which validated best\n", said)
    assert (out / "workshop" / "mask.html").is_file()


PHOTO, DEPTH = "photo.png", "depth.png"


def ramp(near, far):
    """A depth map in millimetres, of the size of the photograph."""
    return Image.fromarray(np.linspace(near, far, 48 * 56).reshape(48, 56).astype(np.uint16))


@pytest.fixture
def given(tmp_path, monkeypatch, frames):
    """Files that the examples are tried with, in the folder where they run."""
    monkeypatch.chdir(tmp_path)
    Path("a-file").touch()
    frames.rename("frames")
    shutil.copytree("frames", "damaged")
    Path("damaged/rgb/1.png").write_bytes(Path("damaged/rgb/1.png").read_bytes()[:60])
    Image.fromarray(np.random.default_rng(1).integers(0, 255, (48, 56, 3), dtype=np.uint8)).save(PHOTO)
    ramp(900, 3900).save(DEPTH)
    ramp(2000, 2000).save("flat.png")
    return Path("frames")


def never(*_, **__):
    raise AssertionError("this would be long work")


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        ("one_photograph.py nix.png flat.png", "nix.png does not exist"),
        (f"one_photograph.py {PHOTO}", "comes without depth"),
        ("one_photograph.py frames/rgb/0.png frames/depth/0.png", "the picture is smaller"),
        (f"one_photograph.py {PHOTO} flat.png", "flat.png says 2 m everywhere"),
        (f"one_photograph.py {PHOTO} {DEPTH} --depth-unit 1", "check --depth-unit"),
        (f"one_photograph.py {PHOTO} {DEPTH} --depth-unit 1e-6", "too near"),
        (f"one_photograph.py {PHOTO} {DEPTH} --out a-file", "a-file cannot be written"),
        ("one_photograph.py --size 40 56 --out a-file/in-it", "a-file/in-it cannot be written"),
        ("focal_stack.py --slices 0 --out out", "slice"),
        ("focal_stack.py --size 8 8 --out out", "at least 16 pixels"),
        ("focal_stack.py --size 40 56 --out a-file", "a-file cannot be written"),
        ("own_frames.py nix out", "nix does not exist"),
        ("own_frames.py damaged out", "damaged/rgb/1.png is cut short"),
        ("own_frames.py frames a-file", "a-file is not empty"),
        ("own_frames.py frames out --depth 5 1", "nearest depth"),
        ("own_frames.py frames out --depth 5 9", "more than half"),
        ("own_frames.py frames out --depth-unit parsec", "parsec"),
        ("own_frames.py frames out --f-number 0", "f_number"),
        ("train_and_predict.py nix out", "no dataset at nix"),
        ("train_and_predict.py nix frames", "frames is not empty"),
        ("learn_a_mask.py nix out", "no dataset at nix"),
        ("learn_a_mask.py nix frames", "frames is not empty"),
        ("learn_a_mask.py nix out --steps 0", "run.steps"),
    ],
)
def test_bad_input_is_one_sentence_before_any_work(command, sentence, given, monkeypatch, capsys):
    name, *arguments = command.split()
    for long in ("synth.rendering.render", "synth.stack.render_stack", "pipelines.generate.run", "train.trainer.train"):
        monkeypatch.setattr(f"defocal.{long}", never)
    before = sorted(Path().rglob("*"))
    assert sentence in refused(name, monkeypatch, capsys, *arguments)
    assert sorted(Path().rglob("*")) == before


@pytest.mark.parametrize("cell", ["-1", "0", "nan", "1e-9", "1e-3"])
def test_cells_are_looked_at_before_the_mask_is_learned(cell, helix_store, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("defocal.train.trainer.train", never)
    options = (helix_store, tmp_path / "out", f"--cell={cell}")
    assert "--cell must be from" in refused("learn_a_mask.py", monkeypatch, capsys, *options)
    assert not (tmp_path / "out").exists()


def test_a_dataset_without_a_test_split_is_not_trained_on(own, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("defocal.train.trainer.train", never)
    said = refused("train_and_predict.py", monkeypatch, capsys, own, tmp_path / "run")
    assert "has no split 'test'" in said
    assert "output.splits" in said


def test_few_samples_make_small_batches(tmp_path, monkeypatch, capsys, one_thread):
    data = made(tmp_path / "few", {"kind": "spiral"}, scenes={"count": 4, "objects": [2, 3]})
    options = ("--steps", 1, "--crop", 32, "--device", "cpu")
    assert "RMSE" in ran("train_and_predict.py", monkeypatch, capsys, data, tmp_path / "run", *options)


def test_any_range_of_depths_has_its_lens(given, monkeypatch, capsys):
    for near, far in ((20e3, 60e3), (2000, 2200)):
        ramp(near, far).save(DEPTH)
        said = ran("one_photograph.py", monkeypatch, capsys, PHOTO, DEPTH)
        assert f"at {far / 1e3:.3g} m" in said
        assert all(7 < float(blur) < 10 for blur in re.findall(r"([\d.]+) px at", said))


@pytest.mark.parametrize(
    ("options", "lost", "near"), [((), None, 0.9), (("--depth", 0.8, 8), None, 0.8), (("--depth", 1.2, 8), 0.1, 1.2)]
)
def test_own_frames_says_what_is_nearer_than_the_range(options, lost, near, given, monkeypatch, capsys):
    said = ran("own_frames.py", monkeypatch, capsys, given, "out", *options)
    share = re.search(r"([\d.]+)% of the known depth is nearer than", said)
    if lost is None:
        assert share is None or float(share[1]) < 0.2
    else:
        assert float(share[1]) == pytest.approx(100 * lost, abs=2)
    assert open_store("out").recipe.scenes.depth[0] == pytest.approx(near, abs=0.01)
    unknown = np.isnan(open_store("out").array("all", "depth")[:])
    of_files = np.stack([np.asarray(Image.open(f"frames/depth/{i}.png")) for i in range(2)])
    told = float(share[1]) / 100 if share else 0
    # Of the frames' own range the nearest thousandth is left out, which goes without saying.
    assert 1 - (~unknown).sum() / (of_files > 0).sum() == pytest.approx(told, abs=1e-4 if options else 1e-3)


def test_own_frames_stops_where_shards_fail(given, monkeypatch, capsys):
    """As where a file is damaged after it was looked at."""

    def make(*_):
        raise InputError("the file is gone.")

    monkeypatch.setattr("defocal.synth.samples.SampleMaker.make", make)
    said = refused("own_frames.py", monkeypatch, capsys, given, "out")
    assert said == "Error: out is unfinished: the file is gone. Mend that, then `defocal resume out`.\n"
