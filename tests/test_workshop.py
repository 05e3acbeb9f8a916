"""Masks for the workshop: cells, levels, files that read back as what they say, and what making does to the PSFs."""

import json
import math
import re

import cv2
import numpy as np
import pytest
from commanding import defocal, refused
from conftest import recipe_data
from PIL import Image

from defocal import InputError
from defocal.evaluate.mask_page import MaskPage, mask_page
from defocal.pipelines.generate import create, run
from defocal.pipelines.making import Subject, find_subject, view_of
from defocal.pipelines.plate import MadeMask, Plate, View, change, cut, efficiency, quantise, wave_height
from defocal.synth import (
    AmplitudeMask,
    ClearMask,
    HeightMap,
    Recipe,
    SpiralMask,
    ZernikeMask,
    load_mask,
    open_store,
    save_mask,
)
from defocal.synth.banks import mask_digest
from defocal.synth.pupil import mask_psfs
from defocal.synth.pupil.files import load_mask_for
from defocal.synth.samples import SampleMaker

GREEN = View(wavelengths=(550e-9,), pixels=(0.5,), defocus=np.array([-6.0, 0.0, 6.0]), size=41, samples=128)
ASTIGMATIC = ZernikeMask((0, 0, 0, 0, 0, 1.2, 0, 0.4))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The folder of a mask for the workshop, and the file that it was made from."""
    folder = tmp_path_factory.mktemp("mask")
    save_mask(SpiralMask(lobes=1.3, confinement=0.62, form="rings"), folder / "learned.json")
    words = ("--diameter", "3 mm", "--cell", "10 um")
    done = defocal("mask", folder / "learned.json", folder / "out", *words)
    assert done.exit_code == 0, done.output
    return folder / "out", done.output


@pytest.mark.parametrize("levels", [2, 3, 4, 8, 16])
def test_levels_cost_what_theory_says(levels):
    """Swanson 1989: N levels over one wave diffract sinc(1 / N)^2 into the order that is wanted."""
    mask = SpiralMask()
    plate = cut(mask, 4e-3, 4e-6)
    quantised = quantise(plate, levels, wave_height(mask))
    assert quantised.waves
    design, coarse = (GREEN.fields(MadeMask.of(one, mask), 1000) for one in (plate, quantised.on(plate)))
    assert efficiency(design, coarse)[0] == pytest.approx(np.sinc(1 / levels) ** 2, abs=0.006)


def test_a_plate_holds_the_heights_of_the_mask_where_they_belong():
    plate = cut(ASTIGMATIC, 2e-3, 20e-6)
    assert plate.heights.shape == (100, 100)
    assert plate.span == pytest.approx(1.0)
    at = (np.array([20, 77]) + 0.5) / 50 - 1
    (y, x), inside = np.meshgrid(at, at, indexing="ij"), plate.inside()
    wanted = ASTIGMATIC.height(x, y)
    found = plate.heights[np.ix_([20, 77], [20, 77])]
    np.testing.assert_allclose(found - found[0, 0], wanted - wanted[0, 0], atol=1e-13)
    assert plate.heights[0, 0] == plate.heights[-1, 3] == 0
    assert plate.heights[inside].min() == 0
    assert inside.mean() == pytest.approx(math.pi / 4, abs=0.005)
    uneven = cut(ASTIGMATIC, 2e-3, 21e-6)
    assert uneven.heights.shape == (96, 96)
    assert uneven.span == pytest.approx(96 * 21 / 2000)


def test_a_plate_in_the_pupil_has_the_masks_psfs():
    design = GREEN.psfs(GREEN.fields(ASTIGMATIC, 0), ASTIGMATIC.wavelength)
    for cell in (4e-6, 7e-6):
        plate = cut(ASTIGMATIC, 2e-3, cell)
        again = GREEN.psfs(GREEN.fields(MadeMask.of(plate, ASTIGMATIC), 500), ASTIGMATIC.wavelength)
        assert change(design, again).max() < 0.01
    by_bank = mask_psfs(
        ASTIGMATIC, GREEN.defocus, 550e-9, pitch=0.5 * 550e-9, f_number=1.0, size=41, samples=128, oversampling=8
    )
    np.testing.assert_allclose(design[:, 0], by_bank, atol=1e-6)


def test_levels_divide_a_wave_or_the_relief():
    wave = wave_height(ASTIGMATIC)
    smooth = cut(ZernikeMask((0, 0, 0, 6.0)), 2e-3, 10e-6)
    assert smooth.relief > 2 * wave
    levels = quantise(smooth, 8, wave)
    assert not levels.waves
    assert levels.heights[-1] == pytest.approx(smooth.relief)
    wrapped = quantise(cut(ZernikeMask((0, 0, 0, 6.0)), 2e-3, 10e-6, wrap=True), 8, wave)
    assert wrapped.waves
    assert wrapped.step == pytest.approx(wave / 8)
    assert wrapped.index.max() == 7
    assert quantise(smooth, 6, wave).etches == []
    np.testing.assert_allclose(wrapped.etches, wave * np.array([1, 2, 4]) / 8)
    for count in (1, 257):
        with pytest.raises(InputError, match="--levels must be from 2 to 256"):
            quantise(smooth, count, wave)


@pytest.mark.parametrize("levels", [2, 4, 5, 64])
def test_a_mask_that_has_the_levels_keeps_them(levels):
    wave = wave_height(SpiralMask())
    given = np.random.default_rng(levels).integers(0, levels, (40, 40))
    given[20, 19:21] = 0, levels - 1
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, given.shape) * wave / 65535
    plate = Plate((given * wave / levels + noise - noise.min()).astype(np.float32), 1e-6, 40e-6)
    once = quantise(plate, levels, wave)
    np.testing.assert_array_equal(once.index, given)
    np.testing.assert_array_equal(quantise(once.on(plate), levels, wave).index, given)


def test_the_files_are_what_they_say(made):
    out, _ = made
    said = json.loads((out / "mask-export.json").read_text())
    assert {path.name for path in out.iterdir()} == {
        "heights.tif", "levels.tif", "etch-1.png", "etch-2.png", "etch-3.png", "mask.json", "mask-export.json",
        "mask.html",
    }  # fmt: skip
    mask = load_mask(out / "mask.json")
    assert said["mask"]["sha256"] == mask_digest(mask)
    plate = cut(mask, 3e-3, 10e-6)
    per_digit = said["heights"]["metres_per_digit"]
    with Image.open(out / "heights.tif") as picture:
        digits = np.asarray(picture)
        tags = picture.tag_v2
        assert digits.dtype == np.uint16
        assert (tags[282], tags[283], tags[296]) == (1000, 1000, 3)
        assert repr(per_digit) in tags[270]
    np.testing.assert_array_equal(cv2.imread(str(out / "heights.tif"), cv2.IMREAD_UNCHANGED), digits)
    assert np.abs(digits * per_digit - plate.heights).max() <= 0.5001 * per_digit
    assert digits.max() == 65535
    with Image.open(out / "levels.tif") as picture:
        index = np.asarray(picture)
    np.testing.assert_array_equal(index, quantise(plate, 8, wave_height(mask)).index)
    total = np.zeros(index.shape)
    for step in said["etch_steps"]:
        with Image.open(out / step["file"]) as picture:
            assert picture.mode == "1"
            assert picture.info["dpi"][0] == pytest.approx(0.0254 / 10e-6, rel=1e-4)
            total += np.asarray(picture) * step["depth_m"]
    np.testing.assert_allclose(total, np.array(said["levels"]["heights_m"])[index], atol=1e-15)


def test_what_is_read_back_has_the_psfs_that_are_told(made):
    """By another way than the export's: a height map in the pupil, of 300 cells that fit it."""
    out, _ = made
    said = json.loads((out / "mask-export.json").read_text())
    mask = load_mask(out / "mask.json")
    with Image.open(out / "heights.tif") as picture:
        heights = np.asarray(picture) * said["heights"]["metres_per_digit"]
    with Image.open(out / "levels.tif") as picture:
        levels = np.array(said["levels"]["heights_m"])[np.asarray(picture)]
    psi = np.array(said["defocus_rad"])
    optics = {"pitch": 0.5 * 550e-9, "f_number": 1.0, "size": 73, "samples": 256, "oversampling": 4}
    design, cells, few = (
        np.asarray(mask_psfs(m, psi, 550e-9, **optics))[:, None] for m in (mask, HeightMap(heights), HeightMap(levels))
    )
    green = said["quality"][1]
    assert green["wavelength_m"] == 550e-9
    assert change(design, cells).mean() == pytest.approx(green["psf_change_cells"], rel=0.1)
    assert change(design, few).mean() == pytest.approx(green["psf_change_made"], rel=0.1)
    assert green["psf_change_cells"] < 0.05 < green["psf_change_made"] < 0.2
    assert green["efficiency_made"] == pytest.approx(np.sinc(1 / 8) ** 2, abs=0.04)
    assert green["psf_change_too_deep"] > green["psf_change_made"]


def test_zones_of_a_spiral(made, tmp_path):
    """Hard ones are listed; soft ones are not what such a list describes, and that is said."""
    assert "no zones.csv: zones of the form 'rings' have soft edges" in made[1]
    save_mask(SpiralMask(lobes=1.3, confinement=0.62), tmp_path / "hard.json")
    words = ("--diameter", "3 mm", "--cell", "10 um")
    assert defocal("mask", tmp_path / "hard.json", tmp_path / "hard", *words).exit_code == 0
    rows = [line.split(",") for line in (tmp_path / "hard/zones.csv").read_text().splitlines()]
    assert rows[0] == ["zone", "inner_radius_m", "outer_radius_m", "charge"]
    assert len(rows) == 8
    assert float(rows[-1][2]) == pytest.approx(1.5e-3)
    assert float(rows[3][2]) == pytest.approx(1.5e-3 * (3 / 7) ** 0.62)
    assert float(rows[3][3]) == pytest.approx(2 * 1.3 + 1)


def test_the_page_and_the_command_tell_it(made):
    out, said = made
    page = (out / "mask.html").read_text()
    for words in ("NOA61", "1 mm", "etch-3.png", "all depths 5 % too deep", "94.96 %", "as made", "460 nm", "level 7"):
        assert words in page, words
    assert page.count("<img ") == 3 + 2 * 3 * 7
    assert "http" not in page.replace("http-equiv", "").replace("http://www.w3.org", "")
    assert "<h1>Phase mask: " in page
    assert "Phase mask mask" not in page
    assert re.search(r"left:100\.00%\">977\.6<", page)
    assert all(f">{angle}</text>" in page for angle in ("\u2212180", "\u221290", "90", "180"))
    assert "\u03c8 +10.00 rad" in page
    for words in (
        "cutting the mask into cells",
        "Next: open",
        "300 x 300 of 10 um",
        "one wave is 977.6 nm",
        "3, of 122.20, 244.40, 488.80 nm",
        "Wrote",
        " % of it at 640, 550, 460 nm goes where the design sends it",
        " % at 640, 550, 460 nm with all depths wrong by 5 %",
    ):
        assert words in said, words


CAMERA = {"focal_length": "50 mm", "defocus": [-4, 4], "pixel_pitch": "15 um"}


def small_recipe(**mask):
    data = recipe_data(psf={"kind": "mask", "mask": mask, "planes": 5, "size": 15, "samples": 64}, scenes={"count": 1})
    data["camera"] = CAMERA
    return Recipe.parse(data)


def test_a_recipes_mask_and_a_datasets(tmp_path):
    recipe = small_recipe(kind="spiral", zones=3)
    (tmp_path / "r.toml").write_text(recipe.to_toml())
    maker = SampleMaker(recipe)
    assert not run(tmp_path / "d", maker, create(tmp_path / "d", maker)).failed
    one = defocal("mask", tmp_path / "r.toml", tmp_path / "one", "--levels", 4, "--cell", "20 um")
    two = defocal("mask", tmp_path / "d", tmp_path / "two", "--levels", 4, "--cell", "20 um")
    assert one.exit_code == two.exit_code == 0, one.output + two.output
    for path in (tmp_path / "one").iterdir():
        assert (tmp_path / "two" / path.name).read_bytes() == path.read_bytes(), path.name
    said = json.loads((tmp_path / "one/mask-export.json").read_text())
    assert said["plate"]["pupil_diameter_m"] == pytest.approx(recipe.lens.aperture_diameter)
    assert len(said["etch_steps"]) == 2


def test_a_mask_from_a_file_in_the_camera_of_a_recipe(tmp_path):
    save_mask(SpiralMask(zones=2), tmp_path / "m.json")
    (tmp_path / "r.toml").write_text(small_recipe(kind="spiral").to_toml())
    subject = find_subject(str(tmp_path / "m.json"), str(tmp_path / "r.toml"), ["psf.size=17"])
    assert subject.mask.zones == 2
    view, lens = view_of(subject), subject.lens
    assert (view.size, view.samples, view.wavelengths) == (17, 64, (640e-9, 550e-9, 460e-9))
    np.testing.assert_allclose(view.defocus[[0, -1]], [-4, 4])
    assert view.pixels[1] == pytest.approx(15e-6 / (550e-9 * lens.working_f_number))


@pytest.mark.parametrize(("far", "near"), [(-0.3, 10), (-10, 0.3), (-6, 4), (-4, 4)])
def test_planes_reach_both_ends_and_hold_the_focus(tmp_path, far, near):
    recipe = Recipe.parse(small_recipe(kind="spiral").to_dict() | {"camera": {**CAMERA, "defocus": [far, near]}})
    psi = view_of(Subject(SpiralMask(), "m", recipe)).defocus
    np.testing.assert_allclose(psi[[0, -1]], [far, near], atol=1e-9)
    assert len(psi) == 7
    assert (np.diff(psi) > 0).all()
    assert (psi == 0).any()


def test_a_mask_file_names_the_camera_that_it_is_for(tmp_path):
    """Its pupil need not be told, and goes on with the mask; a file without a camera is as before."""
    (tmp_path / "my-run").mkdir()
    lens = small_recipe(kind="spiral").lens
    save_mask(SpiralMask(zones=2), tmp_path / "my-run/mask.json", lens)
    done = defocal("mask", tmp_path / "my-run/mask.json", tmp_path / "out", "--cell", "20 um")
    assert done.exit_code == 0, done.output
    assert f"{lens.aperture_diameter * 1e3:.6g} mm across (of the camera)" in done.output
    assert "<h1>Phase mask: my-run</h1>" in (tmp_path / "out/mask.html").read_text()
    assert load_mask_for(tmp_path / "out/mask.json")[1] == lens
    said = json.loads((tmp_path / "out/mask-export.json").read_text())["camera"]
    assert said["f_number"] == lens.f_number
    words = ("--cell", "20 um", "--diameter", "2 mm")
    assert defocal("mask", tmp_path / "my-run/mask.json", tmp_path / "other", *words).exit_code == 0
    assert load_mask_for(tmp_path / "other/mask.json")[1].aperture_diameter == pytest.approx(2e-3)


def test_the_mask_of_a_dataset_is_taken_out_of_it(tmp_path):
    save_mask(HeightMap(np.random.default_rng(1).random((12, 12)) * 4e-7), tmp_path / "m.json")
    recipe = small_recipe(kind="file", path=str(tmp_path / "m.json"), wavelength="550 nm")
    maker = SampleMaker(recipe)
    assert not run(tmp_path / "d", maker, create(tmp_path / "d", maker)).failed
    (tmp_path / "m.json").unlink()
    assert defocal("mask", tmp_path / "d", tmp_path / "out", "--cell", "30 um").exit_code == 0
    store = open_store(tmp_path / "d")
    assert mask_digest(load_mask(tmp_path / "out/mask.json")) == store.recipe.psf.mask.sha256
    assert defocal("plan", tmp_path / "d/recipe.toml").exit_code == 2
    done = defocal("plan", tmp_path / "d/recipe.toml", "--mask", tmp_path / "out/mask.json")
    assert done.exit_code == 0, done.output
    assert store.recipe.hash()[:12] in done.output
    assert not (tmp_path / "out/zones.csv").exists()


def test_light_beyond_the_visible_is_looked_at_in_its_own_wavelength(tmp_path):
    save_mask(SpiralMask(zones=2, wavelength=940e-9), tmp_path / "m.json")
    words = ("--diameter", "1 mm", "--cell", "10 um", "--levels", 3, "--etch-error", 0)
    done = defocal("mask", tmp_path / "m.json", tmp_path / "out", *words)
    assert done.exit_code == 0, done.output
    said = json.loads((tmp_path / "out/mask-export.json").read_text())
    (quality,) = said["quality"]
    assert quality["wavelength_m"] == 940e-9
    assert quality["psf_change_too_deep"] == quality["psf_change_made"]
    assert said["etch_steps"] == []


@pytest.mark.parametrize(
    ("mask", "words", "what"),
    [
        (SpiralMask(), (), "give the pupil's --diameter"),
        (SpiralMask(), ("--diameter", "2 m"), "below 1 m"),
        (SpiralMask(), ("--diameter", "5 miles"), "--diameter: '5 miles' is not a number with one of the units"),
        (SpiralMask(), ("--diameter", "5 mm", "--cell", "0.2 um"), "16 to 8192 can be written"),
        (
            ZernikeMask((0, 0, 0, 40)),
            ("--diameter", "1 mm", "--cell", "9 um"),
            "too coarse: .* '[0-9.]+ um' or finer",
        ),
        (ClearMask(), ("--diameter", "1 mm", "--cell", "9 um"), "has no height"),
        (AmplitudeMask(np.eye(3)), ("--diameter", "1 mm", "--cell", "9 um"), "amplitude alone"),
        (HeightMap(np.full((4, 4), 1e-7)), ("--diameter", "1 mm", "--cell", "9 um"), "is flat"),
        (SpiralMask(), ("--set", "psf.size=17"), "name one with --recipe"),
        (SpiralMask(), ("--recipe", "quickstart"), "has 'disk'"),
        (SpiralMask(), ("--recipe", "none"), "there is no recipe"),
    ],
)
def test_what_cannot_be_made_is_refused(tmp_path, mask, words, what):
    save_mask(mask, tmp_path / "m.json")
    assert re.search(what, refused("mask", tmp_path / "m.json", tmp_path / "out", *words))
    assert [path.name for path in tmp_path.iterdir()] == ["m.json"]


def test_targets_without_a_mask_and_places_that_are_taken_are_refused(tmp_path, tiny_store):
    out = tmp_path / "out"
    assert "psf.kind is 'disk'" in refused("mask", "quickstart", out)
    assert "psf.kind is 'disk'" in refused("mask", tiny_store, out)
    assert "leave --set out" in refused("mask", tiny_store, out, "--set", "psf.size=3")
    assert "leave --recipe away" in refused("mask", "rpsf-single", out, "--recipe", "rpsf-double")
    assert "is no file that there is" in refused("mask", tmp_path / "nope.json", out, "--recipe", "rpsf-double")
    assert "--mask FILE" in refused("mask", "rpsf-learned", out)
    (tmp_path / "broken").write_text("{}")
    assert "not a file that holds a mask" in refused("mask", tmp_path / "broken", out)
    out.mkdir()
    (out / "mine").write_text("x")
    assert "already exists and is not empty" in refused("mask", "rpsf-single", out)
    assert [path.name for path in out.iterdir()] == ["mine"]


def test_a_page_needs_arrays_that_belong_together():
    psf, square = np.ones((2, 1, 5, 5)), np.ones((8, 8))
    given = {
        "title": "t", "facts": {}, "heights": square, "made": square, "cell": 1e-6, "wave": 1.0, "before": psf,
        "after": psf, "planes": ("a", "b"), "colours": ("green",), "changes": np.zeros((2, 1)), "tables": {},
        "notes": {},
    }  # fmt: skip
    assert "<h1>t</h1>" in mask_page(MaskPage(**given))
    assert "&lt;b&gt;" in mask_page(MaskPage(**{**given, "title": "<b>"}))
    for change_of in ({"made": np.ones((4, 4))}, {"after": psf[:1]}, {"planes": ("a",)}, {"changes": np.zeros(2)}):
        with pytest.raises(InputError):
            MaskPage(**{**given, **change_of})
