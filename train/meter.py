"""How fast a training goes, and what it waits for."""

import dataclasses
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch


@dataclass
class Meter:
    """How fast samples go, and the share of time spent waiting for them; validations and saving are left out."""

    samples: int = 0
    waited: float = 0.0
    begun: float = dataclasses.field(default_factory=time.perf_counter)
    started: float = dataclasses.field(default_factory=time.perf_counter)

    @property
    def seconds(self) -> float:
        """Seconds since the run, or its resumption, began; validations and saving are counted."""
        return round(time.perf_counter() - self.started, 3)

    def timed(self, batches: Iterator[dict[str, torch.Tensor]]) -> Iterator[dict[str, torch.Tensor]]:
        """Yield batches, counting the time until each is there; the first, which starts the readers, is not counted."""
        first = True
        while True:
            before = time.perf_counter()
            batch = next(batches, None)
            if batch is None:
                return
            if first:
                self.begun, first = time.perf_counter(), False
            else:
                self.waited += time.perf_counter() - before
            yield batch

    def apart(self, work: Any) -> None:
        """Do something that is not counted."""
        before = time.perf_counter()
        work()
        self.begun += time.perf_counter() - before

    def take(self) -> tuple[float, float]:
        """Return samples a second and the share of waiting since the last time."""
        spent = max(time.perf_counter() - self.begun, 1e-9)
        found = self.samples / spent, min(1.0, self.waited / spent)
        self.samples, self.waited, self.begun = 0, 0.0, time.perf_counter()
        return found
