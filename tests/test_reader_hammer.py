"""HAMMER."""

import numpy as np
from datasets_images import DEPTH, hammer
from rgbd import refusal

from defocal.synth import Intrinsics
from defocal.synth.readers import READERS, read_scenes


def test_polarisation_camera_and_its_official_split(tmp_path):
    reader = read_scenes("hammer", hammer(tmp_path))
    items = reader.scan()
    assert [(item.source.split("/")[0], item.group, item.split) for item in items] == [
        ("scene12_traj2_1", "scene12", "test"),
        ("scene2_traj1_1", "scene2", "train"),
        ("scene2_traj1_naked_1", "scene2", "train"),
    ]
    assert all("polarization/rgb" in item.source for item in items)
    assert reader.read(0).intrinsics == Intrinsics(fx=50, fy=52, cx=3.5, cy=2.5)
    assert len(read_scenes("hammer", tmp_path, part="train")) == 2


def test_variants_are_depth_maps_of_one_picture(tmp_path):
    hammer(tmp_path)
    for i, variant in enumerate(READERS["hammer"].VARIANTS):
        scene = read_scenes("hammer", tmp_path, variant=variant).read(0)
        stored = (DEPTH * 100 + i).astype(np.uint16)  # millimetres
        np.testing.assert_allclose(scene.depth.ravel()[1:], stored.ravel()[1:] * 1e-3, rtol=1e-6)
        assert np.isnan(scene.depth[0, 0])


def test_wherever_the_archive_lies(tmp_path):
    hammer(tmp_path / "_dataset_processed/test")
    assert len(read_scenes("hammer", tmp_path)) == 3
    (item,) = read_scenes("hammer", tmp_path / "_dataset_processed/test/scene12_traj2_1").scan()
    assert (item.source, item.group, item.split) == ("polarization/rgb/000000", "scene12", "test")


def test_refusals(tmp_path):
    refusal(read_scenes("hammer", tmp_path).scan, tmp_path, "polarization/rgb")
    camera = hammer(tmp_path) / "scene12_traj2_1/polarization"
    (camera / "depth_tof/000000.png").unlink()
    refusal(lambda: read_scenes("hammer", tmp_path, variant="tof").read(0), camera / "depth_tof/000000.png")
    (camera / "intrinsics.txt").write_text("1 2 3")
    refusal(lambda: read_scenes("hammer", tmp_path).read(0), camera / "intrinsics.txt", "3x3")
