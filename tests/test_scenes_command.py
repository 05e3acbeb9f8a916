"""`defocal scenes`: what a dataset holds before anything is made of it."""

import json

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from defocal.pipelines.cli import cli
from defocal.pipelines.scenes import BINS, Check
from defocal.synth.readers import READERS


def run(*arguments):
    return CliRunner().invoke(cli, ["scenes", *map(str, arguments)])


@pytest.fixture
def frames(tmp_path):
    """Three frames of one place, at 1 to 4 m; the second lacks a quarter of its depth."""
    folder = tmp_path / "my frames"
    for name in ("rgb/desk", "depth/desk"):
        (folder / name).mkdir(parents=True)
    for k in range(3):
        depth = np.linspace(1000, 4000, 24 * 32).reshape(24, 32).astype(np.uint16)
        if k == 1:
            depth[:, :8] = 0
        cv2.imwrite(str(folder / "rgb/desk" / f"{k}.png"), np.full((24, 32, 3), 90, np.uint8))
        cv2.imwrite(str(folder / "depth/desk" / f"{k}.png"), depth)
    return folder


OPTIONS = ("--set", "rgb=rgb/*/*", "--set", "depth_map=depth/*/*", "--set", "group=folder")


def test_all_kinds_are_listed():
    result = run("kinds")
    assert result.exit_code == 0
    assert [line.split()[0] for line in result.output.splitlines()] == list(READERS)
    assert "nyuv2" in result.output
    assert "filled, raw" in result.output


def test_scenes_are_listed_without_reading_them(frames):
    (frames / "depth/desk/1.png").write_bytes(b"nothing")
    result = run("list", f"folder:{frames}", *OPTIONS)
    assert result.exit_code == 0
    assert "3 scenes, 1 place" in result.output
    rows = json.loads(run("list", f"folder:{frames}", *OPTIONS, "--json").stdout)
    assert len(rows) == 3
    assert set(rows[0]) == {"source", "group", "split"}
    assert len({row["group"] for row in rows}) == 1


def test_a_check_counts_what_is_there(frames):
    result = run("check", f"folder:{frames}", *OPTIONS)
    assert result.exit_code == 0, result.output
    lines = dict(line.split(maxsplit=1) for line in result.stdout.split("\n\n")[0].splitlines())
    assert lines["found"] == "3 scenes, 1 place"
    assert lines["sizes"] == "32x24"
    assert lines["unknown"].startswith("8.3% of pixels, at most 25.0% (")
    assert lines["broken"] == "none"
    shares = [
        float(line.rsplit(maxsplit=1)[1].rstrip("%")) for line in result.stdout.splitlines() if line.endswith("%")
    ]
    assert sum(shares) == pytest.approx(100, abs=0.6)


def test_a_check_names_every_broken_file(frames):
    (frames / "depth/desk/1.png").write_bytes(b"nothing")
    (frames / "rgb/desk/2.png").write_bytes((frames / "rgb/desk/2.png").read_bytes()[:50])
    result = run("check", f"folder:{frames}", *OPTIONS)
    assert result.exit_code == 4
    broken = [line for line in result.stderr.splitlines() if line.startswith("Broken: ")]
    assert len(broken) == 2
    assert str(frames / "depth/desk/1.png") in broken[0]
    assert str(frames / "rgb/desk/2.png") in broken[1]
    assert "2 scenes" in result.stdout


def test_quantiles_of_a_check():
    found = Check("")
    depth = np.geomspace(0.5, 50, 10000, dtype=np.float32).reshape(100, 100)
    depth[0, :10], depth[1, :5] = np.nan, np.inf
    found.add(depth, "a")
    for share in (0.01, 0.5, 0.99):
        assert found.quantile(share) == pytest.approx(np.quantile(depth[np.isfinite(depth)], share), rel=0.08)
    assert found.sky == 5
    assert found.counts.sum() == 10000 - 15
    assert BINS[1] / BINS[0] == pytest.approx(1.0746, rel=1e-3)
    assert "5 pixels at infinity" in dict(found.facts())["sky"]
