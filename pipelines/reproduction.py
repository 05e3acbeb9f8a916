"""The folder of a reproduction: what it was begun with, and the page of what came out."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .. import InputError
from ..evaluate.paper_page import Reproduction, paper_page
from ..evaluate.relations import Relation
from ..synth.files import write_atomically
from .aside import check_place
from .lease import LOCK
from .papers import Paper

BEGUN, PAGE, NUMBERS = "reproduction.json", "report.html", "relations.json"


def prepare(paper: Paper) -> None:
    """Begin a reproduction in its folder, or go on with it there.

    Raises
    ------
    InputError
        If the folder holds anything else, was begun in another way or cannot be written, or there are no such scenes.
    """
    begun = check(paper)
    if begun is None:
        return
    try:
        paper.out.mkdir(parents=True, exist_ok=True)
        write_atomically(paper.out / BEGUN, json.dumps(begun, indent=2) + "\n")
    except OSError as error:
        raise InputError(f"{paper.out} cannot be written ({error.strerror}): give another --out.") from None


def check(paper: Paper) -> dict[str, str | None] | None:
    """Refuse what can be refused before anything is begun; return what its folder is to say, None if it says that.

    Raises
    ------
    InputError
        As `prepare` does.
    """
    begun, path = check_folder(paper), paper.out / BEGUN
    if os.path.isfile(path) and read_json(path, "") == begun:
        return None
    check_place(paper.out)
    paper.check()
    return begun


def check_folder(paper: Paper) -> dict[str, str | None]:
    """Refuse a folder that is another's; return what this reproduction is begun with.

    Raises
    ------
    InputError
        If the folder holds anything else, or was begun in another way.
    """
    begun = {"paper": paper.name, "scale": paper.scale, "scenes": paper.scenes}
    begun |= {name: str(path.absolute()) for name, path in paper.given.items()}
    path = paper.out / BEGUN
    # These are false where `Path.exists` raises: for names that are too long, or folders that are not ours to see.
    if os.path.isfile(path):
        found = read_json(path, f"delete {paper.out}, or give another --out")
        # What was left out at first may be added.
        if {**begun, **found} != begun:
            words = ", ".join(f"{name} {value}" for name, value in found.items() if value)
            raise InputError(f"{paper.out} was begun with {words}: give the same, or another --out.")
        paper.times()
        _refuse_folders(paper.out)
    elif os.path.exists(paper.out) and (not os.path.isdir(paper.out) or any(paper.out.iterdir())):
        raise InputError(f"{paper.out} holds something else: give another --out.")
    return begun


def _refuse_folders(out: Path) -> None:
    """Refuse folders with the names of files that are yet to be written, perhaps hours from now."""
    for name in (LOCK, NUMBERS, PAGE):
        if (out / name).is_dir():
            raise InputError(f"{out / name} is a folder where a file belongs: move it away.")


def read_json(path: Path, otherwise: str) -> dict[str, Any]:
    """Read a JSON object; nothing of a file that is not there.

    Raises
    ------
    InputError
        If it is damaged; `otherwise` says what to do then.
    """
    try:
        found = json.loads(path.read_bytes()) if path.is_file() else {}
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise InputError(f"{path} is damaged: {otherwise}.")
    return found


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
             "won": one.won, "paper": one.paper}
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
