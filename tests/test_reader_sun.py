"""SUN RGB-D."""

import shutil

import numpy as np
import pytest
import scipy.io
from datasets_a import SUN_FRAMES, rotated, sun
from rgbd import real, refusal, save

from defocal.synth.readers.sun import SunRgbd


def test_frames(tmp_path):
    reader = SunRgbd(path=sun(tmp_path))
    items = reader.scan()
    assert [(i.source, i.split) for i in items] == list(zip(SUN_FRAMES, ("train", "test", "test", "test"), strict=True))
    assert [item.group for item in items] == [
        *SUN_FRAMES[:2],
        "xtion/sun3ddata/brown/hall",
        "xtion/sun3ddata/brown/hall",
    ]
    scene = reader.read(1)
    # Millimetres, 0 unknown, and what the toolbox would flatten to 8 m unknown, too.
    expected = np.arange(48).reshape(6, 8) / 10 + 4
    expected[0, :2] = np.nan
    expected[expected > 8] = np.nan
    np.testing.assert_allclose(scene.depth, expected, rtol=1e-6)
    assert np.isnan(scene.depth[5, 1])
    assert scene.depth[5, 0] == np.float32(8.0)
    lens = scene.intrinsics  # the toolbox counts pixels from 1
    assert (lens.fx, lens.fy, lens.cx, lens.cy) == (529.5, 530.5, 3.5, 2.5)


def test_rotated_bits():
    """d = (v >> 3) | (v << 13): 1057 mm is stored as 8456, 9870 mm as 13425."""
    assert rotated([1057, 9870]).tolist() == [8456, 13425]


def test_variants(tmp_path):
    filled, raw = (SunRgbd(path=sun(tmp_path / v), variant=v).read(0) for v in ("bfx", "raw"))
    assert np.isnan(filled.depth).sum() < np.isnan(raw.depth).sum()
    assert np.nanmax(raw.depth) == 5


@pytest.mark.parametrize("inner", ["", "kv1", "kv1/NYUdata/NYU0001"])
def test_any_folder_of_it_may_be_given(tmp_path, inner):
    root = sun(tmp_path)
    reader = SunRgbd(path=root / inner, splits=tmp_path / "SUNRGBDtoolbox" / "traintestSUNRGBD" / "allsplit.mat")
    item = reader.scan()[0]
    assert item.split == "train"
    assert item.source == (SUN_FRAMES[0].removeprefix(inner).strip("/") or "NYU0001")


def test_the_official_split_is_optional(tmp_path):
    reader = SunRgbd(path=sun(tmp_path, splits=False))
    assert {item.split for item in reader.scan()} == {""}
    refusal(SunRgbd(path=tmp_path / "SUNRGBD", part="train").scan, "allsplit.mat")
    refusal(SunRgbd(path=tmp_path / "SUNRGBD", splits=tmp_path / "no.mat").scan, "no.mat", "cannot be read")


def test_a_split_of_numbers(tmp_path):
    root = sun(tmp_path)
    path = tmp_path / "numbers.mat"
    scipy.io.savemat(path, {"alltrain": np.ones((1, 3)), "alltest": np.ones((1, 3))})
    refusal(SunRgbd(path=root, splits=path).scan, path, "alltrain")


@pytest.mark.parametrize(
    "text",
    [
        "", "529 0 4", "529.5 0 4.5 0 530.5 3.5 0 0 1 7", "nan 0 4 0 5 3 0 0 1", "5 0 0 0 5 0 4 3 1",
        "-5 0 4 0 5 3 0 0 1", "a b c d e f g h i", "é",
    ],
)  # fmt: skip
def test_intrinsics_that_cannot_be(tmp_path, text):
    root = sun(tmp_path)
    path = root / SUN_FRAMES[0] / "intrinsics.txt"
    path.write_text(text, encoding="utf-8")
    refusal(lambda: SunRgbd(path=root).read(0), path, "nine numbers")


def test_a_partner_that_is_missing(tmp_path):
    root = sun(tmp_path)
    (root / SUN_FRAMES[1] / "depth_bfx" / "0001.png").unlink()
    refusal(SunRgbd(path=root).scan, root / SUN_FRAMES[1], "0 depth files")
    assert len(SunRgbd(path=root, variant="raw")) == 4


def test_a_real_frame(tmp_path):
    data = real("open3d_testdata") / "other"
    for folder in ("image", "depth", "depth_bfx"):
        (tmp_path / folder).mkdir()
    shutil.copy(data / "SUN_color.jpg", tmp_path / "image" / "1.jpg")
    shutil.copy(data / "SUN_depth.png", tmp_path / "depth" / "1.png")
    (tmp_path / "intrinsics.txt").write_text("529.5 0 320 0 529.5 240 0 0 1")
    scene = SunRgbd(path=tmp_path, variant="raw").read(0)
    assert scene.size == (480, 640)
    assert np.nanmin(scene.depth) == pytest.approx(1.057)
    assert np.nanmax(scene.depth) == pytest.approx(7.835)  # the next are 8.2 m and on, to 9.87 m
    assert np.nanmedian(scene.depth) < 3


def test_eight_bit_depth_and_colour_files_in_its_place(tmp_path):
    root = sun(tmp_path)
    path = root / SUN_FRAMES[0] / "depth_bfx" / "0001.png"
    save(path, np.random.default_rng(0).integers(0, 255, (6, 8, 3), dtype=np.uint8))
    refusal(lambda: SunRgbd(path=root).read(0), path)
