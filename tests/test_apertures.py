"""Apertures: areas, symmetry, pictures, and published patterns by the properties they were published for."""

import cv2
import numpy as np
import pytest

from defocal import InputError
from defocal.synth import PsfBank, ThinLens
from defocal.synth.apertures import (
    MOST_SAMPLES,
    coded_aperture,
    picture_aperture,
    polygon_aperture,
    round_aperture,
)
from defocal.synth.psf_shapes import aperture_kernel, disk_kernel
from defocal.synth.pupil.patterns import PATTERNS

LENS = ThinLens(focal_length=0.05, f_number=2.0, focus_distance=2.0, pixel_pitch=5e-5)


def area(aperture):
    """Of the open part; the pupil's circle has pi."""
    return aperture.mean() * 4


def picture(path, pixels):
    assert cv2.imwrite(str(path), pixels)
    return path


@pytest.mark.parametrize("samples", [7, 64, 255])
def test_round_apertures_have_the_area_of_the_circle(samples):
    assert area(round_aperture(samples)) == pytest.approx(np.pi, rel=1e-9)
    assert area(round_aperture(samples, 0.4)) == pytest.approx(np.pi * (1 - 0.4**2), rel=1e-9)


@pytest.mark.parametrize("diameter", [1.5, 4.0, 11.3])
def test_the_shadow_of_a_round_aperture_is_the_disk(diameter):
    kernel, disk = aperture_kernel(round_aperture(256), diameter), disk_kernel(diameter)
    np.testing.assert_allclose(kernel, disk, atol=2e-3 * disk.max())


def test_an_obstruction_makes_a_ring():
    ring = round_aperture(64, 0.5)
    assert ring[32, 32] == 0
    assert ring[32, 8] == 1
    assert ring[0, 0] == 0


@pytest.mark.parametrize("blades", [3, 5, 6, 9])
def test_polygons_have_their_area(blades):
    """n / 2 sin(2 pi / n) for a polygon in the unit circle."""
    expected = blades / 2 * np.sin(2 * np.pi / blades)
    assert area(polygon_aperture(blades, rotation=0.3, samples=128)) == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("roundness", [0.25, 0.5, 0.9])
def test_curved_blades_add_circular_segments(roundness):
    """To the polygon, n times the segment between a chord of 2 sin(pi / n) and an arc of radius 1 / roundness."""
    blades, radius = 5, 1 / roundness
    opening = 2 * np.arcsin(np.sin(np.pi / blades) / radius)
    segment = radius**2 / 2 * (opening - np.sin(opening))
    expected = blades / 2 * np.sin(2 * np.pi / blades) + blades * segment
    assert area(polygon_aperture(blades, roundness=roundness, samples=128)) == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("blades", [3, 8])
def test_blades_of_roundness_one_make_the_circle(blades):
    np.testing.assert_allclose(polygon_aperture(blades, roundness=1, samples=128), round_aperture(128), atol=0.02)
    kernel = aperture_kernel(polygon_aperture(blades, roundness=1), 9.0)
    np.testing.assert_allclose(kernel, disk_kernel(9.0), atol=2e-3 * kernel.max())


def test_a_polygon_comes_back_after_its_own_rotation():
    for blades in (4, 7):
        one = polygon_aperture(blades, rotation=0.2, samples=64)
        again = polygon_aperture(blades, rotation=0.2 + 2 * np.pi / blades, samples=64)
        np.testing.assert_allclose(one, again, atol=0.02)
    square = polygon_aperture(4, rotation=0.2, samples=64)
    np.testing.assert_allclose(square, np.rot90(square), atol=0.02)


def test_polygons_turn_counter_clockwise_from_a_corner_at_the_top():
    triangle = polygon_aperture(3, samples=128)
    assert triangle[2:5, 63:65].min() > 0.3
    assert triangle[-20:].max() == 0
    np.testing.assert_allclose(triangle, triangle[:, ::-1], atol=0.02)
    turned = polygon_aperture(3, rotation=np.pi / 2, samples=128)
    np.testing.assert_allclose(turned, np.rot90(triangle), atol=0.02)
    assert turned[63:65, 2:5].min() > 0.3


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: round_aperture(1), "samples"),
        (lambda: round_aperture(12.5), "samples"),
        (lambda: round_aperture(32, 1.0), "obstruction"),
        (lambda: round_aperture(32, float("nan")), "obstruction"),
        (lambda: polygon_aperture(2), "blades"),
        (lambda: polygon_aperture(5.5), "blades"),
        (lambda: polygon_aperture(5, roundness=1.1), "roundness"),
        (lambda: polygon_aperture(5, rotation=float("inf")), "rotation"),
        (lambda: polygon_aperture(5, samples=0), "samples"),
        (lambda: coded_aperture("levin"), "levin-criterion: .* picture_aperture"),
    ],
)
def test_wrong_apertures_are_refused(make, message):
    with pytest.raises(InputError, match=message):
        make()


@pytest.mark.parametrize("name", [name for name in PATTERNS if name.startswith("mura")])
def test_repeated_muras_are_delta_correlated_with_their_decoder(name):
    """Gottesman and Fenimore's defining property: the decoder is the pattern as -1 and 1, its corner turned to 1."""
    pattern = coded_aperture(name)
    prime = len(pattern)
    decoder = np.where(pattern > 0, 1.0, -1.0)
    decoder[0, 0] = 1
    correlation = np.fft.ifft2(np.fft.fft2(pattern) * np.conj(np.fft.fft2(decoder))).real
    expected = np.zeros((prime, prime))
    expected[0, 0] = pattern.sum()
    np.testing.assert_allclose(correlation, expected, atol=1e-8)
    assert pattern.sum() == (prime**2 - 1) / 2


def test_the_smallest_mura_is_the_printed_one():
    np.testing.assert_array_equal(
        coded_aperture("mura-5"), [[0, 0, 0, 0, 0], [1, 1, 0, 0, 1], [1, 0, 1, 1, 0], [1, 0, 1, 1, 0], [1, 1, 0, 0, 1]]
    )


def test_changing_an_aperture_leaves_the_pattern_alone():
    coded_aperture("mura-7")[:] = 0.5
    assert set(np.unique(coded_aperture("mura-7"))) == {0.0, 1.0}


def test_pictures_pass_light_in_proportion(tmp_path):
    levels = np.array([[0, 51], [102, 255]], np.uint8)
    np.testing.assert_allclose(picture_aperture(picture(tmp_path / "a.png", levels)), levels / 255, rtol=1e-12)
    wide = (levels.astype(np.uint16) * 257)[..., None].repeat(3, axis=2)
    np.testing.assert_allclose(picture_aperture(str(picture(tmp_path / "b.png", wide))), levels / 255, rtol=1e-12)
    colours = np.zeros((2, 2, 3), np.uint8)
    colours[0, 1] = (255, 0, 0)
    assert picture_aperture(picture(tmp_path / "c.png", colours))[0, 1] == pytest.approx(1 / 3)


def test_large_pictures_are_averaged_by_area(tmp_path):
    pixels = np.random.default_rng(1).integers(0, 256, (700, 700), np.uint8)
    aperture = picture_aperture(picture(tmp_path / "large.png", pixels))
    assert aperture.shape == (MOST_SAMPLES, MOST_SAMPLES)
    assert aperture.mean() == pytest.approx(pixels.mean() / 255, rel=1e-9)


@pytest.mark.parametrize(
    ("pixels", "message"),
    [(np.ones((3, 4), np.uint8), "4 x 3 pixels"), (np.zeros((4, 4), np.uint8), "black"), (None, "does not exist")],
)
def test_wrong_pictures_are_refused(tmp_path, pixels, message):
    path = tmp_path / "picture.png"
    if pixels is not None:
        picture(path, pixels)
    with pytest.raises(InputError, match=message):
        picture_aperture(path)


def test_apertures_make_banks():
    for aperture in (round_aperture(64), polygon_aperture(6, samples=64), coded_aperture("mura-13")):
        kernel = PsfBank.aperture(LENS, aperture).kernel(-8.0)
        assert kernel.sum() == pytest.approx(1, abs=1e-6)
