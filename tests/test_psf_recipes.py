"""PSFs of recipes: every kind from the TOML file to the store, read back alone, and drawn."""

import json
import shutil

import numpy as np
import pytest
import zarr
from click.testing import CliRunner
from conftest import recipe_data
from PIL import Image

from defocal import InputError
from defocal.pipelines.cli import cli
from defocal.pipelines.generate import create, reopen, run
from defocal.pipelines.psf import bank_of, rotation
from defocal.pipelines.verify import verify
from defocal.synth import (
    CubicMask,
    PsfBank,
    Recipe,
    SpiralMask,
    ThinLens,
    load_mask,
    open_store,
    polygon_aperture,
    save_mask,
)
from defocal.synth import banks as banks_module
from defocal.synth.banks import make_bank, make_mask
from defocal.synth.commit import dataset_digest, read_samples
from defocal.synth.samples import SampleMaker

CAMERA = {"focal_length": "50 mm", "defocus": [-4, 4], "pixel_pitch": "15 um"}
SPIRAL = {"kind": "mask", "mask": {"kind": "spiral"}, "planes": 5, "size": 15, "samples": 64}


def mask_recipe(**changes):
    data = recipe_data(**({"scenes": {"count": 4}, "psf": SPIRAL} | changes))
    data["camera"] = changes.get("camera", CAMERA)
    return Recipe.parse(data)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A measured stack, a picture of an aperture, a height map and a mask file."""
    folder = tmp_path_factory.mktemp("psf")
    lens = Recipe.parse(recipe_data()).lens
    coc = np.array([-2.4, 0.0, 4.0])
    psf = np.zeros((3, 11, 11))
    psf[0, 4:7, 4:7], psf[1, 5, 5], psf[2, 3:8, 5] = 1, 1, 1
    np.savez(folder / "stack.npz", psf=psf, depth=lens.depth_at_coc(coc), centre=np.array([5.0, 5.0]))
    corners = np.array([(y, x) for y in (-0.6, 0.6) for x in (-0.8, 0.8)])
    turned = np.stack([np.rot90(psf, k, (1, 2)) for k in range(4)])
    np.savez(folder / "field.npz", psf=turned, field=corners, coc=coc, centre=np.array([5.0, 5.0]))
    Image.fromarray(np.uint8(255 * np.tri(8))).save(folder / "code.png")
    np.save(folder / "heights.npy", np.linspace(0, 1e-6, 64).reshape(8, 8))
    save_mask(SpiralMask(lobes=2), folder / "mask.json")
    return folder


def every_psf(files):
    mask = {"planes": 3, "size": 21, "samples": 64}
    return {
        "power": {"kind": "power-exponential", "exponent": 4.0},
        "iris": {"kind": "aperture", "blades": 5, "roundness": 0.3},
        "ring": {"kind": "aperture", "obstruction": 0.4},
        "pattern": {"kind": "aperture", "pattern": "mura-5"},
        "picture": {"kind": "aperture", "picture": str(files / "code.png")},
        "measured": {"kind": "measured", "path": str(files / "stack.npz")},
        "field": {"kind": "measured", "path": str(files / "field.npz")},
        "cat-eye": {"kind": "cat-eye", "clipping": 0.6, "blades": 7, "roundness": 0.5, "nodes": 5},
        "clear": {"kind": "mask", "mask": {"kind": "clear", "obstruction": 0.3}, **mask},
        "spiral": {"kind": "mask", "mask": {"kind": "spiral", "form": "blend", "lobes": 2}, **mask},
        "zernike": {"kind": "mask", "mask": {"kind": "zernike", "coefficients": [0, 0, 0, 0, 1.0]}, **mask},
        "fisher": {"kind": "mask", "mask": {"kind": "fisher", "wrapped": True}, **mask},
        "cubic": {"kind": "mask", "mask": {"kind": "cubic", "strength": 5.0}, **mask},
        "heights": {"kind": "mask", "mask": {"kind": "height-map", "path": str(files / "heights.npy")}, **mask},
        "radial": {"kind": "mask", "mask": {"kind": "radial", "heights": ["0 nm", "400 nm", 2e-7]}, **mask},
        "amplitude": {"kind": "mask", "mask": {"kind": "amplitude", "pattern": "mura-7"}, **mask},
        "file": {
            "kind": "mask",
            "mask": {"kind": "file", "path": str(files / "mask.json"), "wavelength": 550e-9},
            **mask,
        },
    }


KINDS = (
    "power", "iris", "ring", "pattern", "picture", "measured", "field", "cat-eye", "clear", "spiral", "zernike",
    "fisher", "cubic", "heights", "radial", "amplitude", "file",
)  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_makes_a_verified_dataset(files, tmp_path, kind):
    psf = every_psf(files)[kind]
    if psf["kind"] == "mask":
        recipe = mask_recipe(psf=psf, scenes={"count": 2})
    else:
        recipe = Recipe.parse(recipe_data(psf=psf, scenes={"count": 2}))
    maker = SampleMaker(recipe)
    outcome = run(tmp_path / "d", maker, create(tmp_path / "d", maker))
    assert not outcome.failed
    verdict = verify(tmp_path / "d", rerender=1)
    assert not verdict.problems
    assert set(verdict.rerendered[0][1].values()) == {"bit-exact"}
    sample = open_store(tmp_path / "d").sample("train", 0)
    assert (sample["capture"] != sample["aif"]).any()


def test_a_stored_bank_is_the_whole_bank(tmp_path):
    maker = SampleMaker(mask_recipe())
    run(tmp_path / "d", maker, create(tmp_path / "d", maker))
    bank = PsfBank.load(tmp_path / "d")
    np.testing.assert_array_equal(bank.kernels, maker.bank.kernels)
    np.testing.assert_array_equal(bank.energy, maker.bank.energy)
    np.testing.assert_allclose(bank.defocus, [-4, -2, 0, 2, 4], atol=1e-9)
    assert bank.lens == maker.recipe.lens
    assert bank.wavelengths == (640e-9, 550e-9, 460e-9)
    assert bank.facts["mask"]["kind"] == "spiral"


def test_samples_are_made_with_the_stored_bank(tmp_path, monkeypatch):
    """A resumed run, its workers and a later verification read the bank; none computes it again."""
    maker = SampleMaker(mask_recipe())
    todo = create(tmp_path / "d", maker)

    def fail(recipe):
        raise AssertionError("made again")

    monkeypatch.setattr(banks_module, "make_bank", fail)
    monkeypatch.setattr("defocal.synth.samples.make_bank", fail)
    again, _ = reopen(tmp_path / "d")
    assert again.bank.lens == maker.bank.lens
    outcome = run(tmp_path / "d", again, todo)
    assert outcome.samples == 4


def test_a_damaged_stored_bank_makes_no_samples(tmp_path):
    maker = SampleMaker(mask_recipe())
    create(tmp_path / "d", maker)
    split = zarr.open_group(tmp_path / "d/test.zarr", mode="r+")
    split["psf/main/coc"][0] = split["psf/main/coc"][0] - 0.01
    with pytest.raises(InputError, match=r"test\.zarr differs from its digest"):
        reopen(tmp_path / "d")
    assert defocal("resume", tmp_path / "d").exit_code == 2
    assert defocal("psf", tmp_path / "d", "--out", tmp_path / "p.png").exit_code == 2


@pytest.mark.parametrize("command", ["plan", "generate"])
def test_psfs_that_do_not_serve_the_scenes_begin_no_dataset(in_folder, files, command):
    np.savez(in_folder / "far.npz", psf=np.ones((2, 3, 3)), coc=np.array([-0.2, 0.2]))
    (in_folder / "r.toml").write_text(
        Recipe.parse(recipe_data(psf={"kind": "measured", "path": str(in_folder / "far.npz")})).to_toml()
    )
    out = ("out",) if command == "generate" else ()
    done = defocal(command, "r.toml", *out)
    assert done.exit_code == 2
    assert "are not covered by the PSF bank" in done.output
    assert not (in_folder / "out").exists()


def test_kernels_wider_than_the_images_of_a_folder_begin_no_dataset(in_folder):
    for name in ("rgb", "depth"):
        (in_folder / name).mkdir()
    Image.fromarray(np.full((12, 14, 3), 90, np.uint8)).save("rgb/a.png")
    np.save("depth/a.npy", np.full((12, 14), 2.0))
    (in_folder / "r.toml").write_text(mask_recipe().to_toml())
    scenes = ("--scenes", "folder:.", "--set", "scenes.depth_unit=1 m", "--set", 'accept=["all-blurred","all-sharp"]')
    done = defocal("generate", "r.toml", "out", *scenes)
    assert done.exit_code == 2
    assert "up to 15 pixels wide, and the images are 14x12 pixels" in done.output
    assert not (in_folder / "out").exists()


def test_with_a_mask_nothing_need_be_in_focus():
    from defocal.pipelines.plan import check_blur, survey

    camera = {"focal_length": "50 mm", "f_number": 17.0, "focus_distance": "20 m", "pixel_pitch": "15 um"}
    recipe = mask_recipe(camera=camera)
    seen = survey(SampleMaker(recipe))
    assert seen.sharp == 0
    check_blur(recipe, seen)
    with pytest.raises(InputError, match="nothing would be in focus"):
        check_blur(mask_recipe(camera=camera, psf={"kind": "disk"}), seen)


def test_very_wide_blur_is_stored_coarsely():
    lens = ThinLens(focal_length=0.05, f_number=1.0, focus_distance=1.0, pixel_pitch=1e-5)
    bank = PsfBank.disk(lens).sampled(0.85, 1.2)
    assert bank.kernels.size < 1.1e8
    assert 0.0 in bank.coc
    assert np.ptp(np.diff(bank.coc)) < 1e-9


def test_workers_change_nothing(tmp_path):
    digests = []
    for workers in (0, 2):
        maker = SampleMaker(mask_recipe(scenes={"count": 6}))
        out = tmp_path / str(workers)
        run(out, maker, create(out, maker), workers=workers)
        digests.append(dataset_digest(read_samples(out)))
    assert digests[0] == digests[1]


def test_a_dataset_outlives_the_files_of_its_psfs(files, tmp_path):
    stack = tmp_path / "stack.npz"
    shutil.copy(files / "stack.npz", stack)
    maker = SampleMaker(Recipe.parse(recipe_data(psf={"kind": "measured", "path": str(stack)}, scenes={"count": 2})))
    run(tmp_path / "d", maker, create(tmp_path / "d", maker))
    stack.unlink()
    assert not verify(tmp_path / "d", rerender=2).problems


def test_eq7_is_another_picture_of_the_same_scene(tmp_path):
    captures = [
        SampleMaker(mask_recipe(render={"model": model})).make(0)["capture"].astype(float)
        for model in ("surfaces", "eq7")
    ]
    assert 0.5 < np.abs(captures[0] - captures[1]).mean() < 30


def test_a_younger_key_changes_no_hash_at_its_default(tiny):
    assert Recipe.parse(recipe_data(render={"model": "surfaces"})).hash() == tiny.hash()
    assert Recipe.parse(recipe_data(render={"model": "eq7"})).hash() != tiny.hash()


def test_recipes_with_masks_survive_toml(files, tmp_path):
    from defocal.synth import load_recipe

    for psf in every_psf(files).values():
        recipe = mask_recipe(psf=psf) if psf["kind"] == "mask" else Recipe.parse(recipe_data(psf=psf))
        (tmp_path / "r.toml").write_text(recipe.to_toml())
        assert load_recipe(tmp_path / "r.toml") == recipe


def test_masks_survive_files(tmp_path):
    for mask in (SpiralMask(lobes=1.7, confinement=0.81, form="rings"), CubicMask(7.0, obstruction=0.2)):
        save_mask(mask, tmp_path / "m.json")
        assert load_mask(tmp_path / "m.json").to_dict() == mask.to_dict()
        assert json.loads((tmp_path / "m.json").read_text())["version"] == 1


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "not a file that holds a mask"),
        ("[1]", "not a file that holds a mask"),
        ('{"version": Infinity, "kind": "clear"}', "not a file that holds a mask"),
        ('{"version": 1, "kind": "spiral", "lobes": "1"}', "mask.lobes must be a number"),
        ('{"version": 9, "kind": "clear"}', "version 9"),
        ('{"version": 1.7, "kind": "clear"}', "its version is '1.7' and no whole number"),
        ('{"version": true, "kind": "clear"}', "its version is 'True' and no whole number"),
        (f'{{"version": 1, "kind": "spiral", "zones": 1{400 * "0"}}}', "mask.zones must be a number"),
        (f'{{"version": 1, "kind": "zernike", "coefficients": [1{400 * "0"}]}}', "mask.coefficients must be numbers"),
        ('{"version": 1, "kind": "clear", "wavelength": "550 nm"}', "mask.wavelength must be a number, not '550 nm'"),
        ('{"version": 1, "kind": "clear", "glass": ["NOA61"]}', "glass must be one of NOA61"),
        ('{"version": 1, "kind": ["clear"]}', "a mask's kind must be one of clear"),
        ('{"version": 1, "kind": "spiral", "zones": "many"}', "m.json"),
        ('{"version": 1, "kind": "spiral", "ring": 1}', "has no ring"),
        ('{"version": 1, "kind": "height-map", "heights": [[1, 2], [3]]}', "m.json"),
    ],
)
def test_broken_mask_files_are_refused(tmp_path, text, what):
    (tmp_path / "m.json").write_text(text)
    with pytest.raises(InputError, match=what):
        load_mask(tmp_path / "m.json")


def test_an_empty_path_of_a_mask_is_refused():
    with pytest.raises(InputError, match="the path of the mask's file is empty"):
        load_mask("")


def test_scenes_beyond_the_bank_are_named(tmp_path):
    (tmp_path / "rgb").mkdir()
    (tmp_path / "depth").mkdir()
    Image.fromarray(np.full((32, 40, 3), 90, np.uint8)).save(tmp_path / "rgb/a.png")
    np.save(tmp_path / "depth/a.npy", np.where(np.arange(40) < 30, 2.0, 40.0) * np.ones((32, 1)))
    data = recipe_data(psf=SPIRAL)
    data["camera"] = CAMERA
    data["scenes"] = {
        "kind": "folder", "path": str(tmp_path), "depth": ["0.8 m", "4 m"], "depth_unit": "1 m",
    }  # fmt: skip
    maker = SampleMaker(Recipe.parse(data))
    with pytest.raises(InputError, match=r"rgb/a: the scene's depths, 2 to 40 m, are not covered .*scenes\.depth"):
        maker.scene(0)


def defocal(*arguments):
    return CliRunner().invoke(cli, list(map(str, arguments)))


@pytest.fixture
def in_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_command_psf_draws_a_recipe(in_folder):
    (in_folder / "mine.toml").write_text(mask_recipe().to_toml())
    done = defocal("psf", "mine.toml", "--save", "bank.npz", "--set", "psf.mask.lobes=2")
    assert done.exit_code == 0, done.output
    assert "degrees a radian of psi, positive is clockwise in the picture" in done.output
    assert "15x15 px, R, G and B" in done.output
    with Image.open(in_folder / "mine-psf.png") as picture:
        assert min(picture.size) > 300
    assert PsfBank.load(in_folder / "bank.npz").facts["mask"]["lobes"] == 2


def test_the_command_psf_draws_a_dataset(in_folder, tiny_store):
    done = defocal("psf", tiny_store, "--out", "pictures/tiny.png")
    assert done.exit_code == 0, done.output
    assert "disk" in done.output
    assert (in_folder / "pictures/tiny.png").stat().st_size > 1000


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (("nothing",), "there is no recipe or folder"),
        (("rpsf-single", "--set", "psf.samples=16"), "undersampled"),
        (("rpsf-single", "--set", "psf.size=5"), "does not fit kernels of 5 px"),
        (("rpsf-single", "--set", 'psf.wavelengths=["1064 nm"]'), "NOA61 is known from 350 to 1000 nm"),
        (
            ("rpsf-single", "--set", "psf.mask.kind=file", "--set", "psf.mask.path=none.json"),
            "none.json|zones|wavelength",
        ),
        (("quickstart", "--save", "bank.txt"), "does not end in .npz"),
        (("quickstart", "--out", "picture.jpg"), "does not end in .png"),
        (("quickstart", "--out", ""), "does not end in .png"),
        (("rpsf-single", "--set", "psf.planes=2"), "psf.planes must be 3 or more"),
        (("rpsf-single", "--set", "psf.mask.wavelength=550"), "psf.mask.wavelength"),
        (("levin-coded", "--set", "psf.pattern=levin"), "there is no coded aperture 'levin'"),
    ],
)
def test_what_cannot_be_drawn_is_refused(in_folder, arguments, what):
    done = defocal("psf", *arguments)
    assert done.exit_code == 2
    assert done.output.startswith("Error: ")
    import re

    assert re.search(what, done.output)
    assert "Traceback" not in done.output
    assert not list(in_folder.glob("*.partial"))


def test_the_rotation_of_a_recipe_follows_theory():
    _, bank = bank_of("rpsf-single", changes=["psf.planes=11", "camera.pixel_pitch=4 um", "psf.size=71"])
    measured, theory = rotation(bank)
    assert measured.shape == theory.shape == (3, 11)
    np.testing.assert_allclose(measured[1], theory[1], atol=0.04)
    assert rotation(PsfBank.disk(bank.lens).sampled(0.5, 3.0)) is None


def test_the_defocus_of_a_camera_needs_the_wavelength_of_a_mask_from_a_file(tmp_path):
    save_mask(SpiralMask(wavelength=450e-9), tmp_path / "m.json")
    mask = {"kind": "file", "path": str(tmp_path / "m.json")}
    with pytest.raises(InputError, match=r"give that of the file as psf\.mask\.wavelength"):
        mask_recipe(psf={**SPIRAL, "mask": mask})
    with pytest.raises(InputError, match="was designed for 450 nm"):
        make_bank(mask_recipe(psf={**SPIRAL, "mask": {**mask, "wavelength": "550 nm"}}))
    bank = make_bank(mask_recipe(psf={**SPIRAL, "mask": {**mask, "wavelength": "450 nm"}}))
    np.testing.assert_allclose(bank.defocus[[0, -1]], [-4, 4])


def test_an_iris_shows_as_its_shape():
    recipe = Recipe.parse(recipe_data(psf={"kind": "aperture", "blades": 6}))
    bank = make_bank(recipe)
    expected = PsfBank.aperture(recipe.lens, polygon_aperture(6))
    np.testing.assert_array_equal(bank.kernel(9.0), expected.kernel(9.0))


def test_defocus_of_the_camera_counts_at_the_masks_wavelength():
    psf = {**SPIRAL, "mask": {"kind": "clear", "wavelength": "500 nm"}}
    recipe = mask_recipe(psf=psf)
    near, far = recipe.scenes.depth
    np.testing.assert_allclose([recipe.lens.defocus(z, 500e-9) for z in (far, near)], [-4, 4])
    assert make_mask(recipe.psf.mask).wavelength == 500e-9
