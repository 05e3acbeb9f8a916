"""Designs: their criteria against closed forms and slow code, and that each design is an optimum of its criterion."""

import math
from itertools import pairwise

import numpy as np
import pytest
from scipy.ndimage import label

from defocal.synth.apertures import coded_aperture, round_aperture
from defocal.synth.psf_shapes import aperture_kernel
from defocal.synth.pupil import AmplitudeMask, ClearMask, CubicMask, SpiralMask, ZernikeMask, mask_from, mask_psfs
from defocal.synth.pupil.designs import FISHER_COEFFICIENTS, blur_divergences, fisher_mask, localisation_bounds

PLANES = np.linspace(-10, 10, 21)
DIAMETERS = range(5, 14)
DISK = round_aperture(64)


def criterion(mask, planes=PLANES, **settings):
    return float(localisation_bounds(mask, planes, **settings).sum(axis=1).mean())


def with_changes(changes):
    """Of the coefficients 5 to 28."""
    return ZernikeMask(np.asarray(FISHER_COEFFICIENTS) + np.concatenate([np.zeros(4), changes]))


def test_in_focus_the_bound_is_that_of_the_airy_pattern():
    """Of a real field with N photons and no background the information on x is 4 N pi^2 mean(u^2) = N pi^2.

    Pixels wash out the dark rings, and the window loses the outermost ones: 3 % here, 15 % with pixels of 0.25.
    """
    bounds = localisation_bounds(ClearMask(), np.zeros(1), photons=900, background=1e-9, pixel=0.05, size=600)
    np.testing.assert_allclose(bounds[0, :2] * math.pi * 30, 1.02, atol=0.02)
    assert bounds[0, 2] > 1e3


@pytest.mark.parametrize(
    "mask", [fisher_mask(), SpiralMask(), CubicMask(20.0), AmplitudeMask(np.tri(5))], ids=lambda mask: mask.name
)
def test_no_bound_is_below_that_of_the_field(mask):
    """No detector of N photons does better than 4 N times the variance of the phase's derivative over the pupil."""
    samples = 96
    x, y = np.meshgrid(*2 * [(np.arange(samples) + 0.5) * 2 / samples - 1])
    light = mask.amplitude(x, y) ** 2
    for j, phase in enumerate((math.pi * x, math.pi * y, x**2 + y**2)):
        mean = np.average(phase, weights=light)
        least = 1 / np.sqrt(4 * 3000 * np.average((phase - mean) ** 2, weights=light))
        bounds = localisation_bounds(mask, PLANES[::4], background=1e-6, size=96, samples=samples)[:, j]
        assert bounds.min() > 0.999 * least


def test_the_bounds_are_the_inverse_of_the_information_by_finite_differences():
    coefficients = np.array([0.0, 0.0, 0.0, 0.0, 0.9, 0.0, 0.4, -0.3])
    optics = {"pitch": 0.5 * 550e-9, "f_number": 1.0, "size": 40, "samples": 64}

    def counts(x, y, psi):
        # Noll's tilts are 2 x and 2 y; a phase of -pi x moves the image by one unit.
        moved = coefficients - math.pi / 2 * np.array([0, x, y, 0, 0, 0, 0, 0])
        return 700 * mask_psfs(ZernikeMask(moved), np.array([psi]), 550e-9, **optics)[0].ravel() + 2

    step, at = 1e-4, np.array([0.0, 0.0, 3.0])
    slopes = np.array([(counts(*(at + e)) - counts(*(at - e))) / (2 * step) for e in step * np.eye(3)])
    expected = np.sqrt(np.diag(np.linalg.inv(slopes / counts(*at) @ slopes.T)))
    bounds = localisation_bounds(ZernikeMask(coefficients), np.array([3.0]), photons=700, background=2, size=40)
    np.testing.assert_allclose(bounds[0], expected, rtol=1e-5)


def test_torch_gives_the_same_bounds_and_gradients_reach_the_mask():
    torch = pytest.importorskip("torch")
    planes = torch.tensor([-4.0, 1.0], dtype=torch.float64)
    start = torch.tensor([0.0, 0.0, 0.0, 0.0, 0.9, 0.2], dtype=torch.float64, requires_grad=True)

    def bounds(coefficients):
        return localisation_bounds(ZernikeMask(coefficients), planes, size=16, samples=20)

    ours = localisation_bounds(ZernikeMask(start.detach().numpy()), planes.numpy(), size=16, samples=20)
    np.testing.assert_allclose(bounds(start).detach().numpy(), ours, rtol=1e-9)
    assert torch.autograd.gradcheck(bounds, (start,), fast_mode=True)


def test_the_fisher_mask_reaches_what_it_says():
    bounds = localisation_bounds(fisher_mask(), PLANES)
    np.testing.assert_allclose(bounds.mean(axis=0), [0.0164, 0.0164, 0.0612], atol=1e-4)
    assert bounds.sum(axis=1).mean() == pytest.approx(0.0940, abs=1e-4)
    assert bounds.sum(axis=1).min() > 0.08
    assert bounds.sum(axis=1).max() < 0.115
    assert criterion(fisher_mask(), samples=128, size=96) == pytest.approx(0.0940, abs=3e-4)


def test_the_fisher_mask_beats_the_clear_pupil_and_astigmatism():
    ours = criterion(fisher_mask())
    assert criterion(ClearMask(), PLANES[PLANES != 0]) > 1.28 * ours
    assert criterion(ClearMask()) > 1e3 * ours
    assert min(criterion(ZernikeMask((0, 0, 0, 0, 0, a))) for a in (0.3, 0.45, 0.6, 0.9, 1.2, 1.8, 2.5)) > 1.28 * ours


def test_the_fisher_mask_is_a_local_optimum():
    """Rounded to four digits; turns of the mask, to which only the pixel grid objects, gain up to 0.12 %."""
    ours, rng = criterion(fisher_mask()), np.random.default_rng(3)
    for size in (0.003, 0.03, 0.1):
        for _ in range(3):
            assert criterion(with_changes(rng.normal(0, size, 24))) > 0.998 * ours
    for j, change in [(j, change) for j in (1, 7, 19) for change in (-0.03, 0.03)]:
        assert criterion(with_changes(change * (np.arange(24) == j))) > ours


@pytest.mark.slow
def test_the_search_for_the_fisher_mask_finds_it_again():
    """From astigmatisms far away, all 24 polynomials free."""
    torch = pytest.importorskip("torch")
    planes = torch.from_numpy(PLANES)
    start = np.random.default_rng(0).normal(0, 0.15, 24)
    start[1], start[7] = start[1] + 2.5, start[7] - 2.0
    free = torch.tensor(start, requires_grad=True)
    search = torch.optim.LBFGS([free], max_iter=60, line_search_fn="strong_wolfe")

    def loss():
        search.zero_grad()
        mask = ZernikeMask(torch.cat([torch.zeros(4, dtype=torch.float64), free]))
        value = localisation_bounds(mask, planes).sum(dim=1).mean()
        value.backward()
        return value

    search.step(loss)
    found = free.detach().numpy()
    assert criterion(ZernikeMask(np.concatenate([np.zeros(4), found]))) == pytest.approx(0.0940, abs=3e-4)
    for cosine, sine in ((6, 5), (12, 13), (24, 23), (28, 27)):
        strength = math.hypot(found[cosine - 5], found[sine - 5])
        assert strength == pytest.approx(abs(FISHER_COEFFICIENTS[cosine - 1]), abs=0.06)


def test_the_fisher_mask_takes_the_options_of_a_mask():
    mask = fisher_mask(wavelength=530e-9, glass="n=1.5", obstruction=0.2, wrapped=True)
    assert (mask.wavelength, mask.glass, mask.obstruction, mask.wrapped) == (530e-9, "n=1.5", 0.2, True)
    again = mask_from(mask.to_dict())
    np.testing.assert_array_equal(localisation_bounds(again, PLANES[:2]), localisation_bounds(mask, PLANES[:2]))
    # At its own wavelength a wrapped mask is the smooth one.
    smooth = localisation_bounds(fisher_mask(wavelength=530e-9, glass="n=1.5", obstruction=0.2), PLANES[:2])
    np.testing.assert_allclose(localisation_bounds(mask, PLANES[:2]), smooth, rtol=1e-9)


def slow_divergences(pattern, diameters, noise):
    """From the kernels that a bank of the pattern has, frequency by frequency."""
    spectra = []
    f = np.fft.fftfreq(64)
    for diameter in diameters:
        kernel = aperture_kernel(pattern, diameter)
        transfer = np.abs(np.fft.fft2(kernel / kernel.sum(), (64, 64))) ** 2
        spectra.append({
            (i, j): transfer[i, j] / (4 * math.sin(math.pi * f[i]) ** 2 + 4 * math.sin(math.pi * f[j]) ** 2) + noise**2
            for i in range(64) for j in range(64) if i or j
        })  # fmt: skip
    ways = []
    for one, other in pairwise(spectra):
        both = ((one, other), (other, one))
        ways.append(min(sum(a[k] / b[k] - math.log(a[k] / b[k]) - 1 for k in a) / 2 / 64**2 for a, b in both))
    return ways


@pytest.mark.parametrize("pattern", [coded_aperture("levin-criterion"), DISK], ids=["coded", "round"])
def test_divergences_are_those_of_the_kernels(pattern):
    """Kernels are sampled at pixels: narrow ones hold aliases, which the transfer function of the shadow does not."""
    wide = (14.0, 16.0, 18.0)
    np.testing.assert_allclose(blur_divergences(pattern, wide), slow_divergences(pattern, wide, 0.05), rtol=0.06)


def test_the_kernels_of_the_coded_aperture_differ_too():
    ours, theirs = (min(slow_divergences(p, DIAMETERS, 0.05)) for p in (coded_aperture("levin-criterion"), DISK))
    assert ours == pytest.approx(0.072, abs=1e-3)
    assert ours > 4.8 * theirs


def test_divergences_have_torch_and_gradients():
    torch = pytest.importorskip("torch")
    pattern = coded_aperture("levin-criterion")
    theirs = torch.from_numpy(pattern).requires_grad_()
    values = blur_divergences(theirs, DIAMETERS)
    np.testing.assert_allclose(values.detach().numpy(), blur_divergences(pattern, DIAMETERS), rtol=1e-9)
    (gradient,) = torch.autograd.grad(values.min(), theirs)
    assert float(gradient.abs().max()) > 1e-5
    single = blur_divergences(theirs.detach().float(), DIAMETERS)
    assert single.dtype == torch.float32
    np.testing.assert_allclose(single.numpy(), values.detach().numpy(), rtol=1e-3)


def neighbours(pattern, swaps):
    """Patterns with one cell flipped or two swapped that keep to the rules of the design."""
    cells = np.flatnonzero(inscribed(13))
    flips = [(cell,) for cell in cells]
    pairs = [(a, b) for a in cells for b in cells if pattern.flat[a] < pattern.flat[b]] if swaps else []
    for change in flips + pairs:
        other = pattern.copy()
        other.flat[list(change)] = 1 - other.flat[list(change)]
        if 48 <= other.sum() <= 52 and opaque_parts(other) == 1:
            yield other


def inscribed(n):
    """Cells wholly within the circle."""
    corner = (np.abs(np.arange(n) - (n - 1) / 2) + 0.5) * 2 / n
    return np.hypot(corner[:, None], corner[None, :]) <= 1


def opaque_parts(pattern):
    """Pieces of the sheet with its frame around the pattern; cells that only touch at a corner do not hang together."""
    return label(np.pad(pattern, 1) == 0)[1]


def test_the_coded_aperture_keeps_to_its_rules():
    pattern = coded_aperture("levin-criterion")
    assert pattern.shape == (13, 13)
    assert set(np.unique(pattern)) == {0.0, 1.0}
    assert not pattern[~inscribed(13)].any()
    assert 48 <= pattern.sum() <= 52
    assert opaque_parts(pattern) == 1
    np.testing.assert_array_equal(pattern, pattern[::-1, ::-1])
    assert opaque_parts(np.pad(np.zeros((1, 1)), 1, constant_values=1)) == 2


def test_the_coded_aperture_beats_the_round_one_and_muras():
    ours = blur_divergences(coded_aperture("levin-criterion"), DIAMETERS).min()
    assert ours == pytest.approx(0.0740, abs=1e-4)
    assert ours > 5 * blur_divergences(DISK, DIAMETERS).min()
    assert ours > 3.5 * max(blur_divergences(coded_aperture(f"mura-{n}"), DIAMETERS).min() for n in (5, 7, 11, 13))


@pytest.mark.parametrize("swaps", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["flips", "swaps"])
def test_no_small_change_improves_the_coded_aperture(swaps):
    pattern = coded_aperture("levin-criterion")
    least = blur_divergences(pattern, DIAMETERS).min()
    others = [blur_divergences(other, DIAMETERS).min() for other in neighbours(pattern, swaps)]
    assert len(others) > (500 if swaps else 10)
    assert max(others) <= least * (1 + 1e-4)
