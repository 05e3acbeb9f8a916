"""Tables: the best in bold, spreads over seeds, and names that no format trips over."""

import json
import math
import re
import shutil
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rgbd import refusal

from defocal.evaluate.tables import Table, TableRow, table_html, table_json, table_latex, table_markdown

PAIR = Table(
    rows=[
        TableRow(name="defocus", values={"rmse": [0.30, 0.32, 0.34], "delta1": 0.91, "psnr": math.inf}),
        TableRow(name="sharp & all_in|focus", values={"rmse": [0.8, 0.9, 1.0], "delta1": 0.62}),
    ],
    caption="Both on 100% of the test set.",
)


def test_markdown_in_full():
    assert table_markdown(PAIR).split("\n") == [
        "Both on 100% of the test set.",
        "",
        "|                        |      RMSE \\[m\\] ↓ | δ \\< 1.25 ↑ | PSNR \\[dB\\] ↑ |",
        "| ---------------------- | ----------------: | ----------: | ------------: |",
        "| defocus                | **0.320 ± 0.020** |   **0.910** |             ∞ |",
        "| sharp & all\\_in\\|focus |     0.900 ± 0.100 |       0.620 |             \u2013 |",
        "",
        "Mean ± standard deviation (n \u2212 1) over 3 seeds.",
        "",
    ]


def test_latex_in_full():
    found = table_latex(PAIR, "tab:pair")
    assert r"\caption{Both on 100\% of the test set. Mean $\pm$ standard deviation (n $-$ 1) over 3 seeds.}" in found
    assert r"defocus & \textbf{0.320 $\pm$ 0.020} & \textbf{0.910} & $\infty$ \\" in found
    assert r"sharp \& all\_in|focus & 0.900 $\pm$ 0.100 & 0.620 & -- \\" in found
    assert r"RMSE {[}m] $\downarrow$ & $\delta$ \textless{} 1.25 $\uparrow$" in found
    assert r"\begin{tabular}{lrrr}" in found
    assert [line.strip() for line in found.splitlines()].count(r"\midrule") == 1


@pytest.mark.skipif(not shutil.which("pdflatex"), reason="no LaTeX on this machine")
def test_latex_compiles(tmp_path):
    text = r"\documentclass{article}\usepackage{booktabs}\begin{document}" + table_latex(PAIR) + r"\end{document}"
    (tmp_path / "t.tex").write_text(text)
    subprocess.run(["pdflatex", "-halt-on-error", "t.tex"], cwd=tmp_path, check=True, capture_output=True)


def test_json_has_every_number():
    found = json.loads(table_json(PAIR))
    assert found["metrics"]["rmse"] == {"title": "RMSE", "unit": "m", "better": "lower", "best": ["defocus"]}
    first, second = (row["values"] for row in found["rows"])
    assert first["rmse"]["seeds"] == [0.30, 0.32, 0.34]
    assert first["rmse"]["deviation"] == pytest.approx(0.02)
    assert first["psnr"] == {"mean": None, "deviation": None, "seeds": [None]}
    assert second["psnr"]["seeds"] == []


def test_html_escapes_names_and_marks_the_best():
    row = TableRow(name="<script>alert(1)</script>", values={"rmse": 0.2})
    found = table_html(Table(rows=[row, TableRow(name="b", values={"rmse": 0.3})], caption="a < b"))
    assert "<script>" not in found
    assert "&lt;script&gt;" in found
    assert found.count("<b>") == 1
    assert "<b>0.200</b>" in found
    assert "<caption>a &lt; b</caption>" in found


def test_what_is_printed_equal_is_equally_best():
    table = Table(
        rows=[TableRow(name=n, values={"rmse": v, "ssim": v}) for n, v in (("a", 0.20001), ("b", 0.20002), ("c", 0.3))]
    )
    assert table.best("rmse") == {"a", "b"}
    assert table.best("ssim") == {"c"}
    same = Table(rows=[TableRow(name=n, values={"rmse": 0.2}) for n in "ab"])
    assert same.best("rmse") == set()
    assert Table(rows=[TableRow(name="a", values={"rmse": 0.2})]).best("rmse") == set()


def test_unknown_numbers_are_dashes_and_never_best():
    table = Table(rows=[TableRow(name="a", values={"rmse": math.nan}), TableRow(name="b", values={"rmse": 1.0})])
    assert table.best("rmse") == set()
    assert table.cell(table.rows[0], "rmse") == "\u2013"
    mixed = TableRow(name="c", values={"rmse": [1.0, math.nan]})
    assert table.cell(mixed, "rmse") == "1.000"


def test_numbers_that_are_not_ours_and_columns_by_choice():
    table = Table(rows=[TableRow(name="a", values={"seconds": 3, "rmse": -1e-9})], metrics=["rmse", "seconds"])
    assert table.columns() == ["rmse", "seconds"]
    assert "| 0.000 |" in re.sub(r" +", " ", table_markdown(table))
    assert "seconds ↓" in table_markdown(table)
    assert table.note() == ""


def test_tables_without_rows_or_with_twins_are_refused():
    refusal(lambda: Table(rows=[]), "at least one row")
    refusal(lambda: Table(rows=[TableRow(name="a", values={}), TableRow(name="a", values={})]), "different names")


@given(st.text(max_size=30), st.floats(0, 1e6))
def test_any_name_keeps_the_shape_of_a_table(name, value):
    table = Table(rows=[TableRow(name=name, values={"rmse": value}), TableRow(name=name + "x", values={"rmse": 2.0})])
    lines = [line for line in table_markdown(table).split("\n") if line]
    assert all(len(re.findall(r"(?<!\\)(?:\\\\)*\|", line)) == 3 for line in lines)
    json.loads(table_json(table))
    assert table_html(table).count("<tr>") == 3
    assert "\n" in table_latex(table)


def test_wide_tables_are_tight_and_keep_their_names_in_view():
    names = ("rmse", "mae", "mse", "abs_rel", "sq_rel", "log10", "delta1", "delta2", "rmse_defocus")
    wide = table_html(Table(rows=[TableRow(name="a", values=dict.fromkeys(names, 1.0))]))
    assert 'class="scores many"' in wide
    assert "<th scope=col>RMSE&nbsp;of&nbsp;defocus<br>[rad]&nbsp;\u2193</th>" in wide
    assert 'class="scores"' in table_html(Table(rows=[TableRow(name="a", values={"rmse": 1.0})]))
