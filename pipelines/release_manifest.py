"""Lists of digests: what lies in a release, proved with `sha256sum` alone, and which samples a damaged file concerns.

`data.sha256` lists the files of the dataset itself, and the sha256 of that list is the release's id. `manifest.sha256`
lists every file but itself. Both are plain output of `sha256sum`, sorted by path.
"""

import csv
import hashlib
import io
import json
import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import InputError
from ..synth.places import ObjectPath, Place

MANIFEST, DATA = "manifest.sha256", "data.sha256"
CARD, CITATION, LICENCE, CROISSANT, ENVIRONMENT = (
    "README.md", "CITATION.cff", "LICENSE", "croissant.json", "environment.txt",
)  # fmt: skip
PICTURES = "pictures"
RELEASED = (CARD, CITATION, LICENCE, CROISSANT, ENVIRONMENT, PICTURES, DATA, MANIFEST)
"""What a release has in its folder besides the dataset."""
HOSTS = (".git", ".gitattributes", ".cache")
"""What hosts and their programs add at the top of a folder: no part of a release, and nothing reads it."""
_LINE = re.compile(r"([0-9a-f]{64})  ([^\\\n\r]+)")
_SHARD = re.compile(r"([a-z][a-z0-9_]*)\.zarr/([a-z_]+)/c/([0-9]+)(?:/[0-9]+)*")
_SPLIT = re.compile(r"([a-z][a-z0-9_]*)\.zarr/.*")


@dataclass(frozen=True, slots=True)
class Damage:
    """A file of a release that is not as it was released.

    Attributes
    ----------
    file
        Its path in the release.
    what
        How it is wrong, in words.
    split
        The split that it concerns, or nothing.
    rows
        The rows of that split that it may concern, from the first up to but without the last.
    samples
        Their numbers, as far as `samples.csv` can be read.
    """

    file: str
    what: str
    split: str = ""
    rows: tuple[int, int] | None = None
    samples: tuple[int, ...] = ()

    def __str__(self) -> str:
        if not self.split:
            return f"{self.file} {self.what}."
        if self.rows is None:
            return f"{self.file} {self.what}: it concerns all samples of {self.split}."
        first, end = self.rows
        rows = f"row {first}" if end == first + 1 else f"rows {first} to {end - 1}"
        if not self.samples:
            return f"{self.file} {self.what}: it concerns {self.split}, {rows}."
        shown = ", ".join(map(str, self.samples[:12])) + (" ..." if len(self.samples) > 12 else "")
        return (
            f"{self.file} {self.what}: it concerns sample{'s'[: len(self.samples) > 1]} {shown} ({self.split}, {rows})."
        )


def is_release(folder: Place) -> bool:
    """Tell whether a folder says that it is a release."""
    return (folder / MANIFEST).is_file()


def file_digest(path: Place) -> str:
    """Return the sha256 of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def files_of(folder: Place) -> tuple[list[str], list[str]]:
    """Return the paths of all files under a folder, sorted, and of what is neither file nor folder.

    What hosts add is left out.
    """
    files, others = [], []
    if isinstance(folder, ObjectPath):
        return sorted(name for name, _ in folder.files() if name.split("/")[0] not in HOSTS), []
    for root, folders, names in os.walk(folder):
        if Path(root) == folder:
            folders[:] = [name for name in folders if name not in HOSTS]
            names = [name for name in names if name not in HOSTS]
        for name in [*folders, *names]:
            path = Path(root, name)
            inside = path.relative_to(folder).as_posix()
            if path.is_symlink() or not (path.is_file() or path.is_dir()):
                others.append(inside)
            elif path.is_file():
                files.append(inside)
    return sorted(files), sorted(others)


def is_data(name: str) -> bool:
    """Tell whether a path in a release is a file of the dataset itself."""
    return name in ("recipe.toml", "samples.csv") or name.split("/")[0].endswith(".zarr")


def listing(digests: Mapping[str, str]) -> str:
    """Write digests by path as `sha256sum` does, sorted by path.

    Raises
    ------
    InputError
        If a path cannot stand in a line.
    """
    for name in digests:
        if not _LINE.fullmatch(f"{'0' * 64}  {name}"):
            raise InputError(f"{name!r} cannot be listed: rename it without backslashes and line ends.")
    return "".join(f"{digests[name]}  {name}\n" for name in sorted(digests))


def read_listing(path: Place) -> tuple[dict[str, str], str | None]:
    """Read a list of digests as far as it can be read, and say what is wrong with it."""
    digests: dict[str, str] = {}
    try:
        text = path.read_bytes().decode()
    except (OSError, UnicodeDecodeError) as error:
        return digests, f"cannot be read ({getattr(error, 'strerror', None) or 'it is no text'})"
    wrong = 0
    for line in text.split("\n")[:-1]:
        match = _LINE.fullmatch(line)
        if match:
            digests[match[2]] = match[1]
        wrong += not match
    if wrong:
        return digests, f"is damaged in {wrong} of its lines"
    if not digests or text != listing(digests):
        return digests, "is damaged: its lines are not as they were written"
    return digests, None


def release_id(listed: str) -> str:
    """Return the id of a release: the sha256 of its `data.sha256`, hexadecimal."""
    return hashlib.sha256(listed.encode()).hexdigest()


def stored_id(folder: Place) -> str:
    """Return the id of the release in a folder, by its `data.sha256`; nothing if there is none."""
    path = folder / DATA
    return file_digest(path) if path.is_file() else ""


def check_files(folder: Place, report: Callable[[str], None] = lambda name: None) -> list[Damage]:
    """Compare every file of a release with its manifest.

    Parameters
    ----------
    report
        Called with the path of each file after it was read.

    Returns
    -------
    What is damaged, missing, or does not belong there; any single flipped bit is.
    """
    listed, wrong = read_listing(folder / MANIFEST)
    found = [Damage(MANIFEST, wrong)] if wrong else []
    files, others = files_of(folder)
    found += [Damage(name, "is a link, or no file: a release holds files alone") for name in others]
    digests = {}
    for name in files:
        if name == MANIFEST:
            continue
        if name not in listed:
            found.append(_damage(folder, name, "does not belong to the release"))
            continue
        try:
            digests[name] = file_digest(folder / name)
        except OSError as error:
            found.append(_damage(folder, name, f"cannot be read ({error.strerror})"))
            continue
        if digests[name] != listed[name]:
            found.append(_damage(folder, name, "differs from its digest"))
        report(name)
    found += [_damage(folder, name, "is missing") for name in sorted(set(listed) - set(files))]
    data = {name: digest for name, digest in listed.items() if is_data(name)}
    if not found and read_listing(folder / DATA) != (data, None):
        found.append(Damage(DATA, f"does not list the data as {MANIFEST} does"))
    return found


def check_data(folder: Place, digests: Mapping[str, str]) -> list[Damage]:
    """Compare the files of a dataset with the `data.sha256` of an earlier release in the same folder."""
    listed, wrong = read_listing(folder / DATA)
    if wrong:
        return [Damage(DATA, wrong)]
    changed = sorted(name for name in {*listed, *digests} if listed.get(name) != digests.get(name))
    return [_damage(folder, name, "is not what the earlier release holds") for name in changed]


def _damage(folder: Place, name: str, what: str) -> Damage:
    """Find out which samples a file concerns."""
    if match := _SHARD.fullmatch(name):
        split, array, number = match[1], match[2], int(match[3])
        per_shard = _per_shard(folder / f"{split}.zarr" / array / "zarr.json")
        if array != "index" and per_shard:
            first, end = number * per_shard, (number + 1) * per_shard
            numbers = _numbers(folder, split)
            end = min(end, max(max(numbers, default=first) + 1, first + 1)) if numbers else end
            samples = tuple(numbers[row] for row in range(first, end) if row in numbers)
            return Damage(name, what, split, (first, end), samples)
    if match := _SPLIT.fullmatch(name):
        return Damage(name, what, match[1])
    return Damage(name, what)


def _per_shard(path: Place) -> int:
    """Return the samples of a shard by an array's metadata, which may be damaged; 0 if they do not tell."""
    try:
        shape: Any = json.loads(path.read_bytes())["chunk_grid"]["configuration"]["chunk_shape"]
        return int(shape[0]) if 0 < int(shape[0]) < 2**31 else 0
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return 0


def _numbers(folder: Place, split: str) -> dict[int, int]:
    """Return the number of the sample in each row of a split, by a table that may be damaged."""
    try:
        text = (folder / "samples.csv").read_bytes().decode(errors="replace")
        rows: Iterable[dict[str, Any]] = list(csv.DictReader(io.StringIO(text, newline="")))
    except (OSError, csv.Error):
        return {}
    numbers = {}
    for row in rows:
        place, number = str(row.get("row")), str(row.get("index"))
        if row.get("split") == split and place.isascii() and place.isdigit() and number.isascii() and number.isdigit():
            numbers[int(place[:18])] = int(number[:18])
    return numbers
