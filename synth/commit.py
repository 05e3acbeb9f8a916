"""Commit markers: what makes an interrupted dataset resumable.

While a dataset is being made, `_commit/<split>-<shard>.json` says that a shard of every array is on disk, with the
content digest of each sample. Finishing turns the markers into `samples.csv` and deletes them.
"""

import csv
import hashlib
import io
import json
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr

from .. import InputError
from .arrays import shard_samples
from .files import write_atomically
from .samples import SampleMaker
from .store import array_digest, sample_digest, write_array

FOLDER = "_commit"
SAMPLES = "samples.csv"


@dataclass(frozen=True, slots=True)
class Shard:
    """A run of samples of one split that is made, written and committed as a whole.

    Attributes
    ----------
    split
        Its split.
    number
        Its number within the split.
    first_row
        Row of its first sample within the split.
    samples
        Numbers of its samples in the recipe.
    """

    split: str
    number: int
    first_row: int
    samples: tuple[int, ...]

    @property
    def name(self) -> str:
        """Name of the shard and of its marker."""
        return f"{self.split}-{self.number:06d}"


def split_indices(maker: SampleMaker) -> dict[str, npt.NDArray[np.int64]]:
    """Sample numbers of each split that has any, ascending, in the order of the recipe's splits."""
    members: dict[str, list[int]] = {}
    for sample in range(maker.count):
        members.setdefault(maker.split(sample), []).append(sample)
    return {name: np.array(members[name], np.int64) for name in maker.recipe.ordered_splits(members)}


def shards(maker: SampleMaker, indices: dict[str, npt.NDArray[np.int64]]) -> list[Shard]:
    """All shards of a dataset, in order."""
    per_shard = shard_samples(maker.recipe, maker.size, maker.count)
    return [
        Shard(split, first // per_shard, first, tuple(int(i) for i in rows[first : first + per_shard]))
        for split, rows in indices.items()
        for first in range(0, len(rows), per_shard)
    ]


def make_shard(out: Path, maker: SampleMaker, shard: Shard) -> dict[str, Any]:
    """Make, write and commit one shard; a committed one is left alone.

    Returns
    -------
    The marker: the rows of `samples.csv` for its samples.

    Raises
    ------
    InputError
        If a scene cannot be read.
    OSError
        If the disk refuses; nothing is committed then.
    """
    content = committed_shard(out, maker, shard)
    if content is not None:
        return content
    made = [maker.make(sample) for sample in shard.samples]
    group = zarr.open_group(out / f"{shard.split}.zarr", mode="r+")
    for name in made[0]:
        write_array(group, name, shard.first_row, np.stack([arrays[name] for arrays in made]))
    rows = []
    for offset, (sample, arrays) in enumerate(zip(shard.samples, made, strict=True)):
        digests = {name: array_digest(array) for name, array in arrays.items()}
        rows.append(
            {
                "index": sample,
                "split": shard.split,
                "row": shard.first_row + offset,
                "source": maker.source(sample),
                "digest": sample_digest(digests),
                **{f"sha256_{name}": digest for name, digest in digests.items()},
            }
        )
    content = {"recipe_hash": maker.recipe.hash(), "samples": rows}
    write_atomically(_marker(out, shard), json.dumps(content))
    return content


def _marker(out: Path, shard: Shard) -> Path:
    return out / FOLDER / f"{shard.name}.json"


def committed_shard(out: Path, maker: SampleMaker, shard: Shard) -> dict[str, Any] | None:
    """Return the marker of a shard, or None if it is not committed, or by a marker that is not its own."""
    try:
        content: dict[str, Any] = json.loads(_marker(out, shard).read_text(encoding="utf-8"))
        indices = tuple(row["index"] for row in content["samples"])
        fields = {"index", "split", "row", "source", "digest", *(f"sha256_{n}" for n in maker.recipe.arrays)}
        whole = all(row.keys() == fields for row in content["samples"])
        mine = content["recipe_hash"] == maker.recipe.hash() and indices == shard.samples
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return None
    return content if mine and whole else None


def finish(out: Path, maker: SampleMaker, todo: list[Shard]) -> None:
    """Turn the markers of all shards into `samples.csv`, then delete them; safe to repeat.

    Raises
    ------
    InputError
        If a shard is not committed.
    """
    rows: list[dict[str, Any]] = []
    for shard in todo:
        content = committed_shard(out, maker, shard)
        if content is None:
            raise InputError(f"shard {shard.name} of {out} is not committed: run `defocal resume {out}`.")
        rows += content["samples"]
    rows.sort(key=lambda row: row["index"])
    write_atomically(out / SAMPLES, _table(rows))
    remove_markers(out)


def remove_markers(out: Path) -> None:
    """Delete the `_commit` folder in one step, so that no half of it can be seen."""
    gone = out / (FOLDER + ".partial")
    shutil.rmtree(gone, ignore_errors=True)
    (out / FOLDER).rename(gone)
    shutil.rmtree(gone)


def read_samples(out: Path) -> list[dict[str, str]]:
    """Read the rows of `samples.csv`, in the order of `index`.

    Raises
    ------
    InputError
        If the file is missing, or anything but what `finish` wrote.
    """
    path = out / SAMPLES
    try:
        text = path.read_bytes().decode()
        rows = list(csv.DictReader(io.StringIO(text, newline=""), strict=True))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"cannot read {path}: {error}.") from None
    if not rows or not {"index", "split", "row", "source", "digest"} <= set(rows[0]):
        raise InputError(f"{path} is not the sample table of a defocal dataset.")
    numbers = [row["index"] for row in rows] + [row["row"] for row in rows]
    if not all(re.fullmatch(r"0|[1-9][0-9]{0,17}", number or "") for number in numbers):
        raise InputError(f"{path} is damaged: it holds sample numbers that are none.")
    indices = [int(row["index"]) for row in rows]
    if indices != sorted(set(indices)) or text != _table(rows):
        raise InputError(f"{path} is damaged: its rows are not those that were written.")
    return rows


def _table(rows: Sequence[Mapping[str, Any]]) -> str:
    text = io.StringIO()
    table = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n", extrasaction="ignore")
    table.writeheader()
    table.writerows(rows)
    return text.getvalue()


def dataset_digest(rows: list[dict[str, str]]) -> str:
    """Digest of a dataset: sha256 over index, split, source and content digest of its samples, hexadecimal."""
    lines = (f"{row['index']} {row['split']} {row['source']} {row['digest']}" for row in rows)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
