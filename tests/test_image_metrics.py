"""Metrics of images: by hand, beside slow twins and other people's code."""

import math
import sys

import numpy as np
import pytest
from rgbd import refusal

from defocal.evaluate.metrics import (
    ImageScores,
    image_metrics,
    ssim_map,
)


def image_pair(seed=0, size=(40, 50, 3)):
    rng = np.random.default_rng(seed)
    truth = np.clip(np.cumsum(rng.standard_normal(size), 1) * 0.05 + 0.5, 0, 1)
    return np.clip(truth + 0.05 * rng.standard_normal(size), 0, 1), truth


def test_psnr_by_hand():
    truth = np.zeros((12, 12), np.uint8)
    assert image_metrics(truth + np.uint8(1), truth)["psnr"] == pytest.approx(20 * math.log10(255))
    assert image_metrics(truth, truth)["psnr"] == math.inf
    assert image_metrics(truth + np.float32(0.1), truth.astype(np.float32))["psnr"] == pytest.approx(20, abs=1e-5)
    assert image_metrics(truth + 5.0, truth + 0.0, data_range=50)["psnr"] == pytest.approx(20)


def test_ssim_of_constants_is_its_luminance_term():
    a, b, c1 = 0.2, 0.7, 0.01**2
    expected = (2 * a * b + c1) / (a * a + b * b + c1)
    assert image_metrics(np.full((15, 15), a), np.full((15, 15), b))["ssim"] == pytest.approx(expected)


def test_ssim_equals_a_loop_over_windows():
    prediction, truth = (image[..., 0] for image in image_pair(size=(14, 13, 1)))
    x = np.arange(-5, 6)
    w = np.exp(-(x[:, None] ** 2 + x**2) / (2 * 1.5**2))
    w /= w.sum()
    found = ssim_map(prediction, truth)
    assert found.shape == (4, 3, 1)
    for i in range(4):
        for j in range(3):
            a, b = prediction[i : i + 11, j : j + 11], truth[i : i + 11, j : j + 11]
            ma, mb = (w * a).sum(), (w * b).sum()
            va, vb, c = (w * (a - ma) ** 2).sum(), (w * (b - mb) ** 2).sum(), (w * (a - ma) * (b - mb)).sum()
            wanted = (2 * ma * mb + 1e-4) * (2 * c + 9e-4) / ((ma**2 + mb**2 + 1e-4) * (va + vb + 9e-4))
            assert found[i, j, 0] == pytest.approx(wanted, rel=1e-10)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float64])
def test_agreement_with_scikit_image(dtype):
    skimage = pytest.importorskip("skimage.metrics")
    prediction, truth = image_pair()
    if dtype != np.float64:
        prediction, truth = ((np.iinfo(dtype).max * image).round().astype(dtype) for image in (prediction, truth))
    peak = 1.0 if dtype == np.float64 else np.iinfo(dtype).max
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "channel_axis": 2}
    found = image_metrics(prediction, truth)
    assert found["psnr"] == pytest.approx(skimage.peak_signal_noise_ratio(truth, prediction, data_range=peak))
    assert found["ssim"] == pytest.approx(
        skimage.structural_similarity(truth, prediction, data_range=peak, **options), rel=1e-9
    )


@pytest.mark.filterwarnings("ignore")
def test_agreement_with_torchmetrics(monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "matplotlib"]:
        # Where it is not installed colour-science puts a dummy in its place, which others stumble over.
        monkeypatch.delitem(sys.modules, name)
    pytest.importorskip("torchmetrics")
    import torch
    from torchmetrics.image import PeakSignalNoiseRatio, StructuralSimilarityIndexMeasure

    prediction, truth = image_pair()
    a, b = (torch.from_numpy(image.transpose(2, 0, 1)[None].copy()) for image in (prediction, truth))
    found = image_metrics(prediction, truth)
    assert found["psnr"] == pytest.approx(float(PeakSignalNoiseRatio(data_range=1.0)(a, b)), rel=1e-5)
    # It averages over mirrored borders too: give it what ours leaves out, and take what ours takes.
    _, every = StructuralSimilarityIndexMeasure(data_range=1.0, return_full_image=True)(a, b)
    np.testing.assert_allclose(every[0, :, 5:-5, 5:-5].mean(), found["ssim"], rtol=1e-6)


def test_valid_pixels_of_images():
    prediction, truth = image_pair()
    valid = np.ones(truth.shape[:2], bool)
    valid[:, 25:] = False
    half = image_metrics(prediction[:, :25], truth[:, :25])
    assert image_metrics(np.where(valid[..., None], prediction, np.nan), truth, valid) == pytest.approx(half)
    assert all(math.isnan(value) for value in image_metrics(prediction, truth, ~valid & valid).values())
    assert math.isnan(image_metrics(prediction[:8], truth[:8])["ssim"])


def test_image_scores_average_both_ways():
    scores, part = ImageScores(), ImageScores()
    pairs = [image_pair(0), image_pair(1, (30, 30, 3))]
    own = [scores.add(*pairs[0]), part.add(*pairs[1])]
    scores.merge(part)
    found = scores.result()
    assert found.per_image["psnr"] == pytest.approx(np.mean([one["psnr"] for one in own]))
    errors = np.concatenate([((a - b) ** 2).ravel() for a, b in pairs])
    assert found.per_pixel["psnr"] == pytest.approx(-10 * np.log10(errors.mean()))
    windows = np.concatenate([ssim_map(a, b).ravel() for a, b in pairs])
    assert found.per_pixel["ssim"] == pytest.approx(windows.mean())
    assert found.pixels == errors.size
    refusal(lambda: scores.merge(ImageScores(2.0)), "data ranges")


@pytest.mark.parametrize(
    ("words", "prediction", "target", "more"),
    [
        ("share one shape", np.zeros((12, 12)), np.zeros((12, 13)), {}),
        ("one type", np.zeros((12, 12), np.uint8), np.zeros((12, 12)), {}),
        ("customary range", np.zeros((12, 12), int), np.zeros((12, 12), int), {}),
        ("above 0", np.zeros((12, 12)), np.zeros((12, 12)), {"data_range": 0}),
        ("booleans", np.zeros((12, 12)), np.zeros((12, 12)), {"valid": np.zeros(12, bool)}),
        ("NaN or infinite", np.full((12, 12), np.nan), np.zeros((12, 12)), {}),
    ],
)
def test_images_that_cannot_be_judged_are_refused(words, prediction, target, more):
    refusal(lambda: image_metrics(prediction, target, **more), words)
