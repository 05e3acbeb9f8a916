"""The examples run, at a small size, and their headers ask for what they import."""

import ast
import re
import runpy
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
from conftest import recipe_data
from learning import made
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
HEADER = re.compile(r"\A# /// script\n((?:# .*\n)+)# ///\n")


def ran(name, monkeypatch, capsys, *arguments):
    """Run an example as a program; return what it printed."""
    monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
    runpy.run_path(str(ROOT / "examples" / name), run_name="__main__")
    return capsys.readouterr().out


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_headers_and_length(path):
    text = path.read_text()
    header = tomllib.loads("".join(line[2:] for line in HEADER.match(text)[1].splitlines(keepends=True)))
    assert header["requires-python"] == ">=3.11"
    (wanted,) = header["dependencies"]
    assert len(text.splitlines()) < 60
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
    assert said.count(" px") == 2
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
    assert re.search(r"learned: \d", said)
    assert (out / "workshop" / "mask.html").is_file()
