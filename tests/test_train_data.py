"""The dataset over stores: what is read is what is stored, and what does not go together is refused."""

import contextlib
import json
import multiprocessing
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from stores import STACK, noise_store

from defocal import InputError
from defocal.synth import open_store
from defocal.train.cameras import Camera, check_cameras
from defocal.train.data import StoreDataset
from defocal.train.reading import DirectReader, Layout, TensorReader, ZarrReader
from defocal.train.settings import CameraSettings, DataSettings

ARRAYS = ("capture", "depth", "coc")


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """70 samples, five in a shard, 49 of them of the training split."""
    return noise_store(tmp_path_factory.mktemp("noise") / "one")


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    arrays = ["aif", "depth", "valid", "coc", "stack", "dual"]
    return noise_store(tmp_path_factory.mktemp("noise") / "stack", stack=STACK, output={"arrays": arrays, "bits": 16})


def same(tensor, array):
    return tensor.dtype == torch.from_numpy(np.empty(0, array.dtype)).dtype and np.array_equal(
        tensor.numpy(), array, equal_nan=array.dtype.kind == "f"
    )


@pytest.mark.parametrize("backend", ["auto", "direct", "zarr", "tensorstore"])
def test_samples_are_what_the_store_holds_in_the_order_that_was_asked_for(store, stack, backend):
    if backend == "tensorstore":
        pytest.importorskip("tensorstore")
    for path, arrays in ((store, ARRAYS), (stack, ("stack", "depth", "valid", "focus", "intrinsics", "pose", "dual"))):
        data, held = StoreDataset(path, "train", arrays, backend=backend), open_store(path)
        wanted = [3, 0, 48, 17, 18, 19, 3, 40]
        for sample, row in zip(data.__getitems__(wanted), wanted, strict=True):
            expected = held.sample("train", row)
            assert all(same(sample[name], expected[name]) for name in arrays)
            assert (sample["index"], sample["store"]) == (row, 0)
        assert same(data[-1][arrays[0]], held.sample("train", 48)[arrays[0]])
        assert data.locate(48) == (str(path), "train", 48)


def test_all_ways_to_read_give_the_same_numbers(store):
    """The direct way is kept only as long as it equals zarr's, chunks that are not stored included."""
    array = open_store(store).array("train", "depth")
    layout = Layout.of(array)
    readers = [DirectReader(layout), ZarrReader(array)]
    with contextlib.suppress(ImportError):
        readers.append(TensorReader(layout.folder))
    rows = np.random.default_rng(0).permutation(49).tolist()
    read = []
    for one in readers:
        out = np.zeros((49, 40, 56), np.float32)
        one.read(rows, list(out))
        read.append(out)
    assert all(np.array_equal(read[0], other, equal_nan=True) for other in read[1:])
    np.testing.assert_array_equal(read[0][rows.index(7)], array[7])


def test_a_chunk_that_is_not_stored_is_fill_value(tmp_path):
    import zarr

    array = zarr.create_array(
        tmp_path / "x", shape=(4, 3, 2), dtype="f4", chunks=(1, 3, 2), shards=(4, 3, 2), fill_value=np.nan,
        compressors=zarr.codecs.BloscCodec(typesize=4),
    )  # fmt: skip
    array[1:2] = 7.0
    out = np.zeros((2, 3, 2), np.float32)
    DirectReader(Layout.of(zarr.open_array(tmp_path / "x", mode="r"))).read([0, 1], list(out))
    assert np.isnan(out[0]).all()
    assert (out[1] == 7).all()


@pytest.mark.parametrize("change", [{"shards": None}, {"compressors": None}, {"chunks": (2, 3, 2)}, {"order": "F"}])
def test_other_layouts_are_left_to_zarr(tmp_path, change):
    import zarr

    options = {"chunks": (1, 3, 2), "shards": (4, 3, 2), "compressors": zarr.codecs.BloscCodec(typesize=4)}
    filters = {"filters": zarr.codecs.TransposeCodec(order=(0, 2, 1))} if change.pop("order", None) else {}
    array = zarr.create_array(tmp_path / "x", shape=(4, 3, 2), dtype="f4", **{**options, **change}, **filters)
    assert Layout.of(array) is None


def test_several_stores_are_one_after_the_other(store, tmp_path):
    other = noise_store(tmp_path / "two", count=20, seed=9)
    data = StoreDataset([store, other], "train", ("capture",))
    second = open_store(other).array("train", "capture").shape[0]
    assert len(data) == 49 + second
    batch = data.__getitems__([50, 2, 49, 0]).batch
    assert batch["store"].tolist() == [1, 0, 1, 0]
    assert same(batch["capture"][0], open_store(other).sample("train", 1)["capture"])
    assert same(batch["capture"][1], open_store(store).sample("train", 2)["capture"])
    assert data.shards == [5] * 9 + [4] + [2] * (second // 2) + [1] * (second % 2)
    with pytest.raises(IndexError, match="no sample"):
        data[len(data)]


def test_limit_and_subset(store):
    assert len(StoreDataset(store, "train", ("capture",), limit=7)) == 7
    data = StoreDataset(store, "train", ("capture",), subset=["procedural/00000*", "procedural/000011"])
    sources = open_store(store).sources("train")
    kept = [row for row, source in enumerate(sources) if source[-6:-1] == "00000" or source.endswith("11")]
    assert [data.locate(i)[2] for i in range(len(data))] == kept
    assert sum(data.shards) == len(data)
    with pytest.raises(InputError, match="matches subset"):
        StoreDataset(store, "train", ("capture",), subset=["kitchen*"])


def test_valid_is_true_where_a_store_has_none(stack, tmp_path):
    changes = {"stack": STACK, "output": {"arrays": ["stack", "depth"], "bits": 16}}
    other = noise_store(tmp_path / "two", count=5, seed=9, **changes)
    data = StoreDataset([stack, other], "train", ("stack", "depth"))
    valid = data.__getitems__([0, 49]).batch["valid"]
    assert same(valid[0], open_store(stack).sample("train", 0)["valid"])
    assert valid[1].all()


def test_lenses_of_samples_are_those_that_were_drawn(tmp_path):
    def check(path, data):
        held = open_store(path)
        for row in range(3):
            lens = held.recipe.as_drawn(held.sample("train", row)["drawn"].tolist()).lens
            expected = [lens.focal_length, lens.f_number, lens.focus_distance, lens.pixel_pitch]
            np.testing.assert_allclose(data[row]["lens"], expected, rtol=1e-6)

    camera = {"f_number": {"uniform": [2.0, 8.0]}, "focus_distance": {"inverse-uniform": ["1 m", "3 m"]}}
    drawn = noise_store(tmp_path / "drawn", count=5, camera=camera)
    check(drawn, StoreDataset(drawn, "train", ("capture", "lens")))
    fixed = noise_store(tmp_path / "fixed", count=5)
    np.testing.assert_allclose(StoreDataset(fixed, "train", ("lens",))[0]["lens"], [0.05, 2.0, 1.6, 2e-4])


def test_it_is_pickled_without_handles_and_reads_after_a_fork(store):
    for backend in ("auto", "zarr"):
        data = StoreDataset(store, "train", ("capture",), backend=backend)
        first = data[0]["capture"]
        again = pickle.loads(pickle.dumps(data))
        assert not again._readers[1]
        assert torch.equal(again[0]["capture"], first)
        with multiprocessing.get_context("fork").Pool(1) as pool:
            assert np.array_equal(pool.apply(_read, (data,)), first)


def _read(data):
    return data[0]["capture"].numpy()


@pytest.mark.parametrize(
    ("arrays", "split", "words"),
    [
        (("stack",), "train", "has no array 'stack'.*generate it with 'stack' in output.arrays"),
        (("capture",), "val", "has no split 'val'; it has train, test"),
    ],
)
def test_what_is_missing_is_named(store, arrays, split, words):
    with pytest.raises(InputError, match=words) as caught:
        StoreDataset(store, split, arrays)
    assert str(store) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_store_that_is_not_one_is_refused(store, tmp_path):
    with pytest.raises(InputError, match="no store is given"):
        StoreDataset([], "train", ("capture",))
    with pytest.raises(InputError, match="there is no dataset"):
        StoreDataset(tmp_path / "none", "train", ("capture",))
    copy = tmp_path / "copy"
    shutil.copytree(store, copy)
    (copy / "_commit").mkdir()
    with pytest.raises(InputError, match="unfinished: run `defocal resume"):
        StoreDataset([store, copy], "train", ("capture",))


def test_files_that_are_damaged_or_missing_are_named(store, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(store, copy)
    path = copy / "train.zarr/capture/c/0/0/0/0"
    content = path.read_bytes()
    damages = {
        "cut": content[:-1], "short": b"xy", "index": content[:-20] + b"\x01" + content[-19:],
        "chunk": b"\x00" * 64 + content[64:],
    }  # fmt: skip
    for damage in damages.values():
        path.write_bytes(damage)
        with pytest.raises(InputError, match="c/0/0/0/0 is damaged"):
            StoreDataset(copy, "train", ("capture",), backend="direct")[0]
    path.unlink()
    with pytest.raises(InputError, match="is damaged"):
        StoreDataset(copy, "train", ("capture",))[0]


def test_stores_of_other_sizes_and_encodings_do_not_mix(store, tmp_path):
    small = noise_store(tmp_path / "small", count=3, scenes={"size": [40, 48]})
    with pytest.raises(InputError, match=r"is 40 x 48 x 3 uint8 .srgb. and that of the first store 40 x 56 x 3"):
        StoreDataset([store, small], "train", ("capture",))
    linear = noise_store(tmp_path / "linear", count=3, output={"encoding": "linear"})
    with pytest.raises(InputError, match=r"\(linear\)"):
        StoreDataset([store, linear], "train", ("capture",))
    assert len(StoreDataset([store, linear], "train", ("depth",)))


def test_cameras_that_differ_are_refused(store, tmp_path):
    other = noise_store(tmp_path / "other", count=3, camera={"f_number": 4.0})
    settings = DataSettings()
    with pytest.raises(InputError, match=r"f_number is 2 in .*one and 4 in .*other: .*mixed_cameras = true"):
        StoreDataset.of([store, other], settings)
    mixed = DataSettings.parse({"mixed_cameras": True, "extra": ["lens"]})
    assert StoreDataset.of([store, other], mixed).__getitems__([0, 49]).batch["lens"][:, 1].tolist() == [2, 4]
    wanted = DataSettings.parse({"camera": {"focal_length": "35 mm"}})
    with pytest.raises(InputError, match=r"camera.focal_length is 35 mm in the configuration and 50 mm in"):
        StoreDataset.of(store, wanted)
    with pytest.raises(InputError, match=r"pixel_pitch is 5.6 um in the configuration and 200 um"):
        StoreDataset.of(store, DataSettings.parse({"camera": {"pixel_pitch": "5.6 um"}}))
    with pytest.raises(InputError, match=r"psf is gaussian in the configuration and disk"):
        StoreDataset.of(store, DataSettings.parse({"camera": {"psf": "gaussian"}}))
    right = {"camera": {"focal_length": "50 mm", "f_number": 2.0, "focus_distance": "1.6 m", "psf": "disk"}}
    assert StoreDataset.of(store, DataSettings.parse(right))


def test_cameras_differ_by_what_they_draw_their_psfs_and_their_stacks(store, stack, tmp_path):
    cameras = {"one": StoreDataset(store, "train", ("capture",)).cameras[str(store)]}
    drawn = noise_store(tmp_path / "drawn", count=3, camera={"f_number": {"uniform": [2.0, 4.0]}})
    wide = noise_store(tmp_path / "wide", count=3, psf={"kind": "gaussian", "sigma_per_coc": 0.3})
    narrow = noise_store(tmp_path / "narrow", count=3, psf={"kind": "gaussian"})
    for path, key in ((drawn, "f_number"), (wide, "psf.kind"), (stack, "focus_distance")):
        other = Camera.of(open_store(path).recipe)
        with pytest.raises(InputError, match=f"^{key} is "):
            check_cameras({**cameras, "other": other}, CameraSettings())
        check_cameras({**cameras, "other": other}, CameraSettings(), mixed=True)
    with pytest.raises(InputError, match=r"psf.sigma_per_coc is"):
        check_cameras({str(p): Camera.of(open_store(p).recipe) for p in (wide, narrow)}, CameraSettings())
    with pytest.raises(InputError, match=r"f_number is 2 in the configuration and .'uniform'"):
        check_cameras({"x": Camera.of(open_store(drawn).recipe)}, CameraSettings(f_number=2.0))


def test_a_camera_survives_a_checkpoint(stack):
    camera = Camera.of(open_store(stack).recipe)
    again = Camera.of_dict(json.loads(json.dumps(camera.to_dict())))
    check_cameras({"store": camera, "checkpoint": again}, CameraSettings())


def test_crops_larger_than_the_pictures_are_refused(store):
    with pytest.raises(InputError, match=r"crop = \[41, 8\] is larger .* \[40, 56\]"):
        StoreDataset.of(store, DataSettings.parse({"crop": [41, 8]}))


def test_a_backend_that_is_not_installed_is_named(store, monkeypatch):
    monkeypatch.setattr("defocal.train.reading.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install 'defocal\[fast\]'"):
        StoreDataset(store, "train", ("capture",), backend="tensorstore")


def test_training_data_are_read_without_what_makes_them(store):
    """The reader of stores and the trainer run where numba, Dask, OpenCV and SciPy are not installed."""
    code = f"""
import blocked
from defocal.pipelines.shipped import find_recipe, shipped
from defocal.train.data import StoreDataset
from defocal.train.loader import make_loader
from defocal.train.order import ShardShuffle
data = StoreDataset({str(store)!r}, "train", ("capture", "depth"))
print(len(next(iter(make_loader(data, ShardShuffle(data.shards, 8), workers=1)))["index"]))
print(all(find_recipe(name).lens for name in shipped()))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=_with_tests_on_the_path(), check=False
    )
    assert done.stdout.split() == ["8", "True"], done.stderr


def _with_tests_on_the_path():
    import os

    paths = [str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
