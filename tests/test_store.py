"""The store: layout, registry, digests, and what happens to what is not a store."""

import json
import shutil

import numpy as np
import pytest
import zarr
from conftest import recipe_data

from defocal import InputError
from defocal.synth import Recipe, open_store
from defocal.synth.arrays import REGISTRY, array_dims, sample_bytes, shard_samples
from defocal.synth.samples import round_mantissa
from defocal.synth.store import (
    array_digest,
    create_split,
    sample_digest,
    write_array,
)


def test_a_store_has_what_the_registry_says(tiny_store, tiny):
    store = open_store(tiny_store)
    assert store.recipe == tiny
    assert list(store.splits) == ["train", "test"]
    assert len(store) == 12
    for split in store.splits:
        for name in ("aif", "depth", "coc", "capture", "index"):
            array, spec = store.array(split, name), REGISTRY[name]
            assert array.metadata.dimension_names == array_dims(store.recipe, name)
            assert array.attrs["units"] == spec.unit
            if name != "index":
                assert array.chunks == (1, *array.shape[1:])
                assert array.shards[0] == shard_samples(tiny, (40, 56), 12)


def test_every_sample_is_in_one_split_and_split_does_not_move_with_the_count(tiny_store):
    rows = list(open_store(tiny_store).rows())
    assert sorted(index for _, _, index in rows) == list(range(12))
    from defocal.synth.samples import SampleMaker

    longer = SampleMaker(Recipe.parse(recipe_data(scenes={"count": 500})))
    assert all(longer.split(index) == split for split, _, index in rows)
    share = np.mean([longer.split(i) == "train" for i in range(500)])
    assert 0.63 < share < 0.77


def test_the_store_stands_alone_with_its_optics(tiny_store, tiny):
    group = zarr.open_group(tiny_store / "train.zarr", mode="r")
    facts = group.attrs["defocal"]
    assert facts["recipe"] == tiny.to_dict()
    assert facts["recipe_hash"] == tiny.hash()
    assert facts["versions"]["numpy"] == np.__version__
    kernels, coc = group["psf/main/kernel"][:], group["psf/main/coc"][:]
    assert kernels.shape[0] == len(coc)
    np.testing.assert_allclose(kernels.sum(axis=(1, 2, 3)), 1, atol=1e-5)


def test_arrays_agree_with_each_other(tiny_store, tiny):
    sample = open_store(tiny_store).sample("train", 0)
    depth, coc = sample["depth"], sample["coc"].astype(np.float32)
    np.testing.assert_allclose(coc, tiny.lens.coc(depth), atol=0.03)
    assert depth.min() >= 0.8 * 0.999
    assert depth.max() <= 4 * 1.001
    assert np.abs(sample["capture"].astype(int) - sample["aif"]).mean() > 1
    assert sample["aif"].dtype == sample["capture"].dtype == np.uint8


def test_a_shard_of_nothing_but_fill_value_is_written_all_the_same(tmp_path, tiny):
    """Zarr leaves such shards out by default, and a resumed run could not tell them from missing ones."""
    create_split(tmp_path / "x.zarr", tiny, (40, 56), 4, np.arange, 2, {})
    group = zarr.open_group(tmp_path / "x.zarr", mode="r+")
    write_array(group, "aif", 0, np.zeros((2, 40, 56, 3), np.uint8))
    write_array(group, "depth", 2, np.full((2, 40, 56), np.nan, np.float32))
    assert (tmp_path / "x.zarr/aif/c/0/0/0/0").exists()
    assert (tmp_path / "x.zarr/depth/c/1/0/0").exists()


def test_shards_are_sized_by_bytes_but_small_datasets_get_several(tiny):
    size = (480, 640)
    assert sample_bytes(tiny, size) == {
        "aif": 921600, "depth": 1228800, "coc": 614400, "capture": 921600, "index": 8
    }  # fmt: skip
    assert shard_samples(tiny, size, 10_000) == 96_000_000 // 1228800
    assert shard_samples(tiny, size, 64) == 4
    assert shard_samples(tiny, size, 1) == 1


def test_digests_see_dtype_shape_and_every_byte():
    a = np.arange(12, dtype=np.float32).reshape(3, 4)
    assert array_digest(a) == array_digest(a.astype(">f4")) == array_digest(np.asfortranarray(a))
    others = [a.reshape(4, 3), a.astype(np.float64), a.view(np.int32), np.nextafter(a, np.float32(99))]
    assert len({array_digest(x) for x in [a, *others]}) == 5
    assert (
        sample_digest({"a": "1", "b": "2"})
        == sample_digest({"b": "2", "a": "1"})
        != sample_digest({"a": "2", "b": "1"})
    )


def test_mantissas_are_rounded_to_the_nearest():
    rng = np.random.default_rng(0)
    x = np.exp(rng.uniform(-5, 5, 10_000)).astype(np.float32)
    rounded = round_mantissa(x, 10)
    assert (np.abs(rounded / x - 1) <= 2.0**-11).all()
    assert (rounded.view(np.uint32) & 0x1FFF == 0).all()
    special = np.array([np.nan, np.inf, 1.0, 0.0], np.float32)
    np.testing.assert_array_equal(round_mantissa(special, 10), special)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda out: shutil.rmtree(out), "there is no dataset"),
        (lambda out: [shutil.rmtree(z) for z in out.glob("*.zarr")], "holds no .zarr folder"),
        (lambda out: (out / "train.zarr/zarr.json").write_text("{"), "not a split of a defocal dataset"),
        (lambda out: (out / "train.zarr/zarr.json").unlink(), "not a split of a defocal dataset"),
        (lambda out: shutil.rmtree(out / "test.zarr/depth"), "depth is damaged"),
        (lambda out: (out / "_commit").mkdir(), "is unfinished: run `defocal resume"),
        (lambda out: (out / "samples.csv").unlink(), "is unfinished"),
        (lambda out: shutil.copytree(out / "test.zarr", out / "zz.zarr"), "not one of the recipe's splits"),
        (lambda out: (out / "test.zarr/aif/zarr.json").write_text("{}"), "aif is damaged"),
    ],
)
def test_what_is_no_store_is_refused_in_one_sentence(tiny_store, tmp_path, damage, words):
    out = tmp_path / "copy"
    shutil.copytree(tiny_store, out)
    damage(out)
    with pytest.raises(InputError, match=words) as caught:
        open_store(out)
    assert "\n" not in str(caught.value)


def test_another_format_version_is_refused(tiny_store, tmp_path):
    out = tmp_path / "copy"
    shutil.copytree(tiny_store, out)
    path = out / "train.zarr/zarr.json"
    content = json.loads(path.read_text())
    content["attributes"]["defocal"]["format"] = 99
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match="format version 99; this defocal reads version 1"):
        open_store(out)


def test_asking_for_what_is_not_there_names_what_is(tiny_store):
    store = open_store(tiny_store)
    with pytest.raises(InputError, match="no split 'val'; it has train, test"):
        store.array("val", "aif")
    with pytest.raises(InputError, match="no array 'stack'"):
        store.array("train", "stack")
