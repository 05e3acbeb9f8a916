"""From a depth map to planes and hidden content, against the slow twin and by hand."""

import naive_surfaces
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from defocal.synth import PsfBank, ThinLens
from defocal.synth.layers import Sweep, plane_grid, slots_for_coc, split_surfaces

LENS = ThinLens(focal_length=0.05, f_number=2.0, focus_distance=2.0, pixel_pitch=1e-4)
BANK = PsfBank.disk(LENS)


@given(st.floats(0.3, 3), st.floats(1.1, 50), st.integers(2, 200))
def test_planes_are_uniform_in_inverse_depth_and_no_more_than_asked(near, ratio, planes):
    far = near * ratio
    grid = plane_grid(near, far, LENS, planes)
    depth = (1 / np.linspace(1 / far, 1 / near, 1000)).astype(np.float32)
    number = grid.number(depth)
    assert number.min() in (0, 1), "a depth half-way between two planes may round to either"
    assert number.max() < planes + 1
    assert (np.diff(number) >= 0).all()
    if near < 2 < far:
        position = (1 / 2.0 - grid.anchor) * grid.per_dioptre
        assert position == pytest.approx(round(position), abs=1e-4), "the focus plane is the centre of a plane"


def test_a_step_of_over_a_pixel_of_coc_is_an_edge():
    grid = plane_grid(0.8, 10.0, LENS, 64)
    step = LENS.coc_per_dioptre / grid.per_dioptre
    assert (grid.gap - 1) * step < 1.0 <= grid.gap * step


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 10**6), planes=st.sampled_from([3, 16, 64]), border=st.integers(0, 9))
def test_splitting_equals_the_slow_twin(seed, planes, border):
    rng = np.random.default_rng(seed)
    depth = rng.choice([0.8, 0.85, 1.5, 2.0, 6.0], (7, 9)).repeat(2, 0).repeat(2, 1).astype(np.float32)
    aif = rng.random((*depth.shape, 3), np.float32)
    found = split_surfaces(aif, depth, border, BANK, planes)
    padded = np.pad(depth, border, mode="symmetric")
    rgba = np.ones((*padded.shape, 4))
    rgba[..., :3] = np.pad(aif, ((border, border), (border, border), (0, 0)), mode="symmetric")
    grid = plane_grid(float(depth.min()), float(depth.max()), LENS, planes)
    np.testing.assert_array_equal(found.coc[0], LENS.coc(padded))
    np.testing.assert_array_equal(found.plane[0], grid.number(padded))
    sheets = naive_surfaces.split(rgba[..., :3], found.plane[0], LENS.coc(padded), grid.gap)
    for i, (expected, plane, coc) in enumerate(sheets):
        there = plane >= 0
        np.testing.assert_array_equal(found.plane[i], plane)
        np.testing.assert_allclose(found.rgba[i][there], expected[there], atol=1e-5)
        np.testing.assert_array_equal(found.coc[i][there], coc[there])
    known, ends = found.plane >= 0, LENS.coc(np.array([depth.min(), depth.max()]))
    blur = found.coc.copy()
    np.testing.assert_array_equal(slots_for_coc(found, BANK, ends)[known], BANK.slots(blur[known]))


def test_the_wall_goes_on_behind_the_card_as_far_as_blur_can_reach():
    depth = np.full((40, 60), 6.0, np.float32)
    depth[:, :30] = 1.0
    found = split_surfaces(np.zeros((40, 60, 3), np.float32), depth, 0, BANK, 64)
    reach = (abs(LENS.coc(6.0)) + abs(LENS.coc(1.0))) / 2
    hidden = found.plane[1] >= 0
    assert not hidden[:, 30:].any()
    assert hidden[:, :30].any(axis=0).sum() == pytest.approx(reach + 1, abs=1)
    assert hidden[:, 29].all()


@pytest.mark.parametrize("focus", [1.0, 1.6, 6.0])
def test_a_lens_of_a_sweep_sees_of_what_is_hidden_what_it_would_see_alone(focus):
    """Split once for several lenses, each is given what its own blur can bring to light, at its own CoC."""
    depth = np.full((40, 90), 6.0, np.float32)
    depth[:, :45] = 1.0
    depth[10:30, 60:80] = 1.5
    aif = np.random.default_rng(5).random((40, 90, 3), np.float32)
    lenses = [LENS.refocused(d) for d in (1.0, 1.6, 6.0)]
    sweep, lens = Sweep.of(lenses), LENS.refocused(focus)
    bank, ends = BANK.through(lens), lens.coc(np.array([1.0, 6.0]))
    alone = split_surfaces(aif, depth, 0, bank, 64)
    hidden, blur = (alone.plane[1] >= 0).copy(), alone.coc.copy()
    found = split_surfaces(aif, depth, 0, BANK, 64, sweep)
    kept = sweep.seen_by(found, bank, ends)
    np.testing.assert_array_equal(kept[1] >= 0, hidden)
    np.testing.assert_array_equal(kept[::2], found.plane[::2])
    factor, more = sweep.change(lens)
    np.testing.assert_allclose(found.coc[0] * factor + more, blur[0], atol=1e-4)
    np.testing.assert_allclose((found.coc[1] * factor + more)[hidden], blur[1][hidden], atol=1e-4)
    slots = slots_for_coc(found, bank, ends, (factor, more))
    off = np.abs(slots[0] - bank.slots(blur[0]))
    assert off.max() <= 1, "a CoC half-way between two kernels may round to either"
    assert max(abs(lens.coc(z)) for lens in lenses for z in (1.0, 6.0)) <= (
        max(abs(sweep.lens.coc(z)) for z in (1.0, 6.0)) + sweep.swing + 1e-9
    )
