"""Scenes: what is accepted, what a pinhole camera sees of layers, and what is refused."""

import numpy as np
import pytest

from defocal import InputError
from defocal.synth import LayeredScene, Patch, Scene

IMAGE = np.full((6, 8, 3), 0.5, np.float32)
DEPTH = np.full((6, 8), 2.0, np.float32)


def layer(colour, alpha, size=(6, 8)):
    return np.broadcast_to(np.array([*(c * alpha for c in colour), alpha], np.float32), (*size, 4)).copy()


def test_flattening_shows_the_nearest_opaque_layer():
    card = layer((1, 0, 0), 0)
    card[2:4, 2:5] = (1, 0, 0, 1)
    card[4, 2] = (0.25, 0, 0, 0.25)
    card[4, 3] = (0.5, 0, 0, 0.5)
    flat = LayeredScene(np.stack([layer((0, 0, 1), 1), card]), [5.0, 1.0]).flatten()
    np.testing.assert_array_equal(flat.aif[0, 0], (0, 0, 1))
    np.testing.assert_array_equal(flat.aif[2, 2], (1, 0, 0))
    np.testing.assert_allclose(flat.aif[4, 2], (0.25, 0, 0.75))
    assert flat.depth[2, 2] == flat.depth[4, 3] == 1
    assert flat.depth[4, 2] == flat.depth[0, 0] == 5


def test_nothing_seen_is_unknown_depth():
    card = layer((1, 1, 1), 0)
    card[1, 1] = 1
    flat = LayeredScene(card[None], [1.0]).flatten()
    assert np.isnan(flat.depth).sum() == 47


def test_patches_outside_the_frame_are_cut():
    patch = Patch(layer((1, 1, 1), 1), 2.0, top=-3, left=5)
    flat = LayeredScene.from_patches((6, 8), [Patch(layer((0, 0, 0), 1), 4.0), patch]).flatten()
    assert (flat.depth == 2).sum() == 3 * 3
    assert flat.depth[0, 5] == 2


def test_margins_are_cut_off():
    scene = Scene(IMAGE, DEPTH, margin=2)
    assert scene.size == (2, 4)
    assert scene.flatten().aif.shape == (2, 4, 3)
    layered = LayeredScene(layer((1, 1, 1), 1)[None], [1.0], margin=1)
    assert layered.size == layered.flatten().depth.shape == (4, 6)


def test_oversampled_layers_flatten_to_means_of_texels():
    back, card = layer((1, 0, 0), 1), layer((0, 1, 0), 1)
    patches = [Patch(back, 4.0), Patch(card[:3, :5], 2.0, top=0, left=0)]
    scene = LayeredScene.from_patches((6, 8), patches, oversampling=2)
    flat = scene.flatten()
    assert scene.size == flat.depth.shape == (3, 4)
    green = np.array([[1, 1, 0.5, 0], [0.5, 0.5, 0.25, 0], [0, 0, 0, 0]])
    np.testing.assert_allclose(flat.aif[..., 1], green)
    np.testing.assert_array_equal(flat.depth == 2, green >= 0.5)
    averaged = scene.averaged()
    np.testing.assert_allclose(averaged.patches[1].rgba[..., 3], green[:2, :3])
    np.testing.assert_allclose(averaged.flatten().aif, flat.aif, atol=1e-6)
    lighter = scene.with_light(lambda light: light / 2)
    np.testing.assert_allclose(lighter.flatten().aif, flat.aif / 2, atol=1e-6)
    margin = LayeredScene.from_patches((6, 8), patches, margin=1, oversampling=2)
    np.testing.assert_allclose(margin.flatten().aif, flat.aif[1:-1, 1:-1])


def test_averaged_layers_have_the_mean_inverse_depth_of_what_is_there():
    rgba, depth = layer((1, 1, 1), 1), DEPTH.copy()
    rgba[0, 0], depth[0, 0] = 0, np.nan
    depth[:2, :2][depth[:2, :2] > 0] = [2, 4, 4]
    patch = LayeredScene(rgba[None], depth[None], oversampling=2).averaged().patches[0]
    assert patch.rgba.shape == (3, 4, 4)
    assert patch.rgba[0, 0, 3] == 0.75
    assert patch.depth[0, 0] == pytest.approx(3 / (1 / 2 + 1 / 4 + 1 / 4))


def test_changing_light_keeps_coverage():
    scene = LayeredScene(layer((0.25, 0.25, 0.25), 0.5)[None], [1.0]).with_light(np.sqrt)
    np.testing.assert_allclose(scene.patches[0].rgba[0, 0], (0.25, 0.25, 0.25, 0.5))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Scene(IMAGE, DEPTH[:5]), "differ in size: 8x6 and 8x5 pixels"),
        (lambda: Scene(IMAGE[..., :2], DEPTH), "must have shape"),
        (lambda: Scene(IMAGE, DEPTH * np.nan), "no valid value"),
        (lambda: Scene(IMAGE, DEPTH * 0), "zero or negative"),
        (lambda: Scene(IMAGE * np.nan, DEPTH), "non-finite"),
        (lambda: Scene(IMAGE - 1, DEPTH), "negative"),
        (lambda: Scene(IMAGE * np.inf, DEPTH), "non-finite"),
        (lambda: Patch(layer((1, 1, 1), 1), -1.0), "must be positive"),
        (lambda: Patch(layer((1, 1, 1), 1), DEPTH * 0), "must be positive"),
        (lambda: Patch(layer((1, 1, 1), 1), DEPTH[:2]), "where its colour has"),
        (lambda: LayeredScene(np.zeros((2, 6, 8, 4)), [1.0]), "must have shape"),
        (lambda: LayeredScene.from_patches((4, 4), []), "at least one layer"),
        (lambda: LayeredScene(layer((1, 1, 1), 1)[None], [1.0], oversampling=0), "oversampling must be a whole number"),
        (lambda: LayeredScene(layer((1, 1, 1), 1)[None], [1.0], oversampling=4), "8x6 texels .* oversampling of 4"),
    ],
)
def test_impossible_scenes_are_refused(make, words):
    with pytest.raises(InputError, match=words):
        make()
