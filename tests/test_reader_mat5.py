"""MATLAB files of version 5 against scipy, which writes and reads them, too."""

import numpy as np
import pytest
import scipy.io
from rgbd import refusal

from defocal import InputError
from defocal.synth.readers.mat5 import read_mat


def cells(*texts):
    out = np.empty((1, len(texts)), object)
    out[0] = texts
    return out


ARRAYS = {
    "numbers": np.random.default_rng(0).normal(size=(5, 3, 4)),
    "few": np.array([[1.0, 2.0]]),
    "one": np.array([[3.0]]),
    "none": np.zeros((0, 3)),
    "single": np.arange(6, dtype=np.float32).reshape(2, 3),
    "bytes": np.arange(7, dtype=np.uint8)[:, None],
    "whole": np.array([[-5, 70000]], np.int32),
    "long": np.array([[2**40, -1]], np.int64),
    "a_name_of_more_than_four_letters": np.eye(2),
    "texts": cells("/n/fs/sun3d/data/SUNRGBD/kv1/b3dodata/img_0063", "a", "äß"),
    "record": {"inner": np.eye(2), "text": "x"},
}


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("name", [name for name in ARRAYS if name != "record"])
def test_arrays_come_as_scipy_writes_them(tmp_path, name, compressed):
    scipy.io.savemat(tmp_path / "a.mat", ARRAYS, do_compression=compressed)
    read = read_mat(tmp_path / "a.mat", name)[name]
    theirs = scipy.io.loadmat(tmp_path / "a.mat")[name]
    assert read.shape == theirs.shape
    if name == "texts":
        assert [str(text) for text in read.ravel()] == [str(cell[0]) for cell in theirs.ravel()]
    else:
        assert read.dtype == theirs.dtype
        np.testing.assert_array_equal(read, theirs)


def test_files_of_machines_with_the_high_byte_first(tmp_path):
    """Written by hand: no library writes them any more."""

    def element(kind, data):
        return kind.to_bytes(4, "big") + len(data).to_bytes(4, "big") + data + bytes(-len(data) % 8)

    body = (
        element(6, (6).to_bytes(4, "big") + bytes(4))
        + element(5, np.array([2, 3], ">i4").tobytes())
        + (0x00020001).to_bytes(4, "big") + b"xy\0\0"
        + element(4, np.arange(6, dtype=">u2").tobytes())
    )  # fmt: skip
    path = tmp_path / "a.mat"
    path.write_bytes(b"MATLAB 5.0".ljust(124) + b"\x01\x00MI" + element(14, body))
    np.testing.assert_array_equal(read_mat(path, "xy")["xy"], [[0.0, 2, 4], [1, 3, 5]])


def test_refusals(tmp_path):
    path = tmp_path / "a.mat"
    scipy.io.savemat(path, ARRAYS | {"complex": np.ones((2, 2)) * 1j})
    refusal(lambda: read_mat(path, "absent"), path, "'absent'")
    refusal(lambda: read_mat(path, "record"), path, "other arrays")
    refusal(lambda: read_mat(path, "complex"), path, "other arrays")
    refusal(lambda: read_mat(tmp_path / "b.mat", "few"), "b.mat", "No such file")
    refusal(lambda: read_mat(tmp_path, "few"), tmp_path, "directory")
    path.write_bytes(b"text".ljust(300))
    refusal(lambda: read_mat(path, "few"), path, "not a MATLAB file")


@pytest.mark.parametrize("compressed", [False, True])
def test_damage_is_noticed_or_harmless(tmp_path, compressed):
    """Sizes that a damaged file states are never believed: scipy ends the process on some of these files."""
    path, random = tmp_path / "a.mat", np.random.default_rng(2)
    arrays = {name: ARRAYS[name] for name in ("few", "texts", "single", "numbers")}
    scipy.io.savemat(path, arrays, do_compression=compressed)
    whole = path.read_bytes()
    files = [whole[:length] for length in range(0, len(whole), 13)]
    for _ in range(1500):
        data = bytearray(whole)
        for place in random.integers(124, len(whole), 3):
            data[place] = random.integers(256)
        files.append(bytes(data))
    for data in files:
        path.write_bytes(data)
        read, said = {}, ""
        try:
            read = read_mat(path, *arrays)
        except InputError as error:
            said = str(error)
        assert str(path) in said or sum(values.size for values in read.values()) < len(whole) * 50
