import base64
import io
import json
import re
import zlib
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise

import cv2
import numpy as np
import pytest
from PIL import Image

from defocal import InputError
from defocal.evaluate.pictures import (
    Row,
    coc_colours,
    coc_ticks,
    depth_colours,
    depth_range,
    depth_ticks,
    eight_bits,
    layer_picture,
    nice_step,
    png_bytes,
    webp_bytes,
)
from defocal.evaluate.report import SampleView, html_page
from defocal.evaluate.sheet import contact_sheet, legend


def sample(index=0, shape=(60, 80), **changes):
    rng = np.random.default_rng(index)
    depth = np.broadcast_to(np.geomspace(0.5, 8, shape[1], dtype=np.float32), shape).copy()
    depth[:10, :10] = np.nan
    image = rng.integers(0, 256, (*shape, 3), dtype=np.uint8)
    coc = (14.36 * (1 / depth - 1 / 2)).astype(np.float16)
    view = SampleView(index=index, source=f"scene/{index}", capture=image, aif=image, depth=depth, coc=coc)
    return replace(view, **changes)


def page(samples, **changes):
    arguments = {"title": "T", "facts": {"camera": "50 mm f/2"}, "histograms": {}, "notes": ()} | changes
    return html_page(samples=samples, **arguments)


# --- colours


def test_depth_goes_from_warm_to_cold_in_steps_of_one_over_z():
    inverse = np.linspace(1 / 0.5, 1 / 8, 50)
    colours = depth_colours((1 / inverse)[None].astype(np.float32), 0.5, 8)
    assert colours.shape == (1, 50, 3)
    assert colours.dtype == np.uint8
    assert len(np.unique(colours[0], axis=0)) == 50
    assert colours[0, 0, 0] > colours[0, 0, 2]
    assert colours[0, -1, 2] > colours[0, -1, 0]


def test_depth_outside_the_scale_takes_the_colours_of_its_ends():
    colours = depth_colours(np.array([[0.1, 1, 4, 99, np.inf]], np.float32), 1, 4)[0]
    np.testing.assert_array_equal(colours[0], colours[1])
    np.testing.assert_array_equal(colours[3], colours[2])
    np.testing.assert_array_equal(colours[4], colours[2])


@pytest.mark.parametrize("unknown", [np.nan, 0.0, -1.0])
def test_unknown_depth_is_grey(unknown):
    colours = depth_colours(np.full((16, 16), unknown, np.float32), 1, 4)
    assert (np.ptp(colours, axis=2) == 0).all()
    assert len(np.unique(colours)) == 2


def test_a_flat_scene_and_an_infinite_far_end_have_colours():
    assert depth_colours(np.full((2, 2), 2, np.float32), 2, 2).std(axis=(0, 1)).max() == 0
    assert depth_colours(np.array([[1, 2, np.inf]], np.float32), 1, np.inf).shape == (1, 3, 3)


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_coc_is_white_in_focus_orange_nearer_blue_farther(dtype):
    farther, focus, nearer = coc_colours(np.array([[-6, 0, 6]], dtype), 10)[0].astype(int)
    assert focus.tolist() == [255, 255, 255]
    assert farther[2] > farther[0] + 60
    assert nearer[0] > nearer[2] + 60


def test_coc_darkens_with_its_size_on_both_sides():
    light = coc_colours(np.linspace(-10, 10, 101, dtype=np.float32)[None], 10)[0] @ [0.21, 0.72, 0.07]
    assert (np.diff(light[:51]) > 0).all()
    assert (np.diff(light[50:]) < 0).all()


def test_unknown_coc_is_grey_and_not_white():
    colours = coc_colours(np.full((8, 8), np.nan, np.float16), 3)
    assert colours.max() < 128


def test_sixteen_bits_reduce_to_eight_with_rounding():
    image = np.array([0, 128, 129, 257, 65535, 65535], np.uint16).reshape(1, 2, 3)
    assert eight_bits(image).ravel().tolist() == [0, 0, 1, 1, 255, 255]


def test_shrinking_keeps_unknown_areas_apart_from_known_ones():
    coc = np.full((40, 40), 5, np.float32)
    coc[:, :20] = np.nan
    got = layer_picture(Row(index=0, source="", coc=coc), "coc", 10, near=1, far=2, coc_limit=10)
    assert got.shape == (10, 10, 3)
    assert (np.ptp(got[:, :5], axis=2) == 0).all()
    np.testing.assert_array_equal(got[:, 5:], np.broadcast_to(coc_colours(coc[:1, -1:], 10), (10, 5, 3)))


# --- scales


@pytest.mark.parametrize(("near", "far"), [(0.955, 2.7), (0.5, 80), (1, np.inf), (1e-3, 2e-3), (2, 2)])
def test_depth_ticks_are_apart_and_ascend(near, far):
    ticks = depth_ticks(near, far)
    places, values = [p for p, _ in ticks], [float(t) for _, t in ticks]
    assert values == sorted(values)
    assert all(0 <= p <= 1 for p in places)
    assert all(b - a >= 0.13 for a, b in pairwise(places))
    for place, value in ticks[1:-1]:
        assert place == pytest.approx((1 / near - 1 / float(value)) / (1 / near - 1 / far))


def test_ticks_have_the_numbers_of_the_scale():
    assert [text for _, text in depth_ticks(0.5, 8, 0.19)] == ["0.5", "0.7", "1", "2", "8"]
    assert coc_ticks(10, 2) == [(0, "-10"), (0.25, "-5"), (0.5, "0"), (0.75, "+5"), (1, "+10")]


@pytest.mark.parametrize(("span", "most", "step"), [(10, 5, 2), (10, 4, 5), (1, 4, 0.5), (0.13, 4, 0.05), (7, 7, 1)])
def test_nice_step(span, most, step):
    assert nice_step(span, most) == pytest.approx(step)


@pytest.mark.parametrize(("layer", "low", "high"), [("depth", 0.5, 8), ("coc", -12, 12)])
def test_legend_has_a_bar_in_the_colours_of_the_map_and_numbers(layer, low, high):
    got = legend(layer, low, high, 200)
    assert got.shape == (64, 200, 3)
    assert got.dtype == np.uint8
    end = depth_colours if layer == "depth" else lambda v, _, limit: coc_colours(v, limit)
    np.testing.assert_array_equal(got[30, 1], end(np.array([[low]], np.float32), low, high)[0, 0])
    np.testing.assert_array_equal(got[30, -2], end(np.array([[high]], np.float32), low, high)[0, 0])
    assert got[44:58].min() < 100
    assert (legend(layer, low, high, 200, dark=True)[44:58].max()) > 150


# --- the sheet


def test_sheet_has_a_column_for_each_picture_and_a_row_for_each_sample():
    one, two = contact_sheet([sample(0)], width=120), contact_sheet([sample(0), sample(1)], width=120)
    assert one.dtype == np.uint8
    assert one.shape[1] == two.shape[1] == 2 * 24 + 4 * 120 + 3 * 10
    assert two.shape[0] - one.shape[0] == 90 + 22 + 10
    assert contact_sheet([sample(0)], width=120, dark=True).mean() < one.mean()
    assert contact_sheet([sample(0)], width=120, title="A title").shape[0] > one.shape[0]


def test_sheet_leaves_columns_out_that_no_sample_has():
    rows = [sample(0, depth=None, coc=None), sample(1, depth=None, coc=None, aif=None)]
    got = contact_sheet(rows, width=120)
    assert got.shape[1] == 2 * 24 + 2 * 120 + 10
    assert contact_sheet([sample(0, capture=None, aif=None, coc=None)], width=120).shape[1] == 2 * 24 + 120


def test_sheet_takes_sixteen_bits_odd_sizes_and_long_names():
    deep = np.full((33, 517, 3), 40000, np.uint16)
    rows = [sample(0, capture=deep, source="é/" * 300), sample(1)]
    assert contact_sheet(rows, width=150).shape[1] == 2 * 24 + 4 * 150 + 3 * 10


def test_sheet_is_the_same_every_time():
    np.testing.assert_array_equal(contact_sheet([sample(3)]), contact_sheet([sample(3)]))


def test_the_scale_of_a_sheet_covers_all_its_rows():
    deep = [np.array([[np.nan, 1.5]], np.float32), None, np.array([[9, np.inf]], np.float32)]
    assert depth_range(deep) == (1.5, 9)
    assert depth_range([np.full((2, 2), np.nan, np.float32)]) == (1, 1)


# --- files


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_png_keeps_every_bit(dtype):
    image = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, (7, 9, 3), dtype=dtype)
    got = cv2.imdecode(np.frombuffer(png_bytes(image), np.uint8), cv2.IMREAD_UNCHANGED)
    assert got.dtype == dtype
    np.testing.assert_array_equal(got[..., ::-1], image)
    assert png_bytes(image) == png_bytes(image)


def test_webp_is_close_and_small():
    image = np.repeat(np.linspace(0, 255, 64).astype(np.uint8)[None, :, None], 48, 0).repeat(3, 2)
    content = webp_bytes(image, 90)
    got = np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))
    assert np.abs(got[..., :3].astype(int) - image).max() < 12
    assert len(content) < image.nbytes / 4


# --- refusals


@pytest.mark.parametrize(
    "call",
    [
        lambda: contact_sheet([]),
        lambda: contact_sheet([Row(index=0, source="x")]),
        lambda: contact_sheet([sample()], width=10),
        lambda: contact_sheet([sample()], near=3, far=2),
        lambda: contact_sheet([sample()], coc_limit=float("nan")),
        lambda: contact_sheet([sample(capture=np.zeros((0, 4, 3), np.uint8))]),
        lambda: contact_sheet([sample(capture=np.zeros((4, 4, 3), np.float32))]),
        lambda: depth_colours(np.zeros((0, 3), np.float32), 1, 2),
        lambda: depth_colours(np.zeros((3, 3), np.uint16), 1, 2),
        lambda: depth_colours(np.ones((3, 3), np.float32), 0, 2),
        lambda: coc_colours(np.zeros((3, 3, 1), np.float32), 1),
        lambda: coc_colours(np.zeros((3, 3), np.float32), 0),
        lambda: legend("coc", 0, 0),
        lambda: png_bytes(np.zeros((3, 3), np.uint8)),
        lambda: webp_bytes(np.zeros((3, 3, 3), np.uint8), 0),
        lambda: page([]),
        lambda: page([sample(1), sample(1)]),
        lambda: page([SampleView(index=0, source="x")]),
        lambda: page([sample(capture=np.zeros((5,), np.uint8))]),
        lambda: page([sample()], histograms={"z": ([0, 1, 2], [1])}),
        lambda: page([sample()], histograms={"z": ([0, 1, 1], [1, 1])}),
        lambda: page([sample()], histograms={"z": ([0, 1, 2], [1, -1])}),
    ],
)
def test_what_cannot_be_shown_is_refused_in_one_sentence(call):
    with pytest.raises(InputError, match=r"^[^\n]+\.$"):
        call()


# --- the page


class Elements(HTMLParser):
    VOID = ("meta", "link", "img", "input")

    def __init__(self, text):
        super().__init__()
        self.found, self.open, self.text = [], [], ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))  # <path/>, which is nothing to close

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def data_of(text):
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.S)[1])


def unpacked(readout):
    planes = np.frombuffer(zlib.decompress(base64.b64decode(readout["codes"])), np.uint8).reshape(2, -1)
    deltas = planes[0] + 256 * planes[1].astype(np.int64)
    return (np.cumsum(deltas) % 65536).reshape(readout["height"], readout["width"])


def test_page_is_well_formed_and_has_every_picture_once():
    text = page([sample(0), sample(7, aif=None)], histograms={"depth in m": ([0, 1, 3], [5, 7])}, notes=["n"])
    elements = Elements(text)
    assert elements.open == []
    cards = [a["href"] for tag, a in elements.found if tag == "a"]
    assert cards == ["#0", "#7"]
    assert text.count("data:image/webp;base64,") == 4 + 3
    assert sum(tag == "svg" for tag, _ in elements.found) == 1
    ids = [a["id"] for _, a in elements.found if "id" in a]
    assert len(ids) == len(set(ids))


def test_page_refers_to_nothing_outside():
    text = page([sample(0)], histograms={"CoC in px": (np.linspace(-3, 3, 7), np.ones(6))})
    assert not re.search(r"https?:|url\(|@import|fetch\(|XMLHttp", text)
    for _, attributes in Elements(text).found:
        for key in ("src", "href"):
            assert attributes.get(key, "#").startswith(("#", "data:"))


def test_page_escapes_every_text():
    bad = "</script><script>alert('&\"')</script>"
    view = sample(0, source=bad, caption=[bad])
    text = page([view], title=bad, facts={bad: bad}, notes=[bad], histograms={bad: ([0, 1], [1])})
    assert "<script>alert" not in text
    elements = Elements(text)
    assert elements.open == []
    assert sum(tag == "script" for tag, _ in elements.found) == 2
    assert data_of(text)[0]["source"] == bad
    assert elements.text.count(bad) >= 7


def test_page_reads_out_depth_and_coc_of_real_pixels():
    view = sample(0, shape=(301, 642))
    depth, coc = (data_of(page([view]))[0][key] for key in ("depth", "coc"))
    assert (depth["height"], depth["width"]) == (151, 321)
    assert max(coc["width"], coc["height"]) <= 160

    def chosen(values, readout):
        y, x = (
            ((np.arange(readout[name]) + 0.5) * size / readout[name]).astype(int)
            for name, size in (("height", 301), ("width", 642))
        )
        return values[np.ix_(y, x)]

    codes = unpacked(depth)
    got = np.where(codes == 0, np.nan, depth["least"] * np.exp((codes - 1) * depth["step"]))
    np.testing.assert_allclose(got, chosen(view.depth, depth), rtol=3e-4)
    codes = unpacked(coc)
    got = np.where(codes == 0, np.nan, (codes - 32768.0) * coc["step"])
    np.testing.assert_allclose(got, chosen(view.coc, coc), atol=0.006)


def test_page_reads_out_infinite_depth_and_huge_coc():
    depth = np.array([[np.inf, 1e-3], [1e9, np.nan]], np.float32)
    coc = np.array([[-900, 900], [0, np.nan]], np.float32)
    view = SampleView(index=0, source="s", depth=depth, coc=coc)
    found = data_of(page([view]))[0]
    assert unpacked(found["depth"])[0].tolist() == [65535, 1]
    assert unpacked(found["depth"])[1, 1] == 0
    codes = unpacked(found["coc"]).ravel()
    np.testing.assert_allclose((codes[:3] - 32768.0) * found["coc"]["step"], [-900, 900, 0], atol=0.03)
    assert codes[3] == 0


def test_page_of_unknown_depth_only():
    nothing = np.full((5, 6), np.nan, np.float32)
    found = data_of(page([SampleView(index=0, source="s", depth=nothing, coc=nothing)]))[0]
    assert not unpacked(found["depth"]).any()
    assert not unpacked(found["coc"]).any()


def test_page_leaves_out_pictures_that_no_sample_has():
    text = page([sample(0, coc=None, aif=None)])
    values = [a["value"] for tag, a in Elements(text).found if tag == "input" and a["type"] == "radio"]
    assert values == ["capture", "depth"]


def test_page_shows_a_shared_depth_scale_or_says_that_there_is_none():
    assert "own depth scale" not in page([sample(0, near=0.5, far=9), sample(1, near=0.5, far=9)])
    assert "own depth scale" in page([sample(0, near=0.5, far=9), sample(1, near=0.5, far=8)])


@pytest.mark.parametrize("edges", [np.linspace(-7, 7, 15), np.geomspace(0.1, 90, 15), [0, 1, 10, 100]])
def test_histogram_bars_add_up_to_everything(edges):
    counts = np.arange(len(edges) - 1)
    text = page([sample(0)], histograms={"x": (edges, counts)})
    shares = [float(v) for v in re.findall(r"<title>[^<]*: ([\d.]+) %</title>", text)]
    assert len(shares) == np.count_nonzero(counts)
    assert sum(shares) == pytest.approx(100, abs=0.5)


def test_page_of_an_empty_histogram():
    assert Elements(page([sample(0)], histograms={"x": ([0, 1, 2], [0, 0])})).open == []


def test_page_is_small_and_the_same_every_time():
    views = [sample(k, shape=(120, 160)) for k in range(3)]
    assert page(views) == page(views)
    assert len(page(views)) < 3 * 100_000
