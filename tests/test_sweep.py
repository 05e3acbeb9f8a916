"""Focal stacks, dual-pixel views and mosaics in pictures: boxes, animation, sheet, page and preview."""

import base64
import io
import json
import re
from dataclasses import replace

import cv2
import numpy as np
import pytest
from PIL import Image
from test_pictures import Elements, data_of, unpacked

from defocal import InputError
from defocal.evaluate.fields import draw_boxes, enlarged, field_of_view_boxes, relative, slice_colours, stack_boxes
from defocal.evaluate.pictures import mosaic_picture
from defocal.evaluate.report import SampleView, html_page
from defocal.evaluate.row import Row
from defocal.evaluate.sheet import contact_sheet
from defocal.evaluate.sweep import stack_sheet, sweep_webp
from defocal.pipelines import preview
from defocal.pipelines.shipped import find_recipe
from defocal.synth import ThinLens

SIZE = (60, 80)
FOCUS = np.array([0.1, 0.2, 0.4, 0.9], np.float32)
LENS = ThinLens(focal_length=4.4e-3, f_number=1.7, focus_distance=0.9, pixel_pitch=20e-6)


def matrices(focus=FOCUS, size=SIZE):
    return np.stack([LENS.refocused(float(d)).intrinsics(*size).matrix for d in focus])


def greys(count=4, size=SIZE):
    """Slices of one grey each, so that a frame tells which slice it is."""
    levels = np.linspace(40, 220, count).astype(np.uint8)
    return np.broadcast_to(levels[:, None, None, None], (count, *size, 3)).copy()


def stack_view(index=0, **changes):
    rng = np.random.default_rng(index)
    depth = np.broadcast_to(np.geomspace(0.1, 1.1, SIZE[1], dtype=np.float32), SIZE).copy()
    coc = np.stack([LENS.refocused(float(d)).coc(depth) for d in FOCUS]).astype(np.float16)
    arrays = {
        "stack": rng.integers(0, 256, (4, *SIZE, 3), dtype=np.uint8),
        "aif": rng.integers(0, 256, (*SIZE, 3), dtype=np.uint8),
        "depth": depth,
        "coc": coc,
        "labels": [f"focus {d:.3g} m" for d in FOCUS],
        "intrinsics": matrices(),
        "reference": 3,
    }
    return SampleView(index=index, source=f"scene/{index}", **(arrays | changes))


def page(*views, **changes):
    return html_page("T", {}, views, {}, **changes)


# --- boxes


def test_a_lens_focused_nearer_sees_a_smaller_part_by_the_ratio_of_the_image_distances():
    boxes = field_of_view_boxes(matrices(), SIZE, 3)
    near, far = LENS.refocused(0.1).image_distance, LENS.refocused(float(FOCUS[3])).image_distance
    share = (boxes[0, 2] - boxes[0, 0]) / SIZE[1]
    assert share == pytest.approx(far / near, rel=1e-6)
    assert share == pytest.approx((0.1 - 0.0044) / 0.1 * 0.9 / (0.9 - 0.0044), rel=1e-6)
    np.testing.assert_allclose(boxes[3], (-0.5, -0.5, SIZE[1] - 0.5, SIZE[0] - 0.5), atol=1e-12)


def test_boxes_are_the_corners_seen_through_both_cameras():
    rng = np.random.default_rng(1)
    k = np.tile(np.eye(3), (5, 1, 1))
    k[:, (0, 1), (0, 1)] = rng.uniform(50, 70, (5, 2))
    k[:, :2, 2] = rng.uniform(20, 40, (5, 2))
    got = field_of_view_boxes(k, SIZE, 2)
    for box, matrix in zip(got, k, strict=True):
        for corner, place in (((-0.5, -0.5), box[:2]), ((SIZE[1] - 0.5, SIZE[0] - 0.5), box[2:])):
            seen = k[2] @ np.linalg.inv(matrix) @ [*corner, 1]
            np.testing.assert_allclose(place, seen[:2], atol=1e-9)


def test_a_shift_of_the_principal_point_shifts_the_box_the_other_way():
    k = np.stack([matrices()[0]] * 2).astype(np.float64)
    k[1, :2, 2] += (3, -2)
    boxes = field_of_view_boxes(k, SIZE)
    np.testing.assert_allclose(boxes[1] - boxes[0], (-3, 2, -3, 2), atol=1e-9)


def test_differences_are_enlarged_as_far_as_they_stay_readable():
    shares = relative(field_of_view_boxes(matrices(), SIZE, 3), SIZE)
    wide, factor = enlarged(shares)
    whole = np.array([0, 0, 1, 1])
    np.testing.assert_allclose(wide - whole, factor * (shares - whole))
    assert 0.2 / 2.5 < np.abs(wide - whole).max() <= 0.2
    assert enlarged(np.array([[0.0, 0, 1, 1]]))[1] == 1
    assert enlarged(np.array([[-0.3, 0, 1.3, 1]]))[1] == 1


def test_boxes_of_aligned_or_unknown_slices_are_not_shown():
    assert stack_boxes(stack_view(intrinsics=None)) is None
    assert stack_boxes(stack_view(intrinsics=np.stack([matrices()[0]] * 4))) is None
    assert stack_boxes(stack_view()).shape == (4, 4)


def test_boxes_are_drawn_to_scale_in_their_colours():
    boxes = np.array([[-0.5, -0.5, 199.5, 99.5], [19.5, 9.5, 179.5, 89.5]])
    drawn = draw_boxes(np.zeros((100, 200, 3), np.uint8), boxes, width=400).astype(int)
    pad = (drawn.shape[0] - 200) // 2
    for box, colour in zip(boxes, slice_colours(2).astype(int), strict=True):
        left, top, right, bottom = np.rint(2 * (box + 0.5) + pad).astype(int)
        for y, x in ((100 + pad, left), (100 + pad, right), (top, 200 + pad), (bottom, 200 + pad)):
            near = drawn[y - 1 : y + 2, x - 1 : x + 2].reshape(-1, 3)
            assert np.abs(near - colour).sum(axis=1).min() < 30


def test_boxes_may_leave_the_picture():
    inside = draw_boxes(greys()[0], [[0, 0, 79, 59]], width=120)
    beyond = draw_boxes(greys()[0], [[-20.5, -10.5, 99.5, 69.5]], ["wide"], width=120)
    assert beyond.shape[0] >= inside.shape[0] + 2 * 30 - 2


# --- the animation


def frames_of(content):
    picture = Image.open(io.BytesIO(content))
    for k in range(picture.n_frames):
        picture.seek(k)
        yield np.asarray(picture.convert("RGB")).copy(), picture.info["duration"]


@pytest.mark.parametrize("boxes", [None, field_of_view_boxes(matrices(), SIZE, 3)])
def test_a_sweep_goes_to_and_fro_and_rests_at_its_ends(boxes):
    slices = greys()
    found = list(frames_of(sweep_webp(slices, ["a", "b", "c", "d"], milliseconds=100, boxes=boxes)))
    seen = [int(np.abs(frame[:50].mean() - slices[:, 0, 0, 0]).argmin()) for frame, _ in found]
    assert seen == [0, 1, 2, 3, 2, 1]
    assert [time for _, time in found] == [200, 100, 100, 200, 100, 100]


@pytest.mark.parametrize(("count", "frames"), [(1, 1), (2, 2), (3, 4), (10, 18)])
def test_a_sweep_has_every_slice_but_the_ends_twice(count, frames):
    still = np.repeat(greys(1), count, axis=0)
    assert len(list(frames_of(sweep_webp(still)))) == frames


def test_a_sweep_has_the_same_bytes_every_time_and_labels_matter():
    slices = stack_view().stack
    assert sweep_webp(slices, ["é", "b", "c", "d"]) == sweep_webp(slices, ["é", "b", "c", "d"])
    assert sweep_webp(slices, ["a", "b", "c", "d"]) != sweep_webp(slices, ["a", "b", "c", "e"])
    assert sweep_webp(slices) != sweep_webp(slices, boxes=field_of_view_boxes(matrices(), SIZE))


@pytest.mark.parametrize(("full", "width", "shown"), [(300, 480, 300), (900, 480, 480), (80, 480, 240), (80, 120, 120)])
def test_a_sweep_is_at_most_as_wide_as_asked_and_wide_enough_to_read(full, width, shown):
    found = next(frames_of(sweep_webp(greys(2, (30, full)), width=width)))[0]
    assert found.shape[1] == shown


# --- the sheet


def test_a_sheet_has_a_column_for_each_slice_up_to_five():
    sheets = [stack_sheet(Row(index=0, source="", stack=greys(n)), width=120) for n in (1, 4, 5, 6)]
    assert [s.shape[1] - 48 for s in sheets] == [120, 4 * 130 - 10, 5 * 130 - 10, 5 * 130 - 10]
    assert sheets[3].shape[0] > sheets[2].shape[0]
    assert stack_sheet(Row(index=0, source="", stack=greys(54)), width=120).shape[1] == 48 + 9 * 130 - 10


def test_a_sheet_shows_maps_fields_and_what_is_at_the_side():
    plain = stack_sheet(stack_view(intrinsics=None), width=120, title="T")
    bare = stack_view(intrinsics=None, aif=None, depth=None, coc=None)
    assert stack_sheet(bare, width=120).shape[1] < plain.shape[1]
    assert stack_sheet(replace(bare, intrinsics=matrices()), width=120).shape[0] > 2 * len(stack_sheet(bare, width=120))
    assert stack_sheet(stack_view(), width=120, dark=True).mean() < plain.mean()
    np.testing.assert_array_equal(stack_sheet(stack_view(), width=120), stack_sheet(stack_view(), width=120))


def test_a_sheet_draws_a_field_of_view_once_for_all_apertures():
    once = stack_sheet(Row(index=0, source="", stack=greys(2), intrinsics=matrices()[:2]), width=120)
    again = stack_sheet(Row(index=0, source="", stack=greys(4), intrinsics=matrices()[[0, 1, 0, 1]]), width=120)
    for colour in slice_colours(2):
        assert (once == colour).all(axis=-1).any()
        assert (again == colour).all(axis=-1).any()
    assert not (again == slice_colours(4)[1]).all(axis=-1).any()


def test_the_slices_of_a_sheet_are_in_reading_order():
    sheet = stack_sheet(Row(index=0, source="", stack=greys(7, (120, 160))), width=160)
    columns = [24 + 80 + k * 170 for k in range(5)]
    assert sheet[24 + 22 + 60, columns, 0].tolist() == greys(7)[:5, 0, 0, 0].tolist()
    second = 24 + 22 + 120 + 20 + 22 + 60
    assert sheet[second, columns[:2], 0].tolist() == greys(7)[5:, 0, 0, 0].tolist()


def test_a_contact_sheet_shows_the_first_slice_and_the_left_view():
    levels = greys(2)
    sheet = contact_sheet([Row(index=0, source="", stack=levels, dual=levels[::-1].copy())], width=120)
    middle = sheet[-48 - 40, [24 + 60, 24 + 130 + 60], 0]
    assert middle.tolist() == [levels[0, 0, 0, 0], levels[1, 0, 0, 0]]


# --- mosaics


def test_a_mosaic_is_grey_between_its_levels():
    raw = np.array([[64, 64, 1023, 1023], [0, 544, 544, 4000]], np.uint16)
    got = mosaic_picture(raw, 64, 1023, "")
    assert got.shape == (2, 4, 3)
    assert (np.ptp(got, axis=-1) == 0).all()
    assert got[..., 0].tolist() == [[0, 0, 255, 255], [0, 188, 188, 255]]


@pytest.mark.parametrize("cfa", ["RGGB", "BGGR", "GRBG", "GBRG"])
def test_the_middle_of_a_mosaic_is_magnified_in_the_colours_of_its_filters(cfa):
    raw = np.full((2, 121, 163), 1023, np.uint16)
    got = mosaic_picture(raw, 64, 1023, cfa)
    assert got.shape == (2, 121, 163, 3)
    # Two pixels of the picture for one of the mosaic; the inset begins with an even row and column of it.
    corner = got[1, 121 - 36 - 4 : 121 - 36, 163 - 48 - 4 : 163 - 48]
    colours = ["RGB"[int(corner[2 * (k // 2), 2 * (k % 2)].argmax())] for k in range(4)]
    assert "".join(colours) == cfa
    assert (np.sort(corner, axis=-1)[..., :2] == 0).all()
    assert (got[0, :60] == 255).all()


# --- the page


def test_a_page_steps_through_the_slices_and_opens_with_the_first():
    view = stack_view()
    text = page(view)
    elements = Elements(text)
    assert elements.open == []
    images = [a["data-layer"] for tag, a in elements.found if tag == "img" and "data-layer" in a]
    assert images == ["stack", "aif", "depth", "coc"]
    found = data_of(text)[0]
    assert {layer: len(rest) for layer, rest in found["frames"].items()} == {"stack": 3, "coc": 3}
    assert found["slices"][1] == "Slice 2 of 4: focus 0.2 m"
    assert found["reference"] == 3
    np.testing.assert_allclose(found["boxes"], relative(field_of_view_boxes(matrices(), SIZE, 3), SIZE), atol=1e-6)
    slider = next(a for tag, a in elements.found if a.get("type") == "range")
    assert slider["aria-label"] == "Slice"
    assert "4 slices" in elements.text
    assert sum("data-slice" in a for _, a in elements.found) == 2 * 4


def test_a_page_shows_the_slices_in_order():
    text = page(SampleView(index=0, source="", stack=greys()))
    first = next(a["src"] for tag, a in Elements(text).found if tag == "img" and a.get("data-layer") == "stack")
    levels = []
    for address in [first, *data_of(text)[0]["frames"]["stack"]]:
        assert address.startswith("data:image/webp;base64,")
        with io.BytesIO(base64.b64decode(address.split(",")[1])) as content:
            levels.append(np.asarray(Image.open(content).convert("RGB")).mean())
    np.testing.assert_allclose(levels, greys()[:, 0, 0, 0], atol=3)


def test_a_page_reads_out_the_coc_of_each_slice():
    view = stack_view()
    maps = data_of(page(view))[0]["coc"]
    for values, readout in zip(view.coc, maps, strict=True):
        np.testing.assert_allclose((unpacked(readout) - 32768.0) * readout["step"], values, atol=0.006)


def test_a_page_shows_both_views_of_a_dual_pixel_and_its_mosaic():
    raw = mosaic_picture(np.full(SIZE, 500, np.uint16), 0, 1023, "RGGB")
    text = page(SampleView(index=0, source="", dual=greys(2), raw=raw))
    found = data_of(text)[0]
    assert {layer: len(rest) for layer, rest in found["frames"].items()} == {"dual": 1}
    assert found["slices"] == []
    assert "boxes" not in found
    assert [a["value"] for _, a in Elements(text).found if a.get("name") == "grid"] == ["dual", "raw"]


def test_a_page_of_a_stack_refers_to_nothing_outside_and_escapes_its_labels():
    bad = "</script><script>alert('&\"')</script>"
    text = page(stack_view(labels=[bad] * 4))
    assert not re.search(r"https?:|url\(|@import|fetch\(|XMLHttp", text)
    for _, attributes in Elements(text).found:
        for key in ("src", "href"):
            assert attributes.get(key, "#").startswith(("#", "data:"))
    assert "<script>alert" not in text
    assert data_of(text)[0]["slices"][0] == f"Slice 1 of 4: {bad}"


def test_a_page_of_stacks_is_small_and_the_same_every_time():
    view = stack_view()
    assert page(view) == page(view)
    assert len(page(view)) < 4 * 100_000
    wide = SampleView(index=0, source="", stack=greys(2, (60, 800)))
    widths = [a["width"] for tag, a in Elements(page(wide)).found if tag == "img" and "width" in a]
    assert widths == ["480"]


# --- refusals


@pytest.mark.parametrize(
    "call",
    [
        lambda: field_of_view_boxes(np.eye(3), SIZE),
        lambda: field_of_view_boxes(np.zeros((0, 3, 3)), SIZE),
        lambda: field_of_view_boxes(matrices() + np.eye(3)[::-1], SIZE),
        lambda: field_of_view_boxes(-matrices(), SIZE),
        lambda: field_of_view_boxes(matrices() * np.nan, SIZE),
        lambda: field_of_view_boxes(matrices(), SIZE, 4),
        lambda: field_of_view_boxes(matrices(), (0, 5)),
        lambda: draw_boxes(greys()[0], [[0, 0, 5, 5]], ["a", "b"]),
        lambda: draw_boxes(greys()[0], [[5, 0, 0, 5]]),
        lambda: draw_boxes(greys()[0], [0, 0, 5, 5]),
        lambda: draw_boxes(greys()[0], [[0, 0, 5, np.inf]]),
        lambda: draw_boxes(greys()[0], [[0, 0, 5, 5]], width=20),
        lambda: draw_boxes(greys()[0, :, :, 0], [[0, 0, 5, 5]]),
        lambda: sweep_webp(greys()[0]),
        lambda: sweep_webp(greys()[:0]),
        lambda: sweep_webp(greys().astype(np.float32)),
        lambda: sweep_webp(greys(), ["a"]),
        lambda: sweep_webp(greys(), width=10),
        lambda: sweep_webp(greys(), milliseconds=1),
        lambda: sweep_webp(greys(), boxes=[[0, 0, 5, 5]]),
        lambda: stack_sheet(Row(index=0, source="")),
        lambda: stack_sheet(stack_view(), width=10),
        lambda: stack_view(stack=greys()[0]),
        lambda: stack_view(stack=greys()[:0]),
        lambda: stack_view(coc=np.zeros((3, *SIZE), np.float32)),
        lambda: stack_view(labels=["one"]),
        lambda: stack_view(intrinsics=matrices()[:2]),
        lambda: stack_view(reference=4),
        lambda: Row(index=0, source="", dual=greys(3)),
        lambda: Row(index=0, source="", raw=greys(3)),
        lambda: mosaic_picture(np.zeros(SIZE, np.uint8), 0, 255, ""),
        lambda: mosaic_picture(np.zeros(SIZE, np.uint16), 5, 5, ""),
        lambda: mosaic_picture(np.zeros(SIZE, np.uint16), 0, 5, "RGB"),
    ],
)
def test_what_cannot_be_shown_is_refused_in_one_sentence(call):
    with pytest.raises(InputError, match=r"^[^\n]+\.$"):
        call()


# --- the preview

SWEPT = find_recipe(
    "quickstart",
    changes=["stack.focus=[0.1, 0.2, 0.4, 0.9]", "sensor.preset=phone", 'output.arrays=["stack", "stack_raw", "raw"]'],
)


def stored(**changes):
    view = stack_view()
    arrays = {name: getattr(view, name) for name in ("stack", "aif", "depth", "coc", "intrinsics")}
    return arrays | {"focus": FOCUS, "f_number": np.full(4, 1.7, np.float32)} | changes


def test_the_preview_passes_a_stack_on():
    view = preview._views(SWEPT, [(5, "s", stored())])[0]
    assert view.names()[0] == "Slice 1 of 4: focus 0.1 m, f/1.7"
    assert view.reference == 3
    assert view.caption == ["50 mm, 4 slices, focused at 0.1 m to 0.9 m, disk PSF"]
    np.testing.assert_array_equal(view.stack, stored()["stack"])
    np.testing.assert_array_equal(view.intrinsics, matrices())


def test_the_preview_shows_mosaics_and_dual_pixels():
    raw = np.full(SIZE, 700, np.uint16)
    recipe = SWEPT
    single = preview._views(recipe, [(0, "s", {"raw": raw, "dual": greys(2)})])[0]
    assert single.raw.shape == (*SIZE, 3)
    assert single.slices == 0
    assert single.caption[0].startswith("50 mm, f/2, focused at")
    many = np.repeat(raw[None], 4, axis=0)
    assert preview._views(recipe, [(0, "s", stored(stack_raw=many))])[0].raw.shape == (4, *SIZE, 3)
    only = {name: array for name, array in stored(stack_raw=many).items() if name != "stack"}
    assert preview._views(recipe, [(0, "s", only)])[0].stack.shape == (4, *SIZE, 3)


def test_the_preview_knows_the_levels_of_a_sensor():
    raw = np.array([[256, 4095], [256, 4095]], np.uint16)
    assert preview._mosaic(SWEPT, raw)[0, :, 0].tolist() == [0, 255]


@pytest.mark.parametrize(("rule", "reference"), [("farthest", 1), ("nearest", 2), ("first", 0), ("last", 3)])
def test_the_preview_finds_the_reference_slice(rule, reference):
    recipe = find_recipe("quickstart", changes=["stack.focus=[0.5, 0.9, 0.1, 0.3]", f"stack.reference={rule}"])
    focus = np.array([0.5, 0.9, 0.1, 0.3], np.float32)
    assert preview._slices(recipe, {"focus": focus})["reference"] == reference


def test_the_preview_of_a_stack_writes_an_animation_and_a_sheet(monkeypatch, tmp_path):
    made = (SWEPT, [(5, "s", stored())], 9)
    monkeypatch.setattr(preview, "_from_recipe", lambda target, count: made)
    written = preview.write_preview("quickstart", tmp_path / "p", 4)
    assert [path.name for path in written] == ["contact.png", "preview.html", "sweep.webp", "stack.png"]
    assert len(list(frames_of((tmp_path / "p/sweep.webp").read_bytes()))) == 6
    assert cv2.imread(str(tmp_path / "p/stack.png")).shape[2] == 3
    found = json.loads(re.search(r'id="data">(.*?)</script>', (tmp_path / "p/preview.html").read_text())[1])
    assert len(found[0]["slices"]) == 4


def test_the_preview_of_captures_writes_what_it_did(monkeypatch, tmp_path):
    arrays = {"capture": greys()[0], "depth": np.ones(SIZE, np.float32)}
    made = (SWEPT, [(5, "s", arrays)], 9)
    monkeypatch.setattr(preview, "_from_recipe", lambda target, count: made)
    written = preview.write_preview("quickstart", tmp_path / "p", 4)
    assert [path.name for path in written] == ["contact.png", "preview.html"]
