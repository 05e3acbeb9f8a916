"""Reading ahead: the batches of a whole run from worker processes, without a stall between epochs."""

import atexit
import signal
import sys
import time
import weakref
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import torch
from torch.utils.data import DataLoader

from .. import InputError
from .data import StoreDataset
from .order import ShardShuffle
from .samples import Batch, Samples

GRACE = 30
"""Seconds that workers go on after they were told to end: whoever trains may want another batch before it stops."""


class Loader:
    """Batches of a dataset in an order; make one with `make_loader`.

    Iterating gives the rest of the current epoch, and again the next one. Workers go on reading into the next epoch
    meanwhile; they stop with `close`, or when the loader is no longer used.

    Attributes
    ----------
    order
        The order of the samples.
    waited
        Seconds that whoever iterates has waited for batches.
    """

    def __init__(self, loader: "DataLoader[Batch]", order: ShardShuffle) -> None:
        self.order = order
        self.waited = 0.0
        self._loader = loader
        self._next = order.position
        self._stream: Iterator[Batch] | None = None
        self._end = partial(_close, weakref.ref(self))

    def __len__(self) -> int:
        """Number of batches in an epoch."""
        return len(self.order)

    @property
    def epoch(self) -> int:
        """Epoch of the next batch, from 0."""
        return self._next[0]

    @property
    def batch(self) -> int:
        """Number of the next batch in its epoch, from 0."""
        return self._next[1]

    def __del__(self) -> None:
        self.close()

    def __iter__(self) -> Iterator[Batch]:
        epoch = self.epoch
        while self.epoch == epoch:
            batch = self._read()
            number = self.batch + 1
            # Before it is handed out: what is saved while the batch is used goes on with the one after it.
            self._next = (epoch, number) if number < len(self) else (epoch + 1, 0)
            yield batch

    def _read(self) -> Batch:
        begun = time.perf_counter()
        try:
            if self._stream is None:
                self.order.start(*self._next)
                self._stream = iter(self._loader)
                # Before the workers' own end at exit, which would wait for all of GRACE.
                atexit.register(self._end)
            return next(self._stream)
        except InputError as error:
            self.close()
            # What comes from a worker has its traceback before the sentence.
            raise InputError(str(error).rsplit("InputError: ", 1)[-1].strip()) from None
        except RuntimeError as error:
            if "DataLoader worker" not in str(error):
                raise
            self.close()
            raise InputError(f"a process that reads data has died: {died(error)}") from None
        finally:
            self.waited += time.perf_counter() - begun

    def start(self, epoch: int, batch: int = 0) -> None:
        """Go on with this batch of this epoch."""
        self.order.start(epoch, batch)
        self._jump()

    def state(self) -> dict[str, Any]:
        """Return where the next batch is, for a checkpoint; JSON data."""
        return {**self.order.state(), "epoch": self.epoch, "batch": self.batch}

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on where another loader was; see `ShardShuffle.load`."""
        self.order.load(state)
        self._jump()

    def _jump(self) -> None:
        self.close()
        self._next = self.order.position

    def close(self) -> None:
        """Stop the workers; iterating starts them again."""
        stream, self._stream = self._stream, None
        atexit.unregister(self._end)
        # Not left to the garbage collector: a traceback may hold on to the stream.
        if stream is not None and hasattr(stream, "_shutdown_workers"):
            stream._shutdown_workers()


def died(error: Exception) -> str:
    """Say what may have killed a process that reads."""
    return (
        f"{str(error).splitlines()[0][:120].strip()} Lower workers, prefetch or batch_size, or give it more memory; in "
        "a container also shared memory, as --shm-size=8g does."
    )


def make_loader(
    dataset: StoreDataset, order: ShardShuffle, *, workers: int = 2, prefetch: int = 4, pin: bool = False,
    context: str | None = None,
) -> Loader:  # fmt: skip
    """Return a loader.

    Parameters
    ----------
    dataset
        The samples.
    order
        Their order.
    workers
        Processes that read; 0 reads in this one.
    prefetch
        Batches that each worker reads ahead.
    pin
        Put batches into page-locked memory, from which they reach a GPU faster.
    context
        How workers start: "fork", "forkserver" or "spawn"; by default the cheapest that the dataset's backend and the
        system allow.
    """
    if workers and context is None:
        # tensorstore refuses to work after a fork.
        after = "forkserver" if dataset.backend == "tensorstore" else "fork"
        context = after if sys.platform == "linux" else "spawn"
    loader: DataLoader[Batch] = DataLoader(
        dataset,
        batch_sampler=order,
        num_workers=workers,
        prefetch_factor=prefetch if workers else None,
        multiprocessing_context=context if workers else None,
        collate_fn=_batch,
        pin_memory=pin,
        worker_init_fn=_begin,
        # Its own, so that torch's numbers, and a resumed run, do not depend on when workers are started.
        generator=torch.Generator().manual_seed(0),
    )
    return Loader(loader, order)


def _close(loader: "weakref.ref[Loader]") -> None:
    found = loader()
    if found is not None:
        found.close()


def _batch(samples: Any) -> Batch:
    assert isinstance(samples, Samples)
    return samples.batch


def _begin(worker: int) -> None:
    from numcodecs import blosc

    torch.set_num_threads(1)
    blosc.use_threads = False
    # A batch system sends its signals to all processes of a job; the one that trains decides when to stop.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda number, frame: signal.alarm(GRACE))
