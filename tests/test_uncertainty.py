"""Uncertainty: samples of a model, and judgements whose answers are known."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rgbd import refusal

from defocal.evaluate.metrics import DepthProtocol
from defocal.evaluate.uncertainty import FRACTIONS, SHARES, UncertaintyScores, monte_carlo, sparsification


def test_mean_and_spread_of_samples():
    asked = []

    def predict(image, sample):
        asked.append(sample)
        return image + np.random.default_rng(sample).standard_normal(image.shape)

    image = np.full((6, 8), 1e6)
    found = monte_carlo(predict, image, 50)
    every = np.stack([predict(image, k) for k in range(50)])
    assert asked[:50] == list(range(50))
    np.testing.assert_allclose(found.mean, every.mean(axis=0), rtol=1e-14)
    np.testing.assert_allclose(found.std, every.std(axis=0), rtol=1e-8)
    assert found.samples == 50
    assert monte_carlo(predict, image, 2, first=7).mean[0, 0] == pytest.approx(np.mean([every[7], every[8]], 0)[0, 0])


def test_a_model_without_dropout_is_sure():
    found = monte_carlo(lambda image, _: image, np.array([[1.5, 0.1]]), 3)
    assert found.std.tolist() == [[0, 0]]


def test_samples_that_cannot_be_used_are_refused():
    refusal(lambda: monte_carlo(lambda i, k: i, np.ones((2, 2)), 1), "at least 2")
    refusal(lambda: monte_carlo(lambda i, k: np.ones((2, 2 + k)), None, 3), "sample 1")
    refusal(lambda: monte_carlo(lambda i, k: np.full((2, 2), np.nan), None, 3), "NaN")


def test_uncertainty_that_ranks_errors_is_the_oracle():
    error = np.random.default_rng(0).standard_normal(5000)
    found = sparsification(error, np.abs(error) ** 3)
    assert found.ause == 0
    assert found.aurg > 0.3
    assert found.by_uncertainty[0] == pytest.approx(1)
    assert (np.diff(found.by_uncertainty) <= 0).all()


def test_constant_uncertainty_is_worth_as_much_as_chance():
    error = np.random.default_rng(0).standard_normal(1000)
    found = sparsification(error, np.full(1000, 0.3))
    np.testing.assert_allclose(found.by_uncertainty, 1)
    assert found.aurg == pytest.approx(0, abs=1e-12)


def test_by_hand():
    """Two of four pixels left out: the uncertain ones have errors of 1 and 3, the worst of 3 and 4."""
    found = sparsification([0, 1, 3, 4], [0.1, 0.9, 0.8, 0.2])
    half = int(np.argmin(np.abs(FRACTIONS - 0.5)))
    assert FRACTIONS[half] == pytest.approx(0.5)
    total = math.sqrt(26 / 4)
    assert found.by_uncertainty[half] * total == pytest.approx(math.sqrt(16 / 2))
    assert found.by_error[half] * total == pytest.approx(math.sqrt(1 / 2))


@given(st.integers(0, 2**32 - 1), st.floats(1e-3, 1e3), st.floats(1e-3, 1e3))
@settings(max_examples=30, deadline=None)
def test_what_curves_ignore(seed, error_scale, scale):
    """Scales of errors and of uncertainties, and the order of pixels; and no ranking beats the oracle."""
    rng = np.random.default_rng(seed)
    error, u = rng.standard_normal(200), rng.integers(0, 20, 200).astype(float)
    one = sparsification(error, u)
    order = rng.permutation(200)
    other = sparsification(error_scale * error[order], scale * u[order])
    np.testing.assert_allclose(other.by_uncertainty, one.by_uncertainty, rtol=1e-9)
    assert other.ause == pytest.approx(one.ause, rel=1e-9)
    assert (one.by_uncertainty >= one.by_error - 1e-12).all()


def test_degenerate_errors():
    assert math.isnan(sparsification([], []).ause)
    found = sparsification(np.zeros(9), np.arange(9.0))
    assert found.ause == found.aurg == 0
    refusal(lambda: sparsification([1], [1, 2]), "every error")
    refusal(lambda: sparsification([1], [np.nan]), "finite")
    refusal(lambda: sparsification([1], [-1]), "negative")


def gaussian(seed, factor=1.0, size=(60, 80)):
    """A truth, a prediction whose errors are Gaussian with a known deviation, and that deviation, falsified."""
    rng = np.random.default_rng(seed)
    target = rng.uniform(1, 9, size)
    deviation = 0.05 * target
    return target + deviation * rng.standard_normal(size), factor * deviation, target


def test_honest_uncertainty_is_calibrated():
    scores = UncertaintyScores(depth_edges=[1, 3, 5, 7, 9])
    for seed in range(4):
        scores.add(*gaussian(seed))
    found = scores.result()
    many = found.counts > 300
    np.testing.assert_allclose(found.found[many], found.stated[many], rtol=0.1)
    np.testing.assert_allclose(found.coverage, SHARES, atol=0.02)
    assert found.calibration_error < 0.01
    assert (found.images, found.pixels) == (4, 4 * 4800)
    assert (np.diff(found.spread) > 0).all()
    assert found.sparsification.aurg > 0.1
    np.testing.assert_allclose(
        found.spread, [0.05 * math.sqrt((b**3 - a**3) / 6) for a, b in ((1, 3), (3, 5), (5, 7), (7, 9))], rtol=0.02
    )


@pytest.mark.parametrize(("factor", "sign"), [(0.3, -1), (3.0, 1)])
def test_overconfidence_and_its_opposite_are_seen(factor, sign):
    scores = UncertaintyScores()
    own = scores.add(*gaussian(0, factor))
    found = scores.result()
    assert (np.sign(found.coverage - SHARES) == sign).all()
    assert own.ause == pytest.approx(sparsification(gaussian(0)[0] - gaussian(0)[2], gaussian(0)[1]).ause)


def test_scores_of_uncertainty_merge():
    whole, parts = UncertaintyScores(depth_edges=[0, 5, 10]), [UncertaintyScores(depth_edges=[0, 5, 10]) for _ in "ab"]
    for seed in range(4):
        whole.add(*gaussian(seed))
        parts[seed % 2].add(*gaussian(seed))
    parts[0].merge(parts[1])
    a, b = whole.result(), parts[0].result()
    for name in ("stated", "found", "counts", "coverage", "spread"):
        np.testing.assert_allclose(getattr(a, name), getattr(b, name), rtol=1e-12)
    assert a.sparsification.ause == pytest.approx(b.sparsification.ause)
    refusal(lambda: whole.merge(UncertaintyScores()), "different protocols")


def test_images_without_pixels_and_bad_shapes():
    scores = UncertaintyScores(DepthProtocol(max_depth=0.5))
    own = scores.add(*gaussian(0))
    found = scores.result()
    assert math.isnan(own.ause)
    assert found.images == found.pixels == 0
    assert math.isnan(found.sparsification.ause)
    assert math.isnan(found.calibration_error)
    mean, _, target = gaussian(0)
    refusal(lambda: UncertaintyScores().add(mean, np.ones(3), target), "shape of the depth")
