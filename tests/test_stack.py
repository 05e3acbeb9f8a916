"""Focal stacks: schedules, breathing, frames of the slices, and what the slices show."""

import math
from dataclasses import replace

import numpy as np
import pytest

from defocal import InputError
from defocal.synth import Breathing, PsfBank, Scene, ThinLens, procedural_scene, render, render_stack
from defocal.synth.breathing import PHONES, outside, seen_from, slice_intrinsics
from defocal.synth.pupil import SpiralMask
from defocal.synth.resample import resample_similarity
from defocal.synth.schedules import checked, power_inverse, spaced

LENS = ThinLens(focal_length=0.005, f_number=1.8, focus_distance=1.0, pixel_pitch=10e-6)
FOCUS = [2.0, 1.0, 0.7, 0.5]


def texture(height, width, seed=0, finest=6.0):
    """A band-limited picture: waves no shorter than `finest` pixels."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    out = np.zeros((height, width, 3))
    for _ in range(60):
        length, angle = rng.uniform(finest, 40), rng.uniform(0, 2 * np.pi)
        wave = (np.cos(angle) * x + np.sin(angle) * y) * 2 * np.pi / length + rng.uniform(0, 2 * np.pi)
        out += np.sin(wave)[..., None] * rng.normal(size=3)
    out = (out - out.min()) / (out.max() - out.min())
    return (0.1 + 0.8 * out).astype(np.float32)


def two_surfaces(height=72, width=96, **more):
    depth = np.full((height, width), 2.0, np.float32)
    depth[20:50, 30:60] = 0.6
    return Scene(texture(height, width), depth, **more)


def psnr(a, b, edge=0):
    inner = np.s_[edge : len(a) - edge, edge : a.shape[1] - edge]
    return -10 * np.log10(((a[inner].astype(np.float64) - b[inner]) ** 2).mean())


def test_schedules_are_even_in_what_they_say():
    extension = lambda d: LENS.refocused(float(d)).image_distance  # noqa: E731
    for spacing, quantity in (("distance", lambda d: d), ("inverse", lambda d: 1 / d), ("extension", extension)):
        focus = spaced(7, 0.2, 3.0, spacing, LENS.focal_length)
        np.testing.assert_allclose(np.diff([quantity(d) for d in focus], 2), 0, atol=1e-12)
        assert (focus[0], focus[-1]) == (0.2, 3.0)
        np.testing.assert_array_equal(spaced(7, 0.2, 3.0, spacing, 0.005, order="far-first"), focus[::-1])
    assert spaced(1, 0.2, 3.0, "inverse", 0.005).tolist() == [0.2]
    assert math.isinf(spaced(3, 0.2, math.inf, "inverse", 0.005)[-1])
    np.testing.assert_allclose(spaced(3, 0.2, math.inf, "inverse", 0.005)[:2], [0.2, 0.4])
    assert math.isinf(spaced(3, 0.2, math.inf, "extension", 0.005)[-1])
    # The ten distances of Won and Jeon's simulator.
    far_first = spaced(10, 0.1, 0.9, "inverse", 0.0044, order="far-first")
    published = [0.9, 0.4765, 0.324, 0.2455, 0.1976, 0.1653, 0.1421, 0.1246, 0.111, 0.1]
    np.testing.assert_allclose(far_first, published, atol=6e-5)


def test_powers_of_the_inverse_distance_have_their_limit():
    np.testing.assert_allclose(np.diff(power_inverse(6, 0.5, 8.0, 1.0) ** -1.0, 2), 0, atol=1e-12)
    np.testing.assert_allclose(np.diff(power_inverse(6, 0.5, 8.0, 0.3) ** -0.3, 2), 0, atol=1e-12)
    np.testing.assert_allclose(power_inverse(6, 0.5, 8.0, 0.0), np.geomspace(0.5, 8.0, 6))
    assert power_inverse(5, 0.5, 100.0, 10.0)[-1] == 100.0
    assert power_inverse(1, 0.5, 100.0, 10.0).tolist() == [0.5]
    np.testing.assert_allclose(power_inverse(6, 0.5, 8.0, 1e-12), np.geomspace(0.5, 8.0, 6), rtol=1e-10)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: checked([], 0.005), "needs at least one focus distance"),
        (lambda: checked([1.0, 0.005], 0.005), "slice 1 is focused at 0.005 m"),
        (lambda: checked([1.0, math.nan], 0.005), "slice 1 is focused at nan m"),
        (lambda: spaced(0, 1.0, 2.0, "inverse", 0.005), "at least one slice"),
        (lambda: spaced(3, 2.0, 1.0, "inverse", 0.005), "goes from near to far"),
        (lambda: spaced(3, 0.004, 1.0, "extension", 0.005), "beyond the focal length"),
        (lambda: spaced(3, 1.0, math.inf, "distance", 0.005), "goes from near to far"),
        (lambda: power_inverse(3, 1.0, 2.0, -1), "power of a focus schedule must be 0 or more"),
        (lambda: Breathing(shift_spread=(-1.0, 0.0)), "spreads that are not negative"),
        (lambda: Breathing(fov_intercept=-2.0).field_of_view(LENS, 1.0), "leaves no field of view"),
        (lambda: render_stack(two_surfaces(), LENS, [1.0, 0.004]), "slice 1 is focused at 0.004 m"),
        (lambda: render_stack(two_surfaces(), LENS, [1.0], f_numbers=[1.0, 2.0]), "need as many f-numbers"),
        (lambda: render_stack(two_surfaces(), LENS, ["a"]), "focus distances must be numbers"),
        (lambda: render_stack(two_surfaces(), LENS, [1.0], f_numbers=2.0), "need as many f-numbers"),
        (lambda: render_stack(two_surfaces(), LENS, [1.0], reference="farthest"), "reference slice must be one of"),
        (lambda: render_stack(two_surfaces(), LENS, [1.0], breathing="yes"), "breathing must be true, false"),
        (lambda: render_stack(two_surfaces(), LENS, [1.0], motion=np.zeros((2, 6))), "six numbers for each of 1"),
        (lambda: render_stack(two_surfaces(), LENS, [1.0], reference=1), "reference slice must be one of 0 to 0"),
        (
            lambda: render_stack(two_surfaces(), LENS, FOCUS, breathing=Breathing(shift_mean=(30.0, 0.0))),
            "would leave the image by 30 pixels",
        ),
        (
            lambda: render_stack(two_surfaces(), LENS, [1.0, 0.02], breathing=True, reference=1),
            "would leave the image",
        ),
    ],
)
def test_impossible_stacks_are_refused(call, message):
    with pytest.raises(InputError, match=message):
        call()


def test_breathing_is_the_closed_form():
    matrices = slice_intrinsics(LENS, FOCUS, (72, 96), reference=0)
    image_distance = np.array([0.005 * d / (d - 0.005) for d in FOCUS])
    np.testing.assert_allclose(matrices[:, 0, 0], image_distance / 10e-6, rtol=1e-12)
    np.testing.assert_allclose(matrices[:, 1, 1] / matrices[0, 1, 1], image_distance / image_distance[0], rtol=1e-12)
    np.testing.assert_array_equal(matrices[:, :2, 2], [[47.5, 35.5]] * 4)
    long = ThinLens(focal_length=0.2, f_number=4.0, focus_distance=2.0, pixel_pitch=10e-6)
    assert slice_intrinsics(long, [2.0, 1.0], (72, 96))[1, 0, 0] == pytest.approx(0.25 / 10e-6)


def test_a_phones_field_of_view_is_the_measured_one():
    phone = PHONES["pixel4xl"]
    lens = ThinLens(focal_length=phone.focal_length, f_number=1.7, focus_distance=1.0, pixel_pitch=16e-6)
    still = replace(phone.breathing, shift_mean=(0.0, 0.0), shift_spread=(0.0, 0.0))
    matrices = slice_intrinsics(lens, [0.9, 0.1], (224, 352), breathing=still, reference=0)
    v = {d: 0.0044 * d / (d - 0.0044) for d in (0.1, 0.9)}
    far = v[0.1] / v[0.9] - 0.00266 / 0.9 + 0.019155
    near = 1 - 0.00266 / 0.1 + 0.019155
    assert matrices[1, 0, 0] / matrices[0, 0, 0] == pytest.approx(far / near, rel=1e-12)
    assert 1.05 < far / near < 1.07


def test_principal_points_are_drawn_slice_by_slice_with_the_measured_statistics():
    breathing, size = PHONES["s8plus"].breathing, (224, 352)
    lens = replace(LENS, focal_length=PHONES["s8plus"].focal_length)
    few = slice_intrinsics(lens, FOCUS, size, breathing=breathing, seed=(1, 2))
    many = slice_intrinsics(lens, [*FOCUS, 0.3, 0.2], size, breathing=breathing, seed=(1, 2))
    np.testing.assert_array_equal(few, many[:4])
    assert not np.array_equal(few, slice_intrinsics(lens, FOCUS, size, breathing=breathing, seed=(1, 3)))
    shifts = np.concatenate(
        [slice_intrinsics(lens, FOCUS, size, breathing=breathing, seed=(1, k))[1:, :2, 2] for k in range(500)]
    )
    shifts -= [175.5, 111.5]
    mean, spread = (np.array(v) * 352 / 4032 for v in (breathing.shift_mean, breathing.shift_spread))
    np.testing.assert_allclose(shifts.mean(axis=0), mean, atol=5 * spread.max() / np.sqrt(1500))
    np.testing.assert_allclose(shifts.std(axis=0), spread, rtol=5 / np.sqrt(3000))


def test_points_go_to_a_slice_and_back():
    matrices = slice_intrinsics(LENS, FOCUS, (72, 96), breathing=PHONES["note10"].breathing, seed=(0, 0))
    points = np.random.default_rng(0).uniform([0, 0, 100], [70, 70, 170], (50, 3))
    for matrix in matrices:
        pixels = points[:, :2] / points[:, 2:] * matrix.diagonal()[:2] + matrix[:2, 2]
        own = points[:, :2] / points[:, 2:] * matrices[0].diagonal()[:2] + matrices[0][:2, 2]
        np.testing.assert_allclose(seen_from(matrices[0], matrix, own), pixels, atol=1e-9)
        np.testing.assert_allclose(seen_from(matrix, matrices[0], pixels), own, atol=1e-9)
    assert outside((72, 96), matrices[:1], 0) == 0
    wider = matrices[0].copy()
    wider[0, 0] = wider[1, 1] = matrices[0, 0, 0] / 1.1
    assert outside((72, 96), np.stack([matrices[0], wider]), 0) == pytest.approx(0.05 * 96)


def resample_slowly(image, own, wanted, size):
    """Sum over all pixels of the mirrored image, one by one, in float64."""
    out = np.zeros((*size, 3))

    def window(at, count):
        nodes = np.arange(count)
        near = np.flatnonzero((nodes > at - 3) & (nodes <= at + 3))
        out = np.zeros(count)
        for i in near:
            out[i] = np.prod([(at - j) / (i - j) for j in near if j != i])
        return out

    mirrored = np.pad(image.astype(np.float64), [(8, 8), (8, 8), (0, 0)], mode="symmetric")
    for y in range(size[0]):
        for x in range(size[1]):
            u, v = seen_from(wanted, own, (x, y))
            down, across = window(v + 8, len(mirrored)), window(u + 8, mirrored.shape[1])
            out[y, x] = np.einsum("i,j,ijc->c", down, across, mirrored)
    return np.maximum(out, 0)


def matrices_for(zoom, shift, size=(40, 52)):
    own = np.array([[500.0, 0, (size[1] - 1) / 2], [0, 500.0, (size[0] - 1) / 2], [0, 0, 1]])
    wanted = own.copy()
    wanted[0, 0] = wanted[1, 1] = 500 * zoom
    wanted[:2, 2] += shift
    return own, wanted


def test_resampling_equals_the_slow_twin():
    image = np.random.default_rng(1).random((40, 52, 3), np.float32)
    for zoom, shift in ((1.06, (0.4, -1.3)), (0.94, (2.0, 0.0)), (1.0, (0.25, 0.5))):
        own, wanted = matrices_for(zoom, shift)
        np.testing.assert_allclose(
            resample_similarity(image, own, wanted, (40, 52)), resample_slowly(image, own, wanted, (40, 52)), atol=2e-6
        )
    own, _ = matrices_for(1.0, (0, 0))
    assert np.array_equal(resample_similarity(image, own, own, (30, 42), 5), image[5:35, 5:47])


def test_resampling_keeps_light_and_goes_back():
    own, wanted = matrices_for(1.07, (0.6, -0.4), (120, 160))
    flat = np.full((120, 160, 3), 0.7, np.float32)
    np.testing.assert_allclose(resample_similarity(flat, own, wanted, (120, 160)), 0.7, rtol=5e-7)
    image = texture(120, 160)
    there = resample_similarity(image, own, wanted, (120, 160))
    back = resample_similarity(there, wanted, own, (120, 160))
    assert psnr(image, back, 16) > 80
    # A spot keeps its light, but for the area that the magnification gives it, and its place.
    y, x = np.mgrid[:120, :160]
    spot = np.exp(-((x - 61.3) ** 2 + (y - 47.8) ** 2) / 8)[..., None].repeat(3, axis=2).astype(np.float32)
    there = resample_similarity(spot, own, wanted, (120, 160))
    assert there.sum() == pytest.approx(1.07**2 * spot.sum(), rel=2e-4)
    centre = [(there[..., 0] * axis).sum() / there[..., 0].sum() for axis in (x, y)]
    np.testing.assert_allclose(centre, seen_from(own, wanted, (61.3, 47.8)), atol=0.01)
    back = resample_similarity(there, wanted, own, (120, 160))
    centre = [(back[..., 0] * axis).sum() / back[..., 0].sum() for axis in (x, y)]
    np.testing.assert_allclose(centre, (61.3, 47.8), atol=0.01)


@pytest.mark.parametrize("layered", [True, False])
def test_a_slice_is_a_single_capture_with_the_same_lens(layered):
    scene = procedural_scene(1, 0, (72, 96), (0.5, 3.0), margin=24) if layered else two_surfaces()
    stack = render_stack(scene, LENS, FOCUS)
    assert stack.images.shape == (4, 72, 96, 3)
    assert stack.intrinsics.shape == (4, 3, 3)
    for focus, image in zip(FOCUS, stack.images, strict=True):
        alone = render(scene, LENS.refocused(focus))
        if layered:
            np.testing.assert_array_equal(image, alone)
        else:
            # What is hidden goes on as far as the widest blur of all slices needs it.
            assert psnr(image, alone) > 55
    one = render_stack(scene, LENS, [0.7]).images[0]
    np.testing.assert_array_equal(one, render(scene, LENS.refocused(0.7)))


def test_a_breathing_slice_is_a_capture_of_the_magnified_scene():
    """A plane in focus at one distance, rendered in the slice's own frame, is what the slice shows."""
    focus, size = [2.0, 0.25], (96, 128)
    grown = slice_intrinsics(LENS, focus, size)[1, 0, 0] / slice_intrinsics(LENS, focus, size)[0, 0, 0]
    assert 1.015 < grown < 1.02
    y, x = np.mgrid[:96, :128]

    def picture(zoom):
        u, v = (x - 63.5) / zoom, (y - 47.5) / zoom
        waves = np.stack([np.sin(u / 3) * np.cos(v / 5), np.sin((u + v) / 4), np.cos(u / 6)], axis=-1)
        return (0.5 + 0.4 * waves).astype(np.float32)

    depth = np.full(size, 0.8, np.float32)
    stack = render_stack(Scene(picture(1), depth), LENS, focus, breathing=True)
    own = render(Scene(picture(grown), depth), LENS.refocused(0.25))
    assert psnr(stack.images[1], own, 20) > 50
    aligned = render_stack(Scene(picture(1), depth), LENS, focus)
    assert psnr(aligned.images[1], own, 20) < 35
    assert stack.images[1].mean() == pytest.approx(aligned.images[1].mean(), rel=5e-3)


def test_a_slice_that_sees_more_takes_it_from_the_margin():
    scene = Scene(texture(120, 150), np.full((120, 150), 0.8, np.float32), margin=20)
    stack = render_stack(scene, LENS, [0.8, 0.3], breathing=True, reference=1)
    wide = render(scene.with_margin(10), LENS.refocused(0.8))
    small = resample_similarity(
        render(scene.with_margin(10), replace(LENS.refocused(0.8))), stack.intrinsics[1], stack.intrinsics[0],
        scene.size, 10,
    )  # fmt: skip
    assert wide.shape == (100, 130, 3)
    assert psnr(stack.images[0], small, 3) > 40


def test_each_slice_has_its_aperture():
    stack = render_stack(two_surfaces(), LENS, [1.0, 1.0], f_numbers=[1.8, 8.0])
    np.testing.assert_allclose(
        stack.images[1], render(two_surfaces(), replace(LENS, f_number=8.0)), atol=0.02
    )  # fmt: skip
    assert stack.images[0].std() < stack.images[1].std()


def test_masks_take_a_bank_for_each_lens():
    lens = ThinLens(focal_length=0.05, f_number=17.6, focus_distance=2.0, pixel_pitch=24e-6)
    mask = SpiralMask(zones=3, lobes=1)
    make = lambda lens: PsfBank.from_mask(mask, lens, depth=(0.6, 2.0), planes=5, size=15, samples=64)  # noqa: E731
    stack = render_stack(two_surfaces(), lens, [2.0, 1.0], make)
    np.testing.assert_allclose(
        stack.images[1], render(two_surfaces(), lens.refocused(1.0), make(lens.refocused(1.0))), atol=5e-3
    )  # fmt: skip
    with pytest.raises(InputError, match="make a bank for each focus distance"):
        render_stack(two_surfaces(), lens, [2.0, 1.0], make(lens))


def test_the_sharpest_slices_make_an_all_in_focus_image():
    """Fused by the true depth: each pixel from the slice that is focused nearest to it."""
    depth = np.tile(np.linspace(1 / 2.0, 1 / 0.5, 200, dtype=np.float32) ** -1, (150, 1))
    scene = Scene(texture(150, 200, finest=4.0), depth)
    focus = spaced(10, 0.5, 2.0, "inverse", LENS.focal_length)
    stack = render_stack(scene, LENS, focus)
    blur = np.abs([LENS.refocused(float(d)).coc(depth) for d in focus])
    fused = np.take_along_axis(stack.images, blur.argmin(axis=0)[None, ..., None], axis=0)[0]
    assert psnr(fused, scene.aif) > 35
    assert max(psnr(image, scene.aif) for image in stack.images) < psnr(fused, scene.aif) - 5
