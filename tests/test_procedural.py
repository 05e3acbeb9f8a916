import math
from itertools import pairwise

import numpy as np
import pytest

from defocal import InputError
from defocal.synth import textures
from defocal.synth.procedural import procedural_scene
from defocal.synth.procedural_kernels import cover
from defocal.synth.scene import LayeredScene

SIZE, DEPTH = (120, 160), (0.5, 8.0)


def scene(sample=0, seed=7, size=SIZE, depth=DEPTH, **more) -> LayeredScene:
    return procedural_scene(seed, sample, size, depth, **more)


def flatten(layers):
    """Composite the slow and obvious way: far to near, pixel rows as they come."""
    height, width = layers.frame
    image, depth = np.zeros((height, width, 3)), np.full((height, width), np.nan)
    for patch in layers.patches:
        for i in range(patch.rgba.shape[0]):
            for j in range(patch.rgba.shape[1]):
                y, x = patch.top + i, patch.left + j
                alpha = patch.rgba[i, j, 3]
                if not (0 <= y < height and 0 <= x < width) or alpha == 0:
                    continue
                image[y, x] = patch.rgba[i, j, :3] + (1 - alpha) * image[y, x]
                z = patch.depth if isinstance(patch.depth, float) else patch.depth[i, j]
                depth[y, x] = z if alpha >= 0.5 else depth[y, x]
    return image, depth


def flatten_fast(layers):
    image = np.zeros((*layers.frame, 3))
    for patch in layers.patches:
        height, width = patch.rgba.shape[:2]
        window = image[patch.top : patch.top + height, patch.left : patch.left + width]
        window[:] = patch.rgba[..., :3] + (1 - patch.rgba[..., 3:]) * window
    return image


def assert_same(a, b):
    assert len(a.patches) == len(b.patches)
    for p, q in zip(a.patches, b.patches, strict=True):
        assert (p.top, p.left) == (q.top, q.left)
        np.testing.assert_array_equal(p.rgba, q.rgba)
        np.testing.assert_array_equal(p.depth, q.depth)


@pytest.fixture(scope="module")
def scenes():
    return [scene(sample) for sample in range(8)]


def test_same_arguments_give_the_same_scene_in_any_order_and_with_a_fresh_atlas(scenes):
    assert_same(scene(5), scenes[5])
    assert_same(scene(3), scenes[3])
    textures.atlas.cache_clear()
    assert_same(scene(5), scenes[5])


def test_samples_and_seeds_differ(scenes):
    pictures = [flatten_fast(s) for s in (scenes[0], scenes[1], scene(0, seed=8))]
    for i, j in ((0, 1), (0, 2), (1, 2)):
        assert np.mean(pictures[i] != pictures[j]) > 0.9
    assert len({s.source for s in scenes}) == len(scenes)


@pytest.mark.parametrize("margin", [1, 20])
def test_the_margin_leaves_the_picture_as_it_is(margin):
    size = (48, 64)
    for sample in range(3):
        plain, wide = scene(sample, size=size), scene(sample, size=size, margin=margin)
        assert wide.frame == (48 + 2 * margin, 64 + 2 * margin)
        assert wide.size == plain.size == size
        assert len(wide.patches) == len(plain.patches)
        inner = np.s_[margin:-margin, margin:-margin]
        for one, other in zip(flatten(plain), flatten(wide), strict=True):
            np.testing.assert_array_equal(one, other[inner])
        assert wide.intrinsics == plain.intrinsics


def test_the_room_is_whole_and_behind_everything(scenes):
    for s in scenes:
        room = s.patches[0]
        assert room.rgba.shape == (*SIZE, 4)
        assert (room.rgba[..., 3] == 1).all()
        assert room.depth.shape == SIZE
        assert np.ptp(room.depth) > 0.1


@pytest.mark.parametrize("depth", [(0.5, 8.0), (0.7, 1.1), (1.0, 80.0)])
def test_depths_keep_to_the_range(depth):
    near, far = np.float32(depth)
    for sample in range(4):
        for patch in scene(sample, depth=depth, size=(64, 80)).patches:
            z = np.broadcast_to(np.float32(patch.depth), patch.rgba.shape[:2])[patch.rgba[..., 3] > 0]
            assert (z >= near).all()
            assert (z <= far).all()


def test_depths_fill_the_range(scenes):
    z = np.array([np.mean(p.depth) for s in scenes for p in s.patches[1:]])
    low, high = np.array(DEPTH)
    share = np.histogram(z, np.geomspace(low, high, 4))[0] / len(z)
    assert (share > 0.15).all(), share


def bend(patch):
    """How far inverse depth is from affine within a patch, between neighbours in full coverage, over its mean."""
    inverse = np.where(patch.rgba[..., 3] == 1, 1.0 / patch.depth.astype(np.float64), np.nan)
    steps = [np.abs(np.diff(inverse, 2, axis=axis)).ravel() for axis in (0, 1)]
    found = np.concatenate(steps)
    found = found[np.isfinite(found)]
    return found.max() / np.nanmean(inverse) if found.size else np.nan


def test_some_things_are_flat_some_slanted_and_some_have_several_faces_or_bend(scenes):
    patches = [p for s in scenes for p in s.patches[1:]]
    flat = [p for p in patches if isinstance(p.depth, float)]
    bends = np.array([bend(p) for p in patches if not isinstance(p.depth, float)])
    bends = bends[np.isfinite(bends)]
    assert len(flat) > 0.04 * len(patches)
    assert 0.15 < np.mean(bends < 2e-6) < 0.6
    assert np.mean(bends > 1e-4) > 0.3


def over(patches, frame):
    """Yield each patch with the depth of what lies behind it, NaN outside, where both are opaque."""
    nearest = np.full(frame, np.nan)
    for patch in patches:
        window = np.s_[patch.top : patch.top + patch.rgba.shape[0], patch.left : patch.left + patch.rgba.shape[1]]
        whole = patch.rgba[..., 3] == 1
        depth = np.broadcast_to(np.float64(patch.depth), whole.shape)
        yield patch, depth[whole], nearest[window][whole]
        nearest[window] = np.where(whole, depth, nearest[window])


@pytest.mark.parametrize(("world", "depth"), [("indoor", (0.5, 8.0)), ("outdoor", (0.5, 80.0)), ("macro", (0.1, 1.0))])
def test_no_layer_hides_one_that_comes_after_it_and_none_passes_through_the_room(world, depth):
    behind = total = 0
    for sample in range(12):
        s = scene(sample, size=(150, 200), depth=depth, world=world)
        room = s.patches[0].depth
        for patch, z, below in over(s.patches, s.frame):
            if patch is s.patches[0]:
                continue
            total += z.size
            behind += int((z > below * (1 + 1e-3)).sum())
            window = np.s_[patch.top : patch.top + patch.rgba.shape[0], patch.left : patch.left + patch.rgba.shape[1]]
            before = room[window][patch.rgba[..., 3] == 1]
            assert (z <= before * (1 + 2e-3)).all(), (sample, (z / before).max())
    assert behind < 1e-3 * total, behind / total


def test_object_count(scenes):
    counts = [len(s.patches) - 1 for s in scenes]
    assert all(20 <= count <= 60 for count in counts)
    assert len(set(counts)) > 3
    assert len(scene(objects=(0, 0)).patches) == 1
    assert len(scene(objects=(5, 5)).patches) == 6
    found = {len(scene(k, objects=(1, 3), size=(16, 16)).patches) - 1 for k in range(20)}
    assert found == {1, 2, 3}


def test_patches_lie_within_the_frame():
    for sample in range(4):
        s = scene(sample, margin=6)
        for p in s.patches:
            assert p.top >= 0
            assert p.left >= 0
            assert p.top + p.rgba.shape[0] <= s.frame[0]
            assert p.left + p.rgba.shape[1] <= s.frame[1]


def test_patches_take_about_one_to_two_pictures(scenes):
    areas = [sum(p.rgba[..., 3].size for p in s.patches[1:]) / math.prod(SIZE) for s in scenes]
    assert 0.7 < np.mean(areas) < 2.0
    assert max(areas) < 2.5


def test_radiance_is_premultiplied_and_within_zero_and_one(scenes):
    for patch in (p for s in scenes for p in s.patches):
        rgb, alpha = patch.rgba[..., :3], patch.rgba[..., 3:]
        assert np.isfinite(patch.rgba).all()
        assert (alpha >= 0).all()
        assert (alpha <= 1).all()
        assert (rgb >= 0).all()
        assert (rgb <= alpha).all()
    means = [flatten_fast(s).mean() for s in scenes]
    assert 0.08 < np.mean(means) < 0.35


def test_coverage_is_partial_only_at_edges():
    partial = whole = 0
    for sample in range(4):
        for patch in scene(sample, size=(240, 320)).patches[1:]:
            alpha = np.pad(patch.rgba[..., 3], 1, mode="edge")
            inner = patch.rgba[..., 3]
            neighbours = np.stack(
                [
                    alpha[1 + i : 1 + i + inner.shape[0], 1 + j : 1 + j + inner.shape[1]]
                    for i in (-1, 0, 1)
                    for j in (-1, 0, 1)
                ]
            )
            edge = (inner > 0) & (inner < 1)
            # A pixel in the middle of equal coverage lies at no edge.
            flat = np.ptp(neighbours, axis=0) < 1e-6
            assert not (edge & flat).any()
            partial, whole = partial + edge.sum(), whole + (inner == 1).sum()
    assert 0.02 < partial / whole < 0.5


def test_there_are_holes_and_thin_parts():
    from scipy import ndimage

    holed = thin = 0
    for sample in range(6):
        for patch in scene(sample, size=(240, 320)).patches[1:]:
            solid = patch.rgba[..., 3] >= 0.5
            filled = ndimage.binary_fill_holes(solid)
            holed += bool(filled.sum() - solid.sum() > 9)
            core = ndimage.binary_opening(solid, np.ones((5, 5)))
            thin += bool(solid.sum() > 30 and core.sum() < 0.3 * solid.sum())
    assert holed > 10
    assert thin > 10


def test_cover_gives_exact_areas():
    square = np.array([[1.25, 1.5, 4.25, 1.5], [4.25, 1.5, 4.25, 3.5], [4.25, 3.5, 1.25, 3.5], [1.25, 3.5, 1.25, 1.5]])
    alpha = cover(square, 6, 7)
    across, down = np.array([0, 0.75, 1, 1, 0.25, 0, 0]), np.array([0, 0.5, 1, 0.5, 0, 0])
    np.testing.assert_allclose(alpha, np.outer(down, across), atol=1e-6)
    angles = np.arange(400) * (2 * np.pi / 400)
    points = np.stack([20.3 + 11.7 * np.cos(angles), 17.9 + 11.7 * np.sin(angles)], -1)
    disc = np.concatenate([points, np.roll(points, -1, 0)], -1)
    assert cover(disc, 40, 44).sum() == pytest.approx(math.pi * 11.7**2, rel=1e-3)
    hole = 0.5 * (disc[:, [2, 3, 0, 1]] + np.tile([20.3, 17.9], 2))
    ring = cover(np.concatenate([disc, hole]), 40, 44)
    assert ring.sum() == pytest.approx(0.75 * math.pi * 11.7**2, rel=2e-3)
    assert ring[17, 20] == 0


def test_pictures_have_the_spectrum_of_natural_images():
    """Amplitude falls as frequency to about -1: photographs lie between -0.8 and -1.5."""
    size = (240, 320)
    window = np.hanning(size[0])[:, None] * np.hanning(size[1])
    fy, fx = np.fft.fftfreq(size[0])[:, None], np.fft.fftfreq(size[1])
    radius = np.hypot(fy, fx)
    bands = np.geomspace(0.01, 0.4, 16)
    total = np.zeros(15)
    for sample in range(8):
        grey = flatten_fast(scene(sample, size=size)).mean(-1)
        amplitude = np.abs(np.fft.fft2((grey / grey.mean() - 1) * window))
        total += [amplitude[(radius >= a) & (radius < b)].mean() for a, b in pairwise(bands)]
    slope = np.polyfit(np.log(np.sqrt(bands[1:] * bands[:-1])), np.log(total), 1)[0]
    assert -1.5 < slope < -0.8, slope


def test_detail_is_everywhere():
    for sample in range(4):
        grey = flatten_fast(scene(sample, size=(240, 320))).mean(-1)
        blocks = grey.reshape(15, 16, 20, 16)
        steps = np.abs(np.diff(blocks, axis=3)).mean((1, 3)) / blocks.mean((1, 3))
        assert np.quantile(steps, 0.02) > 0.015


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"seed": -1}, "seed and sample"),
        ({"sample": -2}, "seed and sample"),
        ({"size": (15, 64)}, "16 pixels"),
        ({"depth": (2.0, 2.0)}, "near"),
        ({"depth": (0.0, 2.0)}, "near"),
        ({"depth": (1.0, math.inf)}, "near"),
        ({"objects": (5, 4)}, "objects"),
        ({"objects": (-1, 4)}, "objects"),
        ({"margin": -1}, "margin"),
        ({"fov": 0.0}, "fov"),
    ],
)
def test_bad_arguments_are_named_in_one_sentence(change, words):
    with pytest.raises(InputError, match=words) as error:
        scene(**change)
    assert str(error.value).endswith(".")
    assert "\n" not in str(error.value)
