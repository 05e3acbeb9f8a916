"""Wishes to stop: what a batch system or a person at the keyboard asks of a run."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from typing import Any


class Stop:
    """Whether a run shall end after the step under way.

    Attributes
    ----------
    wished
        Set as soon as it shall.
    interrupted
        Whether it was by Ctrl-C, and not by a batch system.
    """

    def __init__(self) -> None:
        self.wished, self.interrupted = threading.Event(), False

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Take SIGTERM, by which batch systems end a job, and Ctrl-C as such wishes."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def stop(number: int, frame: Any) -> None:
            self.interrupted |= number == signal.SIGINT
            self.wished.set()

        before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
