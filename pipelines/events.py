"""What happens in a run, as those who report it see it; and as lines of JSON, for programs."""

import json
from dataclasses import asdict, dataclass, field
from typing import IO, Any, Literal

from ..synth.shards import Shard


@dataclass(frozen=True, slots=True)
class Event:
    """News of a run.

    Attributes
    ----------
    shard
        What it is about, if it is about a shard.
    samples
        Samples made now.
    error
        What went wrong, if the shard failed: a sentence.
    kind
        "shard": one was made; "failed": one was not; "kept": one was there; "note": something else, see `text`.
    kept
        Samples that were there.
    bytes
        Size on disk of what was written.
    seconds
        How long the shard took.
    worker
        Who failed, if not this process.
    text
        A sentence, of notes.
    """

    shard: Shard | None = None
    samples: int = 0
    error: str | None = None
    kind: Literal["shard", "failed", "kept", "note"] = "shard"
    kept: int = 0
    bytes: int = 0
    seconds: float = 0.0
    worker: str = ""
    text: str = ""


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a shard where it was made; small, for it travels.

    Attributes
    ----------
    error
        What went wrong, in one sentence; None if nothing did.
    bytes, seconds, worker
        As of an `Event`.
    hopeless
        Whether other shards would meet the same: the disk is full, or cannot be written to.
    foreign
        Whether the worker cannot do this work at all: other versions, or another file system.
    """

    error: str | None = None
    bytes: int = 0
    seconds: float = 0.0
    worker: str = ""
    hopeless: bool = False
    foreign: bool = False

    def event(self, shard: Shard) -> Event:
        """Return the news of it."""
        if self.error is not None:
            return Event(shard, error=self.error, kind="failed", seconds=self.seconds, worker=self.worker)
        return Event(shard, samples=len(shard.samples), bytes=self.bytes, seconds=self.seconds)


class FailedShardError(Exception):
    """How a worker says that it could not make a shard: Dask keeps errors safe, where it may lose results."""

    def __init__(self, result: Result) -> None:
        super().__init__(result)
        self.result = result


@dataclass(slots=True)
class Outcome:
    """How a run ended.

    Attributes
    ----------
    samples
        Samples made now.
    seconds
        How long it took.
    failed
        Errors of shards that failed, by name: of the first `LISTED`. Failed shards stay uncommitted, for `resume`.
    failures
        How many shards failed.
    bytes
        Size on disk of what was written.
    stopped
        Why the run ended before all shards were tried, a sentence; empty if all were.
    complete
        Whether the dataset is now complete.
    """

    samples: int = 0
    seconds: float = 0.0
    failed: dict[str, str] = field(default_factory=dict)
    failures: int = 0
    bytes: int = 0
    stopped: str = ""
    complete: bool = False

    def count(self, event: Event) -> None:
        """Take an event into account."""
        self.samples += event.samples
        self.bytes += event.bytes
        if event.kind == "failed" and event.shard is not None:
            self.failures += 1
            if len(self.failed) < LISTED:
                self.failed[event.shard.name] = event.error or ""


LISTED = 1000
"""Failed shards whose errors are kept: a run over millions may fail millions of times."""


class JsonLines:
    """Writes a run as one JSON object a line.

    Every line has `event`: "begun", "kept", "shard", "failed", "note", "interrupted" or "done".
    """

    def __init__(self, stream: IO[str]) -> None:
        self.stream = stream

    def write(self, event: str, **facts: Any) -> None:
        """Write a line."""
        self.stream.write(json.dumps({"event": event, **facts}) + "\n")
        self.stream.flush()

    def event(self, event: Event) -> None:
        """Write the line of an event."""
        shard = {"shard": event.shard.name, "samples": len(event.shard.samples)} if event.shard else {}
        if event.kind == "note":
            self.write("note", text=event.text)
        elif event.kind == "kept":
            self.write("kept", **shard)
        elif event.kind == "failed":
            self.write("failed", **shard, error=event.error, worker=event.worker)
        else:
            self.write("shard", **shard, bytes=event.bytes, seconds=round(event.seconds, 3))

    def done(self, outcome: Outcome, status: int) -> None:
        """Write the last line."""
        facts = asdict(outcome)
        facts.pop("failed")
        facts["seconds"] = round(outcome.seconds, 3)
        self.write("done", **facts, exit=status)
