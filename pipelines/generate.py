"""Batch generation: a recipe's shards made in this process or by local workers on Dask.

A shard is one task: it makes its samples, writes a shard of every array, and then its commit marker. Tasks are
idempotent and independent, so any interruption costs at most the shards that were under way.
"""

import contextlib
import functools
import hashlib
import json
import logging
import os
import shutil
import signal
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import InputError
from ..synth.arrays import sample_bytes, shard_samples
from ..synth.banks import stored_bank
from ..synth.commit import (
    FOLDER,
    SAMPLES,
    Shard,
    committed_shard,
    finish,
    make_shard,
    shards,
    split_indices,
)
from ..synth.files import write_atomically
from ..synth.psf_files import bank_arrays, bank_attributes, bank_digest
from ..synth.recipe import Recipe
from ..synth.samples import SampleMaker
from ..synth.store import (
    create_split,
    open_store,
    store_psf,
    sweep_partial,
    use_one_codec_thread,
)

DISK_RESERVE = 64e6
"""Bytes that must stay free beyond the raw size of what is still to be written: metadata, and other programs."""


@dataclass(frozen=True, slots=True)
class Event:
    """News of a run: a shard was finished, or failed with `error`."""

    shard: Shard
    samples: int
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended: samples made now, seconds, and the error of each failed shard by name."""

    samples: int
    seconds: float
    failed: dict[str, str]


def sources_digest(maker: SampleMaker) -> str:
    """Digest of all scenes' names and file sizes, by which a resumed run knows that its input is still the same."""
    digest = hashlib.sha256()
    for sample in range(maker.count):
        digest.update(maker.fingerprint(sample).encode() + b"\n")
    return digest.hexdigest()


def refuse_existing(out: Path) -> None:
    """Refuse to write into what is there already.

    Raises
    ------
    InputError
        If `out` exists and is not an empty folder.
    """
    if (out / FOLDER).exists():
        raise InputError(f"{out} holds an unfinished dataset: run `defocal resume {out}` to complete it, or delete it.")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out} already exists and is not empty: choose another folder, or delete it first.")


def committed(out: Path, maker: SampleMaker, todo: list[Shard]) -> int:
    """Count the samples whose shards are committed, in a dataset under way."""
    return sum(len(shard.samples) for shard in todo if committed_shard(out, maker, shard))


def create(out: Path, maker: SampleMaker) -> list[Shard]:
    """Create an empty dataset and return its shards.

    Raises
    ------
    InputError
        If `out` exists and is not an empty folder, or the disk is too small.
    """
    refuse_existing(out)
    check_disk(out, maker, maker.count)
    recipe, indices = maker.recipe, split_indices(maker)
    bank = maker.bank.sampled(*recipe.scenes.depth)
    psf, arrays = bank_attributes(bank), bank_arrays(bank)
    facts = {
        "image_size": list(maker.size),
        "sources_sha256": sources_digest(maker),
        "psf": {"kind": bank.kind, "sha256": bank_digest(bank)},
    }
    # Made aside and renamed: whatever moment a run is killed at, `out` is absent or can be resumed.
    aside = None
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(prefix=f".{out.name[:100]}-", suffix=".partial", dir=out.parent))
        aside.chmod(0o777 & ~_umask())
        (aside / FOLDER).mkdir()
        write_atomically(aside / "recipe.toml", recipe.to_toml())
        for split, rows in indices.items():
            folder = aside / f"{split}.zarr"
            per_shard = shard_samples(recipe, maker.size, maker.count)
            create_split(folder, recipe, maker.size, rows, per_shard, {"split": split, **facts})
            store_psf(folder, arrays, psf)
        aside.rename(out)
    except OSError as error:
        raise InputError(f"cannot create a dataset at {out}: {error.strerror or error}.") from None
    finally:
        if aside is not None:
            shutil.rmtree(aside, ignore_errors=True)
    return shards(maker, indices)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def reopen(out: Path) -> tuple[SampleMaker, list[Shard]]:
    """Return what is needed to go on with an interrupted dataset: its maker and all of its shards.

    Raises
    ------
    InputError
        If there is no such dataset, or its input or recipe has changed.
    """
    store = open_store(out, unfinished=True)
    maker = SampleMaker(store.recipe, stored_bank(out, store.recipe))
    indices = split_indices(maker)
    facts = next(iter(store.facts.values()))
    if facts["sources_sha256"] != sources_digest(maker) or facts["image_size"] != list(maker.size):
        raise InputError(
            f"the scenes of {out} have changed since it was begun: bring back the same files, or generate it again."
        )
    if list(indices) != list(store.splits):
        raise InputError(f"{out} lacks some of its splits ({', '.join(indices)}): generate it again.")
    try:
        written = (out / "recipe.toml").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        written = ""
    if written != store.recipe.to_toml():
        raise InputError(
            f"{out / 'recipe.toml'} is no longer the recipe that {out} was begun with: "
            "put that one back, or generate into another folder."
        )
    (out / FOLDER).mkdir(exist_ok=True)
    sweep_partial(out)
    return maker, shards(maker, indices)


def check_disk(out: Path, maker: SampleMaker, samples: int) -> None:
    """Refuse a run whose raw size exceeds the free space.

    Raises
    ------
    InputError
        Giving both numbers.
    """
    needed = samples * sum(sample_bytes(maker.recipe, maker.size).values()) + DISK_RESERVE
    free = free_bytes(out)
    if needed > free:
        raise InputError(
            f"{out} has {free / 1e9:.2f} GB free where up to {needed / 1e9:.2f} GB may be needed: free some space, "
            "choose another disk, or make fewer samples with --limit."
        )


def free_bytes(out: Path) -> int:
    """Free bytes of the disk that `out` lies or will lie on."""
    folder = out.absolute()
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def _one_thread() -> None:
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    use_one_codec_thread()


def run(
    out: Path, maker: SampleMaker, todo: list[Shard], *, workers: int = 0,
    report: Callable[[Event], None] = lambda event: None,
) -> Outcome:  # fmt: skip
    """Make all shards that are not committed, and finish the dataset when none is missing.

    Parameters
    ----------
    out
        A dataset begun by `create`.
    maker, todo
        From `create` or `reopen`.
    workers
        Local processes; 0 makes the shards in this process.
    report
        Called after each shard.

    Returns
    -------
    What was made, and which shards failed: they stay uncommitted, for `resume`.
    """
    begun = time.monotonic()
    open_shards = [shard for shard in todo if committed_shard(out, maker, shard) is None]
    if workers:
        events = _on_cluster(out, maker.recipe, open_shards, workers)
    else:
        events = _in_process(out, maker, open_shards)
    made, failed = 0, {}
    for event in events:
        made += event.samples
        if event.error is not None:
            failed[event.shard.name] = event.error
        report(event)
    if not failed:
        finish(out, maker, todo)
    return Outcome(made, time.monotonic() - begun, failed)


def _attempt(out: Path, maker: SampleMaker, shard: Shard) -> str | None:
    """Make a shard; return what went wrong, in one sentence."""
    try:
        make_shard(out, maker, shard)
    except InputError as error:
        return str(error)
    except (OSError, MemoryError) as error:
        return f"{type(error).__name__} while writing {shard.name}: {getattr(error, 'strerror', None) or error}."
    return None


def _in_process(out: Path, maker: SampleMaker, todo: list[Shard]) -> Iterator[Event]:
    _one_thread()
    for shard in todo:
        error = _attempt(out, maker, shard)
        yield Event(shard, 0 if error else len(shard.samples), error)


_makers: dict[str, SampleMaker] = {}


def _on_worker(out: str, recipe: str, shard: Shard) -> str | None:
    """Make a shard on a worker; the recipe travels as JSON and its maker is kept for the next shard."""
    _one_thread()
    if recipe not in _makers:
        _makers.clear()
        loaded = Recipe.parse(json.loads(recipe))
        _makers[recipe] = SampleMaker(loaded, stored_bank(Path(out), loaded))
    return _attempt(Path(out), _makers[recipe], shard)


def _on_cluster(out: Path, recipe: Recipe, todo: list[Shard], workers: int) -> Iterator[Event]:
    from distributed import as_completed

    text, key = json.dumps(recipe.to_dict()), recipe.hash()[:16]
    with _client(workers) as client:
        submit = functools.partial(client.submit, _on_worker, str(out.absolute()), text, retries=0, pure=False)
        futures = {submit(shard, key=f"{key}-{shard.name}"): shard for shard in todo}
        # Results are taken as they come: a finished future forgets its result when its worker dies.
        for future, result in as_completed(futures, with_results=True, raise_errors=False):
            shard = futures[future]
            error = _cluster_error(result)
            future.release()
            yield Event(shard, 0 if error else len(shard.samples), error)


def _cluster_error(result: Any) -> str | None:
    """Error of a task: its own sentence, or what Dask says of a worker that died."""
    if isinstance(result, tuple) and len(result) == 3 and isinstance(result[1], BaseException):
        result = result[1]
    if isinstance(result, BaseException):
        return f"{type(result).__name__}: {result}".splitlines()[0]
    return result if isinstance(result, str) else None


@contextlib.contextmanager
def _client(workers: int) -> Iterator[Any]:
    from distributed import Client, LocalCluster

    settings = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
    with contextlib.ExitStack() as stack:
        with _workers_ignore_ctrl_c(), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Port .* is already in use", category=UserWarning)
            cluster = LocalCluster(
                n_workers=workers, threads_per_worker=1, processes=True, dashboard_address=None, host="127.0.0.1",
                env=settings, silence_logs=logging.CRITICAL,
            )  # fmt: skip
        stack.enter_context(cluster)
        yield stack.enter_context(Client(cluster))


@contextlib.contextmanager
def _workers_ignore_ctrl_c() -> Iterator[None]:
    """Leave Ctrl-C to this process: workers started meanwhile inherit that they ignore it, and print no traceback.

    The price is that a Ctrl-C within the second that they take to start is lost.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def complete(out: Path) -> bool:
    """Tell whether a dataset is finished; clears away what an interruption right at the end left behind."""
    if (out / FOLDER).exists() or not (out / SAMPLES).exists():
        return False
    leftover = out / (FOLDER + ".partial")
    if leftover.exists():
        shutil.rmtree(leftover)
    return True
