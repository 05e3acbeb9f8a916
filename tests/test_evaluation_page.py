"""The page of an evaluation: well formed, self-contained, escaped, with scales that all runs share."""

import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from rgbd import refusal

from defocal.evaluate.curves import Curve, curve_figure
from defocal.evaluate.evaluation_page import EvaluatedImage, EvaluatedRun, evaluation_page
from defocal.evaluate.evaluation_pictures import shared_scales, spread_colours
from defocal.evaluate.pictures import coc_colours
from defocal.evaluate.scores import DepthScores
from defocal.evaluate.tables import Table, TableRow
from defocal.evaluate.uncertainty import UncertaintyScores

NASTY = "<b>&\"run'"
VOID = {"meta", "link", "img", "br"}


class Checked(HTMLParser):
    """Reads a page and keeps what is wrong with it."""

    def __init__(self):
        super().__init__()
        self.open, self.images, self.addresses, self.wrong, self.words = [], [], [], [], []

    def handle_starttag(self, tag, attributes):
        if tag not in VOID:
            self.open.append(tag)
        found = dict(attributes)
        self.addresses += [found[k] for k in ("src", "href") if k in found]
        if tag == "img":
            self.images.append(found)

    def handle_startendtag(self, tag, attributes):
        # A browser takes the slash after a value without quotes for a part of it, and closes nothing.
        self.wrong += [tag for _, value in attributes if value and value.endswith("/")]

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)

    def handle_data(self, data):
        self.words.append(data)


def checked(page):
    reader = Checked()
    reader.feed(page)
    assert not reader.wrong
    assert not reader.open
    return reader


def evaluated(seed=0):
    """An image of a slope, two predictions of it, and what was found of them."""
    rng = np.random.default_rng(seed)
    target = np.tile(np.linspace(1, 6, 40), (30, 1))
    spread = np.full(target.shape, 0.1)
    good = target + spread * rng.standard_normal(target.shape)
    target[5, 5] = np.nan
    predictions = {NASTY: good, "constant": np.full(target.shape, 3.0)}
    image = EvaluatedImage(
        name=f"{NASTY} {seed}",
        target=target,
        predictions=predictions,
        picture=rng.integers(0, 255, (30, 40, 3), dtype=np.uint8),
        uncertainty={NASTY: spread},
    )
    runs, rows = [], []
    for name, prediction in predictions.items():
        scores = DepthScores(depth_edges=np.linspace(1, 6, 6), coc_edges=[-5, 0, 5])
        scores.add(prediction, target, coc=np.nan_to_num(3 - target))
        sure = UncertaintyScores(depth_edges=np.linspace(1, 6, 6))
        sure.add(prediction, spread, target)
        found = scores.result()
        runs.append(
            EvaluatedRun(
                name=name,
                depth_curve=found.depth_curve,
                coc_curve=found.coc_curve,
                calibration=sure.result() if name == NASTY else None,
                facts={"seed": f"{seed} {NASTY}"},
            )
        )
        rows.append(TableRow(name=name, values=found.per_image))
    return image, runs, Table(rows=rows, caption=f"Mean over images {NASTY}")


@pytest.fixture(scope="module")
def page():
    image, runs, table = evaluated()
    return evaluation_page(f"title {NASTY}", {NASTY: NASTY}, [table], runs, [image], [NASTY])


def test_the_page_is_well_formed_escaped_and_refers_to_nothing_else(page):
    found = checked(page)
    assert "<b>&" not in page
    assert all(address.startswith("data:") for address in found.addresses)
    assert "<script" not in page
    assert "default-src 'none'" in page
    assert f"title {NASTY}" in "".join(found.words)


def test_every_picture_is_there_and_described(page):
    # Input, truth, and of the runs depth and error each, and one uncertainty.
    images = checked(page).images
    assert len(images) == 2 + 2 * 2 + 1
    assert all(image["alt"] for image in images)
    assert {image["width"] for image in images} == {"40"}


def test_every_curve_and_its_colours(page):
    assert page.count("<figure><figcaption>") == 6
    assert page.count('<ul class="key">') == 1
    assert "NaN" not in page
    assert "nan" not in re.sub(r"base64,[^\"]*", "", page)
    assert "depth, m" in page
    assert page.count("var(--run1)") >= 3


def test_numbers_beside_a_run_are_those_of_its_image(page):
    image, _, _ = evaluated()
    error = image.error("constant")
    assert f"RMSE {np.sqrt(np.nanmean(error**2)):.3f} m" in page
    assert np.isnan(error[5, 5])


def test_the_same_input_gives_the_same_page(page):
    image, runs, table = evaluated()
    assert evaluation_page(f"title {NASTY}", {NASTY: NASTY}, [table], runs, [image], [NASTY]) == page


def test_a_page_of_one_run_alone():
    found = evaluation_page("a", {}, [], [EvaluatedRun(name="only")])
    checked(found)
    assert "<h2>" not in found


def test_runs_that_were_given_different_pictures():
    image, runs, _ = evaluated()
    black, white = (np.full((30, 40, 3), v, np.uint8) for v in (0, 255))
    own = EvaluatedImage(
        name="a", target=image.target, predictions=image.predictions, picture={NASTY: black, "constant": white}
    )
    assert len(checked(evaluation_page("a", {}, [], runs, [own])).images) == 1 + 2 * 3
    told = [replace(run, facts={"input": seen}) for run, seen in zip(runs, ("aif", "rendered captures"), strict=True)]
    page = evaluation_page("a", {}, [], told, [own])
    assert page.count("<b>Input: sharp image</b>") == page.count("<b>Input: rendered capture</b>") == 1


def test_pixels_that_do_not_count_and_unknown_predictions_are_no_error():
    image, runs, _ = evaluated()
    valid = np.zeros(image.target.shape, bool)
    none = EvaluatedImage(name="a", target=image.target, predictions=image.predictions, valid=valid)
    assert "no pixel counts" in evaluation_page("a", {}, [], runs, [none])
    unknown = EvaluatedImage(name="a", target=image.target, predictions={"constant": image.target * np.nan})
    assert "no pixel counts" in evaluation_page("a", {}, [], runs, [unknown])


def test_scales_hold_all_runs_but_for_outliers():
    target = np.full((10, 20), 2.0)
    errors = [np.full((10, 20), 0.1), np.full((10, 20), -0.37)]
    errors[0][0, 0] = 1e6
    found = shared_scales(target, errors, [])
    assert (found.near, found.far) == (2, 2)
    assert found.error == pytest.approx(0.4)
    assert found.std == 1


def test_too_near_is_orange_and_too_far_is_blue():
    orange, blue = coc_colours(-np.array([[-0.5, 0.5]]), 1.0)[0].astype(int)
    assert orange[0] > orange[2]
    assert blue[2] > blue[0]


def test_unknown_uncertainty_is_hatched_and_more_is_brighter():
    found = spread_colours(np.array([[0.0, 1.0, np.nan, np.nan, np.nan, np.nan, np.nan]]), 1.0)[0].astype(int)
    assert found[0].sum() < found[1].sum()
    assert {tuple(c) for c in found[2:]} == {(70, 70, 70), (92, 92, 92)}


def test_a_curve_with_gaps_lies_where_its_values_are():
    x = np.array([0.0, 1, 2, 3, 4])
    y = np.array([0.0, 1, np.nan, 1, 2])
    found = curve_figure("t", "n", [Curve(name="c", run=0, x=x, y=y)], x_title="x")
    path = re.search(r'class="curve" d="([^"]*)"', found)[1]
    assert path.count("M") == 2
    assert path.startswith("M48.0 200.0L139.5")
    assert found.count("<circle") == 4
    assert ">0<" in found
    assert "\u22120<" not in found


def test_curves_without_known_values_leave_empty_axes():
    checked(curve_figure("t", "n", [Curve(name="c", run=0, x=np.arange(2.0), y=np.full(2, np.nan))], x_title="x"))
    checked(curve_figure("t", "n", [], x_title="x"))


def test_what_cannot_be_shown_is_refused():
    image, runs, _ = evaluated()
    refusal(lambda: evaluation_page("a", {}, [], []), "1 to 8 runs")
    refusal(lambda: evaluation_page("a", {}, [], [runs[0], runs[0]]), "different names")
    refusal(lambda: evaluation_page("a", {}, [], runs[:1], [image]), "'constant'", "not among the runs")
    refusal(lambda: EvaluatedImage(name="a", target=np.ones(3), predictions={}), "(H, W)")
    refusal(lambda: EvaluatedImage(name="a", target=np.ones((3, 3)), predictions={"b": np.ones((3, 4))}), "(3, 4)")
    short = Curve(name="c", run=0, x=np.arange(2.0), y=np.arange(3.0))
    refusal(lambda: curve_figure("t", "n", [short], x_title="x"), "as many x as y")
    refusal(lambda: curve_figure("t", "n", [], x_title="x", edges=[0, 1], share=[1, 1]), "N shares")
