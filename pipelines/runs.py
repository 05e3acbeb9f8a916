"""The commands `generate` and `resume`: who works, at which part of a dataset, and what is said of it."""

import contextlib
import os
import re
import signal
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from shlex import quote
from typing import Any, Self

import click

from .. import InputError
from ..synth.places import Place
from ..synth.recipe import Recipe
from ..synth.samples import SampleMaker
from ..synth.shards import Shards
from ..synth.store import open_store
from .crew import Crew, ThisProcess
from .events import Event, JsonLines, Outcome
from .generate import begun, complete, create, join, refuse_existing, reopen, run, same_recipe
from .progress import Progress

DONE, INTERRUPTED, FAILED_SHARDS = 0, 1, 3


@dataclass(frozen=True, slots=True)
class Ways:
    """Who makes the shards, and how it is told; the options of both commands."""

    workers: int | None
    memory_limit: str | None
    scheduler: str | None
    scheduler_file: Path | None
    patience: float
    dashboard: bool
    as_json: bool

    @classmethod
    def of(cls, options: dict[str, Any]) -> tuple[Self, dict[str, Any]]:
        """Take what is ours from a command's options; return the rest too."""
        names = {field.name for field in fields(cls)}
        return cls(**{n: options[n] for n in names}), {n: v for n, v in options.items() if n not in names}

    def crew(self) -> tuple[Crew, str]:
        """Return who makes the shards, and how to call them.

        Raises
        ------
        InputError
            If two ways are asked for at once.
        """
        scheduler = self.scheduler
        asked = [self.workers is not None, scheduler is not None, self.scheduler_file is not None]
        if sum(asked) > 1:
            raise InputError("--workers, --scheduler and --scheduler-file exclude each other: choose one.")
        if not any(asked) and (scheduler := os.environ.get("DASK_SCHEDULER_ADDRESS") or None):
            click.echo(f"Using the scheduler at {scheduler}, from DASK_SCHEDULER_ADDRESS.", err=True)
        if not self.workers and (self.memory_limit is not None or self.dashboard):
            raise InputError("--memory-limit and --dashboard are for local --workers: say how many.")
        if self.workers:
            from .workers import LocalWorkers

            return LocalWorkers(self.workers, self.memory_limit, dashboard=self.dashboard), f"{self.workers} workers"
        if scheduler is not None or self.scheduler_file is not None:
            from .workers import RemoteWorkers

            return RemoteWorkers(scheduler, self.scheduler_file, self.patience), str(scheduler or self.scheduler_file)
        return ThisProcess(), "this process"


@dataclass(frozen=True, slots=True)
class Part:
    """Some of a dataset's shards."""

    first: int | None = None
    last: int | None = None
    step: int | None = None

    @classmethod
    def of(cls, shards: str | None, index: int | None, count: int | None) -> Self | None:
        """Return what the options ask for; None if they ask for all.

        Raises
        ------
        InputError
            If they make no sense.
        """
        if shards is None and index is None and count is None:
            return None
        if shards is not None and (index is not None or count is not None):
            raise InputError("--shards and --shard-index exclude each other: choose one.")
        if shards is not None:
            found = re.fullmatch(r"(\d{0,12}):(\d{0,12})", shards)
            if not found:
                raise InputError(f"--shards {shards[:40]!r} is not of the form A:B, as in 0:64.")
            return cls(int(found[1] or 0), int(found[2]) if found[2] else None)
        if index is None or count is None:
            raise InputError("--shard-index and --shard-count belong together.")
        if index >= count:
            raise InputError(f"--shard-index {index} must be less than --shard-count {count}: the first part is 0.")
        return cls(index, None, count)

    def __call__(self, todo: Shards) -> Shards:
        """Return those shards of all.

        Raises
        ------
        InputError
            If there are no such shards.
        """
        if self.step is None and self.first and self.first >= len(todo):
            raise InputError(f"there is no shard {self.first}: the dataset has {len(todo)}, from 0 to {len(todo) - 1}.")
        return todo[self.first : self.last : self.step]


def generate_dataset(recipe: Recipe, out: Place, ways: Ways, part: Part | None) -> int:
    """Make a dataset, or a part of it; return the exit status."""
    crew, called = ways.crew()
    maker = SampleMaker(recipe)
    if part is None:
        return _run(out, maker, _begin(out, maker, crew), ways, crew, called)
    if not begun(out):
        try:
            part(Shards(maker))
            todo = part(_begin(out, maker, crew))
        except InputError:
            # Of several that begin at the same time, one is first.
            if not begun(out):
                raise
        else:
            return _run(out, maker, todo, ways, crew, called, shared=True)
    same_recipe(out, maker)
    if complete(out):
        return _nothing_to_do(out, ways)
    maker, todo = join(out, maker)
    crew.check(maker)
    return _run(out, maker, part(todo), ways, crew, called, shared=True)


def resume_dataset(out: Place, ways: Ways) -> int:
    """Complete a dataset; return the exit status."""
    crew, called = ways.crew()
    open_store(out, unfinished=True)
    if complete(out):
        return _nothing_to_do(out, ways)
    maker, todo = reopen(out)
    crew.check(maker)
    return _run(out, maker, todo, ways, crew, called)


def _begin(out: Place, maker: SampleMaker, crew: Crew) -> Shards:
    """Check what can be checked before anything is written, and create the dataset."""
    from .plan import check_blur, check_scenes, survey

    refuse_existing(out)
    maker.check_bank()
    crew.check(maker)
    with Progress(maker.count, "checking scenes") as progress:
        check_scenes(maker, progress.advance)
    check_blur(maker.recipe, survey(maker))
    return create(out, maker)


def _nothing_to_do(out: Place, ways: Ways) -> int:
    if ways.as_json:
        JsonLines(sys.stdout).done(Outcome(complete=True), DONE)
    else:
        click.echo(f"{out} is complete; nothing to do.")
    return DONE


def _run(
    out: Place, maker: SampleMaker, todo: Shards, ways: Ways, crew: Crew, called: str, *, shared: bool = False
) -> int:  # fmt: skip
    lines = JsonLines(sys.stdout) if ways.as_json else None
    samples = todo.samples
    if lines:
        lines.write(
            "begun", out=str(out), recipe=maker.recipe.name, recipe_hash=maker.recipe.hash(), samples=samples,
            shards=len(todo), all_shards=len(todo.all()), by=called,
        )  # fmt: skip
    progress = Progress(samples, "generating")

    def report(event: Event) -> None:
        progress.event(event)
        if lines:
            lines.event(event)

    try:
        with _sigterm_as_ctrl_c(), progress:
            outcome = run(out, maker, todo, crew=crew, shared=shared, report=report)
    except KeyboardInterrupt:
        click.echo(f"\nInterrupted; at least {progress.done} of {samples} samples are safe in {out}.", err=True)
        click.echo(f"Run `defocal resume {quote(str(out))}` to go on.", err=True)
        if lines:
            lines.write("interrupted", samples=progress.done - progress.kept)
        sys.stderr.flush()
        # Zarr's event loop still holds the write that was under way, and would complain of being shut down.
        os._exit(INTERRUPTED)
    status = FAILED_SHARDS if outcome.failures or outcome.stopped else DONE
    if lines:
        lines.done(outcome, status)
    _tell(out, outcome, len(todo), todo, quiet=ways.as_json)
    return status


def _tell(out: Place, outcome: Outcome, tried: int, todo: Shards, *, quiet: bool) -> None:
    """Say how a run ended."""
    from ..synth.commit import markers

    named = quote(str(out))
    for name, error in list(outcome.failed.items())[:10]:
        click.echo(f"Shard {name} failed: {error}", err=True)
    if outcome.failures:
        click.echo(
            f"{outcome.failures} of {tried} shards failed; `defocal resume {named}` tries them again.", err=True
        )  # fmt: skip
    if outcome.stopped:
        click.echo(f"Stopped: {outcome.stopped}", err=True)
        click.echo(f"What is finished is safe; `defocal resume {named}` goes on.", err=True)
    if outcome.failures or outcome.stopped or quiet:
        return
    rate = outcome.samples / outcome.seconds if outcome.seconds else 0.0
    made = f"Made {outcome.samples} samples in {outcome.seconds:.1f} s ({rate:.1f} a second); {out} holds "
    if outcome.complete:
        click.echo(f"{made}{todo.maker.count}.")
        click.echo(f"Next: `defocal preview {named}`, `defocal verify {named}`.")
    else:
        click.echo(f"{made}{markers(out)} of {len(todo.all())} shards.")
        click.echo(f"The run that makes the last one completes it; so does `defocal resume {named}`.")


@contextlib.contextmanager
def _sigterm_as_ctrl_c() -> Iterator[None]:
    """Take the signal by which batch systems end a job as Ctrl-C."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, frame: Any) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
