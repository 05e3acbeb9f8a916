"""Errors at silhouettes and in interiors."""

import numpy as np
import pytest

from defocal.evaluate.depth_errors import DepthProtocol, depth_metrics
from defocal.evaluate.silhouettes import SilhouetteScores, silhouettes


def step(height=12, width=20):
    depth = np.full((height, width), 2.0)
    depth[:, width // 2 :] = 1.0
    return depth


@pytest.mark.parametrize("reach", [1, 2, 4])
def test_pixels_around_a_jump_are_at_a_silhouette(reach):
    expected = np.zeros((12, 20), bool)
    expected[:, 10 - reach : 10 + reach] = True
    np.testing.assert_array_equal(silhouettes(step(), reach=reach), expected)
    np.testing.assert_array_equal(silhouettes(step().T, reach=reach), expected.T)


def test_a_slope_and_the_edge_of_what_is_unknown_are_none():
    slope = np.linspace(1, 3, 60) * np.ones((8, 1))
    assert not silhouettes(slope).any()
    slope[:, 30:] = np.nan
    assert not silhouettes(slope).any()
    assert silhouettes(slope[:, :30], jump=0.01).any()


@pytest.mark.parametrize("protocol", [None, DepthProtocol(min_depth=0.5, max_depth=1.5, clamp=True)])
def test_both_parts_are_those_of_their_pixels(protocol):
    rng, scores = np.random.default_rng(1), SilhouetteScores(protocol)
    depth = step()
    valid = rng.random(depth.shape) < 0.8
    told = depth + rng.normal(0, 0.3, depth.shape)
    scores.add(told, depth, valid)
    found, edge = scores.result(), silhouettes(depth)
    for name, where in (("silhouettes", edge), ("interiors", ~edge)):
        expected = depth_metrics(told, depth, valid & where, protocol)
        assert found[name] == pytest.approx({key: expected[key] for key in ("rmse", "mae", "abs_rel", "pixels")})


def test_several_images_count_by_their_pixels_and_none_gives_nan():
    scores = SilhouetteScores()
    assert np.isnan(scores.result()["interiors"]["rmse"])
    for error in (1.0, 3.0):
        scores.add(step() + error, step())
    assert scores.result()["silhouettes"]["rmse"] == pytest.approx(5**0.5)
    assert scores.result()["silhouettes"]["pixels"] == 2 * 12 * 8
