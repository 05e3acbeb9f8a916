"""Captures of a sensor: noise against its own statistics, numbers against closed forms, and the same bits always.

Statistical tests have fixed seeds and stated numbers of standard deviations: they pass or fail, and never flicker.
"""

import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from defocal import InputError
from defocal.synth import Sensor, capture
from defocal.synth.development import develop
from defocal.synth.light import encode
from defocal.synth.sensor import expose
from defocal.synth.sensor_kernels import poisson

PLAIN = Sensor(bits=12, full_well=1024, black_level=64, white_level=1088, shot_noise="none")
NOISY = Sensor(
    bits=12, full_well=8000, black_level=256, read_noise=3.0, adc_noise=1.0, prnu=0.01, dsnu=2.0, dark_current=500.0
)


def grey(radiance, size=(200, 200)):
    return np.full((*size, 3), radiance, np.float32)


def counts_of(mean, key, n=200_000):
    out = np.empty(n)
    poisson(np.full(n, float(mean)), np.uint64(key), out)
    return out


# Shot noise.


@pytest.mark.parametrize("mean", [0.02, 0.7, 5.0, 9.99, 10.0, 25.5, 300.0, 15000.0, 60000.0])
def test_counts_of_photons_have_a_poisson_distribution(mean):
    counts = counts_of(mean, key=17)
    law = stats.poisson(mean)
    # Classes of neighbouring counts, each expecting 20 or more of the sample.
    edges = np.unique(law.ppf(np.linspace(0, 1, 61)[1:-1]))
    edges = edges[law.sf(edges) * len(counts) >= 20]
    cumulative = np.concatenate([[0.0], law.cdf(edges), [1.0]])
    expected = np.diff(cumulative) * len(counts)
    observed = np.bincount(np.searchsorted(edges, counts), minlength=len(edges) + 1)
    assert stats.chisquare(observed, expected).pvalue > 1e-3
    assert abs(counts.mean() - mean) < 4 * math.sqrt(mean / len(counts))


def mixed(state):
    state = (state ^ (state >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    state = (state ^ (state >> 27)) * 0x94D049BB133111EB % 2**64
    return state ^ (state >> 31)


def uniforms(key, pixel):
    """Yield the variates of a pixel's stream, in plain whole numbers."""
    stream, number = mixed((key + pixel * 0x9E3779B97F4A7C15) % 2**64), 0
    while True:
        yield ((mixed((stream + number * 0x9E3779B97F4A7C15) % 2**64) >> 11) + 0.5) / 2**53
        number += 1


def one_count(mean, draw):
    """Invert the distribution function by adding it up, or reject by the ratio of the two densities (Hoermann 1993)."""
    if mean < 10:
        u = next(draw)
        return next(k for k in range(100) if stats.poisson.cdf(k, mean) >= u)
    b = 0.931 + 2.53 * mean**0.5
    a = -0.059 + 0.02483 * b
    while True:
        u, v = next(draw) - 0.5, next(draw)
        edge = 0.5 - abs(u)
        k = math.floor((2 * a / edge + b) * u + mean + 0.43)
        hat = (1.1239 + 1.1328 / (b - 3.4)) / (a / edge**2 + b)
        if v * hat <= stats.poisson.pmf(k, mean):
            return k


def test_the_kernel_is_its_slow_twin():
    means = np.concatenate([np.linspace(0, 12, 150), np.geomspace(12, 50_000, 5000)])
    out, key = np.empty(len(means)), 2**63 + 12345
    poisson(means, np.uint64(key), out)
    twin = [one_count(mean, uniforms(key, pixel)) for pixel, mean in enumerate(means)]
    np.testing.assert_array_equal(out, twin)


def test_normal_shot_noise_has_the_mean_and_variance_of_a_poisson_and_is_cut_off_at_zero():
    sensor = Sensor(bits=16, full_well=6553.5, shot_noise="normal", cfa="none")
    electrons = expose(grey(0.5), sensor, (1, 0)) / sensor.system_gain
    mean = 0.5 * sensor.full_well
    assert abs(electrons.mean() - mean) < 4 * math.sqrt(mean / electrons.size)
    assert electrons.var() == pytest.approx(mean, rel=4 * math.sqrt(2 / electrons.size))
    few = 2.55
    low = expose(grey(few / sensor.full_well), sensor, (1, 0)) / sensor.system_gain
    root = math.sqrt(few)
    cut = few * stats.norm.cdf(root) + root * stats.norm.pdf(root)
    assert low.min() == 0
    assert abs(low.mean() - cut) < 4 * root / math.sqrt(low.size)


# The photon transfer curve.


@pytest.mark.parametrize("shot_noise", ["poisson", "normal"])
@pytest.mark.parametrize(
    "setting",
    [
        {"bits": 12, "full_well": 8000, "black_level": 256, "read_noise": 3.0, "adc_noise": 1.0},
        {"bits": 10, "full_well": 6000, "black_level": 64, "read_noise": 5.0, "gain": 8.0},
        {"bits": 14, "full_well": 50000, "black_level": 512, "read_noise": 4.0, "adc_noise": 5.0, "gain": 2.0},
        {"bits": 8, "full_well": 1000, "black_level": 20, "read_noise": 6.0, "dark_current": 2000.0},
    ],
    ids=lambda setting: f"{setting['bits']} bits",
)
def test_photon_transfer_is_a_line_with_the_gain_as_slope(setting, shot_noise):
    """Slope K, intercept (K sigma_d)^2 + adc^2 + 1/12: within 4 standard deviations of the fit's sampling error."""
    sensor = Sensor(**setting, shot_noise=shot_noise, cfa="none")
    levels = np.linspace(0.02, 0.8, 14)
    frames = [expose(grey(level, (180, 180)), sensor, (5, k)).astype(np.float64) for k, level in enumerate(levels)]
    mean = np.array([frame.mean() for frame in frames]) - sensor.black_level
    variance = np.array([frame.var(ddof=1) for frame in frames])
    error = variance * math.sqrt(2 / frames[0].size)
    (slope, intercept), covariance = np.polyfit(mean, variance, 1, w=1 / error, cov="unscaled")
    wanted = (sensor.read_noise * sensor.system_gain) ** 2 + sensor.adc_noise**2 + 1 / 12
    assert abs(slope - sensor.system_gain) < 4 * math.sqrt(covariance[0, 0])
    assert abs(intercept - wanted) < 4 * math.sqrt(covariance[1, 1])
    assert math.sqrt(covariance[0, 0]) < 0.01 * sensor.system_gain, "the test could not tell a wrong gain"
    residual = (variance - slope * mean - intercept) / error
    assert (residual**2).sum() < stats.chi2.isf(1e-4, len(levels) - 2), "not a line"


def test_gain_trades_light_for_noise_at_the_same_brightness():
    base = Sensor(bits=14, full_well=20000, black_level=512, read_noise=3.0, cfa="none")
    means, deviations = [], []
    for gain in (1.0, 4.0, 16.0):
        raw = expose(grey(0.4), replace(base, gain=gain), (1, 1))
        means.append(raw.mean() - 512)
        deviations.append(raw.std())
        electrons = 0.4 * 20000 / gain
        expected = math.sqrt(electrons + 9) * replace(base, gain=gain).system_gain
        assert raw.std() == pytest.approx(expected, rel=4 / math.sqrt(2 * raw.size))
    np.testing.assert_allclose(means, 0.4 * base.span, rtol=1e-3)
    assert deviations[0] < deviations[1] < deviations[2]


def test_exposure_makes_brighter_and_development_takes_it_back():
    image = grey(0.2, (8, 8))
    for exposure in (0.5, 1.0, 2.0):
        sensor = replace(PLAIN, exposure=exposure)
        raw = expose(image, sensor, (0, 0))
        assert (raw == round(64 + 0.2 * exposure * 1024)).all()
        np.testing.assert_allclose(develop(raw, sensor), 0.2, atol=0.5 / 1024 / exposure)


def test_dark_current_adds_charge_and_its_shot_noise():
    sensor = Sensor(bits=16, full_well=6553.5, dark_current=4000, exposure_time=0.05, cfa="none")
    electrons = expose(grey(0.0), sensor, (3, 0)) / sensor.system_gain
    assert abs(electrons.mean() - 200) < 4 * math.sqrt(200 / electrons.size)
    assert electrons.var() == pytest.approx(200, rel=4 * math.sqrt(2 / electrons.size))


def test_a_black_level_of_zero_cuts_noise_off():
    """The mean of the whole numbers that a dark frame's clipped noise rounds to: 3 e- at 3.92 e- a DN."""
    sensor = Sensor(bits=8, full_well=255 * 3.92, read_noise=3.0, cfa="none")
    dark = expose(grey(0.0), sensor, (1, 2))
    expected = sum(stats.norm.sf((k - 0.5) * 3.92 / 3) for k in range(1, 20))
    assert expected == pytest.approx(0.282, abs=1e-3)
    assert abs(dark.mean() - expected) < 4 * dark.std() / math.sqrt(dark.size)


@pytest.mark.parametrize(("read", "adc", "gain"), [(8.0, 0.0, 1.0), (0.0, 2.5, 4.0), (3.0, 2.0, 2.0)])
def test_dark_frames_have_the_noise_before_and_after_the_amplifier(read, adc, gain):
    sensor = Sensor(bits=12, full_well=8000, black_level=256, read_noise=read, adc_noise=adc, gain=gain)
    dark = expose(grey(0.0), sensor, (6, 0)).astype(np.float64)
    spread = math.sqrt((read * gain * (4095 - 256) / 8000) ** 2 + adc**2 + 1 / 12)
    assert dark.std() == pytest.approx(spread, rel=4 / math.sqrt(2 * dark.size))
    assert abs(dark.mean() - 256) < 4 * spread / math.sqrt(dark.size)


# Patterns of the camera.


def test_fixed_patterns_have_their_rms_and_stay():
    sensor = Sensor(bits=16, full_well=65535, shot_noise="none", prnu=0.01, black_level=1000, cfa="none")
    bright = expose(grey(0.5), sensor, (1, 0)).astype(np.float64)
    relative = (bright - 1000) / (bright - 1000).mean()
    assert relative.std() == pytest.approx(0.01, rel=4 / math.sqrt(2 * bright.size))
    np.testing.assert_array_equal(bright, expose(grey(0.5), sensor, (1, 9), frame=3))
    assert abs(np.corrcoef(bright.ravel(), expose(grey(0.5), sensor, (2, 0)).ravel())[0, 1]) < 4 / bright.size**0.5
    dark = expose(grey(0.0), replace(sensor, prnu=0.0, dsnu=30.0), (1, 0)) / replace(sensor, dsnu=30.0).system_gain
    assert dark.std() == pytest.approx(30, rel=4 / math.sqrt(2 * dark.size))
    assert abs(np.corrcoef(bright.ravel(), dark.ravel())[0, 1]) < 4 / math.sqrt(dark.size)


# Independence, of pixels, frames, samples and purposes.


def residual(sensor, seed, frame=0):
    raw = expose(grey(0.3, (256, 256)), sensor, seed, frame=frame).astype(np.float64)
    return (raw - raw.mean()) / raw.std()


@pytest.mark.parametrize("source", ["shot", "read"])
def test_noise_is_independent_between_pixels_frames_and_samples(source):
    """Correlations within 4.5 standard deviations of those of independent numbers."""
    shot = Sensor(bits=14, full_well=5000, black_level=512)
    sensor = shot if source == "shot" else replace(shot, shot_noise="none", read_noise=40.0)
    noise = residual(sensor, (1, 0))
    bound = 4.5 / math.sqrt(noise.size)
    for dy, dx in [(0, 1), (1, 0), (1, 1), (0, 2), (2, 0), (0, 255), (128, 0)]:
        assert abs((noise * np.roll(noise, (dy, dx), (0, 1))).mean()) < bound
        assert abs((noise**2 * np.roll(noise, (dy, dx), (0, 1)) ** 2).mean() - 1) < 2 * bound
    for other in (((1, 0), 1), ((1, 1), 0), ((2, 0), 0), ((0, 1), 0)):
        assert abs((noise * residual(sensor, *other)).mean()) < bound
    np.testing.assert_array_equal(noise, residual(sensor, (1, 0)))


def test_shot_noise_read_noise_and_patterns_are_independent():
    quiet = Sensor(bits=16, full_well=65535, black_level=2000, shot_noise="none")
    sources = [
        replace(quiet, shot_noise="poisson"),
        replace(quiet, shot_noise="normal"),
        replace(quiet, read_noise=100.0),
        replace(quiet, prnu=0.01),
        replace(quiet, dsnu=100.0),
    ]
    table = np.corrcoef([residual(sensor, (4, 4)).ravel() for sensor in sources])
    assert np.abs(table - np.eye(len(sources))).max() < 4.5 / 256


def test_switching_a_noise_on_leaves_the_others_as_they_were():
    quiet = Sensor(bits=16, full_well=65535, black_level=2000, shot_noise="none")
    image = grey(0.3, (32, 32))
    shot = expose(image, replace(quiet, shot_noise="poisson"), (4, 4)).astype(int) - expose(image, quiet, (4, 4))
    read = expose(image, replace(quiet, read_noise=90.0), (4, 4)).astype(int) - expose(image, quiet, (4, 4))
    both = expose(image, replace(quiet, shot_noise="poisson", read_noise=90.0), (4, 4)).astype(int)
    assert np.abs(both - expose(image, quiet, (4, 4)) - shot - read).max() <= 2, "more than the roundings"


# The same bits always.


def test_captures_are_the_same_in_any_order_and_in_threads():
    image = np.random.default_rng(0).random((64, 80, 3), np.float32)
    tasks = [((seed, sample), frame) for seed in (1, 2) for sample in range(4) for frame in range(3)]

    def take(task):
        raw, developed = capture(image, NOISY, task[0], frame=task[1])
        return raw.tobytes() + developed.tobytes()

    alone = {task: take(task) for task in tasks}
    assert len(set(alone.values())) == len(tasks)
    with ThreadPoolExecutor(4) as pool:
        backwards = dict(zip(tasks[::-1], pool.map(take, tasks[::-1]), strict=True))
    assert backwards == alone


def test_the_noise_of_a_pixel_does_not_depend_on_its_neighbours():
    image = np.random.default_rng(0).random((40, 40, 3), np.float32)
    changed = image.copy()
    changed[3, 5] = 7.0
    differs = expose(image, NOISY, (1, 1)) != expose(changed, NOISY, (1, 1))
    assert np.argwhere(differs).tolist() == [[3, 5]]


def test_known_numbers():
    """Whoever changes these changes every dataset that has a sensor."""
    raw = expose(grey(0.25, (2, 4)), NOISY, (7, 3), frame=1)
    assert raw.tolist() == [[1224, 1193, 1224, 1201], [1214, 1230, 1206, 1208]]


# Numbers: rounding, clipping, mosaic.


def test_rounding_is_to_the_nearest_even_number_and_saturation_at_the_full_well():
    radiance = np.arange(4096, dtype=np.float32) / 2048
    image = np.repeat(radiance.reshape(64, 64, 1), 3, axis=2)
    raw = expose(image, PLAIN, (0, 0))
    halves = np.minimum(np.arange(4096), 2048).reshape(64, 64)
    floor, odd = halves // 2, halves % 2
    np.testing.assert_array_equal(raw, 64 + floor + odd * (floor % 2))


@pytest.mark.parametrize(("gain", "most"), [(1.0, 1088), (2.0, 64 + 2048), (3.75, 64 + 3840), (8.0, 4095)])
def test_above_the_base_gain_the_converter_ends_before_the_full_well(gain, most):
    sensor = replace(PLAIN, gain=gain)
    raw = expose(grey(100.0, (4, 4)), sensor, (0, 0))
    assert (raw == most).all()
    assert (develop(raw, sensor) == 1.0).all()


def test_light_below_zero_counts_as_none():
    assert (expose(grey(-0.5, (4, 4)), PLAIN, (0, 0)) == 64).all()


@pytest.mark.parametrize("bits", [8, 9, 12, 16])
def test_numbers_fit_their_bits(bits):
    sensor = Sensor(bits=bits, full_well=1000, read_noise=300.0)
    raw = expose(np.random.default_rng(1).random((50, 50, 3), np.float32), sensor, (1, 1))
    assert raw.dtype == np.uint16
    assert (raw.min(), raw.max()) == (0, 2**bits - 1)


@pytest.mark.parametrize("cfa", ["RGGB", "BGGR", "GRBG", "GBRG"])
def test_each_pixel_sees_the_colour_of_its_filter(cfa):
    image = (np.random.default_rng(2).integers(0, 1024, (7, 9, 3)) / 1024).astype(np.float32)
    raw = expose(image, replace(PLAIN, cfa=cfa), (0, 0))
    for y in range(7):
        for x in range(9):
            channel = "RGB".index(cfa[2 * (y % 2) + x % 2])
            assert raw[y, x] == 64 + 1024 * image[y, x, channel]


def test_response_scales_the_electrons_of_each_colour():
    sensor = replace(PLAIN, cfa="none", response=(0.5, 1.0, 0.25))
    raw = expose(grey(0.5, (2, 2)), sensor, (0, 0))
    assert raw[0, 0].tolist() == [64 + 256, 64 + 512, 64 + 128]
    assert sensor.electrons == (512, 1024, 256)


# Presets and bad input.


def test_the_ideal_sensor_gives_the_image_back():
    image = np.random.default_rng(3).random((20, 30, 3), np.float32)
    raw, developed = capture(image, Sensor.preset("ideal"), (0, 0), encoding="linear", bits=16)
    np.testing.assert_allclose(develop(raw, Sensor.preset("ideal")), image, atol=0.51 / 65535)
    # Rounded twice, a value half-way between two codes may end at either.
    assert np.abs(developed.astype(int) - encode(image, "linear", 16)).max() <= 1


def test_presets_have_what_was_measured():
    phone, dslr, paper = (Sensor.preset(name) for name in ("phone", "dslr", "rpsf"))
    assert phone.system_gain == pytest.approx(0.47, abs=0.005)
    for gain, measured in ((1, 1.53), (16, 11.5)):
        at = replace(phone, gain=gain)
        assert math.hypot(at.read_noise * at.system_gain, at.adc_noise, 12**-0.5) == pytest.approx(measured, rel=0.01)
    assert 1 / dslr.system_gain == pytest.approx(3.46, abs=0.01)
    assert (paper.bits, paper.shot_noise, paper.cfa, paper.demosaic) == (8, "normal", "RGGB", "malvar")
    assert paper.read_noise * paper.system_gain == pytest.approx(2.55)


@pytest.mark.parametrize(("encoding", "bits", "dtype"), [("srgb", 8, np.uint8), ("linear", 16, np.uint16)])
def test_a_capture_is_a_raw_file_and_its_development(encoding, bits, dtype):
    image = np.random.default_rng(4).random((11, 14, 3), np.float32)
    raw, developed = capture(image, NOISY, (1, 2), frame=4, encoding=encoding, bits=bits)
    np.testing.assert_array_equal(raw, expose(image, NOISY, (1, 2), frame=4))
    np.testing.assert_array_equal(developed, encode(develop(raw, NOISY), encoding, bits))
    assert (raw.shape, developed.shape, developed.dtype) == ((11, 14), (11, 14, 3), dtype)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"bits": 17}, "from 8 to 16"),
        ({"bits": 7}, "from 8 to 16"),
        ({"bits": 12.5}, "whole number"),
        ({"full_well": 0.0}, "full_well must be a positive"),
        ({"full_well": math.inf}, "full_well must be a positive"),
        ({"gain": 0.0}, "gain must be a positive"),
        ({"exposure": -1.0}, "exposure must be a positive"),
        ({"read_noise": -1.0}, "read_noise must be 0 or"),
        ({"dsnu": math.nan}, "dsnu must be 0 or"),
        ({"black_level": 4095}, "below the white level"),
        ({"black_level": 100, "white_level": 100}, "below the white level"),
        ({"white_level": 4096}, "does not fit 12 bits"),
        ({"shot_noise": "gaussian"}, "poisson, normal, none"),
        ({"cfa": "RGBG"}, "RGGB, BGGR"),
        ({"demosaic": "ahd"}, "malvar, bilinear"),
        ({"response": (1.0, 2.0, 1.0)}, "at most 1"),
        ({"response": (1.0, 0.0, 1.0)}, "above 0"),
        ({"white_balance": (1.0, 1.0)}, "three positive"),
        ({"white_balance": (1.0, -1.0, 1.0)}, "three positive"),
    ],
    ids=str,
)
def test_impossible_sensors_are_refused(wrong, said):
    with pytest.raises(InputError, match=said):
        Sensor(**wrong)


def test_what_a_sensor_cannot_take_is_refused():
    with pytest.raises(InputError, match="float32"):
        expose(np.zeros((4, 4, 3), np.uint8), PLAIN, (0, 0))
    with pytest.raises(InputError, match="height, width, 3"):
        expose(np.zeros((4, 4), np.float32), PLAIN, (0, 0))
    with pytest.raises(InputError, match="2 by 2"):
        expose(np.zeros((1, 4, 3), np.float32), PLAIN, (0, 0))
    with pytest.raises(InputError, match="finite"):
        expose(grey(np.nan, (4, 4)), PLAIN, (0, 0))
    for seed, frame in (((-1, 0), 0), ((0, 0), -1), ((0,), 0), (3, 0)):
        with pytest.raises(InputError, match="whole numbers"):
            expose(grey(0.5, (4, 4)), PLAIN, seed, frame=frame)
    with pytest.raises(InputError, match="ideal, rpsf, dslr, phone"):
        Sensor.preset("nokia")
