"""Banks of masks: bound to a lens, planes, windows, energy; the rotation of spiral masks."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from defocal import InputError
from defocal.evaluate.psf_measures import rotation_angles
from defocal.synth import PsfBank, ThinLens
from defocal.synth.psf_sampled import SampledBank
from defocal.synth.pupil import AmplitudeMask, ClearMask, CubicMask, HeightMap, SpiralMask
from defocal.synth.pupil.windows import defocus_planes

GREEN = 550e-9


def lens_for(psi=(-20.0, 20.0), pixel=0.5, near=0.7, far=10.0):
    """A lens with that defocus at the ends of the depths, whose pixels are so many wavelengths N_w wide."""
    lens = ThinLens.for_defocus(near, far, psi, GREEN, focal_length=0.05, pixel_pitch=5e-6)
    pitch = pixel * GREEN * lens.working_f_number
    return ThinLens.for_defocus(near, far, psi, GREEN, focal_length=0.05, pixel_pitch=pitch)


def test_defocus_coc_and_depth_are_one_scale():
    lens = ThinLens(focal_length=0.05, f_number=4.0, focus_distance=2.0, pixel_pitch=5e-6)
    depth = np.array([0.8, 1.9, 2.0, 5.0, math.inf])
    psi = lens.defocus(depth, GREEN)
    radius = lens.aperture_diameter / 2
    np.testing.assert_allclose(psi, math.pi * radius**2 / GREEN * (1 / depth - 1 / 2.0), rtol=1e-12)
    np.testing.assert_allclose(psi, math.pi * lens.coc(depth) * 5e-6 / (4 * GREEN * lens.working_f_number), rtol=1e-12)
    np.testing.assert_allclose(lens.depth_at_defocus(psi, GREEN), depth, rtol=1e-9)
    assert psi[0] > 0 > psi[3]


def test_a_lens_for_a_range_of_phi():
    """PhaseCam3D's convention: phi runs linearly in inverse depth from -10 at the farthest to 10 at the nearest."""
    lens = ThinLens.for_defocus(0.5, 4.0, (-10, 10), 530e-9, focal_length=0.05, pixel_pitch=5e-6)
    np.testing.assert_allclose(lens.defocus(np.array([4.0, 0.5]), 530e-9), [-10, 10], rtol=1e-9)
    assert 1 / lens.focus_distance == pytest.approx((1 / 4.0 + 1 / 0.5) / 2)
    for wrong in ((4.0, 0.5, (-10, 10)), (0.5, 4.0, (10, -10)), (0.5, 4.0, (3.0, 10.0)), (-1.0, 4.0, (-10, 10))):
        with pytest.raises(InputError):
            ThinLens.for_defocus(*wrong, 530e-9, focal_length=0.05, pixel_pitch=5e-6)


@given(st.floats(-50, 50), st.floats(0.1, 60), st.integers(2, 80))
def test_planes_are_uniform_hold_the_focus_and_serve_the_whole_range(low, extent, planes):
    high = low + extent
    laid = defocus_planes(low, high, planes)
    assert 1 <= len(laid) <= planes
    step = extent / (planes - 1)
    np.testing.assert_allclose(np.diff(laid), step, rtol=1e-9)
    assert laid[0] - step / 2 <= low + 1e-6
    assert laid[-1] + step / 2 >= high - 1e-6
    if low <= 0 <= high:
        assert np.abs(laid).min() == 0


def test_the_papers_planes_come_out():
    np.testing.assert_allclose(defocus_planes(-10, 10, 21), np.arange(-10, 11), atol=1e-12)


@pytest.mark.parametrize("wavelengths", [(GREEN,), (640e-9, 550e-9, 460e-9)])
def test_a_bank_says_what_it_is(wavelengths):
    lens = lens_for((-5, 5), 1.0)
    bank = PsfBank.from_mask(SpiralMask(), lens, wavelengths, depth=(0.7, 10.0), planes=5, size=23, samples=128)
    assert bank.kernels.shape == (5, len(wavelengths), 23, 23)
    assert bank.kernels.dtype == np.float32
    np.testing.assert_allclose(bank.kernels.sum(axis=(2, 3)), 1, atol=1e-6)
    np.testing.assert_allclose(bank.defocus, [-5, -2.5, 0, 2.5, 5], atol=1e-9)
    assert bank.depth[2] == pytest.approx(lens.focus_distance)
    np.testing.assert_allclose(bank.depth[[0, -1]], [10.0, 0.7], rtol=1e-9)
    assert bank.energy.shape == bank.kernels.shape[:2]
    assert 0.6 < bank.energy.min() < bank.energy.max() < 1
    assert bank.facts["mask"]["zones"] == 7
    same = PsfBank.from_mask(SpiralMask(), lens, wavelengths, defocus=bank.defocus, size=23, samples=128)
    np.testing.assert_array_equal(same.kernels, bank.kernels)


def test_windows_of_even_size_have_their_axis_in_the_middle():
    bank = PsfBank.from_mask(ClearMask(), lens_for((-1, 1)), (GREEN,), defocus=[0.0], size=24, samples=64)
    kernel = bank.kernels[0, 0]
    assert kernel.argmax() == 12 * 24 + 12
    np.testing.assert_allclose(kernel[1:, 1:], kernel[1:, 1:][::-1, ::-1], atol=1e-7)


def test_the_window_follows_from_an_energy():
    lens = lens_for((-6, 6), 1.0)
    sizes = []
    for energy in (0.7, 0.8, 0.9):
        bank = PsfBank.from_mask(SpiralMask(), lens, depth=(0.7, 10.0), planes=7, energy=energy, samples=256)
        n = bank.size[0]
        assert n % 2 == 1
        assert bank.energy[[0, 3, -1]].min() >= energy
        inner = bank.kernels[[0, 3, -1], :, 1:-1, 1:-1].sum(axis=(2, 3)) * bank.energy[[0, 3, -1]]
        assert inner.min() < energy
        sizes.append(n)
    assert sizes == sorted(set(sizes))


ROTATION = [  # zones, lobes, measured rate over theory within |psi| < pi L / 2: reference code
    (7, 1, 1.001),
    (3, 1, 0.985),
    (5, 1, 0.996),
    (10, 1, 1.005),
    (5, 2, 1.053),
    (7, 2, 1.048),
    (10, 2, 1.059),
    (7, 3, 1.141),
]


def turning_rate(mask, wavelength=GREEN, pixel=0.25, size=97, reach=6.0):
    """Slope of the angle over psi at the design wavelength, by angular correlation within 6 wavelengths N_w."""
    span = math.pi * mask.zones / 2
    psi = np.linspace(-span, span, 23)
    bank = PsfBank.from_mask(mask, lens_for((-20, 20), pixel), (wavelength,), defocus=psi, size=size, samples=256)
    angles = rotation_angles(bank.kernels[:, 0], lobes=int(mask.lobes), radius=reach / pixel * wavelength / GREEN)
    return np.polyfit(psi, angles, 1)[0]


@pytest.mark.parametrize(("zones", "lobes", "ratio"), ROTATION)
def test_spiral_masks_turn_at_the_rate_of_theory(zones, lobes, ratio):
    """-1 / (N L) radians a radian; the known excess of several lobes included."""
    mask = SpiralMask(zones=zones, lobes=lobes)
    assert turning_rate(mask) / mask.turn_per_defocus == pytest.approx(ratio, abs=0.015)


@pytest.mark.parametrize("wavelength", [640e-9, 460e-9])
def test_colours_turn_at_their_own_rates(wavelength):
    """Over psi at the design wavelength the rate goes as the wavelengths' ratio, but for light of other orders."""
    mask = SpiralMask()
    expected = mask.turn_per_defocus * GREEN / wavelength
    assert turning_rate(mask, wavelength, reach=4.0) / expected == pytest.approx(0.97, abs=0.05)


def test_the_angle_grows_less_as_points_come_nearer():
    """Counter-clockwise in the picture for growing psi: angles in array axes fall."""
    assert turning_rate(SpiralMask()) < 0


def test_kernels_are_the_same_every_time():
    lens = lens_for((-5, 5), 1.0)
    banks = [PsfBank.from_mask(SpiralMask(), lens, depth=(0.7, 10.0), planes=3, size=15, samples=64) for _ in range(2)]
    np.testing.assert_array_equal(banks[0].kernels, banks[1].kernels)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"samples": 20}, r"undersampled.*need \d+ samples"),
        ({"size": 5}, r"does not fit kernels of 5 px: raise psf.size to \d+"),
        ({"wavelengths": (1100e-9,)}, "refractive index of NOA61 is known from 350 to 1000 nm, not at 1100 nm"),
        ({"wavelengths": (550e-9, 460e-9)}, "1 or 3 wavelengths"),
        ({"wavelengths": (550.0,)}, "in metres"),
        ({"planes": 2}, "psf.planes must be 3 or more"),
        ({"planes": 2.5}, "psf.planes must be a whole number"),
        ({"size": 41.0}, "psf.size must be a whole number"),
        ({"depth": (0.0, 1.0)}, "both positive"),
        ({"depth": None, "defocus": [-1e-9, 0.0, 1e-9], "size": 1, "wavelengths": (9e-7,)}, "px hold only|apart"),
        ({"energy": 1.0, "size": None}, "psf.energy must be between 0 and 1"),
        ({"energy": 0.9999, "size": None}, "no window up to"),
        ({"defocus": [0.0]}, "not both"),
        ({"depth": None}, "either depth"),
        ({"depth": None, "defocus": [2.0, 1.0]}, "ascending"),
        ({"depth": None, "defocus": [math.nan]}, "finite"),
        ({"planes": 0}, "planes"),
        ({"size": 0}, "psf.size must be 1"),
        ({"size": 1025, "samples": 2048, "planes": 100}, "at most 100 million are made"),
    ],
)
def test_what_cannot_be_right_is_refused_in_one_sentence(change, what):
    options = {"wavelengths": (GREEN,), "depth": (0.7, 10.0), "planes": 5, "size": 41, "samples": 128}
    with pytest.raises(InputError, match=what):
        PsfBank.from_mask(SpiralMask(), lens_for((-20, 20), 1.0), **(options | change))


def test_wavelengths_may_be_an_array():
    lens = lens_for((-1, 1), 1.0)
    banks = [
        PsfBank.from_mask(ClearMask(), lens, kind((640e-9, 550e-9, 460e-9)), defocus=[0.0], size=15, samples=64)
        for kind in (np.array, list)
    ]
    np.testing.assert_array_equal(banks[0].kernels, banks[1].kernels)
    one = PsfBank.from_mask(ClearMask(), lens, 550e-9, defocus=[0.0], size=15, samples=64)
    np.testing.assert_array_equal(one.kernels[:, 0], banks[0].kernels[:, 1])


def test_dark_and_steep_masks_are_refused():
    lens = lens_for((-1, 1), 1.0)
    corner = np.zeros((40, 40))
    corner[0, 0] = 1
    with pytest.raises(InputError, match="no light through the pupil"):
        PsfBank.from_mask(AmplitudeMask(corner), lens, (GREEN,), defocus=[0.0], size=15, samples=64)
    x = np.linspace(-1, 1, 512)
    steep = CubicMask(300.0).height(*np.meshgrid(x, x))
    with pytest.raises(InputError, match=r"need \d+ samples"):
        PsfBank.from_mask(HeightMap(steep), lens, (GREEN,), defocus=[0.0], size=15, samples=64)


def test_planes_that_cannot_be_told_apart_are_refused():
    kernels = np.zeros((3, 1, 3, 3))
    kernels[:, :, 1, 1] = 1
    with pytest.raises(InputError, match=r"only 1e-07 px of CoC apart"):
        SampledBank("test", lens_for(), kernels, [-3.0, 0.0, 1e-7])
    bank = SampledBank("test", lens_for(), kernels, [-3000.0, 0.0, 2e-3])
    assert len(bank.lookup(-3000.0, 1.0)[0]) < 2e6
    assert bank.slots(np.array([-2000.0, -1000.0, 0.0, 1.0])).tolist() == [0, 1, 1, 2]


def test_depths_that_the_bank_lacks_are_named():
    bank = PsfBank.from_mask(ClearMask(), lens_for((-5, 5), 1.0), (GREEN,), depth=(0.7, 10.0), size=15, samples=64)
    bank.check_covers(np.array([0.7, 10.0, np.nan]))
    with pytest.raises(InputError, match=r"0\.4 to 3 m, are not covered by the PSF bank, which has 0\.6\d* to"):
        bank.check_covers(np.array([0.4, 3.0]))
