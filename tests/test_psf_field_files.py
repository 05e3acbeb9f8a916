"""PSFs that vary over the picture: banks of them, in files and datasets, and as pictures."""

import numpy as np
import pytest
from conftest import recipe_data
from fields import FAR, LENS, NEAR, blocks, random_field, random_planes, small_cat_eye

from defocal import InputError
from defocal.evaluate.psf_field_map import field_map, field_maps
from defocal.pipelines.psf import write_psf
from defocal.synth import (
    LayeredScene,
    PsfBank,
    Recipe,
    render,
)
from defocal.synth.psf_field import FieldBank
from defocal.synth.psf_files import bank_arrays, bank_attributes, bank_digest, bank_from


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
