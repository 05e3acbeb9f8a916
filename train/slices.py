"""Slices of focal stacks: which of them a training step sees, drawn by (seed, step) and by (seed, epoch, sample)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from .samples import Batch
from .seeds import Stream, generator

BY_SLICE = ("stack", "stack_raw", "focus", "f_number", "intrinsics", "pose", "coc")
"""What has an axis of slices, the first of a sample, where a stack is read."""
Reference = Literal["farthest", "nearest", "first", "last"]


def reference_place(focus: torch.Tensor, rule: Reference) -> torch.Tensor:
    """Return the number of the reference slice of each stack, (B,) int64, of (B, S) focus distances.

    Twin of `defocal.synth.slices.reference_slice`, which training may not import.
    """
    if rule in ("farthest", "nearest"):
        return focus.argmax(1) if rule == "farthest" else focus.argmin(1)
    return torch.full((len(focus),), 0 if rule == "first" else focus.shape[1] - 1, device=focus.device)


@dataclass(frozen=True, slots=True)
class Stacks:
    """The focal stacks of a store.

    Attributes
    ----------
    slices
        How many slices each has.
    rule
        Which of them is the reference, in whose frame the ground truth is: "farthest", "nearest", "first", "last".
    """

    slices: int
    rule: Reference

    def reference(self, focus: Sequence[float]) -> int:
        """Return the number of the reference slice of a stack, focused at so many metres."""
        return int(reference_place(torch.tensor([focus]), self.rule))


def slice_count(seed: int, step: int, ends: tuple[int, int] | None) -> int | None:
    """Return how many slices a training step sees, of the fewest and the most that it may; None for all."""
    if ends is None:
        return None
    least, most = ends
    return int(generator(seed, Stream.SLICE_COUNT, step).integers(least, most + 1))


def chosen_slices(count: int, of: int, reference: int, seed: int, epoch: int, sample: int) -> list[int]:
    """Return which slices a sample shows in an epoch: any so many, the reference among them, in their order."""
    keys = generator(seed, Stream.SLICES, epoch, sample).random(of)
    keys[reference] = -1.0
    return sorted(np.argsort(keys, kind="stable")[:count].tolist())


def spread_slices(count: int, of: int, reference: int) -> list[int]:
    """Return so many slices from the first to the last, evenly spread, the reference in the place of its nearest."""
    found = np.rint(np.linspace(0, of - 1, count)).astype(int)
    found[np.abs(found - reference).argmin()] = reference
    return sorted(found.tolist())


def choose(batch: Batch, stacks: Sequence[Stacks], count: int | None, seed: int, epoch: int) -> Batch:
    """Take some slices of each sample of a batch, before anything is computed of the others.

    Parameters
    ----------
    batch
        As `StoreDataset` gives it, with `stack`.
    stacks
        Of each store.
    count
        How many, drawn by (seed, epoch, sample); None for as many as all stores have, evenly spread.
    """
    fewest = min((one.slices for one in stacks), default=batch["stack"].shape[1])
    if fewest == batch["stack"].shape[1] and count in (None, fewest):
        return batch
    picked = []
    for place, (index, store) in enumerate(zip(batch["index"].tolist(), batch["store"].tolist(), strict=True)):
        stack = stacks[store]
        reference = stack.reference(batch["focus"][place, : stack.slices].tolist())
        if count is None:
            picked.append(spread_slices(fewest, stack.slices, reference))
        else:
            picked.append(chosen_slices(count, stack.slices, reference, seed, epoch, index))
    rows, columns = torch.arange(len(picked))[:, None], torch.tensor(picked)
    slicewise = {name: batch[name] for name in BY_SLICE if name in batch}
    return {**batch, **{name: _taken(tensor, rows, columns) for name, tensor in slicewise.items()}}


def _taken(tensor: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
    # Torch cannot index torch.uint16; the bits of int16 are the same.
    if tensor.dtype == torch.uint16:
        return tensor.view(torch.int16)[rows, columns].view(torch.uint16)
    return tensor[rows, columns]
