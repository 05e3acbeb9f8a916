"""Unknown depth filled for rendering: against a slow twin, by hand, and where the truth is known."""

import heapq
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from rgbd import real
from scipy.ndimage import distance_transform_edt, gaussian_filter
from timing import seconds

from defocal import InputError
from defocal.synth import Scene, align_depth, procedural_scene
from defocal.synth.fill import fill_by_paths, fill_depth
from defocal.synth.light import decode

NAN = np.nan


def filled_by_paths(depth, codes):
    """Dijkstra's algorithm as it is taught, over (cost, farthest first)."""
    height, width = depth.shape
    codes = codes.astype(int)
    queue = [(0, -depth[p], p) for p in np.ndindex(depth.shape) if not np.isnan(depth[p])]
    heapq.heapify(queue)
    found = {}
    while queue:
        cost, minus, (y, x) = heapq.heappop(queue)
        if (y, x) in found:
            continue
        found[y, x] = -minus
        for dy, dx in itertools.product((-1, 0, 1), repeat=2):
            v, u = y + dy, x + dx
            if 0 <= v < height and 0 <= u < width and (v, u) not in found:
                step = (7 if dy and dx else 5) + 5 * int(np.abs(codes[y, x] - codes[v, u]).max())
                heapq.heappush(queue, (cost + step, minus, (v, u)))
    return np.array([found[p] for p in np.ndindex(depth.shape)], np.float32).reshape(depth.shape)


def grey(depth):
    return np.full((*np.shape(depth), 3), 0.2, np.float32)


SHAPES = st.tuples(st.integers(1, 9), st.integers(1, 12))


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_cheapest_paths_equal_the_slow_twin(data):
    shape = data.draw(SHAPES)
    depth = data.draw(arrays.arrays(np.float32, shape, elements=st.sampled_from([NAN, NAN, NAN, 0.5, 2, 7, np.inf])))
    depth.flat[data.draw(st.integers(0, depth.size - 1))] = 3
    codes = data.draw(arrays.arrays(np.uint8, (*shape, 3), elements=st.sampled_from([0, 1, 2, 130, 255])))
    filled = depth.copy()
    fill_by_paths(filled, codes)
    np.testing.assert_array_equal(filled, filled_by_paths(depth, codes))


@pytest.mark.parametrize("seed", range(3))
def test_long_winding_paths_equal_the_slow_twin(seed):
    """Corridors of one colour through another: many turns, and costs far above the number of lists."""
    rng = np.random.default_rng(seed)
    codes = np.where(rng.random((40, 50, 1)) < 0.4, 255, rng.integers(0, 20, (40, 50, 1))).repeat(3, 2).astype(np.uint8)
    depth = np.full((40, 50), NAN, np.float32)
    depth.flat[rng.choice(depth.size, 5, replace=False)] = [1, 2, 3, 4, 5]
    filled = depth.copy()
    fill_by_paths(filled, codes)
    np.testing.assert_array_equal(filled, filled_by_paths(depth, codes))


@pytest.mark.parametrize(
    ("depth", "expected"),
    [
        ([[1, NAN, NAN, 3]], [[1, 1, 3, 3]]),
        ([[1, NAN, 3]], [[1, 3, 3]]),
        ([[NAN, 2, NAN, 5, NAN]], [[2, 2, 5, 5, 5]]),
        ([[1, 2], [NAN, NAN], [NAN, NAN], [3, 4]], [[1, 2], [1, 2], [3, 4], [3, 4]]),
        ([[NAN, NAN], [7, NAN]], [[7, 7], [7, 7]]),
        ([[1, NAN, np.inf]], [[1, np.inf, np.inf]]),
    ],
)
def test_without_colour_the_nearest_wins_and_of_equals_the_farther(depth, expected):
    depth = np.array(depth, np.float32)
    np.testing.assert_array_equal(fill_depth(depth, grey(depth)), np.array(expected, np.float32))


def test_known_depth_is_left_alone():
    depth = np.ones((3, 4), np.float32)
    assert fill_depth(depth, grey(depth)) is depth


def test_where_nothing_is_known_nothing_is_invented():
    depth = np.full((3, 4), NAN, np.float32)
    assert fill_depth(depth, grey(depth)) is depth


def test_depth_follows_the_edges_of_the_image():
    depth = np.full((30, 40), 4, np.float32)
    depth[8:22, 10:30] = 1
    image = grey(depth)
    image[depth == 1] = (0.5, 0.1, 0.1)
    holed = depth.copy()
    holed[4:16, 6:26] = NAN
    holed[19:29, 25:38] = NAN
    np.testing.assert_array_equal(fill_depth(holed, image), depth)


def shadows(depth, baseline):
    """What a second eye, `baseline` pixels times metres to the right, cannot see, pixel by pixel."""
    hidden = np.zeros(depth.shape, bool)
    columns = np.arange(depth.shape[1])
    for row, found in zip(depth, hidden, strict=True):
        at = columns - baseline / row
        hides = (at <= at[:, None]) & (row < row[:, None] / 1.05) & (columns > columns[:, None])
        found[:] = hides.any(axis=1)
    return hidden


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("baseline", [5.0, 11.0])
def test_shadows_of_a_sensor_are_background_though_the_image_shows_no_edge(baseline, mirrored):
    depth = np.full((40, 130), 5, np.float32)
    depth[:12, 100:] = 3.0
    depth[4:36, 30:50] = 1.0
    depth[2:30, 70:90] = 1.6
    holed = depth.copy()
    holed[shadows(depth, baseline)] = NAN
    assert np.isnan(holed).sum() > 100
    if mirrored:
        depth, holed = depth[:, ::-1].copy(), holed[:, ::-1].copy()
    np.testing.assert_array_equal(fill_depth(holed, grey(depth)), depth)


def test_gaps_of_any_width_are_no_shadows():
    """A blot over an edge that the image shows stays on both sides of it."""
    depth = np.full((60, 130), 5, np.float32)
    depth[:, 60:] = 1.0
    image = grey(depth)
    image[:, 60:] = 0.6
    holed = depth.copy()
    y, x = np.indices(depth.shape)
    holed[(y - 30) ** 2 + (x - 55) ** 2 < 25**2] = NAN
    np.testing.assert_array_equal(fill_depth(holed, image), depth)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), share=st.floats(0.05, 0.95))
def test_only_known_depths_are_copied_and_known_ones_kept(seed, share):
    rng = np.random.default_rng(seed)
    depth = rng.choice(rng.uniform(0.5, 9, 6), (13, 30)).astype(np.float32)
    depth[rng.random(depth.shape) < share] = NAN
    depth[0, 0] = 2
    filled = fill_depth(depth, rng.random((13, 30, 3), np.float32))
    known = ~np.isnan(depth)
    np.testing.assert_array_equal(filled[known], depth[known])
    assert set(filled.ravel()) <= set(depth[known])


def wrong(depth, truth, hole):
    """Share of the hole whose depth is off by over 5 %."""
    return float((np.abs(depth[hole] / truth[hole] - 1) > 0.05).mean())


def nearest(depth):
    return depth[tuple(distance_transform_edt(np.isnan(depth), return_distances=False, return_indices=True))]


@pytest.fixture(scope="module")
def scenes():
    """Procedural scenes with their sensor's shadows, and with blots of no one's."""
    made = []
    for sample in range(3):
        scene = procedural_scene(7, sample, (120, 160), (0.7, 8.0)).flatten()
        noise = gaussian_filter(np.random.default_rng(sample).standard_normal(scene.depth.shape), 5)
        made.append((scene, shadows(scene.depth, 8.0), noise > np.quantile(noise, 0.87)))
    return made


def by_rows(depth):
    """The farther of the two ends of each gap of a row; for scenes where every row has some depth."""
    filled = depth.copy()
    for row in filled:
        known = np.flatnonzero(~np.isnan(row))
        for x in np.flatnonzero(np.isnan(row)):
            after = np.searchsorted(known, x)
            row[x] = row[known[max(after - 1, 0) : after + 1]].max()
    return filled


def test_scenes_come_back_nearer_to_the_truth_than_by_simpler_rules(scenes):
    """Than by the nearest depth, and than by the farther end of the gap, a rule for shadows."""
    errors = {}
    for scene, *holes in scenes:
        for kind, hole in zip(("shadow", "blot"), holes, strict=True):
            holed = np.where(hole, np.float32(NAN), scene.depth)
            for rule, filled in (
                ("paths", fill_depth(holed, scene.aif)), ("nearest", nearest(holed)), ("rows", by_rows(holed))
            ):  # fmt: skip
                errors.setdefault((rule, kind), []).append(wrong(filled, scene.depth, hole))
    mean = {key: np.mean(values) for key, values in errors.items()}
    assert mean["paths", "shadow"] < 0.7 * mean["nearest", "shadow"]
    assert mean["paths", "shadow"] < mean["rows", "shadow"]
    assert mean["paths", "blot"] < 0.7 * mean["nearest", "blot"]
    assert mean["paths", "blot"] < 0.7 * mean["rows", "blot"]


def test_a_real_frame_with_another_frames_holes(real_data):
    """Where the truth is known, at least three quarters of the pixels come back within 5 %."""
    import cv2

    folder = real("open3d_testdata")

    def read(k):
        colour = cv2.imread(str(folder / f"redwood_color/{k:05}.jpg"))[..., ::-1]
        depth = cv2.imread(str(folder / f"redwood_depth/{k:05}.png"), cv2.IMREAD_UNCHANGED) / 1000
        return Scene(decode(colour, "srgb"), np.where(depth > 0, depth, NAN))

    scene = read(0)
    hole = np.isnan(read(2).depth)[:, ::-1] & ~np.isnan(scene.depth)
    assert hole.sum() > 10000
    filled = fill_depth(np.where(hole, np.float32(NAN), scene.depth), scene.aif)
    assert wrong(filled, scene.depth, hole) < 0.25


@pytest.mark.bench
def test_how_fast(capsys):
    scene = procedural_scene(7, 0, (480, 640), (0.7, 8.0)).flatten()
    noise = gaussian_filter(np.random.default_rng(0).standard_normal(scene.depth.shape), 8)
    with capsys.disabled():
        for share in (0.13, 0.3):
            holed = np.where(noise > np.quantile(noise, 1 - share), np.float32(NAN), scene.depth)
            time = seconds(lambda h=holed: fill_depth(h, scene.aif))
            print(f"\nfilling {share:.0%} of 480x640: {1e3 * time:.0f} ms")


@pytest.mark.parametrize(
    ("depth", "image"), [((4, 5), (4, 5)), ((4, 5), (5, 4, 3)), ((4, 5), (4, 5, 1)), ((4,), (4, 1, 3))]
)
def test_shapes_that_do_not_fit_are_refused(depth, image):
    with pytest.raises(InputError, match=r"needs an image \(H, W, 3\) of its size"):
        fill_depth(np.full(depth, np.nan, np.float32), np.zeros(image, np.float32))
    with pytest.raises(InputError, match=r"needs an image \(H, W, 3\) of its size"):
        align_depth(np.ones(depth, np.float32), np.zeros(image, np.float32), 2)
