"""The renderer against its slow twin, and against what light does."""

from dataclasses import replace

import naive
import numpy as np
import pytest
from fields import blocks
from hypothesis import given, settings
from hypothesis import strategies as st

from defocal import InputError
from defocal.synth import LayeredScene, Patch, PsfBank, Scene, ThinLens, render
from defocal.synth.layers import plane_grid

LENS = ThinLens(focal_length=0.05, f_number=2.0, focus_distance=2.0, pixel_pitch=1e-4)


def slanted(height, width, seed):
    rng = np.random.default_rng(seed)
    inverse = np.linspace(1 / 4, 1.0, width)[None, :] + np.linspace(0, 0.1, height)[:, None]
    return Scene(rng.random((height, width, 3), np.float32), (1 / inverse).astype(np.float32))


def inner(image, border=12):
    return image[border:-border, border:-border]


@pytest.mark.parametrize("planes", [4, 16, 64])
@pytest.mark.parametrize(
    "scene", [blocks(44, 52, 1, (0.8, 1.4, 2.0, 5.0)), slanted(40, 56, 2)], ids=["blocks", "slanted"]
)
def test_surfaces_equal_the_slow_twin(scene, planes):
    bank = PsfBank.disk(LENS)
    border = int(bank.reach(LENS.coc(scene.depth)).max())
    depth = np.pad(scene.depth, border, mode="symmetric")
    rgba = np.ones((*depth.shape, 4), np.float32)
    rgba[..., :3] = np.pad(scene.aif, [(border, border)] * 2 + [(0, 0)], mode="symmetric")
    coc = LENS.coc(depth)
    grid = plane_grid(float(depth.min()), float(depth.max()), LENS, planes)
    number = grid.number(depth)
    expected = naive.render_surfaces(
        rgba, coc, number, grid.gap, bank.averaged, plane_coc=lambda plane: coc[number == plane].mean()
    )
    got = render(scene, LENS, bank, planes=planes)
    np.testing.assert_allclose(got, expected[border:-border, border:-border], atol=1e-5)


@pytest.mark.parametrize("light", [0.01, 30.0])
def test_more_light_gives_the_same_picture_brighter(light):
    scene = blocks(44, 52, 1, (0.8, 1.4, 2.0, 5.0))
    brighter = Scene(scene.aif * np.float32(light), scene.depth)
    np.testing.assert_allclose(render(brighter, LENS), render(scene, LENS) * light, rtol=1e-4, atol=1e-5 * light)


def test_true_layers_equal_the_slow_twin():
    rng = np.random.default_rng(3)
    layers = []
    for depth in (6.0, 2.0, 1.3, 0.9):
        alpha = np.ones((48, 60)) if depth == 6.0 else np.clip(rng.normal(size=(48, 60)) + 0.5, 0, 1)
        colour = rng.random((48, 60, 3))
        layers.append((np.dstack([colour * alpha[..., None], alpha]).astype(np.float32), depth))
    scene = LayeredScene(np.stack([rgba for rgba, _ in layers]), [depth for _, depth in layers])
    bank = PsfBank.disk(LENS)
    got = render(scene, LENS, bank)
    expected = naive.render_layers(layers, bank, LENS)
    np.testing.assert_allclose(inner(got, 12), inner(expected, 12), atol=1e-5)


def test_patches_render_as_the_dense_layers_that_they_stand_for():
    rng = np.random.default_rng(4)
    back = np.dstack([rng.random((40, 50, 3)), np.ones((40, 50))]).astype(np.float32)
    card = np.dstack([rng.random((10, 14, 3)), np.ones((10, 14))]).astype(np.float32)
    dense = np.zeros((40, 50, 4), np.float32)
    dense[12:22, 20:34] = card
    whole = render(LayeredScene(np.stack([back, dense]), [4.0, 1.2]), LENS)
    cut = render(LayeredScene.from_patches((40, 50), [Patch(back, 4.0), Patch(card, 1.2, top=12, left=20)]), LENS)
    np.testing.assert_allclose(cut, whole, atol=1e-6)


def test_oversampled_layers_are_rendered_by_texels_or_averaged_before():
    rng = np.random.default_rng(13)
    rgba = rng.random((2, 80, 100, 4), np.float32)
    rgba[0, ..., 3] = 1
    rgba[1] *= rgba[1, ..., 3:]
    scene = LayeredScene(rgba, [4.0, 1.2], margin=4, oversampling=2)
    assert scene.size == (32, 42)
    fine = replace(LENS, pixel_pitch=LENS.pixel_pitch / 2)
    by_texels = render(LayeredScene(rgba, [4.0, 1.2], margin=8), fine)
    got = render(scene, LENS)
    np.testing.assert_allclose(got, by_texels.reshape(32, 2, 42, 2, 3).mean(axis=(1, 3)), atol=1e-6)
    measured = PsfBank.disk(LENS, coc_step=0.5).sampled(1.0, 6.0)
    pixels = LayeredScene(rgba.reshape(2, 40, 2, 50, 2, 4).mean(axis=(2, 4)), [4.0, 1.2], margin=4)
    np.testing.assert_allclose(render(scene, LENS, measured), render(pixels, LENS, measured), atol=1e-6)
    one = PsfBank.disk(LENS)
    assert one.finer(2).taps(40) is one.taps(40)
    np.testing.assert_allclose(render(scene, LENS, one, model="eq7").mean(), got.mean(), rtol=0.1)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    planes=st.integers(2, 100),
    rough=st.floats(0, 1),
    size=st.sampled_from([8, 17, 40]),
)
def test_a_constant_image_stays_constant_whatever_the_depth(seed, planes, rough, size):
    rng = np.random.default_rng(seed)
    depth = np.exp(rng.uniform(-0.7, 2.5, (size, size + 3)) * rough + rng.uniform(-0.5, 1))
    depth[rng.random(depth.shape) < 0.2] = np.nan
    depth[0, 0] = 1.0
    scene = Scene(np.full((size, size + 3, 3), (0.2, 0.7, 3.0), np.float32), depth.astype(np.float32))
    out = render(scene, LENS, planes=planes)
    np.testing.assert_allclose(out / scene.aif, 1.0, atol=1e-5)


def test_a_constant_layered_scene_stays_constant():
    colour = np.array([0.3, 0.6, 2.0], np.float32)
    rng = np.random.default_rng(5)
    y, x = np.mgrid[:60, :80]
    depths = [1 / (0.2 + 0.8 * x / 80), np.full((60, 80), 1.5), 1 / (0.7 + 0.4 * y / 60)]
    alphas = [np.ones((60, 80)), (np.hypot(y - 30, x - 40) < 18) * 1.0, (rng.random((60, 80)) < 0.5) * 1.0]
    rgba = [np.dstack([colour * a[..., None], a]) for a in alphas]
    out = render(LayeredScene(np.stack(rgba), np.stack(depths)), LENS)
    np.testing.assert_allclose(out, np.broadcast_to(colour, out.shape), rtol=1e-5)


def test_borders_do_not_darken_and_light_is_kept():
    scene = blocks(60, 80, 6, (0.9, 2.0, 4.0))
    even = Scene(scene.aif * 0 + np.float32(0.5), scene.depth)
    out = render(even, LENS)
    np.testing.assert_allclose(out, 0.5, atol=1e-5)
    assert render(scene, LENS).mean() == pytest.approx(scene.aif.mean(), rel=0.02)


def test_a_scene_in_focus_is_not_changed():
    scene = blocks(30, 40, 7, (2.0,))
    np.testing.assert_allclose(render(scene, LENS), scene.aif, atol=1e-6)


def test_a_point_of_light_becomes_its_kernel():
    aif = np.zeros((41, 41, 3), np.float32)
    aif[20, 20] = 5.0
    scene = Scene(aif, np.full((41, 41), 1.0, np.float32))
    kernel = PsfBank.disk(LENS).averaged.kernel(round(LENS.coc(1.0) / 0.125) * 0.125)
    half = kernel.shape[0] // 2
    out = render(scene, LENS)[..., 0]
    np.testing.assert_allclose(out[20 - half : 21 + half, 20 - half : 21 + half], 5 * kernel, atol=1e-5)
    assert out.sum() == pytest.approx(5, rel=1e-4)


def test_a_sharp_near_edge_hides_what_is_behind_and_takes_no_light_from_it():
    """A card in focus before a bright blurred wall: inside the card nothing changes, up to its very edge."""
    depth = np.full((40, 60), 8.0, np.float32)
    depth[:, :30] = 2.0
    aif = np.where(depth[..., None] == 2.0, 0.1, 1.0) * np.ones((40, 60, 3))
    out = render(Scene(aif.astype(np.float32), depth), LENS)
    np.testing.assert_allclose(out[:, :30], 0.1, atol=1e-5)
    np.testing.assert_allclose(out[:, 30:], 1.0, atol=1e-5)


def test_a_blurred_near_edge_follows_the_closed_form():
    """A near half-plane before a sharp wall: its blurred edge is the integral of the disk, mixing both colours."""
    depth = np.full((80, 80), 2.0, np.float32)
    depth[:, :40] = 1.0
    aif = np.where(depth[..., None] == 1.0, 0.9, 0.2) * np.ones((80, 80, 3))
    out = render(Scene(aif.astype(np.float32), depth), LENS)[40, :, 0]
    radius = round(LENS.coc(1.0) / 0.125) * 0.125 / 2
    # The share of the disk on the near side of the edge, averaged over each pixel.
    fine = np.clip(((np.arange(80 * 64) + 0.5) / 64 - 40) / radius, -1, 1)
    near = ((np.arccos(fine) - fine * np.sqrt(1 - fine**2)) / np.pi).reshape(80, 64).mean(axis=1)
    np.testing.assert_allclose(out[12:-12], (0.9 * near + 0.2 * (1 - near))[12:-12], atol=8e-3)


def test_more_planes_change_nothing_where_depths_are_few():
    scene = blocks(40, 50, 9, (0.8, 2.0, 6.0))
    first = render(scene, LENS, planes=8)
    for planes in (16, 64, 256):
        np.testing.assert_allclose(render(scene, LENS, planes=planes), first, atol=1e-5)


def test_planes_only_order_on_a_slanted_surface():
    scene = slanted(60, 90, 10)
    fine = render(scene, LENS, planes=256)
    for planes in (8, 32, 64):
        assert np.sqrt(np.mean((render(scene, LENS, planes=planes) - fine) ** 2)) < 2e-3


def test_highlights_blur_in_linear_light_and_are_not_clipped():
    aif = np.full((60, 60, 3), 0.05, np.float32)
    aif[28:32, 28:32] = 40.0
    out = render(Scene(aif, np.full((60, 60), 1.0, np.float32)), LENS)
    assert out.max() > 1
    assert out.sum() == pytest.approx(aif.sum(), rel=1e-4)


def test_a_margin_is_looked_at_and_cut_off():
    scene = blocks(60, 70, 11, (0.9, 2.0, 5.0))
    whole = render(scene, LENS)
    within = render(Scene(scene.aif, scene.depth, margin=15), LENS)
    np.testing.assert_allclose(within, whole[15:-15, 15:-15], atol=1e-5)


def test_wrong_use_is_refused_in_one_sentence():
    scene = blocks(20, 20, 12, (1.0, 2.0))
    with pytest.raises(InputError, match=r"another lens"):
        render(scene, LENS, PsfBank.disk(LENS.refocused(3.0)))
    with pytest.raises(InputError, match=r"planes must be 2 to 16384, not 1"):
        render(scene, LENS, planes=1)
    with pytest.raises(InputError, match=r"method"):
        render(scene, LENS, method="magic")
