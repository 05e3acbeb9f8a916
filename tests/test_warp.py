"""Warps of scenes: distortion, hand motion with parallax, and that image, depth and layers stay together."""

import numpy as np
import pytest
from test_stack import psnr, texture

from defocal import InputError
from defocal.synth import Intrinsics, LayeredScene, Patch, Scene
from defocal.synth.distortion import distorted
from defocal.synth.motion import hand_motion, moved, rotation_matrix
from defocal.synth.warp import warp_scene
from defocal.synth.warp_kernels import fill_gaps, splat

CAMERA = Intrinsics(fx=200.0, fy=200.0, cx=79.5, cy=59.5)
SIZE = (120, 160)


def grid(size=SIZE):
    y, x = np.mgrid[: size[0], : size[1]].astype(np.float64)
    return np.stack([x, y], axis=2)


def card(depth=0.8, top=30, left=50, size=(40, 50)):
    rgba = np.concatenate([texture(*size, seed=3), np.ones((*size, 1), np.float32)], axis=2)
    return Patch(rgba, depth, top, left)


def back(depth=2.0, size=SIZE):
    return Patch(np.concatenate([texture(*size), np.ones((*size, 1), np.float32)], axis=2), depth)


def layered(near=0.8, far=2.0, margin=0):
    return LayeredScene.from_patches(SIZE, [back(far), card(near)], CAMERA, "two", margin)


def cubic_slowly(image, at, mirrored):
    """Catmull and Rom's kernel, by its definition, over the whole image."""

    def kernel(t):
        t = np.abs(t)
        return np.where(t <= 1, 1.5 * t**3 - 2.5 * t**2 + 1, np.where(t < 2, -0.5 * t**3 + 2.5 * t**2 - 4 * t + 2, 0))

    mode = {"mode": "symmetric"} if mirrored else {}
    wide = np.pad(image.astype(np.float64), [(9, 9), (9, 9), (0, 0)], **mode)
    out = np.zeros((*at.shape[:2], image.shape[2]))
    for i, j in np.ndindex(at.shape[:2]):
        across = kernel(at[i, j, 0] + 9 - np.arange(wide.shape[1]))
        down = kernel(at[i, j, 1] + 9 - np.arange(wide.shape[0]))
        out[i, j] = np.einsum("y,x,yxc->c", down, across, wide)
    return np.maximum(out, 0)


def test_looking_up_equals_the_slow_twin():
    rng = np.random.default_rng(4)
    image, depth = rng.random((20, 26, 3), np.float32), np.full((20, 26), 2.0, np.float32)
    at = grid((20, 26)) + rng.uniform(-3, 3, (20, 26, 2))
    got = warp_scene(Scene(image, depth), at)
    np.testing.assert_allclose(got.aif, cubic_slowly(image, at, True), atol=1e-6)
    small = Patch(np.concatenate([image[:8, :9], np.ones((8, 9, 1), np.float32)], axis=2), 1.5, 5, 6)
    scene = LayeredScene.from_patches((20, 26), [back(3.0, (20, 26)), small])
    moved_patch = warp_scene(scene, at).patches[1]
    whole = np.zeros((20, 26, 4))
    h, w = moved_patch.rgba.shape[:2]
    whole[moved_patch.top : moved_patch.top + h, moved_patch.left : moved_patch.left + w] = moved_patch.rgba
    expected = cubic_slowly(small.rgba, at - [6, 5], False)
    expected[..., 3] = np.minimum(expected[..., 3], 1)
    np.testing.assert_allclose(whole, expected, atol=1e-6)


def test_depth_is_a_plane_within_surfaces_and_never_mixed():
    inverse = 0.5 + 0.002 * grid()[..., 0]
    slanted = (1 / inverse).astype(np.float32)
    at = grid() + np.array([0.4, 0.3])
    got = warp_scene(Scene(texture(*SIZE), slanted), at).depth
    np.testing.assert_allclose(1 / got[:, :-2], (0.5 + 0.002 * at[..., 0])[:, :-2], rtol=1e-5)
    step = np.where(grid()[..., 0] < 80, 1.0, 3.0).astype(np.float32)
    got = warp_scene(Scene(texture(*SIZE), step), at).depth
    assert set(np.unique(got)) == {1.0, 3.0}
    edge = (got[60] < 2).sum()
    assert edge in (79, 80)


def test_nothing_moves_by_nothing():
    for scene in (Scene(texture(*SIZE), np.full(SIZE, 2.0, np.float32)), layered()):
        assert moved(scene, CAMERA, np.zeros(6)) is scene
        assert distorted(scene, CAMERA, 0.0) is scene
    same = warp_scene(Scene(texture(*SIZE), np.full(SIZE, 2.0, np.float32)), grid())
    np.testing.assert_allclose(same.aif, texture(*SIZE), atol=1e-7)


def test_constant_light_stays():
    flat = Scene(np.full((*SIZE, 3), 0.3, np.float32), np.full(SIZE, 2.0, np.float32), CAMERA)
    for scene in (distorted(flat, CAMERA, -0.2, 0.05), moved(flat, CAMERA, [0.01, -0.01, 0.02, 0.003, 0.002, 0.01])):
        np.testing.assert_allclose(scene.aif, 0.3, atol=1e-6)


def test_distortion_is_browns_and_goes_back():
    k1, k2 = -0.15, 0.03
    scene = Scene(texture(*SIZE), np.full(SIZE, 2.0, np.float32))
    bent = distorted(scene, CAMERA, k1, k2)
    u = (grid() - [CAMERA.cx, CAMERA.cy]) / 200.0
    square = (u**2).sum(axis=2, keepdims=True)
    forward = u * (1 + k1 * square + k2 * square**2) * 200.0 + [CAMERA.cx, CAMERA.cy]
    # The straight picture's pixel is found in the bent one where Brown says.
    again = warp_scene(bent, forward)
    assert psnr(again.aif, scene.aif, 10) > 45
    assert psnr(bent.aif, scene.aif, 10) < 36
    with pytest.raises(InputError, match="folds the picture over"):
        distorted(scene, CAMERA, -2.0)


def test_layers_and_images_bend_together():
    flat = distorted(layered(), CAMERA, -0.2).flatten()
    image = distorted(layered().flatten(), CAMERA, -0.2)
    assert psnr(flat.aif, image.aif, 2) > 28
    assert (flat.depth != image.depth).mean() < 0.005


@pytest.mark.parametrize("kind", ["layers", "image"])
def test_a_sideways_step_moves_each_depth_by_its_parallax(kind):
    """A translation t moves what lies at z by f t / z pixels."""
    scene = layered() if kind == "layers" else layered().flatten()
    step = 0.02
    got = moved(scene, CAMERA, [0, 0, 0, step, 0, 0])
    got = got.flatten() if kind == "layers" else got
    near, far = 200 * step / 0.8, 200 * step / 2.0
    assert (near, far) == (5.0, 2.0)
    ours, theirs = got.aif[34:66], layered().flatten().aif[34:66]
    np.testing.assert_allclose(ours[:, 59:101], theirs[:, 54:96], atol=2e-3)
    np.testing.assert_allclose(ours[:, 110:150], theirs[:, 108:148], atol=2e-3)
    np.testing.assert_array_equal(got.depth[34:66, 55:105], np.float32(0.8))
    assert (got.depth[34:66, 107:] == 2).all()
    assert (got.depth[34:66, :53] == 2).all()
    if kind == "layers":
        # The layers show what was hidden; an image cannot know it.
        hidden = back().rgba[34:66, 49:51, :3]
        np.testing.assert_allclose(ours[:, 51:53], hidden, atol=2e-3)


def test_a_step_ahead_brings_everything_nearer():
    got = moved(layered(), CAMERA, [0, 0, 0, 0, 0, -0.1]).flatten()
    assert set(np.unique(got.depth).round(5)) == {np.float32(0.7).round(5), np.float32(1.9).round(5)}
    assert (got.depth < 1).sum() == pytest.approx(40 * 50 * (0.8 / 0.7) ** 2, rel=0.05)


def test_a_turn_moves_the_picture_and_not_what_hides_what():
    angle = 0.02
    pose = [0, angle, 0, 0, 0, 0]
    for scene in (layered(), layered().flatten()):
        got = moved(scene, CAMERA, pose)
        got = got if isinstance(got, Scene) else got.flatten()
        shift = 200 * np.tan(angle)
        np.testing.assert_allclose(got.depth[60, 60 + round(shift) : 90], 0.8, rtol=0.02)
        back_again = moved(got, CAMERA, [0, -angle, 0, 0, 0, 0])
        np.testing.assert_allclose(back_again.depth[40:60, 55:95], 0.8, rtol=1e-3)


def test_a_slanted_plane_stays_a_plane():
    """Closed form: a plane n.X = 1 seen by the moved camera is again a plane."""
    normal = np.array([0.3, -0.2, 0.5])
    rays = np.concatenate([(grid() - [CAMERA.cx, CAMERA.cy]) / 200.0, np.ones((*SIZE, 1))], axis=2)
    depth = (1 / (rays @ normal)).astype(np.float32)
    pose = np.array([0.01, 0.02, -0.01, 0.01, -0.02, 0.03])
    rotation = rotation_matrix(pose[:3])
    turned = rotation @ normal
    expected = (1 + turned @ pose[3:]) / (rays @ turned)
    image = moved(Scene(texture(*SIZE), depth), CAMERA, pose)
    np.testing.assert_allclose(image.depth[10:-10, 10:-10], expected[10:-10, 10:-10], rtol=2e-3)
    assert np.median(np.abs(image.depth / expected - 1)[10:-10, 10:-10]) < 1e-5
    layer = Patch(np.concatenate([texture(*SIZE), np.ones((*SIZE, 1), np.float32)], axis=2), depth)
    layers = moved(LayeredScene.from_patches(SIZE, [layer], CAMERA), CAMERA, pose)
    np.testing.assert_allclose(layers.patches[0].depth[10:-10, 10:-10], expected[10:-10, 10:-10], rtol=1e-4)
    assert psnr(image.aif, layers.flatten().aif, 10) > 40


def test_rotations_are_rotations():
    rotation = rotation_matrix(np.array([0.1, -0.05, 0.07]))
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)
    np.testing.assert_allclose(rotation_matrix(np.array([0, 0, 0.1])) @ [1, 0, 0], [np.cos(0.1), np.sin(0.1), 0])


def test_hands_drift_from_slice_to_slice_and_the_reference_stays():
    walks = np.stack([hand_motion(1, k, 10, 1e-3, 2e-3, 9) for k in range(600)])
    assert (walks[:, 9] == 0).all()
    spread = walks[:, 0].std(axis=0)
    np.testing.assert_allclose(spread, np.repeat([1e-3, 2e-3], 3), rtol=5 / np.sqrt(1200))
    np.testing.assert_allclose(walks[:, 5].std(axis=0), spread * np.sqrt(4 / 9), rtol=0.2)
    np.testing.assert_array_equal(hand_motion(1, 4, 10, 1e-3, 2e-3, 9), walks[4])


@pytest.mark.parametrize("pose", [[0, 0, 0], [1.0, 0, 0, 0, 0, 0], [0, 0, 0, np.nan, 0, 0], [0, 0, 0, 0, 0, "a"]])
def test_impossible_poses_are_refused(pose):
    with pytest.raises(InputError, match="a pose is a rotation vector"):
        moved(layered(), CAMERA, pose)


def test_a_camera_that_leaves_the_scene_is_refused():
    with pytest.raises(InputError, match="would shift the picture by"):
        moved(layered(), CAMERA, [0, 0, 0, 1e6, 0, 0])


def test_what_lands_and_what_is_filled_equals_the_slow_twin():
    """Every pixel of a small map is brought over one by one; the nearest stays, and gaps take their farther end."""
    rng = np.random.default_rng(8)
    depth = rng.choice([1.0, 1.5, 3.0], (12, 16)).astype(np.float32)
    optics = np.array([30.0, 30.0, 7.5, 5.5])
    matrix = np.column_stack([rotation_matrix(np.array([0.01, 0.03, -0.02])), [0.05, -0.04, 0.02]])
    seen, source = np.empty_like(depth), np.zeros((12, 16, 2))
    splat(depth, optics, matrix, 0, source, seen)
    expected, came = np.full(depth.shape, np.inf), {}
    for y, x in np.ndindex(depth.shape):
        point = depth[y, x] * np.array([(x - 7.5) / 30, (y - 5.5) / 30, 1])
        u, v, w = matrix[:, :3] @ point + matrix[:, 3]
        at = round(v / w * 30 + 5.5), round(u / w * 30 + 7.5)
        if 0 <= at[0] < 12 and 0 <= at[1] < 16 and w < expected[at]:
            expected[at], came[at] = w, (x, y)
    np.testing.assert_allclose(seen, expected, rtol=1e-6)
    assert all(tuple(source[at]) == pixel for at, pixel in came.items())
    assert np.isinf(seen).any()
    fill_gaps(source, seen)
    for y, row in enumerate(expected):
        known = np.flatnonzero(np.isfinite(row))
        assert np.isfinite(seen[y]).all() == bool(known.size)
        for x in np.flatnonzero(np.isinf(row)) if known.size else ():
            ends = [row[k[i]] for k, i in ((known[known < x], -1), (known[known > x], 0)) if k.size]
            assert seen[y, x] == pytest.approx(max(ends), rel=1e-6)
