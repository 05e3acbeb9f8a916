"""Light fields: refocused views against closed forms, the equal lens against our own renderer."""

import math

import numpy as np
import pytest
from rgbd import refusal

from defocal.synth import LayeredScene, Patch, PsfBank, render
from defocal.synth.lightfield import LightField, light_field_lens, refocus

HEIGHT, WIDTH, VIEWS = 96, 112, 9
FIELD = LightField(focal=500.0, baseline=0.002, convergence=2.0, views=VIEWS)
INSIDE = np.s_[16:-16, 16:-16]


def waves(x, y, periods=(23.0, 37.0)):
    """A texture whose blur has a closed form."""
    across, down = (np.cos(2 * np.pi * a / p) for a, p in zip((x, y), periods, strict=True))
    return 0.5 + 0.2 * across + 0.15 * down


def moved(v, u, disparity, n=VIEWS):
    """Where, on a plane of this disparity, pixels of view (v, u) look: what is near is farther left in later views."""
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(float)
    return x + (u - (n - 1) / 2) * disparity, y + (v - (n - 1) / 2) * disparity


def plane(disparity, n=VIEWS):
    views = [[waves(*moved(v, u, disparity, n)) for u in range(n)] for v in range(n)]
    return np.repeat(np.array(views, np.float32)[..., None], 3, axis=-1)


def of_points(period, spacing, n=VIEWS):
    """What remains of a wave blurred by n points in a row."""
    half = np.pi * spacing / period
    return math.sin(n * half) / (n * math.sin(half)) if spacing else 1.0


def test_a_constant_stays():
    views = np.full((3, 3, 20, 24, 3), 0.3, np.float32)
    stack = refocus(views, [-1.3, 0, 0.7])
    assert stack.shape == (3, 20, 24, 3)
    np.testing.assert_allclose(stack, 0.3, rtol=1e-5)


def test_a_plane_is_sharp_in_its_slice_and_blurred_by_a_square_elsewhere():
    disparities = np.array([0.0, 0.7, 1.25, 2.0])
    stack = refocus(plane(1.25), disparities)
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(float)
    for picture, focus in zip(stack, disparities, strict=True):
        a, b = (of_points(period, 1.25 - focus) for period in (23.0, 37.0))
        expected = 0.5 + 0.2 * a * np.cos(2 * np.pi * x / 23) + 0.15 * b * np.cos(2 * np.pi * y / 37)
        np.testing.assert_allclose(picture[..., 0][INSIDE], expected[INSIDE], atol=2e-5)
    np.testing.assert_allclose(stack[2][..., 0][INSIDE], waves(x, y)[INSIDE], atol=2e-5)


def test_signs():
    """Nearer points lie farther left in views to the right; a shift the other way round blurs them."""
    views = np.zeros((1, 3, 20, 41, 3), np.float32)
    for u in range(3):
        views[0, u, :, 20 - 4 * (u - 1)] = 1
    sharp, blurred = refocus(views, [4.0, -4.0])
    assert sharp[10, 20, 0] == pytest.approx(1)
    assert np.flatnonzero(blurred[10, :, 0] > 0.3).tolist() == [12, 20, 28]


def test_an_aperture_of_some_views():
    views = plane(1.0)
    few = np.zeros((VIEWS, VIEWS))
    few[3:6, 3:6] = 1
    np.testing.assert_array_equal(refocus(views, [0.0], aperture=few), refocus(views[3:6, 3:6], [0.0]))
    one = np.zeros((VIEWS, VIEWS))
    one[4, 4] = 2
    np.testing.assert_array_equal(refocus(views, [0.0, 3.0], aperture=one)[1], views[4, 4])
    row = np.zeros((VIEWS, VIEWS))
    row[4] = 1
    light = refocus(views, [0.0], aperture=row)[0, ..., 0]
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(float)  # blurred along x alone
    expected = 0.5 + 0.2 * of_points(23, 1.0) * np.cos(2 * np.pi * x / 23) + 0.15 * np.cos(2 * np.pi * y / 37)
    np.testing.assert_allclose(light[INSIDE], expected[INSIDE], atol=2e-5)


def test_encoded_views_are_added_in_linear_light():
    views = np.zeros((1, 2, 8, 8, 3), np.uint8)
    views[0, 1] = 255
    np.testing.assert_allclose(refocus(views, [0.0]), 0.5)
    np.testing.assert_allclose(
        refocus(views + 128, [0.0], encoding="linear")[0, 0, 0], (128 + 127) / 2 / 255, rtol=1e-6
    )


@pytest.mark.parametrize(
    ("change", "mention"),
    [
        ({"views": np.zeros((3, 3, 8, 8), np.uint8)}, "(V, U, H, W, 3)"),
        ({"views": np.zeros((3, 3, 8, 8, 1), np.uint8)}, "(V, U, H, W, 3)"),
        ({"disparities": []}, "disparities"),
        ({"disparities": [np.nan]}, "disparities"),
        ({"disparities": [[1.0]]}, "disparities"),
        ({"aperture": np.zeros((3, 3))}, "3x3 views"),
        ({"aperture": -np.ones((3, 3))}, "3x3 views"),
        ({"aperture": np.ones((9, 9))}, "3x3 views"),
    ],
)
def test_refusals(change, mention):
    given = {"views": np.zeros((3, 3, 8, 8, 3), np.uint8), "disparities": [0.0]} | change
    refusal(lambda: refocus(given.pop("views"), given.pop("disparities"), **given), mention)


# Geometry


def test_disparity_and_depth():
    """b f (1 / z - 1 / z0): 0.002 x 500 (1 - 1 / 2) at one metre."""
    assert FIELD.disparity(1.0) == pytest.approx(0.5)
    assert FIELD.depth(0.5) == pytest.approx(1.0)
    depths = np.array([0.3, 2.0, 77.0])
    np.testing.assert_allclose(FIELD.depth(FIELD.disparity(depths)), depths)
    assert FIELD.depth(-0.6) == math.inf
    assert LightField(focal=521.4052, baseline=0.00027088, views=9).depth(0.0) == math.inf


@pytest.mark.parametrize(
    "change", [{"focal": 0}, {"baseline": -1}, {"convergence": 0}, {"views": 1}, {"focal": math.inf}]
)
def test_geometry_that_cannot_be(change):
    refusal(lambda: LightField(**({"focal": 500.0, "baseline": 0.1} | change)), "light field")
    refusal(lambda: light_field_lens(FIELD, 0.0), "0.0 m")


@pytest.mark.parametrize("focus", [0.7, 2.0, 9.0])
@pytest.mark.parametrize("pitch", [1e-6, 70e-6])
def test_the_lens_blurs_by_the_views_span_whatever_its_pixels(focus, pitch):
    lens = light_field_lens(FIELD, focus, pixel_pitch=pitch)
    depth = np.array([0.5, 1.0, 5.0])
    expected = math.sqrt(80) * (FIELD.disparity(depth) - FIELD.disparity(focus))
    np.testing.assert_allclose(lens.coc(depth), expected, rtol=1e-9, atol=1e-9)
    assert lens.intrinsics(9, 9).fx == pytest.approx(500)  # the same field of view at every focus


def test_the_variance_is_that_of_the_points():
    """A row of 9 points one pixel apart has the variance (81 - 1) / 12, as has a line of that length."""
    assert FIELD.aperture / FIELD.baseline == pytest.approx(math.sqrt(12 * np.var(np.arange(9))))


def two_planes():
    """A wall behind a window frame: the views by hand, and the same as layers."""
    back, front = FIELD.disparity(3.0), FIELD.disparity(1.0)
    views = np.empty((VIEWS, VIEWS, HEIGHT, WIDTH, 3), np.float32)

    def cover(x, y):
        """Left of a slanted line, with a smooth edge."""
        return 0.5 - 0.5 * np.sin(np.clip((x - 52 - 0.2 * y) / 8, -0.5, 0.5) * np.pi)

    for v in range(VIEWS):
        for u in range(VIEWS):
            wall = waves(*moved(v, u, back))
            x, y = moved(v, u, front)
            alpha = cover(x, y)
            views[v, u] = (alpha * waves(x, y, (41.0, 29.0)) ** 2 + (1 - alpha) * wall)[..., None]
    margin = 24
    y, x = np.mgrid[-margin : HEIGHT + margin, -margin : WIDTH + margin].astype(float)
    wall, alpha = waves(x, y), cover(x, y)
    frame = wall.shape
    far = np.stack([wall, wall, wall, np.ones(frame)], axis=-1)
    near = np.stack([alpha * waves(x, y, (41.0, 29.0)) ** 2] * 3 + [alpha], axis=-1)
    layers = [Patch(far.astype(np.float32), 3.0), Patch(near.astype(np.float32), 1.0)]
    return views, LayeredScene.from_patches(frame, layers, margin=margin)


@pytest.mark.parametrize("focus", [1.0, 3.0])
def test_our_renderer_makes_the_same_of_two_planes(focus):
    """True layers through the equal square aperture, against the views: nine points in a row stand for its side."""
    views, scene = two_planes()
    picture = refocus(views, [FIELD.disparity(focus)])[0]

    def error(scale):
        field = LightField(focal=500.0, baseline=0.002 * scale, convergence=2.0, views=VIEWS)
        lens = light_field_lens(field, focus)
        rendered = render(scene, lens, PsfBank.aperture(lens, [[1.0]]), method="exact")
        return float(np.sqrt(np.mean((rendered - picture)[INSIDE] ** 2)))

    equal = error(1.0)
    assert equal < 1e-4
    assert 20 * equal < error(8 / math.sqrt(80))  # a square that spans the distance from the first view to the last
