"""What recipes make of scenes from files: one size, official splits, places that stay together, what is valid."""

import os
from dataclasses import dataclass, replace

import numpy as np
import pytest

from defocal import InputError
from defocal.pipelines.generate import create, reopen, run
from defocal.pipelines.verify import verify
from defocal.synth import Recipe
from defocal.synth.camera import Intrinsics
from defocal.synth.readers import READERS
from defocal.synth.readers.base import Frame, Item, Reader, matching
from defocal.synth.samples import SampleMaker
from defocal.synth.shards import Shards
from defocal.synth.store import open_store


@dataclass(frozen=True, kw_only=True)
class Toy(Reader):
    """`<place>/<split>-<n>.npy` of depth; the split "none" is no official one."""

    TITLE = "Toy"
    PARTS = ("train", "test")
    LENS = Intrinsics(fx=40, fy=40, cx=15.5, cy=11.5)

    def _find(self):
        return [
            Item(f"{p.parent.name}/{p.stem}", (p,), p.parent.name, p.stem.split("-")[0].replace("none", ""))
            for p in matching(self.path, "*/*.npy")
        ]

    def _load(self, item):
        depth = np.load(item.files[0])
        y, x = np.indices(depth.shape)
        return Frame(np.stack([8 * x, 8 * y, x + y], -1).astype(np.uint8), depth, self.LENS)


@pytest.fixture
def toys(tmp_path, monkeypatch):
    monkeypatch.setitem(READERS, "sintel", Toy)

    def write(**places):
        for place, names in places.items():
            (tmp_path / "toys" / place).mkdir(parents=True)
            for n, name in enumerate(names):
                depth = np.linspace(1.0, 4.0, 24 * 32, dtype=np.float32).reshape(24, 32) + 0.1 * n
                depth[:, 10] = np.nan
                np.save(tmp_path / "toys" / place / f"{name}-{n}.npy", depth)
        return tmp_path / "toys"

    return write


def recipe(path, output=None, camera=None, **scenes):
    data = {
        "version": 1, "name": "toys", "seed": 3,
        "scenes": {"kind": "sintel", "path": str(path), "depth": [0.5, 10.0], **scenes},
        "camera": {
            "focal_length": 0.02, "f_number": 4.0, "focus_distance": 2.0, "pixel_pitch": 1e-4, **(camera or {}),
        },
        "output": output or {},
    }  # fmt: skip
    return Recipe.parse(data)


def splits_of(maker):
    dealt = Shards(maker)
    return {name: [maker.source(i) for i in dealt.members(name, 0, n)] for name, n in dealt.lengths.items()}


def test_official_splits_are_kept(toys):
    path = toys(a=["train", "test"], b=["train", "test"])
    plain = splits_of(SampleMaker(recipe(path)))
    assert plain == {"train": ["a/train-0", "b/train-0"], "test": ["a/test-1", "b/test-1"]}
    asked = {"splits": {"train": 0.5, "test": 0.5}}
    assert splits_of(SampleMaker(recipe(path, asked))) == plain


def test_official_training_data_can_be_divided_but_not_into_the_test_split(toys):
    path = toys(**{f"p{k}": ["train", "train", "test"] for k in range(30)})
    parts = splits_of(SampleMaker(recipe(path, {"splits": {"train": 0.6, "val": 0.2, "test": 0.2}})))
    assert list(parts) == ["train", "val", "test"]
    assert {name.split("/")[1] for name in parts["test"]} == {"test-2"}
    assert 30 < len(parts["train"]) < 56
    assert len(parts["train"]) + len(parts["val"]) == 60


def test_frames_of_one_place_are_never_in_two_splits(toys):
    path = toys(**{f"p{k}": ["none"] * 4 for k in range(40)})
    parts = splits_of(SampleMaker(recipe(path, {"splits": {"train": 0.5, "test": 0.5}})))
    places = [{name.split("/")[0] for name in names} for names in parts.values()]
    assert not places[0] & places[1]
    assert all(len(place) > 10 for place in places)


def test_a_part_alone_can_be_divided_at_will(toys):
    path = toys(**{f"p{k}": ["train", "test"] for k in range(30)})
    parts = splits_of(SampleMaker(recipe(path, {"splits": {"train": 0.5, "test": 0.5}}, part="train")))
    assert sum(map(len, parts.values())) == 30
    assert all("/train" in name for names in parts.values() for name in names)
    assert len(parts["test"]) > 5


def test_a_store_keeps_official_splits_and_what_is_valid(toys, tmp_path):
    maker = SampleMaker(recipe(toys(a=["train", "test"], b=["train"])))
    out = tmp_path / "out"
    assert not run(out, maker, create(out, maker)).failed
    store = open_store(out)
    assert list(store.splits) == ["train", "test"]
    assert "valid" in store.recipe.arrays
    for split, row, _ in store.rows():
        arrays = store.sample(split, row)
        assert arrays["valid"].dtype == bool
        expected = np.ones((24, 32), bool)
        expected[:, 10] = False
        np.testing.assert_array_equal(arrays["valid"], expected)
        np.testing.assert_array_equal(np.isnan(arrays["depth"]), ~expected)
        assert arrays["capture"].shape == (24, 32, 3)
    assert not verify(out, rerender=2).problems


def test_scenes_of_other_sizes_are_refused_or_brought_to_one(toys):
    path = toys(a=["none", "none"])
    depth = np.full((48, 80), 2.0, np.float32)
    np.save(path / "a" / "none-9.npy", depth)
    maker = SampleMaker(recipe(path))
    maker.scene(1)
    with pytest.raises(InputError, match=r"none-9\.npy has 80x48 pixels, not 32x24 .* scenes\.size = \[24, 32\]"):
        maker.scene(2)
    maker = SampleMaker(recipe(path, size=[24, 32]))
    assert [maker.scene(k).size for k in range(3)] == [(24, 32)] * 3
    assert maker.scene(2).scale == 0.5
    assert maker.scene(2).intrinsics.fx == 20
    assert SampleMaker(recipe(path, size=[24, 32], fit="crop")).scene(2).scale == 1


def test_the_pixel_pitch_of_originals_follows_the_size(toys):
    path = toys(a=["none"])
    camera = {"pixel_pitch": {"original": "50 um"}, "focal_length": {"from": "intrinsics"}}
    made = recipe(path, camera=camera, size=[16, 16])
    shot = SampleMaker(made).shot(0)
    scale = 16 / 24
    assert shot.scene.scale == pytest.approx(scale)
    assert shot.recipe.camera.pixel_pitch == pytest.approx(50e-6 / scale, rel=1e-6)
    # 40 pixels of 50 um, whatever the size.
    assert shot.recipe.camera.focal_length == pytest.approx(2e-3, rel=1e-6)
    again = Recipe.parse(made.to_dict())
    assert again.hash() == made.hash()
    assert again.draws["camera.pixel_pitch"].values == (50e-6,)


def test_only_the_pitch_can_be_that_of_originals(toys):
    with pytest.raises(InputError, match=r"camera\.f_number: only camera\.pixel_pitch"):
        recipe(toys(a=["none"]), camera={"f_number": {"original": 2}})
    with pytest.raises(InputError, match="pixel_pitch"):
        recipe("x", camera={"pixel_pitch": {"original": -1}})


def test_given_intrinsics_take_the_place_of_the_dataset_s(toys):
    path = toys(a=["none"])
    assert SampleMaker(recipe(path)).scene(0).intrinsics == Toy.LENS
    given = SampleMaker(recipe(path, intrinsics=[30.0, 30.0, 15.0, 11.0])).scene(0).intrinsics
    assert given == Intrinsics(fx=30, fy=30, cx=15, cy=11)


def test_depth_nearer_than_the_range(toys):
    path = toys(a=["none"])
    scene = SampleMaker(recipe(path, depth=[1.5, 10.0])).scene(0)
    assert np.nanmin(scene.depth) >= 1.5
    with pytest.raises(InputError, match=r"a/none-0: more than half of its depths are nearer than 3 m"):
        SampleMaker(recipe(path, depth=[3.0, 10.0])).scene(0)


def test_what_a_recipe_of_files_may_say(toys, tmp_path):
    path = toys(a=["none"])
    for scenes, words in (
        ({"variant": "best"}, "Toy has no variant 'best'"),
        ({"part": "val"}, "Toy has no part 'val'"),
        ({"rgb": "x"}, "scenes.rgb: unknown key"),
        ({"align": -1}, "scenes.align"),
        ({"fit": "stretch"}, "scenes.fit"),
        ({"listing": str(tmp_path / "none.txt")}, "does not exist"),
    ):
        with pytest.raises(InputError, match=words):
            SampleMaker(recipe(path, **scenes))


def test_younger_keys_change_no_hash():
    data = {
        "version": 1, "name": "f", "seed": 1, "scenes": {"kind": "folder", "path": "x", "depth": [1.0, 2.0]},
        "camera": {"focal_length": 0.02, "f_number": 4.0, "focus_distance": 1.5, "pixel_pitch": 1e-5},
        "output": {"arrays": ["aif", "depth", "coc", "capture"]},
    }  # fmt: skip
    assert not {"fit", "align", "group", "listing", "size"} & set(Recipe.parse(data).to_dict()["scenes"])
    data["scenes"]["align"] = 2
    assert Recipe.parse(data).to_dict()["scenes"]["align"] == 2


def test_a_file_that_breaks_on_the_way_leaves_nothing_half_read(toys, tmp_path):
    path = toys(**{f"p{k}": ["none"] for k in range(20)})
    whole = tmp_path / "whole"
    maker = SampleMaker(recipe(path))
    run(whole, maker, create(whole, maker))
    broken = path / "p7" / "none-0.npy"
    content = broken.read_bytes()
    out = tmp_path / "out"
    todo = create(out, maker)
    broken.write_bytes(content[:600])
    outcome = run(out, maker, todo)
    assert len(outcome.failed) == 1
    assert str(broken) in next(iter(outcome.failed.values()))
    assert not (out / "samples.csv").exists()
    broken.write_bytes(content)
    assert not run(out, *reopen(out)).failed
    assert verify(out).digest == verify(whole).digest


def test_what_decides_a_scene_tells_when_it_changes(toys, tmp_path):
    """An official split, and files beside those of a scene, such as a table of cameras."""
    path = toys(a=["train", "test"])
    table = tmp_path / "cameras.csv"
    table.write_text("1")

    class Listed(Toy):
        def _find(self):
            return [replace(item, beside=(table, tmp_path / "none")) for item in super()._find()]

    READERS["sintel"] = Listed
    before = [SampleMaker(recipe(path)).fingerprint(k) for k in (0, 1)]
    assert before[0].split()[:2] == ["a/test-1", "test"]
    assert before[0].endswith("absent")
    table.write_text("2")
    os.utime(table, ns=(1, 1))
    after = [SampleMaker(recipe(path)).fingerprint(k) for k in (0, 1)]
    assert before[0] != after[0]
    assert before[1] != after[1]


def test_names_that_cannot_be_printed_are_refused(toys):
    path = toys(a=["none"])
    (path / "a" / "none-0.npy").rename(path / "a" / "none-\r.npy")
    with pytest.raises(InputError, match="cannot be printed"):
        SampleMaker(recipe(path))
