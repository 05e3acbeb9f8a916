"""ZEDD: all-in-focus photographs to render from, real stacks to evaluate on."""

import shutil

import numpy as np
import pytest
from datasets_images import DEPTH, ZEDD_RUNS, picture, write, zedd
from rgbd import refusal, save

from defocal.synth import Intrinsics
from defocal.synth.readers import read_scenes


def test_scenes_have_public_depth(tmp_path):
    reader = read_scenes("zedd", zedd(tmp_path))
    items = reader.scan()
    assert [(item.source, item.group, item.split) for item in items] == [
        ("val/val_0001", "val_0001", "val"),
        ("val/val_0002", "val_0002", "val"),
    ]
    assert items[0].files[0].name == "img_run_5_motor_2371_aperture_F16.0.jpg"
    scene = reader.read(0)
    assert np.isnan(scene.depth[0, :3]).all()  # NaN, infinite and 0 are unknown
    np.testing.assert_array_equal(scene.depth.ravel()[3:], DEPTH.ravel()[3:])
    assert scene.intrinsics == Intrinsics(fx=50, fy=52, cx=3.5, cy=2.5)


def test_the_test_part_has_none(tmp_path):
    zedd(tmp_path)
    refusal(read_scenes("zedd", tmp_path, part="test").scan, tmp_path, "not public")
    shutil.rmtree(tmp_path / "val")
    refusal(read_scenes("zedd", tmp_path).scan, tmp_path, "1 scenes", "not public")


def test_folder_above(tmp_path):
    zedd(tmp_path / "ZEDD")
    assert read_scenes("zedd", tmp_path).source(0) == "ZEDD/val/val_0001"


def test_stack(tmp_path):
    reader = read_scenes("zedd", zedd(tmp_path))
    images, focus = reader.stack(1, 2.8)
    np.testing.assert_array_equal(focus, [distance for _, distance in ZEDD_RUNS.values()])
    assert images.shape == (3, 6, 8, 3)
    assert images[:, 0, 0, 0].tolist() == [21, 101, 181]  # run x 20, and 1 for f/2.8
    assert reader.stack(0, 16)[0][1, 0, 0, 0] == 102


def test_stack_refusals(tmp_path):
    reader = read_scenes("zedd", zedd(tmp_path))
    refusal(lambda: reader.stack(0, 3.0), "val_0001", "F3.0")
    path = tmp_path / "val/val_0001/focus_stack/img_run_9_motor_1113_aperture_F2.8.jpg"
    save(path, picture(4, 4))
    refusal(lambda: reader.stack(0, 2.8), path, "4x4")
    for text, mention in (("run_1\t6D3E\n", "not run"), ("run_1\t6D3E\t0.82\n", "no run_5"), ("", "empty"),
                          ("run_1\t6D3E\t-1\n", "not positive")):  # fmt: skip
        write(tmp_path / "metadata.txt", text)
        refusal(lambda: reader.stack(0, 1.4), tmp_path / "metadata.txt", mention)
    (tmp_path / "metadata.txt").unlink()
    refusal(lambda: reader.stack(0, 1.4), tmp_path / "metadata.txt", "does not exist")


@pytest.mark.parametrize("content", [None, "1 2\n3 4\n", "50 0 3\n0 nan 2\n0 0 1\n", "-50 0 3\n0 52 2\n0 0 1\n"])
def test_camera_refusals(tmp_path, content):
    path = zedd(tmp_path) / "val/val_0001/gt/K.txt"
    path.unlink()
    if content:
        write(path, content)
    refusal(lambda: read_scenes("zedd", tmp_path).read(0), path)


def test_layout(tmp_path):
    refusal(read_scenes("zedd", tmp_path).scan, tmp_path, "focus_stack")
