"""Progress of a run: a bar where there is a terminal, a line every few seconds where there is none."""

import sys
import time
from types import TracebackType
from typing import Any, Self

import click

QUIET_SECONDS = 5.0


class Progress:
    """Counts samples on standard error; use as a context manager.

    Parameters
    ----------
    total
        Samples in all.
    label
        What is being done.
    done
        Samples that were there before.
    """

    def __init__(self, total: int, label: str, done: int = 0) -> None:
        self.total, self.label, self.before, self.done = total, label, done, done
        self.failed = 0
        self.begun = self.spoken = time.monotonic()
        self.bar: Any = None

    def __enter__(self) -> Self:
        if sys.stderr.isatty():
            self.bar = click.progressbar(
                length=self.total, label=self.label, file=sys.stderr, show_pos=True, show_percent=False,
                item_show_func=lambda _: self._rate(), width=28,
            )  # fmt: skip
            self.bar.__enter__()
            self.bar.update(self.before)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.bar is not None:
            self.bar.__exit__(kind, error, trace)

    def advance(self, samples: int, failed: int = 0) -> None:
        """Note that so many samples were finished, and so many failed."""
        self.done += samples
        self.failed += failed
        if self.bar is not None:
            self.bar.update(samples)
        elif time.monotonic() - self.spoken >= QUIET_SECONDS:
            self.spoken = time.monotonic()
            click.echo(f"{self.label}: {self.done} of {self.total} samples, {self._rate()}, {self._left()}", err=True)

    def _speed(self) -> float:
        return (self.done - self.before) / max(time.monotonic() - self.begun, 1e-9)

    def _rate(self) -> str:
        text = f"{self._speed():.1f} a second"
        return f"{text}, {self.failed} failed" if self.failed else text

    def _left(self) -> str:
        speed = self._speed()
        if speed == 0:
            return "time left unknown"
        seconds = (self.total - self.done) / speed
        return f"{seconds:.0f} s left" if seconds < 90 else f"{seconds / 60:.0f} min left"
