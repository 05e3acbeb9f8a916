"""What light does whatever the scene, for every way to render: drawn scenes, the same on every run."""

import conformance
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from defocal.synth import LayeredScene, Patch, PsfBank, Scene, ThinLens, dense, render
from defocal.synth.layers import plane_grid

LENS = ThinLens(focal_length=0.05, f_number=2.0, focus_distance=2.0, pixel_pitch=1e-4)
DEPTHS = (0.8, 1.1, 1.4, 2.0, 3.0, 6.0)
NEAR, FAR = min(DEPTHS), max(DEPTHS)
WAYS = [{"model": model} for model in conformance.MODELS]
WAYS += [{"method": method, "samples": 64} for method in conformance.METHODS if method != "layered"]
LAYERED_WAYS = [{}, *(way for way in WAYS if "method" in way)]
SEEDS = st.integers(0, 10**6)

few = settings(max_examples=12, deadline=None, derandomize=True)


def every(ways):
    """Run a test with every way to render."""
    return pytest.mark.parametrize("way", ways, ids=lambda way: "-".join(map(str, way.values())) or "layered")


def linear_over(way, shape):
    """Return the shape if light is linear over its depth edges, else one without any.

    The papers' models look at nothing but depth; where surfaces are told apart, their colours tell how much of a pixel
    at a silhouette each covers.
    """
    return shape if way.get("model") in ("eq7", "normalised-over", "hasinoff", "gather") else slope


def assert_same(got, expected, way):
    """Check that two captures are equal, but for the error of the exact method's quadrature.

    Rounding may tip what a pixel at a silhouette is taken for.
    """
    if "method" in way:
        assert np.sqrt(np.mean((got - expected) ** 2)) < 3e-3
    else:
        np.testing.assert_allclose(got, expected, atol=1e-3)


def cards(rng, size=(30, 37), depths=DEPTHS):
    """Rectangles in random places over each other, at a few depths; (H, W) metres."""
    depth = np.full(size, rng.choice(depths))
    for _ in range(5):
        (top, left), (height, width) = rng.integers(-5, size), rng.integers(2, size)
        depth[max(top, 0) : max(top + height, 0), max(left, 0) : max(left + width, 0)] = rng.choice(depths)
    return depth


def slope(rng, size=(30, 37)):
    """A slanted plane; (H, W) metres."""
    y, x = np.mgrid[: size[0], : size[1]]
    dy, dx = rng.uniform(-0.6, 0.6, 2)
    return 1 / (0.75 + dx * (x / size[1] - 0.5) + dy * (y / size[0] - 0.5))


def step(rng, size=(30, 37)):
    """A slanted plane before another; (H, W) metres."""
    y, x = np.mgrid[: size[0], : size[1]]
    inside = (y - size[0] / 2) ** 2 + (x - size[1] / 3) ** 2 < (min(size) / 3) ** 2
    return np.where(inside, 1 / (1 / slope(rng, size) + rng.uniform(0.1, 0.5)), slope(rng, size))


def layers(rng, size=(30, 37)):
    """Depths and premultiplied colours of a wall and two layers with holes before it."""
    depth = np.stack([np.full(size, FAR), slope(rng, size), np.full(size, 0.8)])
    alpha = np.stack([np.ones(size), cards(rng, size) > 1.5, rng.random(size) < 0.3]).astype(float)
    rgba = np.concatenate([rng.random((3, *size, 3)), np.ones((3, *size, 1))], axis=-1) * alpha[..., None]
    return rgba, depth


def card(rng, depth, top, left, size):
    """An opaque patch in random colours."""
    return Patch(np.concatenate([rng.random((*size, 3)), np.ones((*size, 1))], axis=-1), depth, top, left)


TURNS = {
    "left to right": lambda a: a[:, ::-1],
    "upside down": lambda a: a[::-1],
    "a quarter turn": np.rot90,
    "transposed": lambda a: a.swapaxes(0, 1),
}


@every([way for way in WAYS if way != {"model": "hasinoff"}])
@pytest.mark.parametrize("turn", TURNS.values(), ids=TURNS)
@given(seed=SEEDS, shape=st.sampled_from([cards, slope, step]))
@few
def test_a_turned_or_mirrored_scene_gives_the_turned_or_mirrored_capture(way, turn, seed, shape):
    """All but hasinoff, which fills what is hidden from coarse to fine, counted from the top left."""
    rng = np.random.default_rng(seed)
    depth = shape(rng)
    aif = rng.random((*depth.shape, 3))
    turned = render(Scene(turn(aif), turn(depth)), LENS, **way)
    assert_same(turned, turn(render(Scene(aif, depth), LENS, **way)), way)


@every(LAYERED_WAYS)
@pytest.mark.parametrize("turn", TURNS.values(), ids=TURNS)
@given(seed=SEEDS)
@few
def test_turned_or_mirrored_layers_give_the_turned_or_mirrored_capture(way, turn, seed):
    rgba, depth = layers(np.random.default_rng(seed))
    upright = render(LayeredScene(rgba, depth), LENS, **way)
    turned = render(LayeredScene([turn(a) for a in rgba], [turn(z) for z in depth]), LENS, **way)
    assert_same(turned, turn(upright), way)


@every([way for way in WAYS if way.get("model") not in ("eq7", "normalised-over")])
@given(seed=SEEDS, shape=st.sampled_from([cards, slope, step]), sky=st.booleans())
@few
def test_a_constant_image_stays_constant_up_to_the_sky(way, seed, shape, sky):
    """All but the models that know nothing of what is hidden, and lose or gain light at depth edges."""
    depth = shape(np.random.default_rng(seed))
    if sky:
        depth[: len(depth) // 3] = np.inf
    aif = np.broadcast_to(np.float32([0.2, 0.7, 3.0]), (*depth.shape, 3))
    np.testing.assert_allclose(render(Scene(aif, depth), LENS, **way) / aif, 1.0, atol=1e-5)


@every(WAYS)
@given(seed=SEEDS, shape=st.sampled_from([cards, slope, step]), times=st.floats(0.01, 100))
@few
def test_more_light_gives_the_same_capture_brighter(way, seed, shape, times):
    rng = np.random.default_rng(seed)
    depth = linear_over(way, shape)(rng)
    aif = rng.random((*depth.shape, 3))
    once, more = (render(Scene(light, depth), LENS, **way) for light in (aif, times * aif))
    np.testing.assert_allclose(more / times, once, atol=1e-4)


@every(WAYS)
@given(seed=SEEDS, shape=st.sampled_from([cards, slope, step]))
@few
def test_lights_add_up(way, seed, shape):
    rng = np.random.default_rng(seed)
    depth = linear_over(way, shape)(rng)
    one, other = rng.random((2, *depth.shape, 3))
    apart = [render(Scene(light, depth), LENS, **way) for light in (one, other)]
    np.testing.assert_allclose(render(Scene(one + other, depth), LENS, **way), sum(apart), atol=1e-4)


@every(LAYERED_WAYS)
@given(seed=SEEDS)
@few
def test_lights_of_layers_add_up(way, seed):
    rng = np.random.default_rng(seed)
    rgba, depth = layers(rng)
    other, both = rgba.copy(), rgba.copy()
    other[..., :3] = rng.random(rgba[..., :3].shape) * rgba[..., 3:]
    both[..., :3] += other[..., :3]
    apart = [render(LayeredScene(light, depth), LENS, **way) for light in (rgba, other)]
    np.testing.assert_allclose(render(LayeredScene(both, depth), LENS, **way), sum(apart), atol=1e-5)


@every([way for way in WAYS if way.get("model", "surfaces") == "surfaces"])
@given(seed=SEEDS, planes=st.integers(4, 64), times=st.integers(2, 5))
@few
def test_more_planes_change_nothing_where_all_depths_lie_on_planes(way, seed, planes, times):
    """Surfaces are told apart by whole planes: here they stand farther apart than the first grid can tell."""
    rng = np.random.default_rng(seed)
    inverse = np.linspace(1 / FAR, 1 / NEAR, planes)
    lens = LENS.refocused(1 / rng.choice(inverse))
    apart = plane_grid(NEAR, FAR, lens, planes).gap + 1
    depth = cards(rng, depths=1 / np.append(inverse[:-apart:apart], inverse[-1]))
    depth[0, 0], depth[-1, -1] = NEAR, FAR
    scene = Scene(rng.random((*depth.shape, 3)), depth)
    first, more = (render(scene, lens, planes=n, **way) for n in (planes, times * (planes - 1) + 1))
    np.testing.assert_allclose(more, first, atol=1e-5)


@every(LAYERED_WAYS)
@given(seed=SEEDS, near=st.sampled_from(DEPTHS[:3]), behind=st.sampled_from(DEPTHS[2:]))
@few
def test_a_layer_hidden_from_every_point_of_the_aperture_contributes_nothing(way, seed, near, behind):
    rng = np.random.default_rng(seed)
    wall, hidden = card(rng, FAR, 0, 0, (60, 70)), card(rng, behind, 26, 30, (8, 10))
    # Three pixels more than both blurs together: as far as images may be interpolated.
    more = int((abs(LENS.coc(near)) + abs(LENS.coc(behind))) / 2) + 4
    screen = card(rng, near, 26 - more, 30 - more, (8 + 2 * more, 10 + 2 * more))
    with_it = render(LayeredScene.from_patches((60, 70), [wall, hidden, screen]), LENS, **way)
    without = render(LayeredScene.from_patches((60, 70), [wall, screen]), LENS, **way)
    np.testing.assert_allclose(with_it, without, atol=1e-6)


@every(LAYERED_WAYS)
@given(seed=SEEDS, depth=st.sampled_from(DEPTHS))
@few
def test_an_opaque_card_alone_keeps_its_energy(way, seed, depth):
    one = card(np.random.default_rng(seed), depth, 20, 22, (9, 14))
    out = render(LayeredScene.from_patches((50, 60), [one]), LENS, **way)
    # The exact method interpolates by cubic convolution, and before nothing cuts off what undershoots zero.
    rtol = 1e-2 if "method" in way else 1e-5
    np.testing.assert_allclose(out.sum(axis=(0, 1)), one.rgba[..., :3].sum(axis=(0, 1)), rtol=rtol)


@every([way for way in WAYS if "model" in way and way["model"] != "gather"])
@given(seed=SEEDS, depth=st.sampled_from(DEPTHS[:4]))
@few
def test_a_card_before_a_black_wall_keeps_its_energy(way, seed, depth):
    """All but gather, whose pixels are means of what is around them: that keeps a constant, and not a sum."""
    aif, depths = np.zeros((50, 60, 3)), np.full((50, 60), FAR)
    inside = np.s_[20:29, 22:36]
    aif[inside], depths[inside] = np.random.default_rng(seed).random((9, 14, 3)), depth
    out = render(Scene(aif, depths), LENS, **way)
    np.testing.assert_allclose(out.sum(axis=(0, 1)), aif.sum(axis=(0, 1)), rtol=1e-4)


def snapped(depth, bank):
    """Depths at the bank's steps of CoC: half-way between two, either may be taken for nearer."""
    return LENS.depth_at_coc(np.rint(LENS.coc(depth) / bank.coc_step) * bank.coc_step)


@pytest.mark.parametrize("kind", ["layers", "noise", "eq7"])
@given(seed=SEEDS)
@few
def test_disks_by_their_differences_tap_by_tap_and_by_transform_are_the_same(kind, seed):
    rng = np.random.default_rng(seed)
    disk = PsfBank.disk(LENS)
    sampled = disk.sampled(NEAR / 1.2, FAR * 1.2)  # the centres of Eq. 7's planes may lie beyond the scene
    if kind == "eq7":
        depth = cards(rng)
        scene, how = Scene(rng.random((*depth.shape, 3)), depth), {"model": "eq7"}
    else:
        rgba, depth = layers(rng)
        if kind == "noise":
            depth[1] = rng.uniform(1, 4, depth[1].shape)
        scene, how = LayeredScene(rgba, snapped(depth, disk)), {}
    expected = render(scene, LENS, disk, **how)
    with pytest.MonkeyPatch.context() as patched:
        for cost in (np.inf, 0.0):
            patched.setattr(dense, "FFT_PER_TAP", cost)
            np.testing.assert_allclose(render(scene, LENS, sampled, **how), expected, atol=1e-5)


@pytest.mark.parametrize("bank", [PsfBank.disk(LENS), PsfBank.gaussian(LENS)], ids=["disk", "gaussian"])
@given(seed=SEEDS, depth=st.sampled_from(DEPTHS))
@few
def test_a_run_of_one_kernel_is_its_pixels_one_by_one(bank, seed, depth):
    """A checkerboard has runs of single pixels; it and its negative are the whole."""
    rng = np.random.default_rng(seed)
    rgba = card(rng, depth, 0, 0, (24, 31)).rgba
    odd = (np.indices((24, 31)).sum(axis=0) % 2)[..., None]
    whole, *halves = (
        render(LayeredScene.from_patches((40, 50), [Patch(part, depth, 8, 9)]), LENS, bank)
        for part in (rgba, rgba * odd, rgba * (1 - odd))
    )
    np.testing.assert_allclose(sum(halves), whole, atol=1e-5)
