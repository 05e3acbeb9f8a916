"""A reproduction on one page: the paper's numbers and ours side by side, relations between them, how it was done."""

import base64
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape

import numpy as np
import numpy.typing as npt

from .. import InputError
from .curves import CURVE_STYLE, Curve, curve_figure, key
from .measures import measure
from .page import HEAD, STYLE
from .pictures import eight_bits, webp_bytes
from .relations import Relation
from .tables import Table, TableRow, heading

_STYLE = (
    CURVE_STYLE
    + """
section{margin:2.2rem 0}section>h2{font-size:1.25rem;margin:0 0 .5rem}
.wide{overflow-x:auto}.note{color:var(--muted);font-size:.87rem;margin:.2rem 0;max-width:75ch}
.scores{margin:.5rem 0;font-variant-numeric:tabular-nums}
.scores th,.scores td{white-space:nowrap;padding:.3rem 1.4rem .3rem 0;text-align:right}
.scores th[scope=row],.scores .text{text-align:left;color:var(--ink);white-space:normal}
.scores thead :is(th,td){border-bottom:1px solid var(--line);font-size:.87rem}
.scores i{font-style:normal;color:var(--muted)}
.holds{color:#1a7f37}.fails{color:#b3261e}.open{color:#8a6100}
@media(prefers-color-scheme:dark){.holds{color:#5fce7e}.fails{color:#ff8a80}.open{color:#e0b250}}
.strip{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(420px,100%),1fr));gap:1rem}
.strip img{width:100%;height:auto;display:block;border-radius:4px}
.strip figcaption{font-weight:400;font-size:.87rem;color:var(--muted);padding-top:.2rem}
pre{background:var(--card);padding:.8rem 1rem;border-radius:8px;overflow-x:auto;font-size:.82rem;line-height:1.6}
"""
)
_CLASSES = {"holds": "holds", "does not hold": "fails", "within the spread": "open", "one seed": "open"}


@dataclass(frozen=True, eq=False, kw_only=True)
class PaperTable:
    """One table of a paper with ours beside it.

    Parameters
    ----------
    title
        Which table of the paper it is.
    rows
        Ours: a number for each seed and metric.
    paper
        The paper's number by row and metric; what it does not give is left out.
    note
        What differs: data, sizes, steps.
    """

    title: str
    rows: Sequence[TableRow]
    paper: Mapping[str, Mapping[str, float]]
    note: str = ""

    def __post_init__(self) -> None:
        if strange := sorted(set(self.paper) - {row.name for row in self.rows}):
            raise InputError(f"the paper's row {strange[0]!r} is none of {self.title!r}.")


@dataclass(frozen=True, eq=False, kw_only=True)
class PaperPicture:
    """A picture, uint8 or uint16 (H, W, 3) sRGB, and what it shows."""

    caption: str
    picture: npt.NDArray[np.uint8] | npt.NDArray[np.uint16]


@dataclass(frozen=True, eq=False, kw_only=True)
class PaperCurves:
    """Lines over a common x, such as errors over depth.

    Parameters
    ----------
    title, note, x_title
        What they show with its unit; how to read it; what x is with its unit.
    lines
        By name, (x, y) float64 (N,) each; NaN breaks a line.
    edges, share
        Bins (N + 1,) in x and what fraction of the pixels (N,) each holds, drawn behind the lines.
    """

    title: str
    note: str
    x_title: str
    lines: Mapping[str, tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]]
    edges: npt.NDArray[np.float64]
    share: npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False, kw_only=True)
class Reproduction:
    """All that the page shows.

    Parameters
    ----------
    title, paper
        Heading, and the paper's citation.
    facts
        Scale, seeds, machine, time.
    tables, relations, pictures, curves
        What was found.
    notes
        What is left out of the page, and how to get it.
    commands
        Each step as it is typed, with the seconds that it took; None if that is not known.
    """

    title: str
    paper: str
    facts: Mapping[str, str]
    tables: Sequence[PaperTable]
    relations: Sequence[Relation]
    pictures: Sequence[PaperPicture] = ()
    curves: Sequence[PaperCurves] = ()
    notes: Sequence[str] = ()
    commands: Sequence[tuple[str, float | None]] = field(default_factory=tuple)


def paper_page(found: Reproduction) -> str:
    """Write the page: one HTML file that needs no script and refers to nothing outside itself.

    Returns
    -------
    Its text, to be written as UTF-8. The same input gives the same text.
    """
    facts = "".join(f"<tr><th scope=row>{escape(k)}</th><td>{escape(v)}</td></tr>" for k, v in found.facts.items())
    body = [
        f"<header><h1>{escape(found.title)}</h1><p class=note>{escape(found.paper)}</p><table>{facts}</table></header>",
        f"<main><section><h2>Relations that must hold</h2>{_relations(found.relations)}</section>",
        *(f"<section><h2>{escape(table.title)}</h2>{_table(table)}</section>" for table in found.tables),
        *map(_curves, found.curves),
        f'<section><h2>Pictures</h2><div class="strip">{"".join(map(_figure, found.pictures))}</div></section>'
        if found.pictures
        else "",
        "".join(f"<p class=note>{escape(text)}</p>" for text in found.notes),
        f"<section><h2>Commands</h2><pre>{_commands(found.commands)}</pre></section>" if found.commands else "",
        "</main></body></html>",
    ]
    return HEAD.format(title=escape(found.title), style=STYLE + _STYLE) + "\n".join(filter(None, body)) + "\n"


def _relations(relations: Sequence[Relation]) -> str:
    rows = []
    for one in relations:
        paper = "\u2013" if one.paper is None else f"{one.paper[0]:g} against {one.paper[1]:g}"
        ours = f"{_mean(one.better)} against {_mean(one.worse)}"
        rows.append(
            f"<tr><th scope=row>{escape(one.text)}</th><td>{paper}</td><td>{ours}</td><td>{_won(one)}</td>"
            f"<td class={_CLASSES[one.verdict]}><b>{one.verdict}</b></td></tr>"
        )
    heads = "".join(f"<th scope=col>{name}</th>" for name in ("paper", "ours", "seeds", "verdict"))
    head = f"<thead><tr><td></td>{heads}</tr></thead>"
    note = (
        "A relation holds if the means differ by more than the sum of both standard deviations over seeds; with one "
        "seed nothing is known of the spread. Seeds: with how many of them it is so, one by one."
    )
    return (
        f'<div class="wide"><table class="scores">{head}<tbody>{"".join(rows)}</tbody></table></div>'
        f"<p class=note>{note}</p>"
    )


def _won(relation: Relation) -> str:
    return "\u2013" if relation.won is None else f"{relation.won} of {relation.seeds}"


def _mean(numbers: Sequence[float]) -> str:
    return f"{statistics.fmean(numbers):.4g}" + (f" \u00b1 {statistics.stdev(numbers):.2g}" if len(numbers) > 1 else "")


def _table(table: PaperTable) -> str:
    ours = Table(rows=table.rows)
    columns = ours.columns()
    heads = "".join(f"<th scope=col>{escape(heading(name))}</th>" for name in columns)
    rows = []
    for row in table.rows:
        theirs = table.paper.get(row.name, {})
        cells = []
        for name in columns:
            paper = f"<br><i>paper {theirs[name]:.{measure(name).digits}f}</i>" if name in theirs else ""
            cells.append(f"<td>{escape(ours.cell(row, name))}{paper}</td>")
        rows.append(f"<tr><th scope=row>{escape(row.name)}</th>{''.join(cells)}</tr>")
    note = "".join(f"<p class=note>{escape(text)}</p>" for text in (table.note, ours.note()) if text)
    return (
        f'<div class="wide"><table class="scores"><thead><tr><td></td>{heads}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>{note}"
    )


def _curves(one: PaperCurves) -> str:
    lines = [Curve(name=name, run=k, x=x, y=y) for k, (name, (x, y)) in enumerate(one.lines.items())]
    drawn = curve_figure(one.title, one.note, lines, x_title=one.x_title, edges=one.edges, share=one.share)
    return f'<section>{key(list(one.lines))}<div class="strip">{drawn}</div></section>'


def _figure(one: PaperPicture) -> str:
    picture = eight_bits(one.picture)
    height, width = picture.shape[:2]
    address = f"data:image/webp;base64,{base64.b64encode(webp_bytes(picture, 88)).decode()}"
    return (
        f'<figure><img alt="{escape(one.caption)}" width={width} height={height} src="{address}">'
        f"<figcaption>{escape(one.caption)}</figcaption></figure>"
    )


def _commands(commands: Sequence[tuple[str, float | None]]) -> str:
    lines = []
    for words, seconds in commands:
        time = "" if seconds is None else f"   # {duration(seconds)}"
        lines.append(f"{escape(words)}<i>{time}</i>")
    return "\n".join(lines)


def duration(seconds: float) -> str:
    """Say how long something took."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
