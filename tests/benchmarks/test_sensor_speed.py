"""How long a capture of 480x640 pixels takes, and its parts beside numpy, OpenCV and colour-demosaicing: `make bench`.

Ways to do one thing take turns, so that a busy machine slows them alike; the shortest of their runs counts.
"""

import time
import warnings

import cv2
import numpy as np
import pytest

from defocal.synth import Sensor, capture
from defocal.synth.development import demosaic_malvar, develop
from defocal.synth.sensor import expose
from defocal.synth.sensor_kernels import poisson

pytestmark = pytest.mark.bench
HEIGHT, WIDTH = 480, 640


def milliseconds(ways, rounds=30):
    """Return the shortest run of each way, by name, after one that warms up."""
    for work in ways.values():
        work()
    best = dict.fromkeys(ways, float("inf"))
    for _ in range(rounds):
        for name, work in ways.items():
            begun = time.perf_counter()
            work()
            best[name] = min(best[name], 1e3 * (time.perf_counter() - begun))
    return best


def show(title, found):
    print(f"\n{title}")
    for name, taken in found.items():
        print(f"  {name:<34} {taken:7.2f} ms")


def test_captures_of_each_preset():
    image = np.random.default_rng(0).random((HEIGHT, WIDTH, 3), np.float32)
    for name in ("ideal", "rpsf", "dslr", "phone"):
        sensor = Sensor.preset(name)
        raw = expose(image, sensor, (1, 0))
        ways = {
            "expose": lambda sensor=sensor: expose(image, sensor, (1, 0)),
            "develop": lambda sensor=sensor, raw=raw: develop(raw, sensor),
            "capture (both, and sRGB)": lambda sensor=sensor: capture(image, sensor, (1, 0)),
        }
        show(f"{name}, {WIDTH}x{HEIGHT}", milliseconds(ways))


@pytest.mark.parametrize("brightest", [10.0, 15000.0])
def test_shot_noise_beside_numpy(brightest):
    mean = np.random.default_rng(0).random(HEIGHT * WIDTH) * brightest
    out = np.empty_like(mean)
    rng = np.random.Generator(np.random.Philox(1))
    ways = {
        "our kernel": lambda: poisson(mean, np.uint64(5), out),
        "numpy's poisson": lambda: rng.poisson(mean),
    }
    show(f"{WIDTH}x{HEIGHT} Poisson counts of up to {brightest:g} e-", milliseconds(ways))
    assert abs(out.mean() - rng.poisson(mean).mean()) < 6 * np.sqrt(2 * mean.mean() / mean.size)


def test_demosaicing_beside_peers():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        peer = pytest.importorskip("colour_demosaicing").demosaicing_CFA_Bayer_Malvar2004
    mosaic = np.random.default_rng(0).random((HEIGHT, WIDTH), np.float32)
    whole = (mosaic * 65535).astype(np.uint16)
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        ways = {
            "ours, Malvar, float32": lambda: demosaic_malvar(mosaic, "RGGB"),
            "colour-demosaicing, Malvar, float64": lambda: peer(mosaic, "RGGB"),
            "OpenCV, bilinear, uint16": lambda: cv2.demosaicing(whole, cv2.COLOR_BayerRGGB2RGB),
            "OpenCV, edge-aware, uint16": lambda: cv2.demosaicing(whole, cv2.COLOR_BayerRGGB2RGB_EA),
        }
        show(f"a {WIDTH}x{HEIGHT} mosaic to colour, one core", milliseconds(ways))
    finally:
        cv2.setNumThreads(threads)
    inside = np.s_[2:-2, 2:-2]
    np.testing.assert_allclose(demosaic_malvar(mosaic, "RGGB")[inside], peer(mosaic, "RGGB")[inside], atol=1e-6)
