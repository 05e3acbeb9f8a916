"""From raw files to colour: flat colours exactly, Malvar-He-Cutler as others compute it, highlights without tint."""

import warnings
from dataclasses import replace

import cv2
import numpy as np
import pytest
from scipy.ndimage import convolve

from defocal import InputError
from defocal.synth import Sensor
from defocal.synth.development import demosaic_malvar, develop
from defocal.synth.sensor import expose

ORDERS = ["RGGB", "BGGR", "GRBG", "GBRG"]
METHODS = ["malvar", "bilinear", "edge-aware"]
QUIET = Sensor(bits=12, full_well=3840, black_level=256, white_level=4095, shot_noise="none")

# Malvar, He and Cutler 2004, figure 2, in eighths.
GREEN = np.array([[0, 0, -1, 0, 0], [0, 0, 2, 0, 0], [-1, 2, 4, 2, -1], [0, 0, 2, 0, 0], [0, 0, -1, 0, 0]]) / 8
ALONG = np.array([[0, 0, 0.5, 0, 0], [0, -1, 0, -1, 0], [-1, 4, 5, 4, -1], [0, -1, 0, -1, 0], [0, 0, 0.5, 0, 0]]) / 8
ACROSS = np.array([[0, 0, -1.5, 0, 0], [0, 2, 0, 2, 0], [-1.5, 0, 6, 0, -1.5], [0, 2, 0, 2, 0], [0, 0, -1.5, 0, 0]]) / 8


def colours(shape, cfa):
    """The channel of each pixel of a mosaic."""
    y, x = np.indices(shape)
    return np.array(["RGB".index(c) for c in cfa])[2 * (y % 2) + x % 2]


def malvar_by_filters(mosaic, cfa):
    """Filter the whole mosaic by each kernel, and take of each what the paper says for the pixel's place."""
    channel = colours(mosaic.shape, cfa)
    own, green, along, down, across = (
        convolve(mosaic.astype(np.float64), kernel, mode="mirror")
        for kernel in (np.pad([[1.0]], 2), GREEN, ALONG, ALONG.T, ACROSS)
    )
    out = np.empty((*mosaic.shape, 3))
    out[..., 1] = np.where(channel == 1, own, green)
    for wanted in (0, 2):
        in_row = (channel == wanted).any(axis=1, keepdims=True)
        at_green = np.where(in_row, along, down)
        out[..., wanted] = np.where(channel == wanted, own, np.where(channel == 1, at_green, across))
    return out


def colour_demosaicing():
    """Return the independent implementation; it warns at import of what it could do with more packages."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("colour_demosaicing").demosaicing_CFA_Bayer_Malvar2004


@pytest.mark.parametrize("cfa", ORDERS)
@pytest.mark.parametrize("shape", [(2, 2), (3, 5), (24, 31), (37, 40)])
def test_malvar_is_its_slow_twin_up_to_the_border(cfa, shape):
    mosaic = np.random.default_rng(1).random(shape, np.float32)
    found = demosaic_malvar(mosaic, cfa)
    assert (found.dtype, found.shape) == (np.float32, (*shape, 3))
    np.testing.assert_allclose(found, malvar_by_filters(mosaic, cfa), atol=1e-6)


@pytest.mark.parametrize("cfa", ORDERS)
def test_malvar_is_that_of_colour_demosaicing_inside(cfa):
    mosaic = np.random.default_rng(2).random((61, 80), np.float32)
    theirs = colour_demosaicing()(mosaic, cfa)
    np.testing.assert_allclose(demosaic_malvar(mosaic, cfa)[2:-2, 2:-2], theirs[2:-2, 2:-2], atol=1e-6)


@pytest.mark.parametrize("demosaic", METHODS)
@pytest.mark.parametrize("cfa", ORDERS)
@pytest.mark.parametrize("shape", [(2, 2), (8, 10), (9, 7), (5, 6)])
def test_flat_colour_comes_back_the_same_everywhere(demosaic, cfa, shape):
    """Each channel has one value, the border included, and it is that of the raw file's number."""
    sensor = replace(QUIET, cfa=cfa, demosaic=demosaic, response=(0.5, 1.0, 0.7), exposure=0.8)
    colour = np.array([0.83, 0.31, 0.57], np.float32)
    raw = expose(np.broadcast_to(colour, (*shape, 3)).astype(np.float32), sensor, (0, 0))
    numbers = np.rint(256 + colour.astype(np.float64) * 0.8 * np.array(sensor.response) * 3839)
    developed = develop(raw, sensor)
    assert (developed == developed[0, 0]).all()
    exact = (numbers - 256) / 3839 / 0.8 / np.array(sensor.response)
    np.testing.assert_allclose(developed[0, 0], exact, rtol=3e-7)


@pytest.mark.parametrize("demosaic", METHODS)
@pytest.mark.parametrize("cfa", ORDERS)
@pytest.mark.parametrize("channel", [0, 1, 2])
def test_a_pure_colour_stays_pure(demosaic, cfa, channel):
    image = np.zeros((11, 9, 3), np.float32)
    image[..., channel] = 0.5
    sensor = replace(QUIET, cfa=cfa, demosaic=demosaic)
    developed = develop(expose(image, sensor, (0, 0)), sensor)
    others = [c for c in range(3) if c != channel]
    assert (developed[..., others] == 0).all()
    np.testing.assert_allclose(developed[..., channel], 0.5, atol=0.5 / 3839)


@pytest.mark.parametrize("cfa", ORDERS)
def test_bilinear_is_the_mean_of_the_nearest_of_each_colour(cfa):
    raw = np.random.default_rng(3).integers(256, 4096, (13, 16)).astype(np.uint16)
    sensor = replace(QUIET, cfa=cfa, demosaic="bilinear")
    light = np.pad((raw.astype(np.float64) - 256) / 3839, 1, mode="reflect")
    channel = np.pad(colours(raw.shape, cfa), 1, mode="reflect")
    weights = np.array([[1, 2, 1], [2, 4, 2], [1, 2, 1]])
    developed = develop(raw, sensor)
    for c in range(3):
        there = channel == c
        mean = convolve(light * there, weights, mode="constant") / convolve(there * 1.0, weights, mode="constant")
        own = np.where(there, light, mean)[1:-1, 1:-1]
        np.testing.assert_allclose(developed[..., c], own, atol=1.1 / 2**16)


@pytest.mark.parametrize("cfa", ORDERS)
@pytest.mark.parametrize("demosaic", ["bilinear", "edge-aware"])
def test_opencv_methods_are_opencv_inside(cfa, demosaic):
    raw = np.random.default_rng(4).integers(0, 2**16, (20, 23)).astype(np.uint16)
    sensor = Sensor(bits=16, cfa=cfa, demosaic=demosaic)
    code = getattr(cv2, f"COLOR_Bayer{cfa}2RGB" + ("_EA" if demosaic == "edge-aware" else ""))
    theirs = cv2.demosaicing(raw, code)[2:-2, 2:-2]
    np.testing.assert_allclose(develop(raw, sensor)[2:-2, 2:-2], theirs / 65535, atol=1e-6)


def test_edge_aware_green_follows_an_edge():
    """Across a vertical edge bilinear green is a mean of both sides, edge-aware green is not."""
    image = np.full((16, 16, 3), 0.1, np.float32)
    image[:, 8:] = 0.9
    sensor = replace(QUIET, demosaic="edge-aware")
    raw = expose(image, sensor, (0, 0))
    wrong = np.abs(develop(raw, sensor)[..., 1] - image[..., 1]).max()
    assert wrong < 1 / 3839
    assert np.abs(develop(raw, replace(sensor, demosaic="bilinear"))[..., 1] - image[..., 1]).max() > 0.1


@pytest.mark.parametrize("demosaic", METHODS)
def test_a_capture_without_noise_is_near_its_image(demosaic):
    """Brightness that varies over many pixels comes back, but for an error of interpolation; the border has more."""
    y, x = np.indices((60, 80)) / 10
    grey = 0.5 + 0.3 * np.sin(y) * np.cos(x)
    image = (grey[..., None] * [1.0, 0.8, 0.6]).astype(np.float32)
    sensor = replace(
        Sensor.preset("phone"), shot_noise="none", read_noise=0.0, adc_noise=0.0, prnu=0.0, demosaic=demosaic
    )
    developed = develop(expose(image, sensor, (0, 0)), sensor)
    assert np.abs(developed - image)[2:-2, 2:-2].max() < 4e-3


@pytest.mark.parametrize("demosaic", METHODS)
def test_highlights_have_no_tint(demosaic):
    """A grey ramp past saturation stays grey, and ends where the first channel does."""
    ramp = np.repeat(np.linspace(0.05, 4.0, 400, dtype=np.float32)[None, :], 12, axis=0)
    sensor = replace(QUIET, response=(0.4, 1.0, 0.7), demosaic=demosaic, exposure=0.5)
    developed = develop(expose(np.stack([ramp] * 3, axis=-1), sensor, (0, 0)), sensor)
    assert np.abs(developed.max(axis=-1) - developed.min(axis=-1)).max() < 0.02
    assert developed.max() == np.float32(sensor.saturation) == 2.0
    np.testing.assert_allclose(developed[:, 230:], 2.0, rtol=3e-7)


def test_white_balance_multiplies():
    sensor = replace(QUIET, cfa="none", white_balance=(2.0, 1.0, 1.5))
    developed = develop(expose(np.full((2, 2, 3), 0.25, np.float32), sensor, (0, 0)), sensor)
    np.testing.assert_allclose(developed[0, 0], [0.5, 0.25, 0.375], atol=1.0 / 3839)
    assert sensor.saturation == 1.0


def test_noise_below_the_black_level_keeps_the_mean_until_the_end():
    """Clipping at the black level before demosaicing would brighten the dark."""
    sensor = Sensor(bits=12, black_level=512, read_noise=60.0, shot_noise="none")
    dim = np.full((200, 200, 3), 0.02, np.float32)
    developed = develop(expose(dim, sensor, (1, 1)), sensor)
    assert developed.mean() == pytest.approx(0.02, rel=0.02)


def test_raw_files_of_another_sensor_are_refused():
    raw = np.zeros((4, 4), np.uint16)
    with pytest.raises(InputError, match="another sensor took it"):
        develop(raw + np.uint16(4096), QUIET)
    with pytest.raises(InputError, match=r"\(height, width\) uint16"):
        develop(raw.astype(np.float32), QUIET)
    with pytest.raises(InputError, match=r"\(height, width, 3\) uint16"):
        develop(raw, replace(QUIET, cfa="none"))
    with pytest.raises(InputError, match=r"\(height, width\) uint16"):
        develop(np.zeros((4, 4, 3), np.uint16), QUIET)
    with pytest.raises(InputError, match="2 by 2"):
        develop(raw[:1], QUIET)
