"""TartanAir: depth as numbers and depth packed into colour."""

import cv2
import numpy as np
from datasets_images import air_depth, picture, tartanair_1, tartanair_2
from rgbd import refusal, save

from defocal.synth import Intrinsics
from defocal.synth.readers import read_scenes


def expected(height: int) -> np.ndarray:
    depth = air_depth(height)
    depth[0], depth[1, 0] = np.inf, np.nan  # the sky's dome; unknown; 9999 m is a mountain
    return depth


def test_version_1(tmp_path):
    reader = read_scenes("tartanair", tartanair_1(tmp_path))
    items = reader.scan()
    assert [item.source for item in items] == [
        "abandonedfactory/Easy/P000/image_left/000000_left",
        "abandonedfactory_night/Hard/P001/image_left/000000_left",
        "office/office/Easy/P002/image_left/000000_left",
    ]
    assert [item.group for item in items] == ["abandonedfactory", "abandonedfactory", "office"]
    scene = reader.read(0)
    np.testing.assert_array_equal(scene.depth, expected(480))
    assert scene.intrinsics == Intrinsics(fx=320, fy=320, cx=320, cy=240)


def test_version_2_keeps_every_bit_of_packed_depth(tmp_path):
    reader = read_scenes("tartanair", tartanair_2(tmp_path))
    assert [(item.source, item.group) for item in reader.scan()] == [
        ("AbandonedCable/Data_hard/P003/image_lcam_front/000000_lcam_front", "AbandonedCable")
    ]
    scene = reader.read(0)
    np.testing.assert_array_equal(scene.depth, expected(640))
    assert scene.intrinsics == Intrinsics(fx=320, fy=320, cx=320, cy=320)
    rgba = cv2.imread(str(reader.files(0)[-1]), cv2.IMREAD_UNCHANGED)  # decoded as the dataset's page does
    np.testing.assert_array_equal(rgba.view("<f4")[..., 0], air_depth(640))


def test_one_environment_alone(tmp_path):
    tartanair_1(tmp_path)
    (item,) = read_scenes("tartanair", tmp_path / "abandonedfactory_night").scan()
    assert (item.source, item.group) == ("Hard/P001/image_left/000000_left", "abandonedfactory")


def test_refusals(tmp_path):
    refusal(read_scenes("tartanair", tmp_path).scan, tmp_path, "Easy|Hard")
    tartanair_1(tmp_path)
    reader = read_scenes("tartanair", tmp_path)
    save(reader.files(0)[0], picture(240, 320))
    refusal(lambda: reader.read(0), reader.files(0)[0], "320x240", "640x480")
    reader.files(1)[1].unlink()
    refusal(lambda: reader.read(1), reader.files(1)[1], "does not exist")
    tartanair_2(tmp_path / "v2")
    second = read_scenes("tartanair", tmp_path / "v2")
    save(second.files(0)[1], picture(640, 640))
    refusal(lambda: second.read(0), second.files(0)[1], "four channels")
