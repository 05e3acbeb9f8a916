"""Relations and their verdicts, and the page of a reproduction."""

import re

import numpy as np
import pytest
from rgbd import refusal

from defocal.evaluate.paper_page import PaperPicture, PaperTable, Reproduction, duration, paper_page
from defocal.evaluate.relations import Relation
from defocal.evaluate.tables import TableRow


@pytest.mark.parametrize(
    ("better", "worse", "verdict"),
    [
        ([1.0, 1.1, 0.9], [2.0, 2.1, 1.9], "holds"),
        ([1.0, 1.5, 0.5], [1.2, 1.7, 0.7], "within the spread"),
        ([1.0], [2.0], "one seed"),
        ([1.0, 1.1], [2.0], "one seed"),
        ([2.0, 2.1], [1.0, 1.1], "does not hold"),
        ([1.0], [1.0], "does not hold"),
    ],
)
def test_verdicts(better, worse, verdict):
    assert Relation(text="a below b", better=better, worse=worse).verdict == verdict
    higher = Relation(text="b above a", better=[-x for x in better], worse=[-x for x in worse], higher=True)
    assert higher.verdict == verdict
    assert higher.holds == (verdict == "holds")


def test_seeds_are_compared_one_by_one():
    unlucky = Relation(text="a below b", better=[1.6, 1.1, 1.0], worse=[1.8, 1.5, 1.4])
    assert unlucky.verdict == "within the spread"
    assert unlucky.won == 3
    assert Relation(text="b above a", better=[1.8, 1.5], worse=[1.6, 1.5], higher=True).won == 1
    assert Relation(text="a below b", better=[1.0, 1.1], worse=[2.0]).won is None
    assert Relation(text="a below b", better=[1.0], worse=[2.0]).won is None


def test_the_spread_is_the_sum_of_both():
    one = Relation(text="a", better=[1.0, 3.0], worse=[10.0, 10.0])
    assert one.spread == pytest.approx(2**0.5)
    assert one.gain == pytest.approx(8.0)


@pytest.mark.parametrize("numbers", [[], [float("nan")], [float("inf")]])
def test_numbers_that_are_none_are_refused(numbers):
    refusal(lambda: Relation(text="a below b", better=numbers, worse=[1.0]), "a below b")


def reproduction(**changes):
    rows = [TableRow(name="ours <b>", values={"rmse": [1.0, 1.2]}), TableRow(name="other", values={"rmse": [2.0, 2.2]})]
    paper = {"ours <b>": {"rmse": 0.5}}
    found = {
        "title": "A & B",
        "paper": "Someone 2020",
        "facts": {"scale": "smoke"},
        "tables": [PaperTable(title="Table 1", rows=rows, paper=paper, note="Half the size.")],
        "relations": [
            Relation(text="RMSE: ours <b> below other", better=[1.0, 1.2], worse=[2.0, 2.2], paper=(0.5, 0.9))
        ],
        "pictures": [PaperPicture(caption="A mask", picture=np.zeros((4, 6, 3), np.uint8))],
        "commands": [("defocal generate x 'a b'", 61.0), ("defocal train <y>", None)],
    }
    return Reproduction(**{**found, **changes})


def test_the_page_says_everything_and_refers_to_nothing_outside():
    page = paper_page(reproduction())
    assert page == paper_page(reproduction())
    for words in ("A &amp; B", "Someone 2020", "Table 1", "1.100", "paper 0.500", "0.5 against 0.9", "holds",
                  "ours &lt;b&gt;", "A mask", "defocal train &lt;y&gt;", "61 s", "Half the size."):  # fmt: skip
        assert words in page, words
    assert not re.search(r"(src|href)=\"(?!data:)", page)
    assert "<script" not in page


def test_a_page_without_pictures_and_commands():
    page = paper_page(reproduction(pictures=[], commands=[]))
    assert "Pictures" not in page
    assert "<pre>" not in page


def test_a_row_of_the_paper_that_is_none_of_ours_is_refused():
    rows = [TableRow(name="ours", values={"rmse": 1.0})]
    refusal(lambda: PaperTable(title="Table 1", rows=rows, paper={"theirs": {"rmse": 1.0}}), "theirs", "Table 1")


@pytest.mark.parametrize(("seconds", "words"), [(0.4, "0 s"), (89, "89 s"), (600, "10 min"), (7200, "2.0 h")])
def test_durations(seconds, words):
    assert duration(seconds) == words
