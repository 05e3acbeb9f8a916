"""Whether workers elsewhere would make the same samples as this process: versions, sources, recipe, files."""

import functools
import hashlib
import json
from pathlib import Path
from typing import Any

from .. import InputError
from ..synth.commit import FOLDER
from ..synth.places import Place, is_remote, place
from ..synth.recipe import Recipe
from ..synth.store import versions


@functools.cache
def identity() -> dict[str, str]:
    """Versions of all that makes samples, and a digest of our own sources, in this process."""
    digest = hashlib.sha256()
    root = Path(__file__).parents[1] / "synth"
    for path in sorted(root.rglob("*.py")):
        digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    found = versions()
    return {**found, "python": ".".join(found["python"].split(".")[:2]), "sources": digest.hexdigest()[:16]}


def difference(worker: str, theirs: dict[str, str], mine: dict[str, str]) -> str | None:
    """Say in a sentence what a worker has that differs from what this run has."""
    for name, version in mine.items():
        other = theirs.get(name)
        if other != version:
            what = f"other sources of defocal {mine['defocal']}" if name == "sources" else f"{name} {other}"
            own = "" if name == "sources" else f" {version}"
            return (
                f"worker {worker} has {what} where this run has{own or ' its own'}: samples could differ. "
                "Install the same there, or leave that worker out."
            )
    return None


def _introduce(recipe: str, out: str) -> dict[str, Any]:
    """Say on a worker what it has: versions, the hash that it computes of the recipe, whether it sees the dataset."""
    return {**identity(), "recipe": Recipe.parse(json.loads(recipe)).hash(), "sees": not out or sees(out)}


def sees(out: str) -> bool:
    """Tell whether this process sees the dataset under way in `out`."""
    return (place(out) / FOLDER).is_dir()


def unseen(worker: str, out: str) -> str:
    """Say that a worker does not see the dataset in `out`."""
    if is_remote(out):
        return f"worker {worker} cannot see {out}: give it the same endpoint and credentials in its environment."
    return f"worker {worker} cannot see {out}: it must lie on a file system that all workers share under the same path."


def check_workers(client: Any, recipe: Recipe, out: Place | None = None) -> None:
    """Compare what the workers there are have with what this process has.

    Raises
    ------
    InputError
        Naming the first worker that differs, and both versions.
    """
    where = str(out.absolute()) if out else ""
    answers = client.run(_introduce, json.dumps(recipe.to_dict()), where, on_error="return")
    mine = {**identity(), "recipe": recipe.hash()}
    for worker, theirs in answers.items():
        if isinstance(theirs, OSError):
            continue  # It has just gone.
        if not isinstance(theirs, dict):
            raise InputError(
                f"worker {worker} cannot run defocal {mine['defocal']} ({type(theirs).__name__}: {theirs}): "
                "install the same there, or leave that worker out."
            )
        if sentence := difference(worker, theirs, mine):
            raise InputError(sentence)
        if not theirs["sees"]:
            raise InputError(unseen(worker, where))
