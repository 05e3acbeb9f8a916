"""The viewer of the preview page: its numbers are the dataset's, and a browser's keys and pointer do what they say."""

import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import zarr
from browser import Browser
from conftest import recipe_data
from rgbd import refusal
from test_pictures import Elements, data_of, unpacked

from defocal import InputError
from defocal.evaluate.pictures import mosaic_picture
from defocal.evaluate.report import SampleView, html_page
from defocal.evaluate.sheet import contact_sheet
from defocal.pipelines.generate import create
from defocal.pipelines.preview import beside, write_preview
from defocal.synth import Recipe, ThinLens
from defocal.synth.commit import make_shard
from defocal.synth.samples import SampleMaker
from defocal.synth.shards import Shards

SIZE = (60, 80)
FOCUS = (0.4, 0.8, 1.6, 3.2)
LENS = ThinLens(focal_length=0.05, f_number=8, focus_distance=2, pixel_pitch=80e-6)
LEVELS = (60, 110, 160, 210)
NAME = "<img src=x onerror=alert(1)>&amp;"


def optics(lens):
    return lens.coc_per_dioptre, 1 / lens.focus_distance


def stack_view(**changes):
    """Slices of one grey each; depth that grows to the right, unknown in a corner and infinite in another."""
    depth = np.broadcast_to(np.geomspace(0.35, 4, SIZE[1], dtype=np.float32), SIZE).copy()
    depth[:10, :10], depth[-10:, -10:] = np.nan, np.inf
    arrays = {
        "stack": np.broadcast_to(np.array(LEVELS, np.uint8)[:, None, None, None], (4, *SIZE, 3)).copy(),
        "depth": depth,
        "labels": [f"focus {d:g} m" for d in FOCUS],
        "lens": optics(LENS),
        "slice_lenses": [optics(LENS.refocused(d)) for d in FOCUS],
    }
    return SampleView(index=3, source=NAME, **(arrays | changes))


def capture_view():
    """A capture with a mosaic and a CoC that no lens explains."""
    rng = np.random.default_rng(1)
    capture = rng.integers(0, 256, (*SIZE, 3), dtype=np.uint8)
    raw = mosaic_picture(rng.integers(0, 1023, SIZE, dtype=np.uint16), 0, 1023, "RGGB")
    coc = np.linspace(-5, 5, SIZE[0] * SIZE[1], dtype=np.float32).reshape(SIZE)
    return SampleView(index=7, source="seven", capture=capture, raw=raw, coc=coc, valid=coc > 0, caption=["a lens"])


def page(*views, **changes):
    return html_page("T", {"camera": "50 mm"}, views, {}, **changes)


def depths(found):
    codes = unpacked(found["depth"])
    values = found["depth"]["least"] * np.exp((codes - 1) * found["depth"]["step"])
    return np.where(codes == 0, np.nan, np.where(codes == 65535, np.inf, values))


# --- what is in the page


@pytest.mark.parametrize("stack", [None, {"focus": [1.0, 2.5, 6.0], "f_numbers": [2.0, 4.0], "breathing": True}])
def test_the_page_of_a_recipe_holds_the_depth_and_the_lens_of_what_it_makes(tmp_path, stack):
    changes = {"stack": stack} if stack else {"camera": {"f_number": {"uniform": [2.0, 4.0]}}}
    arrays = ["depth", "coc", *(["stack"] if stack else ["capture"])]
    recipe = Recipe.parse(recipe_data(scenes={"count": 2, "size": [24, 32]}, output={"arrays": arrays}, **changes))
    (tmp_path / "r.toml").write_text(recipe.to_toml())
    write_preview(str(tmp_path / "r.toml"), tmp_path / "p", 2)
    seen = data_of((tmp_path / "p/preview.html").read_text())
    maker = SampleMaker(recipe)
    for sample, found in enumerate(seen):
        made = maker.make(sample)
        z = depths(found)
        np.testing.assert_allclose(z, made["depth"], rtol=3e-4)
        assert "coc" not in found
        lenses = found["lenses"] or [found["lens"]]
        assert len(lenses) == (6 if stack else 1)
        for (change, focus), stored in zip(lenses, made["coc"] if stack else made["coc"][None], strict=True):
            np.testing.assert_allclose(change * (1 / z - focus), stored, atol=0.02, rtol=1e-3)
        np.testing.assert_allclose(1 / np.array(found["scale"]), recipe.scenes.depth)
    assert stack or seen[0]["lens"] != seen[1]["lens"]


def test_depth_is_held_for_every_pixel_that_is_shown():
    wide = np.linspace(1, 2, 1300, dtype=np.float32)[None].repeat(20, axis=0)
    found = data_of(page(SampleView(index=0, source="", depth=wide)))[0]["depth"]
    assert (found["height"], found["width"]) == (7, 434)
    assert depths(data_of(page(stack_view()))[0]).shape == SIZE
    np.testing.assert_allclose(depths(data_of(page(stack_view()))[0]), stack_view().depth, rtol=2.6e-4)


def test_depth_that_is_no_distance_is_left_out_of_the_histogram_and_said(tiny_store, tmp_path):
    shutil.copytree(tiny_store, tmp_path / "d")
    for split in (tmp_path / "d").glob("*.zarr"):
        zarr.open(split)["depth"][:, :, :5] = 0
    write_preview(str(tmp_path / "d"), tmp_path / "pictures", 2)
    page = (tmp_path / "pictures" / "preview.html").read_text(encoding="utf-8")
    assert "Some depths are 0 m or less, which the histogram leaves out" in page
    assert "depth in m" in page


def test_pictures_lie_beside_what_was_named(tmp_path, monkeypatch):
    (tmp_path / "far/away").mkdir(parents=True)
    (tmp_path / "near").mkdir()
    (tmp_path / "near/link").symlink_to(tmp_path / "far/away")
    monkeypatch.chdir(tmp_path)
    for target, place in (
        ("near/link", "near/link-preview"), ("near/link/", "near/link-preview"), ("far/away", "far/away-preview"),
        ("quickstart", "quickstart-preview"), ("near/mine.toml", "near/mine-preview"),
        ("near/link/..", "far-preview"), (str(tmp_path / "near/link"), str(tmp_path / "near/link-preview")),
    ):  # fmt: skip
        assert beside(target, "-preview") == Path(place), target
    monkeypatch.chdir(tmp_path / "far/away")
    assert beside(".", "-preview") == Path("../away-preview")
    assert beside("..", "-preview").resolve() == tmp_path.resolve() / "far-preview"


def test_of_a_dataset_under_way_what_is_on_disk_is_drawn(tmp_path):
    arrays = {"arrays": ["depth", "capture"], "shard_bytes": "5 kB"}
    maker = SampleMaker(Recipe.parse(recipe_data(scenes={"count": 12, "size": [24, 32]}, output=arrays)))
    create(tmp_path / "d", maker)
    refusal(lambda: write_preview(str(tmp_path / "d"), tmp_path / "p", 4), "no sample of", "finished yet", "resume")
    shards = Shards(maker)
    made = [shards[k] for k in (1, 3, len(shards) - 1)]
    for shard in made:
        make_shard(tmp_path / "d", maker, shard)
    for count in (1, 2, 40):
        write_preview(str(tmp_path / "d"), tmp_path / "p", count)
        page = (tmp_path / "p" / "preview.html").read_text(encoding="utf-8")
        assert "This dataset is unfinished: `defocal resume" in page
        seen = data_of(page)
        assert len(seen) == min(count, sum(len(shard.samples) for shard in made))
        for one in seen:
            np.testing.assert_allclose(depths(one), maker.make(one["index"])["depth"], rtol=3e-4)


def test_a_scale_may_go_to_infinity():
    assert data_of(page(stack_view(near=0.5, far=np.inf)))[0]["scale"] == [2, 0]


def test_coc_is_held_itself_where_no_lens_is_known():
    assert "coc" not in data_of(page(stack_view(coc=np.ones((4, *SIZE), np.float32))))[0]
    for view in (stack_view(lens=None, slice_lenses=()), stack_view(depth=None)):
        assert "lens" not in data_of(page(replace(view, coc=np.ones((4, *SIZE), np.float32))))[0]
        assert len(data_of(page(replace(view, coc=np.ones((4, *SIZE), np.float32))))[0]["coc"]) == 4


def test_a_page_of_very_many_pictures_scales_them_down_and_says_so():
    few, many = (page(SampleView(index=0, source="", stack=np.zeros((n, 30, 400, 3), np.uint8))) for n in (9, 960))
    assert "400 \u00d7 30 px<" in few
    assert "400 \u00d7 30 px, scaled to 60 % here" in many
    assert [a["width"] for tag, a in Elements(many).found if tag == "img" and "width" in a] == ["240"]


def test_where_depth_is_known_is_on_the_page_and_not_on_the_sheet():
    values = [a["value"] for _, a in Elements(page(capture_view())).found if a.get("name") == "grid"]
    assert values == ["capture", "raw", "coc", "valid"]
    np.testing.assert_array_equal(contact_sheet([capture_view()]), contact_sheet([replace(capture_view(), valid=None)]))


def test_lenses_that_are_not_one_for_each_slice_are_refused():
    with pytest.raises(InputError, match="4 slices but 3 lenses"):
        stack_view(slice_lenses=[(1.0, 1.0)] * 3)


# --- in a browser


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    found = Browser(tmp_path_factory.mktemp("profile"))
    yield found
    found.close()


@pytest.fixture
def opened(browser, tmp_path):
    """Return a function that opens a page of both samples, and waits for its numbers."""

    def start(anchor="", **window):
        (tmp_path / "preview.html").write_text(page(stack_view(), capture_view()), encoding="utf-8")
        browser.open(tmp_path / "preview.html", anchor, **window)
        browser.wait("(maps.depth || maps.coc) && large.complete")
        return browser

    yield start
    assert browser.errors == []
    assert {address.partition(":")[0] for address in browser.requests} == {"file", "data"}


def shown_grey(browser):
    """Grey in the middle of the picture, as a person sees it."""
    browser.run("large.decode().then(() => new Promise(r => requestAnimationFrame(() => requestAnimationFrame(r))))")
    left, top, width, height = browser.run("(r => [r.x, r.y, r.width, r.height])(stage.getBoundingClientRect())")
    picture = cv2.imdecode(np.frombuffer(browser.screenshot(), np.uint8), cv2.IMREAD_COLOR)
    return picture[int(top + 0.3 * height), int(left + 0.3 * width)].mean()


def at(x, y):
    """Place of a pixel's middle, in shares of the picture."""
    return (x + 0.5) / SIZE[1], (y + 0.5) / SIZE[0]


def check_coc(browser, view, lens, x, y):
    c = float(lens.coc(np.float64(view.depth[y, x])))
    number, words = browser.text("#read-coc").split(" px, ")
    assert float(number.replace("\u2212", "-")) == pytest.approx(c, abs=0.011)
    assert words == ("in focus" if abs(c) < 0.5 else "nearer" if c > 0 else "farther")


def test_the_pointer_reads_the_numbers_of_a_slice_and_a_click_focuses(opened):
    browser, view = opened(), stack_view()
    assert browser.text("#name").endswith(NAME)
    for x, y in ((20, 30), (50, 7), (79, 0)):
        browser.mouse("#stage", *at(x, y))
        assert browser.text("#read-pixel") == f"x {x}, y {y}"
        assert float(browser.text("#read-depth").removesuffix(" m")) == pytest.approx(view.depth[y, x], rel=6e-3)
        check_coc(browser, view, LENS.refocused(FOCUS[0]), x, y)
        best = int(np.argmin([abs(LENS.refocused(d).coc(view.depth[y, x])) for d in FOCUS]))
        assert browser.text("#read-sharp") == f"Slice {best + 1} of 4: focus {FOCUS[best]:g} m"
    colour = [int(part) for part in browser.text("#read-colour").removeprefix("sRGB ").split(", ")]
    assert colour == pytest.approx([LEVELS[0]] * 3, abs=3)
    browser.mouse("#stage", *at(50, 7), click=True)
    assert browser.run("$('which').value") == "Slice 3 of 4: focus 1.6 m"
    check_coc(browser, view, LENS.refocused(1.6), 50, 7)
    browser.mouse("#stage", *at(3, 3))
    assert [browser.text(f"#read-{row}") for row in ("depth", "coc", "sharp")] == ["unknown"] * 3
    browser.mouse("#stage", *at(78, 58))
    assert browser.text("#read-depth") == "infinite"
    check_coc(browser, view, LENS.refocused(1.6), 78, 58)


def test_keys_move_through_slices_pictures_samples_and_pixels(opened):
    browser = opened()
    assert shown_grey(browser) == pytest.approx(LEVELS[0], abs=4)
    browser.press("ArrowRight", ".")
    assert browser.run("$('which').value") == "Slice 3 of 4: focus 1.6 m"
    assert shown_grey(browser) == pytest.approx(LEVELS[2], abs=4)
    browser.run("range.focus()")
    browser.press("ArrowLeft")
    assert shown_grey(browser) == pytest.approx(LEVELS[1], abs=4)
    assert browser.run("range.getAttribute('aria-valuetext')") == "Slice 2 of 4: focus 0.8 m"
    browser.run("document.activeElement.blur()")
    browser.press("5")
    assert browser.run("shown()") == "stack"  # This sample has no CoC.
    browser.mouse("label:has(#grid-depth)", click=True)
    browser.press("ArrowRight", "ArrowLeft")
    assert browser.run("[shown(), slice]") == ["depth", 1]
    browser.run("$('grid-depth').focus()")
    browser.press("ArrowLeft")
    assert browser.run("[shown(), slice]") == ["stack", 1]
    browser.run("document.activeElement.blur()")
    browser.press("n")
    browser.wait("maps.coc")
    assert browser.text("#name").startswith("#7")
    assert browser.run("document.querySelector('[aria-current]').href").endswith("#7")
    assert browser.run("[$('sweep').hidden, location.hash]") == [True, "#7"]
    browser.press("3")
    assert browser.run("shown()") == "raw"
    browser.press("p", "p", "p")
    assert browser.text("#name").startswith("#3")
    browser.press("ArrowLeft", "n")
    browser.wait("location.hash === '#7'")
    browser.run("stage.focus()")
    browser.press("ArrowRight", "ArrowDown", "ArrowDown")
    assert browser.text("#read-pixel") == "x 40, y 31"
    assert "Pixel x 40, y 31" in browser.run("$('said').value")
    assert browser.run("document.querySelectorAll('#extra u').length") == 1


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (400, True)])
def test_the_viewer_fits_its_window(opened, width, dark):
    browser = opened("#7", width=width, dark=dark)
    assert browser.text("#name").startswith("#7")
    assert browser.run("document.documentElement.scrollWidth") == width
    edge = browser.run("(r => [r.left, r.right, r.bottom])(stage.getBoundingClientRect())")
    assert 0 <= edge[0] < edge[1] <= width
    assert edge[2] < 860
    picture = cv2.imdecode(np.frombuffer(browser.screenshot(), np.uint8), cv2.IMREAD_COLOR)
    assert picture.shape == (860, width, 3)
    assert (picture[2, 2].mean() < 60) == dark


def test_without_scripts_all_samples_are_seen(browser, tmp_path):
    (tmp_path / "preview.html").write_text(page(stack_view(), capture_view()), encoding="utf-8")
    browser.call("Emulation.setScriptExecutionDisabled", value=True)
    try:
        browser.open(tmp_path / "preview.html")
        assert browser.run("document.getElementById('viewer').hidden")
        shown = "[...document.querySelectorAll('.card img')].filter(i => getComputedStyle(i).visibility === 'visible')"
        assert browser.run(f"{shown}.map(i => i.dataset.layer)") == ["stack"]
    finally:
        browser.call("Emulation.setScriptExecutionDisabled", value=False)
