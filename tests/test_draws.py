"""Distributions in recipes: what they draw, that nothing else changes it, and that impossible ones are refused."""

import tomllib

import numpy as np
import pytest
from conftest import recipe_data

from defocal import InputError
from defocal.synth import Intrinsics, Recipe, Scene
from defocal.synth.draws import depth_quantiles, draw_all
from defocal.synth.samples import SampleMaker

FLAT = Scene(np.zeros((20, 30, 3)), np.linspace(1, 4, 600).reshape(20, 30), Intrinsics(fx=500, fy=520, cx=15, cy=10))


def drawn(recipe, samples, scene=FLAT):
    return [draw_all(recipe.draws, recipe.seed, k, scene, recipe.camera.model_dump()) for k in range(samples)]


def camera(**changes):
    return Recipe.parse(recipe_data(camera=changes))


def kolmogorov(values, cdf):
    """Largest distance of the empirical distribution from the true one, in units of its 1e-6 quantile."""
    values = np.sort(values)
    steps = np.arange(len(values) + 1) / len(values)
    distance = max(np.abs(cdf(values) - steps[1:]).max(), np.abs(cdf(values) - steps[:-1]).max())
    return distance * np.sqrt(len(values)) / 2.7


@pytest.mark.parametrize(
    ("kind", "cdf"),
    [
        ("uniform", lambda x: (x - 1) / 7),
        ("log-uniform", lambda x: np.log(x) / np.log(8)),
        ("inverse-uniform", lambda x: (1 - 1 / x) / (1 - 1 / 8)),
    ],
)
def test_ranges_are_drawn_as_they_say(kind, cdf):
    recipe = camera(focus_distance={kind: ["1 m", 8.0]})
    values = np.array([d["camera.focus_distance"] for d in drawn(recipe, 2000)])
    assert (values >= 1).all()
    assert (values <= 8).all()
    assert kolmogorov(values, cdf) < 1


def test_choices_come_with_their_weights_and_whole_ranges_are_even():
    recipe = camera(f_number={"choice": [1.4, 2.0, 4.0], "weights": [1, 2, 1]})
    values = np.array([d["camera.f_number"] for d in drawn(recipe, 2000)])
    shares = [(values == v).mean() for v in (1.4, 2.0, 4.0)]
    np.testing.assert_allclose(shares, [0.25, 0.5, 0.25], atol=5 * np.sqrt(0.25 / 2000))
    recipe = Recipe.parse(recipe_data(psf={"kind": "aperture", "blades": {"uniform": [5, 8]}}))
    values = [d["psf.blades"] for d in drawn(recipe, 800)]
    assert {type(v) for v in values} == {int}
    np.testing.assert_allclose(np.bincount(values)[5:] / 800, 0.25, atol=5 * np.sqrt(0.19 / 800))


def test_values_from_the_scene():
    recipe = camera(focal_length={"from": "intrinsics"}, focus_distance={"from": "depth", "quantiles": [0.25, 0.75]})
    values = drawn(recipe, 200)
    assert {d["camera.focal_length"] for d in values} == {np.float32(200e-6 * 510)}
    near, far = np.quantile(FLAT.depth, [0.25, 0.75], method="lower")
    assert depth_quantiles(FLAT.depth, 0.25, 0.75) == (near, far)
    inverse = 1 / np.array([d["camera.focus_distance"] for d in values])
    assert kolmogorov(inverse, lambda u: (u - 1 / far) / (1 / near - 1 / far)) < 1


def test_a_draw_depends_on_seed_sample_and_its_own_name_alone():
    one = camera(f_number={"uniform": [1.4, 4.0]})
    two = camera(f_number={"uniform": [1.4, 4.0]}, focus_distance={"uniform": ["1 m", "2 m"]})
    assert [d["camera.f_number"] for d in drawn(one, 5)] == [d["camera.f_number"] for d in drawn(two, 5)]
    other = Recipe.parse(recipe_data(seed=4, camera={"f_number": {"uniform": [1.4, 4.0]}}))
    assert drawn(one, 5) != drawn(other, 5)
    assert len({d["camera.f_number"] for d in drawn(one, 5)}) == 5


def test_toml_keeps_distributions_and_their_hash():
    recipe = camera(f_number={"choice": [2.0, 4.0]}, focus_distance={"log-uniform": ["80 cm", "2 m"]})
    again = Recipe.parse(tomllib.loads(recipe.to_toml()))
    assert again.draws == recipe.draws
    assert again.hash() == recipe.hash() != camera(f_number={"choice": [2.0, 4.0]}).hash()
    assert "focus_distance = { log-uniform = [0.8, 2.0] }" in recipe.to_toml()
    assert recipe.lens.f_number in (2.0, 4.0)
    assert {r.lens.f_number for r in recipe.extremes} == {2.0, 4.0}


def test_samples_are_made_with_what_was_drawn(tmp_path):
    recipe = camera(f_number={"uniform": [1.8, 6.0]}, focus_distance={"inverse-uniform": [1.0, 3.0]})
    maker = SampleMaker(recipe)
    first, again = maker.make(3), SampleMaker(recipe).make(3)
    assert all(np.array_equal(first[name], again[name], equal_nan=True) for name in first)
    names = list(recipe.draws)
    assert names == ["camera.f_number", "camera.focus_distance"]
    fixed = Recipe.parse(recipe_data(camera={"f_number": first["drawn"][0], "focus_distance": first["drawn"][1]}))
    alone = SampleMaker(fixed).make(3)
    np.testing.assert_array_equal(alone["coc"], first["coc"])
    # The margin differs, and with it only what rounding makes of the same light.
    assert np.abs(alone["capture"].astype(int) - first["capture"]).max() <= 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"f_number": {"uniform": [4.0, 1.0]}}, "camera.f_number: uniform needs two ends in order"),
        ({"f_number": {"uniform": [1.0]}}, "camera.f_number: uniform needs its two ends"),
        ({"f_number": {"log-uniform": [0.0, 1.0]}}, "camera.f_number: must be greater than 0"),
        ({"f_number": {"choice": []}}, "camera.f_number: choice needs a list"),
        ({"f_number": {"choice": [1.0, True]}}, "camera.f_number: choice takes numbers or words"),
        ({"f_number": {"choice": [1.0, 2.0], "weights": [1.0]}}, "weights must be as many positive numbers"),
        ({"f_number": {"uniform": [1.0, 2.0], "choice": [1.0]}}, "is no distribution"),
        ({"f_number": {"gaussian": [1.0, 2.0]}}, "camera.f_number: must be a valid number"),
        ({"f_number": {"from": "intrinsics"}}, "only camera.focal_length"),
        ({"focus_distance": {"from": "depth", "quantiles": [0.9, 0.1]}}, "two ordered quantiles"),
        ({"focus_distance": {"uniform": ["1 cm", "2 m"]}}, "must be beyond the focal length"),
        ({"focal_length": {"uniform": ["50 mm", "50 m"]}}, "drawing camera.focal_length"),
    ],
)
def test_impossible_distributions_are_refused(changes, message):
    with pytest.raises(InputError, match=message):
        camera(**changes)


def test_intrinsics_are_needed_where_they_are_drawn_from():
    recipe = camera(focal_length={"from": "intrinsics"})
    with pytest.raises(InputError, match="has no intrinsics"):
        drawn(recipe, 1, Scene(FLAT.aif, FLAT.depth))
    folder = {"kind": "folder", "path": "x", "depth": [1.0, 2.0]}
    with pytest.raises(InputError, match=r"needs scenes\.intrinsics"):
        Recipe.parse({**recipe_data(camera={"focal_length": {"from": "intrinsics"}}), "scenes": folder})


def test_the_order_of_keys_does_not_matter():
    pitch, focal = {"uniform": ["0.1 mm", "0.3 mm"]}, {"from": "intrinsics"}
    base = recipe_data()
    one = Recipe.parse({**base, "camera": {**base["camera"], "pixel_pitch": pitch, "focal_length": focal}})
    rest = {key: value for key, value in base["camera"].items() if key not in ("pixel_pitch", "focal_length")}
    two = Recipe.parse({**base, "camera": {"focal_length": focal, "pixel_pitch": pitch, **rest}})
    assert one.hash() == two.hash()
    assert Recipe.parse(tomllib.loads(one.to_toml())).draws == one.draws


def test_the_margin_covers_all_that_may_be_drawn():
    focal = {"uniform": [0.03, 0.09]}
    noises = ("read_noise", "adc_noise", "dark_current", "prnu", "dsnu", "gain", "exposure")
    sensor = {"preset": "phone", **{name: {"uniform": [0.5, 1.0]} for name in noises}}
    few = Recipe.parse(recipe_data(camera={"focal_length": focal}))
    many = Recipe.parse(recipe_data(camera={"focal_length": focal}, sensor=sensor))
    assert SampleMaker(few).margin == SampleMaker(many).margin
    widest = max(abs(r.lens.coc(0.8)) for r in few.extremes)
    assert SampleMaker(few).margin >= widest / 2
    assert all(abs(few.at(d).lens.coc(0.8)) <= widest for d in drawn(few, 20))


def test_a_value_stays_within_its_ends_when_it_is_rounded():
    recipe = camera(f_number={"uniform": [2.1, 2.1]})
    assert drawn(recipe, 1)[0]["camera.f_number"] == 2.1
