"""Progress of a run: a bar where there is a terminal, a line every few seconds where there is none."""

import sys
import threading
import time
from types import TracebackType
from typing import Any, Self

import click

from .events import Event

QUIET_SECONDS = 5.0
STILL_SECONDS = 30.0
"""Between two lines, while nothing changes."""
BAR_SECONDS = 1.0


class Progress:
    """Counts samples on standard error; use as a context manager.

    Parameters
    ----------
    total
        Samples in all.
    label
        What is being done.
    """

    def __init__(self, total: int, label: str) -> None:
        self.total, self.label = total, label
        self.done = self.kept = self.failed = self.bytes = 0
        self.begun = time.monotonic()
        self.bar: Any = None
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._clock = threading.Thread(target=self._tick, daemon=True)

    def __enter__(self) -> Self:
        if sys.stderr.isatty():
            self.bar = click.progressbar(
                length=self.total, label=self.label, file=sys.stderr, show_pos=True, show_percent=False,
                show_eta=False, item_show_func=lambda _: self._facts(), width=28,
            )  # fmt: skip
            self.bar.__enter__()
        self._clock.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._clock.join()
        if self.bar is not None:
            self.bar.__exit__(kind, error, trace)

    def advance(self, samples: int) -> None:
        """Note that so many samples were finished."""
        with self._lock:
            self.done += samples
            if self.bar is not None:
                self.bar.update(samples)

    def event(self, event: Event) -> None:
        """Take note of an event of a run."""
        self.failed += event.kind == "failed"
        self.bytes += event.bytes
        self.kept += event.kept
        if event.kind == "note":
            self._say(event.text)
        self.advance(event.samples + event.kept)

    def _tick(self) -> None:
        """Say now and then how things stand, also while nothing happens."""
        said, said_at = None, 0.0
        while not self._over.wait(QUIET_SECONDS if self.bar is None else BAR_SECONDS):
            if self.bar is None:
                if self.done == said and time.monotonic() - said_at < STILL_SECONDS:
                    continue
                said, said_at = self.done, time.monotonic()
                self._say(f"{self.label}: {self.done} of {self.total} samples, {self._facts()}")
            else:
                with self._lock:
                    self.bar.update(0)
                    self.bar.render_progress()

    def _say(self, sentence: str) -> None:
        with self._lock:
            if self.bar is not None:
                click.echo(err=True)
            click.echo(sentence, err=True)

    def _facts(self) -> str:
        """Samples a second, bytes, time left, failures."""
        passed = max(time.monotonic() - self.begun, 1e-9)
        speed = (self.done - self.kept) / passed
        if not speed:
            return f"getting ready for {duration(passed)}"
        facts = [f"{speed:.1f} a second" if speed >= 0.5 else f"{duration(1 / speed)} each"]
        if self.bytes:
            facts.append(f"{amount(self.bytes)} written ({amount(self.bytes / passed)}/s)")
        facts.append(f"{duration((self.total - self.done) / speed)} left")
        if self.failed:
            facts.append(f"{self.failed} {'shard' if self.failed == 1 else 'shards'} failed")
        return ", ".join(facts)


def amount(count: float) -> str:
    """Write a number of bytes."""
    if count >= 1e9:
        return f"{count / 1e9:.1f} GB"
    return f"{count / 1e6:.{0 if count >= 1e7 else 1}f} MB"


def duration(seconds: float) -> str:
    """Write a time."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
