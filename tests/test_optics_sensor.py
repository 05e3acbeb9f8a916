"""The differentiable sensor: equal to synth's where nothing is random, the right noise where it is, right gradients."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from defocal import InputError
from defocal.synth import Sensor
from defocal.synth.development import develop
from defocal.synth.sensor import expose
from defocal.train.optics.sensor import (
    DifferentiableSensor,
    SensorSettings,
    demosaic_bilinear,
    deviation,
    straight_round,
)

QUIET = {"shot_noise": "none", "read_noise": 0.0}


def made(**changes):
    return DifferentiableSensor(SensorSettings(**changes))


def pictures(count, size, seed=0):
    """Smooth pictures that also saturate."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: size[0], : size[1]]
    waves = [np.sin(a * x + b * y + c) for a, b, c in rng.uniform(-0.3, 0.3, (count * 3, 3)) * [1, 1, 10]]
    return (0.55 + 0.55 * np.stack(waves)).reshape(count, 3, *size).astype(np.float32)


def by_synth(image, sensor):
    raws = [expose(np.ascontiguousarray(one.transpose(1, 2, 0)), sensor, (0, 0)) for one in image]
    return np.stack(raws).astype(np.float32), np.stack([develop(raw, sensor).transpose(2, 0, 1) for raw in raws])


@pytest.mark.parametrize("cfa", ["RGGB", "BGGR", "GRBG", "GBRG", "none"])
@pytest.mark.parametrize("demosaic", ["malvar", "bilinear"])
@pytest.mark.parametrize(
    "numbers",
    [
        {"bits": 8},
        {"bits": 12, "black_level": 200.0, "exposure": 0.6, "response": (0.4, 1.0, 0.7), "gain": 3.0},
        {"bits": 14, "white_level": 15000, "dark_current": 4000.0, "white_balance": (1.5, 1.0, 2.0)},
    ],
    ids=["8 bits", "12 bits", "14 bits"],
)
def test_without_noise_it_is_synths_sensor(cfa, demosaic, numbers):
    image = pictures(2, (37, 40))
    sensor = Sensor(shot_noise="none", cfa=cfa, demosaic=demosaic, **numbers)
    raw, light = by_synth(image, sensor)
    ours = made(preset="rpsf", cfa=cfa, demosaic=demosaic, **QUIET, **numbers)
    read = ours.expose(torch.from_numpy(image), [0, 1])
    found = (read[:, 0] if cfa != "none" else read.movedim(1, -1)).numpy()
    # Numbers that lie between two DN to seven digits may be rounded either way.
    assert np.abs(found - raw).max() <= 1
    assert (found != raw).mean() < 1e-3
    same = torch.from_numpy(raw)[:, None] if cfa != "none" else torch.from_numpy(raw).movedim(-1, 1)
    step = max(sensor.balance) / (sensor.span * sensor.exposure)
    # OpenCV's bilinear rounds to the 16th bit.
    np.testing.assert_allclose(ours.develop(same).numpy(), light, atol=step / 2 ** (16 - sensor.bits) + 1e-6)
    assert np.abs(ours(torch.from_numpy(image), [0, 1]).numpy() - light).max() <= 1.5 * step


def test_presets_are_those_of_recipes():
    for name in ("ideal", "rpsf"):
        ours, theirs = SensorSettings(preset=name).reading(), Sensor.preset(name)
        for key in ("bits", "full_well", "shot_noise", "read_noise", "cfa", "demosaic", "system_gain", "saturation"):
            assert getattr(ours, key) == getattr(theirs, key), key


def test_photon_transfer_is_a_line_with_the_gain_as_slope():
    """Mean x F / g + b and variance x F / g^2 + (sigma_r / g)^2 + adc^2 + 1/12, within the error of so many pixels."""
    sensor = made(bits=12, full_well=8000.0, black_level=256.0, read_noise=3.0, adc_noise=1.0, shot_noise="normal")
    one, size = sensor.reading, (1, 3, 200, 200)
    for k, level in enumerate(np.linspace(0.02, 0.8, 8)):
        raw = sensor.expose(torch.full(size, float(level), dtype=torch.float64), [k]).numpy()
        mean = level * 8000 * one.system_gain + 256
        variance = one.system_gain**2 * (level * 8000 + 9) + 1 + 1 / 12
        assert abs(raw.mean() - mean) < 4 * math.sqrt(variance / raw.size)
        assert raw.var() == pytest.approx(variance, rel=4 * math.sqrt(2 / raw.size))


@pytest.mark.parametrize(("level", "mean"), [(0.0, 0.282), (1.0, 251.8)])
def test_clipping_biases_as_in_closed_form(level, mean):
    """Black level 0, 3 e- of read noise at 3.92 e- a DN; at the full well half of the pixels saturate."""
    sensor = made(bits=8, full_well=255 * 3.92, read_noise=3.0, shot_noise="normal", cfa="none")
    raw = sensor.expose(torch.full((1, 3, 160, 160), level, dtype=torch.float64), [3]).numpy()
    if level == 0:
        wanted = sum(stats.norm.sf((k - 0.5) * 3.92 / 3) for k in range(1, 20))
    else:
        # Charge saturates before the read noise, numbers after it: over all charges below the full well, and at it.
        n = np.linspace(-8, 0, 4001) * math.sqrt(255 * 3.92) + 255 * 3.92
        weight = stats.norm.pdf(n, 255 * 3.92, math.sqrt(255 * 3.92)) * (n[1] - n[0])
        weight[-1] += 0.5 - weight[-1] / 2
        steps = np.arange(255)[:, None] + 0.5
        wanted = (stats.norm.sf((steps * 3.92 - n) / 3).sum(0) * weight).sum() / weight.sum()
    assert raw.mean() == pytest.approx(wanted, abs=4 * raw.std() / math.sqrt(raw.size))
    assert wanted == pytest.approx(mean, abs=6.0 if level else 1e-3)


def test_a_samples_noise_depends_on_its_seed_alone():
    sensor = made(preset="rpsf")
    image = torch.from_numpy(pictures(3, (16, 16)))
    whole = sensor(image, [5, 6, 7])
    torch.testing.assert_close(sensor(image[1:2], [6]), whole[1:2], rtol=0, atol=0)
    assert not torch.equal(sensor(image[:1], [6]), whole[:1])
    grey = torch.full((2, 3, 64, 64), 0.5)
    one, other = sensor.expose(grey, [1, 2]).flatten(1)
    assert abs(float(torch.corrcoef(torch.stack([one, other]))[0, 1])) < 4 / math.sqrt(one.numel())


def test_gradients_of_the_smooth_part():
    """All but rounding, of light that nothing clips: gradcheck with the noise held."""
    sensor = made(preset="rpsf", bits=12, black_level=500.0, read_noise=20.0, demosaic="bilinear")
    light = (0.2 + 0.5 * torch.rand(1, 3, 6, 7, dtype=torch.float64)).requires_grad_()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("defocal.train.optics.sensor.straight_round", lambda values: values)
        for demosaic in ("bilinear", "malvar"):
            sensor = made(preset="rpsf", bits=12, black_level=500.0, read_noise=20.0, demosaic=demosaic)
            assert torch.autograd.gradcheck(lambda x, s=sensor: s(x, [4]), (light,), eps=1e-7, atol=1e-5)


def test_rounding_is_straight_through_and_clipping_is_not():
    x = torch.linspace(-0.4, 2.6, 31, dtype=torch.float64, requires_grad=True)
    rounded = straight_round(x)
    torch.testing.assert_close(rounded, x.detach().round())
    rounded.sum().backward()
    assert (x.grad == 1).all()
    sensor = made(preset="rpsf", cfa="none", **QUIET)
    light = torch.tensor([-0.5, 0.3, 0.7, 1.5], dtype=torch.float64).expand(1, 3, 1, 4).clone().requires_grad_()
    sensor(light, [0]).sum().backward()
    torch.testing.assert_close(light.grad[0, 0, 0], torch.tensor([0, 1, 1, 0], dtype=torch.float64))


def test_the_gradient_is_that_of_the_mean_over_the_noise():
    """Also where noise is clipped at black: what a descent follows is the slope of the expected number."""
    sensor = made(bits=8, full_well=1000.0, read_noise=12.0, shot_noise="normal", cfa="none")
    level = torch.tensor(0.01, dtype=torch.float64, requires_grad=True)

    def mean(value):
        return sensor.expose(value.expand(1, 3, 400, 400), [8]).mean()

    mean(level).backward()
    with torch.no_grad():
        slope = (mean(level + 5e-3) - mean(level - 5e-3)) / 1e-2
    assert float(level.grad) == pytest.approx(float(slope), rel=0.02)


def test_black_has_a_gradient_that_is_a_number():
    black = torch.zeros(4, dtype=torch.float64, requires_grad=True)
    deviation(black).sum().backward()
    assert torch.isfinite(black.grad).all()
    counts = torch.tensor([0.0, 0.005, 0.01, 4.0], dtype=torch.float64)
    torch.testing.assert_close(deviation(counts), torch.tensor([0, 0.05, 0.1, 2], dtype=torch.float64))


def test_flat_colour_stays_flat_through_the_mosaic():
    mosaic = torch.ones(1, 1, 9, 8)
    torch.testing.assert_close(demosaic_bilinear(mosaic, "GBRG"), torch.ones(1, 3, 9, 8))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"black_level": 300.0, "bits": 8}, "must be below the white level"),
        ({"white_level": 70000}, "at most 65535"),
        ({"dark_current": 1e9}, "fills the full well"),
        ({"response": (2.0, 1.0, 1.0)}, "response must be"),
        ({"shot_noise": "poisson"}, "shot_noise"),
        ({"bits": 4}, "bits"),
    ],
)
def test_sensors_that_cannot_be_are_refused(changes, words):
    with pytest.raises(ValueError, match=words):
        SensorSettings(**changes)


def test_light_of_another_shape_is_refused():
    with pytest.raises(InputError, match="takes"):
        made()(torch.zeros(2, 3, 8, 8), [0])
    with pytest.raises(InputError, match="3 by 3"):
        made(preset="rpsf")(torch.zeros(1, 3, 2, 8), [0])
