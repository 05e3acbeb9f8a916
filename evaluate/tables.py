"""Tables of metrics: rows of named numbers as JSON, Markdown, LaTeX and HTML, with the best of each column in bold.

A number may be given once for each seed of a training; it is shown as mean ± sample standard deviation (n - 1), and the
best is told from the means. What is equal as printed is equally best.
"""

import json
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from .. import InputError
from .measures import Measure, measure

Numbers = float | Sequence[float]
_NONE = "\u2013"
_MANY = 8
"""Columns beyond which a table is drawn more tightly, and its names stay in view while it is moved."""
_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "[": "{[}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "\u03b4": r"$\delta$", "\u00b2": r"\textsuperscript{2}", "\u00b3": r"\textsuperscript{3}", "\u00b1": r"$\pm$",
    "\u2191": r"$\uparrow$", "\u2193": r"$\downarrow$", _NONE: "--", "\u2212": "$-$", "\u221e": r"$\infty$",
}  # fmt: skip
_MARKDOWN = {c: "\\" + c for c in "\\|*_`[]<>"} | {"\n": " "}


@dataclass(frozen=True, eq=False, kw_only=True)
class TableRow:
    """One line of a table.

    Parameters
    ----------
    name
        What was judged.
    values
        By metric: a number, or one for each seed. NaN and what is left out are shown as a dash.
    """

    name: str
    values: Mapping[str, Numbers]

    def seeds(self, metric: str) -> list[float]:
        """Return the known numbers of a metric."""
        value = self.values.get(metric, ())
        return [v for v in ([value] if isinstance(value, int | float) else value) if not math.isnan(v)]


@dataclass(frozen=True, eq=False, kw_only=True)
class Table:
    """Rows of metrics, ready to be written in any format.

    Parameters
    ----------
    rows
        At least one.
    metrics
        Names of the columns, in order; by default all that a row has, in the order of the first that has them.
    caption
        One or two sentences on what was judged and how.

    Raises
    ------
    InputError
        If there is no row, or two rows share a name.
    """

    rows: Sequence[TableRow]
    metrics: Sequence[str] = ()
    caption: str = ""

    def __post_init__(self) -> None:
        if not self.rows:
            raise InputError("a table needs at least one row; none was given.")
        if len({row.name for row in self.rows}) < len(self.rows):
            raise InputError("the rows of a table need different names; at least two share one.")

    def columns(self) -> list[str]:
        """Return the names of the columns."""
        return list(self.metrics) or list(dict.fromkeys(name for row in self.rows for name in row.values))

    def best(self, metric: str) -> set[str]:
        """Return the names of the rows that are best in a column, as it is printed; none if only one row has it."""
        means = {row.name: statistics.fmean(seeds) for row in self.rows if (seeds := row.seeds(metric))}
        shown = {name: _fixed(value, measure(metric)) for name, value in means.items()}
        if len(means) < 2 or len(set(shown.values())) < 2:
            return set()
        leader = (max if measure(metric).higher else min)(means, key=lambda name: means[name])
        return {name for name, text in shown.items() if text == shown[leader]}

    def cell(self, row: TableRow, metric: str) -> str:
        """Return a number as text: the mean, and ± its spread over seeds if there are several."""
        seeds, kind = row.seeds(metric), measure(metric)
        if not seeds:
            return _NONE
        text = _fixed(statistics.fmean(seeds), kind)
        if len(seeds) < 2 or not all(map(math.isfinite, seeds)):
            return text
        return f"{text} \u00b1 {_fixed(statistics.stdev(seeds), kind)}"

    def note(self) -> str:
        """Return what the reader is to know: how many seeds lie behind a number with a spread."""
        counts = sorted({n for row in self.rows for name in self.columns() if (n := len(row.seeds(name))) > 1})
        if not counts:
            return ""
        many = " to ".join(str(n) for n in sorted({counts[0], counts[-1]}))
        return f"Mean \u00b1 standard deviation (n \u2212 1) over {many} seeds."


def _fixed(value: float, kind: Measure) -> str:
    if math.isinf(value):
        return "\u221e" if value > 0 else "\u2212\u221e"
    text = f"{value:.{kind.digits}f}"
    return (text[1:] if float(text) == 0 and text[0] == "-" else text).replace("-", "\u2212")


def heading(metric: str) -> str:
    """Return the title of a column with its unit and the direction of better values."""
    kind = measure(metric)
    return f"{kind.title}{f' [{kind.unit}]' if kind.unit else ''} {kind.arrow}"


def _replaced(text: str, by: Mapping[str, str]) -> str:
    return "".join(by.get(c, c) for c in text)


def table_markdown(table: Table) -> str:
    """Write a table in GitHub's Markdown, columns aligned, caption and note above and below."""
    columns = table.columns()
    best = {name: table.best(name) for name in columns}

    def shown(row: TableRow, name: str) -> str:
        text = table.cell(row, name)
        return f"**{text}**" if row.name in best[name] else text

    lines = [["", *(_replaced(heading(name), _MARKDOWN) for name in columns)]]
    lines += [[_replaced(row.name, _MARKDOWN), *(shown(row, name) for name in columns)] for row in table.rows]
    widths = [max(3, *(len(line[k]) for line in lines)) for k in range(len(columns) + 1)]
    rule = [f"{'-' * (w - 1)}{'-' if k == 0 else ':'}" for k, w in enumerate(widths)]
    body = [
        "| " + " | ".join(text.ljust(w) if k == 0 else text.rjust(w) for k, (text, w) in enumerate(pairs)) + " |"
        for line in [lines[0], rule, *lines[1:]]
        for pairs in [list(zip(line, widths, strict=True))]
    ]
    parts = [_replaced(table.caption, _MARKDOWN), "\n".join(body), table.note()]
    return "\n\n".join(part for part in parts if part) + "\n"


def table_latex(table: Table, label: str = "") -> str:
    """Write a table for LaTeX with the package booktabs; `label` is what its text refers to it by."""
    columns = table.columns()
    best = {name: table.best(name) for name in columns}

    def shown(row: TableRow, name: str) -> str:
        text = _replaced(table.cell(row, name), _LATEX)
        return rf"\textbf{{{text}}}" if row.name in best[name] else text

    caption = _replaced(" ".join(part for part in (table.caption, table.note()) if part), _LATEX)
    lines = [r"\begin{table}", r"  \centering", rf"  \caption{{{caption}}}" if caption else ""]
    lines += [
        rf"  \label{{{label}}}" if label else "",
        rf"  \begin{{tabular}}{{l{'r' * len(columns)}}}",
        r"    \toprule",
    ]
    lines.append("    " + " & ".join(["", *(_replaced(heading(name), _LATEX) for name in columns)]) + r" \\")
    lines.append(r"    \midrule")
    for row in table.rows:
        cells = [_replaced(row.name.replace("\n", " "), _LATEX), *(shown(row, name) for name in columns)]
        lines.append("    " + " & ".join(cells) + r" \\")
    lines += [r"    \bottomrule", r"  \end{tabular}", r"\end{table}"]
    return "\n".join(line for line in lines if line) + "\n"


def table_html(table: Table) -> str:
    """Write a table as HTML for `evaluation_page`; names are escaped."""
    columns = table.columns()
    best = {name: table.best(name) for name in columns}
    heads = "".join(f"<th scope=col>{_heading_html(name)}</th>" for name in columns)
    rows = []
    for row in table.rows:
        cells = []
        for name in columns:
            text = escape(table.cell(row, name)).replace(" ", "&nbsp;")
            cells.append(f"<td><b>{text}</b></td>" if row.name in best[name] else f"<td>{text}</td>")
        rows.append(f"<tr><th scope=row>{escape(row.name)}</th>{''.join(cells)}</tr>")
    caption = f"<caption>{escape(table.caption)}</caption>" if table.caption else ""
    note = f"<p class=note>{escape(table.note())}</p>" if table.note() else ""
    many = " many" if len(columns) > _MANY else ""
    return (
        f'<div class="wide"><table class="scores{many}">{caption}<thead><tr><td></td>{heads}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>{note}"
    )


def _heading_html(metric: str) -> str:
    """Write the title of a column, its unit and direction below it: so many columns fit beside each other."""
    title, rest = measure(metric).title, heading(metric).removeprefix(measure(metric).title).strip()
    return f"{escape(title)}<br>{escape(rest)}".replace(" ", "&nbsp;")


def table_json(table: Table) -> str:
    """Write a table as JSON: columns with unit and direction, and every number unrounded, `null` where unknown."""
    columns = table.columns()
    found: dict[str, Any] = {"caption": table.caption, "metrics": {}, "rows": []}
    for name in columns:
        kind = measure(name)
        found["metrics"][name] = {
            "title": kind.title,
            "unit": kind.unit,
            "better": "higher" if kind.higher else "lower",
            "best": [row.name for row in table.rows if row.name in table.best(name)],
        }
    for row in table.rows:
        values = {}
        for name in columns:
            seeds = row.seeds(name)
            finite = [seed for seed in seeds if math.isfinite(seed)]
            all_finite = bool(seeds) and len(finite) == len(seeds)
            values[name] = {
                "mean": statistics.fmean(seeds) if all_finite else None,
                "deviation": statistics.stdev(seeds) if all_finite and len(seeds) > 1 else None,
                "seeds": [seed if math.isfinite(seed) else None for seed in seeds],
            }
        found["rows"].append({"name": row.name, "values": values})
    return json.dumps(found, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
