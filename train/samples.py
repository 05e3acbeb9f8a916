"""Samples in tensors, one after the other: how a process that reads hands them over."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import get_worker_info

Batch = dict[str, torch.Tensor]


class Samples(Sequence[Batch]):
    """Samples that lie one after the other in tensors: each is a view.

    Attributes
    ----------
    batch
        The tensors, with the sample as first axis.
    """

    def __init__(self, batch: Batch) -> None:
        self.batch = batch

    def __len__(self) -> int:
        return len(self.batch["index"])

    def __getitem__(self, place: Any) -> Any:
        if isinstance(place, slice):
            return [self[i] for i in range(*place.indices(len(self)))]
        if not -len(self) <= place < len(self):
            raise IndexError(place)
        return {name: tensor[place] for name, tensor in self.batch.items()}

    def __iter__(self) -> Iterator[Batch]:
        return (self[place] for place in range(len(self)))


def room_for(shape: tuple[int, ...], dtype: np.dtype[Any]) -> torch.Tensor:
    """Return uninitialised memory: in a worker such as another process can see, so that nothing is copied into it."""
    like = torch.from_numpy(np.empty(0, dtype))
    if get_worker_info() is None:
        return torch.empty(shape, dtype=like.dtype)
    size = int(np.prod(shape)) * dtype.itemsize
    storage = torch.UntypedStorage._new_shared(max(1, size))  # type: ignore[no-untyped-call]
    return torch.empty(0, dtype=like.dtype).set_(storage, 0, shape)  # type: ignore[call-overload, no-any-return]
