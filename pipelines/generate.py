"""Batch generation: a recipe's shards made in this process, by local workers or on a cluster.

A shard is one task: it makes its samples, writes a shard of every array, and then its commit marker. Tasks are
idempotent and independent, so any interruption costs at most the shards that were under way.
"""

import contextlib
import functools
import hashlib
import shlex
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from .. import InputError
from ..synth.arrays import sample_bytes
from ..synth.banks import stored_bank
from ..synth.buckets import ObjectStoreError, speaking
from ..synth.commit import CREATING, FOLDER, SAMPLES, clear, committed_shard, finish, markers
from ..synth.files import write_atomically
from ..synth.places import ObjectPath, Place
from ..synth.psf_files import bank_arrays, bank_attributes, bank_digest
from ..synth.samples import SampleMaker
from ..synth.shards import BLOCK, Shard, Shards
from ..synth.store import create_split, finished, open_store, store_psf, sweep_partial, unborn
from .aside import check_new, write_aside
from .crew import Crew, Job, StoppedError, ThisProcess
from .events import Event, Outcome
from .lease import FinishedError, Hold
from .lock import hold, holder

DISK_RESERVE = 64e6
"""Bytes that must stay free beyond the raw size of what is still to be written: metadata, and other programs."""
SHOWING = 90.0
"""Seconds after which a file that another machine has written is seen for sure; NFS caches directories for 60."""
JOINING = 5.0
"""Seconds for which a run that shares a dataset waits for one that is about to complete it."""
CREATION = 300.0
"""Seconds for which a run waits for another one that is creating the same dataset in an object store."""

TAKEN = "Another run has taken the dataset over, because this one gave no sign of life for too long."


def sources_digest(maker: SampleMaker) -> str:
    """Digest of all scenes' names and file sizes, by which a resumed run knows that its input is still the same."""
    digest = hashlib.sha256()
    for first in range(0, maker.count, BLOCK):
        lines = map(maker.fingerprint, range(first, min(first + BLOCK, maker.count)))
        digest.update("\n".join([*lines, ""]).encode())
    return digest.hexdigest()


def refuse_existing(out: Place) -> None:
    """Refuse to write into what is there already.

    Raises
    ------
    InputError
        If `out` exists and is not an empty folder.
    """
    if isinstance(out, ObjectPath) and not begun(out) and {found.name for found in out.iterdir()} <= {FOLDER}:
        # Who creates it waits for another one who does.
        return
    if unborn(out):
        # And clears away what one left behind who died.
        return
    if who := holder(out):
        raise InputError(f"{out} is being made by {who}: wait until it ends, or choose another folder.")
    _refuse_full(out)
    if isinstance(out, Path):
        _refuse_inside(out)


def _refuse_inside(out: Path) -> None:
    if out.is_symlink():
        raise InputError(f"{out} is a link: give the folder that it leads to.")
    for around in out.absolute().parents:
        if (around / SAMPLES).is_file() and any(around.glob("*.zarr")):
            raise InputError(f"{out} lies in the dataset {around}: choose a folder outside.")


def _refuse_full(out: Place) -> None:
    if (out / FOLDER).exists() and not (isinstance(out, ObjectPath) and (out / SAMPLES).is_file()):
        raise InputError(
            f"{out} holds an unfinished dataset: run `defocal resume {shlex.quote(str(out))}` to complete it, or "
            "delete it."
        )
    check_new(out)


def committed(out: Place, maker: SampleMaker, todo: Sequence[Shard]) -> int:
    """Count the samples whose shards are committed, in a dataset under way."""
    return sum(len(shard.samples) for shard in todo if committed_shard(out, maker, shard))


def create(out: Place, maker: SampleMaker) -> Shards:
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

    def fill(folder: Place) -> None:
        write_atomically(folder / "recipe.toml", recipe.to_toml())
        for split, length in todo.lengths.items():
            path, rows = folder / f"{split}.zarr", functools.partial(todo.members, split)
            create_split(path, recipe, maker.size, length, rows, todo.per_shard, {"split": split, **facts})
            store_psf(path, arrays, psf)

    def fill_local(folder: Path) -> None:
        (folder / FOLDER).mkdir()
        fill(folder)

    if isinstance(out, ObjectPath):
        _create_remote(out, fill)
    else:
        # Whatever moment a run is killed at, `out` is absent or can be resumed.
        write_aside(out, fill_local, "a dataset")
    return todo


def _create_remote(out: ObjectPath, fill: Callable[[Place], None]) -> None:
    """Create a dataset in an object store.

    An object says that its creation is under way. Where one is found and nobody holds the lock, a run died here, and
    what it left is deleted: all of it is ours, for it began in an empty place.
    """
    with _alone(out), speaking(out):
        mark = out / FOLDER / CREATING
        if mark.is_file():
            for found in [*out.glob("*.zarr"), out / "recipe.toml"]:
                found.remove()
                found.unlink(missing_ok=True)
        elif any(found.name != FOLDER for found in out.iterdir()):
            _refuse_full(out)
        mark.write_bytes(b"")
        fill(out)
        mark.unlink()


@contextlib.contextmanager
def _alone(out: ObjectPath) -> Iterator[None]:
    """Hold a place in which no dataset is begun; wait while another run begins one, and refuse when it has."""
    deadline = time.monotonic() + CREATION
    with contextlib.ExitStack() as stack:
        while True:
            try:
                stack.enter_context(hold(out))
                break
            except FinishedError:
                _refuse_full(out)
            except InputError:
                if begun(out):
                    _refuse_full(out)
                if time.monotonic() > deadline:
                    raise
            time.sleep(0.5)
        yield


def reopen(out: Place) -> tuple[SampleMaker, Shards]:
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


def same_recipe(out: Place, maker: SampleMaker) -> None:
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


def join(out: Place, maker: SampleMaker) -> tuple[SampleMaker, Shards]:
    """Return what is needed to take part in a dataset that another run has begun.

    Raises
    ------
    InputError
        If it is not the dataset of this recipe and these scenes.
    """
    same_recipe(out, maker)
    return reopen(out)


def begun(out: Place) -> bool:
    """Tell whether there is a dataset in `out`, finished or not."""
    return any(out.glob("*.zarr")) and not unborn(out)


def check_disk(out: Place, maker: SampleMaker, samples: int) -> None:
    """Refuse a run whose raw size exceeds the free space.

    Raises
    ------
    InputError
        Giving both numbers.
    """
    needed = samples * sum(sample_bytes(maker.recipe, maker.size).values()) + DISK_RESERVE
    free = free_bytes(out)
    if free is not None and needed > free:
        raise InputError(
            f"{out} has {free / 1e9:.2f} GB free where up to {needed / 1e9:.2f} GB may be needed: free some space, "
            "choose another disk, or make fewer samples with --limit."
        )


def free_bytes(out: Place) -> int | None:
    """Free bytes of the disk that `out` lies or will lie on; None of an object store, which has no end."""
    if isinstance(out, ObjectPath):
        return None
    folder = out.absolute()
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def run(
    out: Place, maker: SampleMaker, todo: Sequence[Shard], *, workers: int = 0, crew: Crew | None = None,
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
        with hold(out, shared=shared, wait=JOINING if shared else 0.0) as held:
            if held.note:
                news(Event(kind="note", text=f"{out} {held.note}"))
            elif not shared:
                sweep_partial(out)
            try:
                _make(Job(out, maker), crew or ThisProcess(), _missing(out, maker, todo, news), held, news)
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
    except ObjectStoreError as error:
        outcome.stopped = str(error)
    outcome.complete = not outcome.stopped and complete(out)
    outcome.seconds = time.monotonic() - begin
    return outcome


def _make(job: Job, crew: Crew, todo: Iterator[Shard], held: Hold, news: Callable[[Event], None]) -> None:
    """Make shards as long as we hold the dataset."""
    for event in crew.make(job, todo):
        news(event)
        if held.lost.is_set():
            raise StoppedError(TAKEN)


def _missing(out: Place, maker: SampleMaker, todo: Sequence[Shard], news: Callable[[Event], None]) -> Iterator[Shard]:
    """Yield the shards that are not committed, and report those that are."""
    for shard in todo:
        if committed_shard(out, maker, shard) is None:
            yield shard
        else:
            news(Event(shard, kind="kept", kept=len(shard.samples)))


def _wait_for_markers(out: Place, count: int) -> None:
    """Wait until this machine sees the markers that others have written: network file systems may show them late."""
    deadline = time.monotonic() + SHOWING
    while markers(out) < count and time.monotonic() < deadline:
        time.sleep(0.2)


def _finish_if_last(out: Place, maker: SampleMaker) -> None:
    """Finish a dataset if all of its shards are committed and no other run holds it.

    Who gives up the lock last finds all shards, or one who does so now has found them.
    """
    todo = Shards(maker)
    with contextlib.suppress(InputError):
        if markers(out) >= len(todo):
            # Locks in an object store are kept for a moment by those too who find that they may not.
            with hold(out, wait=JOINING if isinstance(out, ObjectPath) else 0.0):
                sweep_partial(out)
                finish(out, maker, todo)


def complete(out: Place) -> bool:
    """Tell whether a dataset is finished; clears away what an interruption right at the end left behind."""
    if not finished(out):
        return False
    clear(out)
    return True
