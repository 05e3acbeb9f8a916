"""Commit markers: what makes an interrupted dataset resumable.

While a dataset is being made, `_commit/<split>-<shard>.json` says that a shard of every array is on disk, with the
content digest of each sample. Finishing turns the markers into `samples.csv` and deletes them.

In an object store there are no folders to rename: what is being created has an object `_commit/creating` until it is
whole, and `samples.csv`, which is written last, ends it; markers that are still there do not matter any more.
"""

import contextlib
import csv
import hashlib
import io
import json
import os
import re
import shlex
import shutil
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr

from .. import InputError
from .arrays import array_layout
from .buckets import speaking
from .files import flush_to_disk, write_atomically, writing
from .places import ObjectPath, Place, as_zarr, file_sizes
from .samples import SampleMaker
from .shards import Shard, Shards
from .store import array_digest, sample_digest, write_array

FOLDER = "_commit"
SAMPLES = "samples.csv"
CREATING = "creating"


def make_shard(out: Place, maker: SampleMaker, shard: Shard) -> dict[str, Any]:
    """Make, write and commit one shard; a committed one is left alone.

    At most the shard's arrays are in memory at once, what a sample takes to be made, and what Zarr takes to write the
    largest of them.

    Returns
    -------
    The marker: the rows of `samples.csv` for its samples, the size in bytes of its part of each array, seconds.

    Raises
    ------
    InputError
        If a scene cannot be read.
    OSError, ObjectStoreError
        If the disk or the object store refuses; nothing is committed then.
    """
    content = committed_shard(out, maker, shard)
    if content is not None:
        return content
    begun = time.monotonic()
    rows: list[dict[str, Any]] = []
    blocks: dict[str, npt.NDArray[Any]] = {}
    for offset, sample in enumerate(shard.samples):
        arrays = maker.make(sample)
        for name, array in arrays.items():
            if not offset:
                blocks[name] = np.empty((len(shard.samples), *array.shape), array.dtype)
            blocks[name][offset] = array
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
    files = _files(out, maker, shard)
    with speaking(out):
        group = zarr.open_group(as_zarr(out / f"{shard.split}.zarr"), mode="r+")
        for path in files.values():
            # Zarr would read what is there, even to replace all of it; and it may be damaged.
            path.unlink(missing_ok=True)
        # The largest come last, when there is most room.
        for name in sorted(blocks, key=lambda name: blocks[name].nbytes):
            write_array(group, name, shard.first_row, blocks.pop(name))
    sizes = {name: flush_to_disk(path) for name, path in files.items()}
    seconds = round(time.monotonic() - begun, 3)
    content = {"recipe_hash": maker.recipe.hash(), "bytes": sizes, "seconds": seconds, "samples": rows}
    write_atomically(_marker(out, shard), json.dumps(content))
    return content


def _marker(out: Place, shard: Shard) -> Place:
    return out / FOLDER / f"{shard.name}.json"


def _files(out: Place, maker: SampleMaker, shard: Shard) -> dict[str, Place]:
    """File of a shard's part of each array."""
    layout = array_layout(maker.recipe, maker.size)
    group = out / f"{shard.split}.zarr"
    return {
        name: group.joinpath(name, "c", str(shard.number), *"0" * len(layout[name][0])) for name in maker.recipe.arrays
    }


def committed_shard(out: Place, maker: SampleMaker, shard: Shard) -> dict[str, Any] | None:
    """Return the marker of a shard, or None if it is not committed, by a marker not its own, or not all there.

    Raises
    ------
    ObjectStoreError
        If it is in an object store that does not say.
    """
    try:
        content: dict[str, Any] = json.loads(_marker(out, shard).read_text(encoding="utf-8"))
        indices = tuple(row["index"] for row in content["samples"])
        fields = {"index", "split", "row", "source", "digest", *(f"sha256_{n}" for n in maker.recipe.arrays)}
        whole = all(row.keys() == fields for row in content["samples"])
        mine = content["recipe_hash"] == maker.recipe.hash() and indices == shard.samples
        there = file_sizes(_files(out, maker, shard)) == content["bytes"]
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return None
    return content if mine and whole and there else None


def markers(out: Place) -> int:
    """Number of commit markers, whatever they say."""
    if isinstance(out, ObjectPath):
        return sum(name.endswith(".json") for name, _ in (out / FOLDER).files())
    try:
        with os.scandir(out / FOLDER) as found:
            return sum(item.name.endswith(".json") for item in found)
    except FileNotFoundError:
        return 0


def committed_samples(out: Place, count: int) -> list[dict[str, Any]]:
    """Return the rows that `samples.csv` will have for some samples that are on disk, of shards far apart.

    Parameters
    ----------
    out
        A dataset that is not finished.
    count
        How many samples; there may be fewer.
    """
    names, shards = [], []
    with contextlib.suppress(OSError):
        names = sorted(item.name for item in (out / FOLDER).iterdir() if item.name.endswith(".json"))
    for name in spread(names, count):
        # The dataset may be finished meanwhile, and its markers gone.
        with contextlib.suppress(OSError, ValueError, LookupError, TypeError):
            shards.append(json.loads((out / FOLDER / name).read_text(encoding="utf-8"))["samples"])
    each = -(-count // max(1, len(shards)))
    return spread([row for samples in shards for row in spread(samples, each)], count)


def spread(items: Sequence[Any], count: int) -> list[Any]:
    """Return up to `count` items, as far apart as can be, the first and the last among them."""
    return [items[int(i)] for i in np.unique(np.linspace(0, len(items) - 1, min(count, len(items))).round())]


def finish(out: Place, maker: SampleMaker, todo: Shards) -> None:
    """Turn the markers of all shards into `samples.csv`, then set them aside; safe to repeat.

    What is set aside is for `clear` to delete, when nobody holds a file of it open any more.

    Raises
    ------
    InputError
        If a shard is not committed.
    """
    rows = {split: _committed_rows(out, maker, todo, split) for split in todo.lengths}
    with writing(out / SAMPLES) as file:
        text = io.TextIOWrapper(file, encoding="utf-8", newline="", write_through=True)
        table = None
        for sample, split in todo.by_sample():
            row = next(rows[split])
            assert row["index"] == sample
            if table is None:
                table = csv.DictWriter(text, fieldnames=list(row), lineterminator="\n")
                table.writeheader()
            table.writerow(row)
        text.detach()
    if isinstance(out, ObjectPath):
        return
    with contextlib.suppress(FileNotFoundError):
        # In one step, so that no half of it can be seen. Another process may have been faster.
        (out / FOLDER).rename(out / f"{FOLDER}.{uuid.uuid4().hex}.partial")


def _committed_rows(out: Place, maker: SampleMaker, todo: Shards, split: str) -> Iterator[dict[str, Any]]:
    for shard in todo.of(split):
        content = committed_shard(out, maker, shard)
        if content is None:
            raise InputError(
                f"shard {shard.name} of {out} is not committed: run `defocal resume {shlex.quote(str(out))}`."
            )
        yield from content["samples"]


def clear(out: Place) -> None:
    """Delete what `finish` has set aside, or in an object store has made useless."""
    if isinstance(out, ObjectPath):
        (out / FOLDER).remove()
        return
    for gone in out.glob(f"{FOLDER}*.partial"):
        shutil.rmtree(gone, ignore_errors=True)


def read_samples(out: Place) -> list[dict[str, str]]:
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
        # What a server answers is not repeated: it may hold the id of a key.
        reason = (error.strerror or "it is not there") if isinstance(error, OSError) else str(error)
        raise InputError(f"cannot read {path}: {reason}.") from None
    if not rows or not {"index", "split", "row", "source", "digest"} <= set(rows[0]):
        raise InputError(
            f"{path} is not the sample table of a defocal dataset: give the folder that `defocal generate` made."
        )
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


def dataset_digest(rows: Iterable[Mapping[str, str]]) -> str:
    """Digest of a dataset: sha256 over index, split, source and content digest of its samples, hexadecimal."""
    digest = hashlib.sha256()
    for number, row in enumerate(rows):
        line = f"{row['index']} {row['split']} {row['source']} {row['digest']}"
        digest.update(f"\n{line}".encode() if number else line.encode())
    return digest.hexdigest()
