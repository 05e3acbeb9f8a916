"""MPI Sintel."""

import shutil

import numpy as np
import pytest
from datasets_images import DEPTH, K, cam, sintel, write
from rgbd import real, refusal

from defocal.synth import Intrinsics
from defocal.synth.readers import read_scenes


def test_training_frames(tmp_path):
    reader = read_scenes("sintel", sintel(tmp_path))
    items = reader.scan()
    assert [item.source for item in items] == [
        f"training/clean/{shot}/frame_0001" for shot in ("alley_1", "alley_2", "market_2")
    ]
    assert [item.group for item in items] == ["alley", "alley", "market"]
    scene = reader.read(0)
    assert scene.depth[0, 0] == np.inf  # 1e11 is sky
    np.testing.assert_array_equal(scene.depth.ravel()[1:], DEPTH.ravel()[1:])
    assert scene.intrinsics == Intrinsics(fx=50, fy=52, cx=3.5, cy=2.5)


@pytest.mark.parametrize("variant", ["clean", "final", "albedo"])
def test_variants(tmp_path, variant):
    sintel(tmp_path)
    reader = read_scenes("sintel", tmp_path, variant=variant)
    assert reader.source(0) == f"training/{variant}/alley_1/frame_0001"
    assert read_scenes("sintel", tmp_path / "training", variant=variant).source(0) == f"{variant}/alley_1/frame_0001"
    assert reader.files(0)[-1].suffix == ".dpt"


@pytest.mark.parametrize("content", [None, b"", cam(K)[:-1], b"\0" + cam(K)[1:], cam(-K), cam(np.full((3, 3), np.nan))])
def test_camera_refusals(tmp_path, content):
    path = sintel(tmp_path) / "training/camdata_left/alley_1/frame_0001.cam"
    path.unlink()
    if content is not None:
        write(path, content)
    refusal(lambda: read_scenes("sintel", tmp_path).read(0), path)


def test_layout(tmp_path):
    refusal(read_scenes("sintel", tmp_path).scan, tmp_path, "training/clean")


def test_real_frame(tmp_path):
    source = real("syndof_samples")
    shot = "market_2/frame_0001"
    for name, target in (("image", f"clean/{shot}.png"), ("depth", f"depth/{shot}.dpt")):
        (tmp_path / "training" / target).parent.mkdir(parents=True)
        suffix = target[-4:]
        shutil.copy(source / f"{name}__MPI__market_2__frame_0001{suffix}", tmp_path / "training" / target)
    intrinsics = np.array([[1120.0, 0, 511.5], [0, 1120, 217.5], [0, 0, 1]])
    write(tmp_path / "training/camdata_left" / f"{shot}.cam", cam(intrinsics))
    scene = read_scenes("sintel", tmp_path).read(0)
    assert scene.size == (436, 1024)
    assert scene.depth.min() == np.float32(6.6154914)
    assert np.isinf(scene.depth).any()
    assert scene.depth[np.isfinite(scene.depth)].max() < 1e4
