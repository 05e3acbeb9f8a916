"""Damage to every file of every small dataset: a correct scene or one sentence that names a file, and nothing else."""

import re

import cv2
import h5py
import numpy as np
import pytest
import scipy.io
from datasets_a import UNICODE, WRITERS, ddff_stacks, nyu_raw
from rgbd import pfm

from defocal import InputError
from defocal.synth import Scene
from defocal.synth.readers import READERS
from defocal.synth.readers.ddff import Ddff12

KINDS = sorted(WRITERS)
OTHER = np.random.default_rng(1)


def outcome(reader, root):
    """Read all; return the scenes that could be read and the sentences that were said."""
    scenes, said = [], []
    try:
        count = len(reader)
    except InputError as error:
        count, said = 0, [str(error)]
    for i in range(count):
        try:
            scenes.append(reader.read(i))
        except InputError as error:
            said.append(str(error))
    for text in said:
        assert "\n" not in text
        assert text.endswith(".")
        assert str(root) in text
        assert len(text) < 600 + 3 * len(str(root))
    for scene in scenes:
        assert isinstance(scene, Scene)
        assert scene.source
    return scenes, said


def write(kind, root):
    """Write a dataset of pictures as small as may be; return its path."""
    if kind == "make3d":
        WRITERS[kind](root, 24, 28, 5, 6)
        for path in (root / "Train400Img").glob("img-10*"):
            path.unlink()
    elif kind == "nyu-raw":
        nyu_raw(root, np.full((12, 16), 900))
    else:
        WRITERS[kind](root)
    return root / "SUNRGBD" if kind == "sun-rgbd" else root


def opened(kind, root):
    return READERS[kind](path=root, **({"variant": "unregistered"} if kind == "nyu-raw" else {}))


def files_of(root):
    """One file of each name in each place of a dataset: numbers and names of scenes do not count."""
    seen = {}
    for path in sorted(root.rglob("*")):
        if path.is_file():
            seen.setdefault((path.suffix, re.sub(r"\d+", "0", path.name)), path)
    return list(seen.values())


def large(kind, path):
    """Labelled frames have their true size, which takes time: try them less often."""
    return kind == "nyuv2" and path.name != "splits.mat"


@pytest.mark.parametrize("kind", KINDS)
def test_paths_with_spaces_and_accents(kind, tmp_path):
    root = write(kind, tmp_path / UNICODE)
    scenes, said = outcome(opened(kind, root), tmp_path)
    assert scenes
    assert not said
    sources = [item.source for item in opened(kind, root).scan()]
    assert len(set(sources)) == len(sources)
    assert opened(kind, str(root)).scan() == opened(kind, root).scan()


@pytest.mark.parametrize("kind", KINDS)
def test_files_cut_short_emptied_and_overwritten(kind, tmp_path):
    root = write(kind, tmp_path / UNICODE)
    for path in files_of(tmp_path):
        whole = path.read_bytes()
        lengths = {0, 1, 7, len(whole) // 3, len(whole) - 1} | ({len(whole) * 2 // 3, len(whole) - 9} - {-9})
        damaged = [whole[: max(length, 0)] for length in sorted(lengths)]
        damaged += [OTHER.bytes(min(len(whole), 5000)), whole[: len(whole) // 2] + OTHER.bytes(len(whole) // 2)]
        for data in damaged[:: 3 if large(kind, path) else 1]:
            path.write_bytes(data)
            outcome(opened(kind, root), tmp_path)
        path.unlink()
        outcome(opened(kind, root), tmp_path)
        path.mkdir()
        outcome(opened(kind, root), tmp_path)
        path.rmdir()
        path.write_bytes(whole)
    scenes, said = outcome(opened(kind, root), tmp_path)
    assert scenes
    assert not said


@pytest.mark.parametrize("kind", KINDS)
def test_single_bytes_changed(kind, tmp_path):
    root = write(kind, tmp_path)
    for path in files_of(tmp_path):
        whole = path.read_bytes()
        for _ in range(3 if large(kind, path) else 12):
            data = bytearray(whole)
            for place in OTHER.integers(0, min(len(data), 4000), 3):
                data[place] = OTHER.integers(256)
            path.write_bytes(data)
            outcome(opened(kind, root), tmp_path)
        path.write_bytes(whole)


NUMBERS = (np.nan, -np.inf, np.inf, -1.0, 0.0, 1e-30, 1e30, 6e4)


def others(path):
    """Write what else a file of this kind could hold, one after the other."""
    yield from {
        ".npy": other_arrays, ".hdf5": other_hdf5, ".h5": other_hdf5, ".mat": other_mat, ".pfm": other_pfm,
        ".png": other_pictures, ".jpg": other_pictures, ".ppm": other_pictures, ".pgm": other_pictures,
        ".txt": other_text, ".csv": other_text, ".cfg": other_text,
    }.get(path.suffix, lambda path: ())(path)  # fmt: skip


def variants(values):
    """Other dtypes, shapes and numbers for an array."""
    yield values[..., None]
    yield values[:-1]
    yield values.ravel()
    yield np.array(3.0)
    yield values[:0]
    for dtype in ("f8", "i2", "u8", "c8", "?", "S4"):
        yield np.nan_to_num(values).astype(dtype)
    if values.dtype.kind == "f":
        with np.errstate(over="ignore"):
            numbers = np.array(NUMBERS).astype(values.dtype)
        for number in numbers:
            yield np.full_like(values, number)


def other_arrays(path):
    values = np.load(path)
    for other in variants(values):
        np.save(path, other)
        yield
    np.save(path, np.array([{"a": 1}], object))
    yield


def other_hdf5(path):
    with h5py.File(path, "r") as file:
        arrays = {name: item[()] for name, item in file.items() if isinstance(item, h5py.Dataset)}
    for name, values in arrays.items():
        if values.dtype.kind == "O":
            continue
        for other in [None, *variants(values)]:
            with h5py.File(path, "a") as file:
                del file[name]
                if other is not None:
                    file[name] = other
            yield
            with h5py.File(path, "a") as file:
                if name in file:
                    del file[name]
                file[name] = values
    with h5py.File(path, "a") as file:
        for name in arrays:
            del file[name]
            file.create_group(name)
    yield


def other_mat(path):
    if h5py.is_hdf5(path):
        yield from other_hdf5(path)
        return
    arrays = {name: values for name, values in scipy.io.loadmat(path).items() if not name.startswith("__")}
    for name, values in arrays.items():
        scipy.io.savemat(path, arrays | {name: {"a": 1.0}})
        yield
        scipy.io.savemat(path, {key: value for key, value in arrays.items() if key != name} | {"z": 1.0})
        yield
        if values.dtype.kind != "O":
            for other in variants(values):
                scipy.io.savemat(path, arrays | {name: other})
                yield


def other_pfm(path):
    for values in (np.ones((3, 5)), *(np.full((6, 8), number) for number in NUMBERS)):
        path.write_bytes(pfm(values, -1.0))
        yield
    path.write_bytes(b"PF\n8 6\n-1.0\n" + np.ones(144, "<f4").tobytes())
    yield
    path.write_bytes(b"Pf\n99999999 99999999\n-1.0\n" + np.ones(144, "<f4").tobytes())
    yield


def other_pictures(path):
    height, width = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_UNCHANGED).shape[:2]
    for shape in (
        (height, width),
        (height, width, 3),
        (height - 1, width),
        (height, width, 4),
        (1, 1),
        (width, height, 3),
    ):
        for dtype, top in ((np.uint8, 256), (np.uint16, 65536)):
            for suffix in (".png", ".tiff"):
                written, data = cv2.imencode(suffix, OTHER.integers(0, top, shape).astype(dtype))
                assert written
                path.write_bytes(data.tobytes())
                yield
    path.write_bytes(cv2.imencode(".tiff", np.full((height, width), np.nan, np.float32))[1].tobytes())
    yield


def other_text(path):
    text = path.read_text()
    for old, new in (
        ("0", ""),
        ("0", "-"),
        ("0", "nan"),
        ("1", "9" * 400),
        (",", ";"),
        ("\n", "\0"),
        ("=", "é"),
        ("5", "inf"),
    ):
        path.write_text(text.replace(old, new), encoding="utf-8")
        yield
    path.write_text(text, encoding="utf-16")
    yield


@pytest.mark.parametrize("kind", KINDS)
def test_files_that_hold_something_else(kind, tmp_path):
    root = write(kind, tmp_path)
    for path in files_of(tmp_path):
        whole = path.read_bytes()
        for number, _ in enumerate(others(path)):
            if number % (4 if large(kind, path) else 1) == 0:
                outcome(opened(kind, root), tmp_path)
        path.write_bytes(whole)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("variant", [0, -1])
def test_empty_folders_and_files_in_their_place(kind, variant, tmp_path):
    reader = READERS[kind]
    options = {"variant": reader.VARIANTS[variant]} if reader.VARIANTS else {}
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_bytes(OTHER.bytes(100))
    for path in (tmp_path / "empty", tmp_path / "file", tmp_path / "absent"):
        scenes, said = outcome(reader(path=path, **options), tmp_path)
        assert not scenes
        assert len(said) == 1


def test_stacks(tmp_path):
    path = ddff_stacks(tmp_path)
    whole = path.read_bytes()
    damaged = [whole[:length] for length in (0, 9, len(whole) // 2, len(whole) - 1)] + [OTHER.bytes(5000)]
    for data in damaged:
        path.write_bytes(data)
        stack_outcome(path)
    path.write_bytes(whole)
    for _ in other_hdf5(path):
        stack_outcome(path)


def stack_outcome(path):
    said = ""
    try:
        reader = Ddff12(path=path)
        for i in range(len(reader)):
            stack, focus, depth = reader.stack(i)
            assert stack.dtype == np.uint8
            assert len(stack) == len(focus)
            assert depth is None or depth.shape == stack.shape[1:3]
    except InputError as error:
        said = str(error)
    assert not said or (str(path) in said and said.endswith("."))


def test_raw_depth_that_is_all_unknown(tmp_path):
    root = nyu_raw(tmp_path, np.full((480, 640), 2047))
    scenes, said = outcome(READERS["nyu-raw"](path=root), tmp_path)
    assert not scenes
    assert "no valid depth" in said[0]
