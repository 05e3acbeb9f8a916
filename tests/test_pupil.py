"""Wave optics: closed forms, independent code, conventions, gradients; numpy and torch by the same lines."""

import math
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import j1

from defocal import InputError
from defocal.synth.pupil import (
    GLASSES,
    AmplitudeMask,
    ClearMask,
    CubicMask,
    Glass,
    HeightMap,
    RadialMask,
    SpiralMask,
    ZernikeMask,
    mask_from,
    mask_psfs,
)
from defocal.synth.pupil import propagation as wave
from defocal.synth.pupil.glass import glass_named
from defocal.synth.pupil.phase import height_of_phase, noll, phase_of_height, zernike, zone_rings

GREEN = 550e-9
MASKS = {
    "clear": ClearMask(),
    "obstructed": ClearMask(obstruction=0.35),
    "spiral": SpiralMask(),
    "two lobes": SpiralMask(zones=5, lobes=2, confinement=0.8),
    "rings": SpiralMask(form="rings"),
    "blend": SpiralMask(lobes=2, form="blend"),
    "zernike": ZernikeMask((0.0, 0.0, 0.0, 0.0, 0.7, -0.4, 0.3, 0.2)),
    "cubic": CubicMask(8.0),
    "heights": HeightMap(np.linspace(0, 1e-6, 36).reshape(6, 6)),
    "profile": RadialMask(np.array([0.0, 4e-7, 9e-7, 2e-7])),
    "flat rings": RadialMask(np.array([0.0, 4e-7, 9e-7]), "flat"),
    "coded": AmplitudeMask(np.tri(5)),
    "square": AmplitudeMask(np.tri(5), square=True),
}
each_mask = pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)


def pupil_of(mask, psi=0.0, samples=128, wavelength=GREEN):
    (field,), _ = wave.mask_fields(mask, (wavelength,), samples)
    return wave.defocused(field, np.array([psi * mask.wavelength / wavelength]))[0]


def points(count, step):
    return (np.arange(count) - count // 2) * step


def intensity(pupil, axis):
    return np.abs(wave.field_at(pupil, axis, axis)) ** 2


def slow_field(pupil, y, x):
    """Fourier integral, pupil cell by pupil cell."""
    axis = wave.pupil_axis(len(pupil))
    total = 0j
    for row, v in zip(pupil, axis, strict=True):
        for value, u in zip(row, axis, strict=True):
            total += value * np.exp(1j * math.pi * (x * u + y * v))
    return total / len(pupil) ** 2


def test_the_clear_pupil_makes_the_airy_pattern():
    r = np.linspace(0.01, 6, 80)
    pupil = pupil_of(ClearMask(), samples=1024)
    along = np.abs(wave.field_at(pupil, np.array([0.0]), r)[0]) ** 2
    airy = (2 * j1(math.pi * r) / (math.pi * r)) ** 2
    np.testing.assert_allclose(along / np.abs(pupil.mean()) ** 2, airy, atol=5e-4)


def test_an_obstruction_makes_the_annular_airy_pattern():
    r, e = np.linspace(0.01, 6, 80), 0.35
    (field,), _ = wave.mask_fields(ClearMask(obstruction=e), (GREEN,), 512, oversampling=4)
    along = np.abs(wave.field_at(field, np.array([0.0]), r)[0]) ** 2
    expected = (2 * j1(math.pi * r) / (math.pi * r) - e**2 * 2 * j1(math.pi * e * r) / (math.pi * e * r)) ** 2
    np.testing.assert_allclose(along / along[0], expected / expected[0], atol=5e-4)


def test_on_the_axis_defocus_is_a_sinc():
    """The field on the axis of a clear pupil is sinc(psi / 2), from its closed integral."""
    for psi in (0.5, 3.0, 2 * math.pi, 9.0):
        pupil = pupil_of(ClearMask(), psi, samples=1024)
        on_axis = np.abs(wave.field_at(pupil, np.zeros(1), np.zeros(1))[0, 0]) / (math.pi / 4)
        assert on_axis == pytest.approx(abs(np.sinc(psi / 2 / math.pi)), abs=1e-3)


@each_mask
def test_the_matrix_transform_is_the_fourier_integral(mask):
    pupil = pupil_of(mask, 2.5, samples=24)
    field = wave.field_at(pupil, np.array([-1.3, 0.4]), np.array([0.0, 2.2]))
    for i, y in enumerate((-1.3, 0.4)):
        for j, x in enumerate((0.0, 2.2)):
            assert field[i, j] == pytest.approx(slow_field(pupil, y, x), abs=1e-12)


@each_mask
@pytest.mark.parametrize("psi", [0.0, -7.0])
def test_fft_and_matrix_transform_agree(mask, psi):
    """Where the FFT's grid has points both give the same, up to the scale of energy."""
    pupil = pupil_of(mask, psi)
    psf = wave.psf_by_fft(pupil, padding=4)
    assert psf.sum() == pytest.approx(1, abs=1e-12)
    n, half = len(psf), 20
    cut = psf[n // 2 - half : n // 2 + half + 1, n // 2 - half : n // 2 + half + 1]
    direct = intensity(pupil, points(2 * half + 1, 0.25))
    np.testing.assert_allclose(cut / cut.max(), direct / direct.max(), atol=1e-12)


@each_mask
@pytest.mark.parametrize(("pixel", "size"), [(0.5, 31), (1.0, 24), (2.7, 9), (0.13, 40)])
def test_both_ways_to_integrate_over_pixels_agree(mask, pixel, size):
    pupil = pupil_of(mask, 4.0)[None]
    a, b = wave._pixels_by_quadrature(pupil, pixel, size), wave._pixels_by_transfer(pupil, pixel, size)
    np.testing.assert_allclose(a, b, atol=1e-8 * a.max())


def test_pixels_hold_the_integral_over_their_area():
    pupil = pupil_of(SpiralMask(), 3.0)
    fine = 40
    offsets = ((np.arange(fine) + 0.5) / fine - 0.5) * 1.4
    at = (points(5, 1.4)[:, None] + offsets[None, :]).ravel()
    brute = intensity(pupil, at).reshape(5, fine, 5, fine).mean(axis=(1, 3)) * 1.4**2 / wave._light(pupil)
    np.testing.assert_allclose(wave.psf_at_pixels(pupil, 1.4, 5), brute, rtol=2e-3)


@each_mask
def test_all_light_arrives_somewhere(mask):
    """Over one whole period of the discrete pupil the pixels hold exactly the light behind the mask."""
    pupil = pupil_of(mask, 3.0, samples=64)
    assert wave.psf_at_pixels(pupil, 1.0, 64).sum() == pytest.approx(1, abs=1e-6)
    assert wave.psf_at_pixels(pupil, 2.0, 32).sum() == pytest.approx(1, abs=1e-6)


@each_mask
@pytest.mark.parametrize("psi", [-6.0, 0.0, 11.0])
def test_equal_to_prysm(mask, psi):
    """Same pupil, independent propagation code; prysm transforms with the other sign: turned by 180 degrees."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        propagation = pytest.importorskip("prysm.propagation")
    samples, pitch, f_number = 96, 2.1, 3.7
    pupil = pupil_of(mask, psi, samples)
    diameter, efl = 10.0, 10.0 * f_number
    theirs = propagation.focus_fixed_sampling(pupil, diameter / samples, efl, 0.55, pitch, 41, method="mdft")
    theirs = np.abs(np.asarray(theirs))[::-1, ::-1] ** 2
    ours = intensity(pupil, points(41, pitch / (0.55 * f_number)))
    np.testing.assert_allclose(ours / ours.max(), theirs / theirs.max(), rtol=0, atol=1e-10)
    assert np.abs(ours / ours.sum() - theirs / theirs.sum()).sum() < 1e-10


def test_near_points_show_the_aperture_turned_and_far_ones_upright():
    """A pupil open at its top left only, much defocused: geometric optics must hold."""
    pattern = np.zeros((4, 4))
    pattern[0, 0] = pattern[0, 1] = pattern[1, 0] = pattern[1, 1] = 1
    before, after = slice(0, 12), slice(13, 25)
    for psi, lit, dark in ((-60.0, before, after), (60.0, after, before)):
        psf = wave.psf_at_pixels(pupil_of(AmplitudeMask(pattern), psi, 256), 3.4, 25)
        assert psf[lit, lit].sum() > 0.87
        assert psf[dark, dark].sum() < 0.01


@pytest.mark.parametrize(("psi", "slack"), [(60.0, 0.03), (-300.0, 0.01)])
def test_large_defocus_of_the_clear_pupil_is_the_circle_of_confusion(psi, slack):
    """Geometric limit: a disk of diameter 4 |psi| / pi in units of wavelength times f-number, uniformly lit."""
    radius = 2 * abs(psi) / math.pi
    psf = wave.psf_at_pixels(pupil_of(ClearMask(), psi, 512), radius / 20, 61)
    y, x = np.mgrid[-30:31, -30:31] / 20
    r = np.hypot(x, y)
    assert psf[r <= 0.5].sum() == pytest.approx(0.25, abs=slack)
    assert psf[r < 1.2].sum() == pytest.approx(1, abs=slack)
    # A uniform disk's mean square radius is half its squared radius.
    assert (psf * r**2)[r < 1.2].sum() / psf[r < 1.2].sum() == pytest.approx(0.5, abs=slack)


@pytest.mark.parametrize(("zones", "lobes"), [(5, 2), (6, 3), (4, 4)])
def test_lobes_are_alike_under_a_turn(zones, lobes):
    """N-fold symmetry, for N = 2 and 4 exactly on the pixel grid, for 3 within sampling."""
    psf = intensity(pupil_of(SpiralMask(zones=zones, lobes=lobes), 3.0, 512), points(41, 0.5))
    if lobes == 3:
        y, x = np.meshgrid(points(41, 0.5), points(41, 0.5), indexing="ij")
        c, s = math.cos(2 * math.pi / 3), math.sin(2 * math.pi / 3)
        pupil = pupil_of(SpiralMask(zones=zones, lobes=lobes), 3.0, 512)
        for i, j in ((24, 24), (18, 26), (15, 20), (20, 27)):
            turned = wave.field_at(pupil, np.array([s * x[i, j] + c * y[i, j]]), np.array([c * x[i, j] - s * y[i, j]]))
            assert np.abs(turned[0, 0]) ** 2 == pytest.approx(psf[i, j], abs=0.02 * psf.max())
    else:
        turned = np.rot90(psf, 4 // lobes)
        assert np.abs(turned - psf).sum() / psf.sum() < (2e-2 if lobes == 2 else 4e-2)


def test_a_stack_of_rotating_psfs_from_an_independent_series(real_rpsf):
    """The continuous pupil's PSFs by a Hankel series, pixel-free; axes there point up, the transform is the other."""
    axis = points(96, 0.5)
    (field,), light = wave.mask_fields(SpiralMask(), (GREEN,), 1024, oversampling=2)
    for psi, expected in zip(real_rpsf["psi0"], real_rpsf["psf_green_hankel"], strict=True):
        # Our axes point down and the transform's sign is the other: together a turn by 180 degrees of their array.
        ours = intensity(wave.defocused(field, np.array([psi]))[0], -axis) * 0.25 / float(light)
        assert np.abs(ours - expected).sum() / expected.sum() < 1e-3


@pytest.mark.parametrize("channel", [0, 1, 2])
def test_one_height_map_in_three_colours_by_independent_code(real_rpsf, channel):
    wavelength = (640e-9, 550e-9, 460e-9)[channel]
    axis = points(96, 0.5) * GREEN / wavelength
    (field,), light = wave.mask_fields(SpiralMask(), (wavelength,), 1024, oversampling=2)
    for psi, expected in list(zip(real_rpsf["psi0"], real_rpsf["psf"][channel], strict=True))[::5]:
        pupil = wave.defocused(field, np.array([psi * GREEN / wavelength]))[0]
        ours = intensity(pupil, -axis) * (0.5 * GREEN / wavelength) ** 2 / float(light)
        assert np.abs(ours - expected).sum() / expected.sum() < 3e-3


def test_the_clear_pupil_scales_with_the_wavelength():
    """A wavelength k times longer on pixels k times larger gives the same picture, at the same phase."""
    k, psi = 1.2, np.array([6.0])
    short = mask_psfs(ClearMask(), psi, GREEN, pitch=2e-6, f_number=4.0, size=21, samples=96)
    long = mask_psfs(ClearMask(), psi * k, GREEN * k, pitch=2e-6 * k, f_number=4.0, size=21, samples=96)
    np.testing.assert_allclose(long, short, atol=1e-12)


def test_the_rings_converge_to_the_hard_zones():
    """At the paper's gain they are 13 to 17 % away, blended phasors 9 %; ten times the gain brings the rings to 2 %."""
    axis = points(61, 0.5)

    def psf(**form):
        (field,), _ = wave.mask_fields(SpiralMask(**form), (GREEN,), 512, oversampling=2)
        made = intensity(wave.defocused(field, np.array([2.0]))[0], axis)
        return made / made.sum()

    hard = psf()
    away = {gain: np.abs(psf(form="rings", gain=gain) - hard).sum() for gain in (100, 300, 1000)}
    assert 0.11 < away[100] < 0.18
    assert away[1000] < away[300] < away[100]
    assert away[1000] < 0.03
    assert 0.05 < np.abs(psf(form="blend") - hard).sum() < 0.11


@given(st.floats(0.05, 0.94), st.integers(1, 12), st.floats(0.2, 0.95))
def test_rings_share_out_the_pupil(u, zones, confinement):
    rings = np.array(zone_rings(np.array([u]), zones, confinement))
    assert rings.sum() == pytest.approx(1, abs=1e-4)


def test_colours_scale_the_phase():
    """One height map: phase goes as (n - 1) / wavelength; the main order's share at 640 and 460 nm is known."""
    glass = GLASSES["NOA61"]
    for wavelength, beta in ((640e-9, 0.850), (460e-9, 1.216)):
        ratio = GREEN / wavelength * (glass.index(wavelength) - 1) / (glass.index(GREEN) - 1)
        assert ratio == pytest.approx(beta, abs=5e-4)
    x, y = np.array([0.4]), np.array([0.3])
    mask = ZernikeMask((0.0, 0.0, 0.5))
    red = np.angle(mask.field(x, y, 640e-9)) / np.angle(mask.field(x, y, GREEN))
    assert red[0] == pytest.approx(0.850, abs=5e-4)


def test_heights_wrap_at_one_wave():
    phase = np.linspace(-20, 20, 1001)
    height = height_of_phase(phase, GREEN, 1.5)
    assert height.min() >= 0
    assert height.max() < GREEN / 0.5
    np.testing.assert_allclose(np.exp(1j * phase_of_height(height, GREEN, 1.5)), np.exp(1j * phase), atol=1e-12)


def test_noll_numbers_and_orthonormal_polynomials():
    assert [noll(j) for j in range(1, 12)] == [
        (0, 0), (1, 1), (1, -1), (2, 0), (2, -2), (2, 2), (3, -1), (3, 1), (3, -3), (3, 3), (4, 0),
    ]  # fmt: skip
    # Gauss-Legendre in u^2 and even angles integrate products of polynomials exactly.
    nodes, weights = np.polynomial.legendre.leggauss(12)
    u = np.sqrt((nodes + 1) / 2)[:, None] * np.ones(40)
    phi = np.linspace(-math.pi, math.pi, 40, endpoint=False)[None, :] * np.ones((12, 1))
    basis = np.array([zernike(j, u, phi) for j in range(1, 37)]).reshape(36, -1)
    products = basis * np.repeat(weights / 2 / 40, 40) @ basis.T
    np.testing.assert_allclose(products, np.eye(36), atol=1e-12)


def test_zernike_defocus_is_the_defocus_phase():
    """psi u^2 = psi / (2 sqrt 3) Z4 + psi / 2."""
    psi, axis = 3.0, points(21, 0.5)
    a = intensity(pupil_of(ZernikeMask((0, 0, 0, psi / (2 * math.sqrt(3)))), 0.0), axis)
    np.testing.assert_allclose(a, intensity(pupil_of(ClearMask(), psi), axis), atol=1e-12)


def test_indices_are_those_of_the_data_sheets():
    assert GLASSES["N-BK7"].index(587.6e-9) == pytest.approx(1.5168, abs=1e-5)
    assert GLASSES["fused-silica"].index(587.6e-9) == pytest.approx(1.45846, abs=1e-5)
    assert GLASSES["NOA61"].index(589e-9) == pytest.approx(1.56, abs=3e-3)
    assert glass_named("n=1.5").index(1e-9) == 1.5
    with pytest.raises(InputError, match="known from 350 to 1000 nm, not at 1064 nm"):
        GLASSES["NOA61"].index(1064e-9)


@pytest.mark.parametrize(
    "make", [lambda: glass_named("butter"), lambda: glass_named("n=x"), lambda: Glass.constant(0.9)]
)
def test_wrong_glasses_are_refused(make):
    with pytest.raises(InputError):
        make()


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (lambda: SpiralMask(zones=0), "zones"),
        (lambda: SpiralMask(lobes=0), "lobes"),
        (lambda: SpiralMask(confinement=1.5), "confinement"),
        (lambda: SpiralMask(form="soft"), "form"),
        (lambda: SpiralMask(obstruction=1.0), "obstruction"),
        (lambda: SpiralMask(glass="butter"), "glass"),
        (lambda: SpiralMask(wavelength=2e-6), "NOA61"),
        (lambda: ZernikeMask(()), "coefficients"),
        (lambda: ZernikeMask((math.nan,)), "coefficients"),
        (lambda: CubicMask(math.inf), "strength"),
        (lambda: HeightMap(np.zeros((2, 3))), "heights"),
        (lambda: HeightMap(np.full((2, 2), 0.5)), "micrometres"),
        (lambda: RadialMask(np.zeros((2, 2))), "along a radius"),
        (lambda: RadialMask([0.5]), "micrometres"),
        (lambda: RadialMask([math.nan]), "not finite"),
        (lambda: RadialMask([0.0], "round"), "linear or flat"),
        (lambda: AmplitudeMask(np.full((2, 2), 2.0)), "transmission"),
        (lambda: AmplitudeMask(np.zeros((2, 2))), "lets some light through"),
        (lambda: mask_from({"kind": "magic"}), "kind must be one of"),
        (lambda: mask_from({"kind": "spiral", "ring": 3}), "has no ring"),
    ],
)
def test_wrong_masks_are_refused_in_one_sentence(make, what):
    with pytest.raises(InputError, match=what):
        make()


@each_mask
def test_a_grid_has_the_heights_and_amplitudes_of_its_points(mask):
    x, y = np.linspace(-0.98, 0.97, 23), np.linspace(-0.7, 1.0, 17)
    points = np.meshgrid(x, y)
    np.testing.assert_array_equal(mask.amplitude_on(x, y), mask.amplitude(*points))
    if mask.height(*points) is None:
        assert mask.height_on(x, y) is None
    else:
        inside = np.hypot(*points) <= 1
        np.testing.assert_allclose(mask.height_on(x, y)[inside], mask.height(*points)[inside], atol=1e-18)


def test_zernike_polynomials_of_high_order_over_a_grid():
    coefficients = np.random.default_rng(1).normal(size=120)
    x, y = np.linspace(-0.7, 0.7, 31), np.linspace(-0.6, 0.7, 29)
    mask = ZernikeMask(coefficients)
    height = mask.height(*np.meshgrid(x, y))
    np.testing.assert_allclose(mask.height_on(x, y), height, atol=1e-9 * np.abs(height).max())


def test_radial_profiles_are_interpolated_or_flat():
    x, y = np.array([0.0, 0.25, 0.3, 0.5, 1.0]), np.zeros(5)
    heights = np.array([1e-7, 3e-7, 2e-7])
    np.testing.assert_allclose(RadialMask(heights).height(x, y), np.interp(x, [0, 0.5, 1], heights), atol=1e-20)
    flat = RadialMask(heights, "flat").height(x, y)
    np.testing.assert_allclose(flat, heights[[0, 0, 0, 1, 2]])
    np.testing.assert_array_equal(RadialMask([2e-7]).height(x, y), np.full(5, 2e-7))
    turned = RadialMask(heights).height(0.6 * x, 0.8 * x)
    np.testing.assert_allclose(turned, RadialMask(heights).height(x, y), atol=1e-20)


def test_steepness_of_radial_profiles():
    """Of a linear one its steepest piece; of flat rings a step of a whole turn is none."""
    turn = GREEN / (GLASSES["NOA61"].index(GREEN) - 1)
    assert RadialMask([0.0, turn / 4, 0.0]).steepness() == pytest.approx(math.pi)
    assert RadialMask([0.0, turn, 0.0], "flat").steepness() == pytest.approx(0, abs=1e-6)


@each_mask
def test_masks_survive_json(mask):
    import json

    again = mask_from(json.loads(json.dumps(mask.to_dict())))
    np.testing.assert_array_equal(pupil_of(again), pupil_of(mask))
    assert again.name == mask.name


def test_undersampling_is_refused_with_the_number_needed():
    assert wave.samples_needed(100.0, 10.0) == 128
    assert wave.samples_needed(1.0, 300.0) == 300
    wave.check_samples(128, 100.0, 10.0)
    with pytest.raises(InputError, match=r"need 128 samples across it, not 127"):
        wave.check_samples(127, 100.0, 10.0)


def test_steepness_bounds_the_phase_between_samples():
    """Cubic and Zernike phases: no two neighbouring samples differ by more than the bound says."""
    for mask in (CubicMask(9.0), ZernikeMask((0, 0, 0, 2.0, 1.0, 0, 0.5))):
        x, y = wave.pupil_grid(200)
        phase = np.where(x**2 + y**2 <= 1, mask.phase(x, y), np.nan)
        steps = np.nanmax([np.nanmax(np.abs(np.diff(phase, axis=a))) for a in (0, 1)])
        assert steps <= mask.steepness() * 0.01 * 1.02


PSF = {"pitch": 2.2e-6, "f_number": 4.0, "size": 15, "samples": 64}


@each_mask
def test_torch_gives_what_numpy_gives(mask):
    torch = pytest.importorskip("torch")
    psi = np.array([-5.0, 0.0, 3.0])
    ours = mask_psfs(mask, psi, 610e-9, **PSF)
    theirs = mask_psfs(mask, torch.from_numpy(psi), 610e-9, **PSF)
    assert theirs.dtype == torch.float64
    np.testing.assert_allclose(theirs.numpy(), ours, atol=1e-12)
    single = mask_psfs(mask, torch.from_numpy(psi).float(), 610e-9, **PSF)
    assert single.dtype == torch.float32
    np.testing.assert_allclose(single.numpy(), ours, atol=1e-6)


@pytest.mark.parametrize("form", ["rings", "blend"])
def test_gradients_reach_the_spiral(form):
    torch = pytest.importorskip("torch")
    psi = torch.tensor([-4.0, 2.0], dtype=torch.float64)

    def psf(lobes, confinement):
        mask = SpiralMask(zones=3, lobes=lobes, confinement=confinement, form=form, gain=20.0)
        return mask_psfs(mask, psi, 610e-9, pitch=2.2e-6, f_number=4.0, size=7, samples=24)

    start = [torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in (1.3, 0.55)]
    assert torch.autograd.gradcheck(psf, start)
    for gradient in torch.autograd.grad(psf(*start)[0, 3, 2], start):
        assert float(gradient.abs()) > 1e-7


def test_gradients_reach_heights_defocus_and_coefficients():
    torch = pytest.importorskip("torch")
    generator = torch.Generator().manual_seed(1)
    heights = (torch.rand(5, 5, generator=generator, dtype=torch.float64) * 1e-6).requires_grad_()
    psi = torch.tensor([3.0], dtype=torch.float64, requires_grad=True)
    scale = 1e-6  # gradcheck steps by 1e-6: heights are given in micrometres

    def psf(h, p):
        return mask_psfs(HeightMap(h * scale), p, 610e-9, pitch=2.2e-6, f_number=4.0, size=5, samples=20)

    assert torch.autograd.gradcheck(psf, ((heights / scale).detach().requires_grad_(), psi))
    coefficients = torch.tensor([0.0, 0.1, 0.0, 0.5, 0.3], dtype=torch.float64, requires_grad=True)

    def by_zernike(a):
        return mask_psfs(ZernikeMask(a), psi.detach(), 610e-9, pitch=2.2e-6, f_number=4.0, size=5, samples=20)

    assert torch.autograd.gradcheck(by_zernike, (coefficients,))
