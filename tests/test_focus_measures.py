"""Focus measures beside their slow twins, and smoothing along edges beside the systems that it approximates."""

import numpy as np
import pytest
from rgbd import refusal
from scipy.sparse import csr_matrix, diags
from scipy.sparse.linalg import spsolve

from defocal.evaluate.focus_measures import (
    MEASURES,
    modified_laplacian,
    ring_difference,
    ring_kernel,
    sum_modified_laplacian,
    variance_of_laplacian,
)
from defocal.evaluate.smoothing import guided_filter, smooth_along_edges


@pytest.fixture(params=[(9, 13), (11, 8, 3)], ids=["grey", "colours"])
def picture(request):
    return np.random.default_rng(1).random(request.param)


def at(grey, y, x):
    """A pixel, or the border's beyond it."""
    return grey[np.clip(y, 0, grey.shape[0] - 1), np.clip(x, 0, grey.shape[1] - 1)]


def by_pixel(picture, function):
    """A value of each pixel of each colour, (H, W, C)."""
    planes = picture.reshape(*picture.shape[:2], -1)
    found = np.empty(planes.shape)
    for y, x, c in np.ndindex(planes.shape):
        found[y, x, c] = function(planes[..., c], y, x)
    return found


def naive_laplacian(picture, step):
    def one(grey, y, x):
        across = 2 * at(grey, y, x) - at(grey, y, x - step) - at(grey, y, x + step)
        return abs(across) + abs(2 * at(grey, y, x) - at(grey, y - step, x) - at(grey, y + step, x))

    return by_pixel(picture, one).mean(axis=2)


def windows(grey, y, x, radius):
    reach = range(-radius, radius + 1)
    return np.array([at(grey, y + dy, x + dx) for dy in reach for dx in reach])


@pytest.mark.parametrize("step", [1, 2])
def test_the_modified_laplacian(picture, step):
    assert modified_laplacian(picture, step=step) == pytest.approx(naive_laplacian(picture, step), abs=1e-5)


@pytest.mark.parametrize(("radius", "threshold"), [(0, 0), (1, 0), (2, 0.8)])
def test_its_sum_over_windows(picture, radius, threshold):
    laplacian = naive_laplacian(picture, 1)
    laplacian[laplacian < threshold] = 0
    wanted = by_pixel(laplacian, lambda grey, y, x: windows(grey, y, x, radius).mean())[..., 0]
    assert sum_modified_laplacian(picture, radius=radius, threshold=threshold) == pytest.approx(wanted, abs=1e-5)


@pytest.mark.parametrize("radii", [(0.5, 2.5, 4.5), (0.5, 1.5, 2.5), (1, 1.5, 3)])
def test_the_ring_difference(picture, radii):
    inner, gap, outer = radii

    def one(grey, y, x):
        disk, ring = [], []
        for dy in range(-5, 6):
            for dx in range(-5, 6):
                away = np.hypot(dx, dy)
                if away <= inner:
                    disk.append(at(grey, y + dy, x + dx))
                elif gap < away <= outer:
                    ring.append(at(grey, y + dy, x + dx))
        return np.mean(disk) - np.mean(ring)

    wanted = np.sqrt(np.square(by_pixel(picture, one)).mean(axis=2))
    assert ring_difference(picture, inner=inner, gap=gap, outer=outer) == pytest.approx(wanted, abs=1e-5)


def test_the_ring_is_that_of_the_authors():
    assert [int((ring_kernel(0.5, *radii) < 0).sum()) for radii in ((2.5, 4.5), (1.5, 2.5))] == [48, 12]
    assert ring_kernel().sum() == pytest.approx(0, abs=1e-6)
    assert ring_kernel().shape == (9, 9)


@pytest.mark.parametrize("radius", [1, 2])
def test_the_variance_of_the_laplacian(picture, radius):
    def laplacian(grey, y, x):
        return at(grey, y - 1, x) + at(grey, y + 1, x) + at(grey, y, x - 1) + at(grey, y, x + 1) - 4 * at(grey, y, x)

    planes = by_pixel(picture, laplacian)
    wanted = by_pixel(planes, lambda grey, y, x: windows(grey, y, x, radius).var()).mean(axis=2)
    assert variance_of_laplacian(picture, radius=radius) == pytest.approx(wanted, rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("name", MEASURES)
def test_flat_is_nothing_and_codes_are_shares_of_white(name):
    assert MEASURES[name](np.full((12, 9, 3), 0.37)) == pytest.approx(np.zeros((12, 9)), abs=1e-6)
    codes = np.random.default_rng(0).integers(0, 256, (12, 9, 3), dtype=np.uint8)
    assert MEASURES[name](codes) == pytest.approx(MEASURES[name](codes / 255), rel=1e-3, abs=1e-6)
    assert MEASURES[name](codes.astype(np.uint16) * 257) == pytest.approx(MEASURES[name](codes), rel=1e-3, abs=1e-6)
    assert MEASURES[name](codes).dtype == np.float32


def test_what_cannot_be_measured_is_refused():
    for bad in (np.zeros((2, 3, 4)), np.zeros(5), np.zeros((0, 4)), np.zeros((4, 4), np.int64)):
        refusal(lambda bad=bad: ring_difference(bad), "to measure")
    refusal(lambda: ring_kernel(1, 0.5, 2), "radii")
    refusal(lambda: ring_kernel(0.5, 2.5, 2.7), "widen")
    refusal(lambda: modified_laplacian(np.zeros((4, 4)), step=0), "step")
    refusal(lambda: sum_modified_laplacian(np.zeros((4, 4)), radius=-1), "radius")


def test_a_guided_filter_keeps_the_guides_edges():
    guide = np.tile(np.r_[np.zeros(10), np.ones(10)], (20, 1))
    values = guide + np.random.default_rng(0).normal(0, 0.1, guide.shape)
    found = guided_filter(values, guide, 4)
    assert np.abs(found - guide).max() < 0.1
    assert guided_filter(values, np.zeros(guide.shape), 4)[:, 9].mean() == pytest.approx(0.45, abs=0.1)


def test_on_a_line_smoothing_solves_the_system():
    rng = np.random.default_rng(2)
    values, weights, grey = rng.random(30), rng.random(30), rng.random(30)
    # Down a column of one pixel the rows have no links, and each round solves along the line alone.
    wanted, share = weights * (values - np.average(values, weights=weights)), weights.copy()
    alike = np.exp(-np.abs(np.diff(grey)) / 0.3)
    for turn in range(3):
        links = 1.5 * 4.0 ** (2 - turn) / 63 * 20 * alike
        matrix = diags([-links, 1 + np.r_[links, 0] + np.r_[0, links], -links], [-1, 0, 1]).toarray()
        wanted, share = np.linalg.solve(matrix, wanted), np.linalg.solve(matrix, share)
    wanted = wanted / share + np.average(values, weights=weights)
    for turned in (False, True):
        shape = (1, 30) if turned else (30, 1)
        found = smooth_along_edges(
            values.reshape(shape), weights.reshape(shape), grey.reshape(shape), strength=20, contrast=0.3
        )
        assert found.ravel() == pytest.approx(wanted, abs=1e-9)


def test_smoothing_is_near_the_system_that_it_approximates():
    """On a picture the rounds along rows and columns come near to weighted least squares."""
    rng = np.random.default_rng(3)
    height, width = 16, 20
    grey = np.tile(np.r_[np.zeros(10), np.ones(10)], (height, 1))
    values = 1 + grey + rng.normal(0, 0.05, grey.shape)
    index = np.arange(height * width).reshape(height, width)
    pairs = np.concatenate([
        np.stack([index[:, :-1].ravel(), index[:, 1:].ravel()], 1), np.stack([index[:-1].ravel(), index[1:].ravel()], 1)
    ])  # fmt: skip
    links = 5 * np.exp(-np.abs(grey.ravel()[pairs[:, 0]] - grey.ravel()[pairs[:, 1]]) / 0.1)
    weights = csr_matrix((links, (pairs[:, 0], pairs[:, 1])), shape=(320, 320))
    weights = weights + weights.T
    wanted = spsolve((diags(np.ones(320)) + diags(np.asarray(weights.sum(axis=1)).ravel()) - weights).tocsc(),
                     values.ravel())  # fmt: skip
    found = smooth_along_edges(values, np.ones(values.shape), grey, strength=5, contrast=0.1)
    assert np.abs(found.ravel() - wanted).max() < 0.03


def test_what_is_unknown_takes_what_looks_alike():
    picture = np.tile(np.r_[np.zeros(16), np.ones(16)], (24, 1))
    values = np.full(picture.shape, np.nan)
    values[4, 3], values[20, 28] = 2.0, 5.0
    found = smooth_along_edges(values, np.ones(values.shape), picture, strength=1000, contrast=0.02)
    assert found[:, :16] == pytest.approx(np.full((24, 16), 2.0), abs=0.01)
    assert found[:, 16:] == pytest.approx(np.full((24, 16), 5.0), abs=0.01)
    assert np.isnan(smooth_along_edges(values * np.nan, values * 0 + 1, picture, strength=1, contrast=1)).all()
    refusal(lambda: smooth_along_edges(values, values[1:], picture, strength=1, contrast=1), "one size")
    refusal(lambda: smooth_along_edges(values, values, picture, strength=-1, contrast=1), "strength")
