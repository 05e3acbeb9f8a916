"""From recipe to arrays: sensors, stacks, dual pixels and hand motion in datasets, and that workers do not matter."""

import json

import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from conftest import recipe_data

from defocal import InputError
from defocal.pipelines.cli import cli
from defocal.pipelines.generate import create, run
from defocal.pipelines.plan import check_scenes
from defocal.pipelines.verify import verify
from defocal.synth import Recipe, open_store, render_stack
from defocal.synth.commit import dataset_digest, read_samples
from defocal.synth.development import develop
from defocal.synth.light import decode, encode
from defocal.synth.motion import hand_motion
from defocal.synth.samples import SampleMaker
from defocal.synth.stack import shoot


def swept(stack=None, **changes):
    """A recipe of tiny stacks."""
    camera = {"focal_length": "8 mm", "f_number": 1.2, "pixel_pitch": "60 um"}
    section = {"focus": [0.9, 1.5, 3.0], **(stack or {})}
    data = recipe_data(stack=section, **changes)
    return Recipe.parse({**data, "camera": changes.get("camera", camera)})


def made(tmp_path, recipe, name="data", **options):
    maker = SampleMaker(recipe)
    outcome = run(tmp_path / name, maker, create(tmp_path / name, maker), **options)
    assert not outcome.failed
    return tmp_path / name


def test_a_sensors_captures_are_developed_from_their_mosaic():
    recipe = Recipe.parse(
        recipe_data(sensor={"preset": "phone"}, output={"arrays": ["aif", "capture", "raw"], "splits": {"train": 1.0}})
    )
    arrays = SampleMaker(recipe).make(1)
    assert arrays["raw"].dtype == np.uint16
    assert arrays["raw"].shape == (40, 56)
    developed = develop(arrays["raw"], recipe.sensor.sensor())
    np.testing.assert_array_equal(arrays["capture"], encode(developed, "srgb"))
    clean = SampleMaker(Recipe.parse(recipe_data())).make(1)["capture"]
    error = decode(arrays["capture"], "srgb").astype(float) - decode(clean, "srgb")
    assert 0.002 < error.std() < 0.1
    assert abs(error.mean()) < 0.02
    again = SampleMaker(recipe).make(1)["raw"]
    np.testing.assert_array_equal(again, arrays["raw"])
    assert not np.array_equal(SampleMaker(recipe).make(2)["raw"], arrays["raw"])


def test_a_stack_in_a_dataset_is_render_stack():
    recipe = swept({"breathing": True})
    maker = SampleMaker(recipe)
    arrays = maker.make(0)
    scene = maker.scene(0)
    stack = render_stack(scene, recipe.lens, [0.9, 1.5, 3.0], maker.bank, breathing=True, seed=(3, 0))
    np.testing.assert_array_equal(arrays["stack"], encode(stack.images, "srgb"))
    np.testing.assert_array_equal(arrays["intrinsics"], stack.intrinsics)
    np.testing.assert_array_equal(arrays["focus"], np.float32([0.9, 1.5, 3.0]))
    np.testing.assert_array_equal(arrays["f_number"], np.float32([1.2] * 3))
    for coc, focus in zip(arrays["coc"], [0.9, 1.5, 3.0], strict=True):
        expected = recipe.lens.refocused(focus).coc(scene.flatten().depth)
        np.testing.assert_array_equal(coc, expected.astype(np.float16))
    # The farthest slice is the reference, and has the scene's own camera.
    np.testing.assert_array_equal(arrays["intrinsics"][2, :2, 2], [27.5, 19.5])
    assert arrays["intrinsics"][0, 0, 0] > arrays["intrinsics"][2, 0, 0]


def test_a_grid_of_apertures_and_distances():
    recipe = swept({"f_numbers": [1.2, 4.0]})
    arrays = SampleMaker(recipe).make(0)
    assert arrays["stack"].shape == (6, 40, 56, 3)
    np.testing.assert_array_equal(arrays["f_number"], np.float32([1.2] * 3 + [4.0] * 3))
    np.testing.assert_array_equal(arrays["focus"], np.float32([0.9, 1.5, 3.0] * 2))
    ratio = arrays["coc"][0].astype(float) / arrays["coc"][3]
    np.testing.assert_allclose(ratio[np.abs(arrays["coc"][3]) > 0.1], 4.0 / 1.2, rtol=0.01)


@pytest.mark.parametrize("spacing", ["distance", "inverse", "extension", "power-inverse", "quantiles", "random"])
def test_every_spacing_orders_its_slices(spacing):
    section = {"focus": None, "slices": 5, "spacing": spacing, "near": 0.9, "far": 3.5}
    focus = SampleMaker(swept(section)).make(0)["focus"]
    assert (np.diff(focus) > 0).all()
    np.testing.assert_array_equal(SampleMaker(swept({**section, "order": "far-first"})).make(0)["focus"], focus[::-1])
    assert 0.8 <= focus[0] < focus[-1] <= 4.0
    other = SampleMaker(swept(section)).make(1)["focus"]
    assert np.array_equal(focus, other) == (spacing not in ("quantiles", "random"))


def test_the_views_of_a_dual_pixel_part_as_their_depth_says():
    """Behind the focus the left half's view lies to the left, nearer to the right; both together are the capture."""
    recipe = Recipe.parse(
        recipe_data(
            scenes={"objects": [0, 0], "depth": [1.0, 4.0]},
            camera={"focus_distance": 0.9, "pixel_pitch": "80 um"},
            accept=["all-blurred"],
            output={"arrays": ["capture", "dual", "coc"], "bits": 16, "encoding": "linear", "splits": {"train": 1.0}},
        )
    )

    def shift(recipe):
        arrays = SampleMaker(recipe).make(2)
        left, right = arrays["dual"].astype(float)
        np.testing.assert_allclose((left + right) / 2, arrays["capture"], atol=65535 * 0.02)  # corners of the room
        row = slice(8, 32)
        moves = range(-6, 7)
        match = [np.abs(left[row, 8:48] - right[row, 8 + d : 48 + d]).mean() for d in moves]
        return moves[int(np.argmin(match))]

    assert shift(recipe) > 0
    near = recipe.model_dump(mode="json", exclude_none=True)
    near["camera"]["focus_distance"] = 30.0
    assert shift(Recipe.parse(near)) < 0


def test_hand_motion_and_distortion_reach_the_dataset():
    still, moving = swept(), swept({"hand_translation": "20 mm", "hand_rotation": 0.005})
    a, b = (SampleMaker(recipe).make(0) for recipe in (still, moving))
    np.testing.assert_array_equal(a["stack"][2], b["stack"][2])
    assert not np.array_equal(a["stack"][0], b["stack"][0])
    np.testing.assert_array_equal(a["depth"], b["depth"])
    assert "pose" not in a
    np.testing.assert_array_equal(b["pose"], hand_motion(3, 0, 3, 0.005, 0.02, 2).astype(np.float32))
    data = still.model_dump(mode="json", exclude_none=True)
    data["camera"]["distortion"] = [-0.2, 0.02]
    bent = SampleMaker(Recipe.parse(data)).make(0)
    assert not np.array_equal(bent["depth"], a["depth"])
    assert np.isfinite(bent["depth"]).all()


def test_masks_in_a_stack_get_a_bank_for_each_focus():
    psf = {"kind": "mask", "mask": {"kind": "spiral", "zones": 3}, "planes": 5, "size": 11, "samples": 64}
    camera = {"focal_length": "50 mm", "f_number": 12.0, "pixel_pitch": "30 um"}
    recipe = swept(psf=psf, camera=camera)
    maker = SampleMaker(recipe)
    arrays = maker.make(0)
    assert len({bank.lens for bank in maker._banks.values()}) == 2
    assert (np.abs(arrays["stack"][0].astype(int) - arrays["stack"][2]) > 8).any()


def drawn_recipe():
    return Recipe.parse(
        recipe_data(
            scenes={"count": 4},
            camera={"f_number": {"uniform": [1.8, 4.0]}, "focus_distance": {"inverse-uniform": [1.0, 3.0]}},
            sensor={"preset": "phone", "gain": {"log-uniform": [1.0, 16.0]}},
            stack={"focus": [1.0, 2.0], "breathing": True, "shift_spread": [0.4, 0.4], "hand_translation": "2 mm"},
            output={"arrays": ["depth", "coc", "capture", "raw", "stack", "stack_raw"], "splits": {"train": 1.0}},
        )
    )


def test_workers_and_shards_change_nothing(tmp_path):
    recipe = drawn_recipe()
    one = made(tmp_path, recipe, "one")
    two = made(tmp_path, recipe, "two", workers=2)
    assert dataset_digest(read_samples(one)) == dataset_digest(read_samples(two))
    verdict = verify(one, rerender=2)
    assert not verdict.problems
    assert [set(found.values()) for _, found in verdict.rerendered] == [{"bit-exact"}] * 2
    store = open_store(one)
    gains = store.array("train", "drawn")[:, list(recipe.draws).index("sensor.gain")]
    assert len(set(gains.tolist())) == 4
    raw = store.array("train", "stack_raw")
    assert raw.shape == (4, 2, 40, 56)
    assert raw.attrs["cfa"] == "RGGB"
    names = [parameter["name"] for parameter in store.array("train", "drawn").attrs["parameters"]]
    assert names == sorted(recipe.draws)


def test_what_tells_how_a_stack_was_made_is_verified(tmp_path):
    out = made(tmp_path, swept(scenes={"count": 2}))
    group = open_store(out).splits["train" if "train" in open_store(out).splits else "test"]
    import zarr

    array = zarr.open_array(group.store_path.store.root / "focus", mode="r+")
    array[0] = array[0] * 2
    problems = verify(out).problems
    assert any("focus differ" in problem for problem in problems)


def test_the_commands_know_stacks_and_sensors(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(drawn_recipe().to_toml())
    runner = CliRunner()
    for words in (["plan", str(path)], ["info", str(path)]):
        result = runner.invoke(cli, words)
        assert result.exit_code == 0, result.output
        assert "2 slices focused at 1, 2 m, field of view changes with focus" in result.output
        assert "12 bits, full well 8180 e-" in result.output
        assert "camera.f_number: uniform from 1.8 to 4" in result.output
    out = tmp_path / "out"
    assert runner.invoke(cli, ["generate", str(path), str(out), "--limit", "2"]).exit_code == 0
    assert json.loads(runner.invoke(cli, ["info", str(out), "--json"]).output)["sensor"]["bits"] == 12
    result = runner.invoke(cli, ["preview", str(out)])
    assert result.exit_code == 0, result.output
    assert "drawn: camera.f_number " in (tmp_path / "out-preview" / "preview.html").read_text()
    assert "sweep.webp" in result.output


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"stack": {}}, "needs focus"),
        ({"stack": {"focus": ["1e9 m"]}}, "stack.focus.0: must be less than or equal to 10000000"),
        ({"stack": {"focus": [1.0] * 50, "f_numbers": [2.0] * 5}}, "makes 250 slices"),
        ({"stack": {"focus": []}}, "stack.focus: has 0 values"),
        ({"stack": {"focus": [1.0], "slices": 2}}, "leave one of them out"),
        ({"stack": {"slices": 2, "near": 2.0, "far": 1.0}}, r"near \(2 m\) must be below far"),
        ({"stack": {"slices": 2, "near": 1.0}}, "needs near, and either far or far_over_near"),
        ({"stack": {"slices": 0, "near": 1.0, "far": 2.0}}, "stack.slices"),
        ({"stack": {"focus": [0.01, 1.0]}}, "must be beyond the focal length"),
        ({"stack": {"focus": [1.0], "shift_mean": [1.0, 1.0]}}, "belong to breathing = true"),
        ({"stack": {"focus": [1.0]}, "output": {"arrays": ["capture"]}}, "has no stack"),
        ({"output": {"arrays": ["stack"]}}, "needs a section"),
        ({"output": {"arrays": ["raw"]}}, "needs a .sensor. with a colour filter array"),
        ({"output": {"arrays": ["raw"]}, "sensor": {"preset": "ideal"}}, "needs a .sensor. with a colour filter array"),
        ({"output": {"arrays": ["dual"]}, "psf": {"kind": "gaussian"}}, "dual halves an aperture"),
        (
            {"stack": {"slices": {"uniform": [2, 3]}, "near": 1.0, "far": 2.0}},
            r"stack\.slices cannot be drawn: all samples",
        ),
        (
            {"sensor": {"preset": {"choice": ["dslr", "phone"]}}, "output": {"arrays": ["raw"]}},
            r"sensor\.preset cannot be drawn where raw files are stored",
        ),
        ({"sensor": {"bits": 17}}, "sensor.bits must be a whole number from 8 to 16"),
        ({"sensor": {"read_noise": 1e300}}, "sensor.read_noise must be 0 or a positive number up to"),
        ({"sensor": {"exposure": 100.0}}, "sensor.exposure must be at most 64"),
        ({"sensor": {"dark_current": 1e9}}, "fills the full well"),
        ({"stack": {"focus": [1.0], "hand_translation": 0.5}}, "at most a tenth of the nearest depth"),
        ({"stack": {"focus": [1.0], "hand_rotation": 0.1}}, "stack.hand_rotation"),
        ({"sensor": {"gain": 0}}, "sensor.gain must be a positive number"),
        ({"sensor": {"black_level": 5000.0, "bits": 12}}, "must be below the white level"),
        ({"sensor": {"preset": "nikon"}}, "sensor.preset"),
        ({"camera": {"phone": "pixel4xl"}}, "phone determines focal_length and f_number"),
    ],
)
def test_impossible_captures_are_refused(changes, message):
    with pytest.raises(InputError, match=message):
        Recipe.parse(recipe_data(**changes))


def test_a_scene_at_one_depth_is_focused_there(tmp_path):
    (tmp_path / "rgb").mkdir()
    (tmp_path / "depth").mkdir()
    for name in ("a", "b"):
        cv2.imwrite(str(tmp_path / f"rgb/{name}.png"), np.full((48, 64, 3), 90, np.uint8))
        cv2.imwrite(str(tmp_path / f"depth/{name}.png"), np.full((48, 64), 2000, np.uint16))
    data = swept({"focus": None, "slices": 3, "spacing": "quantiles", "breathing": True}).to_dict()
    data["scenes"] = {"kind": "folder", "path": str(tmp_path), "depth": [0.8, 4.0]}
    arrays = SampleMaker(Recipe.parse(data)).make(0)
    np.testing.assert_array_equal(arrays["focus"], [2.0] * 3)
    np.testing.assert_array_equal(arrays["stack"], np.broadcast_to(arrays["aif"], (3, 48, 64, 3)))


def test_a_folder_whose_images_are_too_small_is_refused_before_anything_is_written(tmp_path):
    (tmp_path / "rgb").mkdir()
    (tmp_path / "depth").mkdir()
    cv2.imwrite(str(tmp_path / "rgb/a.png"), np.full((48, 64, 3), 90, np.uint8))
    cv2.imwrite(str(tmp_path / "depth/a.png"), np.full((48, 64), 2000, np.uint16))
    data = swept({"breathing": True, "shift_mean": [9.0, 0.0]}).to_dict()
    data["scenes"] = {"kind": "folder", "path": str(tmp_path), "depth": [0.8, 4.0]}
    with pytest.raises(InputError, match="would leave the image by 9 pixels"):
        check_scenes(SampleMaker(Recipe.parse(data)))


def test_a_scene_too_small_for_its_stack_is_refused():
    recipe = swept({"breathing": True, "shift_mean": [20.0, 0.0]})
    maker = SampleMaker(recipe)
    scene = maker.scene(0).flatten()
    shot = maker.shot(0)
    with pytest.raises(InputError, match="would leave the image"):
        shoot(scene, shot.lenses, np.array(maker.make(0)["intrinsics"], float), 2, maker.bank, None, {})
