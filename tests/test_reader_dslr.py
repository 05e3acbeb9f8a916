"""D3-Net's photographs: two clocks, two apertures."""

from datetime import datetime

import numpy as np
import pytest
from datasets_images import DEPTH, dslr
from rgbd import real, refusal

from defocal.synth.readers import READERS, read_scenes


def test_photographs_pair_with_the_sensor_s_maps(tmp_path):
    reader = read_scenes("dslr", dslr(tmp_path))
    items = reader.scan()
    assert [item.split for item in items] == ["test", "train", "train"]
    assert items[1].source == "dfd_dataset_indoor_N8/rgb/train/2018-04-26T16:38:31.689710"
    assert [path.name for path in items[2].files] == [
        "2018-04-26T16:39:15.694566.JPG",
        "2018-04-26T16:39:15.627710.png",
    ]
    assert len({item.group for item in items}) == 3
    scene = reader.read(1)
    expected = (DEPTH * 100).astype(np.uint16) * 0.001  # millimetres
    np.testing.assert_allclose(scene.depth[1:], expected[1:], rtol=1e-6)
    assert np.isnan(scene.depth[0, 0])
    assert scene.intrinsics is None


@pytest.mark.parametrize("depth_in", [("N8", "N2_8"), ("N2_8",), ("N8",)])
def test_either_folder_may_hold_the_depth(tmp_path, depth_in):
    dslr(tmp_path, depth_in)
    sharp, blurred = (read_scenes("dslr", tmp_path, variant=variant) for variant in ("N8", "N2_8"))
    assert [item.group for item in sharp.scan()] == [item.group for item in blurred.scan()]
    np.testing.assert_array_equal(sharp.read(2).depth, blurred.read(2).depth)
    assert not np.array_equal(sharp.read(2).aif, blurred.read(2).aif)


def test_pair(tmp_path):
    dslr(tmp_path)
    sharp, blurred = (read_scenes("dslr", tmp_path, variant=variant, part="test") for variant in ("N8", "N2_8"))
    for reader in (sharp, blurred):
        first, second = reader.pair(0)
        np.testing.assert_array_equal(first.aif, sharp.read(0).aif)
        np.testing.assert_array_equal(second.aif, blurred.read(0).aif)
    listing = tmp_path / "list.txt"
    listing.write_text(read_scenes("dslr", tmp_path).source(2))
    assert read_scenes("dslr", tmp_path, listing=listing).pair(0)[1].source.endswith("T16:39:15.694566")
    (tmp_path / "dfd_dataset_indoor_N2_8/rgb/test/2018-04-26T17:40:20.680000.JPG").unlink()
    refusal(lambda: sharp.pair(0), tmp_path, "0 photographs and 1 depth maps")


def test_the_lens():
    lens = READERS["dslr"].LENS
    assert (lens.focal_length, lens.f_number, lens.focus_distance, lens.pixel_pitch) == (0.035, 2.8, 1.7, 36e-6)


def test_refusals(tmp_path):
    refusal(read_scenes("dslr", tmp_path).scan, tmp_path, "dfd_dataset_indoor_N8/rgb/train or", "give the folder")
    refusal(read_scenes("dslr", tmp_path, part="test").scan, "no photograph is in dfd_dataset_indoor_N8/rgb/test; give")
    (tmp_path / "file").write_text("x")
    refusal(read_scenes("dslr", tmp_path / "file").scan, "it is a file; give the folder dfd_indoor")
    folder = dslr(tmp_path) / "dfd_dataset_indoor_N8/depth/train"
    first, second = sorted(folder.iterdir())
    first.unlink()
    refusal(read_scenes("dslr", tmp_path).scan, tmp_path, "2 photographs and 1 depth maps")
    second.with_name("2018-04-26T16:39:16.200000.png").write_bytes(second.read_bytes())
    refusal(read_scenes("dslr", tmp_path).scan, "not taken together")
    second.rename(folder / "0.png")
    refusal(read_scenes("dslr", tmp_path).scan, folder / "0.png", "date and time")


@pytest.mark.parametrize("variant", ["N8", "N2_8"])
def test_real_files(variant):
    reader = read_scenes("dslr", real("dfd_indoor"), variant=variant, part="train")
    assert len(reader) == 81
    for item in reader.scan():
        rgb, depth = (datetime.fromisoformat(path.stem) for path in item.files)
        assert abs((rgb - depth).total_seconds()) < 0.4
    for i in (0, 40, 80):
        scene = reader.read(i)
        assert scene.size == (432, 645)
        assert not np.isnan(scene.depth).any()
        assert 0.2 < scene.depth.min() < scene.depth.max() < 10


def test_real_defocused_photographs_are_less_sharp():
    sharp, blurred = read_scenes("dslr", real("dfd_indoor")).pair(40)
    edges = [float(np.abs(np.diff(scene.aif, axis=1)).mean()) for scene in (sharp, blurred)]
    assert edges[1] < 0.9 * edges[0]
