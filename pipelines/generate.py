"""Batch generation: a recipe's shards made in this process, by local workers or on a cluster.

A shard is one task: it makes its samples, writes a shard of every array, and then its commit marker. Tasks are
idempotent and independent, so any interruption costs at most the shards that were under way.
"""

import contextlib
import functools
import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from .. import InputError
from ..synth.arrays import sample_bytes
from ..synth.banks import stored_bank
from ..synth.commit import FOLDER, SAMPLES, clear, committed_shard, finish, markers
from ..synth.files import write_atomically
from ..synth.psf_files import bank_arrays, bank_attributes, bank_digest
from ..synth.samples import SampleMaker
from ..synth.shards import BLOCK, Shard, Shards
from ..synth.store import create_split, open_store, store_psf, sweep_partial
from .crew import Crew, Job, StoppedError, ThisProcess
from .events import Event, Outcome
from .lock import FinishedError, hold, holder

DISK_RESERVE = 64e6
"""Bytes that must stay free beyond the raw size of what is still to be written: metadata, and other programs."""
SHOWING = 90.0
"""Seconds after which a file that another machine has written is seen for sure; NFS caches directories for 60."""
JOINING = 5.0
"""Seconds for which a run that shares a dataset waits for one that is about to complete it."""


def sources_digest(maker: SampleMaker) -> str:
    """Digest of all scenes' names and file sizes, by which a resumed run knows that its input is still the same."""
    digest = hashlib.sha256()
    for first in range(0, maker.count, BLOCK):
        lines = map(maker.fingerprint, range(first, min(first + BLOCK, maker.count)))
        digest.update("\n".join([*lines, ""]).encode())
    return digest.hexdigest()


def refuse_existing(out: Path) -> None:
    """Refuse to write into what is there already.

    Raises
    ------
    InputError
        If `out` exists and is not an empty folder.
    """
    if who := holder(out):
        raise InputError(f"{out} is being made by {who}: wait until it ends, or choose another folder.")
    if (out / FOLDER).exists():
        raise InputError(f"{out} holds an unfinished dataset: run `defocal resume {out}` to complete it, or delete it.")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out} already exists and is not empty: choose another folder, or delete it first.")


def committed(out: Path, maker: SampleMaker, todo: Sequence[Shard]) -> int:
    """Count the samples whose shards are committed, in a dataset under way."""
    return sum(len(shard.samples) for shard in todo if committed_shard(out, maker, shard))


def create(out: Path, maker: SampleMaker) -> Shards:
    """Create an empty dataset and return its shards.

    Raises
    ------
    InputError
        If `out` exists and is not an empty folder, or the disk is too small.
    """
    refuse_existing(out)
    check_disk(out, maker, maker.count)
    recipe, todo = maker.recipe, Shards(maker)
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
        for split, length in todo.lengths.items():
            folder, rows = aside / f"{split}.zarr", functools.partial(todo.members, split)
            create_split(folder, recipe, maker.size, length, rows, todo.per_shard, {"split": split, **facts})
            store_psf(folder, arrays, psf)
        aside.rename(out)
    except OSError as error:
        raise InputError(f"cannot create a dataset at {out}: {error.strerror or error}.") from None
    finally:
        if aside is not None:
            shutil.rmtree(aside, ignore_errors=True)
    return todo


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def reopen(out: Path) -> tuple[SampleMaker, Shards]:
    """Return what is needed to go on with an interrupted dataset: its maker and all of its shards.

    Raises
    ------
    InputError
        If there is no such dataset, or its input or recipe has changed.
    """
    store = open_store(out, unfinished=True)
    maker = SampleMaker(store.recipe, stored_bank(out, store.recipe))
    todo = Shards(maker)
    facts = next(iter(store.facts.values()))
    if facts["sources_sha256"] != sources_digest(maker) or facts["image_size"] != list(maker.size):
        raise InputError(
            f"the scenes of {out} have changed since it was begun: bring back the same files, or generate it again."
        )
    if list(todo.lengths) != list(store.splits):
        raise InputError(f"{out} lacks some of its splits ({', '.join(todo.lengths)}): generate it again.")
    try:
        written = (out / "recipe.toml").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        written = ""
    if written != store.recipe.to_toml():
        raise InputError(
            f"{out / 'recipe.toml'} is no longer the recipe that {out} was begun with: "
            "put that one back, or generate into another folder."
        )
    return maker, todo


def same_recipe(out: Path, maker: SampleMaker) -> None:
    """Refuse to take part in a dataset of another recipe.

    Raises
    ------
    InputError
        If it is one, or no dataset.
    """
    recipe = open_store(out, unfinished=True).recipe
    if recipe.hash() != maker.recipe.hash():
        raise InputError(
            f"{out} holds another dataset ({recipe.name}, hash {recipe.hash()[:12]}) than this one "
            f"({maker.recipe.name}, hash {maker.recipe.hash()[:12]}): choose another folder."
        )


def join(out: Path, maker: SampleMaker) -> tuple[SampleMaker, Shards]:
    """Return what is needed to take part in a dataset that another run has begun.

    Raises
    ------
    InputError
        If it is not the dataset of this recipe and these scenes.
    """
    same_recipe(out, maker)
    return reopen(out)


def begun(out: Path) -> bool:
    """Tell whether there is a dataset in `out`, finished or not."""
    return any(out.glob("*.zarr"))


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


def run(
    out: Path, maker: SampleMaker, todo: Sequence[Shard], *, workers: int = 0, crew: Crew | None = None,
    shared: bool = False, report: Callable[[Event], None] = lambda event: None,
) -> Outcome:  # fmt: skip
    """Make those of some shards that are not committed, and finish the dataset when none is missing.

    Parameters
    ----------
    out
        A dataset begun by `create`.
    maker, todo
        From `create`, `reopen` or `join`.
    workers
        Local processes; 0 makes the shards in this process.
    crew
        Who makes the shards, in place of `workers`.
    shared
        Other runs make the other shards, at the same time.
    report
        Called with all that happens.

    Returns
    -------
    What was made, and which shards failed.

    Raises
    ------
    InputError
        If another run is at the same dataset, or the crew cannot do this work.
    """
    outcome, begin = Outcome(), time.monotonic()
    if crew is None and workers:
        from .workers import LocalWorkers

        crew = LocalWorkers(workers)

    def news(event: Event) -> None:
        outcome.count(event)
        report(event)

    try:
        with hold(out, shared=shared, wait=JOINING if shared else 0.0) as locked:
            if locked and not shared:
                sweep_partial(out)
            if not locked:
                news(Event(kind="note", text=f"{out} has no locks: take care that no other run makes the same shards."))
            try:
                for event in (crew or ThisProcess()).make(Job(out, maker), _missing(out, maker, todo, news)):
                    news(event)
            except StoppedError as reason:
                outcome.stopped = str(reason)
            if not shared and not outcome.failures and not outcome.stopped:
                if crew is not None:
                    _wait_for_markers(out, len(Shards(maker)))
                finish(out, maker, Shards(maker))
        if shared:
            _finish_if_last(out, maker)
    except FinishedError:
        pass
    outcome.complete, outcome.seconds = complete(out), time.monotonic() - begin
    return outcome


def _missing(out: Path, maker: SampleMaker, todo: Sequence[Shard], news: Callable[[Event], None]) -> Iterator[Shard]:
    """Yield the shards that are not committed, and report those that are."""
    for shard in todo:
        if committed_shard(out, maker, shard) is None:
            yield shard
        else:
            news(Event(shard, kind="kept", kept=len(shard.samples)))


def _wait_for_markers(out: Path, count: int) -> None:
    """Wait until this machine sees the markers that others have written: network file systems may show them late."""
    deadline = time.monotonic() + SHOWING
    while markers(out) < count and time.monotonic() < deadline:
        time.sleep(0.2)


def _finish_if_last(out: Path, maker: SampleMaker) -> None:
    """Finish a dataset if all of its shards are committed and no other run holds it.

    Who gives up the lock last finds all shards, or one who does so now has found them.
    """
    todo = Shards(maker)
    with contextlib.suppress(InputError):
        if markers(out) >= len(todo):
            with hold(out):
                sweep_partial(out)
                finish(out, maker, todo)


def complete(out: Path) -> bool:
    """Tell whether a dataset is finished; clears away what an interruption right at the end left behind."""
    if (out / FOLDER).exists() or not (out / SAMPLES).exists():
        return False
    clear(out)
    return True
