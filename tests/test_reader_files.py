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
from defocal.synth.readers.files import read_depth, read_image, read_packed_depth

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
        ("a.exr", b"\x76\x2f\x31\x01rest", "damaged or not an .exr"),
        ("b.exr", b"this is no image", "not a colour image"),
        ("cut.pfm", b"PF\n1 1\n-1.0\n" + bytes(11), "damaged"),
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


def test_a_changed_png_is_refused_by_its_checksums(tmp_path, capfd):
    image = np.random.default_rng(1).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    path = save(tmp_path / "a.png", image)
    data = path.read_bytes()
    for at in range(8, len(data), 29):
        path.write_bytes(data[:at] + bytes([data[at] ^ 4]) + data[at + 1 :])
        refusal(lambda: read_image(path), path)
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


@pytest.mark.parametrize("scale", [-1.0, 1.0, -0.0039])
def test_colour_pfm_is_linear_and_upright(tmp_path, scale):
    image = np.random.default_rng(2).random((3, 4, 3), np.float32) * 5
    rows = image[::-1].astype("<f4" if scale < 0 else ">f4").tobytes()
    (tmp_path / "c.pfm").write_bytes(b"PF\n4 3\n%r\n" % scale + rows)
    read = read_image(tmp_path / "c.pfm")
    assert read.dtype == np.float32
    np.testing.assert_array_equal(read, image)


def test_packed_depth(tmp_path):
    values = (RAMP / 3).astype("<f4")
    values[0, 0] = 1e4
    # OpenCV writes and reads blue, green, red, alpha: the number's bytes in the order of memory.
    cv2.imwrite(str(tmp_path / "d.png"), values[..., None].view(np.uint8))
    read = read_packed_depth(tmp_path / "d.png")
    assert read.dtype == np.float32
    np.testing.assert_array_equal(read, values)
    pixel = np.asarray(Image.open(tmp_path / "d.png"))[1, 2]  # red, green, blue, alpha in the file
    assert bytes(pixel[[2, 1, 0, 3]]) == values[1, 2].tobytes()
    for name, other in (("rgb.png", np.zeros((3, 4, 3), np.uint8)), ("deep.png", np.zeros((3, 4, 4), np.uint16))):
        save(tmp_path / name, other)
        refusal(lambda name=name: read_packed_depth(tmp_path / name), name, "four channels")
    (tmp_path / "bad.png").write_bytes(b"no image")
    refusal(lambda: read_packed_depth(tmp_path / "bad.png"), "bad.png", "damaged")


def exr(path, channels, **header):
    import OpenEXR

    header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage, **header}
    with OpenEXR.File(header, channels) as file:
        file.write(str(path))
    return path


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.uint32])
@pytest.mark.parametrize("name", ["Z", "Y", "anything", "ViewLayer.Depth.Z"])
def test_exr_depth_of_one_channel(tmp_path, name, dtype):
    read = read_depth(exr(tmp_path / "tiefe 深.exr", {name: RAMP.astype(dtype)}))
    assert read.dtype == (np.float64 if dtype == np.uint32 else np.float32)
    np.testing.assert_array_equal(read, RAMP)


@pytest.mark.parametrize(
    ("depth", "others"),
    [
        ("Z", ["R", "G", "B", "A"]),
        ("Layer.Depth.V", ["Layer.Combined.R", "Layer.Combined.G", "Layer.Combined.B"]),
        ("R", ["A"]),
        ("Y", ["A"]),
    ],
)
def test_exr_depth_by_its_channel_s_name(tmp_path, depth, others):
    z = (RAMP / 7).astype(np.float32)
    path = exr(tmp_path / "d.exr", {name: z + i for i, name in enumerate([depth, *others])})
    np.testing.assert_array_equal(read_depth(path), z)


def test_exr_depth_in_three_equal_channels(tmp_path):
    z = (RAMP / 7).astype(np.float32)
    z[0, 0] = np.nan
    np.testing.assert_array_equal(read_depth(exr(tmp_path / "d.exr", {"RGB": np.dstack([z] * 3)})), z)
    path = exr(tmp_path / "c.exr", {"RGB": np.dstack([z, z, z + 1])})
    refusal(lambda: read_depth(path), path, "no channel named Z")


def test_exr_colour_is_linear(tmp_path):
    image = np.random.default_rng(3).random((3, 4, 3), np.float32) * 5
    read = read_image(exr(tmp_path / "c.exr", {"RGB": image, "Z": image[..., 0].copy()}))
    assert read.dtype == np.float32
    np.testing.assert_array_equal(read, image)
    np.testing.assert_array_equal(read_image(exr(tmp_path / "h.exr", {"RGB": image.astype("f2")})), image.astype("f2"))
    grey = image[..., 0].copy()  # OpenEXR writes only what is contiguous
    np.testing.assert_array_equal(read_image(exr(tmp_path / "y.exr", {"Y": grey})), np.dstack([grey] * 3))
    path = exr(tmp_path / "z.exr", {"Z": grey, "R": grey})
    refusal(lambda: read_image(path), path, "R, G, B")
    integers = exr(tmp_path / "i.exr", {"R": RAMP.astype("u4"), "G": RAMP.astype("u4"), "B": RAMP.astype("u4")})
    refusal(lambda: read_image(integers), integers, "floating-point")


def test_cropped_exr_is_refused(tmp_path):
    window = (np.array([0, 0], np.int32), np.array([7, 7], np.int32))
    path = exr(tmp_path / "d.exr", {"Z": RAMP.astype(np.float32)}, displayWindow=window)
    refusal(lambda: read_depth(path), path, "uncropped")


def test_truncated_exr_is_refused(tmp_path):
    data = exr(tmp_path / "d.exr", {"RGB": np.random.default_rng(0).random((60, 50, 3), np.float32)}).read_bytes()
    for length in (5, 40, len(data) // 2, len(data) - 1):
        (tmp_path / "d.exr").write_bytes(data[:length])
        for read in (read_image, read_depth):
            refusal(lambda read=read: read(tmp_path / "d.exr"), tmp_path / "d.exr", "damaged")


def test_folder_reads_exr_as_linear_light(tmp_path):
    (tmp_path / "rgb").mkdir()
    (tmp_path / "depth").mkdir()
    image = np.random.default_rng(4).random((3, 4, 3), np.float32) * 5
    exr(tmp_path / "rgb" / "a.exr", {"RGB": image})
    exr(tmp_path / "depth" / "a.exr", {"Z": RAMP.astype(np.float32)})
    scene = FolderReader(path=tmp_path, depth_unit=1.0).read(0)
    np.testing.assert_array_equal(scene.aif, image)
    np.testing.assert_array_equal(scene.depth, RAMP)


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
        ("d.exr", b"\x76\x2f\x31\x01rest", "damaged or not an .exr"),
        ("e.exr", b"this is no image", "damaged or not an .exr"),
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
        ("crlf.pfm", pfm(RAMP, -1.0).replace(b"-1.0\n", b"-1.0\r\n"), "damaged"),
        ("scale.pfm", pfm(RAMP, -1.0).replace(b"-1.0", b"-0.0"), "damaged"),
        ("numbers.pfm", pfm(RAMP, -1.0).replace(b"-1.0", b"-.e-"), "damaged"),
        ("none.pfm", b"Pf\n0 4\n-1.0\n", "damaged"),
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


def test_an_archive_that_unpacks_to_gigabytes_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("defocal.synth.readers.files.MOST_BYTES", 1000)
    np.savez_compressed(tmp_path / "a.npz", np.zeros((100, 100)))
    with pytest.raises(InputError, match=r"a\.npz would unpack to more than"):
        read_depth(tmp_path / "a.npz")
