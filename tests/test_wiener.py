"""The classical Wiener filter: closed forms, MATLAB's conventions, borders, and layers beside a slow twin."""

import numpy as np
import pytest

from defocal import InputError
from defocal.evaluate.image_errors import image_metrics
from defocal.evaluate.wiener import edgetaper, taper_weights, transfer, wiener, wiener_layers
from defocal.synth import PsfBank, ThinLens

LENS = ThinLens(focal_length=0.05, f_number=2.0, focus_distance=1.6, pixel_pitch=2e-4)


def disk(diameter):
    return PsfBank.disk(LENS).kernel(diameter).astype(np.float64)


def picture(height=72, width=64, seed=0):
    """Rectangles of all sizes: edges, and a spectrum that falls as that of photographs."""
    rng = np.random.default_rng(seed)
    image = np.zeros((height, width))
    for size in (40, 24, 12, 6, 3) * 6:
        y, x = rng.integers(-size // 2, height), rng.integers(-size // 2, width)
        image[max(0, y) : y + size, max(0, x) : x + size] = rng.random()
    return image


def periodic_blur(image, kernel):
    """Sum of shifted pictures: convolution by its definition, the axis at (n // 2, m // 2)."""
    out = np.zeros(image.shape)
    for y, x in np.ndindex(kernel.shape):
        out += kernel[y, x] * np.roll(image, (y - kernel.shape[0] // 2, x - kernel.shape[1] // 2), (0, 1))
    return out


def psnr(one, other):
    return -10 * np.log10(np.mean((one - other) ** 2))


@pytest.mark.parametrize("shape", [(5, 5), (4, 7), (1, 3)])
@pytest.mark.parametrize("size", [(20, 24), (21, 23)])
def test_the_transform_is_that_of_a_convolution_about_the_axis(shape, size):
    kernel = np.random.default_rng(1).random(shape)
    image = picture(*size)
    found = np.fft.irfft2(np.fft.rfft2(image) * transfer(kernel, size), size)
    np.testing.assert_allclose(found, periodic_blur(image, kernel), atol=1e-12)


def test_without_noise_the_inverse_filter_is_perfect():
    kernel = np.random.default_rng(2).random((5, 5)) + 10 * np.eye(5)[:, ::-1] * np.eye(5)
    kernel /= kernel.sum()
    image = picture()
    blurred = periodic_blur(image, kernel)
    assert psnr(blurred, image) < 45
    np.testing.assert_allclose(wiener(blurred, kernel, 0.0), image, atol=1e-9)
    np.testing.assert_allclose(wiener(blurred, kernel, 1e-12), image, atol=1e-6)


def test_a_kernel_of_one_pixel_leaves_the_textbook_factor():
    np.testing.assert_allclose(wiener(picture(), np.ones((1, 1)), 0.25), picture() / 1.25, atol=1e-12)


def test_frequencies_that_a_kernel_has_none_of_stay_zero():
    kernel = np.full((1, 4), 0.25)
    found = wiener(periodic_blur(picture(16, 16), kernel), kernel, 0.0)
    assert np.isfinite(found).all()
    assert abs(np.fft.fft2(found)[0, 4]) < 1e-9


def test_the_best_ratio_is_that_of_noise_and_signal():
    """For a picture whose spectrum is flat one ratio is the least-squares filter of all frequencies."""
    rng = np.random.default_rng(3)
    image, kernel = rng.standard_normal((64, 64)), disk(7.0)
    blurred = periodic_blur(image, kernel) + 0.1 * rng.standard_normal(image.shape)
    errors = {ratio: np.mean((wiener(blurred, kernel, ratio) - image) ** 2) for ratio in (1e-3, 1e-2, 1e-1)}
    assert min(errors, key=errors.get) == 1e-2


def naive_taper(image, kernel):
    """MATLAB's edgetaper, from its documentation: one axis after the other, by sums."""
    weights = []
    for axis in (0, 1):
        projection, period = kernel.sum(axis=1 - axis), image.shape[axis] - 1
        padded = np.zeros(period)
        padded[: len(projection)] = projection
        correlation = [sum(padded[i] * padded[(i + lag) % period] for i in range(period)) for lag in range(period)]
        weights.append(1 - np.array([*correlation, correlation[0]]) / max(correlation))
    alpha = np.outer(*weights)
    blurred = periodic_blur(image, kernel)
    return np.clip(alpha * image + (1 - alpha) * blurred, image.min(), image.max())


def test_edgetaper_is_that_of_matlab():
    kernel = np.random.default_rng(4).random((5, 7))
    kernel /= kernel.sum()
    image = picture(24, 31)
    np.testing.assert_allclose(edgetaper(image, kernel), naive_taper(image, kernel), atol=1e-12)
    weights = taper_weights(kernel, (24, 31))
    assert weights[0, 0] == 0
    assert weights[12, 15] == 1
    np.testing.assert_allclose(weights[5:-5, 7:-7], 1, atol=1e-12)


def test_a_taper_saves_a_picture_that_goes_on_beyond_its_borders():
    whole, kernel = picture(160, 160, seed=5), disk(7.0)
    blurred, truth = (one[40:120, 40:120] for one in (periodic_blur(whole, kernel), whole))
    inner = (slice(10, -10), slice(10, -10))
    plain = psnr(wiener(blurred, kernel, 1e-4)[inner], truth[inner])
    tapered = psnr(wiener(edgetaper(blurred, kernel), kernel, 1e-4)[inner], truth[inner])
    assert tapered > plain + 6


def test_layers_are_cut_out_of_whole_restorations():
    rng = np.random.default_rng(6)
    image = rng.random((20, 26, 3))
    kernels = rng.random((4, 3, 4, 5))
    kernels /= kernels.sum((2, 3), keepdims=True)
    plane = np.repeat(np.array([0, 0, 1, 3]), [5, 5, 8, 8])[None, :].repeat(20, 0)
    found = wiener_layers(image, plane, kernels, (0.1, 0.01))
    assert found.shape == (2, 20, 26, 3)
    around = np.pad(image, [(4, 6), (5, 5), (0, 0)], mode="edge")  # to sizes of small prime factors: 30 x 36
    for r, ratio in enumerate((0.1, 0.01)):
        for y, x, c in np.ndindex(20, 26, 3):
            if (y + x) % 7:
                continue
            kernel = kernels[plane[y, x], c]
            whole = wiener(edgetaper(around[..., c], kernel), kernel, ratio)
            assert found[r, y, x, c] == pytest.approx(whole[y + 4, x + 5], abs=1e-9)


def test_layers_of_one_kernel_restore_to_the_border():
    whole, kernel = picture(140, 150, seed=7), disk(5.0)
    blurred, truth = (one[30:100, 30:110] for one in (periodic_blur(whole, kernel), whole))
    blurred = blurred + 0.01 * np.random.default_rng(8).standard_normal(blurred.shape)
    plane = np.zeros(truth.shape, np.int64)
    found = wiener_layers(blurred[..., None], plane, kernel[None, None], (1e-2,))[0, ..., 0]
    crude = wiener_layers(blurred[..., None], plane, kernel[None, None], (1e-2,), taper=False)[0, ..., 0]
    before = image_metrics(blurred, truth)["psnr"]
    assert image_metrics(found, truth)["psnr"] > before + 1
    assert image_metrics(found, truth)["psnr"] >= image_metrics(crude, truth)["psnr"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"image": np.zeros((8, 9))}, "go together"),
        ({"plane": np.zeros((8, 8), int)}, "go together"),
        ({"plane": np.full((8, 9), 2)}, "numbered from 0 to 1"),
        ({"kernels": np.ones((2, 2, 3, 3)) / 9}, "1 or 3"),
    ],
)
def test_what_does_not_go_together_is_refused(change, words):
    given = {"image": np.zeros((8, 9, 3)), "plane": np.zeros((8, 9), int), "kernels": np.ones((2, 1, 3, 3)) / 9}
    with pytest.raises(InputError, match=words):
        wiener_layers(**{**given, **change}, nsr=(0.1,))


def test_a_kernel_larger_than_the_picture_is_refused():
    with pytest.raises(InputError, match="does not fit"):
        wiener(np.zeros((4, 4)), np.ones((5, 5)) / 25, 0.1)
    with pytest.raises(InputError, match=r"shape \(H, W\)"):
        wiener(np.zeros((4, 4, 3)), np.ones((1, 1)), 0.1)
