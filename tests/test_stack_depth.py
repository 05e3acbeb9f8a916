"""Depth from focus: peaks between slices beside their closed forms, stacks of known depth, and odd stacks."""

import numpy as np
import pytest
from rgbd import refusal
from test_fusion import rendered

from defocal.evaluate.peaks import gaussian_fit, tent_peak
from defocal.evaluate.stack_depth import Aggregation, depth_from_stack, distance_words

METHODS = ("sml", "rdf", "variance", "windowed-ls")
NONE = Aggregation(radius=2, strength=0)


@pytest.fixture(scope="module")
def scene():
    return rendered()


def texture(height=48, width=64, seed=0):
    """Noise with detail of all sizes, from 0 to 1."""
    rng = np.random.default_rng(seed)
    coarse = rng.random((height // 4, width // 4)).repeat(4, 0).repeat(4, 1)
    return 0.5 * coarse + 0.5 * rng.random((height, width))


def blurred(picture, sigma):
    """A picture under a Gaussian, by the Fourier transform."""
    fy, fx = np.fft.fftfreq(picture.shape[0])[:, None], np.fft.fftfreq(picture.shape[1])
    return np.fft.ifft2(np.fft.fft2(picture) * np.exp(-2 * np.pi**2 * sigma**2 * (fx**2 + fy**2))).real


def wall(depth, focus, scale=3.0):
    """A stack of a wall: blur grows with the difference of 1 / distance, from half a pixel."""
    picture = texture()
    sigmas = np.hypot(0.5, scale * (1 / depth - 1 / np.asarray(focus)))
    return np.stack([blurred(picture, sigma) for sigma in sigmas])


def through_three(logs, x):
    """The parabola through the greatest logarithm and its two neighbours: Nayar and Nakagawa 1994, pixel by pixel."""
    peaks = []
    for column in logs.T:
        best = int(column.argmax())
        if best in (0, len(x) - 1):
            peaks.append(x[best])
            continue
        bend, slant, _ = np.polyfit(x[best - 1 : best + 2] - x[best], column[best - 1 : best + 2], 2)
        peaks.append(x[best] - slant / (2 * bend))
    return np.array(peaks)


@pytest.mark.parametrize("x", [np.array([0.0, 1.0, 2.0, 3.5, 5.0, 6.0]), np.array([6.0, 4.0, 3.5, 2.0, 1.0, 0.2])])
def test_gaussians_are_found_exactly(x):
    wanted = np.linspace(x.min(), x.max(), 23)[1:-1]
    logs = -np.square(x[:, None] - wanted) / 2 + 0.3
    inside = (logs.argmax(axis=0) > 0) & (logs.argmax(axis=0) < len(x) - 1)
    for found in (through_three(logs, x), gaussian_fit(logs, x)):
        assert found[inside] == pytest.approx(wanted[inside], abs=1e-9)
        assert ((found >= x.min()) & (found <= x.max())).all()
    assert inside.sum() > 10


@pytest.mark.parametrize("slices", [1, 2, 3, 7])
def test_of_one_high_slice_the_peak_is_that_of_three(slices):
    rng = np.random.default_rng(slices)
    x, heights = np.sort(rng.random(slices)), rng.uniform(0.1, 0.3, (slices, 40))
    heights[rng.integers(0, slices, 40), np.arange(40)] = 1
    logs = np.log(heights)
    assert gaussian_fit(logs, x) == pytest.approx(through_three(logs, x), abs=1e-9)


def test_the_middle_of_slices_that_are_alike_is_the_peak():
    logs = np.log(np.array([0.1, 0.3, 1.0, 1.0001, 1.0, 1.0, 0.3, 0.1]))[:, None]
    x = np.arange(8.0)
    assert gaussian_fit(logs, x) == pytest.approx([3.5], abs=0.01)
    # The classical three say what chance says.
    assert abs(through_three(logs, x)[0] - 3.5) > 0.4


def test_a_fit_of_slices_is_least_squares():
    rng = np.random.default_rng(5)
    x, logs = np.sort(rng.random(7)), rng.normal(0, 0.4, (7, 50))
    found = gaussian_fit(logs, x)
    for k in range(50):
        height = np.exp(logs[:, k] - logs[:, k].max())
        best, low = int(height.argmax()), height - height.min() < 0.4 * (1 - height.min())
        first = max([i for i in range(best) if low[i]], default=0)
        last = min([i for i in range(best + 1, 7) if low[i]], default=6)
        if last - first < 2:
            assert found[k] == x[best]
            continue
        part = slice(first, last + 1)
        bend, slant, _ = np.polyfit(x[part], logs[part, k], 2, w=height[part])
        wanted = np.clip(-slant / (2 * bend), x[first], x[last]) if bend < 0 else x[best]
        assert found[k] == pytest.approx(wanted, abs=1e-6)


@pytest.mark.parametrize("falling", [False, True])
def test_tents_are_found_exactly(falling):
    x = np.array([0.0, 0.7, 1.5, 2.2, 3.1, 4.0, 4.6, 5.5])
    wanted = np.linspace(1.6, 3.9, 12)
    logs = -0.8 * np.abs((x[::-1] if falling else x)[:, None] - wanted)
    found, height = tent_peak(logs, x[::-1] if falling else x, 3)
    assert found == pytest.approx(wanted, abs=1e-6)
    assert height == pytest.approx(np.zeros(12), abs=1e-6)


def test_a_tent_is_least_squares():
    rng = np.random.default_rng(6)
    x = np.sort(rng.random(8))
    logs = -2 * np.abs(x[:, None] - 0.5) + rng.normal(0, 0.1, (8, 20))
    found, height = tent_peak(logs, x, 3)
    for pixel in range(20):
        best, top = -np.inf, np.nan
        for k in range(1, 6):
            part = np.arange(max(0, k - 2), min(8, k + 4))
            before = part <= k
            design = np.stack([before, ~before, np.where(before, x[part], -x[part])], axis=1).astype(float)
            (p, q, s), *_ = np.linalg.lstsq(design, logs[part, pixel], rcond=None)
            gap = x[k + 1] - x[k]
            at = (q - p) / (2 * s)
            if s > 0 and x[k] - 1.5 * gap <= at <= x[k + 1] + 1.5 * gap and (p + q) / 2 > best:
                best, top = (p + q) / 2, np.clip(at, x[0], x[-1])
        assert found[pixel] == pytest.approx(top, abs=1e-6, nan_ok=True)
        assert height[pixel] == pytest.approx(best, abs=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_a_wall_between_two_slices_is_where_it_is(method):
    focus = 1 / np.linspace(1 / 0.4, 1 / 4, 9)
    for depth in (0.55, 0.9, 1.7):
        found = depth_from_stack(wall(depth, focus), focus, method=method, aggregation=Aggregation(radius=8))
        spacing = np.abs(np.diff(1 / focus)).max()
        assert np.abs(1 / found.depth - 1 / depth).mean() < 0.25 * spacing
        assert np.median(found.confidence) > 0.3
        assert found.depth.dtype == found.confidence.dtype == found.index.dtype == np.float32


@pytest.mark.parametrize("method", METHODS)
def test_the_order_of_the_slices_does_not_matter(method):
    focus = np.array([0.4, 0.6, 0.9, 1.5, 4.0])
    stack = wall(0.8, focus)
    wanted = depth_from_stack(stack, focus, method=method)
    assert wanted.slices.tolist() == [0, 1, 2, 3, 4]
    for order in ([4, 3, 2, 1, 0], [2, 0, 4, 1, 3]):
        found = depth_from_stack(stack[order], focus[order], method=method)
        assert found.depth == pytest.approx(wanted.depth, rel=1e-5)
        # Places count along the slices that are named beside them.
        along = np.interp(found.index, np.arange(5), focus[order][found.slices])
        assert along == pytest.approx(np.interp(wanted.index, np.arange(5), focus), rel=1e-3)


@pytest.mark.parametrize("method", METHODS)
def test_procedural_depth_is_told(scene, method):
    stack, focus, depth, _ = scene
    found = depth_from_stack(stack, focus, method=method)
    off = np.abs(1 / found.depth - 1 / depth)
    guess = np.abs(1 / depth - np.median(1 / depth))
    assert off.mean() < 0.6 * guess.mean()
    assert np.median(off) < np.abs(np.diff(1 / focus)).max()


def test_what_it_is_sure_of_is_nearer_to_the_truth(scene):
    stack, focus, depth, _ = scene
    found = depth_from_stack(stack, focus, aggregation=NONE)
    off = np.abs(1 / found.depth - 1 / depth)
    sure = found.confidence >= np.median(found.confidence)
    assert off[sure].mean() < off[~sure].mean()


def test_slices_of_several_apertures_are_taken_together():
    focus = np.array([0.4, 0.6, 0.9, 1.5, 4.0])
    wide, narrow = wall(0.8, focus), wall(0.8, focus, scale=0.5)
    found = depth_from_stack(np.concatenate([wide, narrow]), np.r_[focus, focus], aggregation=Aggregation(radius=8))
    assert found.slices.tolist() == [5, 6, 7, 8, 9]
    assert np.median(np.abs(1 / found.depth - 1 / 0.8)) < 0.2


def test_flat_parts_take_their_neighbours_depth_or_none():
    focus = np.array([0.5, 0.7, 1.0, 2.0, 4.0])
    stack = wall(1.0, focus)
    stack[:, 12:36, 20:44] = stack.mean()
    filled = depth_from_stack(stack, focus)
    assert filled.depth[24, 32] == pytest.approx(1.0, rel=0.2)
    holed = depth_from_stack(stack, focus, fill=False)
    assert np.isnan(holed.depth[20:28, 28:36]).all()
    assert np.isfinite(holed.depth[:8]).all()
    assert np.isfinite(holed.index).all()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_few_slices(method, count):
    focus = np.array([0.5, 1.0, 2.0])[:count]
    found = depth_from_stack(wall(0.5, focus), focus, method=method)
    assert np.isfinite(found.depth).all()
    assert ((found.depth >= 0.5 - 1e-6) & (found.depth <= 2)).all()
    assert np.median(found.depth) == pytest.approx(0.5, rel=0.2)
    assert (found.confidence.max() > 0) == (count > 1)


@pytest.mark.parametrize("method", METHODS)
def test_constant_slices_and_a_pixel(method):
    for shape in ((4, 20, 20, 3), (4, 1, 1, 3), (1, 1, 1)):
        focus = np.array([0.5, 1.0, 2.0, np.inf])[: shape[0]]
        found = depth_from_stack(np.full(shape, 77, np.uint8), focus, method=method)
        assert not found.confidence.any()
        assert not np.isnan(found.depth).any()
        assert (found.depth >= 0.5 - 1e-6).all()


def test_without_distances_depth_is_told_in_slices():
    focus = np.array([0.5, 0.7, 1.0, 2.0, 4.0])
    found = depth_from_stack(wall(1.0, focus), None)
    assert found.depth == pytest.approx(found.index)
    assert np.median(found.depth) == pytest.approx(2, abs=0.4)


def test_what_cannot_be_told_is_refused():
    stack = np.zeros((3, 8, 8, 3), np.uint8)
    for focus in (
        [1, 2],
        [1, 2, 0],
        [1, -2, 3],
        [1, 2, np.nan],
        [[1, 2, 3]],
        [1, 2, 1e-320],
        [1, 2, 1e39],
        [1, 2, "a"],
    ):
        refusal(lambda focus=focus: depth_from_stack(stack, focus), "focus distances")
    for bad in (np.zeros((3, 8, 8, 4)), np.zeros((0, 8, 8, 3)), np.zeros((8, 8)), np.full((3, 8, 8, 3), np.nan),
                np.ma.masked_array(stack, stack < 1), [stack[0], stack[1, :2]]):  # fmt: skip
        refusal(lambda bad=bad: depth_from_stack(bad, [1, 2, 3]), "focal stack")
    refusal(lambda: depth_from_stack(np.full((3, 8, 8, 3), 1e9), [1, 2, 3]), "white at 1", "scale it")
    refusal(lambda: depth_from_stack(stack, [1, 2, 3], method="best"), "'best'", "windowed-ls")
    refusal(lambda: Aggregation(radius=-1), "radius")
    assert distance_words([0.35, np.inf]) == ["0.35 m", "infinity"]
