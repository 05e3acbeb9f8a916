"""Blurring by disks: vector operations, runs, strips and compositing, each against a slow twin; and memory."""

import os
import subprocess
import sys
import threading
import tracemalloc
from itertools import pairwise

import naive
import numpy as np
import pytest

from defocal.synth import PsfBank, Scene, ThinLens, disks, render
from defocal.synth.disk_kernels import SHORT
from defocal.synth.disks import DiskCanvas
from defocal.synth.jit import jit
from defocal.synth.run_kernels import count_runs, find_runs
from defocal.synth.simd_disks import (
    MOST_TAPS,
    PIXELS,
    add_falling_taps,
    add_falling_twice,
    add_rising_taps,
    add_rising_twice,
    add_taps_of_pixel,
    sum_row,
)

LENS = ThinLens(focal_length=0.05, f_number=2.0, focus_distance=2.0, pixel_pitch=1e-4)


@jit
def along_run(falling, values, at, length, taps, first, count, out, to, twin):
    if falling and twin >= 0:
        add_falling_twice(values, at, length, taps, first, count, out, to, twin)
    elif falling:
        add_falling_taps(values, at, length, taps, first, count, out, to)
    elif twin >= 0:
        add_rising_twice(values, at, length, taps, first, count, out, to, twin)
    else:
        add_rising_taps(values, at, length, taps, first, count, out, to)


@pytest.mark.parametrize("falling", [False, True])
@pytest.mark.parametrize("twin", [-1, 120])
@pytest.mark.parametrize("count", [1, 2, MOST_TAPS - 1, MOST_TAPS, 2 * MOST_TAPS + 3])
def test_taps_along_a_run_equal_the_slow_twin_and_touch_nothing_else(falling, twin, count):
    rng = np.random.default_rng(count)
    values, taps, out = (rng.random(n, np.float32) for n in (300, 40, 240))
    length, at, first, to = 28, 150, 5, 17
    rounded = -(-length // (4 * PIXELS)) * 4 * PIXELS
    expected = out.astype(np.float64)
    step, sign = (4, -1) if falling else (-4, 1)
    for j in range(rounded):
        total = sum(float(taps[first + t]) * float(values[at + j + step * t]) for t in range(count))
        for place in (to, twin) if twin >= 0 else (to,):
            expected[place + j] += sign * total
    before = out.copy()
    along_run(falling, values, at, length, taps, first, count, out, to, twin)
    np.testing.assert_allclose(out, expected, atol=3e-6)
    untouched = expected == before
    assert untouched.sum() == len(out) - rounded * (1 + (twin >= 0))
    np.testing.assert_array_equal(out[untouched], before[untouched])


@jit
def of_pixel(source, at, taps, rises, falls, first, end, out, to):
    add_taps_of_pixel(source, at, taps, rises, falls, first, end, out, to)


def test_taps_of_a_pixel_equal_the_slow_twin():
    rng = np.random.default_rng(1)
    source, taps, out = (rng.random(n, np.float32) for n in (60, 20, 200))
    rises, falls = 4 * rng.integers(0, 20, 20), 4 * rng.integers(20, 40, 20)
    expected = out.astype(np.float64)
    for t in range(3, 15):
        for k in range(4):
            expected[8 + rises[t] + k] += float(taps[t]) * float(source[12 + k])
            expected[8 + falls[t] + k] -= float(taps[t]) * float(source[12 + k])
    of_pixel(source, 12, taps, rises, falls, 3, 15, out, 8)
    np.testing.assert_allclose(out, expected, atol=2e-6)


@jit
def of_row(spread, at, count, out, x):
    sum_row(spread, at, count, out, x)


def test_running_sums_equal_the_slow_twin_and_clear_what_they_read():
    rng = np.random.default_rng(2)
    spread = (rng.random(400) - 0.5).astype(np.float32)
    before, out = spread.copy(), rng.random((6, 90)).astype(np.float32)
    expected = out.copy()
    expected[:4, 7 : 7 + 64] = np.cumsum(before[40 : 40 + 4 * 64].reshape(64, 4).astype(np.float64), axis=0).T
    of_row(spread, 40, 64, out, 7)
    np.testing.assert_allclose(out, expected, atol=1e-6)
    before[40 : 40 + 4 * 64] = 0
    np.testing.assert_array_equal(spread, before)


PROGRAM = """
import hashlib, sys
import numpy as np
sys.path.insert(0, sys.argv[1])
from test_disks import along_run, of_row
rng = np.random.default_rng(5)
out, rows = rng.random(200, np.float32), np.zeros((4, 48), np.float32)
along_run(True, rng.random(300, np.float32), 150, 64, rng.random(9, np.float32), 1, 8, out, 5, 100)
of_row(out, 4, 48, rows, 0)
print(hashlib.sha256(rows.tobytes() + out.tobytes()).hexdigest())
"""


def test_processors_agree_to_the_bit():
    """A Nehalem knows neither fused multiply-adds nor vectors of eight; a Haswell both, but none of sixteen."""
    digests = set()
    for settings in ({}, *({"NUMBA_CPU_NAME": name, "NUMBA_CPU_FEATURES": ""} for name in ("nehalem", "haswell"))):
        environment = {**os.environ, "DEFOCAL_NUMBA_CACHE": "0", **settings}
        command = [sys.executable, "-c", PROGRAM, os.path.dirname(__file__)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        digests.add(done.stdout.strip())
    assert len(digests) == 1


def random_runs(seed, size=(9, 40)):
    """Groups (2, h, w), -1 for nothing, and slots, in pieces of any length."""
    rng = np.random.default_rng(seed)
    group = np.repeat(rng.integers(-1, 4, (2, size[0], size[1] // 2)), 2, axis=2).astype(np.int32)
    slot = np.sort(rng.integers(0, 50, (2, *size)), axis=2).astype(np.int32)
    group[0, :, :25], slot[0, :, :25] = 1, 8
    return group, slot


def runs_of(group, slot):
    counts = np.zeros(int(group.max()) + 1, np.int64)
    count_runs(group, slot, counts)
    bounds = np.concatenate([[0], np.cumsum(counts)])
    runs = np.full((bounds[-1], 5), -7, np.int32)
    find_runs(group, slot, bounds[:-1].copy(), runs)
    return runs, bounds


def test_runs_equal_the_slow_twin():
    group, slot = random_runs(3)
    runs, bounds = runs_of(group, slot)
    expected = [[] for _ in range(4)]
    for y in range(group.shape[1]):
        for s in range(2):
            x = 0
            while x < group.shape[2]:
                first, same = x, (group[s, y, x], slot[s, y, x])
                while x < group.shape[2] and (group[s, y, x], slot[s, y, x]) == same:
                    x += 1
                if same[0] >= 0:
                    expected[same[0]].append((s * group.shape[1] + y, first, x, same[1], y))
    np.testing.assert_array_equal(bounds, np.cumsum([0] + [len(e) for e in expected]))
    np.testing.assert_array_equal(runs, np.concatenate(expected))


@pytest.mark.parametrize("rows", [1, 5, 16, 100])
def test_strips_runs_and_single_pixels_make_the_same_picture(rows, monkeypatch):
    """The compositor against its slow twin, however high its strips are, and however its runs are cut."""
    group, slot = random_runs(4, (30, 60))
    group[0][group[0] < 0] = 0
    rng = np.random.default_rng(5)
    rgba = rng.random((2, 30, 60, 4)).astype(np.float32)
    rgba[..., 3] = np.where(rng.random((2, 30, 60)) < 0.7, 1, rgba[..., 3])
    bank = PsfBank.disk(LENS)
    groups = []
    for g in range(4):
        parts = [naive.blur_by_slot(np.where((group == g)[s, ..., None], rgba[s], 0.0), slot[s], bank) for s in (0, 1)]
        groups.append((g, sum(parts)))
    edge, gap = 4, 1
    coc = np.array([-4.0, 1.5, 3.0, 5.0])
    expected = naive.composite(groups, gap, fill=True, coc=lambda plane: coc[plane])[edge:-edge, edge:-edge]
    monkeypatch.setattr(disks, "ROWS", rows)
    runs, bounds = runs_of(group, slot)
    assert (runs[:, 2] - runs[:, 1]).max() > SHORT
    pixels = [[(r, x, x + 1, k, y) for r, a, b, k, y in runs[i:j] for x in range(a, b)] for i, j in pairwise(bounds)]
    cut = np.concatenate(pixels).astype(np.int32), np.cumsum([0] + [len(p) for p in pixels])
    for these, where in ((runs, bounds), cut):
        canvas = DiskCanvas((30, 60), bank.taps(50), 5, edge, shared=True)
        np.testing.assert_allclose(canvas.composite_planes(rgba, these, where, gap, coc), expected, atol=1e-5)


@pytest.mark.slow
def test_pictures_too_tall_for_short_run_fields_are_rendered_alike():
    rng = np.random.default_rng(8)
    aif = rng.random((11000, 12, 3), np.float32)
    depth = (1 / (0.4 + np.linspace(0, 0.3, 11000))[:, None] * np.ones(12)).astype(np.float32)
    assert np.iinfo(np.int16).max < 3 * 11000
    turned = Scene(np.ascontiguousarray(aif.transpose(1, 0, 2)), np.ascontiguousarray(depth.T))
    expected = render(turned, LENS, planes=8).transpose(1, 0, 2)
    np.testing.assert_allclose(render(Scene(aif, depth), LENS, planes=8), expected, atol=1e-5)


def test_rounding_does_not_grow_along_a_row():
    """The same step of rounding in every pixel would add up, in running sums, to 5e-5 at the end of this row."""
    scene = Scene(np.full((24, 4000, 3), 0.7, np.float32), np.full((24, 4000), 1.6, np.float32))
    np.testing.assert_allclose(render(scene, LENS), 0.7, atol=2e-6)


@pytest.mark.parametrize("planes", [8, 64, 512])
@pytest.mark.parametrize("noise", [0.0, 0.01])
def test_memory_stays_below_twelve_images(planes, noise):
    """All that a thread's first render allocates, its workspace included; disks to 10 px in radius."""
    rng = np.random.default_rng(7)
    inverse = 0.2 + 0.6 * (np.mgrid[:480, :640][0] > 240) + np.linspace(0, 0.15, 640)
    depth = (1 / inverse * (1 + noise * rng.standard_normal(inverse.shape))).astype(np.float32)
    lens = ThinLens(focal_length=0.05, f_number=2.0, focus_distance=2.0, pixel_pitch=3e-5)
    assert 8 < np.abs(lens.coc(depth)).max() / 2 < 11
    scene, bank = Scene(rng.random((480, 640, 3), np.float32), depth), PsfBank.disk(lens)
    render(scene, lens, bank, planes=planes)
    peak = []

    def work():
        tracemalloc.start()
        render(scene, lens, bank, planes=planes)
        peak.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert scene.aif.nbytes < peak[0] < 12 * scene.aif.nbytes
