"""Make3D."""

import numpy as np
import pytest
import scipy.io
from datasets_a import make3d
from rgbd import refusal, save

from defocal.synth.light import srgb_to_linear
from defocal.synth.readers.make3d import Make3d


def test_scenes(tmp_path):
    reader = Make3d(path=make3d(tmp_path))
    assert [(i.source, i.group, i.split) for i in reader.scan()] == [
        ("Test134/img-op57-p-016t000", "op57", "test"),
        ("Train400Img/img-10.21op2-p-139t000", "10.21op2", "train"),
        ("Train400Img/img-10.21op2-p-251t000", "10.21op2", "train"),
        ("Train400Img/img-math7-p-046t0", "math7", "train"),
    ]
    scene = reader.read(0)
    assert scene.size == (568, 426)
    np.testing.assert_allclose(scene.aif, srgb_to_linear(128 / 255), rtol=1e-3)
    # The third number, not the fourth, by the nearest of 55 x 305 cells; the scanner's end is unknown.
    rows, columns = (np.arange(568) + 0.5) * 55 // 568, (np.arange(426) + 0.5) * 305 // 426
    expected = 5 + rows[:, None] + columns / 1000
    expected[(rows[:, None] == 0) & (columns < 2)] = np.nan
    np.testing.assert_allclose(scene.depth, expected, rtol=1e-6)
    assert scene.intrinsics is None


def test_pictures_are_averaged_in_linear_light(tmp_path):
    make3d(tmp_path)
    stripes = np.zeros((2272, 1704, 3), np.uint8)
    stripes[:, ::2] = 255
    save(tmp_path / "Test134" / "img-op57-p-016t000.jpg", stripes)
    assert Make3d(path=tmp_path, part="test").read(0).aif.mean() == pytest.approx(0.5, abs=0.02)  # 0.21 if encoded


def test_official_split(tmp_path):
    make3d(tmp_path)
    assert len(Make3d(path=tmp_path, part="train")) == 3
    assert len(Make3d(path=tmp_path, part="test")) == 1
    refusal(Make3d(path=tmp_path / "Train400Img").scan, "Train400Img", "depth_sph_corr")  # depth lies elsewhere


def test_small_pictures(tmp_path):
    make3d(tmp_path)
    path = tmp_path / "Test134" / "img-op57-p-016t000.jpg"
    save(path, np.zeros((400, 300, 3), np.uint8))
    refusal(lambda: Make3d(path=tmp_path).read(0), path, "300x400", "1704x2272")


@pytest.mark.parametrize(
    ("name", "grid"),
    [
        ("Position3DGrid", np.ones((55, 305))),
        ("Position3DGrid", np.ones((55, 305, 3))),
        ("Position3DGrid", np.ones((55, 305, 4), np.int16)),
        ("depthMap", np.ones((55, 305, 4))),
    ],
)
def test_other_mat_files(tmp_path, name, grid):
    make3d(tmp_path)
    path = tmp_path / "Gridlaserdata" / "depth_sph_corr-op57-p-016t000.mat"
    scipy.io.savemat(path, {name: grid})
    refusal(lambda: Make3d(path=tmp_path).read(0), path, "Position3DGrid")


def test_nothing_of_it(tmp_path):
    refusal(Make3d(path=tmp_path).scan, tmp_path, "img-*.jpg")
