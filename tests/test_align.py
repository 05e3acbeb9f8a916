"""Edges of depth moved to those of the image: nearer to the truth, and nothing else changed."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rgbd import real, refusal
from scipy.ndimage import distance_transform_edt, gaussian_filter
from timing import seconds

from defocal.synth import procedural_scene
from defocal.synth.align import align_depth
from defocal.synth.light import decode, encode

NAN = np.nan


def ragged(depth, seed, most=3):
    """Depth whose edges wander by up to `most` pixels."""
    rng = np.random.default_rng(seed)

    def wander():
        noise = gaussian_filter(rng.standard_normal(depth.shape), 1.5)
        return np.clip(np.rint(1.5 * noise / noise.std()), -most, most).astype(int)

    y, x = np.indices(depth.shape)
    height, width = depth.shape
    return depth[np.clip(y + wander(), 0, height - 1), np.clip(x + wander(), 0, width - 1)]


def wrong(depth, truth):
    """Pixels on the wrong side of an edge."""
    return int((np.abs(depth / truth - 1) > 0.05).sum())


def aligned_by_hand(depth, image, reach):
    """The rule, written out, with the weighted median found by trying every depth."""
    codes = encode(image, "srgb").astype(int)
    height, width = depth.shape
    near = np.zeros(depth.shape, bool)
    for y, x in np.ndindex(depth.shape):
        for v, u in ((y, x + 1), (y + 1, x)):
            if v < height and u < width:
                a, b = sorted((depth[y, x], depth[v, u]))
                near[y, x] |= b > np.float32(1.05) * a
                near[v, u] |= b > np.float32(1.05) * a
    out = depth.copy()
    for y, x in np.ndindex(depth.shape):
        if np.isnan(depth[y, x]) or not any(np.hypot(v - y, u - x) < reach for v, u in np.argwhere(near)):
            continue
        around = [
            (v, u)
            for v, u in np.ndindex(depth.shape)
            if abs(v - y) <= reach and abs(u - x) <= reach and not np.isnan(depth[v, u])
        ]
        weight = {p: round(2**20 * np.exp(-np.abs(codes[p] - codes[y, x]).sum() / 20)) for p in around}
        main = min(
            depth[p]
            for p in around
            if 2 * sum(weight[q] for q in around if depth[q] <= depth[p]) >= sum(weight.values())
        )
        alike = [p for p in around if max(depth[p], main) <= 1.05 * min(depth[p], main)]
        if (y, x) not in alike:
            out[y, x] = depth[min(alike, key=lambda p: ((p[0] - y) ** 2 + (p[1] - x) ** 2, p))]
    return out


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), reach=st.integers(1, 3))
def test_it_equals_the_slow_twin(seed, reach):
    rng = np.random.default_rng(seed)
    depth = rng.choice(np.array([1, 1.02, 2, 2, 5, NAN], np.float32), (9, 11))
    image = rng.choice(np.array([0.1, 0.12, 0.6], np.float32), (9, 11, 3))
    np.testing.assert_array_equal(align_depth(depth, image, reach), aligned_by_hand(depth, image, reach))


def test_ragged_edges_of_scenes_come_back():
    """About half of the pixels on the wrong side of an edge return to theirs; the others have colours like both."""
    before = after = 0
    for sample in range(6):
        scene = procedural_scene(7, sample, (240, 320), (0.7, 8.0), objects=(5, 12)).flatten()
        depth = ragged(scene.depth, sample)
        before += wrong(depth, scene.depth)
        after += wrong(align_depth(depth, scene.aif, 5), scene.depth)
    assert before > 3000
    assert after < 0.55 * before, (before, after)


def test_a_card_before_a_wall_comes_back_but_for_its_corners():
    truth = np.full((60, 80), 4, np.float32)
    truth[15:45, 20:60] = 1
    image = np.where(truth[..., None] == 1, np.float32([0.6, 0.2, 0.1]), np.float32([0.2, 0.25, 0.3]))
    depth = ragged(truth, 1)
    assert wrong(depth, truth) > 150
    assert wrong(align_depth(depth, image, 4), truth) < 0.1 * wrong(depth, truth)


def test_straight_edges_stay_though_the_image_shows_none():
    depth = np.full((40, 50), 4, np.float32)
    depth[:, 20:] = 1
    np.testing.assert_array_equal(align_depth(depth, np.full((40, 50, 3), 0.2, np.float32), 3), depth)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), reach=st.integers(1, 5))
def test_nothing_else_changes(seed, reach):
    rng = np.random.default_rng(seed)
    depth = np.kron(rng.choice([1.0, 2.0, 4.0], (3, 4)), np.ones((16, 16))) * rng.uniform(0.99, 1.01, (48, 64))
    depth[rng.random(depth.shape) < 0.1] = NAN
    depth = depth.astype(np.float32)
    found = align_depth(depth, rng.random((48, 64, 3), np.float32), reach)
    np.testing.assert_array_equal(np.isnan(found), np.isnan(depth))
    assert set(found[~np.isnan(found)]) <= set(depth[~np.isnan(depth)])
    blocks = np.kron(np.arange(12).reshape(3, 4), np.ones((16, 16)))
    border = np.zeros(depth.shape, bool)
    border[:, 1:] |= blocks[:, 1:] != blocks[:, :-1]
    border[1:] |= blocks[1:] != blocks[:-1]
    far = distance_transform_edt(~border) > reach + 1
    np.testing.assert_array_equal(found[far], depth[far])


def test_without_edges_it_is_the_same():
    depth = np.linspace(1, 1.5, 600, dtype=np.float32).reshape(20, 30)
    assert align_depth(depth, np.ones((20, 30, 3), np.float32), 3) is depth


@pytest.mark.parametrize("reach", [0, -1, 1.5])
def test_a_reach_of_nothing_is_refused(reach):
    refusal(lambda: align_depth(np.ones((4, 4), np.float32), np.ones((4, 4, 3), np.float32), reach), "reach")


def test_a_real_frame_made_ragged_comes_back(real_data):
    """A rendered frame, whose edges are sharp: a third of what was made wrong is set right, and little else moved."""
    import cv2

    folder = real("open3d_testdata")
    colour = cv2.imread(str(folder / "redwood_color/00000.jpg"))[..., ::-1]
    depth = cv2.imread(str(folder / "redwood_depth/00000.png"), cv2.IMREAD_UNCHANGED) / np.float32(1000)
    truth = np.where(depth > 0, depth, np.float32(NAN))
    image = decode(colour, "srgb")
    spoilt = ragged(truth, 0)
    assert wrong(align_depth(spoilt, image, 4), truth) < 0.67 * wrong(spoilt, truth)


@pytest.mark.bench
def test_how_fast(capsys):
    scene = procedural_scene(7, 0, (480, 640), (0.7, 8.0)).flatten()
    depth = ragged(scene.depth, 0)
    with capsys.disabled():
        for reach in (2, 4):
            print(f"\naligning by {reach}: {1e3 * seconds(lambda r=reach: align_depth(depth, scene.aif, r)):.0f} ms")
