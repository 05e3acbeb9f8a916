"""The exact renderer against its slow twins, against closed forms, and against the layered one where that is exact."""

from itertools import pairwise

import numpy as np
import pytest
from conftest import recipe_data
from hypothesis import given, settings
from hypothesis import strategies as st

from defocal import InputError
from defocal.synth import LayeredScene, Patch, PsfBank, Recipe, Scene, ThinLens, polygon_aperture, render
from defocal.synth.exact import aperture_cells, cell_filters
from defocal.synth.exact_kernels import FRACTIONS, WIDTHS, render_surfaces
from defocal.synth.light import encode
from defocal.synth.samples import SampleMaker

LENS = ThinLens(focal_length=0.05, f_number=2.0, focus_distance=2.0, pixel_pitch=1e-4)
WIDE = ThinLens(focal_length=0.05, f_number=1.0, focus_distance=2.0, pixel_pitch=5e-5)
"""Blurs even what is far by more than 16 pixels."""


def keys(t):
    """Cubic convolution kernel of Keys 1981, a = -1/2."""
    t = np.abs(t)
    near, far = 1.5 * t**3 - 2.5 * t**2 + 1, -0.5 * t**3 + 2.5 * t**2 - 4 * t + 2
    return np.where(t < 1, near, np.where(t < 2, far, 0.0))


def shares(at, width, n):
    """What each of n pixels adds to a value at `at`, averaged over a box; both rounded as the renderer does."""
    at = np.floor(at) + np.floor((at - np.floor(at)) * FRACTIONS + 0.5) / FRACTIONS
    width = np.floor(width * WIDTHS + 0.5) / WIDTHS
    within = (np.arange(400) + 0.5) / 400 - 0.5
    return keys(np.arange(n)[:, None] - at - within * width).mean(axis=1)


def looked_up(image, y, x, half, cell):
    """An image (h, w, 4) where the ray of (y, x) meets it, through a whole cell."""
    rows = shares(y + half * cell[1], abs(half) * cell[3], image.shape[0])
    columns = shares(x + half * cell[0], abs(half) * cell[2], image.shape[1])
    return np.einsum("y,x,yxk->k", rows, columns, image)


def naive_layers(layers, size, cells):
    """Each pixel through each cell: layers [(rgba, half CoC or its plane (value, along x, along y))], far to near."""
    out = np.zeros((*size, 3))
    for y, x in np.ndindex(size):
        for cell in cells:
            seen = np.zeros(3)
            for rgba, (value, along_x, along_y) in layers:
                half = (value + along_x * x + along_y * y) / (1 - along_x * cell[0] - along_y * cell[1])
                *light, alpha = looked_up(rgba, y, x, half, cell)
                seen = np.array(light) + seen * (1 - alpha)
            out[y, x] += cell[4] * seen
    return np.maximum(out, 0)


def same(a, b, gap):
    return a >= 0 and b >= 0 and abs(a - b) <= gap


def surface_colour(rgba, half, plane, gap, met, ray, cell):
    """What a lens cell sees of the surface met at (sheet, row, column) by the ray of the pixel (y, x)."""
    (s, v, u), (y, x) = met, ray
    height, width = plane.shape[1:]
    number, there = plane[s, v, u], half[s, v, u]
    rows = shares(y + there * cell[1], abs(there) * cell[3], height)
    columns = shares(x + there * cell[0], abs(there) * cell[2], width)
    total, left = np.zeros(4), 1.0
    for j, i in np.ndindex(height, width):
        sheet = next((k for k in range(3) if same(plane[k, j, i], number, gap)), None)
        if sheet is not None:
            total += rows[j] * columns[i] * rgba[sheet, j, i]
        if sheet is not None or number - plane[0, j, i] > gap:
            left -= rows[j] * columns[i]
    return total + left * rgba[s, v, u]


def naive_surfaces(rgba, half, plane, gap, cells):
    """Each ray from near to far, through all pixels in their order; the nearest surface that it passes is seen."""
    height, width = plane.shape[1:]
    out = np.zeros((height, width, 4))
    for y, x in np.ndindex(height, width):
        for cell in cells:
            high, low = half.max() + 0.1, half.min() - 0.1
            crossed = [
                (n + 0.5 - at) / u
                for at, u in ((y, cell[1]), (x, cell[0]))
                if u
                for n in range(-10, height + width + 10)
            ]
            stops = [high, *sorted((h for h in crossed if low < h < high), reverse=True), low]
            clear, before = 1.0, None
            for start, end in pairwise(stops):
                if start - end < 1e-9:  # through a corner
                    continue
                at = (start + end) / 2
                v = int(np.clip(np.rint(y + at * cell[1]), 0, height - 1))
                u = int(np.clip(np.rint(x + at * cell[0]), 0, width - 1))
                for s in (2, 0, 1):
                    there = half[s, v, u]
                    if plane[s, v, u] < 0 or there < end:
                        continue
                    goes_on = before is not None and any(
                        same(plane[k, *before], plane[s, v, u], gap) and half[k, *before] < start for k in range(3)
                    )
                    if there > start and not goes_on:
                        continue
                    seen = surface_colour(rgba, half, plane, gap, (s, v, u), (y, x), cell)
                    out[y, x] += cell[4] * clear * seen
                    clear *= 1 - seen[3]
                before = v, u
    return out[..., :3] / out[..., 3:]


def textured(height, width, seed, alpha=None):
    rng = np.random.default_rng(seed)
    alpha = np.ones((height, width)) if alpha is None else alpha
    return np.dstack([rng.random((height, width, 3)) * alpha[..., None], alpha]).astype(np.float32)


def test_layers_equal_the_slow_twin():
    """Two layers of one depth, and between them a plane; nothing is continued beyond where the twin ends."""
    height, width = 8, 10
    rng = np.random.default_rng(1)
    inverse = 0.55 + 0.02 * np.arange(width)[None, :] - 0.013 * np.arange(height)[:, None]
    planes = [
        (textured(height, width, 2), 4.0),
        (textured(height, width, 3, rng.random((height, width))), (1 / inverse).astype(np.float32)),
        (textured(height, width, 4, (rng.random((height, width)) < 0.5) * 1.0), 1.2),
    ]
    bank = PsfBank.disk(LENS)
    cells = aperture_cells(bank, 20)
    per = LENS.coc_per_dioptre / 2
    half = [(LENS.coc(4.0) / 2, 0, 0), (per * (0.55 - 0.5), per * 0.02, -per * 0.013), (LENS.coc(1.2) / 2, 0, 0)]
    # Empty all around, so that what the renderer adds by reflection is empty too.
    around = 8
    scene = LayeredScene.from_patches(
        (height + 2 * around, width + 2 * around),
        [Patch(rgba, depth, around, around) for rgba, depth in planes],
        margin=around,
    )
    expected = naive_layers(
        [(rgba.astype(float), h) for (rgba, _), h in zip(planes, half, strict=True)], (height, width), cells
    )
    np.testing.assert_allclose(render(scene, LENS, bank, method="exact", samples=20), expected, atol=2e-5)


def test_surfaces_equal_the_slow_twin():
    height, width, gap = 7, 9, 1
    rng = np.random.default_rng(5)
    plane = np.full((3, height, width), -1, np.int32)
    plane[0] = np.arange(width)[None, :] // 3
    plane[0, 2:5, 4:7] = 9
    plane[1, 2:5, 4:7] = plane[0, 0, 4:7]
    plane[2, 1, 4:7] = 9
    half = (0.35 * plane - 1.5 + 0.1 * rng.random(plane.shape)).astype(np.float32)
    half = np.where(plane < 0, half[0], half)
    alpha = np.ones(plane.shape)
    alpha[0, 2, 4:7] = 0.8
    alpha[2, 1, 4:7] = 0.3
    rgba = np.concatenate([rng.random((*plane.shape, 3)) * alpha[..., None], alpha[..., None]], -1).astype(np.float32)
    cells = aperture_cells(PsfBank.disk(LENS), 16)
    filters = cell_filters(float(np.abs(half).max() * cells[:, 2:4].max()))
    expected = naive_surfaces(rgba.astype(float), half.astype(float), plane, gap, cells)
    high, low = (np.full((height, width), value, np.float32) for value in (half.max() + 0.1, half.min() - 0.1))
    got = np.empty((height, width, 3), np.float32)
    surfaces = rgba, rgba.reshape(-1), half, plane, np.zeros((height, width), bool), high, low
    render_surfaces(surfaces, gap, cells, (filters.ravel(), filters.shape[0], filters.shape[2]), 0, got)
    np.testing.assert_allclose(got, expected, atol=2e-5)


def test_an_image_and_depth_map_of_a_plane_are_the_layer_that_they_show():
    """Rays that are traced from pixel to pixel meet what Newton's method finds; whole neighbourhoods go a short way."""
    rng = np.random.default_rng(6)
    inverse = 0.4 + 0.006 * np.arange(60)[None, :] + 0.002 * np.arange(50)[:, None]
    depth = (1 / inverse).astype(np.float32)
    coarse = rng.random((13, 16, 3))
    aif = np.kron(coarse, np.ones((4, 4, 1)))[:50, :60].astype(np.float32)
    rgba = np.concatenate([aif, np.ones((50, 60, 1), np.float32)], axis=2)
    seen = render(Scene(aif, depth, margin=12), LENS, method="exact", samples=64)
    layer = render(LayeredScene(rgba[None], depth[None], margin=12), LENS, method="exact", samples=64)
    # Traced surfaces are flat within a pixel: what is met lies up to a few hundredths of a pixel beside.
    assert np.sqrt(np.mean((seen - layer) ** 2)) < 2e-3
    assert np.abs(seen - layer).max() < 0.02


def test_the_cells_of_a_disk_have_its_light_and_its_second_moment():
    for samples in (1, 16, 256, 4096):
        cells = aperture_cells(PsfBank.disk(LENS), samples)
        assert 0.5 * samples < len(cells) <= samples
        x, y, width_x, width_y, share = cells.T
        assert share.sum() == pytest.approx(1)
        np.testing.assert_allclose([share @ x, share @ y], 0, atol=1e-12)
        for at, width in ((x, width_x), (y, width_y)):
            assert share @ (at**2 + width**2 / 12) == pytest.approx(0.25, rel=0.01)


def test_filters_look_parabolas_up_exactly():
    filters = cell_filters(2.0)
    pixels = np.arange(-8, 9)
    # Pixels are averages over their area: that of t^2 about a pixel p is p^2 + 1/12, and the box's adds its own.
    for w, f in ((0, 0), (0, 50), (20, 77), (64, 128)):
        width, at = w / WIDTHS, f / FRACTIONS
        first = int(np.ceil(at - 2 - width / 2))
        shares_ = filters[w, f, : 4 + -(-w // WIDTHS)]
        there = pixels[first + 8 : first + 8 + len(shares_)]
        assert shares_.sum() == pytest.approx(1, abs=1e-6)
        assert shares_ @ there == pytest.approx(at, abs=1e-5)
        assert shares_ @ there**2 == pytest.approx(at**2 + width**2 / 12, abs=1e-4)


@pytest.mark.parametrize("bright_from", [50, 47])
def test_two_blurred_half_planes_follow_the_closed_form(bright_from):
    """A dark card before a wall, blurred alike and on opposite sides of focus, by 12 pixels.

    A point u of the lens sees past the card where x + 6 u >= 50, and the bright wall where x - 6 u >= `bright_from`.
    The layered renderer multiplies the two shares as if they were independent.
    """
    texel = np.arange(400) / 4
    wall, card = np.ones((2, 80, 400, 4), np.float32)
    wall[..., :3] = (texel >= bright_from)[None, :, None]
    card[...] = (texel < 50)[None, :, None] * [0, 0, 0, 1]
    depth = WIDE.depth_at_coc([-12.0, 12.0])
    scene = LayeredScene(np.stack([wall, card]), depth, oversampling=4)
    fine = (np.arange(100 * 64) + 0.5) / 64
    lens = (np.arange(4000) + 0.5) / 2000 - 1
    chord = np.sqrt(1 - lens**2) / np.sqrt(1 - lens**2).sum()
    both = (fine[:, None] + 6 * lens >= 50) & (fine[:, None] - 6 * lens >= bright_from)
    expected = (both @ chord).reshape(100, 64).mean(axis=1)
    got = render(scene, WIDE, method="exact", samples=400)
    np.testing.assert_allclose(got[10, 10:90, 1], expected[10:90], atol=4e-3)
    assert np.abs(render(scene, WIDE)[10, 10:90, 1] - expected[10:90]).max() > 0.05


def test_a_point_of_light_becomes_the_shadow_of_the_aperture_turned_for_near_points():
    pattern = polygon_aperture(3, samples=64)
    pattern[:32] *= 0.5
    bank = PsfBank.aperture(WIDE, pattern)
    for coc in (14.0, -14.0):
        light = np.zeros((61, 61, 4), np.float32)
        light[..., 3] = 1
        light[30, 30, :3] = 5
        scene = LayeredScene(light[None], [float(WIDE.depth_at_coc(coc))])
        out = render(scene, WIDE, bank, method="exact", samples=2048)[..., 0]
        kernel = bank.kernel(coc)
        half = kernel.shape[0] // 2
        expected = np.zeros((61, 61))
        expected[30 - half : 31 + half, 30 - half : 31 + half] = 5 * kernel
        assert np.abs(out - expected).max() < 0.2 * 5 * kernel.max()
        assert np.abs(out - expected).sum() < 0.06 * 5
        # Negative light beside the shadow's edges is cut off.
        assert out.sum() == pytest.approx(5, rel=0.02)


def test_where_one_side_of_an_edge_is_sharp_the_layered_renderer_is_right():
    rng = np.random.default_rng(7)
    smooth = np.kron(rng.random((10, 12, 3)), np.ones((8, 8, 1)))
    wall = np.dstack([smooth, np.ones((80, 96))]).astype(np.float32)
    card = np.zeros_like(wall)
    card[20:60, 30:70] = wall[30:70, 10:50]
    scene = LayeredScene(np.stack([wall, card]), [2.0, 1.2])
    exact = render(scene, LENS, method="exact", samples=256)
    assert np.sqrt(np.mean((exact - render(scene, LENS)) ** 2)) < 2e-3


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10**6), rough=st.floats(0, 1), samples=st.sampled_from([1, 7, 40]))
def test_a_constant_image_stays_constant_whatever_the_depth(seed, rough, samples):
    rng = np.random.default_rng(seed)
    depth = np.exp(rng.uniform(-0.7, 2.5, (17, 20)) * rough + rng.uniform(-0.5, 1))
    depth[rng.random(depth.shape) < 0.2] = np.nan
    depth[0, 0] = 1.0
    scene = Scene(np.full((17, 20, 3), (0.2, 0.7, 3.0), np.float32), depth.astype(np.float32))
    np.testing.assert_allclose(render(scene, LENS, method="exact", samples=samples) / scene.aif, 1.0, atol=1e-5)


def test_a_constant_layered_scene_stays_constant():
    colour = np.array([0.3, 0.6, 2.0], np.float32)
    y, x = np.mgrid[:40, :50]
    depths = [1 / (0.2 + 0.8 * x / 50), np.full((40, 50), 1.5), 1 / (0.7 + 0.4 * y / 40)]
    alphas = [np.ones((40, 50)), (np.hypot(y - 20, x - 25) < 12) * 1.0, (x > 30) * 1.0]
    # A layer's depth may be anything where the layer is transparent.
    depths[2] = np.where(alphas[2] > 0, depths[2], np.nan)
    rgba = [np.dstack([colour * a[..., None], a]) for a in alphas]
    out = render(LayeredScene(np.stack(rgba), np.stack(depths)), LENS, method="exact", samples=30)
    np.testing.assert_allclose(out, np.broadcast_to(colour, out.shape), rtol=1e-5)


def test_nothing_changes_in_focus_behind_an_opaque_layer_or_within_a_margin():
    back, front = textured(40, 50, 8), textured(40, 50, 9)
    other = textured(40, 50, 10)

    def exact(*layers, margin=0):
        rgba, depth = zip(*layers, strict=True)
        return render(LayeredScene(np.stack(rgba), depth, margin=margin), LENS, method="exact", samples=12)

    np.testing.assert_allclose(exact((front, 2.0)), front[..., :3], atol=1e-6)
    np.testing.assert_allclose(exact((back, 4.0), (front, 1.2)), exact((other, 6.0), (front, 1.2)), atol=1e-5)
    whole, within = exact((back, 4.0)), exact((back, 4.0), margin=9)
    np.testing.assert_allclose(within, whole[9:-9, 9:-9], atol=1e-5)


def test_mirrored_scenes_give_mirrored_captures():
    rng = np.random.default_rng(11)
    depth = np.full((30, 36), 5.0, np.float32)
    depth[8:20, 5:17] = 1.1
    aif = rng.random((30, 36, 3), np.float32)
    # Not at its edge, where what is hidden is painted in an order.
    out = render(Scene(aif, depth), LENS, method="exact", samples=60)
    turned = render(Scene(aif[:, ::-1].copy(), depth[:, ::-1].copy()), LENS, method="exact", samples=60)
    np.testing.assert_allclose(turned[:, ::-1], out, atol=1e-4)


def test_wrong_use_is_refused_in_one_sentence():
    scene = Scene(np.ones((20, 20, 3), np.float32), np.full((20, 20), 1.5, np.float32))
    with pytest.raises(InputError, match=r"bank of kind 'gaussian' has none: use PsfBank\.disk or PsfBank\.aperture"):
        render(scene, LENS, PsfBank.gaussian(LENS), method="exact")
    with pytest.raises(InputError, match=r"of kind 'disk' has none"):
        render(scene, LENS, PsfBank.disk(LENS).sampled(1.0, 3.0), method="exact")
    for samples in (0, 2.5):
        with pytest.raises(InputError, match=r"render\.samples must be a whole number from 1"):
            render(scene, LENS, method="exact", samples=samples)
    with pytest.raises(InputError, match=r"'exact' has no model 'eq7'"):
        render(scene, LENS, method="exact", model="eq7")


def test_recipes_render_exactly(tiny):
    recipe = Recipe.parse(recipe_data(render={"method": "exact", "samples": 20}, psf={"kind": "aperture", "blades": 5}))
    maker = SampleMaker(recipe)
    made = maker.make(1)["capture"]
    scene, bank = maker.scene(1), maker.bank
    exact = render(scene, recipe.lens, bank, method="exact", samples=20)
    np.testing.assert_array_equal(made, encode(exact, "srgb"))
    assert Recipe.parse(recipe_data(render={"samples": 256})).hash() == tiny.hash()
    assert Recipe.parse(recipe_data(render={"samples": 16})).hash() != tiny.hash()
    for psf in ({"kind": "gaussian"}, {"kind": "power-exponential"}):
        with pytest.raises(InputError, match=r"'exact' sends rays through an aperture.*use psf\.kind = 'disk'"):
            Recipe.parse(recipe_data(render={"method": "exact"}, psf=psf))
    with pytest.raises(InputError, match=r"render\.model = 'eq7' goes with render\.method = 'layered' only"):
        Recipe.parse(recipe_data(render={"method": "exact", "model": "eq7"}))
