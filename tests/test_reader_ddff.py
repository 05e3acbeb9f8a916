"""DDFF 12-Scene."""

import h5py
import numpy as np
import pytest
from datasets_a import colour, ddff, ddff_stacks, npy
from rgbd import refusal

from defocal.synth.light import decode
from defocal.synth.readers.ddff import Ddff12


def test_light_fields(tmp_path):
    reader = Ddff12(path=ddff(tmp_path))
    assert [(i.source, i.group, i.split) for i in reader.scan()] == [
        ("train/kitchen/0001", "kitchen", "train"),
        ("train/kitchen/0002", "kitchen", "train"),
        ("val/office41/0001", "office41", "val"),  # the test part has no depth
    ]
    scene = reader.read(1)
    np.testing.assert_array_equal(scene.aif, decode(colour(5, 7, 2), "srgb"))  # the view in the middle
    expected = np.full((5, 7), 1.5, np.float32)
    expected[1, 2] = np.nan
    np.testing.assert_array_equal(scene.depth, expected)
    views = reader.views(1)
    assert views.shape == (9, 9, 5, 7, 3)
    assert isinstance(views.base, np.memmap) or isinstance(views, np.memmap)  # 51 MB, read where it is used
    refusal(lambda: reader.stack(0), "light fields")


def test_intrinsics_of_views_of_the_true_size(tmp_path):
    scene = Ddff12(path=ddff(tmp_path, 383, 552), part="val").read(0)
    assert scene.intrinsics.fx == 521.4


@pytest.mark.parametrize("channel", [False, True])
def test_stacks(tmp_path, channel):
    path = ddff_stacks(tmp_path, channel=channel)
    reader = Ddff12(path=path)
    assert [(i.source, i.split) for i in reader.scan()] == [
        ("train/00000", "train"), ("train/00001", "train"), ("val/00000", "val"),
    ]  # fmt: skip
    stack, focus, depth = reader.stack(1)
    assert (stack.shape, stack.dtype) == ((10, 5, 7, 3), np.uint8)
    assert (stack == 14).all()
    # linspace(b f / 0.5, b f / 7, 10): uniform in disparity, nearest first.
    product = 521.4052 * 1982.0250823695178 / 7317.020641763665 * 1e-3
    np.testing.assert_allclose(focus, product / np.linspace(product / 0.5, product / 7, 10))
    assert focus[[0, -1]] == pytest.approx([0.5, 7])
    assert depth[2, 2] == pytest.approx(product / 0.1)  # 1.41 m
    assert np.isnan(depth[0, 0])


def test_stacks_are_no_scenes(tmp_path):
    path = ddff_stacks(tmp_path)
    reader = Ddff12(path=path)
    refusal(lambda: reader.read(0), path, "all-in-focus")
    refusal(lambda: reader.views(0), path, "light fields")


def test_a_test_file_has_no_disparity(tmp_path):
    path = tmp_path / "ddff-dataset-test.h5"
    with h5py.File(path, "w") as file:
        file["stack_test"] = np.zeros((1, 10, 4, 4, 3), np.uint8)
    stack, _, depth = Ddff12(path=path).stack(0)
    assert stack.shape == (10, 4, 4, 3)
    assert depth is None


@pytest.mark.parametrize(
    ("name", "values", "mention"),
    [
        ("disp_train", np.ones((2, 4, 4), np.float32), "another shape"),
        ("stack_train", np.full((2, 10, 5, 7, 3), 900.0, np.float32), "0 to 255"),
        ("stack_train", np.ones((2, 10, 5, 7), np.float32), "(2, 10, 5, 7)"),
    ],
)
def test_stacks_that_cannot_be(tmp_path, name, values, mention):
    path = ddff_stacks(tmp_path)
    with h5py.File(path, "a") as file:
        del file[name]
        file[name] = values
    refusal(lambda: Ddff12(path=path).stack(0), path, mention)


@pytest.mark.parametrize(
    "values", [np.zeros((9, 9, 5, 7), np.uint8), np.zeros((5, 5, 5, 7, 3), np.uint8), np.zeros((9, 9, 5, 7, 3))]
)
def test_arrays_that_are_no_light_field(tmp_path, values):
    path = npy(ddff(tmp_path) / "lightfield" / "train" / "kitchen" / "LF_0001.npy", values)
    refusal(lambda: Ddff12(path=tmp_path).read(0), path)


def test_a_light_field_that_is_there_twice(tmp_path):
    root = ddff(tmp_path)
    npy(root / "copy" / "train" / "kitchen" / "LF_0001.npy", np.zeros((9, 9, 5, 7, 3), np.uint8))
    refusal(Ddff12(path=root).scan, "LF_0001.npy", "twice")
