"""InfinigenDefocus."""

import numpy as np
import pytest
from datasets_images import DEPTH, infinigen, write, write_npz
from rgbd import refusal

from defocal.synth import Intrinsics
from defocal.synth.readers import read_scenes


def test_scenes(tmp_path):
    reader = read_scenes("infinigen-defocus", infinigen(tmp_path))
    items = reader.scan()
    assert [item.source for item in items] == [
        f"{name}/image_all_in_focus" for name in ("1a4897de_1", "1a4897de_2", "2b_7")
    ]
    assert [item.group for item in items] == ["1a4897de", "1a4897de", "2b"]
    scene = reader.read(0)
    np.testing.assert_array_equal(scene.depth[0, :3], [np.nan, np.inf, np.inf])  # unknown, sky, sky
    np.testing.assert_array_equal(scene.depth.ravel()[3:], DEPTH.ravel()[3:])
    assert scene.intrinsics == Intrinsics(fx=50, fy=52, cx=3.5, cy=2.5)


def test_stack(tmp_path):
    reader = read_scenes("infinigen-defocus", infinigen(tmp_path))
    images, focus = reader.stack(0, 2.8)
    np.testing.assert_array_equal(focus, [0.8, 1.7, 8.0])
    assert images[:, 0, 0, 0].tolist() == [10, 11, 12]
    refusal(lambda: reader.stack(0, 4), "1a4897de_1", "[1.4, 2.8]")


@pytest.mark.parametrize("content", [None, b"", b"no archive", b"PK\x03\x04", b"\x93NUMPY"])
def test_camera_refusals(tmp_path, content):
    path = infinigen(tmp_path) / "1a4897de_1/cam_all_in_focus.npz"
    path.unlink()
    if content is not None:
        write(path, content)
    refusal(lambda: read_scenes("infinigen-defocus", tmp_path).read(0), path)


@pytest.mark.parametrize(
    "arrays",
    [
        {"T": np.eye(4)},
        {"K": np.eye(2)},
        {"K": np.array("K")},
        {"K": np.array({}, object)},
        {"K": np.full((3, 3), np.nan)},
    ],
)
def test_matrix_refusals(tmp_path, arrays):
    path = write_npz(infinigen(tmp_path) / "1a4897de_1/cam_all_in_focus.npz", **arrays)
    refusal(lambda: read_scenes("infinigen-defocus", tmp_path).read(0), path)


def test_layout(tmp_path):
    refusal(read_scenes("infinigen-defocus", tmp_path).scan, tmp_path, "image_all_in_focus.png")
