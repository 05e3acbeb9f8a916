"""A photograph rendered through a wider aperture, and captures that are photographs as they were taken."""

import numpy as np
import pytest
from click.testing import CliRunner
from datasets_images import dslr
from rgbd import refusal

from defocal.pipelines import widened
from defocal.pipelines.cli import cli
from defocal.pipelines.shipped import find_recipe
from defocal.synth import Scene, ThinLens, render
from defocal.synth.samples import SampleMaker
from defocal.synth.store import open_store

LENS = ThinLens(focal_length=0.035, f_number=2.8, focus_distance=1.7, pixel_pitch=72e-6)


def pair(gain=1.7):
    """A near card before a wall, blurred a little by f/8, and by f/2.8 at another exposure."""
    rng = np.random.default_rng(4)
    depth = np.full((120, 150), 3.5, np.float32)
    depth[30:90, 40:100] = 0.8
    light = rng.random((30, 38, 3), np.float32).repeat(4, 0).repeat(4, 1)[:120, :150] * np.float32(0.4)
    true = Scene(light, depth)
    small = Scene(render(true, LENS.__class__(**{**vars_of(LENS), "f_number": 8.0})), depth, source="pair")
    return small, Scene(render(true, LENS) * np.float32(gain), depth)


def vars_of(lens):
    return {name: getattr(lens, name) for name in ("focal_length", "f_number", "focus_distance", "pixel_pitch")}


def test_the_added_blur_and_the_blur_that_is_there_make_the_whole_one():
    added = widened.added_blur(LENS)
    small = ThinLens(**{**vars_of(LENS), "f_number": 8.0})
    depth = np.array([0.6, 1.0, 4.0])
    np.testing.assert_allclose(added.coc(depth) ** 2 + small.coc(depth) ** 2, LENS.coc(depth) ** 2, rtol=1e-9)


@pytest.mark.parametrize(("down", "right"), [(0, 0), (1, -2), (-3, 1)])
def test_a_camera_that_was_moved_is_found(down, right):
    small, wide = pair()
    moved = np.roll(wide.aif, (-down, -right), axis=(0, 1))
    here = widened.displacement(small.aif, wide.aif)
    found = widened.displacement(small.aif, moved)
    assert np.subtract(found, here) == pytest.approx((down, right), abs=0.05)
    assert here == pytest.approx((0, 0), abs=0.3)


@pytest.mark.parametrize("gain", [0.5, 1.0, 3.0])
def test_exposure_is_aligned_by_what_is_not_white(gain):
    picture = np.random.default_rng(0).random((20, 30, 3), np.float32) * np.float32(0.25)
    real = picture * np.float32(gain)
    real[:3], picture[-3:] = 1.0, 1.0
    assert widened.exposure_gain(picture, real) == pytest.approx(gain, rel=1e-5)
    assert widened.exposure_gain(np.ones((2, 2, 3), np.float32), np.ones((2, 2, 3), np.float32)) == 1.0


def test_rendering_what_was_taken_comes_nearest_and_finds_the_exposure():
    found = widened.widen(*pair(), LENS)
    best = found.psnr[widened.OURS]
    assert best > 30
    assert all(best > found.psnr[name] + 1 for name in (widened.NONE, widened.GAUSSIAN, widened.SUM))
    assert found.gain[widened.OURS] == pytest.approx(1.7, rel=0.03)
    assert found.tiles.shape[1] == len(widened.WAYS) * min(widened.TILE, 150 - 2 * widened.BORDER)
    assert found.tiles.dtype == np.uint8


def test_pairs_are_read_by_their_places(tmp_path, monkeypatch):
    monkeypatch.setattr(widened, "BORDER", 1)
    monkeypatch.setattr(widened, "displacement", lambda small, wide: (0.0, 0.0))
    monkeypatch.setattr(widened, "image_metrics", lambda a, b: {"psnr": 1.0, "ssim": 1.0})
    reader = widened.Dslr(path=dslr(tmp_path))
    names = [one.name for one in widened.widen_pairs(reader, [2, 0])]
    assert names == [reader.source(2), reader.source(0)]


def test_photographs_are_captures_as_they_were_taken(tmp_path):
    dslr(tmp_path / "photos")
    out = tmp_path / "out"
    words = ["generate", "d3net-dslr", str(out), "--scenes", f"dslr:{tmp_path / 'photos'}"]
    for change in ("scenes.variant=N2_8", "render.method=taken", 'output.arrays=["depth", "capture"]',
                   "scenes.depth=[1e-3, 1e3]", "camera.f_number=60"):  # fmt: skip
        words += ["--set", change]
    done = CliRunner().invoke(cli, words)
    assert done.exit_code == 0, done.output
    store = open_store(out)
    assert store.recipe.lens.focus_distance == 1.7
    maker = SampleMaker(store.recipe)
    for split in store.splits:
        for row, index in enumerate(store.array(split, "index")[:].tolist()):
            photograph = maker.shot(index).encoded(maker.scene(index).aif)
            np.testing.assert_array_equal(store.sample(split, row)["capture"], photograph)
    assert CliRunner().invoke(cli, ["verify", str(out), "--rerender", "1"]).exit_code == 0


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ((), "give --scenes"),
        (("scenes={ kind = 'dslr', path = 'x', depth = [0.5, 9.0] }",), "no aif"),
        (("scenes={ kind = 'dslr', path = 'x', depth = [0.5, 9.0] }", "sensor.preset=dslr"), "sensor"),
    ],
)
def test_what_photographs_cannot_give_is_refused(changes, words):
    arrays = 'output.arrays=["aif", "depth", "capture"]'
    refusal(lambda: find_recipe("d3net-dslr", changes=["render.method=taken", arrays, *changes]), "taken", words)
