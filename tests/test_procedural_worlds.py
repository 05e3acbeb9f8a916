"""Procedural scenes: worlds, lamps, photographs, pools of assets, and their keys in recipes."""

import hashlib
import shutil

import cv2
import numpy as np
import pytest
from conftest import recipe_data

from defocal import InputError
from defocal.pipelines.shipped import find_recipe
from defocal.synth import Recipe, textures, things
from defocal.synth.light import srgb_to_linear
from defocal.synth.photos import SIDE, Photographs
from defocal.synth.procedural import RADIANCE, procedural_scene
from defocal.synth.procedural_kernels import TILE_TEXELS
from defocal.synth.samples import SampleMaker

SIZE, DEPTH = (96, 128), (0.5, 8.0)
RANGES = {"indoor": (0.7, 10.0), "outdoor": (0.5, 80.0), "macro": (0.1, 1.0)}


def scene(sample=0, seed=7, size=SIZE, depth=DEPTH, **more):
    return procedural_scene(seed, sample, size, depth, **more)


def digest(layers):
    found = hashlib.sha256()
    for patch in layers.patches:
        found.update(patch.rgba.tobytes())
        found.update(np.float32(patch.depth).tobytes())
        found.update(repr((patch.top, patch.left)).encode())
    return found.hexdigest()


@pytest.mark.parametrize("world", RANGES)
def test_worlds_fill_their_depths(world):
    near, far = RANGES[world]
    z = np.concatenate([scene(k, depth=(near, far), world=world).flatten().depth.ravel() for k in range(8)])
    assert z.min() >= np.float32(near)
    assert z.max() <= np.float32(far)
    share = np.histogram(z, np.geomspace(near, far, 4))[0] / z.size
    assert (share > 0.1).all(), share


def test_an_outdoor_sky_is_at_the_farthest_depth():
    skies = [scene(k, depth=(1.0, 80.0), objects=(0, 0), world="outdoor").flatten().depth for k in range(4)]
    assert any((depth[0] == 80).all() for depth in skies)
    assert all((depth[-1] < 20).all() for depth in skies)


@pytest.mark.parametrize("world", RANGES)
def test_things_stand_hang_or_lie_on_something(world, monkeypatch):
    """Only where a scene is too crowded does a thing end up in the air."""
    from defocal.synth import procedural
    from defocal.synth.placing_kernels import D1, FREE, LIE, LIFT, MODE, STAND, TOP, relation

    kept = []
    monkeypatch.setattr(
        procedural, "arrange", lambda *given: kept.append((things.arrange(*given), given[2])) or kept[-1][0]
    )
    for sample in range(10):
        scene(sample, depth=RANGES[world], world=world)
    prisms = [(thing.prism, room) for found, room in kept for thing in found]
    assert np.mean([prism[MODE] == FREE for prism, _ in prisms]) < 0.06
    for prism, room in prisms:
        if prism[MODE] in (STAND, LIE, LIFT):
            assert prism[D1] == room.floor
        if prism[MODE] == TOP:
            assert prism[D1] < room.floor
    for found, _ in kept:
        free = [thing.prism for thing in found if thing.prism[MODE] != FREE]
        assert all(relation(one, other) != 9 for k, one in enumerate(free) for other in free[:k])


def test_the_eye_sees_a_box_where_it_is():
    """The painted depth of a box is that of the nearest face by plain geometry."""
    from defocal.synth.shapes import circle_points
    from defocal.synth.solid_kernels import BALL, BOX, PART, outline
    from defocal.synth.solid_paint_kernels import paint_solid

    axes, origin, focal = np.array([[0.8, 0, 0.6], [-0.6, 0, 0.8], [0, 1, 0]]), np.array([0.1, 0.5, 3.0]), 100.0
    parts = np.zeros((2, PART))
    parts[0, :7] = BOX, -0.5, -0.4, -1.0, 0.5, 0.4, 0.0
    parts[1, :7] = BALL, 0.0, 0.0, -1.3, 0.3, 0.3, 0.3
    boxes, starts = np.empty((2, 4)), np.empty(3, np.int64)
    edges = outline(parts, axes, origin, focal, circle_points(np.arange(48) * (2 * np.pi / 48)), boxes, starts)
    assert len(edges) == starts[-1]
    height, width = 120, 120
    depth = np.empty((height, width), np.float32)
    light = np.array([0, 0, 0, 0, 0, 1.0, 1.0, 1 / 100, 1 / 0.1])
    tiles = np.full(TILE_TEXELS, 100, np.uint8)
    paint_solid(
        np.ones((height, width), np.float32), -60.0, -60.0, parts, boxes, axes, origin, focal,
        np.array([[100.0, 1.0, 0.0, 0.0]]), np.zeros((1, 3), np.int64), light, np.full(768, 0.5, np.float32), tiles,
        np.zeros(0, np.uint16), depth,
    )  # fmt: skip
    checked = 0
    for row in range(0, height, 7):
        for column in range(0, width, 7):
            ray = axes @ [(column - 60) / focal, (row - 60) / focal, 1.0]
            eye = -axes @ origin
            z = np.arange(2.0, 5.0, 0.002)
            t, s, e = eye[:, None] + z * ray[:, None]
            box = (abs(t) <= 0.5) & (abs(s) <= 0.4) & (e >= -1) & (e <= 0)
            hits = z[box | (t * t + s * s + (e + 1.3) ** 2 <= 0.09)]
            if hits.size:
                checked += 1
                assert depth[row, column] == pytest.approx(hits[0], abs=0.004)
    assert checked > 20


def test_no_light_is_brighter_than_white_unless_lamps_are_asked_for():
    plain = scene(1)
    assert max(p.rgba.max() for p in plain.patches) <= 1
    lit = scene(1, lights=(30, 30))
    assert len(scene(1, lights=(30, 30), objects=(5, 5)).patches) == 36
    lamps = [p for k in range(4) for p in scene(k, lights=(30, 30), objects=(4, 4)).patches if p.rgba.max() > 1]
    assert len(lamps) > 100
    radiance = np.array([(p.rgba[..., :3] / np.maximum(p.rgba[..., 3:], 1e-6)).max() for p in lamps])
    assert RADIANCE[0] * 0.99 <= radiance.min() < 4
    assert 100 < radiance.max() <= RADIANCE[1] * 1.01
    assert np.std(np.log(radiance)) > 1
    assert digest(lit) == digest(scene(1, lights=(30, 30)))
    assert all(np.sqrt((p.rgba[..., 3] > 0).sum()) < 0.1 * SIZE[0] for p in lamps)


def test_lamps_become_bokeh_balls():
    from defocal.synth import ThinLens, render

    lens = ThinLens(focal_length=0.05, f_number=1.4, focus_distance=1.0, pixel_pitch=100e-6)
    lit = scene(3, depth=(0.9, 8.0), lights=(40, 40), objects=(2, 2), margin=16)
    sharp, blurred = lit.flatten().aif, render(lit, lens)
    assert sharp.max() > 20
    # Spread over the disk of the aperture a lamp still outshines white, over a larger area.
    assert (blurred.max(-1) > 1).sum() > 1.5 * (sharp.max(-1) > 1).sum()


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """Twelve files of several formats and sizes, some in subfolders."""
    folder = tmp_path_factory.mktemp("photos") / "first"
    rng = np.random.default_rng(0)
    sizes = [(40, 64), (600, 500), (31, 33), (512, 512), (90, 30)]
    for k in range(12):
        name = ["a{}.png", "b{}.jpg", "sub/c{}.JPEG", "sub/deep/d{}.tif"][k % 4].format(k)
        image = rng.integers(0, 256, (*sizes[k % 5], 3)).astype(np.uint8)
        if name.endswith(".tif"):
            image = image.astype(np.uint16) * 257
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(cv2.imencode(path.suffix.lower().replace("jpeg", "jpg"), image)[1].tobytes())
    (folder / "notes.txt").write_text("no photograph")
    return folder


def test_photographs_are_textures_wherever_their_folder_lies(photographs, tmp_path):
    with_photos = scene(2, textures=photographs)
    assert digest(with_photos) != digest(scene(2))
    moved = tmp_path / "another place"
    for path in sorted(photographs.rglob("*.*"), reverse=True):
        target = moved / path.relative_to(photographs)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    assert digest(scene(2, textures=str(moved))) == digest(with_photos)
    wide = scene(2, textures=photographs, margin=9)
    np.testing.assert_array_equal(wide.flatten().aif, with_photos.flatten().aif)


def test_photographs_are_decoded_and_mipmapped_in_linear_light(tmp_path):
    image = np.zeros((1024, 1024, 3), np.uint8)
    image[::2] = 255
    image[:, :, 2] = 128  # red, stored as BGR
    (tmp_path / "lines.png").write_bytes(cv2.imencode(".png", image)[1].tobytes())
    texels, coarse = Photographs.of(tmp_path).texels(0)
    assert texels.shape == (TILE_TEXELS, 3)
    assert coarse == 1.0
    # Half of the lines are white: half the light, which is not the code 128.
    np.testing.assert_allclose(texels[:, 1:] / 65535, 0.5, atol=1e-4)
    np.testing.assert_allclose(texels[:, 0] / 65535, srgb_to_linear(128 / 255), atol=1e-4)
    assert not texels.flags.writeable
    small = np.full((100, 50, 3), 200, np.uint8)
    (tmp_path / "small.png").write_bytes(cv2.imencode(".png", small)[1].tobytes())
    found = Photographs.of(tmp_path)
    texels, coarse = found.texels(found.names.index("small.png"))
    assert coarse == SIDE / 50
    np.testing.assert_allclose(texels / 65535, srgb_to_linear(200 / 255), atol=1e-4)


def test_an_image_is_resampled_by_exact_areas():
    from defocal.synth.photo_kernels import resampled

    image = np.random.default_rng(1).integers(0, 256, (30, 42, 3)).astype(np.uint8)
    table = (np.arange(256) * 257).astype(np.uint16)
    out = np.empty((12, 12, 3), np.uint16)
    resampled(image, table, 12, out)
    square = image[:, 6:36].astype(np.float64) * 257
    fine = np.repeat(np.repeat(square, 2, 0), 2, 1)
    np.testing.assert_allclose(out, fine.reshape(12, 5, 12, 5, 3).mean((1, 3)), atol=0.6)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda folder: folder / "absent", "there is no folder"),
        (lambda folder: folder, "holds no photographs"),
    ],
)
def test_a_folder_without_photographs_is_refused(make, words, tmp_path):
    with pytest.raises(InputError, match=words) as error:
        scene(textures=make(tmp_path))
    assert str(error.value).endswith(".")
    assert "\n" not in str(error.value)


def test_a_broken_photograph_is_named(tmp_path):
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff nothing")
    with pytest.raises(InputError, match=r"broken\.jpg"):
        scene(textures=tmp_path)


def test_each_photograph_belongs_to_one_split(photographs):
    found = Photographs.of(photographs)
    train, test = found.part(0.0, 0.75, "train"), found.part(0.75, 1.0, "test")
    assert sorted(train.names + test.names) == sorted(found.names)
    assert len(train.names) == 9
    with pytest.raises(InputError, match=r"too few photographs \(12\), none is left for the split 'tiny'"):
        found.part(0.0, 0.01, "the split 'tiny'")


def watched(monkeypatch):
    """Record digests of all outlines that are drawn and of all solids' proportions."""
    seen = set()

    def watch(make):
        def made(*given):
            out = make(*given)
            seen.add(
                hashlib.sha256(np.round(np.concatenate([np.ravel(part) for part in out]), 6).tobytes()).hexdigest()
            )
            return out

        return made

    kinds = tuple(
        kind._replace(solid=watch(kind.solid)) if kind.solid else kind._replace(draw=watch(kind.draw))
        for kind in things.KINDS
    )
    monkeypatch.setattr(things, "KINDS", kinds)
    return seen


def test_splits_share_no_tile_no_photograph_and_no_shape(monkeypatch, photographs):
    shapes, files = {}, {}
    for name, share in (("train", (0.0, 0.6)), ("test", (0.6, 1.0))):
        with monkeypatch.context() as patch:
            shapes[name], files[name] = watched(patch), set()
            read = Photographs.texels
            patch.setattr(
                Photographs, "texels", lambda self, k, n=name, r=read: files[n].add(self.names[k]) or r(self, k)
            )
            for sample in range(40):
                scene(sample, size=(48, 64), assets=name, share=share, textures=photographs)
    assert min(map(len, shapes.values())) > 1000
    assert not shapes["train"] & shapes["test"]
    assert len(files["train"]) > 4
    assert len(files["test"]) > 3
    assert not files["train"] & files["test"]
    tiles = [
        {hashlib.sha256(tile.tobytes()).digest() for tile in textures.atlas(7, things.shapes.pool_of(name))}
        for name in ("train", "test")
    ]
    assert not tiles[0] & tiles[1]


def test_the_maker_gives_each_split_its_assets(photographs):
    data = recipe_data(scenes={"textures": str(photographs)})
    maker = SampleMaker(Recipe.parse(data))
    sizes = {}
    for sample in range(maker.count):
        split = maker.split(sample)
        sizes[split] = sizes.get(split, 0) + 1
        begin = {"train": (0.0, 0.7), "test": (0.7, 1.0)}[split]
        expected = procedural_scene(
            3, sample, (40, 56), (0.8, 4.0), (3, 5), maker.margin, textures=photographs, assets=split, share=begin
        )
        assert digest(maker.scene(sample)) == digest(expected)
    assert set(sizes) == {"train", "test"}
    print_before = maker.fingerprint(0)
    assert print_before != maker.source(0)


def test_new_keys_at_their_defaults_change_no_hash():
    plain = Recipe.parse(recipe_data())
    written = Recipe.parse(recipe_data(scenes={"world": "indoor", "lights": [0, 0]}))
    assert plain.hash() == written.hash()
    other = [recipe_data(scenes={"world": "macro"}), recipe_data(scenes={"lights": [0, 3]})]
    assert len({plain.hash(), *(Recipe.parse(data).hash() for data in other)}) == 3
    assert Recipe.parse(recipe_data(scenes={"textures": "x"})).to_toml().count("textures") == 1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"world": "moon"}, "scenes.world"),
        ({"lights": [3, 2]}, "must not exceed"),
        ({"lights": [0, 501]}, "500"),
        ({"lights": [0.5, 2]}, "integer"),
        ({"textures": ""}, "must name a folder"),
        ({"textures": 3}, "string"),
    ],
)
def test_bad_keys_are_named(change, words):
    with pytest.raises(InputError, match=words):
        Recipe.parse(recipe_data(scenes=change))


def test_the_folder_of_photographs_is_relative_to_the_recipe(tmp_path, photographs):
    text = Recipe.parse(recipe_data(scenes={"textures": "photos"})).to_toml()
    (tmp_path / "mine.toml").write_text(text)
    assert find_recipe(str(tmp_path / "mine.toml")).scenes.textures == str(tmp_path / "photos")


@pytest.mark.parametrize(
    ("change", "words"),
    [({"world": "moon"}, "world"), ({"lights": (2, 1)}, "lights"), ({"share": (0.5, 0.5)}, "share")],
)
def test_bad_arguments_are_named_in_one_sentence(change, words):
    with pytest.raises(InputError, match=words) as error:
        scene(**change)
    assert str(error.value).endswith(".")


@pytest.mark.parametrize("size", [(16, 16), (480, 20), (20, 480)])
@pytest.mark.parametrize("depth", [(1.0, 1.001), (1e-3, 1e4), (2.0, 3.0)])
@pytest.mark.parametrize("world", RANGES)
def test_odd_sizes_and_ranges_are_served(size, depth, world):
    for fov in (0.05, 1.0, 2.5):
        made = scene(1, size=size, depth=depth, world=world, lights=(2, 4), fov=fov, objects=(10, 30))
        for patch in made.patches:
            z = np.broadcast_to(np.float32(patch.depth), patch.rgba.shape[:2])[patch.rgba[..., 3] > 0]
            assert (z >= np.float32(depth[0])).all()
            assert (z <= np.float32(depth[1])).all()
            assert np.isfinite(patch.rgba).all()
            assert patch.top >= 0
            assert patch.left >= 0
            assert patch.top + patch.rgba.shape[0] <= size[0]
            assert patch.left + patch.rgba.shape[1] <= size[1]


def test_very_many_objects_find_a_place():
    assert len(scene(0, size=(64, 64), objects=(400, 400)).patches) == 401
