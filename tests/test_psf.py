"""Kernels: exact coverage, unit sum, continuity, symmetry; and the taps that the renderer uses."""

import naive
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from defocal import InputError
from defocal.synth import PsfBank, ThinLens
from defocal.synth.psf import disk_kernel, gaussian_kernel

LENS = ThinLens(focal_length=0.05, f_number=2.0, focus_distance=2.0, pixel_pitch=5e-5)


def padded(kernel, size):
    margin = (size - kernel.shape[0]) // 2
    return np.pad(kernel, margin)


@pytest.mark.parametrize("diameter", [1.4, 2.0, 3.3, 5.0, 8.25, 19.7])
def test_disks_cover_pixels_by_area(diameter):
    expected = naive.disk_by_supersampling(diameter)
    kernel = disk_kernel(diameter)
    assert kernel.shape == expected.shape
    np.testing.assert_allclose(kernel, expected, atol=3e-4)


@given(st.floats(0, 60))
def test_kernels_have_unit_sum_and_every_symmetry(diameter):
    for kernel in (disk_kernel(diameter), gaussian_kernel(diameter / 8)):
        assert kernel.sum() == pytest.approx(1, abs=1e-12)
        assert (kernel >= 0).all()
        assert kernel.shape[0] % 2 == 1
        for turned in (kernel.T, kernel[::-1], kernel[:, ::-1]):
            np.testing.assert_allclose(kernel, turned, atol=1e-12)


@given(st.floats(0, 30))
def test_kernels_change_without_a_jump(diameter):
    """A step of a thousandth of a pixel moves less than a hundredth of the light."""
    for make in (disk_kernel, lambda d: gaussian_kernel(d / 4)):
        a, b = make(diameter), make(diameter + 1e-3)
        size = max(a.shape[0], b.shape[0])
        assert np.abs(padded(a, size) - padded(b, size)).sum() < 1e-2


@pytest.mark.parametrize("diameter", [0.0, 1e-9, 0.3, 0.999, 1.0])
def test_up_to_one_pixel_a_disk_does_not_blur(diameter):
    np.testing.assert_array_equal(disk_kernel(diameter), [[1.0]])


def test_just_over_one_pixel_a_disk_only_begins_to_blur():
    assert disk_kernel(1.001)[1, 1] > 0.9999


@given(st.floats(6, 40))
def test_second_moments_are_those_of_the_continuous_shapes(diameter):
    """A disk has c^2 / 16 per axis, a Gaussian sigma^2; binning into pixels adds 1/12."""
    for kernel, variance in (
        (disk_kernel(diameter), diameter**2 / 16),
        (gaussian_kernel(diameter / 4), diameter**2 / 16 * 0.986),
    ):
        x = np.arange(kernel.shape[0]) - kernel.shape[0] // 2
        assert (kernel.sum(axis=0) * x**2).sum() == pytest.approx(variance + 1 / 12, rel=0.03)


@pytest.mark.parametrize(
    "bank", [PsfBank.disk(LENS), PsfBank.gaussian(LENS, sigma_per_coc=0.3)], ids=["disk", "gaussian"]
)
def test_taps_rebuild_the_kernels(bank):
    table = bank.table(90)
    for slot in range(90):
        kernel = bank.kernel(slot * bank.coc_step).astype(np.float64)
        half = int(table.radius[slot])
        assert kernel.shape == (2 * half + 1, 2 * half + 1)
        image = np.zeros((2 * half + 1, 2 * half + 2))
        taps = slice(table.starts[slot], table.starts[slot + 1])
        image[table.dy[taps] + half, table.dx[taps] + half] = table.weight[taps]
        if table.integrate:
            image = np.cumsum(image, axis=1)
        np.testing.assert_allclose(image[:, :-1], kernel, atol=1e-7)
        assert half <= bank.reach(slot * bank.coc_step)


def test_disks_have_few_taps():
    table = PsfBank.disk(LENS).table(160)
    assert table.starts[161] - table.starts[160] < 130
    assert (PsfBank.disk(LENS).kernel(20.0) > 0).sum() > 340


def test_sampled_banks_cover_the_depths_and_centre_their_kernels():
    bank = PsfBank.disk(LENS)
    kernels, coc = bank.sampled(1.0, 8.0)
    assert kernels.dtype == coc.dtype == np.float32
    assert coc[0] == pytest.approx(LENS.coc(8.0), abs=0.07)
    assert coc[-1] == pytest.approx(LENS.coc(1.0), abs=0.07)
    assert 0.0 in coc
    np.testing.assert_allclose(kernels.sum(axis=(1, 2, 3)), 1, atol=1e-6)
    sharp = kernels[np.flatnonzero(coc == 0)[0], 0]
    assert sharp[sharp.shape[0] // 2, sharp.shape[1] // 2] == 1


def test_both_sides_of_the_focus_plane_blur_alike():
    bank = PsfBank.disk(LENS)
    np.testing.assert_array_equal(bank.kernel(5.0), bank.kernel(-5.0))


@pytest.mark.parametrize("sigma", [0.0, -1.0, float("nan"), 50.0])
def test_wrong_gaussians_are_refused(sigma):
    with pytest.raises(InputError, match="sigma_per_coc"):
        PsfBank.gaussian(LENS, sigma_per_coc=sigma)
