"""Single colour and depth files: every format with its traps, every refusal in one sentence."""

import io
import struct
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest
from PIL import Image
from rgbd import RAMP, dpt, pfm, refusal, save, scene_folder

from defocal import InputError
from defocal.synth.readers import FolderReader
from defocal.synth.readers.files import read_depth, read_image

# Colour files


def test_channels_come_as_rgb(tmp_path):
    image = np.zeros((2, 3, 3), np.uint8)
    image[..., 0], image[0, 0, 2] = 250, 90
    for name in ("a.png", "a.tiff", "a.ppm", "a.bmp"):
        read = read_image(save(tmp_path / name, image))
        assert read.dtype == np.uint8
        assert read.flags.c_contiguous
        np.testing.assert_array_equal(read, image)


def test_sixteen_bit_colour_stays_sixteen_bit(tmp_path):
    image = np.random.default_rng(0).integers(0, 65536, (5, 6, 3), dtype=np.uint16)
    for name in ("a.png", "a.tiff", "a.ppm"):
        read = read_image(save(tmp_path / name, image))
        assert read.dtype == np.uint16
        np.testing.assert_array_equal(read, image)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_grey_becomes_three_channels_and_alpha_goes(tmp_path, dtype):
    grey = (RAMP * 17).astype(dtype)
    np.testing.assert_array_equal(read_image(save(tmp_path / "grey.png", grey)), np.dstack([grey] * 3))
    rgba = np.dstack([grey, grey + 1, grey + 2, np.zeros_like(grey)])  # transparent pixels keep their colour
    np.testing.assert_array_equal(read_image(save(tmp_path / "rgba.png", rgba)), rgba[..., :3])


def test_palette_png(tmp_path):
    Image.new("RGB", (4, 3), (204, 0, 51)).convert("P").save(tmp_path / "p.png")
    assert read_image(tmp_path / "p.png")[0, 0].tolist() == [204, 0, 51]


def test_exif_orientation_is_ignored(tmp_path):
    image = Image.new("RGB", (16, 8))
    exif = image.getexif()
    exif[0x112] = 6  # "rotate by 90 degrees to view"
    image.save(tmp_path / "turned.jpg", exif=exif)
    assert read_image(tmp_path / "turned.jpg").shape == (8, 16, 3)


def test_paths_with_spaces_and_unicode(tmp_path):
    folder = scene_folder(tmp_path / "ein Ordner [1] ☃ ?", ["größe 深度 [2]"])
    scene = FolderReader(path=folder).read(0)
    assert scene.source == "rgb/größe 深度 [2]"


@pytest.mark.parametrize(
    ("name", "content", "mention"),
    [
        ("absent.png", None, "does not exist"),
        ("empty.png", b"", "empty"),
        ("text.png", b"this is no image", "damaged or not an image"),
        ("header.jpg", b"\xff\xd8\xff\xe0", "damaged or not an image"),
        ("a.npy", b"\x93NUMPY", "not a colour image"),
        ("a.exr", b"\x76\x2f\x31\x01rest", "not a colour image"),
        ("wide.ppm", b"P6\n1 1\n1000\n\0\1\0\1\0\1", "white at 1000"),
    ],
)
def test_colour_refusals(tmp_path, name, content, mention):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    refusal(lambda: read_image(tmp_path / name), tmp_path / name, mention)


def test_colour_refuses_float_pixels_and_folders(tmp_path):
    path = save(tmp_path / "float.tiff", np.ones((3, 4, 3), np.float32))
    refusal(lambda: read_image(path), path, "float32")
    refusal(lambda: read_image(tmp_path), tmp_path, "is a folder")


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.tiff", "a.ppm", "a.webp"])
@pytest.mark.parametrize("kept", [0.5, 0.99])
def test_truncated_files_are_refused_and_the_terminal_stays_clean(tmp_path, capfd, name, kept):
    image = np.random.default_rng(1).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    path = save(tmp_path / name, image)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * kept)])
    mention = "cut short" if name == "a.png" else ""
    refusal(lambda: read_image(path), path, mention)
    refusal(lambda: read_depth(path), path, mention)
    assert capfd.readouterr() == ("", "")


def test_opencv_gets_its_log_level_back(tmp_path):
    log = getattr(cv2.utils, "logging", cv2)
    before = log.getLogLevel()
    log.setLogLevel(2)
    (tmp_path / "bad.png").write_bytes(b"not an image")
    with ThreadPoolExecutor(4) as pool:
        for outcome in [pool.submit(read_image, tmp_path / "bad.png") for _ in range(40)]:
            assert isinstance(outcome.exception(), InputError)
    assert log.getLogLevel() == 2
    log.setLogLevel(before)


# Depth files


@pytest.mark.parametrize("name", ["d.png", "d.tiff", "d.pgm"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_integer_depth_images(tmp_path, name, dtype):
    stored = (RAMP * (20 if dtype == np.uint8 else 5000)).astype(dtype)
    read = read_depth(save(tmp_path / name, stored))
    assert read.dtype == np.float64
    np.testing.assert_array_equal(read, stored)


def test_float_tiff(tmp_path):
    stored = (RAMP / 7).astype(np.float32)
    read = read_depth(save(tmp_path / "d.tiff", stored))
    assert read.dtype == np.float32
    np.testing.assert_array_equal(read, stored)


def test_binary_pgm_is_not_stretched_to_its_maximum(tmp_path):
    (tmp_path / "d.pgm").write_bytes(b"P5\n# Kinect\n4 3\n4095\n" + RAMP.astype(">u2").tobytes())
    np.testing.assert_array_equal(read_depth(tmp_path / "d.pgm"), RAMP)
    (tmp_path / "e.pgm").write_bytes(b"P5 4 3 100\n" + RAMP.astype("u1").tobytes())
    np.testing.assert_array_equal(read_depth(tmp_path / "e.pgm"), RAMP)
    text = b"P2\n4 3\n%d\n" + b" ".join(b"%d" % n for n in RAMP.ravel()) + b"\n"
    (tmp_path / "f.pgm").write_bytes(text % 4095)
    np.testing.assert_array_equal(read_depth(tmp_path / "f.pgm"), RAMP)
    (tmp_path / "g.pgm").write_bytes(text % 100)  # OpenCV would stretch this one
    refusal(lambda: read_depth(tmp_path / "g.pgm"), "g.pgm", "maximum 100")


def test_three_equal_channels_are_one(tmp_path):
    stored = (RAMP * 5000).astype(np.uint16)
    np.testing.assert_array_equal(read_depth(save(tmp_path / "d.png", np.dstack([stored] * 3))), stored)
    colour = save(tmp_path / "c.png", np.dstack([stored, stored, stored + 1]))
    refusal(lambda: read_depth(colour), colour, "3 channels")
    alpha = save(tmp_path / "a.png", np.dstack([stored] * 4))
    refusal(lambda: read_depth(alpha), alpha, "4 channels")


@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f2", "<f8", "<u2", ">i4", "<i8"])
def test_npy(tmp_path, dtype):
    np.save(tmp_path / "d.npy", RAMP.astype(dtype))
    read = read_depth(tmp_path / "d.npy")
    assert read.dtype == (np.float32 if dtype in ("<f4", ">f4", "<f2") else np.float64)
    assert read.flags.writeable
    np.testing.assert_array_equal(read, RAMP)


def test_npy_with_one_channel_and_in_column_order(tmp_path):
    np.save(tmp_path / "d.npy", RAMP[..., None].astype(np.float32))
    np.testing.assert_array_equal(read_depth(tmp_path / "d.npy"), RAMP)
    np.save(tmp_path / "f.npy", np.asfortranarray(RAMP))
    assert read_depth(tmp_path / "f.npy").flags.c_contiguous
    np.testing.assert_array_equal(read_depth(tmp_path / "f.npy"), RAMP)


def test_npz_with_one_array(tmp_path):
    np.savez_compressed(tmp_path / "d.npz", anything=RAMP.astype(np.float32))
    np.testing.assert_array_equal(read_depth(tmp_path / "d.npz"), RAMP)
    np.savez(tmp_path / "two.npz", depth=RAMP, mask=RAMP)
    refusal(lambda: read_depth(tmp_path / "two.npz"), "two.npz", "2 arrays (depth, mask)")
    np.savez(tmp_path / "none.npz")
    refusal(lambda: read_depth(tmp_path / "none.npz"), "0 arrays")


@pytest.mark.parametrize("scale", [-1.0, 1.0, -0.0039, 3.5])
def test_pfm_ignores_the_scale_and_has_its_rows_upright(tmp_path, scale):
    values = (RAMP / 3).astype(np.float32)
    values[0, 0], values[1, 1] = np.inf, -2.5
    (tmp_path / "d.pfm").write_bytes(pfm(values, scale))
    read = read_depth(tmp_path / "d.pfm")
    assert read.dtype == np.float32
    np.testing.assert_array_equal(read, values)


def test_dpt(tmp_path):
    values = (RAMP * 1e10).astype(np.float32)
    (tmp_path / "d.dpt").write_bytes(dpt(values))
    np.testing.assert_array_equal(read_depth(tmp_path / "d.dpt"), values)


def _bytes_of(write, *args) -> bytes:
    stream = io.BytesIO()
    write(stream, *args)
    return stream.getvalue()


NPY = _bytes_of(np.save, RAMP)
NPZ = _bytes_of(np.savez_compressed, np.random.default_rng(0).random((30, 30)))
JPEG = _bytes_of(lambda stream: Image.new("L", (8, 8)).save(stream, "JPEG"))


@pytest.mark.parametrize(
    ("name", "content", "mention"),
    [
        ("absent.npy", None, "does not exist"),
        ("empty.dpt", b"", "empty"),
        ("text.png", b"this is no image", "damaged or no depth map"),
        ("depth.mat", b"MATLAB 5.0", "damaged or no depth map"),
        ("d.jpg", JPEG, "JPEG"),
        ("renamed.png", JPEG, "JPEG"),
        ("d.exr", b"\x76\x2f\x31\x01rest", "OpenEXR"),
        ("cut.npy", NPY[:-8], "damaged"),
        ("text.npy", b"some text", "damaged or not a .npy"),
        ("archive.npy", NPZ, "name it .npz"),
        ("cut.npz", NPZ[:-40], "damaged"),
        ("flipped.npz", NPZ[:300] + b"\xff" * 20 + NPZ[320:], "damaged"),
        ("objects.npy", _bytes_of(np.save, np.array([{}])), "Python objects"),
        ("objects.npz", _bytes_of(np.savez, np.array([{}])), "Python objects"),
        ("bool.npy", _bytes_of(np.save, np.ones((3, 4), bool)), "bool"),
        ("complex.npy", _bytes_of(np.save, np.ones((3, 4), complex)), "complex128"),
        ("line.npy", _bytes_of(np.save, np.ones(5)), "(5,)"),
        ("rgb.npy", _bytes_of(np.save, np.ones((3, 4, 3))), "(3, 4, 3)"),
        ("none.npy", _bytes_of(np.save, np.ones((0, 4))), "(0, 4)"),
        ("cut.pfm", pfm(RAMP, -1.0)[:-4], "damaged"),
        ("text.pfm", b"some text", "damaged"),
        ("colour.pfm", b"PF\n1 1\n-1.0\n" + bytes(12), "colour PFM"),
        ("grey.pfm", b"P5\n1 1\n255\n\1", "another format"),
        ("cut.dpt", dpt(RAMP)[:-4], "damaged"),
        ("short.dpt", dpt(RAMP)[:9], "tag"),
        ("tag.dpt", b"\0" + dpt(RAMP)[1:], "tag"),
        ("size.dpt", dpt(RAMP)[:4] + struct.pack("<ii", -3, -4) + dpt(RAMP)[12:], "damaged"),
    ],
)
def test_depth_refusals(tmp_path, capfd, name, content, mention):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    refusal(lambda: read_depth(tmp_path / name), tmp_path / name, mention)
    assert capfd.readouterr() == ("", "")
