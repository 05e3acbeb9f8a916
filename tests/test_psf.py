"""Kernels: exact coverage, unit sum, continuity, symmetry; the banks made of them, and their taps."""

import naive
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from defocal import InputError
from defocal.synth import PsfBank, ThinLens, polygon_aperture
from defocal.synth.psf_shapes import (
    aperture_kernel,
    disk_kernel,
    gaussian_kernel,
    power_exponential_kernel,
    power_exponential_reach,
)

LENS = ThinLens(focal_length=0.05, f_number=2.0, focus_distance=2.0, pixel_pitch=5e-5)
LETTER = np.array([[1, 1, 1, 0], [1, 0, 0, 0], [1, 0.5, 0, 0], [1, 0, 0, 0]])


def padded(kernel, size):
    margin = (size - kernel.shape[0]) // 2
    return np.pad(kernel, margin)


def power_exponential_by_supersampling(diameter, exponent):
    """Midpoint sums over each pixel of a kernel's window, without any cut."""
    samples = 60 if diameter > 4 else 300
    half = int(np.ceil(power_exponential_reach(exponent) * diameter - 0.5))
    size = 2 * half + 1
    at = (np.arange(size * samples) + 0.5) / samples - size / 2
    light = np.exp(-2 * (np.hypot(at[:, None], at[None, :]) / (diameter / 2)) ** exponent)
    return light.reshape(size, samples, size, samples).mean(axis=(1, 3))


def shadow_by_supersampling(transmission, diameter, half, samples=200):
    """Look the pattern up at many points of each pixel."""
    size = 2 * half + 1
    at = (np.arange(size * samples) + 0.5) / samples - size / 2
    cell = np.floor((at / diameter + 0.5) * len(transmission)).astype(int)
    inside = (cell >= 0) & (cell < len(transmission))
    cell = np.clip(cell, 0, len(transmission) - 1)
    light = transmission[cell][:, cell] * (inside[:, None] & inside[None, :])
    area = light.reshape(size, samples, size, samples).mean(axis=(1, 3))
    return area / area.sum()


@pytest.mark.parametrize("diameter", [1.4, 2.0, 3.3, 5.0, 8.25, 19.7])
def test_disks_cover_pixels_by_area(diameter):
    expected = naive.disk_by_supersampling(diameter)
    kernel = disk_kernel(diameter)
    assert kernel.shape == expected.shape
    np.testing.assert_allclose(kernel, expected, atol=3e-4)


@given(st.floats(0, 60))
@example(27.789206936876546)
def test_kernels_have_unit_sum_and_every_symmetry(diameter):
    for kernel in (
        disk_kernel(diameter),
        gaussian_kernel(diameter / 8),
        power_exponential_kernel(diameter, 3.0),
        aperture_kernel(np.ones((5, 5)), diameter),
    ):
        assert kernel.sum() == pytest.approx(1, abs=1e-12)
        assert (kernel >= 0).all()
        assert kernel.shape[0] % 2 == 1
        for turned in (kernel.T, kernel[::-1], kernel[:, ::-1]):
            np.testing.assert_allclose(kernel, turned, atol=1e-12)


@given(st.floats(0, 30))
def test_kernels_change_without_a_jump(diameter):
    """A step of a thousandth of a pixel moves less than a hundredth of the light."""
    for make in (
        disk_kernel,
        lambda d: gaussian_kernel(d / 4),
        lambda d: power_exponential_kernel(d, 2.0),
        lambda d: power_exponential_kernel(d, 64.0),
        lambda d: aperture_kernel(LETTER, d),
    ):
        a, b = make(diameter), make(diameter + 1e-3)
        size = max(a.shape[0], b.shape[0])
        assert np.abs(padded(a, size) - padded(b, size)).sum() < 1e-2


@pytest.mark.parametrize("diameter", [0.0, 1e-9, 0.3, 0.999, 1.0])
def test_up_to_one_pixel_a_shadow_does_not_blur(diameter):
    np.testing.assert_array_equal(disk_kernel(diameter), [[1.0]])
    np.testing.assert_array_equal(aperture_kernel(LETTER, diameter), [[1.0]])


def test_just_over_one_pixel_a_disk_only_begins_to_blur():
    assert disk_kernel(1.001)[1, 1] > 0.9999


@given(st.floats(6, 40))
def test_second_moments_are_those_of_the_continuous_shapes(diameter):
    """A disk has c^2 / 16 per axis, a Gaussian sigma^2, a square c^2 / 12; binning into pixels adds 1/12."""
    for kernel, variance, most in (
        (disk_kernel(diameter), diameter**2 / 16, 0.03),
        (gaussian_kernel(diameter / 4), diameter**2 / 16 * 0.986, 0.03),
        (power_exponential_kernel(diameter, 2.0), diameter**2 / 16 * 0.986, 0.03),
        # Where a side lies on the border of pixels, or in their middle, binning adds -1/12 to 1/6 instead.
        (aperture_kernel(np.ones((1, 1)), diameter), diameter**2 / 12, 0.05),
    ):
        x = np.arange(kernel.shape[0]) - kernel.shape[0] // 2
        assert (kernel.sum(axis=0) * x**2).sum() == pytest.approx(variance + 1 / 12, rel=most)


@pytest.mark.parametrize("exponent", [1.0, 1.5, 4.0, 11.0, 64.0])
@pytest.mark.parametrize("diameter", [0.8, 1.5, 4.3, 13.0])
def test_power_exponentials_integrate_over_pixels(exponent, diameter):
    kernel = power_exponential_kernel(diameter, exponent)
    expected = power_exponential_by_supersampling(diameter, exponent)
    assert kernel.shape == (max(1, len(expected)),) * 2
    expected[kernel == 0] = 0
    np.testing.assert_allclose(kernel, expected / expected.sum(), atol=1e-4 * kernel.max())


@pytest.mark.parametrize("exponent", [1.0, 2.0, 5.0, 64.0])
def test_power_exponentials_lose_at_most_two_thousandths_to_the_cut(exponent):
    """Against the whole integral, (pi c^2 2 / p) Gamma(2 / p) 2^(-2 / p)."""
    from scipy.special import gamma

    light = power_exponential_by_supersampling(9.0, exponent)
    light[power_exponential_kernel(9.0, exponent) == 0] = 0
    whole = np.pi * 4.5**2 * (2 / exponent) * gamma(2 / exponent) * 2 ** (-2 / exponent)
    assert 0.998 - 1e-5 < light.sum() / whole < 1.0001


@pytest.mark.parametrize("diameter", [0.7, 2.2, 9.0, 31.0])
def test_a_power_exponential_of_exponent_two_is_the_gaussian(diameter):
    kernel, gaussian = power_exponential_kernel(diameter, 2.0), gaussian_kernel(diameter / 4)
    size = max(len(kernel), len(gaussian))
    kernel, gaussian = padded(kernel, size), padded(gaussian, size)
    shared = (kernel > 0) & (gaussian > 0)
    assert kernel[~shared].sum() + gaussian[~shared].sum() < 2e-3
    ratio = kernel[shared] / gaussian[shared]
    # The same shape to the quadrature's precision; the two cuts normalise it a little differently.
    np.testing.assert_allclose(ratio, ratio.mean(), rtol=2e-5)
    assert ratio.mean() == pytest.approx(1, abs=2e-3)


@pytest.mark.parametrize("diameter", [1.5, 6.0, 25.0])
def test_a_power_exponential_of_large_exponent_is_nearly_the_disk(diameter):
    """Of the same area, (2 / p) Gamma(2 / p) 2^(-2 / p) = 0.962 of that of the CoC's circle."""
    kernel = power_exponential_kernel(diameter, 64.0)
    for same, most in ((diameter, 0.1), (diameter * 0.962**0.5, 0.04)):
        disk = disk_kernel(same)
        size = max(len(kernel), len(disk))
        assert np.abs(padded(kernel, size) - padded(disk, size)).sum() < most


@given(st.floats(0, 2), st.floats(1, 64))
def test_small_power_exponentials_tend_to_a_point(diameter, exponent):
    kernel = power_exponential_kernel(diameter, exponent)
    assert np.isfinite(kernel).all()
    assert kernel.sum() == pytest.approx(1, abs=1e-12)
    if diameter < 0.2:
        assert kernel.max() > 0.95


@pytest.mark.parametrize("diameter", [1.7, 2.5, 4.0, 7.3, 16.0])
def test_shadows_integrate_the_pattern_over_each_pixel(diameter):
    rng = np.random.default_rng(int(diameter * 10))
    for pattern in (LETTER, rng.random((7, 7)), rng.random((29, 29))):
        kernel = aperture_kernel(pattern, diameter)
        expected = shadow_by_supersampling(pattern, diameter, len(kernel) // 2)
        np.testing.assert_allclose(kernel, expected, atol=1e-2 * kernel.max())
        assert len(kernel) <= 2 * np.ceil(max(diameter / 2 - 0.5, 0)) + 1


def test_shadows_at_a_whole_number_of_pixels_per_cell_are_the_pattern():
    pattern = np.random.default_rng(3).random((5, 5))
    np.testing.assert_allclose(aperture_kernel(pattern, 5.0), pattern / pattern.sum(), atol=1e-15)
    doubled = aperture_kernel(np.kron(pattern, np.ones((2, 2))), 15.0)
    np.testing.assert_allclose(doubled, np.kron(pattern, np.ones((3, 3))) / pattern.sum() / 9, atol=1e-15)


def test_shadows_are_no_larger_than_their_light():
    pattern = np.zeros((9, 9))
    pattern[4, 4] = 1
    np.testing.assert_array_equal(aperture_kernel(pattern, 9.0), [[1.0]])
    pattern[2, 4] = 1
    assert aperture_kernel(pattern, 9.0).shape == (5, 5)


BANKS = {
    "disk": lambda: PsfBank.disk(LENS),
    "gaussian": lambda: PsfBank.gaussian(LENS, sigma_per_coc=0.3),
    "soft": lambda: PsfBank.power_exponential(LENS, exponent=1.0),
    "power-exponential": lambda: PsfBank.power_exponential(LENS, exponent=5.0, coc_step=0.25),
    "hard": lambda: PsfBank.power_exponential(LENS, exponent=64.0, coc_step=1.0),
    "aperture": lambda: PsfBank.aperture(LENS, LETTER, coc_step=0.25),
}


@pytest.mark.parametrize("name", BANKS)
def test_reach_bounds_every_kernel(name):
    bank = BANKS[name]()
    for coc in np.concatenate([np.linspace(0, 3, 49), np.linspace(3, 40, 60)]):
        for sign in (-1, 1):
            assert len(bank.kernel(sign * coc)) // 2 <= bank.reach(sign * coc)
        assert bank.reach(coc) == bank.reach(-coc)


@pytest.mark.parametrize("name", ["disk", "gaussian"])
def test_taps_rebuild_the_kernels(name):
    bank = BANKS[name]()
    table = bank.taps(90)
    for slot in range(90):
        kernel = bank.slot_kernels(slot)[0]
        half = int(table.radius[slot])
        assert kernel.shape == (2 * half + 1, 2 * half + 1)
        image = np.zeros((2 * half + 1, 2 * half + 2))
        taps = slice(table.starts[table.rows[slot]], table.starts[table.rows[slot + 1]])
        dy, dx, weight = table.dy[taps], table.dx[taps], table.weight[taps]
        image[dy + half, dx + half] = weight
        image[dy + half, 1 - dx + half] -= weight
        np.testing.assert_allclose(np.cumsum(image, axis=1)[:, :-1], kernel, atol=1e-7)


def test_disks_have_few_taps():
    table = PsfBank.disk(LENS).taps(160)
    assert table.starts[table.rows[161]] - table.starts[table.rows[160]] < 65
    assert (PsfBank.disk(LENS).kernel(20.0) > 0).sum() > 340


@pytest.mark.parametrize("name", ["disk", "aperture"])
def test_sampled_banks_cover_the_depths_and_centre_their_kernels(name):
    bank = BANKS[name]()
    sampled = bank.sampled(1.0, 8.0)
    assert sampled.kernels.dtype == np.float32
    assert sampled.coc[0] == pytest.approx(LENS.coc(8.0), abs=bank.coc_step / 2 + 1e-9)
    assert sampled.coc[-1] == pytest.approx(LENS.coc(1.0), abs=bank.coc_step / 2 + 1e-9)
    assert 0.0 in sampled.coc
    np.testing.assert_allclose(sampled.kernels.sum(axis=(1, 2, 3)), 1, atol=1e-6)
    sharp = sampled.kernels[np.flatnonzero(sampled.coc == 0)[0], 0]
    assert sharp[sharp.shape[0] // 2, sharp.shape[1] // 2] == 1
    for coc in sampled.coc[::7]:
        shown, kernel = sampled.kernel(coc), bank.kernel(coc)
        np.testing.assert_array_equal(shown, padded(kernel, len(shown)))


def test_planes_answer_to_the_nearest_coc():
    sampled = PsfBank.disk(LENS, coc_step=1.0).sampled(1.0, 8.0)
    for coc in (-3.4, 0.3, 2.8):
        np.testing.assert_array_equal(sampled.kernel(coc), sampled.kernel(round(coc)))


def test_both_sides_of_the_focus_plane_blur_alike():
    for name in ("disk", "gaussian", "power-exponential"):
        bank = BANKS[name]()
        np.testing.assert_array_equal(bank.kernel(5.0), bank.kernel(-5.0))


@pytest.mark.parametrize("coc", [0.25, 1.5, 4.0, 9.75])
def test_near_points_turn_an_aperture_upside_down(coc):
    bank = PsfBank.aperture(LENS, LETTER, coc_step=0.25)
    np.testing.assert_array_equal(bank.kernel(coc), bank.kernel(-coc)[::-1, ::-1])
    np.testing.assert_allclose(bank.kernel(-coc), aperture_kernel(LETTER, coc), atol=1e-7)


@pytest.mark.parametrize("sigma", [0.0, -1.0, float("nan"), 50.0])
def test_wrong_gaussians_are_refused(sigma):
    with pytest.raises(InputError, match="sigma_per_coc"):
        PsfBank.gaussian(LENS, sigma_per_coc=sigma)


@pytest.mark.parametrize("exponent", [0.5, 65.0, float("nan")])
def test_wrong_exponents_are_refused(exponent):
    with pytest.raises(InputError, match="exponent"):
        PsfBank.power_exponential(LENS, exponent=exponent)


@pytest.mark.parametrize(
    "pattern", [np.zeros((3, 3)), np.ones((3, 4)), np.full((2, 2), 1.5), [[1, np.nan], [0, 0]], -np.eye(2), []]
)
def test_wrong_transmissions_are_refused(pattern):
    with pytest.raises(InputError, match="transmission"):
        PsfBank.aperture(LENS, pattern)


@settings(max_examples=20)
@given(st.floats(-30, 30))
def test_kernels_are_served_in_steps(coc):
    bank = PsfBank.disk(LENS)
    np.testing.assert_array_equal(bank.kernel(coc), disk_kernel(abs(np.rint(coc * 8)) / 8).astype(np.float32))


@pytest.mark.parametrize("bank", [PsfBank.disk(LENS), PsfBank.aperture(LENS, polygon_aperture(6))])
def test_kernels_for_averaged_pixels_have_the_second_moment_of_the_shape(bank):
    """c^2 / 16 along each axis for a disk: the integration over pixels adds nothing, from a CoC of half a pixel on."""

    def moment(kernel):
        at = np.arange(len(kernel)) - len(kernel) // 2
        return sum((kernel.sum(axis=axis) * at**2).sum() - (kernel.sum(axis=axis) * at).sum() ** 2 for axis in (0, 1))

    per_square = (moment(bank.kernel(200.0).astype(float)) - 1 / 6) / 200**2
    if bank.kind == "disk":
        assert per_square == pytest.approx(1 / 8, rel=1e-4)
    for coc in (0.5, 1.0, 1.5, 2.25, 3.0, 6.5, 12.0, 15.875, 16.125, 40.0):
        expected = per_square * coc**2
        assert moment(bank.averaged.kernel(coc).astype(float)) == pytest.approx(expected, rel=0.012, abs=6e-3), coc
    assert bank.averaged.averaged is bank.averaged


@pytest.mark.parametrize("exponent", [1.0, 1.0001, 1.7, 2.0, 3.3, 8.0, 20.0, 64.0])
def test_a_recipe_knows_the_reach_of_power_exponentials_without_scipy(exponent):
    from defocal.synth.recipe_psf import PowerExponentialPsf

    ours = PowerExponentialPsf(kind="power-exponential", exponent=exponent).reach
    assert ours == pytest.approx(power_exponential_reach(exponent), rel=1e-9)
