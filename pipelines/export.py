"""Exports: a dataset in the layouts that other programs read.

Everything is written beside the folder that was asked for, under another name, and renamed when it is whole. The same
dataset and choices give the same bytes. An export that was interrupted goes on from the last samples that were on disk.
"""

import json
import os
import re
import shutil
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from .. import InputError
from ..synth.commit import FOLDER, dataset_digest
from ..synth.files import flush_to_disk, write_atomically
from ..synth.places import Place
from ..synth.store import open_store
from .aside import check_new
from .exports.base import Files, Job, Layout, Options, Sample
from .exports.ddff import Ddff
from .exports.documents import MARKER, README, facts_of, notices, readme
from .exports.folder import D3Net, Folder
from .exports.kinds import KINDS, OF_STACKS, Kind
from .exports.samples import TABLE, read_sample, rows_of, table_rows
from .exports.stacks import DefocusNet, DffWild
from .exports.webdataset import WebDataset
from .exports.zedd import Zedd
from .lock import hold
from .release_facts import portable

LAYOUTS: dict[str, type[Layout]] = {
    layout.KIND.name: layout for layout in (Folder, Ddff, DefocusNet, DffWild, D3Net, Zedd, WebDataset)
}
assert LAYOUTS.keys() == KINDS.keys()
BATCH, SECONDS = 32, 3.0
"""Samples, or seconds, after which what was written is waited for to be on disk."""
MOST_THREADS = 4
_PLAN, _PROGRESS = "_plan.json", "_progress.json"
_SPLIT = re.compile(r"[a-z][a-z0-9_]*")


@dataclass
class Exported:
    """What was exported.

    Attributes
    ----------
    folder
        Where it lies.
    samples
        How many, those of an earlier run included.
    kept
        How many of them an earlier run had made.
    notes
        What its maker should know, one sentence each.
    """

    folder: Path
    samples: int
    kept: int = 0
    notes: list[str] = field(default_factory=list)


def export(
    store: str | Place, out: str | Path, kind: str, *, splits: Sequence[str] = (), limit: int | None = None,
    report: Callable[[int], None] = lambda done: None, **options: Any,
) -> Exported:  # fmt: skip
    """Write a dataset in the layout of another program.

    Parameters
    ----------
    store
        The dataset.
    out
        A new or empty folder.
    kind
        The layout, one of `exports.kinds.KINDS`.
    splits
        Those to export, "NAME", or "NAME=THERE" to give one another name; all if left out.
    limit
        At most so many samples of each split, the first ones.
    report
        Called with the number of samples after some were written.
    **options
        Of the layout, see `exports.base.Options`.

    Raises
    ------
    InputError
        If the layout cannot hold the dataset, or a choice makes no sense; nothing is there then under the name of
        `out`.
    """
    return run(prepare(store, kind, splits=splits, limit=limit, **options), out, report=report)


def prepare(
    store: str | Place, kind: str, *, splits: Sequence[str] = (), limit: int | None = None, **options: Any
) -> Job:
    """Check what is to be exported, as far as can be told without reading every sample; see `export`.

    Raises
    ------
    InputError
        As `export` does.
    """
    if kind not in KINDS:
        raise InputError(f"there is no layout {kind!r}: use one of {', '.join(KINDS)}.")
    if limit is not None and limit < 1:
        raise InputError(f"at most {limit} samples of each split are none: use a positive limit.")
    choices = Options.of(KINDS[kind], options)
    opened = open_store(store)
    chosen = _splits(tuple(opened.splits), KINDS[kind], splits, opened.path)
    lengths = {split: int(opened.array(split, "index").shape[0]) for split in chosen}
    counts = {split: min(length, limit or length) for split, length in lengths.items()}
    job = Job(opened, KINDS[kind], chosen, counts, choices)
    _check_arrays(job)
    return job


def run(
    job: Job, out: str | Path, *, report: Callable[[int], None] = lambda done: None,
    resumed: Callable[[int], None] = lambda kept: None,
) -> Exported:  # fmt: skip
    """Write what `prepare` has checked into a new or empty folder.

    Parameters
    ----------
    resumed
        Called once with the number of samples that an earlier run had written, if it had any.

    Raises
    ------
    InputError
        As `export` does.
    """
    out = Path(out)
    _refuse(job.store.path, out)
    beside = out.resolve().with_name(f".{out.resolve().name}.partial")
    layout = LAYOUTS[job.kind.name](job, beside)
    notes = [*layout.check(), *_general_notes(job)]
    plan = _plan(job)
    try:
        beside.mkdir(parents=True, exist_ok=True)
        with hold(beside):
            _begin(beside, plan)
            for leftover in beside.glob("*.partial"):  # of writers that were killed
                leftover.unlink()
            kept = _resume(beside)
            if kept:
                resumed(kept)
            try:
                layout.begin(kept)
                _write(job, layout, beside, kept, report)
                _complete(job, layout, beside, plan["digest"])
            except InputError:
                # The same command would end here again.
                shutil.rmtree(beside, ignore_errors=True)
                raise
            finally:
                layout.close()
            if out.exists():
                out.resolve().rmdir()
            shutil.rmtree(beside / FOLDER, ignore_errors=True)
            beside.rename(out.resolve())
    except OSError as error:
        raise InputError(
            f"cannot write an export to {out}: {error.strerror or error}; mend that, and run the same command again."
        ) from None
    return Exported(out, job.total, kept, notes)


def _splits(known: Sequence[str], kind: Kind, asked: Sequence[str], path: Place) -> dict[str, str]:
    pairs = [(one.partition("=")[0], one.partition("=")[2] or one.partition("=")[0]) for one in asked or known]
    chosen: dict[str, str] = {}
    for split, there in pairs:
        if split not in known:
            raise InputError(f"{path} has no split {split!r}: it has {', '.join(known)}.")
        if not _SPLIT.fullmatch(there):
            raise InputError(f"a split is named with small letters, digits and _, not {there!r}.")
        if kind.splits and there not in kind.splits:
            names = ", ".join(kind.splits)
            raise InputError(
                f"{kind.name} has no split {there!r} but {names}: choose and rename, as in --split "
                f"{split}={kind.splits[0]}."
            )
        if split in chosen or there in chosen.values():
            raise InputError(f"--split names {split if split in chosen else there} twice: name each split once.")
        chosen[split] = there
    return chosen


def _check_arrays(job: Job) -> None:
    """Check that the dataset has what the layout needs.

    Raises
    ------
    InputError
        Saying with which `output.arrays` it would.
    """
    missing = [name for name in job.kind.needs if name not in job.recipe.arrays]
    if not missing:
        return
    stored = job.recipe.output.arrays
    wanted = [*stored, *(name for name in missing if name not in OF_STACKS)]
    stack = " and a section [stack]" if "stack" in missing and job.recipe.stack is None else ""
    raise InputError(
        f"{job.kind.name} needs {', '.join(job.kind.needs)}; {job.store.path} has {', '.join(job.recipe.arrays)}: "
        f"generate "
        f"it with output.arrays = {json.dumps(wanted)}{stack}."
    )


def _general_notes(job: Job) -> list[str]:
    notes = []
    if job.recipe.output.bits == 16 and job.kind.name not in ("folder", "webdataset", "ddff-hdf5"):
        notes.append("its pictures of 16 bits became 8 bits, which is all that the loader reads.")
    if job.recipe.output.encoding == "linear":
        notes.append("its pictures are linear, as they are stored; loaders take them for sRGB.")
    return notes


def _refuse(store: Place, out: Path) -> None:
    whole, source = out.resolve(), store.resolve() if isinstance(store, Path) else None
    if source is not None and (whole == source or source in whole.parents):
        raise InputError(f"{out} lies in the dataset {store}: choose another folder.")
    check_new(out)


def _plan(job: Job) -> dict[str, Any]:
    """Return all that decides what an export holds: another one cannot go on where one with another plan ended."""
    digest = dataset_digest(table_rows(job.store.path))
    return {
        "facts": facts_of(job, digest, {}), "counts": job.counts, "options": asdict(job.options), "digest": digest,
        "release": notices(job.store.path),
    }  # fmt: skip


def _begin(beside: Path, plan: dict[str, Any]) -> None:
    """Empty the folder unless an export by the same plan is under way in it."""
    try:
        begun = json.loads((beside / _PLAN).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        begun = None
    if begun == json.loads(json.dumps(plan)):
        return
    for item in beside.iterdir():
        if item.name == FOLDER:
            continue
        if item.is_dir() and not item.is_symlink():
            shutil.rmtree(item)
        else:
            item.unlink()
    write_atomically(beside / _PLAN, json.dumps(plan))


def _resume(beside: Path) -> int:
    """Return how many samples are on disk, and cut off what is listed beyond them."""
    try:
        reached = json.loads((beside / _PROGRESS).read_text(encoding="utf-8"))
        samples, size = int(reached["samples"]), int(reached["bytes"])
        os.truncate(beside / TABLE, size)
    except (OSError, ValueError, LookupError, TypeError):
        (beside / TABLE).write_bytes(b"")
        return 0
    return samples


def _write(job: Job, layout: Layout, beside: Path, kept: int, report: Callable[[int], None]) -> None:
    pending: list[Path] = []
    since, last = 0, time.monotonic()
    with (beside / TABLE).open("ab") as table:
        for place, (sample, files) in enumerate(_encoded(job, layout, kept), kept + 1):
            pending += layout.put(sample, files)
            table.write((json.dumps({"name": layout.label(sample), **sample.facts}) + "\n").encode())
            since += 1
            due = since >= BATCH or place == job.total or time.monotonic() - last > SECONDS
            if layout.at_rest and due:
                for path in pending:
                    flush_to_disk(path)
                table.flush()
                os.fsync(table.fileno())
                write_atomically(beside / _PROGRESS, json.dumps({"samples": place, "bytes": table.tell()}))
                pending, since, last = [], 0, time.monotonic()
            report(1)


def _encoded(job: Job, layout: Layout, kept: int) -> Iterator[tuple[Sample, Files]]:
    """Yield samples with their files, in order, few of them ahead of what is written."""
    arrays = {split: {name: job.store.array(split, name) for name in job.arrays} for split in job.splits}

    def make(place: int, split: str, row: dict[str, str]) -> tuple[Sample, Files]:
        sample = read_sample(job, arrays[split], place, split, row)
        return sample, layout.encode(sample)

    threads = max(1, min(MOST_THREADS, os.cpu_count() or 1))
    ahead: deque[Future[tuple[Sample, Files]]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for place, (split, row) in enumerate(rows_of(job)):
                if place < kept:
                    continue
                ahead.append(pool.submit(make, place, split, row))
                if len(ahead) > 2 * threads:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:
            for future in ahead:
                future.cancel()


def _complete(job: Job, layout: Layout, beside: Path, digest: str) -> None:
    """Write what the samples share and what tells of the export, the marker last."""
    layout.finish()
    facts = facts_of(job, digest, layout.facts())
    write_atomically(beside / "recipe.toml", portable(job.recipe).to_toml())
    for name in notices(job.store.path):
        write_atomically(beside / name, (job.store.path / name).read_bytes())
    write_atomically(beside / README, readme(job, facts, layout))
    for name in (_PLAN, _PROGRESS):
        (beside / name).unlink(missing_ok=True)
    write_atomically(beside / MARKER, json.dumps(facts, indent=2) + "\n")
