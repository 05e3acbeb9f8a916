import numpy as np
import pytest

from defocal import InputError
from defocal.evaluate.psf_measures import mtf, rotation_angles


def grid(size, axis=None):
    height, width = size
    y0, x0 = (height // 2, width // 2) if axis is None else axis
    return np.mgrid[:height, :width] - np.array([y0, x0], float)[:, None, None]


def gaussian(sigma, size=(65, 65), at=(0.0, 0.0), axis=None):
    y, x = grid(size, axis)
    return np.exp(-((y - at[0]) ** 2 + (x - at[1]) ** 2) / (2 * sigma**2)) / (2 * np.pi * sigma**2)


def lobes(angle, count=1, weights=None, radius=8.0, sigma=2.2, size=(65, 65), axis=None):
    """Gaussians on a circle about the axis, turned by `angle` from x towards y."""
    weights = np.ones(count) if weights is None else weights
    turns = angle + 2 * np.pi * np.arange(count) / count
    spots = [w * gaussian(sigma, size, (radius * np.sin(t), radius * np.cos(t)), axis) for w, t in zip(weights, turns)]  # noqa: B905
    return np.sum(spots, axis=0) / np.sum(weights)


# --- rotation


def test_a_lobe_that_turns_from_x_to_y_has_growing_angles_beyond_a_turn():
    true = np.linspace(-4.5, 5.5, 21)
    got = rotation_angles(np.stack([lobes(t) for t in true]), reference=3)
    np.testing.assert_allclose(got, true - true[3], atol=np.radians(0.05))
    assert got.dtype == np.float64
    assert got[3] == 0


@pytest.mark.parametrize("count", [2, 3, 4, 7])
def test_equal_lobes_turn_by_less_than_half_their_distance(count):
    true = np.linspace(-1, 1, 17)
    stack = np.stack([lobes(t, count, sigma=1.3) for t in true])
    got = rotation_angles(stack, lobes=count)
    np.testing.assert_allclose(got, true, atol=np.radians(0.1))


def test_unequal_lobes_need_no_number_of_lobes():
    true = np.linspace(-3, 3, 7)
    stack = np.stack([lobes(t, 2, [1, 0.6]) for t in true])
    np.testing.assert_allclose(rotation_angles(stack), true, atol=np.radians(0.1))


def test_the_shape_may_change_on_the_way():
    true = np.linspace(-2, 2, 15)
    stack = np.stack([lobes(t, 3, [1, 0.5, 0.3], radius=6 + k / 4, sigma=2 + k / 10) for k, t in enumerate(true)])
    np.testing.assert_allclose(rotation_angles(stack), true, atol=np.radians(0.5))


def test_windows_may_be_even_oblong_and_off_axis():
    true = np.linspace(-1, 1, 5)
    stack = np.stack([lobes(t, size=(64, 80), axis=(30.5, 41.0)) for t in true])
    np.testing.assert_allclose(rotation_angles(stack, axis=(30.5, 41.0)), true, atol=np.radians(0.1))


@pytest.mark.parametrize("radius", [5.0, 14.0, 200.0])
def test_the_radius_does_not_decide(radius):
    true = np.linspace(-1, 1, 5)
    got = rotation_angles(np.stack([lobes(t) for t in true]), radius=radius)
    np.testing.assert_allclose(got, true, atol=np.radians(0.5))


def test_light_outside_the_radius_does_not_count():
    true = np.linspace(-1, 1, 5)
    far = gaussian(1.5, at=(-25.0, 20.0))
    got = rotation_angles(np.stack([lobes(t) + far for t in true]), radius=14.0)
    np.testing.assert_allclose(got, true, atol=np.radians(0.5))


def test_the_scale_of_the_light_does_not_count():
    stack = np.stack([lobes(t) for t in (-0.3, 0.0, 0.4)])
    scaled = stack * np.array([1e-6, 1, 50])[:, None, None]
    np.testing.assert_allclose(rotation_angles(scaled), rotation_angles(stack), atol=1e-9)


@pytest.mark.parametrize("sigma", [0.3, 0.5, 1, 2, 6])
def test_round_psfs_have_no_rotation(sigma):
    assert np.isnan(rotation_angles(np.stack([gaussian(sigma)] * 3))).all()


@pytest.mark.parametrize("diameter", [2.0, 3.5, 5.0, 11.0, 20.0])
def test_disks_have_no_rotation_in_spite_of_their_pixels(diameter):
    y, x = (np.arange(33 * 16) + 0.5) / 16 - 16.5, (np.arange(33 * 16) + 0.5) / 16 - 16.5
    fine = (y[:, None] ** 2 + x**2 < diameter**2 / 4).astype(float)
    disk = fine.reshape(33, 16, 33, 16).mean(axis=(1, 3))
    assert np.isnan(rotation_angles(disk[None])).all()


def test_a_round_plane_is_left_out_and_bridged():
    stack = np.stack([lobes(-0.5), gaussian(3), lobes(0.0), gaussian(3), lobes(0.6)])
    got = rotation_angles(stack)
    np.testing.assert_allclose(got, [-0.5, np.nan, 0, np.nan, 0.6], atol=np.radians(0.1))
    assert np.isnan(rotation_angles(stack, reference=1)).all()


def test_tiny_windows():
    assert np.isnan(rotation_angles(np.ones((2, 1, 1)))).all()
    assert rotation_angles(np.random.default_rng(0).random((2, 1, 9))).shape == (2,)


# --- MTF


@pytest.mark.parametrize("sigma", [1.0, 2.0, 4.0])
def test_mtf_of_a_gaussian(sigma):
    frequency, got = mtf(gaussian(sigma), 41)
    assert (frequency[0], frequency[-1], len(frequency)) == (0, 0.5, 41)
    # Above 0.25 the Gaussian of 1 px is aliased by its pixels, by less than 2 exp(-2 pi^2 0.5^2).
    np.testing.assert_allclose(got, np.exp(-2 * (np.pi * sigma * frequency) ** 2), atol=0.008 if sigma == 1 else 1e-6)


def test_mtf_of_a_point_is_one_wherever_it_is():
    point = np.zeros((2, 3, 4, 9), np.float32)
    point[:, :, 3, 1] = 5
    frequency, got = mtf(point)
    assert got.shape == (2, 3, 64)
    assert frequency.shape == (64,)
    np.testing.assert_allclose(got, 1, atol=1e-12)


def test_mtf_of_two_points_is_the_mean_over_directions():
    pair = np.zeros((1, 5))
    pair[0, [0, 4]] = 1
    frequency, got = mtf(pair, 9)
    angle = np.linspace(0, np.pi, 20001)[:-1]
    wanted = np.abs(np.cos(4 * np.pi * frequency[:, None] * np.cos(angle))).mean(axis=1)
    np.testing.assert_allclose(got, wanted, atol=0.01)


@pytest.mark.parametrize(
    "call",
    [
        lambda: rotation_angles(np.ones((3, 3))),
        lambda: rotation_angles(np.ones((0, 3, 3))),
        lambda: rotation_angles(np.full((2, 3, 3), np.nan)),
        lambda: rotation_angles(np.zeros((2, 3, 3))),
        lambda: rotation_angles(np.ones((2, 3, 3), complex)),
        lambda: rotation_angles(np.ones((2, 3, 3)), reference=2),
        lambda: rotation_angles(np.ones((2, 3, 3)), lobes=0),
        lambda: rotation_angles(np.ones((2, 3, 3)), axis=(3.0, 1.0)),
        lambda: rotation_angles(np.ones((2, 3, 3)), radius=0.0),
        lambda: rotation_angles(np.ones((2, 4, 4)), radius=0.1, axis=(1.5, 1.5)),
        lambda: mtf(np.ones(3)),
        lambda: mtf(np.full((2, 2), np.inf)),
        lambda: mtf(np.zeros((2, 2))),
        lambda: mtf(np.ones((2, 2)), 1),
    ],
)
def test_what_cannot_be_measured_is_refused_in_one_sentence(call):
    with pytest.raises(InputError, match=r"^[^\n]+\.$"):
        call()
