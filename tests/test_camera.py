"""The thin lens: closed forms, signs, and the papers' own formulas."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from defocal import InputError
from defocal.synth import Intrinsics, ThinLens

D3NET = ThinLens(focal_length=0.015, f_number=2.8, focus_distance=2.0, pixel_pitch=5.6e-6)


def lenses():
    """Lenses from phone to telephoto, focused from just beyond the focal length to far away."""
    return st.builds(
        lambda f, n, beyond, pitch: ThinLens(focal_length=f, f_number=n, focus_distance=f * beyond, pixel_pitch=pitch),
        st.floats(0.003, 0.2),
        st.floats(0.9, 22),
        st.floats(1.5, 500),
        st.floats(1e-6, 1e-4),
    )


def test_the_camera_of_the_paper_has_the_known_circles_of_confusion():
    np.testing.assert_allclose(D3NET.coc([0.7, 2.0, 10.0]), [13.425, 0.0, -5.783], atol=5e-4)


@given(lenses(), st.floats(0.3, 100))
def test_the_three_papers_state_the_same_law(lens, depth):
    """D3-Net section 2, 2HDED Eq. 8 and UDfD Eq. 1 agree once f there is read as the lens-sensor distance."""
    f, s, z, focus = lens.focal_length, lens.image_distance, depth, lens.focus_distance
    aperture = f / lens.f_number
    d3net = aperture * s * abs(1 / f - 1 / z - 1 / s)
    two_hded = (s / focus) * aperture * abs(z - focus) / z
    udfd = abs(z - focus) / z * f**2 / (lens.f_number * (focus - f))
    ours = abs(lens.coc(depth)) * lens.pixel_pitch
    scale = aperture * s * (1 / z + 1 / focus + 1 / f)
    for paper in (d3net, two_hded, udfd):
        assert ours == pytest.approx(paper, abs=1e-9 * scale)


def test_nearer_is_positive_and_farther_is_negative():
    assert D3NET.coc(1.0) > 0 > D3NET.coc(5.0)
    assert D3NET.coc(2.0) == 0


@given(lenses(), st.floats(0.2, 1000))
def test_depth_at_coc_inverts_coc(lens, depth):
    assert lens.depth_at_coc(lens.coc(depth)) == pytest.approx(depth, rel=1e-6)


def test_image_distance_obeys_the_lens_equation():
    assert 1 / D3NET.image_distance + 1 / 2.0 == pytest.approx(1 / 0.015)
    assert D3NET.refocused(math.inf).image_distance == 0.015


def test_depth_of_field_ends_where_the_coc_reaches_the_limit():
    near, far = D3NET.depth_of_field(1.0)
    assert D3NET.coc(near) == pytest.approx(1)
    assert D3NET.coc(far) == pytest.approx(-1)


def test_focused_at_the_hyperfocal_distance_infinity_is_just_sharp():
    lens = D3NET.refocused(D3NET.hyperfocal_distance(1.0))
    assert lens.coc(math.inf) == pytest.approx(-1)
    near, far = lens.depth_of_field(1.0)
    assert far > 1e6
    assert near == pytest.approx(lens.focus_distance / 2, rel=0.01)


def test_unknown_depth_stays_unknown_and_dtype_is_kept():
    coc = D3NET.coc(np.array([np.nan, 2.0, np.inf], np.float32))
    assert coc.dtype == np.float32
    assert np.isnan(coc[0])
    assert coc[2] == pytest.approx(-D3NET.coc_per_dioptre / 2)


def test_field_of_view_uses_the_sensor_distance():
    """Focusing nearer moves the sensor away and narrows the view: focus breathing."""
    assert D3NET.refocused(0.5).field_of_view(640) < D3NET.refocused(10.0).field_of_view(640)
    assert D3NET.intrinsics(480, 640).fx == pytest.approx(D3NET.image_distance / 5.6e-6)


def test_ray_length_is_one_on_the_axis_and_follows_pythagoras():
    rays = Intrinsics(fx=100.0, fy=100.0, cx=50.0, cy=40.0).ray_length_per_depth(81, 101)
    assert rays[40, 50] == 1
    assert rays[40, 100] == pytest.approx(math.sqrt(1.25))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"focus_distance": 0.015}, "beyond the focal length"),
        ({"focus_distance": 0.01}, "beyond the focal length"),
        ({"focus_distance": math.nan}, "beyond the focal length"),
        ({"f_number": 0.0}, "f_number must be a positive"),
        ({"f_number": -2.0}, "f_number must be a positive"),
        ({"focal_length": -0.01}, "focal_length must be a positive"),
        ({"pixel_pitch": math.inf}, "pixel_pitch must be a positive"),
    ],
)
def test_impossible_cameras_are_refused_in_one_sentence(change, words):
    good = {"focal_length": 0.015, "f_number": 2.8, "focus_distance": 2.0, "pixel_pitch": 5.6e-6}
    with pytest.raises(InputError, match=words) as caught:
        ThinLens(**{**good, **change})
    assert "\n" not in str(caught.value)
