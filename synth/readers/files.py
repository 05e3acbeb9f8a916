"""One colour image or one depth map from a file, as the numbers that the file holds.

Each format goes through the one reader that was measured not to change its numbers: OpenCV scales PFM and its
wheels read no EXR, and Pillow and imageio reduce 16-bit RGB to 8 bits and stretch a PGM whose maximum is not
255 or 65535. Files are read as bytes first, so that any path works on any system. Pixels are taken as stored:
an EXIF orientation is ignored in colour and depth alike, because depth maps carry none and must stay aligned.
"""

import io
import re
import stat
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from ... import InputError

Array = npt.NDArray[Any]

_PNG, _JPEG, _EXR = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"\x76\x2f\x31\x01"
_PNM_HEADER = re.compile(rb"P([2356])(?:(?:\s|#[^\n]*\n)+(\d+)){3}\s")  # group 2: the third number, the maximum
_PFM_HEADER = re.compile(rb"P([fF])\s+(\d{1,9})\s+(\d{1,9})\s+([-+.\deE]+)\s")  # width, height, scale
MOST_BYTES = 2e9
"""Of a depth map that is packed."""
_DPT_TAG = np.array(202021.25, "<f4").tobytes()
_DEPTH_FORMATS = "16-bit PNG, TIFF, PGM, .npy, .npz, .pfm, .dpt or .exr"


def read_image(path: Path) -> npt.NDArray[np.uint8] | npt.NDArray[np.uint16] | npt.NDArray[np.float32]:
    """Read a colour image: PNG, JPEG, TIFF, PPM, WebP, BMP and what else OpenCV decodes; OpenEXR; colour PFM.

    Grey images get three equal channels, alpha is dropped, 16 bits stay 16 bits, an EXIF orientation is
    ignored. Of an EXR its first part is taken, the channels R, G, B or the luminance Y.

    Parameters
    ----------
    path
        The file.

    Returns
    -------
    (H, W, 3) RGB: uint8 or uint16, encoded as in the file; float32, linear, of an EXR or a PFM.

    Raises
    ------
    InputError
        If the file cannot be read, is damaged, or is not an image of 8 or 16 bits per channel, an EXR or a PFM.
    """
    data = read_bytes(path)
    if data.startswith(_EXR):
        return _colour_of_exr(path)
    if data.startswith(b"PF"):
        return _read_pfm(data, path)
    if path.suffix.lower() in _DEPTH_DECODERS:
        raise InputError(
            f"{path} is not a colour image of 8 or 16 bits per channel: give colour as PNG, JPEG, TIFF, PPM or WebP."
        )
    header = _PNM_HEADER.match(data)
    if header and int(header[2]) not in (255, 65535):
        raise InputError(
            f"{path} has its white at {int(header[2])}, neither 255 nor 65535: "
            "rescale it and store it as 8- or 16-bit PNG."
        )
    image = decode_image(data, cv2.IMREAD_ANYDEPTH | cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    if image is None:
        raise InputError(f"{path} is damaged or not an image: copy it again, or convert it to PNG.")
    if image.dtype not in (np.uint8, np.uint16):
        raise InputError(f"{path} holds {image.dtype} pixels: convert the colour image to 8 or 16 bits per channel.")
    return np.ascontiguousarray(image[..., ::-1])  # OpenCV's channels are BGR


def read_depth(path: Path) -> npt.NDArray[np.float32] | npt.NDArray[np.float64]:
    """Read the numbers of a depth or disparity map, in the unit of the file.

    Integer PNG, TIFF and PGM; floating-point TIFF; `.npy` of shape (H, W) or (H, W, 1); `.npz` with one such
    array; grey `.pfm`; `.dpt` (MPI Sintel); OpenEXR: its only channel, or that named Z, V (Blender's), Y or R
    without G and B, with or without a layer's name before it. An image with three channels is accepted if they
    are equal.

    Parameters
    ----------
    path
        The file.

    Returns
    -------
    (H, W) float32 where the file holds floating-point numbers of up to 32 bits, otherwise float64.

    Raises
    ------
    InputError
        If the file cannot be read, is damaged, has a format that would change the numbers, or holds anything
        but one number per pixel.
    """
    data = read_bytes(path)
    if data.startswith(_EXR):
        array = _depth_of_exr(path)
    else:
        array = _DEPTH_DECODERS.get(path.suffix.lower(), _depth_from_image)(data, path)
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[..., 0]
    if array.ndim != 2 or 0 in array.shape:
        raise InputError(f"{path} holds an array of shape {array.shape}: a depth map has shape (H, W) or (H, W, 1).")
    if array.dtype.kind not in "uif":
        raise InputError(f"{path} holds {array.dtype} values: store depth as integers or floating-point numbers.")
    if array.dtype.kind == "f" and array.dtype.itemsize <= 4:
        return np.array(array, np.float32, order="C")
    return np.array(array, np.float64, order="C")


def read_packed_depth(path: Path) -> npt.NDArray[np.float32]:
    """Read a PNG whose four channels of 8 bits are the bytes of one float32, as OpenCV writes them.

    Parameters
    ----------
    path
        The file; its channels in OpenCV's order (blue, green, red, alpha) are the bytes, lowest first.

    Returns
    -------
    (H, W) float32.

    Raises
    ------
    InputError
        If the file cannot be read, is damaged, or does not have four channels of 8 bits.
    """
    image = decode_image(read_bytes(path), cv2.IMREAD_UNCHANGED)
    if image is None:
        raise InputError(f"{path} is damaged or not an image: copy it again.")
    if image.ndim != 3 or image.shape[2] != 4 or image.dtype != np.uint8:
        raise InputError(
            f"{path} holds {image.dtype} pixels of shape {image.shape}: a packed depth map has four channels of 8 bits."
        )
    return np.ascontiguousarray(image).view("<f4")[..., 0].astype(np.float32)


def read_bytes(path: Path) -> bytes:
    """Read a file whole.

    Raises
    ------
    InputError
        If it cannot be read, is empty, or is a PNG that lacks its end.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode) and not path.is_dir():
            raise InputError(f"{path} is a device or a pipe: give a file.")
        data = path.read_bytes()
    except FileNotFoundError:
        raise InputError(f"{path} does not exist: check the path.") from None
    except IsADirectoryError:
        raise InputError(f"{path} is a folder: give a file.") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{path} cannot be read ({reason}): check the path and its permissions.") from None
    if not data:
        raise InputError(f"{path} is empty (0 bytes): copy it again.")
    if data.startswith(_PNG):
        _check_png(data, path)
    return data


def _check_png(data: bytes, path: Path) -> None:
    """Compare the checksums of a PNG: libpng would print its own complaint, and OpenCV return what it could read.

    Raises
    ------
    InputError
        If the file is cut short or changed.
    """
    at, kind = len(_PNG), b""
    while kind != b"IEND":
        length = int.from_bytes(data[at : at + 4], "big")
        body = memoryview(data)[at + 4 : at + 8 + length]
        checksum = data[at + 8 + length : at + 12 + length]
        if len(checksum) < 4:
            raise InputError(f"{path} is cut short: copy it again.")
        if zlib.crc32(body) != int.from_bytes(checksum, "big"):
            raise InputError(f"{path} is damaged (a checksum is wrong): copy it again.")
        kind, at = bytes(body[:4]), at + 12 + length


class _QuietOpenCv:
    """Keeps OpenCV's own complaints off the terminal while at least one thread decodes."""

    def __init__(self) -> None:
        self._log: Any = getattr(cv2.utils, "logging", cv2)  # the functions moved with OpenCV 5
        self._lock, self._users, self._level = threading.Lock(), 0, 0

    @contextmanager
    def __call__(self) -> Iterator[None]:
        # The level is one per process: without counting, two threads could leave it silent for good.
        with self._lock:
            if self._users == 0:
                self._level = self._log.getLogLevel()
                self._log.setLogLevel(0)
            self._users += 1
        try:
            yield
        finally:
            with self._lock:
                self._users -= 1
                if self._users == 0:
                    self._log.setLogLevel(self._level)


_quiet_opencv = _QuietOpenCv()


def decode_image(data: bytes, flags: int) -> Array | None:
    """Decode a file's bytes with OpenCV and its `cv2.IMREAD_` flags, quietly; None of what it cannot decode."""
    with _quiet_opencv():
        try:
            return cv2.imdecode(np.frombuffer(data, np.uint8), flags)
        except cv2.error:
            return None


def _depth_from_image(data: bytes, path: Path) -> Array:
    if data.startswith(_JPEG):
        raise InputError(f"{path} is a JPEG, which changes depth values: give the depth as 16-bit PNG or .npy.")
    header = _PNM_HEADER.match(data)
    if header and header[1] in b"23" and int(header[2]) < 255:
        # OpenCV stretches text files to 0..255; it leaves the binary ones and all 16-bit ones as they are.
        raise InputError(f"{path} is a text PGM with maximum {int(header[2])}: convert it to 8- or 16-bit PNG.")
    image = decode_image(data, cv2.IMREAD_UNCHANGED)
    if image is None:
        raise InputError(f"{path} is damaged or no depth map of a known format: give {_DEPTH_FORMATS}.")
    if image.ndim == 3:
        if image.shape[2] != 3 or (image != image[..., :1]).any():
            raise InputError(
                f"{path} has {image.shape[2]} channels that are not three equal ones, like a colour picture: "
                "give one number per pixel."
            )
        image = image[..., 0]
    return image


def _load_numpy(data: bytes, path: Path) -> Any:
    try:
        return np.load(io.BytesIO(data), allow_pickle=False)
    except Exception as error:  # numpy, zipfile and zlib raise a dozen types for damaged files
        raise _damaged_numpy(path, error) from None


def _damaged_numpy(path: Path, error: Exception) -> InputError:
    if "pickle" in str(error) and "Object arrays" in str(error):
        return InputError(f"{path} holds Python objects: save the depth map as a plain array of numbers.")
    return InputError(f"{path} is damaged or not a {path.suffix} file: save the depth map again.")


def _depth_from_npy(data: bytes, path: Path) -> Array:
    array = _load_numpy(data, path)
    if not isinstance(array, np.ndarray):
        raise InputError(f"{path} is an archive of arrays, not a single one: name it .npz.")
    return array


def _depth_from_npz(data: bytes, path: Path) -> Array:
    archive = _load_numpy(data, path)
    if isinstance(archive, np.ndarray):
        return archive
    with archive:
        if len(archive.files) != 1:
            names = ", ".join(archive.files[:5]) or "none"
            raise InputError(f"{path} holds {len(archive.files)} arrays ({names}): keep the depth map alone in it.")
        if archive.zip.infolist()[0].file_size > MOST_BYTES:
            raise InputError(
                f"{path} would unpack to more than {MOST_BYTES / 1e9:.0f} GB: a depth map is not so large."
            )
        try:
            array = archive[archive.files[0]]
        except Exception as error:  # see _load_numpy; members are decompressed only here
            raise _damaged_numpy(path, error) from None
    if not isinstance(array, np.ndarray):  # a member that is not .npy comes as bytes
        raise _damaged_numpy(path, ValueError())
    return array


def _depth_from_pfm(data: bytes, path: Path) -> Array:
    if data.startswith(b"PF"):
        raise InputError(f"{path} is a colour PFM: a depth map has one number per pixel (header Pf).")
    if not data.startswith(b"Pf") and _PNM_HEADER.match(data):
        raise InputError(f"{path} is named .pfm but is another format: rename it to .pgm or .ppm.")
    return _read_pfm(data, path)


def _read_pfm(data: bytes, path: Path) -> npt.NDArray[np.float32]:
    header = _PFM_HEADER.match(data)
    try:
        scale = float(header[4]) if header else 0.0
    except ValueError:
        scale = 0.0
    if not header or not scale or not np.isfinite(scale):
        raise InputError(f"{path} is damaged or not a .pfm file: copy it again.")
    width, height, channels = int(header[2]), int(header[3]), 3 if header[1] == b"F" else 1
    if width * height == 0 or len(data) - header.end() != 4 * width * height * channels:
        raise InputError(f"{path} is damaged ({width}x{height} pixels do not take {len(data)} bytes): copy it again.")
    # The scale's sign tells the byte order. Its size is ignored: OpenCV divides by it, and Middlebury's -0.0039
    # would make every disparity 256 times too large.
    values = np.frombuffer(data, "<f4" if scale < 0 else ">f4", offset=header.end())
    upright = values.reshape(height, width, channels)[::-1]  # the bottom row comes first
    return np.ascontiguousarray(upright if channels == 3 else upright[..., 0], np.float32)


def _depth_from_dpt(data: bytes, path: Path) -> Array:
    if data[:4] != _DPT_TAG or len(data) < 12:
        raise InputError(f"{path} is not a .dpt file (its tag is not 202021.25): copy it again.")
    width, height = (int(n) for n in np.frombuffer(data, "<i4", 2, offset=4))
    if width <= 0 or height <= 0 or len(data) != 12 + 4 * width * height:
        raise InputError(f"{path} is damaged ({width}x{height} pixels do not take {len(data)} bytes): copy it again.")
    return np.frombuffer(data, "<f4", offset=12).reshape(height, width)


def _channels_of_exr(path: Path) -> dict[str, Array]:
    import OpenEXR

    try:
        with OpenEXR.File(str(path), separate_channels=True) as file:
            header = file.header()
            stored, shown = (np.ravel(header[window]).tolist() for window in ("dataWindow", "displayWindow"))
            channels = {name: np.asarray(channel.pixels) for name, channel in file.channels().items()}
    except Exception:  # OpenEXR raises several types for damaged files
        raise InputError(f"{path} is damaged or not an .exr file: copy it again.") from None
    if stored != shown:
        raise InputError(f"{path} stores another window ({stored}) than its picture's ({shown}): export it uncropped.")
    bad = [name for name, pixels in channels.items() if pixels.ndim != 2 or pixels.dtype.kind not in "uf"]
    if bad or not channels:
        what = f"a channel {bad[0]!r} that is no plane of numbers" if bad else "no channel"
        raise InputError(f"{path} has {what}: export a flat, single-part EXR.")
    return channels


def _by_last_name(channels: dict[str, Array]) -> dict[str, str]:
    """Names of channels by what comes after the layers' names; the first of several layers."""
    short: dict[str, str] = {}
    for name in sorted(channels, key=lambda name: (name.count("."), name)):
        short.setdefault(name.rpartition(".")[2].upper(), name)
    return short


def _colour_of_exr(path: Path) -> npt.NDArray[np.float32]:
    channels = _channels_of_exr(path)
    short = _by_last_name(channels)
    names = [short[key] for key in "RGB" if key in short]
    if not names and "Y" in short:
        names = [short["Y"]] * 3
    planes = [channels[name] for name in names]
    if len(planes) != 3 or len({plane.shape for plane in planes}) != 1 or any(p.dtype.kind != "f" for p in planes):
        raise InputError(
            f"{path} has no channels R, G, B (or Y) of floating-point numbers and one size, only "
            f"{', '.join(sorted(channels)[:6])}: export it as RGB."
        )
    return np.dstack(planes).astype(np.float32)


def _depth_of_exr(path: Path) -> Array:
    channels = _channels_of_exr(path)
    if len(channels) == 1:
        return next(iter(channels.values()))
    short = _by_last_name(channels)
    colours = [channels[short[key]] for key in "RGB" if key in short]
    for key in ("Z", "V", "Y"):
        if key in short:
            return channels[short[key]]
    if colours and all(np.array_equal(colours[0], other, equal_nan=True) for other in colours):
        return colours[0]
    raise InputError(
        f"{path} has no channel named Z, V or Y but {', '.join(sorted(channels)[:6])}: give one number per pixel."
    )


def _depth_from_exr(data: bytes, path: Path) -> Array:
    raise InputError(f"{path} is damaged or not an .exr file: copy it again.")  # its first bytes say so


_DEPTH_DECODERS: dict[str, Callable[[bytes, Path], Array]] = {
    ".npy": _depth_from_npy,
    ".npz": _depth_from_npz,
    ".pfm": _depth_from_pfm,
    ".dpt": _depth_from_dpt,
    ".exr": _depth_from_exr,
}
