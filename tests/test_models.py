"""The papers' own models: against slow twins, and by what they are known for."""

import naive
import numpy as np
import pytest
from fields import FAR, LENS, NEAR, blocks
from test_dense import layered_scene, padded, random_bank, slanted

from defocal import InputError
from defocal.synth import LayeredScene, Patch, PsfBank, Scene, render

MODELS = ["hasinoff", "normalised-over", "eq7", "gather"]
BANKS = [random_bank(), random_bank(channels=1), PsfBank.disk(LENS)]


def with_border(scene, bank):
    border = int(bank.reach(LENS.coc(np.array([FAR, NEAR]))).max())
    rgba, depth = padded(scene, border)
    return rgba[..., :3].astype(np.float64), depth, np.s_[border:-border, border:-border]


@pytest.mark.parametrize("bank", BANKS)
@pytest.mark.parametrize("scene", [blocks(24, 30, 4), slanted(20, 26, 5)], ids=["blocks", "slanted"])
@pytest.mark.parametrize("model", ["eq7", "normalised-over"])
def test_sums_and_overs_equal_their_slow_twins(model, scene, bank):
    twin = {"eq7": naive.render_sum, "normalised-over": naive.render_normalised}[model]
    aif, depth, inner = with_border(scene, bank)
    expected = twin(aif, depth, LENS, bank, 12)[inner]
    np.testing.assert_allclose(render(scene, LENS, bank, planes=12, model=model), expected, atol=1e-5)


@pytest.mark.parametrize("bank", BANKS)
@pytest.mark.parametrize("scene", [blocks(14, 18, 4), slanted(13, 16, 5)], ids=["blocks", "slanted"])
def test_gathering_equals_its_slow_twin(scene, bank):
    aif, depth, inner = with_border(scene, bank)
    expected = naive.render_gathered(aif, depth, LENS, bank, 12)[inner]
    np.testing.assert_allclose(render(scene, LENS, bank, planes=12, model="gather"), expected, atol=1e-5)


def test_gathering_keeps_a_constant_image_and_copies_what_is_sharp():
    even = Scene(np.full((40, 50, 3), 0.6, np.float32), blocks(40, 50, 6).depth)
    np.testing.assert_allclose(render(even, LENS, planes=16, model="gather"), 0.6, atol=1e-4)
    depth = np.full((40, 50), 1 / (1 / LENS.focus_distance), np.float32)
    depth[:, 25:] = NEAR
    aif = np.random.default_rng(2).random((40, 50, 3), np.float32)
    out = render(Scene(aif, depth), LENS, planes=64, model="gather")
    np.testing.assert_array_equal(out[:, :25], aif[:, :25])
    assert np.abs(out[:, 25:] - aif[:, 25:]).max() > 0.1


@pytest.mark.parametrize("bank", BANKS)
def test_hasinoff_lays_whole_layers_over_each_other(bank):
    """A near card of one colour before a wall of one colour: what is hidden is known, and so is the picture."""
    depth = np.full((30, 40), FAR, np.float32)
    depth[8:22, 12:30] = NEAR
    aif = np.where((depth == NEAR)[..., None], (0.9, 0.5, 0.1), (0.2, 0.3, 0.4)).astype(np.float32)
    card = np.dstack([aif, depth == NEAR]).astype(np.float32) * (depth == NEAR)[..., None]
    # Two bins, whose centres are a quarter of the range from its ends.
    low, high = 1 / FAR, 1 / NEAR
    far, near = (1 / (low + share * (high - low)) for share in (0.25, 0.75))
    wall = Patch(np.dstack([np.broadcast_to(aif[0, 0], aif.shape), np.ones(depth.shape)]), far)
    expected = render(LayeredScene.from_patches(depth.shape, [wall, Patch(card, near)]), LENS, bank)
    got = render(Scene(aif, depth), LENS, bank, planes=2, model="hasinoff")
    np.testing.assert_allclose(got, expected, atol=0.02 if bank.by_differences else 1e-5)


@pytest.mark.parametrize("model", MODELS)
def test_margins_are_looked_at_and_layers_flattened(model):
    scene, bank = blocks(40, 50, 5), random_bank()
    whole = render(scene, LENS, bank, model=model)
    within = render(Scene(scene.aif, scene.depth, margin=8), LENS, bank, model=model)
    np.testing.assert_allclose(within, whole[8:-8, 8:-8], atol=1e-6)
    rgba = np.dstack([scene.aif, np.ones(scene.depth.shape, np.float32)])
    layers = LayeredScene.from_patches(scene.depth.shape, [Patch(rgba, scene.depth)], margin=8)
    np.testing.assert_allclose(render(layers, LENS, bank, model=model), within, atol=1e-6)
    assert np.isfinite(render(layered_scene(), LENS, model=model)).all()


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("lens", [LENS, LENS.refocused(np.inf)])
def test_depth_may_be_infinite(model, lens):
    depth = np.where(np.arange(40) < 20, 1.0, np.inf).astype(np.float32) * np.ones((40, 1), np.float32)
    aif = np.random.default_rng(3).random((40, 40, 3), np.float32)
    assert np.isfinite(render(Scene(aif, depth), lens, planes=8, model=model)).all()


@pytest.mark.parametrize("scene", [blocks(40, 50, 6), slanted(40, 50, 7)], ids=["blocks", "slanted"])
def test_with_whole_layers_a_constant_image_stays_constant(scene):
    even = Scene(np.full_like(scene.aif, 0.6), scene.depth)
    np.testing.assert_allclose(render(even, LENS, planes=16, model="hasinoff"), 0.6, atol=1e-4)


def test_the_plain_sum_gains_and_loses_light_at_edges_only():
    depth = np.full((60, 60), 2.0, np.float32)
    depth[:, :30] = 1.0
    out = render(Scene(np.full((60, 60, 3), 0.5, np.float32), depth), LENS, planes=64, model="eq7")
    assert out[:, 29].max() < 0.4, "the near part has lost light"
    assert out[:, 30].min() > 0.6, "and the far one taken it in"
    np.testing.assert_allclose(out[:, [5, 55]], 0.5, atol=1e-5)


def test_only_hasinoff_knows_what_a_blurred_edge_uncovers():
    """A blurred dark card before a sharp bright wall: under the card's edge the wall goes on."""
    depth = np.full((60, 60), 2.0, np.float32)
    depth[:, :30] = 0.8
    aif = np.where((depth == 2.0)[..., None], 0.9, 0.1).astype(np.float32).repeat(3, axis=2)
    inside = np.s_[30, 30 - int(LENS.coc(0.8) / 2) + 1 : 30]
    layered, normalised = (render(Scene(aif, depth), LENS, model=m)[inside][..., 0] for m in MODELS[:2])
    assert layered.min() > 0.11, "the wall shines through"
    np.testing.assert_allclose(normalised[:1], 0.1, atol=0.05)
    assert (layered[-1] - normalised[-1]) > 0.1


@pytest.mark.parametrize("model", MODELS)
def test_what_cannot_be_rendered_is_refused_in_one_sentence(model):
    with pytest.raises(InputError, match=r"planes must be 2 or more, not 1"):
        render(blocks(30, 30, 8), LENS, planes=1, model=model)
    with pytest.raises(InputError, match=r"kernels are up to 7 pixels wide, and the scene is 9x6 pixels"):
        render(blocks(6, 9, 9), LENS, random_bank(7), model=model)
