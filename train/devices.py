"""Where a run computes, and with whom: devices, precision, and the other processes of `torchrun`."""

import contextlib
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal

import torch
import torch.distributed as dist

from .. import InputError

Precision = Literal["float32", "bf16"]


@dataclass(frozen=True, slots=True)
class Team:
    """The processes that train one model together.

    Attributes
    ----------
    rank
        Number of this process; 0 writes.
    world
        How many there are.
    device
        Where this one computes.
    """

    rank: int
    world: int
    device: torch.device

    @property
    def leads(self) -> bool:
        """Whether this process writes."""
        return self.rank == 0

    def total(self, numbers: torch.Tensor) -> torch.Tensor:
        """Return the sum of a float64 tensor over all processes; each must ask."""
        if self.world > 1:
            # Some devices have no float64.
            numbers = numbers.to("cpu" if dist.get_backend() == "gloo" else self.device)
            dist.all_reduce(numbers)
        return numbers.cpu()

    def any(self, said: bool) -> bool:
        """Tell whether any process says so; each must ask."""
        return bool(self.total(torch.tensor([float(said)], dtype=torch.float64)).item() > 0)


def pick_device(name: str, local_rank: int = 0) -> torch.device:
    """Return a device by name: "auto", "cpu", "cuda", "cuda:1" or "mps".

    Raises
    ------
    InputError
        If this machine has no such device.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    kind, _, number = name.partition(":")
    if kind not in ("cpu", "cuda", "mps") or (number and not number.isdecimal()):
        raise InputError(f"there is no device {name[:40]!r}: use auto, cpu, cuda, cuda:N or mps.")
    if kind == "cuda":
        if not torch.cuda.is_available():
            raise InputError(
                "run.device is cuda, and torch finds no CUDA device here: use --device cpu, or another torch."
            )
        index = int(number) if number else local_rank
        if index >= torch.cuda.device_count():
            raise InputError(f"there is no device cuda:{index}: torch finds {torch.cuda.device_count()} here.")
        return torch.device("cuda", index)
    if kind == "mps" and not torch.backends.mps.is_available():
        raise InputError("run.device is mps, and torch finds no Metal device here: use --device cpu.")
    return torch.device(kind)


@contextlib.contextmanager
def join_team(device: str) -> Iterator[Team]:
    """Join the processes that `torchrun` started, or work alone where it did not.

    Raises
    ------
    InputError
        If there is no such device.
    """
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1 or "RANK" not in os.environ:
        yield Team(0, 1, pick_device(device))
        return
    picked = pick_device(device, int(os.environ.get("LOCAL_RANK", "0")))
    if picked.type == "cuda":
        torch.cuda.set_device(picked)
    dist.init_process_group("nccl" if picked.type == "cuda" else "gloo")
    try:
        yield Team(dist.get_rank(), world, picked)
    finally:
        dist.destroy_process_group()


def autocast(device: torch.device, precision: Precision) -> AbstractContextManager[object]:
    """Return the context in which a model computes: "bf16" multiplies in bfloat16 and keeps weights in float32."""
    if precision == "float32":
        return contextlib.nullcontext()
    return torch.autocast(device.type, torch.bfloat16)


def out_of_memory(error: RuntimeError) -> bool:
    """Tell whether a device, or this machine, had no memory left."""
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def device_words(device: torch.device) -> str:
    """Name a device for logs."""
    if device.type == "cuda":
        return f"{device} ({torch.cuda.get_device_name(device)})"
    return f"{device}, {torch.get_num_threads()} threads" if device.type == "cpu" else str(device)
