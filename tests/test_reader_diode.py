"""DIODE."""

import numpy as np
import pytest
from datasets_a import diode, npy
from rgbd import refusal

from defocal.synth.readers.diode import Diode


def test_pictures(tmp_path):
    reader = Diode(path=diode(tmp_path))
    assert [(i.source, i.group, i.split) for i in reader.scan()] == [
        ("train/indoors/scene_00000/scan_00000/00000_a", "indoors/scene_00000", "train"),
        ("val/outdoor/scene_00022/scan_00193/00000_a", "outdoor/scene_00022", "val"),
    ]
    scene = reader.read(1)
    expected = np.arange(1, 49, dtype=np.float32).reshape(6, 8)
    expected[0, 3] = np.nan  # the mask is 0 there, whatever the map says
    np.testing.assert_array_equal(scene.depth, expected)
    assert scene.intrinsics is None  # of another size than the camera's


def test_intrinsics_are_those_of_the_devkit(tmp_path):
    lens = Diode(path=diode(tmp_path, 768, 1024), part="val").read(0).intrinsics
    assert (lens.fx, lens.fy, lens.cx, lens.cy) == (886.81, 927.06, 511.5, 383.5)


@pytest.mark.parametrize(
    ("inner", "split", "group"),
    [("val", "val", "outdoor/scene_00022"), ("val/outdoor/scene_00022/scan_00193", "val", "outdoor/scene_00022")],
)
def test_any_folder_of_it_may_be_given(tmp_path, inner, split, group):
    items = Diode(path=diode(tmp_path) / inner).scan()
    assert [(item.split, item.group) for item in items] == [(split, group)]


@pytest.mark.parametrize("suffix", [".png", "_depth_mask.npy"])
def test_a_partner_that_is_missing(tmp_path, suffix):
    path = diode(tmp_path) / "val" / "outdoor" / "scene_00022" / "scan_00193" / f"00000_a{suffix}"
    path.unlink()
    refusal(Diode(path=tmp_path).scan, path, "missing")


def test_a_mask_of_another_size(tmp_path):
    folder = diode(tmp_path) / "val" / "outdoor" / "scene_00022" / "scan_00193"
    path = npy(folder / "00000_a_depth_mask.npy", np.ones((5, 8), np.float32))
    refusal(lambda: Diode(path=tmp_path).read(1), path, "8x5")


def test_zero_is_no_depth_and_less_is_damage(tmp_path):
    folder = diode(tmp_path) / "val" / "outdoor" / "scene_00022" / "scan_00193"
    depth = np.load(folder / "00000_a_depth.npy")
    depth[2, 2] = 0
    path = npy(folder / "00000_a_depth.npy", depth)
    assert np.isnan(Diode(path=tmp_path).read(1).depth[2, 2])
    depth[2, 2] = -1
    npy(path, depth)
    refusal(lambda: Diode(path=tmp_path).read(1), path, "negative")
