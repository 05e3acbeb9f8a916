"""What all readers share, seen through a reader of scenes that tests make up."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from defocal import InputError
from defocal.synth.camera import Intrinsics
from defocal.synth.readers import READERS, read_scenes
from defocal.synth.readers.base import Frame, Item, Reader, matching
from defocal.synth.readers.depth import known, z_from_disparity, z_from_ray


@dataclass(frozen=True, kw_only=True)
class Toy(Reader):
    """Depth maps in .npy; two frames of each place; c is tested with."""

    TITLE = "Toy"
    VARIANTS = ("plain", "other")
    PARTS = ("train", "test")

    def _find(self):
        return [
            Item(p.stem, (p,), group=p.stem[0], split="test" if p.stem[0] == "c" else "train")
            for p in matching(self.path, "*.npy")
        ]

    def _load(self, item):
        depth = np.load(item.files[0])
        return Frame(np.full((*depth.shape[:2], 3), 128, np.uint8), depth)


@pytest.fixture
def toys(tmp_path):
    for name in ("a1", "a2", "b1", "b2", "c1", "c2"):
        np.save(tmp_path / f"{name}.npy", np.full((4, 6), 2.0, np.float32))
    return tmp_path


def refused(call, *words):
    with pytest.raises(InputError) as caught:
        call()
    text = str(caught.value)
    assert "\n" not in text
    assert all(str(word) in text for word in words), text


def test_scenes_are_listed_in_order_and_read(toys):
    reader = Toy(path=toys)
    assert [item.source for item in reader.scan()] == ["a1", "a2", "b1", "b2", "c1", "c2"]
    scene = reader.read(3)
    assert (scene.source, scene.size) == ("b2", (4, 6))
    assert scene.depth.dtype == np.float32
    np.testing.assert_allclose(scene.aif, ((128 / 255 + 0.055) / 1.055) ** 2.4, rtol=1e-6)


def test_a_part_alone(toys):
    assert [item.source for item in Toy(path=toys, part="test").scan()] == ["c1", "c2"]
    refused(lambda: Toy(path=toys, part="val"), "Toy", "'val'", "train, test")
    refused(lambda: Toy(path=toys, variant="best"), "Toy", "'best'", "plain, other")
    assert Toy(path=toys).variant == "plain"


def test_a_listing_chooses_and_orders(toys, tmp_path):
    listing = tmp_path / "mine.txt"
    listing.write_text("c1\n\na2\na2\n")
    assert [item.source for item in Toy(path=toys, listing=listing).scan()] == ["c1", "a2"]
    listing.write_text("c1\nz9\n")
    refused(Toy(path=toys, listing=listing).scan, listing, "1 of the list's 2", "'z9'", "'a1'")
    listing.write_text("\n")
    refused(Toy(path=toys, listing=listing).scan, listing, "empty")
    refused(Toy(path=toys, listing=tmp_path / "none.txt").scan, "none.txt", "does not exist")
    listing.write_bytes(b"\xff\xfe")
    refused(Toy(path=toys, listing=listing).scan, listing, "UTF-8")


def test_absent_and_empty_places(tmp_path):
    refused(Toy(path=tmp_path / "x").scan, tmp_path / "x", "does not exist")
    refused(Toy(path=tmp_path).scan, tmp_path, "no scene", "Toy")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (np.full((4, 6), np.nan), ["no valid depth"]),
        (np.full((4, 6), -1.0), ["24 depths that are zero or negative"]),
        (np.full((4, 6, 2), 1.0), ["6x4", "register"]),
        (np.array({"a": 1}, object), ["damaged or not what Toy has"]),
    ],
)
def test_what_cannot_be_depth_names_its_file(toys, content, words):
    np.save(toys / "b1.npy", content, allow_pickle=True)
    refused(lambda: Toy(path=toys).read(2), toys / "b1.npy", *words)


def test_any_error_of_a_library_names_the_file(toys):
    (toys / "b1.npy").write_bytes(b"\x93NUMPY")
    refused(lambda: Toy(path=toys).read(2), toys / "b1.npy", "damaged")
    (toys / "b1.npy").unlink()
    reader = Toy(path=toys)
    reader.scan()
    (toys / "b2.npy").unlink()
    refused(lambda: reader.read(2), toys / "b2.npy", "No such file")


def test_bad_radiance_is_refused(toys):
    class Bright(Toy):
        def _load(self, item):
            return Frame(np.full((4, 6, 3), np.nan, np.float32), np.ones((4, 6)))

    refused(lambda: Bright(path=toys).read(0), "a1.npy", "radiance")


def test_options_of_kinds(toys, monkeypatch):
    monkeypatch.setitem(READERS, "toy", Toy)
    assert len(read_scenes("toy", toys, part="train")) == 4
    refused(lambda: read_scenes("toy", toys, rgb="*"), "'rgb'", "variant, part, listing")
    refused(lambda: read_scenes("tay", toys), "'tay'", "toy")


def test_names_are_ordered_by_code_point(tmp_path):
    for name in ("é.npy", "B.npy", "a.npy", ".hidden.npy", "z y.npy"):
        (tmp_path / name).touch()
    (tmp_path / "folder.npy").mkdir()
    assert [path.name for path in matching(tmp_path, "*.npy")] == ["B.npy", "a.npy", "z y.npy", "é.npy"]


def test_depth_from_what_is_stored():
    np.testing.assert_array_equal(known(np.array([0, 5, 7], np.uint16), 0, 7), [np.nan, 5, np.nan])
    np.testing.assert_array_equal(known(np.array([0.1, np.nan], np.float32), np.float32(0.1)), [np.nan, np.nan])
    # A pixel 3 focal lengths right and 4 down of the principal point: its ray is sqrt(26) long at z = 1.
    lens = Intrinsics(fx=1, fy=1, cx=0, cy=0)
    z = z_from_ray(np.full((5, 4), 2 * np.sqrt(26)), lens)
    np.testing.assert_allclose(z[4, 3], 2, rtol=1e-12)
    np.testing.assert_allclose(z[0, 0], 2 * np.sqrt(26), rtol=1e-12)
    np.testing.assert_array_equal(z_from_disparity(np.array([0.0, 5.0, np.nan]), 1000, 0.1, 5), [20, 10, np.nan])
    assert z_from_disparity(np.array([0.0]), 1000, 0.1)[0] == np.inf


def test_every_reader_says_what_it_is():
    for kind, reader in READERS.items():
        assert reader.TITLE, kind
        assert reader.LICENCE, kind
        assert isinstance(reader.COMMERCIAL, bool), kind
        assert reader.__doc__, kind
        assert all(isinstance(name, str) for name in (*reader.VARIANTS, *reader.PARTS)), kind


def test_readers_keep_nothing_of_what_they_read(toys):
    reader = Toy(path=Path(toys))
    reader.read(0)
    np.save(toys / "a1.npy", np.full((4, 6), 3.0, np.float32))
    assert reader.read(0).depth[0, 0] == 3
