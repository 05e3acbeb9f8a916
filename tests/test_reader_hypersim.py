"""Hypersim."""

import h5py
import numpy as np
import pytest
from datasets_a import h5, hypersim
from rgbd import refusal

from defocal.synth.readers.hypersim import Hypersim


def test_pictures(tmp_path):
    reader = Hypersim(path=hypersim(tmp_path))
    assert [(i.source, i.group, i.split) for i in reader.scan()] == [
        ("ai_001_001/cam_00/frame.0000", "ai_001_001", "train"),
        ("ai_001_001/cam_01/frame.0007", "ai_001_001", "train"),
        ("ai_002_003/cam_00/frame.0012", "ai_002_003", "val"),
    ]
    assert [len(Hypersim(path=tmp_path, part=part)) for part in ("train", "val")] == [2, 1]
    refusal(Hypersim(path=tmp_path, part="test").scan, "metadata_images_split_scene_v1.csv")


def test_distance_becomes_z(tmp_path):
    scene = Hypersim(path=hypersim(tmp_path, tables=False, height=768, width=1024)).read(0)
    lens = scene.intrinsics
    assert (lens.fx, lens.fy, lens.cx, lens.cy) == (pytest.approx(886.81, abs=0.01),) * 2 + (511.5, 383.5)
    x, y = (np.array([0, 512, 1023]) - 511.5) / 886.81, (np.array([0, 384, 766]) - 383.5) / 886.81
    expected = 3 / np.sqrt(1 + x**2 + y[:, None] ** 2)
    np.testing.assert_allclose(scene.depth[np.ix_([0, 384, 766], [0, 512, 1023])], expected, rtol=1e-5)
    assert scene.depth[0, 0] < 2.45  # 3 m away, and far off the axis
    assert np.argwhere(np.isnan(scene.depth)).tolist() == [[767, 1023]]


def test_exposure_is_the_toolkit_s(tmp_path):
    """90 of 100 pixels are at most as bright as 0.8 to the power of 2.2, and highlights stay."""
    scene = Hypersim(path=hypersim(tmp_path)).read(0)
    brightness = scene.aif @ np.array([0.3, 0.59, 0.11])
    valid = ~np.isnan(scene.depth)
    assert np.percentile(brightness[valid], 90) == pytest.approx(0.8**2.2, rel=1e-5)
    assert scene.aif[0, 0, 0] == pytest.approx(20 * 0.8**2.2, rel=1e-5)
    np.testing.assert_allclose(scene.aif[3, 4], 0.8**2.2, rtol=1e-5)


def test_the_camera_of_a_scene(tmp_path):
    """A camera that is shifted and tilted: z along the normal of its image plane, intrinsics that project rays."""
    scene = Hypersim(path=hypersim(tmp_path)).read(2)
    rays = np.array([[0.4, 0, 0.01], [0, 0.3, 0.06], [0, 0.05, -1.02]])
    lens, (height, width) = scene.intrinsics, scene.size
    y, x = np.mgrid[:height, :width]
    u, v = (2 * x + 1) / width - 1, 1 - (2 * y + 1) / height
    directions = np.stack([u, v, np.ones_like(u)], axis=-1) @ rays.T
    points = 3 * directions / np.linalg.norm(directions, axis=-1, keepdims=True)
    valid = ~np.isnan(scene.depth)
    # The same points, seen by the pinhole that the reader gives, differ by a rotation only.
    seen = (
        np.stack([(x - lens.cx) / lens.fx, (y - lens.cy) / lens.fy, np.ones_like(u)], axis=-1) * scene.depth[..., None]
    )
    np.testing.assert_allclose(np.linalg.norm(seen[valid], axis=-1), 3, rtol=1e-5)
    np.testing.assert_allclose(seen[valid] @ seen[valid].T, points[valid] @ points[valid].T, rtol=1e-4, atol=1e-4)


def test_one_scene_may_be_given(tmp_path):
    hypersim(tmp_path)
    items = Hypersim(path=tmp_path / "ai_001_001").scan()
    assert [(item.source, item.group) for item in items] == [
        ("ai_001_001/cam_00/frame.0000", "ai_001_001"), ("ai_001_001/cam_01/frame.0007", "ai_001_001"),
    ]  # fmt: skip


def test_what_is_not_released_is_left_out(tmp_path):
    hypersim(tmp_path)
    images = tmp_path / "ai_001_001" / "images"
    h5(images / "scene_cam_00_final_hdf5" / "frame.0055.color.hdf5", dataset=np.ones((2, 2, 3), np.float16))
    assert len(Hypersim(path=tmp_path)) == 3


def test_a_partner_that_is_missing(tmp_path):
    hypersim(tmp_path)
    path = tmp_path / "ai_001_001" / "images" / "scene_cam_00_geometry_hdf5" / "frame.0000.depth_meters.hdf5"
    path.unlink()
    refusal(Hypersim(path=tmp_path).scan, path, "missing")


@pytest.mark.parametrize(
    ("light", "mention"),
    [
        (np.full((12, 16, 3), np.nan, np.float16), "not a number"),
        (np.zeros((12, 16, 3), np.float16), "black"),
        (np.ones((12, 16), np.float16), "shape (12, 16)"),
        (np.ones((12, 16, 3), np.uint8), "uint8"),
        (np.ones((12, 15, 3), np.float16), "15x12"),
    ],
)
def test_radiance_that_cannot_be(tmp_path, light, mention):
    hypersim(tmp_path)
    path = tmp_path / "ai_001_001" / "images" / "scene_cam_00_final_hdf5" / "frame.0000.color.hdf5"
    h5(path, dataset=light)
    refusal(lambda: Hypersim(path=tmp_path).read(0), "frame.0000", mention)


def test_radiance_beyond_16_bits_and_below_zero(tmp_path):
    hypersim(tmp_path)
    path = tmp_path / "ai_001_001" / "images" / "scene_cam_00_final_hdf5" / "frame.0000.color.hdf5"
    with h5py.File(path, "a") as file:
        file["dataset"][1, 1], file["dataset"][1, 2] = np.inf, -0.5
    light = Hypersim(path=tmp_path).read(0).aif
    assert light[1, 1, 0] == pytest.approx(65504 / 2 * 0.8**2.2, rel=1e-5)
    assert light[1, 2, 0] == 0


@pytest.mark.parametrize(
    ("name", "text", "mention"),
    [
        ("metadata_camera_parameters.csv", "scene_name,M_cam_from_uv_00\nai_001_001,1\n", "M_cam_from_uv"),
        ("metadata_camera_parameters.csv", "", "ai_001_001"),
        ("metadata_images_split_scene_v1.csv", "scene_name,camera_name\na,b\n", "no column"),
    ],
)
def test_tables_that_lack_something(tmp_path, name, text, mention):
    hypersim(tmp_path)
    (tmp_path / name).write_text(text)
    refusal(lambda: Hypersim(path=tmp_path).read(0), tmp_path / name, mention)


def test_a_camera_that_sees_nothing(tmp_path):
    hypersim(tmp_path)
    path = tmp_path / "metadata_camera_parameters.csv"
    path.write_text(path.read_text().replace("0.3,0.06,0,0.05,-1.02", "0.3,0.06,0,0.3,0.06"))
    refusal(lambda: Hypersim(path=tmp_path).read(0), path, "ai_002_003")


def test_an_array_larger_than_any_picture_is_not_read(tmp_path):
    root = hypersim(tmp_path)
    colour = Hypersim(path=root).files(0)[0]
    with h5py.File(colour, "w") as file:
        file.create_dataset("dataset", (20000, 20000, 3), "f2", chunks=(100, 100, 3))
    refusal(lambda: Hypersim(path=root).read(0), colour, "larger than any picture")
