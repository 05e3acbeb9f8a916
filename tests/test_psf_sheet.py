from itertools import pairwise

import cv2
import numpy as np
import pytest

from defocal import InputError
from defocal.evaluate.charts import Line, angle_step, line_chart, ranges, spread
from defocal.evaluate.psf_sheet import Planes, _note, psf_sheet
from defocal.evaluate.psf_tiles import choose_planes, choose_tiles, false_colours, tile_rows


def planes(count, **changes):
    coc = np.linspace(-12, 12, count) if count > 1 else np.array([8.0])
    inverse = 0.2 + coc / 50
    depth = np.where(inverse > 0, 1 / np.where(inverse > 0, inverse, 1), np.inf)
    given = {"coc": coc, "depth": depth, "defocus": coc * 0.8} | changes
    return Planes(**given)


def kernels(count, channels=1, size=(17, 17), seed=0):
    y, x = np.mgrid[: size[0], : size[1]] - np.array([size[0] // 2, size[1] // 2])[:, None, None]
    sigma = 0.5 + np.random.default_rng(seed).random((count, channels, 1, 1)) * 3
    stack = np.exp(-(y**2 + 2 * x**2) / (2 * sigma**2))
    return (stack / stack.sum(axis=(2, 3), keepdims=True)).astype(np.float32)


def angles(count, channels=1):
    theory = np.broadcast_to(np.linspace(3, -3, count), (channels, count))
    return theory + 0.02, theory


def sheet(count=5, channels=1, size=(17, 17), **changes):
    given = {"title": "A bank", "planes": planes(count), "rotation": angles(count, channels)} | changes
    return psf_sheet(kernels(count, channels, size), **given)


def is_in(picture, part):
    """Whether `part` occurs in a picture, pixel for pixel."""
    edge = int(np.abs(np.diff(part.astype(int), axis=0)).sum(axis=(1, 2)).argmax())  # rows that tell where they are
    difference = cv2.matchTemplate(picture[..., 0].copy(), part[edge : edge + 2, :, 0].copy(), cv2.TM_SQDIFF)
    y, x = np.unravel_index(difference.argmin(), difference.shape)
    y = max(0, y - edge)
    return np.array_equal(picture[y : y + part.shape[0], x : x + part.shape[1]], part)


# --- the sheet


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("count", [1, 2, 21, 200])
def test_any_number_of_planes_makes_a_sheet(count, channels):
    got = sheet(count, channels, energy=np.full((count, channels), 0.9), facts=["50 mm f/2"])
    assert got.dtype == np.uint8
    assert got.ndim == 3
    assert got.shape[2] == 3
    assert 900 < got.shape[1] <= 2300


@pytest.mark.parametrize("size", [(1, 1), (1, 400), (400, 1), (2, 3), (96, 96), (400, 400)])
def test_any_size_of_window_makes_a_sheet(size):
    flat = np.full((2, 3, *size), 1 / np.prod(size), np.float32)
    got = psf_sheet(flat, title="Flat", planes=planes(2))
    assert got.shape[1] <= 2300
    assert got.shape[0] <= 2300


def test_the_border_is_empty_so_nothing_is_cut_off():
    long = "A long name of an optical system " * 20
    names = ["a channel with a very long name"] * 3
    depth = np.array([1e-7, 12345.678, np.inf])
    got = sheet(3, 3, title=long, facts=[long, "x" * 900], channel_names=names, planes=planes(3, depth=depth))
    for border in (got[:16], got[-16:], got[:, :16], got[:, -16:]):
        assert (border == 255).all()


def test_the_sheet_is_the_same_every_time_and_changes_nothing():
    stack, rotation = kernels(4, 3), angles(4, 3)
    before = stack.copy()
    first, second = (psf_sheet(stack, title="t", planes=planes(4), rotation=rotation) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(stack, before)


def test_tiles_show_the_kernels_themselves():
    stack = kernels(6, 3)
    got = psf_sheet(stack, title="t", planes=planes(6))
    tiles = choose_tiles(stack)
    for plane in stack[[0, 3, 5]]:
        rows = tile_rows(plane, tiles)
        assert len(rows) == 4
        assert all(is_in(got, row) for row in rows)
    assert not is_in(got, tile_rows(stack[0] ** 0.5, tiles)[0])


def test_composite_is_the_root_of_the_light_in_its_colours():
    plane = np.zeros((3, 3, 3), np.float32)
    plane[0, 1, 1], plane[1, 1, 1], plane[2, 0, 0] = 1, 0.25, 1
    tiles = choose_tiles(plane[None])
    composite = tile_rows(plane, tiles)[0]
    middle = tiles.magnified * 3 // 2
    assert composite.shape[:2] == tiles.shape == (3 * tiles.magnified,) * 2
    assert composite[middle, middle].tolist() == [255, 128, 0]
    assert composite[0, 0].tolist() == [0, 0, 255]
    assert tiles.axis == (1.5 * tiles.magnified, 1.5 * tiles.magnified)


def test_a_white_tile_on_white_has_a_frame():
    flat = np.full((6, 3, 9, 9), 1 / 81)
    got = psf_sheet(flat, title="", planes=planes(6))
    side = choose_tiles(flat).shape[0]
    white = (got == 255).all(axis=2)
    grey = np.full((side + 2, side + 2), False)
    grey[1:-1, 1:-1] = True
    found = cv2.matchTemplate(white.astype(np.uint8), grey.astype(np.uint8), cv2.TM_SQDIFF)
    assert np.count_nonzero(found < 0.5) == 6


def test_light_text_on_dark():
    assert sheet(5, 3, dark=True).mean() < 80 < 140 < sheet(5, 3).mean()


def test_without_rotation_the_mtf_stands_alone():
    with_both, alone = sheet(5), sheet(5, rotation=None)
    assert with_both.shape == alone.shape
    assert (alone[-300:, 900:] == 255).all()
    assert not (with_both[-300:, 500:] == 255).all()


def test_rotation_that_cannot_be_measured_is_no_obstacle():
    nothing = np.full((1, 5), np.nan)
    assert sheet(5, rotation=(nothing, nothing)).shape == sheet(5).shape
    assert sheet(5, rotation=(angles(5)[0], nothing)).shape == sheet(5).shape
    assert sheet(1, rotation=(np.zeros((1, 1)), np.zeros((1, 1)))).dtype == np.uint8


def test_planes_may_come_in_any_order_and_on_one_side_of_the_focus():
    assert sheet(3, planes=planes(3, coc=np.array([4.0, -8, 2]))).dtype == np.uint8
    near = planes(3, coc=np.array([9.0, 8, 7]), defocus=None)
    assert near.named() == {0: "near", 2: "least CoC"}
    assert planes(3).named() == {0: "far", 1: "focus", 2: "near"}
    assert planes(1).named() == {0: "least CoC"}


# --- tiles


@pytest.mark.parametrize(("count", "focus"), [(12, 1), (12, 10), (200, 3), (200, 100), (200, 0), (21, 20)])
def test_chosen_planes_ascend_and_have_the_ends_and_the_focus(count, focus):
    got = choose_planes(count, 11, focus)
    assert len(got) == 11
    assert {0, count - 1, focus} <= set(got)
    assert all(a < b for a, b in pairwise(got))
    assert choose_planes(5, 11, 2) == [0, 1, 2, 3, 4]


def test_empty_surroundings_are_cut_and_light_is_not():
    stack = np.zeros((7, 1, 101, 81), np.float32)
    stack[:, :, 45:56, 40] = 1
    tiles = choose_tiles(stack)
    assert tiles.rows == slice(43, 58)
    assert tiles.columns == slice(33, 48)
    assert tiles.pixels(stack[0]).shape == (1, *tiles.shape)
    assert tiles.pixels(stack[0]).sum() == stack[0].sum() * tiles.magnified**2


def test_the_note_says_what_the_tiles_leave_out():
    stack = np.zeros((3, 1, 41, 41))
    stack[:, :, 16:25, 16:25] = 1
    note = _note(stack, choose_tiles(stack))
    assert "the central 13 x 13 of 41 x 41 pixels, at least 95 % of the light inside the window of each PSF," in note
    assert "all 9 x 9 pixels" in _note(np.ones((1, 1, 9, 9)), choose_tiles(np.ones((1, 1, 9, 9))))


def test_wide_windows_are_averaged():
    tiles = choose_tiles(np.ones((8, 1, 399, 400), np.float32))
    assert (tiles.magnified, tiles.averaged) == (1, 3)
    got = tiles.pixels(np.ones((1, 399, 400)))
    assert got.shape == (1, *tiles.shape) == (1, 132, 132)
    assert (got[:, :-1, :-1] == 1).all()


def test_false_colours_lighten_with_the_light():
    light = false_colours(np.linspace(0, 1, 64)[None])[0] @ [0.21, 0.72, 0.07]
    assert (np.diff(light) > 0).all()


# --- charts


def test_places_are_moved_apart_in_order_and_stay_inside():
    got = spread([50.0, 50, 49, 3, 99.9], 10, 0, 100)
    ordered = sorted(got)
    assert all(b - a >= 10 - 1e-9 for a, b in pairwise(ordered))
    assert ordered[0] >= 0
    assert ordered[-1] <= 100
    assert got[2] < got[0]
    assert spread([], 10, 0, 100) == []


@pytest.mark.parametrize(("span", "step"), [(360, 60), (270, 45), (60, 10), (3, 0.5), (5000, 1000)])
def test_angles_have_customary_steps(span, step):
    assert angle_step(span, 6) == step


def test_ranges_of_values():
    assert ranges(np.array([np.nan, 1, 5]), 2) == (1, 5)
    assert ranges(np.array([3.0]), 2) == (2, 4)
    assert ranges(np.array([np.nan]), 2) == (-1, 1)


def test_a_line_and_its_marks_are_where_their_values_say():
    x = np.array([0.0, 1, 2])
    line = Line(name="", colour=(255, 0, 0), x=x, y=np.array([0.0, np.nan, 0]), marks=np.array([np.nan, 1, np.nan]))
    got = line_chart(
        [line], width=400, height=260, heading="", note="", x_title="", x_range=(0, 2), y_range=(0, 2), key=False
    )
    y, _ = np.nonzero((got[:, 100:300, 0] > 200) & (got[:, 100:300, 1] < 60))
    assert np.ptp(y) <= 12  # the mark alone: NaN breaks the line
    assert abs(y.mean() - (58 + (260 - 44)) / 2) < 1


# --- refusals


@pytest.mark.parametrize(
    "call",
    [
        lambda: psf_sheet(np.ones((2, 3, 3), np.float32), title="", planes=planes(2)),
        lambda: psf_sheet(np.ones((2, 2, 3, 3), np.float32), title="", planes=planes(2)),
        lambda: psf_sheet(np.ones((0, 1, 3, 3), np.float32), title="", planes=planes(2)),
        lambda: psf_sheet(np.ones((2, 1, 3, 3), complex), title="", planes=planes(2)),
        lambda: psf_sheet(np.full((2, 1, 3, 3), np.nan), title="", planes=planes(2)),
        lambda: psf_sheet(np.full((2, 1, 3, 3), -1.0), title="", planes=planes(2)),
        lambda: psf_sheet(np.zeros((2, 1, 3, 3)), title="", planes=planes(2)),
        lambda: sheet(planes=planes(4)),
        lambda: sheet(planes=planes(5, depth=np.zeros(5))),
        lambda: sheet(planes=planes(5, depth=np.full(5, np.nan))),
        lambda: sheet(planes=planes(5, coc=np.full(5, np.inf))),
        lambda: sheet(planes=planes(5, defocus=np.zeros(4))),
        lambda: sheet(channel_names=["a", "b", "c"]),
        lambda: sheet(rotation=angles(4)),
        lambda: sheet(rotation=(np.full((1, 5), np.inf), np.zeros((1, 5)))),
        lambda: sheet(energy=np.ones((1, 5))),
        lambda: sheet(energy=np.full((5, 1), np.nan)),
    ],
)
def test_what_cannot_be_shown_is_refused_in_one_sentence(call):
    with pytest.raises(InputError, match=r"^[^\n]+\.$"):
        call()
