"""Scenes brought to a size: light is kept, depth never mixed across edges, and the camera follows."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rgbd import refusal
from timing import seconds

from defocal.synth import Intrinsics, LayeredScene, Scene, ThinLens, procedural_scene
from defocal.synth.fit import fit_scene

NAN = np.nan
CAMERA = Intrinsics(fx=52.0, fy=50.0, cx=30.25, cy=21.5)
SIZES = st.tuples(st.integers(3, 90), st.integers(3, 90))


def scene_of(depth, image=None, **more):
    depth = np.asarray(depth, np.float32)
    return Scene(np.full((*depth.shape, 3), 0.25, np.float32) if image is None else image, depth, **more)


def factor_of(scene, size):
    return max(size[0] / scene.size[0], size[1] / scene.size[1])


def places(scene, size):
    """Rows and columns of the new pixels' centres in the old picture, as (h, w) each."""
    factor = factor_of(scene, size)
    along = []
    for new, old in zip(size, scene.size, strict=True):
        cut = (old - new) // 2 if factor == 1 else (old * factor - new) / 2
        along.append((np.arange(new) + cut + 0.5) / factor - 0.5)
    return np.meshgrid(*along, indexing="ij")


def fitted_by_hand(image, size):
    """Every new pixel as the mean over its area, by 60 samples along an axis of the old pixels; or bilinear."""
    image = image.astype(np.float64)
    height, width = image.shape[:2]
    factor = max(size[0] / height, size[1] / width)
    out = np.empty((*size, image.shape[2]))
    for i, j in np.ndindex(*size):
        y, x = ((i - (size[0] - 1) / 2) / factor + (height - 1) / 2, (j - (size[1] - 1) / 2) / factor + (width - 1) / 2)
        if factor > 1:
            y, x = min(max(y, 0), height - 1), min(max(x, 0), width - 1)
            y0, x0 = min(int(y), height - 2), min(int(x), width - 2)
            ty, tx = y - y0, x - x0
            top = (1 - tx) * image[y0, x0] + tx * image[y0, x0 + 1]
            out[i, j] = (1 - ty) * top + ty * ((1 - tx) * image[y0 + 1, x0] + tx * image[y0 + 1, x0 + 1])
            continue
        spread = ((np.arange(60) + 0.5) / 60 - 0.5) / factor
        rows, columns = (np.clip(np.rint(at + spread).astype(int), 0, n - 1) for at, n in ((y, height), (x, width)))
        out[i, j] = image[np.ix_(rows, columns)].mean(axis=(0, 1))
    return out


@pytest.mark.parametrize(("size", "exact"), [((10, 15), True), ((7, 11), False), ((19, 29), False), ((47, 70), True)])
def test_colour_is_the_mean_over_the_area_or_linear(size, exact):
    image = np.random.default_rng(0).random((20, 30, 3), np.float32)
    found = fit_scene(scene_of(np.ones((20, 30)), image), size, "cover").aif
    np.testing.assert_allclose(found, fitted_by_hand(image, size), atol=2e-6 if exact else 0.02)


@pytest.mark.parametrize("size", [(20, 30), (10, 15), (8, 12), (6, 9), (14, 21), (2, 3)])
def test_light_is_kept(size):
    image = np.random.default_rng(1).random((20, 30, 3), np.float32) ** 8 * 40
    found = fit_scene(scene_of(np.ones((20, 30)), image), size, "cover").aif
    np.testing.assert_allclose(found.mean(axis=(0, 1)), image.mean(axis=(0, 1)), rtol=1e-5)


@settings(max_examples=40, deadline=None)
@given(size=SIZES)
def test_a_constant_stays_constant(size):
    found = fit_scene(scene_of(np.full((41, 57), 3)), size, "cover")
    assert found.size == size
    np.testing.assert_allclose(found.aif, 0.25, rtol=1e-6)
    np.testing.assert_allclose(found.depth, 3, rtol=1e-6)


@settings(max_examples=60, deadline=None)
@given(size=SIZES, at=st.floats(2, 50), slope=st.floats(-1, 1))
def test_two_surfaces_have_no_depth_between(size, at, slope):
    y, x = np.indices((41, 57))
    depth = np.where(x + slope * (y - 20) < at, 1.0, 4.0)
    found = fit_scene(scene_of(depth), size, "cover").depth
    assert (np.isclose(found, 1, rtol=1e-6) | np.isclose(found, 4, rtol=1e-6)).all()
    rows, columns = places(scene_of(depth), size)
    half = 0.5 / factor_of(scene_of(depth), size)
    side = columns + slope * (rows - 20) - at
    sure = np.abs(side) > (1 + abs(slope)) * (half + 1)
    np.testing.assert_allclose(found[sure], np.where(side < 0, 1.0, 4.0)[sure], rtol=1e-6)


@settings(max_examples=60, deadline=None)
@given(size=SIZES, a=st.floats(-0.004, 0.004), b=st.floats(-0.004, 0.004))
def test_slanted_planes_stay_planes(size, a, b):
    y, x = np.indices((41, 57))
    scene = scene_of(1 / (0.4 + a * (x - 28) + b * (y - 20)))
    rows, columns = places(scene, size)
    expected = 1 / (0.4 + a * (columns - 28) + b * (rows - 20))
    np.testing.assert_allclose(fit_scene(scene, size, "cover").depth, expected, rtol=1e-4)


@settings(max_examples=40, deadline=None)
@given(size=SIZES, seed=st.integers(0, 10**6))
def test_far_noise_and_infinity_are_copied(size, seed):
    depth = np.random.default_rng(seed).choice([1.0, 1.5, 2.5, 7.0, np.inf], (23, 31))
    found = fit_scene(scene_of(depth), size, "cover").depth
    known = np.array([1.0, 1.5, 2.5, 7.0], np.float32)
    assert (np.isinf(found) | np.isclose(found[..., None], known, rtol=1e-6).any(axis=-1)).all()


@settings(max_examples=60, deadline=None)
@given(size=SIZES, top=st.integers(0, 25), left=st.integers(0, 35), tall=st.integers(2, 15), wide=st.integers(2, 20))
def test_unknown_depth_stays_and_does_not_spread(size, top, left, tall, wide):
    depth = np.full((41, 57), 2.0)
    depth[top : top + tall, left : left + wide] = NAN
    scene = scene_of(depth)
    found = np.isnan(fit_scene(scene, size, "cover").depth)
    rows, columns = places(scene, size)
    pixel = 1 / factor_of(scene, size)
    outside = np.maximum(
        np.abs(rows - top - (tall - 1) / 2) - tall / 2, np.abs(columns - left - (wide - 1) / 2) - wide / 2
    )
    assert not found[outside > 1e-6].any(), "no pixel is lost whose centre was known"
    assert found[outside < -pixel / 2 - 1e-6].all(), "none comes to be known all of which was unknown"


def test_holes_keep_their_share_of_the_picture():
    rng = np.random.default_rng(3)
    depth = np.where(np.kron(rng.random((48, 64)), np.ones((10, 10))) < 0.2, NAN, 2.0)
    for size in ((240, 320), (163, 217), (700, 934)):
        found = fit_scene(scene_of(depth), size, "cover").depth
        assert np.isnan(found).mean() == pytest.approx(np.isnan(depth).mean(), abs=0.01)


@pytest.mark.parametrize(
    ("fit", "size"), [("cover", (18, 31)), ("cover", (70, 60)), ("crop", (20, 31)), ("crop", (7, 50))]
)
def test_points_of_the_world_are_seen_where_the_intrinsics_say(fit, size):
    """A picture that says where each of its pixels looks: after fitting it must agree with the new intrinsics."""
    y, x = np.indices((41, 57))
    rays = np.stack([(x - CAMERA.cx) / CAMERA.fx + 1, (y - CAMERA.cy) / CAMERA.fy + 1, np.ones_like(x)], axis=-1)
    found = fit_scene(Scene(rays, np.ones((41, 57)), CAMERA, scale=0.5), size, fit)
    camera = found.intrinsics
    row, column = np.indices(size)
    # Linear functions come back as they are, but in half a pixel at the border of an enlarged picture.
    inner = np.s_[2:-2, 2:-2]
    np.testing.assert_allclose(found.aif[inner][..., 0], ((column - camera.cx) / camera.fx + 1)[inner], atol=2e-3)
    np.testing.assert_allclose(found.aif[inner][..., 1], ((row - camera.cy) / camera.fy + 1)[inner], atol=2e-3)
    factor = 1.0 if fit == "crop" else factor_of(found, size) * max(size[0] / 41, size[1] / 57)
    assert camera.fx == pytest.approx(CAMERA.fx * factor)
    assert found.scale == pytest.approx(0.5 * factor)


def test_the_principal_point_follows_in_closed_form():
    found = fit_scene(scene_of(np.ones((40, 60)), intrinsics=CAMERA), (20, 20), "cover")
    assert found.intrinsics == Intrinsics(fx=26, fy=25, cx=(30.25 + 0.5) / 2 - 0.5 - 5, cy=(21.5 + 0.5) / 2 - 0.5)


def test_a_crop_has_the_same_pixels():
    image = np.random.default_rng(2).random((20, 31, 3), np.float32)
    depth = np.random.default_rng(3).uniform(1, 9, (20, 31)).astype(np.float32)
    depth[8, 9] = NAN
    for fit in ("crop", "cover"):
        found = fit_scene(Scene(image, depth, CAMERA, "a", scale=0.3), (20, 14), fit)
        np.testing.assert_array_equal(found.aif, image[:, 8:22])
        np.testing.assert_array_equal(found.depth, depth[:, 8:22])
        assert (found.intrinsics.cx, found.intrinsics.cy) == (22.25, 21.5)
        assert (found.scale, found.source) == (0.3, "a")


def test_a_scene_of_the_size_is_itself():
    scene = scene_of(np.ones((4, 5)))
    assert fit_scene(scene, (4, 5), "crop") is scene
    assert fit_scene(scene, (4, 5), "cover") is scene


def test_what_cannot_be_fitted_is_refused():
    scene = scene_of(np.ones((10, 12)), source="kitchen_7")
    refusal(lambda: fit_scene(scene, (11, 12), "crop"), "kitchen_7", "12x10", "12x11", "cover")
    refusal(lambda: fit_scene(scene.with_margin(1), (4, 4), "cover"), "kitchen_7", "margin")
    refusal(lambda: fit_scene(scene, (0, 4), "cover"), "4x0")
    depth = np.full((10, 12), NAN)
    depth[0, 0] = 1
    refusal(lambda: fit_scene(scene_of(depth, source="x9"), (4, 4), "crop"), "x9", "no known depth")
    refusal(lambda: fit_scene(scene_of(depth, source="x9"), (2, 2), "cover"), "x9", "no known depth")


LENS = ThinLens(focal_length=0.05, f_number=2.0, focus_distance=1.5, pixel_pitch=2e-5)


@given(scale=st.floats(0.01, 20), depth=st.floats(0.2, 100))
def test_a_lens_of_a_resized_picture_blurs_as_many_times_as_many_pixels(scale, depth):
    assert LENS.resized(scale).coc(depth) == pytest.approx(scale * LENS.coc(depth), rel=1e-9, abs=1e-9)
    assert LENS.resized(scale).focal_length == LENS.focal_length


@pytest.mark.parametrize("scale", [0.0, -1.0, math.nan, math.inf])
def test_a_lens_cannot_be_resized_by_nothing(scale):
    refusal(lambda: LENS.resized(scale), "factor")


@pytest.mark.parametrize("size", [(20, 30), (120, 180), (7, 11)])
def test_field_of_view_and_blur_are_the_same_share_of_the_picture(size):
    height, width = 60, 90
    scene = scene_of(np.full((height, width), 3.0), intrinsics=LENS.intrinsics(height, width))
    found = fit_scene(scene, size, "cover")
    lens = LENS.resized(found.scale / scene.scale)
    aspect_kept = size[0] * width == size[1] * height
    wide = size[1] if aspect_kept else found.scale * width
    assert lens.field_of_view(wide) == pytest.approx(LENS.field_of_view(width), rel=1e-9)
    assert lens.coc(3.0) / wide == pytest.approx(LENS.coc(3.0) / width, rel=1e-9)
    camera = lens.intrinsics(*size)
    assert (found.intrinsics.fx, found.intrinsics.cx, found.intrinsics.cy) == pytest.approx(
        (camera.fx, camera.cx, camera.cy)
    )


def test_a_scene_is_the_same_rendered_small_or_made_small():
    """Of a procedural scene, half the resolution by `fit_scene` has the surfaces of the layers averaged."""
    scene = procedural_scene(7, 0, (120, 160), (0.7, 8.0))
    small = fit_scene(scene.flatten(), (60, 80), "cover")
    layers = LayeredScene.from_patches(scene.frame, scene.patches, oversampling=2).flatten()
    np.testing.assert_allclose(small.aif, layers.aif, atol=1e-5)
    assert (np.abs(small.depth / layers.depth - 1) < 0.05).mean() > 0.98


@pytest.mark.bench
def test_how_fast(capsys):
    scene = procedural_scene(7, 0, (480, 640), (0.7, 8.0)).flatten()
    with capsys.disabled():
        for size in ((240, 320), (420, 560), (720, 960)):
            time = seconds(lambda s=size: fit_scene(scene, s, "cover"))
            print(f"\n640x480 to {size[1]}x{size[0]}: {1e3 * time:.0f} ms")
