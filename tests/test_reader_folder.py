"""Folders of RGB-D: pairing, conversion to metres, refusals, and the real data."""

import math
import pickle
import shutil
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from rgbd import RAMP, real, refusal, save, scene_folder

from defocal.synth import Intrinsics
from defocal.synth.light import srgb_to_linear
from defocal.synth.readers import FolderReader, read_scenes
from defocal.synth.readers.files import read_depth

# Pairing


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")
    return folder


def paired(reader: FolderReader) -> list[tuple[str, str]]:
    pairs = [[file.relative_to(reader.path) for file in item.files] for item in reader.scan()]
    return [(a.as_posix(), b.as_posix()) for a, b in pairs]


@pytest.mark.parametrize(
    ("options", "pairs", "others"),
    [
        ({}, [("rgb/1.5.jpg", "depth/1.5.png"), ("rgb/2.JPG", "depth/2.npy")], []),
        ({"rgb": "rgb/*.*", "depth_map": "depth/*.*"}, [("rgb/1.jpg", "depth/1.png")], []),
        (
            {"rgb": "other/*_color.png", "depth_map": "other/*_depth.png"},
            [("other/TUM_color.png", "other/TUM_depth.png"), ("other/b_color.png", "other/b_depth.png")],
            ["other/notes.txt"],
        ),
        ({"rgb": "im_*", "depth_map": "z_*"}, [("im_1.jpg", "z_1.dpt")], ["read.me"]),
        (
            {"rgb": "rgb/**/*", "depth_map": "depth/**/*"},
            [("rgb/0.png", "depth/0.png"), ("rgb/t/u/0.png", "depth/t/u/0.png")],
            [],
        ),
        (
            {"rgb": "**/*_rgb.png", "depth_map": "**/*_z.pfm"},
            [("0_rgb.png", "0_z.pfm"), ("t/0_rgb.png", "t/0_z.pfm")],
            [],
        ),
        ({"rgb": "rgb/**", "depth_map": "depth/**"}, [("rgb/a/0.png", "depth/a/0.npy")], []),
        (
            {"rgb": "*/rgb/*", "depth_map": "*/depth/*"},
            [("s1/rgb/0.png", "s1/depth/0.png"), ("s2/rgb/0.png", "s2/depth/0.png")],
            [],
        ),
        (
            {"rgb": "*/im0.png", "depth_map": "*/disp0.pfm"},
            [("Adi/im0.png", "Adi/disp0.pfm")],
            ["Adi/im1.png"],
        ),
        ({"rgb": "im0.*", "depth_map": "disp0.*"}, [("im0.png", "disp0.pfm")], ["calib.txt"]),
        ({"rgb": "one.png", "depth_map": "z.png"}, [("one.png", "z.png")], ["two.png"]),
        ({"rgb": "[a]?/*.png", "depth_map": "d/*.npy"}, [("[a]?/1.png", "d/1.npy")], ["ab/1.png"]),
        ({"rgb": "./rgb//*"}, [("rgb/1.png", "depth/1.png")], ["rgb/.hidden.png", "rgb/folder/2.png"]),
        ({"pairing": "order"}, [("rgb/a9.jpg", "depth/a8.png"), ("rgb/b1.jpg", "depth/b2.png")], []),
    ],
)
def test_pairs(tmp_path, options, pairs, others):
    touch(tmp_path, *(name for pair in pairs for name in pair), *others)
    reader = FolderReader(path=tmp_path, **options)
    assert paired(reader) == pairs
    assert len(reader) == len(pairs)
    sources = [reader.source(i) for i in range(len(pairs))]
    assert sources == [rgb.rsplit(".", 1)[0] for rgb, _ in pairs]


def test_order_is_by_code_point_in_every_locale(tmp_path):
    names = ["10", "9", "B", "a", "b", "é"]
    touch(tmp_path, *(f"{folder}/{n}.png" for n in reversed(names) for folder in ("rgb", "depth")))
    assert [rgb for rgb, _ in paired(FolderReader(path=tmp_path))] == [f"rgb/{n}.png" for n in names]


@pytest.mark.parametrize(
    ("files", "options", "mentions"),
    [
        ([], {}, ["no colour files", "'rgb/*'"]),
        (["rgb/1.png"], {}, ["no depth files", "'depth/*'"]),
        (["rgb/train/1.png"], {}, ["no colour files", "only folders match", "'rgb/*/*'"]),
        (["rgb/1.png"], {"rgb": "rgb"}, ["only folders match", "'rgb/*'"]),
        (
            ["rgb/1.png", "rgb/2.png", "rgb/3.png", "depth/1.png"],
            {},
            ["2 of 3 colour", "rgb/2.png", "remove"],
        ),
        (["rgb/1.png", "depth/1.png", "depth/0.png"], {}, ["1 of 2 depth", "depth/0.png", "remove"]),
        (["rgb/a.png", "depth/b.png"], {}, ["1 of 1 colour", "pairing = 'order'"]),
        (["rgb/a.png", "rgb/a.jpg", "depth/a.png"], {}, ["rgb/a.jpg", "rgb/a.png", "one name"]),
        (["rgb/a.png", "depth/a.npy", "depth/a.png"], {}, ["depth/a.npy", "depth/a.png", "one name"]),
        (["1.png", "1_z.png"], {"rgb": "*.png", "depth_map": "*_z.png"}, ["1_z.png", "exclude each other"]),
        (
            ["rgb/1.png", "rgb/2.png", "depth/1.png"],
            {"pairing": "order"},
            ["2 colour", "1 depth", "in order"],
        ),
        (
            ["rgb/1.png", "rgb/1.jpg", "depth/1.png", "depth/2.png"],
            {"pairing": "order"},
            ["rgb/1.jpg", "rgb/1.png", "only in their extension", "'rgb/*.jpg'"],
        ),
    ],
)
def test_scan_refusals(tmp_path, files, options, mentions):
    reader = FolderReader(path=touch(tmp_path, *files), **options)
    refusal(reader.scan, tmp_path, *mentions)


def test_folder_must_be_a_folder(tmp_path):
    refusal(FolderReader(path=tmp_path / "absent").scan, tmp_path / "absent", "does not exist")
    touch(tmp_path, "file")
    refusal(FolderReader(path=tmp_path / "file").scan, tmp_path / "file", "not a folder")


# Scenes


def test_scene_of_integer_millimetres(tmp_path):
    stored = RAMP * 250
    stored[1, 2] = 0
    lens = Intrinsics(fx=500, fy=510, cx=1.5, cy=1)
    scene = FolderReader(path=scene_folder(tmp_path, ["a", "b"], stored), intrinsics=lens).read(1)
    expected = (stored * 0.001).astype(np.float32)
    expected[1, 2] = np.nan
    np.testing.assert_array_equal(scene.depth, expected)
    assert (scene.aif.dtype, scene.depth.dtype) == (np.float32, np.float32)
    np.testing.assert_allclose(scene.aif[0, 0], srgb_to_linear(np.array([200, 100, 50]) / 255), rtol=1e-6)
    assert scene.source == "rgb/b"
    assert scene.intrinsics == lens


def test_linear_colour(tmp_path):
    reader = FolderReader(path=scene_folder(tmp_path), encoding="linear")
    np.testing.assert_allclose(reader.read(0).aif[0, 0], np.array([200, 100, 50]) / 255, rtol=1e-6)


def test_ray_distance_becomes_z(tmp_path):
    lens = Intrinsics(fx=5.0, fy=6.0, cx=1.25, cy=1.5)
    x, y = np.meshgrid((np.arange(4) - 1.25) / 5.0, (np.arange(3) - 1.5) / 6.0)
    z = RAMP / 4  # closed form: the point (x z, y z, z) is at distance z sqrt(x^2 + y^2 + 1)
    save(tmp_path / "rgb" / "a.png", np.zeros((3, 4, 3), np.uint8))
    (tmp_path / "depth").mkdir()
    np.save(tmp_path / "depth" / "a.npy", np.linalg.norm(np.stack([x * z, y * z, z]), axis=0))
    reader = FolderReader(path=tmp_path, depth_kind="ray", depth_unit=1.0, intrinsics=lens)
    np.testing.assert_allclose(reader.read(0).depth, z, rtol=1e-7)


def float_folder(path: Path, values) -> Path:
    values = np.asarray(values, np.float32)
    save(path / "rgb" / "a.png", np.zeros((*values.shape, 3), np.uint8))
    (path / "depth").mkdir()
    np.save(path / "depth" / "a.npy", values)
    return path


@pytest.mark.parametrize("sign", [1, -1])
def test_disparity(tmp_path, sign):
    disparity = np.array([[10.0, 20.0, np.inf], [40.0, 0.0, np.nan]]) * sign
    options = {"depth_kind": "disparity", "focal": 1000.0, "baseline": 0.2, "disparity_offset": 5.0 * sign}
    folder = float_folder(tmp_path, disparity)
    expected = np.array([[200 / 15, 8.0, np.nan], [200 / 45, np.nan, np.nan]], np.float32)
    np.testing.assert_array_equal(FolderReader(path=folder, **options).read(0).depth, expected)
    expected[1, 1] = 40.0  # where 0 is a measured disparity
    np.testing.assert_array_equal(FolderReader(path=folder, invalid=(), **options).read(0).depth, expected)


def test_zero_disparity_is_infinitely_far(tmp_path):
    reader = FolderReader(
        path=float_folder(tmp_path, [[0.0, 2.0, 4.0]]),
        depth_kind="disparity",
        focal=100.0,
        baseline=0.1,
        invalid=(),
    )
    assert reader.read(0).depth.tolist() == [[math.inf, 5.0, 2.5]]


def test_unknown_and_very_far_pixels(tmp_path):
    values = [[1.0, np.inf, -np.inf], [np.nan, 0.1, 1e11], [0.0, 2.0, 3.0]]
    reader = FolderReader(path=float_folder(tmp_path, values), depth_unit=1.0, invalid=(0.0, 0.1, 1e300))
    nan = np.nan  # 0.1 is found although float32 cannot hold it
    np.testing.assert_array_equal(
        reader.read(0).depth, np.array([[1, nan, nan], [nan, nan, 1e11], [nan, 2, 3]], np.float32)
    )


@pytest.mark.parametrize(
    ("values", "options", "mentions"),
    [
        ([[0.0, np.nan, np.inf]], {}, ["no valid depth"]),
        ([[1.0, -3.5, 2.0]], {}, ["1 depths", "lowest stored number -3.5", "invalid"]),
        ([[1.0, 0.0, 0.0]], {"invalid": ()}, ["2 depths", "zero or negative"]),
        ([[1.0, 1e-44, 2.0]], {"depth_unit": 0.001}, ["1 depths", "zero"]),
        ([[1e6, 2e6, 3.0]], {}, ["0.05 to 100000 m", "median is 1e+06 m"]),
        ([[1.2, 2.0, 3.0]], {"depth_unit": 0.001}, ["0.002 m", "in metres, set depth_unit = 1,"]),
        (
            [[1532.0, 900, 3]],
            {"depth_range": (0.5, 10)},
            ["median is 900 m", "millimetres, set depth_unit = 0.001"],
        ),
        ([[153.0, 150, 151]], {"depth_range": (0.5, 10)}, ["centimetres, set depth_unit = 0.01"]),
        ([[9000.0, 9100, 9200]], {"depth_unit": 0.001, "depth_range": (0.5, 4)}, ["depth_unit = 0.0002"]),
        ([[0.1, 2.0, 90]], {"depth_range": (1, 9)}, ["median is 2 m", "check depth_unit (1 metres"]),
        ([[1e-3, 1e-3]], {"depth_range": (0.5, 4)}, ["check depth_unit (1 metres per stored number)"]),
        (
            [[0.01, 0.02]],
            {"depth_kind": "disparity", "focal": 1000.0, "baseline": 120.0},
            ["check focal (pixels), baseline (metres)"],
        ),
        (
            [[1.5, -1.5]],
            {"depth_kind": "disparity", "focal": 1000.0, "baseline": 0.1},
            ["both signs", "-1.5 to 1.5"],
        ),
    ],
)
def test_depth_that_cannot_be_right(tmp_path, values, options, mentions):
    reader = FolderReader(path=float_folder(tmp_path, values), **{"depth_unit": 1.0, **options})
    refusal(lambda: reader.read(0), tmp_path / "depth" / "a.npy", *mentions)


def test_half_of_the_depths_outside_the_range_is_allowed(tmp_path):
    reader = FolderReader(path=float_folder(tmp_path, [[1.0, 2.0, 30.0, 1e11]]), depth_unit=1.0, depth_range=(1, 9))
    assert reader.read(0).depth[0, 3] == np.float32(1e11)


def test_sizes_must_agree(tmp_path):
    folder = scene_folder(tmp_path)
    reader = FolderReader(path=folder, size=(4, 3))
    refusal(lambda: reader.read(0), folder / "rgb/a.png", "4x3", "expected 3x4", "size")
    assert FolderReader(path=folder, size=(3, 4)).read(0).size == (3, 4)
    save(folder / "depth/a.png", np.ones((6, 8), np.uint16))
    reader = FolderReader(path=folder)
    refusal(lambda: reader.read(0), folder / "rgb/a.png", "4x3", folder / "depth/a.png", "8x6")


def test_a_file_that_vanishes_after_the_scan(tmp_path):
    reader = FolderReader(path=scene_folder(tmp_path, ["a", "b"]))
    assert len(reader) == 2
    (tmp_path / "depth/b.png").unlink()
    assert reader.read(0).source == "rgb/a"
    refusal(lambda: reader.read(1), tmp_path / "depth/b.png", "does not exist")


@pytest.mark.parametrize(
    ("options", "mention"),
    [
        ({"depth_kind": "inverse"}, "depth_kind must be one of z, ray, disparity"),
        ({"pairing": "time"}, "pairing must be one of name, order"),
        ({"encoding": "gamma"}, "encoding must be one of srgb, linear"),
        ({"depth_unit": 0.0}, "depth_unit"),
        ({"depth_unit": "mm"}, "depth_unit"),
        ({"invalid": 0}, "invalid must be a list of numbers, not 0"),
        ({"invalid": None}, "invalid must be a list"),
        ({"depth_range": ["0.7 m", "10 m"]}, "depth_range must be a list of numbers"),
        ({"depth_range": "2"}, "depth_range"),
        ({"depth_unit": math.nan}, "depth_unit"),
        ({"depth_kind": "disparity", "baseline": 0.1}, "focal"),
        ({"depth_kind": "disparity", "focal": 500.0}, "baseline"),
        ({"depth_kind": "disparity", "focal": 500.0, "baseline": -0.1}, "baseline"),
        ({"disparity_offset": math.inf}, "disparity_offset"),
        ({"depth_kind": "ray"}, "intrinsics"),
        ({"depth_range": (2.0, 1.0)}, "depth_range"),
        ({"size": (0, 4)}, "size"),
        ({"rgb": "/data/*"}, "rgb"),
        ({"depth_map": ""}, "depth_map"),
        ({"depth": "depth/*"}, "no option 'depth': use rgb, depth_map"),
    ],
)
def test_options_that_make_no_sense(tmp_path, options, mention):
    refusal(lambda: read_scenes("folder", tmp_path, **options), mention)


def test_read_scenes(tmp_path):
    reader = read_scenes("folder", str(scene_folder(tmp_path)), invalid=[0.0, 65535.0], size=[3, 4])
    assert isinstance(reader, FolderReader)
    assert reader == FolderReader(path=tmp_path, invalid=(0.0, 65535.0), size=(3, 4))
    assert reader.read(0).size == (3, 4)
    refusal(lambda: read_scenes("nyu", tmp_path), "'nyu'", "folder")


def test_a_worker_gets_the_list_made_by_the_driver(tmp_path):
    reader = FolderReader(path=scene_folder(tmp_path, ["a", "b"]))
    pairs = reader.scan()
    sent = pickle.dumps(reader)
    shutil.rmtree(tmp_path / "rgb")
    assert pickle.loads(sent).scan() == pairs


# Real data


def test_redwood(capfd):
    reader = read_scenes("folder", real("open3d_testdata"), rgb="redwood_color/*", depth_map="redwood_depth/*")
    assert [reader.source(i) for i in range(len(reader))] == [f"redwood_color/0000{i}" for i in range(5)]
    scene = reader.read(0)
    assert scene.size == (480, 640)
    assert np.isnan(scene.depth).mean() == pytest.approx(0.124, abs=0.02)
    assert np.nanmax(scene.depth) == np.float32(2.702)
    wrong = FolderReader(
        path=reader.path, rgb=reader.rgb, depth_map=reader.depth_map, depth_unit=1.0, depth_range=(0.5, 10)
    )
    refusal(lambda: wrong.read(0), "redwood_depth/00000.png", "median is 1861 m", "set depth_unit = 0.001")
    assert capfd.readouterr() == ("", "")


def test_tum():
    folder = real("open3d_testdata")
    options = {"rgb": "other/TUM_*.png", "depth_map": "other/TUM_depth.png"}
    refusal(read_scenes("folder", folder, **options).scan, "TUM_depth.png", "exclude each other")
    options = {"rgb": "other/T*_color.png", "depth_map": "other/T*_depth.png", "depth_range": (0.3, 10)}
    scene = read_scenes("folder", folder, **options, depth_unit=1 / 5000).read(0)
    assert np.nanmedian(scene.depth) == pytest.approx(2.415)
    assert np.nanmax(scene.depth) == np.float32(46655 / 5000)


def test_dslr_pairs():
    folder = real("dfd_indoor")
    options = {
        "rgb": "dfd_dataset_indoor_N8/rgb/train/*",
        "depth_map": "dfd_dataset_indoor_N2_8/depth/train/*",
        "size": (432, 645),
        "depth_range": (0.2, 10),
    }
    refusal(read_scenes("folder", folder, **options).scan, "81 of 81", "pairing = 'order'")
    reader = read_scenes("folder", folder, **options, pairing="order")
    assert len(reader) == 81
    for i in (0, 40, 80):
        scene = reader.read(i)
        assert not np.isnan(scene.depth).any()
        assert 0.2 < scene.depth.min() < scene.depth.max() < 10
    for item in reader.scan():  # two clocks named the files
        rgb_time, depth_time = (datetime.fromisoformat(path.stem) for path in item.files)
        assert abs((rgb_time - depth_time).total_seconds()) < 0.4


@pytest.mark.parametrize(
    ("rgb", "depth_map", "unit", "size", "limits"),
    [
        ("image__MPI__*", "depth__MPI__*", 1.0, (436, 1024), (6.6154914, 1e11)),
        ("image__SYNTHIA__*", "depth__SYNTHIA__*", 0.01, (760, 1280), (1.75, 655.35)),
        ("image__middle*__im0.png", "depth__middle*__disp0.png", 0.01, (497, 720), (1.62, 3.07)),
    ],
)
def test_syndof_samples(rgb, depth_map, unit, size, limits):
    folder = real("syndof_samples")
    reader = read_scenes("folder", folder, rgb=rgb, depth_map=depth_map, depth_unit=unit, depth_range=(1, 100))
    assert len(reader) == 1
    scene = reader.read(0)
    assert scene.size == size
    assert (scene.depth.min(), scene.depth.max()) == tuple(np.float32(limits))


def test_three_channel_depth_equals_its_decoded_channel():
    folder = real("syndof_samples")
    (path,) = folder.glob("depth__middleburry*")
    np.testing.assert_array_equal(read_depth(path), np.load(folder / "adirondack_depth_uint16.npy"))
