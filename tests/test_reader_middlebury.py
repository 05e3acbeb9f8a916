"""Middlebury: two ways to store disparity, and a header's scale that is no factor."""

import cv2
import numpy as np
import pytest
from datasets_images import DEPTH, calibration, middlebury_2006, middlebury_2014, picture, write
from rgbd import pfm, refusal, save

from defocal.synth import Intrinsics
from defocal.synth.readers import read_scenes


def test_depth_of_2014_by_the_site_s_formula(tmp_path):
    reader = read_scenes("middlebury", middlebury_2014(tmp_path))
    scene = reader.read(1)
    assert scene.source == "Adirondack-perfect/im0"
    # Z = baseline * f / (d + doffs), millimetres: 193.001 mm, 3979.911 px, doffs 124.343 px.
    assert scene.depth[2, 3] == pytest.approx(193.001e-3 * 3979.911 / (DEPTH[2, 3] + 30 + 124.343), rel=1e-6)
    assert scene.depth[2, 3] == pytest.approx(768.1268 / 174.343, rel=1e-6)  # 20 + 30 + 124.343
    assert np.isnan(scene.depth[0, 0])  # inf is unknown
    assert np.isnan(scene.depth).sum() == 1
    assert scene.intrinsics == Intrinsics(fx=3979.911, fy=3979.911, cx=1244.772, cy=1019.507)


def test_the_pfm_s_scale_is_no_factor(tmp_path):
    middlebury_2014(tmp_path)
    path = tmp_path / "artroom2/disp0.pfm"
    scaled = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if scaled is not None and np.isfinite(scaled[3, 3]):
        assert scaled[3, 3] > 200 * (DEPTH[3, 3] + 30)  # what OpenCV reads
    first = read_scenes("middlebury", tmp_path).read(3).depth
    write(path, pfm(np.where(np.arange(48).reshape(6, 8), DEPTH + 30, np.inf).astype(np.float32), 1.0))
    np.testing.assert_array_equal(read_scenes("middlebury", tmp_path).read(3).depth, first)


def test_groups_are_places(tmp_path):
    middlebury_2014(tmp_path / "2014")
    middlebury_2006(tmp_path / "ThirdSize")
    items = read_scenes("middlebury", tmp_path).scan()
    assert [item.group for item in items] == ["Adirondack", "Adirondack", "Sword", "artroom", "Art", "Baby"]
    assert {item.split for item in items} == {""}
    assert read_scenes("middlebury", tmp_path / "2014/artroom2").scan()[0].group == "artroom"


@pytest.mark.parametrize(("height", "scale"), [(1110, 1), (555, 2), (370, 3)])
def test_disparity_of_2006_is_scaled_by_size(tmp_path, height, scale):
    scene = read_scenes("middlebury", middlebury_2006(tmp_path, height, dmin=50)).read(0)
    # Column 20 stores 60: 60, 30 or 20 pixels of disparity, to which dmin = 50 comes.
    assert scene.depth[7, 20] == pytest.approx(0.160 * 3740 / scale / (60 / scale + 50), rel=1e-6)
    assert np.isnan(scene.depth[:, 0]).all()  # 0 is unknown
    assert not np.isnan(scene.depth[:, 1:]).any()
    assert scene.intrinsics == Intrinsics(fx=3740 / scale, fy=3740 / scale, cx=19.5, cy=(height - 1) / 2)


def test_evaluation_set(tmp_path):
    middlebury_2014(tmp_path / "trainingH")
    (tmp_path / "trainingH/artroom2/disp0.pfm").rename(tmp_path / "trainingH/artroom2/disp0GT.pfm")
    save(tmp_path / "testH/Australia/im0.png", picture(6, 8))
    write(tmp_path / "testH/Australia/calib.txt", calibration(8, 6))
    reader = read_scenes("middlebury", tmp_path)
    assert [item.source for item in reader.scan()][-1] == "trainingH/artroom2/im0"
    assert np.isfinite(reader.read(3).depth).any()


def test_refusals(tmp_path):
    refusal(read_scenes("middlebury", tmp_path).scan, tmp_path, "calib.txt")
    path = middlebury_2014(tmp_path) / "Adirondack-imperfect/calib.txt"
    cases = {
        "cam0": "cam0=[3979.9 0 1244.8; 0 3979.9]\n",
        "doffs": "doffs=1\n",
        "baseline": "baseline=193.001\n",
        "for 2964x1988": "width=8\nheight=6\n",
        "baseline of -193": "baseline=193.001\n",
        "focal lengths": "3979.911 0 1244",
    }
    changes = ("", "doffs=one\n", "", "width=2964\nheight=1988\n", "baseline=-193\n", "0 0 1244")
    for (mention, old), new in zip(cases.items(), changes, strict=True):
        text = calibration(8, 6, doffs=1)
        if mention == "cam0":
            old, new = text.splitlines(keepends=True)[0], old
        assert old in text
        write(path, text.replace(old, new))
        refusal(lambda: read_scenes("middlebury", tmp_path).read(0), path, mention)
    (tmp_path / "Adirondack-imperfect/disp0.pfm").unlink()
    write(path, calibration(8, 6))
    refusal(lambda: read_scenes("middlebury", tmp_path).read(0), "disp0.pfm", "does not exist")


def test_refusals_of_2006(tmp_path):
    middlebury_2006(tmp_path)
    write(tmp_path / "Art/dmin.txt", "none")
    refusal(lambda: read_scenes("middlebury", tmp_path).read(0), tmp_path / "Art/dmin.txt", "one number")
    save(tmp_path / "Baby2/disp1.png", np.full((370, 40), 300, np.uint16))
    refusal(lambda: read_scenes("middlebury", tmp_path).read(1), tmp_path / "Baby2/disp1.png", "above 255")
    save(tmp_path / "Baby2/view1.png", picture(371, 40))
    refusal(lambda: read_scenes("middlebury", tmp_path).read(1), tmp_path / "Baby2/view1.png", "1110, 555 or 370")
