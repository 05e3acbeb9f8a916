"""The closed form of the half-planes against rays traced one by one, and its quadrature against a finer one."""

import math

import numpy as np
import pytest
from halfplanes import HalfPlanes, Ramp
from scipy.stats import qmc

from defocal.synth import ThinLens

LENS = ThinLens(focal_length=0.05, f_number=1.0, focus_distance=1.5, pixel_pitch=1e-4)
FOCUS = {"near": 1.0, "far": 3.0, "between": 1.5}
SIZE = (12, 40)


def traced(pair, row, column, rays=2**17):
    """Mean radiance over rays from points of the aperture, through the plane in focus, to the first surface; metres."""
    u = qmc.Sobol(4, seed=0).random(rays)
    lens, (height, width) = pair.lens, pair.size
    radius, turn = lens.aperture_diameter / 2 * np.sqrt(u[:, 0]), 2 * math.pi * u[:, 1]
    aperture = np.stack([radius * np.cos(turn), radius * np.sin(turn)])
    per_pixel = lens.pixel_pitch / lens.image_distance
    tangent = np.stack([column + u[:, 2] - width / 2, row + u[:, 3] - height / 2]) * per_pixel
    focused = tangent * lens.focus_distance
    light = np.full((rays, 3), np.nan)
    for depth in (pair.far_depth, pair.near_depth):
        at = aperture + (focused - aperture) * depth / lens.focus_distance
        x, y = at / depth / per_pixel
        t = x * math.cos(pair.angle) + y * math.sin(pair.angle)
        if depth == pair.near_depth:
            light = np.where((t > pair.near_edge)[:, None], pair.near.at(t), light)
        else:
            light = np.where((t > pair.far_step)[:, None], pair.after.at(t), pair.before.at(t))
    return light.mean(axis=0)


@pytest.mark.parametrize("degrees", [0, 37, -160])
@pytest.mark.parametrize("focus", FOCUS)
def test_the_closed_form_is_what_rays_bring(focus, degrees):
    pair = HalfPlanes(LENS.refocused(FOCUS[focus]), SIZE, math.radians(degrees))
    truth = pair.truth()
    for row, column in [(5, 12), (6, 17), (2, 19), (6, 21), (9, 26)]:
        np.testing.assert_allclose(truth[row, column], traced(pair, row, column), atol=5e-4)


@pytest.mark.parametrize("degrees", [0, 25, 45])
@pytest.mark.parametrize("focus", FOCUS)
def test_the_average_over_a_pixel_is_exact_to_1e_8(focus, degrees):
    pair = HalfPlanes(LENS.refocused(FOCUS[focus]), SIZE, math.radians(degrees))
    np.testing.assert_allclose(pair.truth(), pair.truth(nodes=40), atol=1e-8, rtol=0)


@pytest.mark.parametrize("degrees", [0, 25, 180])
def test_without_blur_the_picture_is_the_all_in_focus_image(degrees):
    pinhole = ThinLens(focal_length=0.05, f_number=1e6, focus_distance=1.5, pixel_pitch=1e-4)
    pair = HalfPlanes(pinhole, SIZE, math.radians(degrees))
    np.testing.assert_allclose(pair.truth(), pair.scene(0).aif, atol=1e-5)


@pytest.mark.parametrize("texels", [1, 2])
def test_layers_and_image_and_depth_are_one_scene(texels):
    even = [Ramp(ramp.base) for ramp in (HalfPlanes.near, HalfPlanes.before, HalfPlanes.after)]
    pair = HalfPlanes(LENS, SIZE, math.radians(25), 1.0, 3.0, 0.3, -6.4, *even)
    scene, (frame, (far, near)) = pair.scene(4), pair.patches(4, texels)
    assert scene.size == SIZE
    assert frame == (20 * texels, 48 * texels)
    flat = near.rgba[..., :3] + far.rgba[..., :3] * (1 - near.rgba[..., 3:])
    flat = flat.reshape(20, texels, 48, texels, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(flat, scene.aif, atol=1e-6)
    covered = near.rgba[..., 3].reshape(20, texels, 48, texels).mean(axis=(1, 3))
    assert set(np.unique(scene.depth)) == {1.0, 3.0}
    np.testing.assert_array_equal(scene.depth == 1.0, covered > 0.5)
