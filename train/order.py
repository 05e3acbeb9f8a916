"""The order in which samples are seen: a pure function of (seed, epoch), so that any run can go on anywhere in it."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from .. import InputError
from .seeds import Stream, generator

Int64 = npt.NDArray[np.int64]
Uneven = Literal["pad", "drop"]


class ShardShuffle:
    """Batches of sample numbers, epoch after epoch: a batch sampler for `torch.utils.data.DataLoader`.

    Shards are permuted, so many of them at a time are merged, and the samples in each such window permuted: reads stay
    within a few files, and every sample comes once an epoch. The order depends on the arguments alone, not on workers.

    Parameters
    ----------
    shards
        Number of samples in each shard; samples are numbered shard by shard.
    batch_size
        Samples in a batch of one process.
    seed
        Of the order.
    window
        Shards that are merged; 0 merges all, for a uniformly random order.
    shuffle
        Or samples come in the order of their numbers, every epoch.
    drop_last
        Leave out an epoch's last batch where it is not full.
    rank, world
        Number of this process, and of all that share the samples: each takes every `world`-th of one order.
    uneven
        What to do where the samples cannot be shared evenly: "pad" repeats the first of the epoch's order, "drop"
        leaves the last out.

    Raises
    ------
    InputError
        If there are no samples, or too few for one batch of each process.
    """

    def __init__(
        self, shards: Sequence[int], batch_size: int, *, seed: int = 0, window: int = 0, shuffle: bool = True,
        drop_last: bool = False, rank: int = 0, world: int = 1, uneven: Uneven = "pad",
    ) -> None:  # fmt: skip
        if batch_size < 1 or not 0 <= rank < world or window < 0:
            raise InputError(
                f"batch_size {batch_size}, window {window}, rank {rank} of {world} is no way to share samples."
            )
        self.shards = np.array(shards, np.int64)
        self.batch_size, self.seed, self.window, self.shuffle = batch_size, seed, window, shuffle
        self.drop_last, self.rank, self.world, self.uneven = drop_last, rank, world, uneven
        self.samples = int(self.shards.sum())
        self._epoch = self._batch = 0
        if not len(self):
            raise InputError(
                f"{self.samples} samples make no batch of {batch_size}"
                + f" in each of {world} processes" * (world > 1)
                + ": lower data.batch_size, or set data.drop_last = false."
            )

    @property
    def mine(self) -> int:
        """Samples of an epoch that this process sees."""
        whole, rest = divmod(self.samples, self.world)
        return whole + (1 if rest and self.uneven == "pad" else 0)

    def __len__(self) -> int:
        """Number of batches in an epoch of this process."""
        return self.mine // self.batch_size if self.drop_last else -(-self.mine // self.batch_size)

    def permutation(self, epoch: int) -> Int64:
        """Return the numbers of all samples in the order of an epoch, (samples,) int64, for all processes."""
        numbers = np.arange(self.samples, dtype=np.int64)
        if not self.shuffle:
            return numbers
        random = generator(self.seed, Stream.ORDER, epoch)
        if self.window == 0:
            return random.permutation(numbers)
        starts = np.cumsum(self.shards) - self.shards
        order = random.permutation(len(self.shards))
        windows = [order[first : first + self.window] for first in range(0, len(order), self.window)]
        merged = [np.concatenate([numbers[starts[s] : starts[s] + self.shards[s]] for s in w]) for w in windows]
        return np.concatenate([random.permutation(one) for one in merged])

    def epoch(self, epoch: int, batch: int = 0) -> Iterator[list[int]]:
        """Yield the batches of an epoch for this process, from a batch on."""
        order = self.permutation(epoch)
        if self.uneven == "pad":
            order = np.resize(order, self.mine * self.world)
        mine = order[: self.mine * self.world][self.rank :: self.world]
        for number in range(batch, len(self)):
            yield mine[number * self.batch_size : (number + 1) * self.batch_size].tolist()

    def __iter__(self) -> Iterator[list[int]]:
        """Yield batches without end, one epoch after the other, from where `start` says."""
        epoch, batch = self._epoch, self._batch
        while True:
            yield from self.epoch(epoch, batch)
            epoch, batch = epoch + 1, 0

    def start(self, epoch: int, batch: int = 0) -> None:
        """Let the next iteration begin with this batch of this epoch."""
        if epoch < 0 or not 0 <= batch <= len(self):
            raise InputError(f"there is no batch {batch} of epoch {epoch}: an epoch has {len(self)} batches.")
        self._epoch, self._batch = (epoch + 1, 0) if batch == len(self) else (epoch, batch)

    @property
    def position(self) -> tuple[int, int]:
        """Epoch and batch that an iteration begins with."""
        return self._epoch, self._batch

    def state(self) -> dict[str, Any]:
        """Return what `load` needs to go on here, and to see that it is the same order; JSON data."""
        return {
            "epoch": self._epoch, "batch": self._batch, "seed": self.seed, "samples": self.samples,
            "batch_size": self.batch_size, "world": self.world, "window": self.window, "shuffle": self.shuffle,
            "drop_last": self.drop_last, "uneven": self.uneven,
        }  # fmt: skip

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on where another order was.

        Raises
        ------
        InputError
            Naming what is not the same, and makes another order.
        """
        own = self.state()
        for key, value in own.items():
            if key not in ("epoch", "batch") and state.get(key) != value:
                raise InputError(
                    f"cannot go on in the middle of a run: {key} was {state.get(key)} and is {value} now; set it back, "
                    "or begin a new run from the checkpoint's weights."
                )
        self.start(int(state["epoch"]), int(state["batch"]))
