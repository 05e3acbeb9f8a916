"""Recipes: units, strictness, all errors at once, a stable hash, and the shipped ones."""

import tomllib

import pytest
from conftest import recipe_data

from defocal import InputError
from defocal.pipelines.shipped import find_recipe, shipped
from defocal.synth import Recipe, load_recipe
from defocal.synth.units import parse_bytes, parse_length


@pytest.mark.parametrize(
    ("text", "metres"),
    [
        ("35 mm", 0.035),
        ("5.6 um", 5.6e-6),
        ("5.6µm", 5.6e-6),
        ("2m", 2.0),
        ("1e1 cm", 0.1),
        ("550 nm", 550e-9),
        (3, 3.0),
    ],
)
def test_lengths_have_units(text, metres):
    assert parse_length(text) == metres


@pytest.mark.parametrize("text", ["35", "mm", "35 inches", "3,5 mm", "", None, True, "nan m", "1 MB"])
def test_what_is_no_length_is_refused(text):
    with pytest.raises(ValueError, match="is not a number with one of the units"):
        parse_length(text)


def test_bytes_have_units():
    assert parse_bytes("96 MB") == 96e6
    assert parse_bytes("1 KiB") == 1024


def test_toml_round_trip_keeps_the_hash(tiny):
    again = Recipe.parse(tomllib.loads(tiny.to_toml()))
    assert again == tiny
    assert again.hash() == tiny.hash()


def test_any_text_survives_toml():
    recipe = Recipe.parse(recipe_data(description='quote " back \\ emoji \U0001f600 del \x7f line\nend'))
    assert Recipe.parse(tomllib.loads(recipe.to_toml())) == recipe


def test_a_byte_order_mark_is_no_obstacle(tmp_path, tiny):
    (tmp_path / "bom.toml").write_text(tiny.to_toml(), encoding="utf-8-sig")
    assert load_recipe(tmp_path / "bom.toml") == tiny


def test_the_hash_sees_every_change_and_no_notation():
    base = Recipe.parse(recipe_data())
    same = Recipe.parse(recipe_data(camera={"focal_length": 0.05}))
    other = Recipe.parse(recipe_data(camera={"f_number": 2.1}))
    assert base.hash() == same.hash() != other.hash()


def test_the_hash_is_pinned(tiny):
    """A change here gives every recipe a new name: raise the format version, and say so in the changelog."""
    assert tiny.hash() == "2b559a16af28c888f554cdef064b7d7671419bd24f2cfb325b32c7c22876bbfd"


def test_all_errors_are_reported_at_once_with_their_paths():
    data = recipe_data(camera={"f_number": "two"}, scenes={"depth": ["4 m", "1 m"], "sise": 3}, seed=-1)
    with pytest.raises(InputError) as caught:
        Recipe.parse(data, origin="my.toml")
    text = str(caught.value)
    for words in ("my.toml has 4 errors", "camera.f_number", "scenes.sise: unknown key", "scenes.depth", "seed"):
        assert words in text


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"camera": {"focus_distance": "50 mm"}}, "beyond the focal length"),
        ({"camera": {"f_number": True}}, "camera.f_number"),
        ({"psf": {"kind": "square"}}, "kind must be one of 'disk', 'gaussian'"),
        ({"psf": {"kind": "mask"}}, "psf.mask: is missing"),
        ({"psf": {"kind": "mask", "mask": {"kind": "spiral", "lobe": 2}}}, "psf.mask.lobe: unknown key"),
        ({"psf": {"kind": "mask", "mask": {"kind": "spiral", "zones": 0}}}, "psf.mask.zones: must be"),
        ({"psf": {"kind": "mask", "mask": {"kind": "cork"}}}, "psf.mask: kind must be one of 'clear', 'spiral'"),
        ({"psf": {"kind": "mask", "mask": {"kind": "clear"}, "wavelengths": [1e-7, 2e-7]}}, "three, of R, G and B"),
        ({"psf": {"kind": "aperture", "blades": 5, "pattern": "mura-5"}}, "give one of blades, pattern"),
        ({"psf": {"kind": "aperture", "roundness": 0.5}}, "give its number of blades"),
        ({"camera": {"defocus": [-10, 10]}}, "leave those out"),
        ({"render": {"model": "eq8"}}, "render.model"),
        ({"scenes": {"count": 0}}, "scenes.count"),
        ({"scenes": {"objects": [5, 3]}}, "fewest"),
        ({"output": {"splits": {"train": 0.5}}}, "sum to 1"),
        ({"output": {"splits": {"../x": 1.0}}}, "output.splits"),
        ({"output": {"arrays": ["aif", "aif"]}}, "name each array once"),
        ({"render": {"planes": 1}}, "render.planes"),
        ({"version": 2}, "version"),
        ({"version": True}, "version"),
        ({"scenes": {"size": [16, 10**6]}}, "scenes.size.1"),
        ({"scenes": {"depth": [1e-300, 1.0]}}, "0.1 mm"),
        ({"scenes": {"objects": [0, 10**6]}}, "scenes.objects.1"),
        ({"camera": {"f_number": 0.001}}, "blur would reach"),
        ({"camera": {"focal_length": 10**400}}, "focal_length"),
        ({"scenes": {"size": [48, 64, 3]}}, "has 3 values"),
        ({"name": "../up"}, "name"),
        ({"trainer": {"gain": 1}}, "trainer: unknown key"),
        ({"scenes": {"kind": "folder", "path": "x", "depth_kind": "ray"}}, "unknown key"),
    ],
)
def test_impossible_recipes_are_refused(changes, words):
    with pytest.raises(InputError, match=words):
        Recipe.parse(recipe_data(**changes))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"version = ", "not valid TOML"),
        (b"\xff\xfe\x00", "not a text file"),
        (b"a = 1\na = 2", "not valid TOML"),
        (b"", "missing"),
    ],
)
def test_broken_files_are_refused(tmp_path, text, words):
    path = tmp_path / "broken.toml"
    path.write_bytes(text)
    with pytest.raises(InputError, match=words):
        load_recipe(path)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(InputError, match="cannot read"):
        load_recipe(tmp_path / "none.toml")


def test_shipped_recipes_are_valid_and_keep_what_the_papers_say():
    assert shipped() == [
        "2hded", "d3net-2m", "d3net-4m", "d3net-8m", "d3net-dslr", "ddff-lightfield", "dff-wild-mixed",
        "dff-wild-note10", "dff-wild-pixel4xl", "dff-wild-pixel6", "dff-wild-s8plus", "dual-pixel", "fossa",
        "hci-refocused", "levin-coded", "macro-phone", "phasecam3d-fisher", "quickstart", "rpsf-double", "rpsf-learned",
        "rpsf-noisy", "rpsf-nyu", "rpsf-single", "street-80m", "udfd-nyu", "zedd-grid",
    ]  # fmt: skip
    for name in shipped():
        recipe = find_recipe(name)
        assert recipe.name == name
        assert recipe.description
    for metres in (2, 4, 8):
        lens = find_recipe(f"d3net-{metres}m").lens
        assert (lens.focal_length, lens.f_number, lens.focus_distance, lens.pixel_pitch) == (0.015, 2.8, metres, 5.6e-6)
    two = find_recipe("2hded")
    assert two.lens.aperture_diameter == pytest.approx(0.0448)
    assert two.psf.sigma_per_coc == 0.25
    for name, lobes in (("rpsf-single", 1), ("rpsf-double", 2), ("rpsf-nyu", 2)):
        recipe = find_recipe(name)
        assert (recipe.psf.mask.zones, recipe.psf.mask.lobes) == (7, lobes)
    assert (recipe.psf.planes, recipe.lens.focus_distance) == (10, 5)
    phi = find_recipe("phasecam3d-fisher")
    assert phi.psf.planes == 21
    assert [phi.lens.defocus(z, 530e-9) for z in phi.scenes.depth] == pytest.approx([10, -10])


def test_changes_from_the_command_line_are_applied(tmp_path):
    recipe = find_recipe(
        "quickstart", limit=5, seed=9, changes=["camera.f_number=4", "scenes.size=[64, 96]", "psf.kind=gaussian"]
    )
    assert (recipe.scenes.count, recipe.seed, recipe.lens.f_number) == (5, 9, 4)
    assert (recipe.scenes.size, recipe.psf.kind) == ((64, 96), "gaussian")
    folder = find_recipe("d3net-2m", scenes=f"folder:{tmp_path}", changes=["scenes.rgb=color/*"])
    assert (folder.scenes.kind, folder.scenes.path, folder.scenes.rgb) == ("folder", str(tmp_path), "color/*")
    assert folder.scenes.depth == (0.7, 10)


def test_a_path_in_a_recipe_file_is_relative_to_the_file(tmp_path):
    data = recipe_data()
    data["scenes"] = {"kind": "folder", "path": "frames", "depth": ["1 m", "4 m"]}
    path = tmp_path / "own.toml"
    path.write_text(Recipe.parse(data).to_toml())
    assert find_recipe(str(path)).scenes.path == str(tmp_path / "frames")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"name": "nonsense"}, "there is no recipe or folder 'nonsense': name a .toml file, or one of 2hded"),
        ({"name": "quickstart", "scenes": "folder"}, "KIND:PATH"),
        ({"name": "quickstart", "changes": ["camera"]}, "key=value"),
        ({"name": "quickstart", "changes": ["seed.x=1"]}, "not a section"),
        ({"name": "quickstart", "changes": ["camera.lens=1"]}, "camera.lens: unknown key; there are "),
        ({"name": "quickstart", "changes": ["camera.fnumber=1"]}, r"unknown key \(perhaps 'f_number' is meant\)\."),
        ({"name": "rpsf-single", "changes": ["psf.mask.lobe=2"]}, r"unknown key \(perhaps 'lobes' is meant\)\."),
        (
            {"name": "rpsf-single", "changes": ["psf.mask.strength=2"]},
            "unknown key; there are confinement, form, gain, ",
        ),
        ({"name": "quikstart"}, r"'quikstart' \(perhaps 'quickstart' is meant\): name a .toml file"),
        ({"name": "quickstart", "changes": ["scenes.count=abc"], "limit": 4}, "scenes.count"),
        ({"name": "quickstart", "changes": ["seed=" + "9" * 5000]}, "cannot be read"),
        ({"name": "quickstart", "changes": ["a" + ".a" * 3000 + "=1"]}, "no keys so deep"),
        ({"name": "quickstart", "changes": ["seed=" + "[" * 3000 + "]" * 3000]}, "cannot be read|does not|holds"),
    ],
)
def test_wrong_changes_are_refused(arguments, words):
    with pytest.raises(InputError, match=words):
        find_recipe(**arguments)
