"""All-in-focus pictures: closed cases, and procedural stacks beside their true ones."""

import numpy as np
import pytest
from rgbd import refusal

from defocal.evaluate import image_metrics
from defocal.evaluate.fusion import fuse_by_depth, fuse_by_pyramid
from defocal.evaluate.stack_depth import depth_from_stack
from defocal.synth import PsfBank, ThinLens, procedural_scene, render_stack
from defocal.synth.light import encode
from defocal.synth.schedules import spaced


def rendered(seed=3, size=(120, 160), slices=6):
    """A stack of a procedural scene, uint8, with its distances, depth and all-in-focus picture."""
    lens = ThinLens(focal_length=0.03, f_number=2.0, focus_distance=1.0, pixel_pitch=60e-6)
    scene = procedural_scene(seed, 0, size, depth=(0.6, 4.0))
    focus = spaced(slices, 0.6, 4.0, "inverse", lens.focal_length)
    stack = render_stack(scene, lens, focus, bank=PsfBank.disk(lens))
    flat = scene.flatten() if hasattr(scene, "flatten") else scene
    codes = np.stack([encode(one, "srgb") for one in stack.images])
    return codes, focus, np.asarray(flat.depth), encode(np.asarray(flat.aif, np.float32), "srgb")


def test_places_between_slices_are_blended():
    stack = np.stack([np.full((2, 3, 3), value, np.uint8) for value in (0, 51, 255)])
    place = np.array([[0, 0.5, 1], [1.25, 2, 0]])
    assert fuse_by_depth(stack, place)[..., 1] == pytest.approx(np.array([[0, 0.1, 0.2], [0.4, 1, 0]]), abs=1e-6)
    assert fuse_by_depth(stack[:1], np.zeros((2, 3))) == pytest.approx(np.zeros((2, 3, 3)))


def test_a_pyramid_of_one_slice_is_that_slice():
    picture = np.random.default_rng(0).random((37, 50, 3)).astype(np.float32)
    assert fuse_by_pyramid(picture[None]) == pytest.approx(picture, abs=1e-5)
    assert fuse_by_pyramid(np.stack([picture] * 3)) == pytest.approx(picture, abs=1e-5)
    assert fuse_by_pyramid(picture[None, :1, :1]) == pytest.approx(picture[:1, :1], abs=1e-6)


def test_each_half_comes_from_where_it_is_sharp():
    rng = np.random.default_rng(4)
    sharp = rng.integers(0, 256, (64, 64, 3)).astype(np.uint8)
    grey = np.full_like(sharp, 128)
    left = np.where(np.arange(64)[:, None] < 32, sharp, grey)
    right = np.where(np.arange(64)[:, None] < 32, grey, sharp)
    found = fuse_by_pyramid(np.stack([left, right]))
    inner = np.r_[4:26, 38:60]
    assert np.abs(found - sharp / 255)[:, inner].mean() < 0.06
    assert np.abs(left / 255.0 - sharp / 255)[:, inner].mean() > 0.1


def test_fused_stacks_are_nearer_to_the_truth_than_any_slice():
    stack, focus, _, aif = rendered()
    found = depth_from_stack(stack, focus)
    best = [max(image_metrics(one, aif)[name] for one in stack) for name in ("psnr", "ssim")]
    for fused in (fuse_by_depth(stack[found.slices], found.index), fuse_by_pyramid(stack)):
        scores = image_metrics(np.rint(255 * fused).astype(np.uint8), aif)
        assert scores["psnr"] > best[0] + 2
        assert scores["ssim"] > best[1] + 0.02


def test_what_cannot_be_fused_is_refused():
    stack = np.zeros((2, 4, 5, 3), np.uint8)
    for place in (np.full((4, 5), 1.5), np.full((4, 5), np.nan), np.full((5, 4), 0.0), np.full((4, 5), -0.1)):
        refusal(lambda place=place: fuse_by_depth(stack, place), "places in a stack")
    refusal(lambda: fuse_by_depth(stack[0], np.zeros((4, 5))), "a stack to fuse")
    refusal(lambda: fuse_by_pyramid(stack[:0]), "a stack to fuse")
    refusal(lambda: fuse_by_pyramid(np.full((2, 4, 5, 3), np.nan)), "no NaN")
