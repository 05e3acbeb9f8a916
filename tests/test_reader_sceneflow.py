"""Scene Flow: FlyingThings3D, Driving, Monkaa and the subset for DispNet."""

import numpy as np
import pytest
from datasets_images import FLOW, driving, flying_subset, flying_things, monkaa, picture, ramp, write
from rgbd import pfm, refusal, save

from defocal.synth import Intrinsics
from defocal.synth.light import srgb_to_linear
from defocal.synth.readers import read_scenes


def test_flying_things(tmp_path):
    reader = read_scenes("sceneflow", flying_things(tmp_path))
    items = reader.scan()
    assert [item.source for item in items] == [
        "frames_cleanpass/TEST/B/0012/left/0006",
        "frames_cleanpass/TRAIN/A/0000/left/0006",
        "frames_cleanpass/TRAIN/A/0000/left/0007",
    ]
    assert [item.split for item in items] == ["test", "train", "train"]
    assert [item.group for item in items] == ["TEST/B/0012", "TRAIN/A/0000", "TRAIN/A/0000"]
    scene = reader.read(2)
    np.testing.assert_allclose(scene.depth, 1050 / ramp(11), rtol=1e-6)  # 1050 px, one unit between the cameras
    np.testing.assert_allclose(scene.aif, srgb_to_linear(picture(*FLOW, 1) / 255), rtol=1e-6)
    assert scene.intrinsics == Intrinsics(fx=1050, fy=1050, cx=479.5, cy=269.5)


def test_official_split_and_passes(tmp_path):
    flying_things(tmp_path)
    assert len(read_scenes("sceneflow", tmp_path, part="train")) == 2
    assert len(read_scenes("sceneflow", tmp_path, part="test")) == 1
    final = read_scenes("sceneflow", tmp_path, variant="final")
    assert [item.source.split("/")[0] for item in final.scan()] == ["frames_finalpass"] * 3
    clean = read_scenes("sceneflow", tmp_path)
    assert [item.group for item in final.scan()] == [item.group for item in clean.scan()]
    assert final.files(0)[-1] == clean.files(0)[-1]


def test_archives_side_by_side(tmp_path):
    flying_things(tmp_path / "FlyingThings3D")
    driving(tmp_path / "Driving")
    flying_subset(tmp_path / "FlyingThings3D_subset")
    assert len(read_scenes("sceneflow", tmp_path)) == 3 + 2 + 4
    assert {item.split for item in read_scenes("sceneflow", tmp_path).scan()} == {"train", "test", "val", ""}


def test_driving_has_two_lenses_and_one_street(tmp_path):
    reader = read_scenes("sceneflow", driving(tmp_path))
    short, long = reader.read(0), reader.read(1)
    assert "15mm" in short.source
    np.testing.assert_allclose(short.depth, 450 / ramp(90), rtol=1e-6)  # and a PFM in the other byte order
    np.testing.assert_allclose(long.depth, 1050 / ramp(90), rtol=1e-6)
    assert (short.intrinsics.fx, long.intrinsics.fx) == (450, 1050)
    assert {item.group for item in reader.scan()} == {"driving"}


def test_monkaa_s_groups_are_places(tmp_path):
    items = read_scenes("sceneflow", monkaa(tmp_path)).scan()
    assert [item.group for item in items] == ["a_rain_of_stones", "eating", "lonetree", "lonetree"]
    assert {item.split for item in items} == {""}


def test_subset_has_the_other_sign(tmp_path):
    reader = read_scenes("sceneflow", flying_subset(tmp_path))
    items = reader.scan()
    assert [item.split for item in items] == ["train"] * 3 + ["val"]
    assert [item.group for item in items] == [
        "subset/train/00000",
        "subset/train/00001",
        "subset/train/00001",
        "subset/val/00000",
    ]
    np.testing.assert_allclose(reader.read(0).depth, 1050 / ramp(105), rtol=1e-6)


def test_scale_of_the_pfm_is_no_factor(tmp_path):
    flying_things(tmp_path)
    before = read_scenes("sceneflow", tmp_path).read(1).depth
    write(tmp_path / "disparity/TRAIN/A/0000/left/0006.pfm", pfm(ramp(10), -1 / 255))
    np.testing.assert_array_equal(read_scenes("sceneflow", tmp_path).read(1).depth, before)


def test_zero_disparity_is_infinitely_far(tmp_path):
    flying_things(tmp_path)
    disparity = ramp(10)
    disparity[3, 4] = 0
    write(tmp_path / "disparity/TRAIN/A/0000/left/0006.pfm", pfm(disparity, -1.0))
    assert read_scenes("sceneflow", tmp_path).read(1).depth[3, 4] == np.inf


def test_a_png_goes_before_its_webp(tmp_path):
    flying_things(tmp_path)
    save(tmp_path / "frames_cleanpass/TRAIN/A/0000/left/0006.webp", picture(*FLOW, 9))
    reader = read_scenes("sceneflow", tmp_path)
    assert len(reader) == 3
    assert reader.files(1)[0].suffix == ".png"


def test_listing_takes_sources(tmp_path):
    flying_things(tmp_path / "data")
    write(tmp_path / "list.txt", "frames_cleanpass/TRAIN/A/0000/left/0007\n")
    reader = read_scenes("sceneflow", tmp_path / "data", listing=tmp_path / "list.txt")
    assert [item.source for item in reader.scan()] == ["frames_cleanpass/TRAIN/A/0000/left/0007"]


@pytest.mark.parametrize("size", [(270, 480), (540, 959)])
def test_resized_frames_have_no_known_camera(tmp_path, size):
    flying_things(tmp_path)
    path = save(tmp_path / "frames_cleanpass/TEST/B/0012/left/0006.png", picture(*size))
    refusal(lambda: read_scenes("sceneflow", tmp_path).read(0), path, f"{size[1]}x{size[0]}", "960x540")


def test_refusals(tmp_path):
    refusal(read_scenes("sceneflow", tmp_path).scan, tmp_path, "frames_cleanpass")
    flying_things(tmp_path)
    gone = tmp_path / "disparity/TEST/B/0012/left/0006.pfm"
    gone.unlink()
    refusal(lambda: read_scenes("sceneflow", tmp_path).read(0), gone, "does not exist")
    refusal(lambda: read_scenes("sceneflow", tmp_path, variant="dirty"), "clean, final")
