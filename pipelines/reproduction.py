"""The folder of a reproduction: what it was begun with, and the page of what came out."""

import json
from collections.abc import Sequence
from pathlib import Path

from .. import InputError
from ..evaluate.paper_page import Reproduction, paper_page
from ..evaluate.relations import Relation
from ..synth.files import write_atomically
from .papers import Paper

BEGUN, PAGE, NUMBERS = "reproduction.json", "report.html", "relations.json"


def prepare(paper: Paper) -> None:
    """Begin a reproduction in its folder, or go on with it there.

    Raises
    ------
    InputError
        If the folder holds anything else, or was begun in another way.
    """
    begun = {"paper": paper.name, "scale": paper.scale, "scenes": paper.scenes}
    path = paper.out / BEGUN
    if path.is_file():
        found = json.loads(path.read_text(encoding="utf-8"))
        if found != begun:
            words = ", ".join(f"{name} {value}" for name, value in found.items() if value)
            raise InputError(f"{paper.out} was begun with {words}: give the same, or another --out.")
        return
    if paper.out.exists() and (not paper.out.is_dir() or any(paper.out.iterdir())):
        raise InputError(f"{paper.out} holds something else: give another --out.")
    paper.out.mkdir(parents=True, exist_ok=True)
    write_atomically(path, json.dumps(begun, indent=2) + "\n")


def write_page(paper: Paper) -> tuple[Path, Sequence[Relation]]:
    """Write the page and the relations as JSON; return the page's path, and the relations."""
    found = paper.found()
    write_atomically(paper.out / NUMBERS, json.dumps(_numbers(found), indent=2) + "\n")
    write_atomically(paper.out / PAGE, paper_page(found))
    return paper.out / PAGE, found.relations


def _numbers(found: Reproduction) -> dict[str, object]:
    return {
        "title": found.title,
        **found.facts,
        "relations": [
            {"text": one.text, "verdict": one.verdict, "better": list(one.better), "worse": list(one.worse),
             "paper": one.paper}
            for one in found.relations
        ],
        "tables": {
            table.title: {
                row.name: {"ours": {k: row.seeds(k) for k in row.values}, "paper": dict(table.paper.get(row.name, {}))}
                for row in table.rows
            }
            for table in found.tables
        },
    }  # fmt: skip
