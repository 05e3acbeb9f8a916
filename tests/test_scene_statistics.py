"""Statistics of scenes: on pictures whose answers are known, and the page that shows them."""

import math
import re

import numpy as np
import pytest
from rgbd import refusal

from defocal.evaluate.row import Row
from defocal.evaluate.scene_page import scene_page
from defocal.evaluate.scene_statistics import DEPTH_EDGES, SceneCounter

NAN = np.nan


def counted(image, depth=None, **more):
    image = np.asarray(image)
    if image.ndim == 2:
        image = image[..., None].repeat(3, axis=2)
    counter = SceneCounter()
    counter.add(image, np.ones(image.shape[:2], np.float32) if depth is None else np.asarray(depth), **more)
    return counter.result()


def noise(alpha, size=(384, 512), seed=0, contrast=0.1):
    """Noise of amplitude 1/f^alpha around a half; made twice as large, so that its ends do not meet."""
    rng = np.random.default_rng(seed)
    height, width = 2 * size[0], 2 * size[1]
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width))
    frequency[0, 0] = 1
    values = np.fft.irfft2(np.fft.rfft2(rng.standard_normal((height, width))) / frequency**alpha, (height, width))
    values = values[: size[0], : size[1]]
    return 0.5 + contrast * values / np.abs(values).max()


@pytest.mark.parametrize("alpha", [0.0, 0.5, 0.8, 1.0, 1.2, 1.5, 2.0])
def test_the_slope_of_noise_is_recovered(alpha):
    slopes = [counted(noise(alpha, seed=seed)).slope.mean for seed in range(3)]
    assert np.mean(slopes) == pytest.approx(alpha, abs=0.05)


def test_the_slope_does_not_depend_on_the_shape_or_on_how_bright_it_is():
    image = noise(1.2, (500, 300))
    slope = counted(image).slope.mean
    assert slope == pytest.approx(1.2, abs=0.08)
    assert counted(image.T).slope.mean == pytest.approx(slope, abs=1e-6)
    assert counted(image / 4).slope.mean == pytest.approx(slope, abs=1e-6)


def test_a_ramp_and_the_frame_do_not_make_a_slope_of_white_noise():
    tilted = noise(0.0) + 0.1 * (np.arange(512) / 512 - 0.5)
    assert counted(tilted).slope.mean == pytest.approx(0, abs=0.05)


def test_gaussian_noise_has_a_kurtosis_of_three():
    rng = np.random.default_rng(0)
    assert counted(0.5 + 0.01 * rng.standard_normal((400, 500))).kurtosis.mean == pytest.approx(3, abs=0.05)


def test_differences_of_known_kurtosis():
    """One step in each row, up in half of them and down in the others: 1/p for differences that are rare by p."""
    image = np.full((40, 101), 0.25)
    image[:20, 50:] = 0.5
    image[20:, :50] = 0.5
    assert counted(image).kurtosis.mean == pytest.approx(100, rel=1e-6)


def test_edges_of_a_step():
    image = np.full((31, 41), 0.2)
    image[:, 20:] = 0.6
    depth = np.full((31, 41), 2.0)
    depth[:, 30:] = 3.0
    found = counted(image, depth)
    assert found.image_edges == pytest.approx(1 / 40)
    assert found.depth_edges == pytest.approx(31 / (31 * 40 + 30 * 41))
    depth[:, 30:] = 2.09
    assert counted(image * 0.0, depth).depth_edges == 0


def test_depth_beside_unknown_or_infinite():
    depth = np.array([[1.0, NAN, 5.0], [1.0, np.inf, np.inf]])
    found = counted(np.full((2, 3), 0.5), depth)
    # Known pairs: 1 and 1, 5 and inf, 1 and inf, inf and inf.
    assert found.depth_edges == pytest.approx(2 / 4)
    assert found.unknown == pytest.approx(1 / 6)
    assert (found.farther, found.nearer) == (pytest.approx(2 / 5), 0)
    assert found.depth_share.sum() + found.farther + found.nearer == pytest.approx(1)
    assert found.depth_quantiles[4] == math.inf


def test_the_histogram_of_depth_adds_up_and_finds_the_quantiles():
    rng = np.random.default_rng(1)
    depth = np.exp(rng.uniform(np.log(0.05), np.log(2000), (200, 300)))
    found = counted(np.full((200, 300), 0.5), depth)
    assert found.depth_share.sum() + found.nearer + found.farther == pytest.approx(1)
    quartiles = np.quantile(depth, [0.25, 0.5, 0.75])
    np.testing.assert_allclose(found.depth_quantiles[1:4], quartiles, rtol=0.06)
    assert (found.depth_quantiles[0], found.depth_quantiles[4]) == (DEPTH_EDGES[0], math.inf)
    inside = (depth >= DEPTH_EDGES[0]) & (depth < DEPTH_EDGES[-1])
    assert found.depth_share.sum() == pytest.approx(inside.mean())


def test_luminance_and_contrast_in_every_encoding():
    image = np.zeros((20, 30, 3))
    image[:10] = 1.0
    found = counted(image)
    assert (found.luminance.mean, found.contrast.mean) == (pytest.approx(0.5), pytest.approx(1))
    green = np.zeros((20, 30, 3))
    green[..., 1] = 0.5
    assert counted(green).luminance.mean == pytest.approx(0.7152 / 2)
    code = np.full((20, 30, 3), 188, np.uint8)
    expected = ((188 / 255 + 0.055) / 1.055) ** 2.4
    assert counted(code, encoding="srgb").luminance.mean == pytest.approx(expected)
    assert counted(code.astype(np.uint16) * 257, encoding="srgb").luminance.mean == pytest.approx(expected)
    assert counted(np.full((20, 30), 40.0)).luminance.mean == 1, "highlights are cut off, as in a photograph"


def test_scenes_add_up_in_any_order():
    rng = np.random.default_rng(2)
    images = [noise(alpha, (96, 128), seed=k)[..., None].repeat(3, 2) for k, alpha in enumerate((0.5, 1, 1.5))]
    scenes = [(image, rng.uniform(1, 9, (96, 128))) for image in images]
    one, other = SceneCounter(), SceneCounter()
    for scene in scenes:
        one.add(*scene)
    for scene in scenes[::-1]:
        other.add(*scene)
    a, b = one.result(), other.result()
    np.testing.assert_array_equal(a.depth_share, b.depth_share)
    np.testing.assert_allclose(a.spectrum, b.spectrum)
    slopes = [counted(*scene).slope.mean for scene in scenes]
    assert a.slope.mean == pytest.approx(np.mean(slopes)) == pytest.approx(b.slope.mean)
    assert a.slope.deviation == pytest.approx(np.std(slopes))
    assert (a.slope.least, a.slope.greatest) == (min(slopes), max(slopes))
    assert a.scenes == 3


def test_small_dark_and_plain_scenes_have_no_slope_and_do_no_harm():
    for image in (np.zeros((80, 90)), np.full((80, 90), 0.3), np.full((2, 3), 0.3)):
        found = counted(image)
        assert math.isnan(found.kurtosis.mean)
        assert not found.slope.mean > 0
        assert "<main>" in scene_page("plain", found, [])


def test_what_cannot_be_counted_is_refused():
    refusal(lambda: SceneCounter().result(), "at least one scene")
    refusal(lambda: counted(np.ones((4, 5, 4))), "(4, 5, 4)")
    refusal(lambda: counted(np.ones((4, 5)), np.ones((5, 4))), "(5, 4)")
    refusal(lambda: counted(np.full((4, 5), NAN)), "finite")


def page(alpha=1.0, source="kitchen <1>"):
    image = noise(alpha, (192, 256))
    depth = np.full((192, 256), 2.0, np.float32)
    depth[:, 100:] = 4.0
    depth[:5] = NAN
    codes = np.rint(255 * image).astype(np.uint8)[..., None].repeat(3, 2)
    return scene_page("Scenes & more", counted(image, depth), [Row(index=0, source=source, aif=codes, depth=depth)])


def test_the_page_stands_alone_and_says_what_is_within():
    text = page()
    assert "Scenes &amp; more" in text
    assert "kitchen &lt;1&gt;" in text
    assert "kitchen <1>" not in text
    assert not re.search(r"(src|href)=\"?(?!data:)[a-z]+:", text)
    assert "//" not in re.sub(r"base64,[^\"]*", "", text)
    assert text.count("data:image/webp") == 2
    assert text.count("<svg") == 2
    assert 'class="within">within: fine detail' in text
    assert not re.search(r"\b(nan|inf)\b", re.sub(r"base64,[^\"]*", "", text).lower())


@pytest.mark.parametrize(("alpha", "words"), [(0.2, "more fine detail"), (2.0, "less fine detail")])
def test_the_page_says_what_is_outside(alpha, words):
    assert f'class="outside">outside: {words}' in page(alpha)


def test_the_same_input_gives_the_same_page():
    assert page() == page()


def test_a_picture_without_depth_is_refused():
    image = np.full((20, 30, 3), 100, np.uint8)
    refusal(
        lambda: scene_page("x", counted(image, encoding="srgb"), [Row(index=4, source="a", aif=image)]), "4", "depth"
    )
