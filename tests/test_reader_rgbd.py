"""TUM and Redwood: units, clocks, cameras."""

import shutil

import numpy as np
import pytest
from datasets_images import kinect, picture, redwood, redwood_scan, tum, tum_associated, write
from hypothesis import given
from hypothesis import strategies as st
from rgbd import real, refusal, save

from defocal.synth import Intrinsics
from defocal.synth.readers import read_scenes
from defocal.synth.readers.rgbd import associate


def metres(stored: np.ndarray, unit: float) -> np.ndarray:
    return np.where(stored == 0, np.nan, stored * unit).astype(np.float32)


def test_tum_pairs_the_nearest_times(tmp_path):
    reader = read_scenes("tum", tum(tmp_path))
    items = reader.scan()
    assert [[path.stem for path in item.files] for item in items] == [
        ["1305031452.791720", "1305031452.785000"],
        ["1305031452.823674", "1305031452.827000"],
    ]
    assert {item.group for item in items} == {"rgbd_dataset_freiburg1_desk"}
    scene = reader.read(0)
    np.testing.assert_array_equal(scene.depth, metres(kinect(5000), 1 / 5000))
    assert scene.depth[0, 300] == 3.0  # 15000 / 5000
    assert scene.intrinsics == Intrinsics(fx=517.3, fy=516.5, cx=318.6, cy=255.3)  # of freiburg1
    assert reader.read(1).depth[0, 0] == 1.0


def test_tum_takes_associations(tmp_path):
    tum_associated(tmp_path)
    reader = read_scenes("tum", tmp_path / "rgbd_dataset_freiburg3_long_office_household")
    assert [item.source for item in reader.scan()] == ["rgb/1.0"]
    assert reader.read(0).intrinsics == Intrinsics(fx=535.4, fy=539.2, cx=320.1, cy=247.6)
    folder = tmp_path / "rgbd_dataset_freiburg3_long_office_household"
    write(folder / "associations.txt", "1.5 depth/1.5.png 1.0 rgb/1.0.png\n")
    turned = read_scenes("tum", folder)
    assert turned.files(0) == reader.files(0)
    folder.rename(tmp_path / "mine")
    assert read_scenes("tum", tmp_path).read(0).intrinsics == Intrinsics(fx=525, fy=525, cx=319.5, cy=239.5)


@given(st.lists(st.integers(0, 500), max_size=12, unique=True), st.lists(st.integers(0, 500), max_size=12, unique=True))
def test_associate(first, second):
    pairs = associate(first, second, 20)
    assert len({i for i, _ in pairs}) == len({j for _, j in pairs}) == len(pairs)
    assert pairs == sorted(pairs)
    assert all(abs(first[i] - second[j]) <= 20 for i, j in pairs)
    free = (
        set(range(len(first))) - {i for i, _ in pairs},
        set(range(len(second))) - {j for _, j in pairs},
    )
    assert not any(abs(first[i] - second[j]) <= 20 for i in free[0] for j in free[1])  # none could be added


def test_tum_refusals(tmp_path):
    refusal(read_scenes("tum", tmp_path).scan, tmp_path, "rgb.txt")
    folder = tum(tmp_path) / "rgbd_dataset_freiburg1_desk"
    refusal_of = {
        "rgb.txt": ["1305031452.791720\n", "today rgb/a.png\n", "\xff\xfe", "# only a comment\n"],
        "depth.txt": ["1.0 depth/1.0.png\n"],
    }
    for name, texts in refusal_of.items():
        for text in texts:
            before = (folder / name).read_bytes()
            write(folder / name, text.encode("latin-1"))
            refusal(read_scenes("tum", tmp_path).scan, folder / "rgb.txt")
            write(folder / name, before)
    write(folder / "rgb.txt", "1305031452.791720 ../rgb/1.png\n")
    refusal(read_scenes("tum", tmp_path).scan, folder / "rgb.txt", "'../rgb/1.png'", "elsewhere")
    write(folder / "associations.txt", "1.0 rgb/1.0.png 1.5\n")
    refusal(read_scenes("tum", tmp_path).scan, folder / "associations.txt", "time, file")


def test_redwood(tmp_path):
    reader = read_scenes("redwood", redwood(tmp_path))
    items = reader.scan()
    assert [item.source for item in items] == ["redwood_color/00000", "redwood_color/00001"]
    assert len({item.group for item in items}) == 1
    scene = reader.read(1)
    np.testing.assert_array_equal(scene.depth, metres(kinect(1000), 0.001))
    assert scene.intrinsics == Intrinsics(fx=525, fy=525, cx=319.5, cy=239.5)


def test_redwood_scans_pair_by_time(tmp_path):
    reader = read_scenes("redwood", redwood_scan(tmp_path))
    assert [[path.stem for path in item.files] for item in reader.scan()] == [
        ["0000001-000000000000", "0000002-000000005000"],
        ["0000002-000000033369", "0000003-000000030000"],
    ]
    assert {item.group for item in reader.scan()} == {"00123"}


@pytest.mark.parametrize("colour", ["rgb", "color", "image"])
def test_redwood_s_folders(tmp_path, colour):
    redwood(tmp_path / "a")
    (tmp_path / "room").mkdir()
    (tmp_path / "a/redwood_color").rename(tmp_path / f"room/{colour}")
    (tmp_path / "a/redwood_depth").rename(tmp_path / "room/depth")
    for path in (tmp_path, tmp_path / "room"):
        reader = read_scenes("redwood", path)
        assert {item.group for item in reader.scan()} == {"room"}
        assert len(reader) == 2


def test_redwood_refusals(tmp_path):
    refusal(read_scenes("redwood", tmp_path).scan, tmp_path, "beside depth")
    redwood(tmp_path)
    (tmp_path / "redwood_depth/00001.png").unlink()
    refusal(read_scenes("redwood", tmp_path).scan, tmp_path / "redwood_color/00001.jpg", "no depth map")


@pytest.mark.parametrize("writer", [tum, redwood])
def test_other_sizes_have_no_known_camera(tmp_path, writer):
    reader = read_scenes(writer.__name__, writer(tmp_path))
    save(reader.files(0)[0], picture(240, 320))
    refusal(lambda: reader.read(0), reader.files(0)[0], "320x240", "640x480")


def test_real_redwood_frames():
    reader = read_scenes("redwood", real("open3d_testdata"))
    assert [item.source for item in reader.scan()] == [f"redwood_color/{i:05d}" for i in range(5)]
    for i in range(5):
        scene = reader.read(i)
        assert scene.size == (480, 640)
        assert np.nanmax(scene.depth) <= np.float32(2.702)  # 16-bit millimetres up to 2702
        assert 0.05 < np.isnan(scene.depth).mean() < 0.2


def test_real_tum_frame(tmp_path):
    folder = tmp_path / "rgbd_dataset_freiburg1_xyz"
    for what, name in (("rgb", "TUM_color.png"), ("depth", "TUM_depth.png")):
        (folder / what).mkdir(parents=True)
        shutil.copy(real("open3d_testdata") / "other" / name, folder / what / "1.0.png")
        write(folder / f"{what}.txt", f"1.0 {what}/1.0.png\n")
    scene = read_scenes("tum", tmp_path).read(0)
    assert 0.3 < np.nanmin(scene.depth) < np.nanmax(scene.depth) < 14
