"""The command line: what each command prints, its exit codes, and its manners with bad input."""

import json
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from conftest import recipe_data

from defocal import __version__
from defocal.pipelines.cli import cli
from defocal.pipelines.generate import create
from defocal.synth import Recipe
from defocal.synth.samples import SampleMaker


def run(*arguments):
    result = CliRunner().invoke(cli, [str(a) for a in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def refused(*arguments):
    """Run a command that must be refused; return its one sentence."""
    result = run(*arguments)
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.output
    message = result.stderr.strip().splitlines()[-1]
    assert message.startswith("Error: ")
    assert message.endswith(".")
    return message


@pytest.fixture
def recipe_file(tmp_path):
    path = tmp_path / "tiny.toml"
    path.write_text(Recipe.parse(recipe_data()).to_toml())
    return path


@pytest.fixture
def frames(tmp_path):
    """A folder of three colour images with depth in millimetres, one pixel in ten unknown."""
    rng = np.random.default_rng(0)
    for i in range(3):
        (tmp_path / "own/rgb").mkdir(parents=True, exist_ok=True)
        (tmp_path / "own/depth").mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(tmp_path / f"own/rgb/{i}.png"), rng.integers(0, 255, (32, 40, 3), dtype=np.uint8))
        depth = np.linspace(900, 3900, 1280).reshape(32, 40).astype(np.uint16)
        depth[rng.random(depth.shape) < 0.1] = 0
        cv2.imwrite(str(tmp_path / f"own/depth/{i}.png"), depth)
    return tmp_path / "own"


def test_help_is_quick_and_names_every_command():
    begun = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "defocal.pipelines.cli", "--help"], capture_output=True, text=True, check=True
    )
    assert time.monotonic() - begun < 20  # hangs, not speed: the benchmark prints the time
    for name in ("demo", "recipes", "init", "plan", "generate", "resume", "info", "preview", "verify"):
        assert f"\n  {name} " in done.stdout
        assert run(name, "--help").exit_code == 0


def test_version():
    assert __version__ in run("--version").output


def test_the_way_from_recipe_to_verified_pictures(recipe_file, tmp_path):
    out = tmp_path / "d"
    result = run("generate", recipe_file, out)
    assert result.exit_code == 0
    assert "Made 12 samples" in result.stdout
    verified = run("verify", out, "--rerender", 2)
    assert verified.exit_code == 0
    assert verified.stdout.count("made again: bit-exact") == 2
    assert "is intact: 12 samples, content digest" in verified.stdout
    facts = json.loads(run("info", out, "--json").stdout)
    assert facts["dataset"]["content_digest"] in verified.stdout
    assert (facts["recipe"]["name"], facts["recipe"]["seed"]) == ("tiny", 3)
    assert run("preview", out, "--out", tmp_path / "p", "--count", 3).exit_code == 0
    assert cv2.imread(str(tmp_path / "p/contact.png")).shape[2] == 3
    assert "<html" in (tmp_path / "p/preview.html").read_text()
    assert "complete; nothing to do" in run("resume", out).stdout


def test_plan_says_what_will_happen(recipe_file):
    text = run("plan", recipe_file).stdout
    for words in ("CoC", "in focus", "GB free", "samples", "on one core", "train", "px"):
        assert words in text


def test_recipes_and_init(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "d3net-2m" in run("recipes").stdout
    assert "Wrote quickstart.toml" in run("init", "quickstart").stdout
    assert run("info", "quickstart.toml").exit_code == 0
    assert "already exists" in refused("init", "quickstart")
    assert run("init", "quickstart", "-o", "other.toml").exit_code == 0
    assert "there is no recipe or folder 'none'" in refused("init", "none")


def test_own_rgbd_becomes_a_dataset_that_keeps_unknown_depth(frames, tmp_path):
    out = tmp_path / "d"
    result = run("generate", "quickstart", out, "--scenes", f"folder:{frames}")
    assert result.exit_code == 0, result.output
    from defocal.synth import open_store

    store = open_store(out)
    assert len(store) == 3
    split, row, _ = next(store.rows())
    sample = store.sample(split, row)
    assert 0.05 < np.isnan(sample["depth"]).mean() < 0.15
    np.testing.assert_array_equal(np.isnan(sample["depth"]), np.isnan(sample["coc"]))
    assert run("verify", out, "--rerender", 3).exit_code == 0


def test_scenes_are_checked_before_anything_is_written(frames, tmp_path):
    generate = ("generate", "quickstart", tmp_path / "d", "--scenes", f"folder:{frames}")

    def replace(name, image):
        path = frames / name
        kept = path.read_bytes()
        path.write_bytes(image if isinstance(image, bytes) else cv2.imencode(".png", image)[1].tobytes())
        message = refused(*generate)
        path.write_bytes(kept)
        assert str(path) in message, message
        assert not (tmp_path / "d").exists()
        assert not list(tmp_path.glob("*.partial"))
        return message

    assert "empty" in replace("rgb/1.png", b"")
    assert "not an image" in replace("rgb/1.png", b"nonsense")
    assert "pixels" in replace("depth/2.png", np.ones((8, 8), np.uint16))
    assert "no valid depth" in replace("depth/0.png", np.zeros((32, 40), np.uint16))
    metres = replace("depth/2.png", np.linspace(1, 4, 1280).reshape(32, 40).astype(np.uint16))
    assert "depth_unit" in metres
    (frames / "depth/1.png").unlink()
    assert "1 of 3 colour files have no depth map" in refused(*generate)


def test_use_that_cannot_be_right_is_refused_unless_told_so(tmp_path, recipe_file):
    blurred = ("generate", recipe_file, tmp_path / "d", "--set", "camera.focus_distance=40")
    assert "nothing would be in focus" in refused(*blurred)
    assert "nothing would be in focus" in refused("plan", *blurred[1:2], *blurred[3:])
    sharp = ("generate", recipe_file, tmp_path / "d", "--set", "camera.f_number=200")
    message = refused(*sharp)
    assert "nothing would be blurred" in message
    assert 'accept = ["all-sharp"]' in message
    assert not (tmp_path / "d").exists()
    assert run(*sharp, "--set", 'accept=["all-sharp"]').exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("generate", "nonsense", "d"), "there is no recipe"),
        (("generate", "none.toml", "d"), "cannot read none.toml"),
        (("generate", "quickstart", "d", "--set", "camera.focus_distance=0.01"), "beyond the focal length"),
        (("generate", "quickstart", "d", "--set", "camera.lens=1"), "camera.lens: unknown key"),
        (("generate", "quickstart", "d", "--scenes", "bla:/x"), "kind must be one of"),
        (("generate", "quickstart", "d", "--scenes", "/x"), "KIND:PATH"),
        (("scenes", "check", "folder:/none"), "does not exist"),
        (("scenes", "list", "folder:."), "no colour files that match rgb"),
        (("scenes", "list", "folder:.", "--set", "depht_map=x"), "scenes.depht_map: unknown key"),
        (("scenes", "list", "folder:.", "--set", "camera.f_number=2"), "KEY=VALUE"),
        (("generate", "quickstart", "d", "--scenes", "folder:/none"), "does not exist"),
        (("generate", "quickstart", "."), "not empty"),
        (("resume", "d"), "there is no dataset"),
        (("resume", "."), "holds no .zarr folder"),
        (("verify", "d"), "there is no dataset"),
        (("verify", "."), "holds no .zarr folder"),
        (("info", "d"), "there is no recipe"),
        (("preview", "d"), "there is no recipe"),
    ],
)
def test_bad_input_gets_one_sentence_and_leaves_nothing(tmp_path, monkeypatch, arguments, words):
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "file").write_text("x")
    monkeypatch.chdir(tmp_path / "here")
    assert words in refused(*arguments)
    assert [p.name for p in (tmp_path / "here").iterdir()] == ["file"]


@pytest.mark.parametrize(
    "arguments",
    [
        ("mask", "quickstart", "made", "--etch-error", "nan"),
        ("generate", "quickstart", "d", "--patience", "nan"),
        ("resume", "d", "--patience", "NaN"),
    ],
)
def test_what_is_no_number_is_refused_as_any_wrong_option(tmp_path, monkeypatch, arguments):
    monkeypatch.chdir(tmp_path)
    result = run(*arguments)
    assert result.exit_code == 2
    assert f"Invalid value for '{arguments[-2]}': '{arguments[-1]}' is not a number." in result.stderr
    assert not any(tmp_path.iterdir())


def test_commands_that_are_told_can_be_typed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "`defocal plan 'my own.toml'`" in run("init", "quickstart", "-o", "my own.toml").stdout
    assert "`defocal plan mine.toml`" in run("init", "quickstart", "-o", "mine.toml").stdout
    told = run("psf", "my own.toml", "--set", "description=two words").stdout
    assert "Next: `defocal plan 'my own.toml' --set 'description=two words'`." in told
    assert "`defocal generate RECIPE 'no such'`" in refused("resume", "no such")
    create(Path("a b"), SampleMaker(Recipe.parse(recipe_data(scenes={"count": 2}))))
    resume = "`defocal resume 'a b'`"
    assert resume in run("info", "a b").stdout
    for arguments in (("generate", "quickstart", "a b"), ("preview", "a b"), ("verify", "a b")):
        assert resume in refused(*arguments)


def test_verification_that_fails_exits_with_four(recipe_file, tmp_path):
    out = tmp_path / "d"
    assert run("generate", recipe_file, out, "--limit", 2).exit_code == 0
    shard = next(p for p in out.glob("*.zarr/aif/c/**/*") if p.is_file())
    shard.write_bytes(b"x" + shard.read_bytes()[1:])
    result = run("verify", out)
    assert result.exit_code == 4
    assert "Mismatch: sample" in result.stderr


def test_the_demo_runs_and_runs_again(tmp_path):
    out = tmp_path / "demo"
    first = run("demo", "--out", out)
    assert first.exit_code == 0, first.output
    assert (out / "contact.png").exists()
    again = run("demo", "--out", out)
    assert again.exit_code == 0
    assert "Using the dataset" in again.stdout


def test_real_rgbd_from_three_cameras(real_data, tmp_path):
    folder = real_data / "open3d_testdata"
    for name, options in {
        "redwood": ["scenes.rgb=redwood_color/*", "scenes.depth_map=redwood_depth/*"],
        "tum": ["scenes.rgb=other/T*_color.png", "scenes.depth_map=other/T*_depth.png", "scenes.depth_unit=0.0002"],
    }.items():
        settings = [word for option in options for word in ("--set", option)]
        result = run("generate", "d3net-2m", tmp_path / name, "--scenes", f"folder:{folder}", *settings)
        assert result.exit_code == 0, result.output
        assert run("verify", tmp_path / name, "--rerender", 1).exit_code == 0


def test_the_dslr_pairs_of_the_paper(real_data, tmp_path):
    result = run(
        "generate", "d3net-2m", tmp_path / "dslr", "--limit", 3, "--scenes", f"folder:{real_data / 'dfd_indoor'}",
        "--set", "scenes.rgb=dfd_dataset_indoor_N8/rgb/train/*",
        "--set", "scenes.depth_map=dfd_dataset_indoor_N2_8/depth/train/*",
        "--set", "scenes.pairing=order",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert run("verify", tmp_path / "dslr", "--rerender", 1).exit_code == 0
