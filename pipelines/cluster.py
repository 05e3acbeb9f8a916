"""Shards made by other processes, on Dask: local workers, or those of any scheduler.

The loop that loses nothing: what is submitted is bounded by the workers, not by the dataset; results are taken as they
come, and where they are lost the commit markers know; Dask retries no task that failed by itself. A
shard whose worker died again and again is tried once more alone, for it may have been in bad company. When the workers
or the scheduler are lost as a whole, another session takes over what was under way.
"""

import contextlib
import functools
import itertools
import json
import threading
import time
import uuid
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

from .. import InputError
from ..synth.banks import stored_bank
from ..synth.buckets import ObjectStoreError
from ..synth.commit import committed_shard
from ..synth.places import place
from ..synth.recipe import Recipe
from ..synth.samples import SampleMaker
from ..synth.shards import Shard
from .agreement import check_workers, difference, identity, sees, unseen
from .crew import Job, attempt, prepare_process, stop_if_hopeless
from .events import Event, FailedShardError, Result

POLL = 0.05
"""Seconds between looks for results."""


class LostError(Exception):
    """The workers or their scheduler are gone; says which."""


@dataclass
class _Queue:
    """Shards to be made: new ones, those of a lost session, those suspected of killing their workers."""

    todo: Iterator[Shard]
    again: deque[Shard] = field(default_factory=deque)
    suspects: deque[Shard] = field(default_factory=deque)
    running: dict[Any, Shard] = field(default_factory=dict)
    suspected: set[str] = field(default_factory=set)
    alone: bool = False
    finished: int = 0

    def take(self, window: int) -> Shard | None:
        """Return a shard that can be begun while others run, if there is one and there is room."""
        if len(self.running) >= (1 if self.alone else window):
            return None
        shard = self.again.popleft() if self.again else next(self.todo, None)
        if shard is None and not self.running and self.suspects:
            self.alone = True
            shard = self.suspects.popleft()
        return shard

    def suspect(self, shard: Shard) -> bool:
        """Note that a shard's workers died; tell whether it deserves another try, alone."""
        if shard.name in self.suspected:
            return False
        self.suspected.add(shard.name)
        self.suspects.append(shard)
        return True

    def restore(self) -> None:
        """Take back what was under way."""
        self.again.extend(self.running.values())
        self.running.clear()


class Session(Protocol):
    """A connection to workers."""

    client: Any

    @property
    def window(self) -> int:
        """How many shards may be under way."""
        ...

    def look(self) -> str | None:
        """See whether all is well; return a sentence if there is news; raise `LostError` or `StoppedError`."""
        ...


class ClusterCrew(ABC):
    """What local and remote crews have in common."""

    @abstractmethod
    def _session(self) -> contextlib.AbstractContextManager[Session]:
        """Begin a session with the workers there are."""

    @abstractmethod
    def _after_loss(self, lost: LostError, losses: int) -> None:
        """Wait until a new session may work; raise `StoppedError` if it is no use."""

    def make(self, job: Job, todo: Iterator[Shard]) -> Iterator[Event]:
        """Make the shards on the workers; see `Crew`."""
        queue, losses, finished = _Queue(todo), 0, 0
        while True:
            try:
                with self._session() as session:
                    with _spoken():
                        check_workers(session.client, job.maker.recipe, job.out)
                    yield from _drive(session, job, queue)
                return
            except LostError as lost:
                queue.restore()
                losses = losses + 1 if queue.finished == finished else 1
                finished = queue.finished
                yield Event(kind="note", text=f"{lost} Starting again with what is not finished.")
                self._after_loss(lost, losses)


def _drive(session: Session, job: Job, queue: _Queue) -> Iterator[Event]:
    """Make shards within one session, until there are none left."""
    from distributed import as_completed

    client, recipe = session.client, job.maker.recipe
    text, mine = json.dumps(recipe.to_dict()), identity()
    submit = functools.partial(client.submit, make_on_worker, str(job.out.absolute()), text, retries=0, pure=False)
    # One group of keys: Dask then keeps what the workers have no room for, and does not deal it out in advance.
    group, numbers = f"shard-{recipe.hash()[:16]}-{uuid.uuid4().hex}", itertools.count()
    results = as_completed(loop=client.loop)
    while True:
        while (shard := queue.take(session.window)) is not None:
            # It counts as under way before it is, lest it be lost with the connection.
            key = (group, next(numbers))
            queue.running[key] = shard
            with _spoken():
                future = submit(shard, mine, key=key)
            results.add(future)
        if not queue.running:
            return
        while not results.has_ready():
            time.sleep(POLL)
            if news := session.look():
                yield Event(kind="note", text=news)
        for future in results.next_batch(block=False):
            with _spoken():
                result = _result(future, job, queue.running[future.key])
            if result is None:
                session.look()
                raise LostError("Dask dropped a shard.")
            shard = queue.running.pop(future.key)
            future.release()
            if result.foreign:
                raise InputError(str(result.error))
            if result.error == DIED and queue.suspect(shard):
                yield Event(kind="note", text=f"{shard.name}: {DIED} It is tried once more, alone.")
                continue
            queue.finished += 1
            yield result.event(shard)
            stop_if_hopeless(result)


@contextlib.contextmanager
def _spoken() -> Iterator[None]:
    """Take what happens to a conversation with the scheduler as its loss."""
    from concurrent.futures import CancelledError

    from distributed.client import ClosedClientError

    try:
        yield
    except (OSError, TimeoutError, CancelledError, ClosedClientError) as error:
        raise LostError(f"The connection to the scheduler broke ({type(error).__name__}).") from None


DIED = "the workers that made it died again and again: killed, or out of memory (see --memory-limit)."


def _result(future: Any, job: Job, shard: Shard) -> Result | None:
    """Return what became of a shard that is done; None if Dask has forgotten it.

    Nothing is fetched: what a task returns is lost with its worker, and `as_completed` waits for ever for a result that
    it tries to fetch in the moment when a connection breaks. What was made is told by its marker.
    """
    from distributed import KilledWorker

    match future.status:
        case "error":
            error = future.exception(timeout=10)
            if isinstance(error, FailedShardError):
                return error.result
            if isinstance(error, KilledWorker):
                return Result(DIED)
            return Result(f"{type(error).__name__}: {error}".splitlines()[0])
        case "cancelled":
            return None
    content = committed_shard(job.out, job.maker, shard) or {}
    if future.status == "lost" and not content:
        return None
    return Result(bytes=sum(content.get("bytes", {}).values()), seconds=content.get("seconds", 0.0))


_local = threading.local()


def make_on_worker(out: str, recipe: str, shard: Shard, wanted: dict[str, str]) -> None:
    """Make a shard on a worker; the recipe travels as JSON, and its maker is kept for the next shard.

    Raises
    ------
    FailedShardError
        If it could not be made.
    """
    from distributed import get_worker

    worker = str(get_worker().address)
    # Workers may join at any time: those that were there at the beginning have been asked before.
    if sentence := difference(worker, identity(), wanted):
        raise FailedShardError(Result(sentence, foreign=True))
    try:
        if not sees(out):
            raise FailedShardError(Result(unseen(worker, out), foreign=True))
        prepare_process()
        if getattr(_local, "made", None) != (out, recipe):
            loaded = Recipe.parse(json.loads(recipe))
            _local.maker = SampleMaker(loaded, stored_bank(place(out), loaded))
            _local.made = (out, recipe)
    except InputError as error:
        raise FailedShardError(Result(f"worker {worker} cannot do this work: {error}", foreign=True)) from None
    except ObjectStoreError as error:
        raise FailedShardError(Result(str(error), worker=worker)) from None
    result = attempt(place(out), _local.maker, shard, worker)
    if result.error is not None:
        raise FailedShardError(result)
