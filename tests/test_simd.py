"""The vector operations of blurring: what they sum, what they touch, and that processors do not matter."""

import os
import subprocess
import sys

import numpy as np
import pytest

from defocal.synth.jit import jit
from defocal.synth.psf import TAPS_AT_ONCE
from defocal.synth.simd import LANES, STRIP, add_taps_of_one_pixel, add_taps_of_two_rows, sum_pixels


@jit
def two_rows(values, at, taps, first, second, count, out, y, x):
    add_taps_of_two_rows(values, at, taps, first, second, count, out, y, x)


@pytest.mark.parametrize("count", [1, 2, 7, 24, 101])
def test_it_sums_taps_of_two_rows_and_touches_nothing_else(count):
    rng = np.random.default_rng(count)
    values, taps = rng.random(200, np.float32), rng.random(400, np.float32)
    out = rng.random((5, 120)).astype(np.float32)[:, 3:-2]
    expected = out.astype(np.float64)
    for row, first in ((2, 17), (3, 230)):
        for j in range(STRIP):
            expected[row, 9 + j] += sum(float(taps[first + t]) * float(values[110 + j - t]) for t in range(count))
    before = out.copy()
    two_rows(values, 110, taps, 17, 230, count, out, 2, 9)
    np.testing.assert_allclose(out, expected, rtol=2e-6)
    untouched = np.ones(out.shape, bool)
    untouched[2:4, 9 : 9 + STRIP] = False
    np.testing.assert_array_equal(out[untouched], before[untouched])


@jit
def one_pixel(value, taps, first, count, out, y, x):
    add_taps_of_one_pixel(value, taps, first, count, out, y, x)


@pytest.mark.parametrize("count", [8, 24, 104])
def test_it_adds_the_taps_of_one_pixel(count):
    assert TAPS_AT_ONCE % LANES == 0
    rng = np.random.default_rng(count)
    taps, out = rng.random(200, np.float32), rng.random((3, 130)).astype(np.float32)[:, 1:]
    expected = out.copy()
    expected[1, 5 : 5 + count] += np.float32(0.3) * taps[50 : 50 + count]
    one_pixel(np.float32(0.3), taps, 50, count, out, 1, 5)
    np.testing.assert_allclose(out, expected, rtol=1e-6)


@jit
def block_of_pixels(pixels, at, pitch, weights, row, rows, column, columns):
    return sum_pixels(pixels, at, pitch, weights, row, rows, column, columns)


@pytest.mark.parametrize(("rows", "columns"), [(4, 4), (5, 7), (1, 2), (0, 3), (3, 0)])
def test_it_sums_a_block_of_pixels(rows, columns):
    rng = np.random.default_rng(rows)
    image, weights = rng.random((9, 11, 4), np.float32), rng.random(60, np.float32)
    expected = np.einsum(
        "j,i,jik->k", weights[7 : 7 + rows], weights[30 : 30 + columns], image[2:, 3:][:rows, :columns]
    )
    got = block_of_pixels(image.reshape(-1), 2 * 11 + 3, 11, weights, 7, rows, 30, columns)
    np.testing.assert_allclose(got, expected, rtol=2e-6)


PROGRAM = """
import hashlib, sys
import numpy as np
sys.path.insert(0, sys.argv[1])
from test_simd import two_rows
rng = np.random.default_rng(5)
out = np.zeros((4, 64), np.float32)
two_rows(rng.random(100, np.float32), 50, rng.random(90, np.float32), 3, 40, 37, out, 1, 8)
print(hashlib.sha256(out.tobytes()).hexdigest())
"""


@pytest.mark.parametrize("processor", ["nehalem", "haswell"])
def test_processors_without_the_instruction_agree(processor):
    """A Nehalem knows neither fused multiply-adds nor vectors of eight."""
    digests = set()
    for settings in ({}, {"NUMBA_CPU_NAME": processor, "NUMBA_CPU_FEATURES": ""}):
        environment = {**os.environ, "DEFOCAL_NUMBA_CACHE": "0", **settings}
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, os.path.dirname(__file__)], env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        digests.add(done.stdout.strip())
    assert len(digests) == 1
