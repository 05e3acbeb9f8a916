"""NYU Depth V2, labelled and raw."""

import shutil
import subprocess
import sys

import cv2
import h5py
import numpy as np
import pytest
import scipy.io
from datasets_a import colour, h5, nyu_labelled, nyu_raw, pgm
from rgbd import real, refusal, save

from defocal.synth.light import decode, encode
from defocal.synth.readers.nyu import CROPPED, NyuLabelled, NyuRaw, disparity, registered, undistorted


def test_labelled_frames(tmp_path):
    reader = NyuLabelled(path=nyu_labelled(tmp_path))
    assert [(i.source, i.group, i.split) for i in reader.scan()] == [
        ("0001", "kitchen_0001", "test"), ("0002", "basement_0001", "train"), ("0003", "basement_0001", "train"),
    ]  # fmt: skip
    scene = reader.read(2)
    assert scene.size == (427, 561)  # rows 45:471 and columns 41:601, both ends included
    rows, columns = np.mgrid[44:471, 40:601]
    red = columns // 4
    expected = np.stack([red, red + rows // 8, red + 6], axis=-1).astype(np.uint8)
    np.testing.assert_array_equal(scene.aif, decode(expected, "srgb"))  # neither transposed nor BGR
    np.testing.assert_allclose(scene.depth, (columns + 1) / 100, rtol=1e-6)
    # camera_params.m counts pixels from 1, and the crop begins at row 45, column 41.
    lens = scene.intrinsics
    assert (lens.fx, lens.fy) == (518.85790117450188, 519.46961112127485)
    assert lens.cx == pytest.approx(325.58244941119034 - 41)
    assert lens.cy == pytest.approx(253.73616633400465 - 45)


def test_filled_and_raw_depth(tmp_path):
    nyu_labelled(tmp_path)
    filled = NyuLabelled(path=tmp_path).read(0)
    raw = NyuLabelled(path=tmp_path, variant="raw").read(0)
    assert not np.isnan(filled.depth).any()
    assert np.argwhere(np.isnan(raw.depth)).tolist() == [[50 - 44, 100 - 40]]


def test_the_file_itself_may_be_given_and_the_split_is_optional(tmp_path):
    path = nyu_labelled(tmp_path, splits=False) / "nyu_depth_v2_labeled.mat"
    reader = NyuLabelled(path=path)
    assert [item.split for item in reader.scan()] == ["", "", ""]
    refusal(NyuLabelled(path=path, part="train").scan, path, "splits.mat")


def test_files_without_scene_names_have_a_group_for_each_frame(tmp_path):
    path = nyu_labelled(tmp_path) / "nyu_depth_v2_labeled.mat"
    with h5py.File(path, "a") as file:
        del file["scenes"]
    assert [item.group for item in NyuLabelled(path=tmp_path).scan()] == ["", "", ""]


def test_the_official_split_is_counted(tmp_path):
    """795 and 654 frames, on a file of the true number of frames that holds hardly any."""
    path = tmp_path / "nyu_depth_v2_labeled.mat"
    with h5py.File(path, "w") as file:
        file.create_dataset("images", (1449, 3, 640, 480), "u1", chunks=(1, 3, 640, 480))
        for name in ("depths", "rawDepths"):
            file.create_dataset(name, (1449, 640, 480), "f4", chunks=(1, 640, 480))
        file["images"][1448], file["depths"][1448] = 9, 2
    numbers = np.random.default_rng(0).permutation(1449)[:, None] + 1
    scipy.io.savemat(tmp_path / "splits.mat", {"trainNdxs": numbers[:795], "testNdxs": numbers[795:]})
    for part, count in (("train", 795), ("test", 654), ("", 1449)):
        assert len(NyuLabelled(path=tmp_path, part=part)) == count
    assert len({item.source for item in NyuLabelled(path=tmp_path).scan()}) == 1449


@pytest.mark.parametrize(
    ("numbers", "mention"), [([1, 2, 4], "number 4"), ([0], "number 0"), ([1.5], "1.5"), ([1, 1], "twice")]
)
def test_splits_that_cannot_be(tmp_path, numbers, mention):
    nyu_labelled(tmp_path)
    scipy.io.savemat(tmp_path / "splits.mat", {"trainNdxs": np.array(numbers), "testNdxs": np.array([3])})
    refusal(NyuLabelled(path=tmp_path).scan, tmp_path / "splits.mat", mention)


@pytest.mark.parametrize(
    ("name", "values", "mention"),
    [
        ("images", np.zeros((2, 640, 480, 3), np.uint8), "(any, 3, 640, 480)"),
        ("images", np.zeros((2, 3, 640, 480), np.uint16), "uint16"),
        ("depths", np.zeros((2, 640, 480), np.int32), "int32"),
        ("rawDepths", np.zeros((3, 640, 480), np.float32), "2 images but 3"),
        ("depths", None, "no array 'depths'"),
    ],
)
def test_other_files(tmp_path, name, values, mention):
    arrays = {
        "images": np.zeros((2, 3, 640, 480), np.uint8),
        "depths": np.ones((2, 640, 480), np.float32),
        "rawDepths": np.ones((2, 640, 480), np.float32),
    } | {name: values}
    path = h5(tmp_path / "other.mat", **{key: value for key, value in arrays.items() if value is not None})
    refusal(NyuLabelled(path=path).scan, path, mention)


def test_a_file_of_matlab_version_5_is_none(tmp_path):
    path = tmp_path / "nyu_depth_v2_labeled.mat"
    scipy.io.savemat(path, {"images": np.zeros((2, 2))})
    refusal(NyuLabelled(path=tmp_path).scan, path, "not an HDF5 file")


MEASURE = """
import resource, sys
import numpy as np
from defocal.synth.readers.nyu import NyuLabelled
def read(path):
    reader = NyuLabelled(path=path)
    for i in (0, len(reader) - 1):
        reader.read(i)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
small = read(sys.argv[1])
print(read(sys.argv[2]) - small)
"""


def test_memory_does_not_grow_with_the_number_of_frames(tmp_path):
    sizes = {}
    for name, count in (("small", 2), ("large", 200)):
        sizes[name] = tmp_path / f"{name}.mat"
        with h5py.File(sizes[name], "w") as file:
            # The large one has 430 MB, but chunks without a frame are not stored.
            options = {"compression": "gzip", "compression_opts": 1}
            images = file.create_dataset("images", (count, 3, 640, 480), "u1", chunks=(1, 3, 640, 480), **options)
            for name in ("depths", "rawDepths"):
                depth = file.create_dataset(name, (count, 640, 480), "f4", chunks=(1, 640, 480), **options)
                depth[0], depth[count - 1] = 1, 2
            images[0], images[count - 1] = 3, 4
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(sizes["small"]), str(sizes["large"])],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    kilobytes = int(done.stdout) * (1 if sys.platform != "darwin" else 1 / 1024)
    assert kilobytes < 20_000


# Raw recordings


def test_raw_frames_are_paired_by_time(tmp_path):
    reader = NyuRaw(path=nyu_raw(tmp_path))
    items = reader.scan()
    assert [item.source for item in items] == [
        "living_room_0001a/d-10.020000-2", "living_room_0001b/d-110.020000-2",
    ]  # fmt: skip
    assert [file.name for file in items[0].files] == ["r-10.030000-1.ppm", "d-10.020000-2.pgm"]
    assert {item.group for item in items} == {"living_room_0001"}
    one = NyuRaw(path=tmp_path / "living_room_0001a").scan()
    assert [(item.source, item.group) for item in one] == [("d-10.020000-2", "living_room_0001")]


@pytest.mark.parametrize("order", ["<", ">"])
def test_either_order_of_bytes(tmp_path, order):
    numbers = np.array([[400, 839, 1084], [2047, 1000, 600]])
    np.testing.assert_array_equal(disparity(pgm(tmp_path / "d.pgm", numbers, order)), numbers)


def test_numbers_that_are_no_disparity(tmp_path):
    refusal(lambda: disparity(pgm(tmp_path / "d.pgm", np.array([[4000, 5000]]), ">")), "d.pgm", "2047")
    refusal(lambda: disparity(save(tmp_path / "e.pgm", np.full((3, 4), 200, np.uint8))), "e.pgm", "16-bit")


def test_depth_of_disparity(tmp_path):
    numbers = np.full((480, 640), 839)
    numbers[0, :5] = 2047, 1092, 1093, 1057, 1058
    scene = NyuRaw(path=nyu_raw(tmp_path, numbers), variant="unregistered").read(0)
    assert scene.intrinsics is None
    assert scene.depth[5, 5] == pytest.approx(351.3 / 253.5)  # 1.3858 m
    # 2047 and what lies beyond 10 m are unknown: 351.3 / 0.5 m, negative, 9.896 m, 10.18 m
    np.testing.assert_allclose(scene.depth[0, :5], [np.nan, np.nan, np.nan, 351.3 / 35.5, np.nan], rtol=1e-6)


def test_registration_is_the_toolbox_s():
    """project_depth_map.m, transcribed as it stands with its double negation and its order of translations."""
    z = np.full((480, 640), np.nan)
    at = np.array([[y, x] for y in range(60, 420, 37) for x in range(80, 560, 41)])
    depth = 1 + np.arange(len(at)) / 30
    z[tuple(at.T)] = depth
    fx, fy, cx, cy = 5.8262448167737955e02, 5.8269103270988637e02, 3.1304475870804731e02, 2.3844389626620386e02
    lens = [-9.9897236553084481e-02, 3.9065324602765344e-01, 1.9290592870229277e-03, -1.9422022475975055e-03,
            -5.1031725053400578e-01]  # fmt: skip
    seen = (at[:, ::-1] + 1.0)[:, None]
    matrix = np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]])
    straight = cv2.undistortPoints(seen, matrix, np.array(lens))
    points = np.concatenate([straight[:, 0] * depth[:, None], depth[:, None]], axis=1)
    flat = -np.array([
        9.9997798940829263e-01, 5.0518419386157446e-03, 4.3011152014118693e-03, -5.0359919480810989e-03,
        9.9998051861143999e-01, -3.6879781309514218e-03, -4.3196624923060242e-03, 3.6662365748484798e-03,
        9.9998394948385538e-01,
    ])  # fmt: skip
    rotation = np.linalg.inv(flat.reshape(3, 3, order="F").T)
    x, y, w = rotation @ points.T + np.array([[2.5031875059141302e-02], [-2.9342312935846411e-04],
                                              [6.6238747008330102e-04]])  # fmt: skip
    columns = np.round(x * 5.1885790117450188e02 / w + 3.2558244941119034e02).astype(int) - 1
    rows = np.round(y * 5.1946961112127485e02 / w + 2.5373616633400465e02).astype(int) - 1
    out = registered(z)
    assert {tuple(place) for place in np.argwhere(~np.isnan(out))} == set(zip(rows, columns, strict=True))
    np.testing.assert_allclose(out[rows, columns], -w, rtol=1e-12)
    np.testing.assert_allclose(out[rows, columns], depth, rtol=4e-3)  # what the toolbox writes


def test_the_nearest_depth_wins_and_a_wall_has_no_holes():
    wall = np.full((480, 640), 4.0)
    assert not np.isnan(registered(wall)[60:420, 60:580]).any()
    mixed = wall.copy()
    mixed[::2] = 2.0  # several depth pixels meet in each colour pixel: 583 over 519 of them in a row
    both = registered(mixed)[100:380, 100:540]
    assert np.nanmin(both) < 2.1
    # Nowhere is the far wall in front of the near one, though some pixels have both.
    near = registered(np.where(mixed == 2.0, 2.0, np.nan))[100:380, 100:540]
    np.testing.assert_array_equal(both[~np.isnan(near)], near[~np.isnan(near)])


def test_undistortion_keeps_the_centre_and_agrees_with_opencv():
    picture = cv2.GaussianBlur(colour(480, 640), (0, 0), 4)
    lens = np.array([2.0796615318809061e-01, -5.8613825163911781e-01, 7.2231363135888329e-04, 1.0479627195765181e-03,
                     4.9856986684705107e-01])  # fmt: skip
    matrix = np.array([[5.1885790117450188e02, 0, 324.58244941119034], [0, 5.1946961112127485e02, 252.73616633400465],
                       [0, 0, 1]])  # fmt: skip
    theirs = cv2.undistort(picture, matrix, lens)
    assert np.abs(undistorted(picture).astype(int) - theirs)[44:471, 40:601].max() <= 2


def test_frames_of_another_size(tmp_path):
    save(tmp_path / "s" / "r-1.000000-1.ppm", colour(240, 320))
    pgm(tmp_path / "s" / "d-1.000000-1.pgm", np.full((240, 320), 900), "<")
    refusal(lambda: NyuRaw(path=tmp_path).read(0), "r-1.000000-1.ppm", "320x240", "unregistered")
    assert NyuRaw(path=tmp_path, variant="unregistered").read(0).size == (240, 320)


def test_a_real_frame(tmp_path):
    data = real("open3d_testdata") / "other"
    shutil.copy(data / "NYU_color.ppm", tmp_path / "r-1.000000-1.ppm")
    shutil.copy(data / "NYU_depth.pgm", tmp_path / "d-1.010000-2.pgm")
    numbers = disparity(tmp_path / "d-1.010000-2.pgm")
    assert (numbers.min(), numbers.max()) == (839, 2047)
    scene = NyuRaw(path=tmp_path).read(0)
    assert scene.size == (427, 561)
    assert scene.intrinsics == CROPPED
    assert 1.3 < np.nanmin(scene.depth) < np.nanmax(scene.depth) < 10
    assert np.isnan(scene.depth).mean() < 0.08
    raw = NyuRaw(path=tmp_path, variant="unregistered").read(0)
    cut = np.s_[44:471, 40:601]
    assert edges_met(scene.aif, scene.depth) > 1.5 * edges_met(raw.aif[cut], raw.depth[cut])


def edges_met(light, depth):
    """Share of strong depth edges that have an edge of the picture within a pixel, more than chance has."""
    grey = cv2.cvtColor(encode(light, "srgb", 8), cv2.COLOR_RGB2GRAY)
    picture = cv2.dilate(cv2.Canny(grey, 60, 160), np.ones((3, 3))) > 0
    inverse = 1 / depth
    with np.errstate(invalid="ignore"):
        jump = np.abs(np.diff(inverse, axis=1))[:, 1:] > 0.05
    inside = np.s_[40:-40, 40:-40]
    return picture[:, 2:][inside][jump[inside]].mean() - picture[inside].mean()
