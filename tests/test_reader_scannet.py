"""ScanNet: colour comes to the depth map, and the camera follows."""

import numpy as np
import pytest
from datasets_images import DEPTH, matrix, scannet, write
from rgbd import refusal, save

from defocal.synth import Intrinsics
from defocal.synth.light import srgb_to_linear
from defocal.synth.readers import read_scenes


def test_groups_are_places(tmp_path):
    items = read_scenes("scannet", scannet(tmp_path)).scan()
    assert items[0].source == "scans/scene0000_00/color/0"
    assert [item.group for item in items] == ["scene0000", "scene0000", "scene0707"]
    assert [item.group for item in read_scenes("scannet", tmp_path / "scans/scene0000_01").scan()] == ["scene0000"]
    assert {item.split for item in items} == {""}


def test_official_lists(tmp_path):
    scannet(tmp_path)
    write(tmp_path / "scannetv2_train.txt", "scene0000_00\nscene0000_01\n")
    write(tmp_path / "scannetv2_test.txt", "scene0707_00\n")
    assert [item.split for item in read_scenes("scannet", tmp_path).scan()] == ["train", "train", "test"]
    assert len(read_scenes("scannet", tmp_path, part="train")) == 2
    refusal(read_scenes("scannet", tmp_path, part="val").scan, tmp_path, "'val'")


def test_depth_stays_as_it_is_and_its_camera_counts(tmp_path):
    scene = read_scenes("scannet", scannet(tmp_path)).read(0)
    expected = (DEPTH * 0.1).astype(np.float32)
    np.testing.assert_allclose(scene.depth.ravel()[1:], expected.ravel()[1:], rtol=1e-6)
    assert np.isnan(scene.depth[0, 0])
    assert scene.size == (6, 8)
    assert scene.intrinsics == Intrinsics(fx=50, fy=52, cx=3.5, cy=2.5)
    np.testing.assert_allclose(scene.aif[0, 0], srgb_to_linear(np.array([200, 100, 50]) / 255), rtol=0.02)  # JPEG


def test_a_depth_pixel_gets_the_light_that_it_covers(tmp_path):
    scannet(tmp_path)
    colour = np.random.default_rng(0).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    folder = tmp_path / "scans/scene0000_00"
    (folder / "color/0.jpg").unlink()
    save(folder / "color/0.png", colour)
    linear = srgb_to_linear(colour / 255).astype(np.float64)
    expected = linear.reshape(6, 2, 8, 2, 3).mean(axis=(1, 3))  # of encoded values it would be darker
    scene = read_scenes("scannet", folder).read(0)
    np.testing.assert_allclose(scene.aif, expected, rtol=1e-6, atol=1e-7)


def test_a_straight_wall_of_light_stays_where_the_camera_sees_it(tmp_path):
    """Radiance linear in the viewing angle's tangent is linear in pixels: both cameras must agree on it."""
    scannet(tmp_path, (97, 130))
    folder = tmp_path / "scans/scene0000_00"
    wide = np.array([[300.0, 0, 61.0], [0, 310.0, 50.5], [0, 0, 1]])
    write(folder / "intrinsic/intrinsic_color.txt", matrix(wide))
    tangent = (np.arange(130) - 61.0) / 300.0
    light = np.round(30000 + 60000 * tangent).astype(np.uint16)
    (folder / "color/0.jpg").unlink()
    save(folder / "color/0.png", np.dstack([np.tile(light, (97, 1))] * 3))
    scene = read_scenes("scannet", folder).read(0)
    seen = (np.arange(8) - 3.5) / 50.0
    expected = srgb_to_linear((30000 + 60000 * seen) / 65535)
    np.testing.assert_allclose(scene.aif[2, :, 0], expected, rtol=2e-3)


def test_depth_beyond_the_picture_becomes_unknown(tmp_path):
    folder = scannet(tmp_path) / "scans/scene0000_00"
    write(folder / "intrinsic/intrinsic_color.txt", matrix([[100.0, 0, 3.5], [0, 104.0, 5.5], [0, 0, 1]]))
    scene = read_scenes("scannet", folder).read(0)
    assert np.isnan(scene.depth[:, :2]).all()  # their middles lie at -3 and -1 pixels of the colour picture
    assert not np.isnan(scene.depth[1:, 2:]).any()
    assert np.isfinite(scene.aif).all()


def test_one_camera_for_both_needs_no_resampling(tmp_path):
    folder = scannet(tmp_path, (6, 8)) / "scans/scene0000_00"
    small = (folder / "intrinsic/intrinsic_depth.txt").read_bytes()
    write(folder / "intrinsic/intrinsic_color.txt", small)
    colour = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    save(folder / "color/0.png", colour)
    (folder / "color/0.jpg").unlink()
    np.testing.assert_allclose(read_scenes("scannet", folder).read(0).aif, srgb_to_linear(colour / 255), rtol=1e-6)


@pytest.mark.parametrize("name", ["intrinsic_color.txt", "intrinsic_depth.txt"])
@pytest.mark.parametrize("content", [None, "", "1 2 3\n", "a b\n", "0 " * 4, matrix(np.zeros((4, 4))), b"\xff\xfe"])
def test_refusals(tmp_path, name, content):
    path = scannet(tmp_path) / "scans/scene0000_00/intrinsic" / name
    path.unlink()
    if content is not None:
        write(path, content)
    refusal(lambda: read_scenes("scannet", tmp_path).read(0), path)


def test_layout(tmp_path):
    refusal(read_scenes("scannet", tmp_path).scan, tmp_path, "SCAN/color/0.jpg")
