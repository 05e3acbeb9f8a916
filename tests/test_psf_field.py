"""PSFs that vary over the picture: against a slow twin, and against rays through a barrel."""

from functools import partial

import naive
import numpy as np
import pytest
from fields import EYES, FAR, LENS, NEAR, blocks, layers_of, random_field, random_planes, small_cat_eye

from defocal import InputError
from defocal.synth import (
    LayeredScene,
    PsfBank,
    Scene,
    dense,
    polygon_aperture,
    render,
    round_aperture,
)
from defocal.synth.apertures import clipped_aperture
from defocal.synth.dense_kernels import flush
from defocal.synth.disk_kernels import ONES
from defocal.synth.field_canvas import FieldCanvas
from defocal.synth.layers import hidden_reach, plane_grid
from defocal.synth.psf_clipped import window_displacement
from defocal.synth.psf_field import FieldBank


def layered(layers):
    return LayeredScene(np.stack([rgba for rgba, _ in layers]), np.stack([depth for _, depth in layers]))


def widened(image, border):
    return np.pad(image, [(border, border)] * 2 + [(0, 0)] * (image.ndim - 2), mode="symmetric")


BANKS = {
    "three": random_field(),
    "one": random_field(1),
    "row": random_field(1, field_y=(0.0,)),
    "eyes": small_cat_eye(),
}


@pytest.fixture(params=["taps", "transform"])
def forced(request, monkeypatch):
    """Blur everything tap by tap, or everything by Fourier transform."""
    monkeypatch.setattr(dense, "FFT_PER_TAP", {"taps": np.inf, "transform": 0.0}[request.param])


# --- rendering


@pytest.mark.parametrize("bank", BANKS.values(), ids=BANKS)
def test_surfaces_equal_the_slow_twin(bank, forced, monkeypatch):
    scene = blocks(22, 27, 1)
    coc = LENS.coc(np.array([FAR, NEAR]))
    border = int(bank.reach(coc).max())
    rgba = widened(np.dstack([scene.aif, np.ones(scene.depth.shape, np.float32)]), border)
    depth = widened(scene.depth, border)
    grid = plane_grid(NEAR, FAR, LENS, 16)
    bank = bank.averaged
    reach = hidden_reach(bank, (float(coc[0]), float(coc[1])))
    monkeypatch.setattr(naive, "blur_by_slot", partial(naive.blur_by_field, edge=border))
    expected = naive.render_surfaces(rgba, LENS.coc(depth), grid.number(depth), grid.gap, bank, reach)
    got = render(scene, LENS, bank, planes=16)
    np.testing.assert_allclose(got, expected[border:-border, border:-border], atol=1e-5)


@pytest.mark.parametrize("bank", BANKS.values(), ids=BANKS)
def test_true_layers_equal_the_slow_twin(bank, forced, monkeypatch):
    layers = layers_of(3)
    border = int(bank.reach(LENS.coc(np.array([5.0, 0.9]))).max())
    wide = [(widened(rgba, border), widened(depth, border)) for rgba, depth in layers]
    monkeypatch.setattr(naive, "blur_by_slot", partial(naive.blur_by_field, edge=border))
    expected = naive.render_varied_layers(wide, bank, LENS)
    got = render(layered(layers), LENS, bank)
    np.testing.assert_allclose(got, expected[border:-border, border:-border], atol=1e-5)


@pytest.mark.parametrize("model", ["surfaces", "eq7"])
def test_a_field_that_is_the_same_everywhere_is_no_field(model):
    bank = random_planes(0)
    same = FieldBank("test", (bank,) * 6, (-0.4, 0.4), (-0.5, 0.0, 0.5))
    for scene in (blocks(40, 50, 2), layered(layers_of(4))):
        got, expected = (render(scene, LENS, b, model=model) for b in (same, bank))
        np.testing.assert_allclose(got, expected, atol=2e-6 if isinstance(scene, Scene) else 2e-3)


@pytest.mark.parametrize(
    "options", [{"model": "normalised-over"}, {"model": "gather"}, {"model": "hasinoff"}, {"method": "exact"}]
)
def test_what_needs_one_kernel_for_the_whole_picture_refuses_fields(options):
    with pytest.raises(InputError, match=r"PSFs vary over the picture|'exact' sends rays through an aperture"):
        render(blocks(30, 40, 7), LENS, small_cat_eye(), **options)


def test_oversampled_layers_are_averaged_to_pixels_first():
    rgba = np.random.default_rng(9).random((1, 60, 80, 4), np.float32)
    rgba[..., 3] = 1
    fine = LayeredScene(rgba, [1.2], oversampling=2)
    bank = small_cat_eye()
    np.testing.assert_array_equal(render(fine, LENS, bank), render(fine.averaged(), LENS, bank))


@pytest.mark.parametrize("seed", range(4))
def test_a_constant_image_stays_constant_whatever_the_depth(seed, forced):
    rng = np.random.default_rng(seed)
    depth = rng.uniform(NEAR, FAR, (17, 21)).astype(np.float32)
    scene = Scene(np.full((17, 21, 3), (0.2, 0.7, 3.0), np.float32), depth)
    for bank in (random_field(), small_cat_eye()):
        np.testing.assert_allclose(render(scene, LENS, bank) / scene.aif, 1.0, atol=2e-5)


def test_an_opaque_layer_lets_nothing_through_where_kernels_vary():
    """Kernels that turn and shrink over the picture pile up here and thin out there."""
    wall, card = np.ones((60, 80, 4), np.float32), np.zeros((60, 80, 4), np.float32)
    card[20:, 30:, 3] = 1
    out = render(LayeredScene(np.stack([wall, card]), [FAR, NEAR]), LENS, small_cat_eye())
    assert out[:8, :18].min() > 1 - 1e-5
    assert out[34:, 44:].max() < 1e-5


def test_rounding_that_piles_up_hides_nothing():
    """Coverage that varies from pixel to pixel leaves a few 1e-6 in its running sums."""
    spread, ones = np.zeros((4, 1, 16), np.float32), np.zeros((1, 1, 16), np.float32)
    spread[3, 0, 0], ones[0, 0, 0] = 3e-6, 5e-6
    far = np.ones((1, 4, 16), np.float32)
    near, last, weights = np.empty((0, 4, 0), np.float32), np.empty((0, 1, 0), np.int32), np.empty((4, 16), np.float32)
    flush(spread, ones, np.ones((1, 2), np.uint8), ONES, 0, 0, 0, near, far, last, weights, FieldCanvas.least)
    np.testing.assert_allclose(far, 1, atol=1e-5)
    assert not spread.any()


@pytest.mark.parametrize("axis", [0, 1])
def test_mirrored_scenes_give_mirrored_captures(axis):
    scene, bank = blocks(40, 50, 8), small_cat_eye()
    mirrored = Scene(np.flip(scene.aif, axis), np.flip(scene.depth, axis))
    np.testing.assert_allclose(render(mirrored, LENS, bank), np.flip(render(scene, LENS, bank), axis), atol=2e-6)


def test_points_of_light_become_the_kernels_of_their_positions():
    """In all, no light is lost; a margin and what is around the picture do not move the field."""
    bank, depth, margin = small_cat_eye(EYES, clipping=0.8), EYES.depth_at_coc(-5.0), 12
    aif = np.zeros((84, 104, 3), np.float32)
    points = [(16, 18), (40, 52), (30, 88)]
    for y, x in points:
        aif[y, x] = 1
    scene = Scene(aif, np.full((84, 104), depth, np.float32), margin=margin)
    out = render(scene, EYES, bank, model="eq7")[..., 0]
    assert out.sum() == pytest.approx(3, rel=1e-5)
    out = np.pad(out, margin)
    for y, x in points:
        position = (np.array([y, x]) - [41.5, 51.5]) / (np.hypot(60, 80) / 2)
        kernel = bank.kernel(-5.0, tuple(position))
        r = len(kernel) // 2
        np.testing.assert_allclose(out[y - r : y + r + 1, x - r : x + r + 1], kernel, atol=1e-6)


# --- cat's eyes


def traced(coc, field, *, clipping, rim, corner=0.2, rays=1680):
    """Trace `rays` x `rays` from a point through a window and the pupil behind it: offsets in the picture, pixels.

    `rays` is a multiple of the CoC. `corner` is the tangent of the angle between the axis and the picture's corner.
    """
    z, radius = EYES.depth_at_coc(coc), EYES.aperture_diameter / 2
    slope = np.array(field) * corner
    moved = window_displacement(clipping, rim) * radius
    distance = moved / (corner + moved / z)  # of the window before the pupil
    seen_radius = rim * radius * (1 - distance / z)
    u = radius * (2 * np.indices((rays, rays)).reshape(2, -1).T + 1 - rays) / rays
    u = u[(u**2).sum(axis=1) <= radius**2]
    at_window = u + (slope * z - u) * distance / z
    u = u[(at_window**2).sum(axis=1) <= seen_radius**2]
    in_focus = u + (slope * z - u) * EYES.focus_distance / z
    return (in_focus - slope * EYES.focus_distance) * EYES.image_distance / (EYES.focus_distance * EYES.pixel_pitch)


@pytest.mark.parametrize("coc", [-7.0, 7.0])
@pytest.mark.parametrize("field", [(0.0, 0.0), (0.0, 1.0), (0.5, -0.5), (-1.0, 0.5)])
def test_kernels_are_what_rays_through_a_barrel_make(coc, field):
    optics = {"clipping": 0.4, "rim": 1.2}
    kernel = PsfBank.cat_eye(EYES, nodes=5, **optics).kernel(coc, field)
    half = len(kernel) // 2
    edges = np.arange(-half, half + 2) - 0.5
    rays = traced(coc, field, **optics)
    counts, _, _ = np.histogram2d(rays[:, 0], rays[:, 1], (edges, edges))
    np.testing.assert_allclose(counts / len(rays), kernel, atol=1e-4)


def test_a_front_window_clips_far_points_outside_and_near_points_inside():
    bank = small_cat_eye()
    far, near = (bank.kernel(c, (0.0, 1.0)) for c in (-7.0, 7.0))
    offset = np.arange(len(far)) - len(far) // 2
    assert far.sum(axis=0) @ offset < -0.5, "the light of far points is moved towards the centre"
    np.testing.assert_allclose(near, far[::-1, ::-1], atol=1e-7)
    rear = small_cat_eye(side="rear")
    np.testing.assert_allclose(rear.kernel(-7.0, (0.5, 1.0)), bank.kernel(-7.0, (-0.5, -1.0)), atol=1e-7)


def test_on_the_axis_nothing_is_clipped_and_in_the_corner_what_was_asked_for():
    iris = polygon_aperture(6, rotation=0.2)
    for given, expected in ((None, round_aperture()), (iris, iris)):
        bank = PsfBank.cat_eye(LENS, given, clipping=0.5)
        np.testing.assert_allclose(bank.kernel(6.25), PsfBank.aperture(LENS, expected).kernel(6.25), atol=1e-7)
    wide = PsfBank.cat_eye(LENS, clipping=0.3, rim=1.5)
    begins = 0.5 / window_displacement(0.3, 1.5)
    inner = [wide.banks[k].slot_kernels(60) for k, (y, x) in enumerate(nodes(wide)) if np.hypot(y, x) <= begins]
    assert 1 < len(inner) < 81
    for kernel in inner:
        np.testing.assert_allclose(kernel, inner[0], atol=1e-9)
    for clipping, rim in ((0.1, 1.0), (0.5, 1.0), (0.7, 1.6), (0.3, 40.0)):
        left = clipped_aperture(round_aperture(), (0.6 * window_displacement(clipping, rim), 0), rim)
        corner = clipped_aperture(round_aperture(), (0, -window_displacement(clipping, rim)), rim)
        assert corner.sum() / round_aperture().sum() == pytest.approx(1 - clipping, abs=1e-3)
        assert left.sum() > corner.sum()


def nodes(bank):
    return [(y, x) for y in bank.field_y for x in bank.field_x]


def test_a_clipped_aperture_is_the_overlap_of_two_disks():
    n = 40
    fine = (np.arange(n * 25) + 0.5) / (n * 25) * 2 - 1
    y, x = fine[:, None], fine[None, :]
    both = (y**2 + x**2 <= 1) & ((y - 0.3) ** 2 + (x + 0.5) ** 2 <= 1.1**2)
    expected = both.reshape(n, 25, n, 25).mean(axis=(1, 3))
    got = clipped_aperture(round_aperture(n), (0.3, -0.5), 1.1)
    error = np.abs(got - expected)
    assert (error > 0.01).sum() <= 4, "only where both edges cut a cell"
    assert error.sum() / expected.sum() < 2e-3


def test_more_nodes_come_nearer_to_the_kernels_between_them():
    field, errors = (0.3, 0.45), []
    exact = clipped_aperture(round_aperture(), tuple(-window_displacement(0.5, 1.0) * np.array(field)), 1.0)
    expected = PsfBank.aperture(LENS, exact).kernel(-7.0)
    for count in (3, 9, 33):
        kernel = PsfBank.cat_eye(LENS, clipping=0.5, nodes=count).kernel(-7.0, field)
        errors.append(np.abs(kernel - np.pad(expected, (len(kernel) - len(expected)) // 2)).sum())
    assert errors[0] > 2 * errors[1] > 4 * errors[2]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"clipping": 0.0}, r"psf\.clipping must be above 0 and at most 0\.9"),
        ({"clipping": 0.95}, r"psf\.clipping"),
        ({"rim": 0.9}, r"psf\.rim must be at least 1"),
        ({"side": "left"}, r"psf\.side must be 'front' or 'rear'"),
        ({"nodes": 4}, r"psf\.nodes must be an odd number from 3 to 33"),
        ({"transmission": np.zeros((8, 8))}, r"lets some light through"),
    ],
)
def test_wrong_barrels_are_refused(changes, message):
    with pytest.raises(InputError, match=message):
        PsfBank.cat_eye(LENS, **changes)


def test_an_aperture_that_the_barrel_hides_is_refused():
    slit = np.zeros((16, 16))
    slit[:, :2] = 1
    bank = PsfBank.cat_eye(LENS, slit, clipping=0.9)
    with pytest.raises(InputError, match=r"leaves no light of the aperture near a corner: lower psf\.clipping"):
        bank.sampled(NEAR, FAR)
