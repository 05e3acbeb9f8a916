"""Kernels of any shape, one for each colour: against slow twins, against disks, and against each other."""

import naive
import numpy as np
import pytest
from fields import FAR, LENS, NEAR, blocks, layers_of

from defocal import InputError
from defocal.synth import LayeredScene, Patch, PsfBank, Scene, dense, render
from defocal.synth.layers import hidden_reach, plane_grid
from defocal.synth.psf_sampled import SampledBank


def random_bank(size=7, planes=9, channels=3, seed=0, power=4):
    """Kernels of no symmetry, another for each plane and colour."""
    kernels = np.random.default_rng(seed).random((planes, channels, size, size)) ** power
    kernels /= kernels.sum(axis=(2, 3), keepdims=True)
    return SampledBank("test", LENS, kernels, np.linspace(LENS.coc(FAR), LENS.coc(NEAR), planes))


def slanted(height, width, seed):
    rng = np.random.default_rng(seed)
    inverse = np.linspace(1 / FAR, 1 / NEAR - 0.1, width)[None] + np.linspace(0, 0.1, height)[:, None]
    return Scene(rng.random((height, width, 3), np.float32), (1 / inverse).astype(np.float32))


def padded(scene, border):
    around = [(border, border)] * 2
    rgba = np.ones((*np.add(scene.depth.shape, 2 * border), 4), np.float32)
    rgba[..., :3] = np.pad(scene.aif, [*around, (0, 0)], mode="symmetric")
    return rgba, np.pad(scene.depth, around, mode="symmetric")


@pytest.fixture(params=["taps", "transform"])
def forced(request, monkeypatch):
    """Blur everything tap by tap, or everything by Fourier transform."""
    monkeypatch.setattr(dense, "FFT_PER_TAP", {"taps": np.inf, "transform": 0.0}[request.param])


@pytest.mark.parametrize("bank", [random_bank(), random_bank(6, channels=1), PsfBank.gaussian(LENS)])
@pytest.mark.parametrize("scene", [blocks(22, 27, 1), slanted(20, 24, 2)], ids=["blocks", "slanted"])
@pytest.mark.parametrize("planes", [4, 32])
def test_surfaces_equal_the_slow_twin(scene, planes, bank, forced):
    coc = LENS.coc(np.array([scene.depth.max(), scene.depth.min()]))
    border = int(bank.reach(coc).max())
    rgba, depth = padded(scene, border)
    grid = plane_grid(float(depth.min()), float(depth.max()), LENS, planes)
    reach = hidden_reach(bank.averaged, (float(coc[0]), float(coc[1])))
    expected = naive.render_surfaces(rgba, LENS.coc(depth), grid.number(depth), grid.gap, bank.averaged, reach)
    got = render(scene, LENS, bank, planes=planes)
    np.testing.assert_allclose(got, expected[border:-border, border:-border], atol=1e-5)


@pytest.mark.parametrize("bank", [random_bank(), random_bank(channels=1), PsfBank.gaussian(LENS)])
def test_true_layers_equal_the_slow_twin(bank, forced):
    layers = layers_of(3)
    scene = LayeredScene(np.stack([rgba for rgba, _ in layers]), np.stack([depth for _, depth in layers]))
    border = int(bank.reach(LENS.coc(np.array([5.0, 0.9]))).max())
    around = [(border, border)] * 2
    wide = [
        (np.pad(rgba, [*around, (0, 0)], mode="symmetric"), np.pad(z, around, mode="symmetric")) for rgba, z in layers
    ]
    expected = naive.render_varied_layers(wide, bank, LENS)
    got = render(scene, LENS, bank)
    np.testing.assert_allclose(got, expected[border:-border, border:-border], atol=1e-5)


@pytest.mark.parametrize("size", [1, 2, 3, 5, 8, 9, 12])
def test_kernels_of_every_size_equal_the_transform(size, monkeypatch):
    scene, bank = blocks(40, 70, 6), random_bank(size)
    pictures = []
    for cost in (0.0, np.inf):
        monkeypatch.setattr(dense, "FFT_PER_TAP", cost)
        pictures.append(render(scene, LENS, bank, planes=16))
    np.testing.assert_allclose(*pictures, atol=1e-5)


def test_big_kernels_are_transformed_and_small_ones_are_not(monkeypatch):
    seen = []
    add = dense.DenseCanvas._add_transformed
    monkeypatch.setattr(
        dense.DenseCanvas, "_add_transformed", lambda self, *a: seen.append(self.bank.size) or add(self, *a)
    )
    scene = blocks(120, 130, 7)
    for size in (9, 95):
        render(scene, LENS, random_bank(size), planes=8)
    assert set(seen) == {(95, 95)}


def test_three_equal_channels_are_one():
    mono = random_bank(9, channels=1)
    three = SampledBank("test", LENS, mono.kernels.repeat(3, axis=1), mono.coc)
    for scene in (blocks(40, 50, 8), layered_scene()):
        np.testing.assert_allclose(render(scene, LENS, three), render(scene, LENS, mono), atol=1e-6)


def layered_scene():
    layers = layers_of(9, (40, 50))
    return LayeredScene(np.stack([rgba for rgba, _ in layers]), np.stack([depth for _, depth in layers]))


def snapped(depth, bank):
    """Depths at the bank's steps of CoC: half-way between two, either may be taken for nearer."""
    steps = np.rint(LENS.coc(depth.astype(np.float64)) / bank.coc_step)
    return LENS.depth_at_coc(steps * bank.coc_step).astype(np.float32)


@pytest.mark.parametrize("model", ["surfaces", "eq7"])
def test_disks_rendered_tap_by_tap_are_disks(model):
    """Of surfaces that hide others, dense banks continue more than disks do; here each is seen whole."""
    disk = PsfBank.disk(LENS)
    layers, smooth = layers_of(9, (40, 50)), slanted(40, 50, 10)
    depths = np.stack([snapped(z, disk) for _, z in layers])
    flat = Scene(smooth.aif, snapped(smooth.depth, disk)), disk if model == "eq7" else disk.averaged
    whole = LayeredScene(np.stack([rgba for rgba, _ in layers]), depths), disk
    for scene, bank in [flat] if model == "eq7" else [flat, whole]:
        sampled = bank.sampled(NEAR, FAR)
        got, expected = (render(scene, LENS, b, model=model, planes=500) for b in (sampled, disk))
        np.testing.assert_allclose(got, expected, atol=1e-5)


def test_near_points_show_the_aperture_turned_and_far_ones_upright():
    pattern = np.zeros((8, 8))
    pattern[:3, :], pattern[:, :2] = 1, 1
    bank = PsfBank.aperture(LENS, pattern)
    aif = np.zeros((61, 61, 3), np.float32)
    aif[30, 30] = 1
    far, near = (LENS.depth_at_coc(c) for c in (-3.0, 3.0))
    pictures = [render(Scene(aif, np.full((61, 61), z, np.float32)), LENS, bank)[..., 0] for z in (far, near)]
    np.testing.assert_allclose(pictures[0], pictures[1][::-1, ::-1], atol=1e-6)
    kernel = bank.averaged.kernel(-3.0)
    half = len(kernel) // 2
    np.testing.assert_allclose(pictures[0][30 - half : 31 + half, 30 - half : 31 + half], kernel, atol=1e-6)
    assert pictures[0][:30].sum() > pictures[0][31:].sum() + 0.1, "the open side is up, as the camera sees the mask"


def test_a_point_becomes_its_kernel_in_each_colour_and_not_the_mirror_image():
    bank = random_bank(7, planes=1)
    aif = np.zeros((31, 31, 3), np.float32)
    aif[15, 15] = (1, 2, 3)
    out = render(Scene(aif, np.full((31, 31), 1.0, np.float32)), LENS, bank)
    expected = np.moveaxis(bank.kernels[0], 0, -1) * np.array([1, 2, 3])
    np.testing.assert_allclose(out[12:19, 12:19], expected, atol=1e-6)
    assert out[:12].max() == 0


@pytest.mark.parametrize("seed", range(6))
def test_a_constant_image_stays_constant_whatever_the_depth(seed, forced):
    """Even where every pixel has another depth, and kernels that are dark at their centre."""
    rng = np.random.default_rng(seed)
    bank = random_bank(9, seed=seed, power=12)
    bank.kernels[:, :, 3:6, 3:6] = 0
    bank.kernels /= bank.kernels.sum(axis=(2, 3), keepdims=True)
    depth = rng.uniform(NEAR, FAR, (17, 21)).astype(np.float32)
    if seed % 2:
        depth = depth.repeat(3, 0).repeat(4, 1)
    scene = Scene(np.full((*depth.shape, 3), (0.2, 0.7, 3.0), np.float32), depth)
    np.testing.assert_allclose(render(scene, LENS, bank) / scene.aif, 1.0, atol=2e-5)


def test_a_constant_layered_scene_stays_constant():
    colour = np.array([0.3, 0.6, 2.0], np.float32)
    patches = [Patch(np.dstack([rgba[..., 3:] * colour, rgba[..., 3]]), z) for rgba, z in layers_of(11, (40, 50))]
    out = render(LayeredScene.from_patches((40, 50), patches), LENS, random_bank(9))
    np.testing.assert_allclose(out, np.broadcast_to(colour, out.shape), rtol=1e-5)


def test_depths_where_a_layer_is_transparent_do_not_matter():
    rng = np.random.default_rng(12)
    back = Patch(np.dstack([rng.random((30, 40, 3)), np.ones((30, 40))]), 5.0)
    depth = (1 / np.linspace(0.5, 0.9, 40)[None].repeat(30, 0)).astype(np.float32)
    rgba = np.zeros((30, 40, 4), np.float32)
    rgba[10:20, 10:30] = 1
    hole = np.where(rgba[..., 3] > 0, depth, np.float32(np.nan))
    for bank in (PsfBank.disk(LENS), random_bank()):
        out = render(LayeredScene.from_patches((30, 40), [back, Patch(rgba, hole)]), LENS, bank)
        assert np.isfinite(out).all()


def test_what_cannot_be_rendered_is_refused_in_one_sentence():
    bank = random_bank(7)
    with pytest.raises(InputError, match=r"are not covered by the PSF bank, which has"):
        render(blocks(30, 30, 13, (0.3, 2.0)), LENS, bank)
    layers = LayeredScene(np.ones((1, 30, 30, 4)), [0.3])
    with pytest.raises(InputError, match=r"are not covered"):
        render(layers, LENS, bank)
    with pytest.raises(InputError, match=r"kernels are up to 7 pixels wide, and the scene is 9x6 pixels"):
        render(blocks(6, 9, 14), LENS, bank)
    with pytest.raises(InputError, match=r"kernels are up to 7 pixels wide"):
        render(LayeredScene(np.ones((1, 6, 9, 4)), [1.0]), LENS, bank)
    with pytest.raises(InputError, match=r"render\.model must be one of surfaces, .*, eq7, gather, not 'magic'"):
        render(blocks(30, 30, 15), LENS, bank, model="magic")
    render(blocks(7, 9, 16), LENS, bank)
