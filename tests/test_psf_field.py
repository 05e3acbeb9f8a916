"""PSFs that vary over the picture: against a slow twin, against rays through a barrel, and in files."""

from functools import partial

import naive
import numpy as np
import pytest
from conftest import recipe_data

from defocal import InputError
from defocal.evaluate.psf_field_map import field_map, field_maps
from defocal.pipelines.psf import write_psf
from defocal.synth import (
    LayeredScene,
    PsfBank,
    Recipe,
    Scene,
    ThinLens,
    dense,
    polygon_aperture,
    render,
    round_aperture,
)
from defocal.synth.apertures import clipped_aperture
from defocal.synth.dense_kernels import flush
from defocal.synth.disk_kernels import ONES
from defocal.synth.layers import hidden_reach, plane_grid
from defocal.synth.psf_clipped import window_displacement
from defocal.synth.psf_field import FieldBank
from defocal.synth.psf_files import bank_arrays, bank_attributes, bank_digest, bank_from
from defocal.synth.psf_sampled import SampledBank

LENS = ThinLens(focal_length=0.05, f_number=2.0, focus_distance=2.0, pixel_pitch=2e-4)
EYES = ThinLens(focal_length=0.05, f_number=2.0, focus_distance=2.0, pixel_pitch=5e-5)
NEAR, FAR = 0.8, 6.0


def random_planes(seed, size=5, planes=7, channels=3):
    kernels = np.random.default_rng(seed).random((planes, channels, size, size)) ** 4
    kernels /= kernels.sum(axis=(2, 3), keepdims=True)
    return SampledBank("test", LENS, kernels, np.linspace(LENS.coc(FAR), LENS.coc(NEAR), planes))


def random_field(channels=3, field_y=(-0.5, 0.1, 0.4), field_x=(-0.9, -0.2, 0.3, 0.6)):
    """Kernels of no symmetry at the nodes of an uneven grid that does not cover the picture."""
    count = len(field_y) * len(field_x)
    return FieldBank("test", tuple(random_planes(k, channels=channels) for k in range(count)), field_y, field_x)


def small_cat_eye(lens=LENS, **changes):
    return PsfBank.cat_eye(lens, **{"clipping": 0.6, "nodes": 5, "coc_step": 0.5} | changes)


def blocks(height, width, seed, depths=(NEAR, 1.3, 2.0, FAR)):
    rng = np.random.default_rng(seed)
    depth = np.full((height, width), max(depths), np.float32)
    for z in sorted(depths, reverse=True):
        y, x = rng.integers(0, height), rng.integers(0, width)
        depth[y : y + height // 2, x : x + width // 2] = z
    return Scene(rng.random((height, width, 3), np.float32), depth)


def layers_of(seed, size=(20, 26)):
    """A wall, a slanted half-transparent layer, and a card in front: [(rgba, depth map)]."""
    rng = np.random.default_rng(seed)
    depths = [np.full(size, 5.0), 1 / np.linspace(0.3, 0.9, size[1])[None].repeat(size[0], 0), np.full(size, 0.9)]
    alphas = [np.ones(size), np.clip(rng.normal(size=size) + 0.3, 0, 1), (rng.random(size) < 0.3) * 1.0]
    return [
        (np.dstack([rng.random((*size, 3)) * a[..., None], a]).astype(np.float32), z.astype(np.float32))
        for a, z in zip(alphas, depths, strict=True)
    ]


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
    """Weights vary from pixel to pixel, and so does coverage: running sums do not end at zero, but at a few 1e-6."""
    spread, ones = np.zeros((4, 1, 16), np.float32), np.zeros((1, 1, 16), np.float32)
    spread[3, 0, 0], ones[0, 0, 0] = 3e-6, 5e-6
    far = np.ones((1, 4, 16), np.float32)
    near, last, weights = np.empty((0, 4, 0), np.float32), np.empty((0, 1, 0), np.int32), np.empty((4, 16), np.float32)
    flush(spread, ones, np.ones((1, 2), np.uint8), ONES, 0, 0, 0, near, far, last, weights)
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


# --- banks, files and datasets


@pytest.mark.parametrize(
    ("field_y", "field_x", "message"),
    [
        ((0.1, 0.1), (0.0,), r"the rows .* must be ascending positions"),
        ((0.0,), (0.0, 240.0), r"the columns .* within 1\.5 half-diagonals"),
        ((0.0, 0.1), (0.0, 0.2), r"a field of 2 x 2 positions needs a bank for each, not 2"),
    ],
)
def test_wrong_nodes_are_refused(field_y, field_x, message):
    with pytest.raises(InputError, match=message):
        FieldBank("test", (random_planes(0), random_planes(1)), field_y, field_x)


def test_banks_that_do_not_belong_together_are_refused():
    with pytest.raises(InputError, match=r"one lens, the same channels and the same planes"):
        FieldBank("test", (random_planes(0), random_planes(1, planes=5)), (0.0,), (0.0, 0.5))


def equal(a, b):
    arrays, others = bank_arrays(a), bank_arrays(b)
    return (
        bank_attributes(a) == bank_attributes(b)
        and arrays.keys() == others.keys()
        and all(np.array_equal(arrays[name][0], others[name][0]) for name in arrays)
    )


def test_saved_fields_come_back_the_same(tmp_path):
    for n, bank in enumerate((random_field(), small_cat_eye().sampled(NEAR, FAR))):
        bank.save(tmp_path / f"{n}.npz")
        again = PsfBank.load(tmp_path / f"{n}.npz")
        assert isinstance(again, FieldBank)
        assert equal(again, bank)
        assert bank_digest(again) == bank_digest(bank)
        scene = blocks(30, 40, 5)
        np.testing.assert_array_equal(render(scene, LENS, again), render(scene, LENS, again.sampled(NEAR, FAR)))


def test_the_positions_are_part_of_the_digest():
    bank = random_field()
    moved = FieldBank("test", bank.banks, bank.field_y, bank.field_x + 1e-9)
    assert bank_digest(moved) != bank_digest(bank)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda arrays: arrays.pop("field_x"), r"no whole PSF bank \('field_x' is missing\)"),
        (
            lambda arrays: arrays.update(kernel=arrays["kernel"][:2]),
            r"its kernel has shape .* for 3 x 4 field positions",
        ),
        (lambda arrays: arrays.update(field_y=arrays["field_y"][::-1]), r"ascending positions"),
    ],
)
def test_damaged_fields_are_refused(change, message):
    bank = random_field()
    arrays = {name: array for name, (array, _, _) in bank_arrays(bank).items()}
    change(arrays)
    with pytest.raises(InputError, match=message):
        bank_from(bank_attributes(bank), arrays, "here")


def test_a_cat_eye_is_stored_whole_and_renders_as_its_planes():
    bank = small_cat_eye(coc_step=0.25)
    stored = bank.sampled(NEAR, FAR)
    depth = np.float32(LENS.depth_at_coc(-2.0))
    rgba = np.ones((1, 40, 50, 4), np.float32)
    rgba[0, ..., :3] = blocks(40, 50, 6).aif
    scene = LayeredScene(rgba, [depth])
    np.testing.assert_allclose(render(scene, LENS, stored), render(scene, LENS, bank), atol=1e-6)


def measured(tmp_path, name="field.npz", **changes):
    """Spots at four corners, in a scrambled order, moved away from the middle of their windows."""
    corners = np.array([(0.6, 0.8), (-0.6, -0.8), (0.6, -0.8), (-0.6, 0.8)])
    y, x = np.mgrid[:15, :15]
    psf = np.zeros((4, 2, 15, 15))
    for n in range(4):
        for k, sigma in enumerate((0.6 + 0.3 * n, 0.5)):
            psf[n, k] = np.exp(-((y - 7) ** 2 + (x - 6 - n % 2) ** 2) / (2 * sigma**2))
    given = {"psf": psf, "field": corners, "coc": np.array([-3.0, 0.0])} | changes
    np.savez(tmp_path / name, **{key: value for key, value in given.items() if value is not None})
    return tmp_path / name


def test_measured_positions_are_put_in_order_and_given_one_size(tmp_path):
    bank = PsfBank.measured(measured(tmp_path), LENS)
    np.testing.assert_array_equal(bank.field_y, [-0.6, 0.6])
    np.testing.assert_array_equal(bank.field_x, [-0.8, 0.8])
    assert {node.size for node in bank.banks} == {(17, 17)}
    own = np.array(bank.facts["centre"])
    np.testing.assert_allclose(own, [(7, 7), (7, 7), (7, 6), (7, 6)], atol=1e-6)
    widths = [float((node.kernels[0, 0] ** 2).sum()) for node in bank.banks]
    assert widths[3] > widths[0] > widths[2] > widths[1], "from the first to the last, spots were wider"
    for node in bank.banks:
        y, x = np.nonzero(node.kernels[1, 0] == node.kernels[1, 0].max())
        assert (y, x) == (8, 8)


def test_each_measured_position_may_say_where_its_axis_is(tmp_path):
    centre = np.array([(7, 6), (7, 7), (7, 6), (8, 7)], float)
    bank = PsfBank.measured(measured(tmp_path, centre=centre), LENS, size=9)
    assert bank.facts["centre"] == centre[[1, 3, 2, 0]].tolist()
    y, _ = np.unravel_index(bank.banks[1].kernels[1, 0].argmax(), (9, 9))
    assert y == 3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"field": np.zeros(4)}, r"'field' has shape \(4,\).*heights along one radius must be turned on to a grid"),
        ({"field": np.zeros((3, 2))}, r"'psf' begins with 4 positions"),
        ({"field": np.array([(0, 0), (0, 1), (1, 0), (1, 0.5)])}, r"are no grid: give one position for every pair"),
        ({"field": np.array([(0, 0), (0, 300), (200, 0), (200, 300)])}, r"within 1\.5 half-diagonals"),
        ({"centre": np.zeros((3, 2))}, r"'centre' must be \(y, x\), or one for each of the 4 positions"),
        ({"psf": -np.ones((4, 2, 5, 5))}, r"at field position 1: .*plane 0 of 'psf' has 25 values that are negative"),
        ({"psf": None}, r"has no array 'psf'|'psf' begins with"),
    ],
)
def test_wrong_fields_of_measurements_are_refused(tmp_path, changes, message):
    with pytest.raises(InputError, match=message):
        PsfBank.measured(measured(tmp_path, **changes), LENS)


@pytest.mark.parametrize(
    ("psf", "message"),
    [
        ({"kind": "cat-eye", "nodes": 6}, r"psf: nodes must be odd"),
        ({"kind": "cat-eye", "roundness": 0.5}, r"give its number of blades"),
        ({"kind": "cat-eye", "clipping": 1.0}, r"psf\.clipping"),
    ],
)
def test_wrong_recipes_are_refused(psf, message):
    with pytest.raises(InputError, match=message):
        Recipe.parse(recipe_data(psf=psf))


# --- pictures


def test_the_map_shows_kernels_where_they_stand():
    kernels = np.zeros((2, 3, 5, 5), np.float32)
    kernels[..., 2, 2] = 1
    kernels[0, 2, 2, 2], kernels[0, 2, 1, 3] = 0, 1
    picture = field_map(kernels, 60).astype(int).sum(axis=-1)
    cells = picture.reshape(2, picture.shape[0] // 2, 3, -1).transpose(0, 2, 1, 3)
    brightest = [[np.mean(np.nonzero(cell == cell.max()), axis=1) for cell in row] for row in cells]
    y, x = brightest[0][2] - brightest[0][0]
    assert y < 0 < x
    np.testing.assert_array_equal(brightest[1][2], brightest[0][0])
    with pytest.raises(InputError, match=r"that hold some light"):
        field_maps({"dark": np.zeros((1, 1, 3, 3))}, 300)


def test_the_sheet_and_the_words_say_that_kernels_vary(tmp_path):
    recipe = tmp_path / "r.toml"
    recipe.write_text(Recipe.parse(recipe_data(psf={"kind": "cat-eye", "nodes": 3})).to_toml())
    facts, written = write_psf(str(recipe), tmp_path / "sheet.png", tmp_path / "bank.npz")
    assert "3 x 3 positions" in dict(facts)["field"]
    assert all(path.stat().st_size > 1000 for path in written)
    assert isinstance(PsfBank.load(tmp_path / "bank.npz"), FieldBank)
