"""What is kept of a run: checkpoints, and beside them the mask that their network looks through."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .. import InputError
from .average import Average
from .checkpoint import BEST, LAST, save_checkpoint
from .journal import Journal
from .optics.pictures import number_words, write_mask_picture
from .optimise import Steps
from .pipeline import Pipeline

MASKS = {BEST: "mask.json", LAST: "mask-last.json"}
"""File of the mask of each checkpoint."""


class Keeper:
    """Keeps what a run has learned.

    Parameters
    ----------
    out
        Folder of the run.
    pipeline, optimiser
        Of the run.
    decay
        Of an average of the weights over the steps, which is then validated and kept; None for none.

    Attributes
    ----------
    pipeline
        What is validated and kept: the average, where there is one. It holds the mask's average too: the averaged
        network has learned from the PSFs of as many steps ago as those of the averaged mask are, and not from those of
        the last step.
    """

    def __init__(self, out: Path, pipeline: Pipeline, optimiser: Steps, decay: float | None) -> None:
        self.out, self._learned, self._optimiser = out, pipeline, optimiser
        self._average = Average(pipeline, decay) if decay else None
        self.pipeline = self._average.module if self._average is not None else pipeline

    @property
    def _averaged(self) -> Pipeline | None:
        return self._average.module if self._average is not None else None

    def update(self, step: int) -> None:
        """Take the weights after a step, counted from 0, into the average."""
        if self._average is not None:
            self._average.update(self._learned, step)

    def save(self, name: str, facts: Mapping[str, Any]) -> None:
        """Write a checkpoint, with facts about the run beside the weights, and its mask."""
        weights = self._learned.state(self._averaged)
        save_checkpoint(self.out / name, {**facts, **weights, "optimiser": self._optimiser.state_dict()})
        if self.pipeline.optics is not None:
            self.pipeline.optics.save(self.out / MASKS[name])

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take back a checkpoint.

        Raises
        ------
        InputError
            If it is that of another model, mask or optimiser.
        """
        origin = str(self.out / LAST)
        self._learned.restore(state, origin, self._averaged)
        try:
            self._optimiser.load_state_dict(state["optimiser"])
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            raise InputError(f"{origin} is damaged: its optimiser's state does not fit ({error}).") from None

    def show_mask(self, step: int, journal: Journal) -> None:
        """Draw the mask that is kept, and write its numbers down; nothing where none is learned."""
        optics = self.pipeline.optics
        if optics is None or not optics.learns:
            return
        write_mask_picture(optics, self.out / "pictures" / f"mask-step-{step:06d}.png")
        numbers = optics.mask.numbers()
        journal.log(step, numbers, "mask")
        if numbers:
            journal.say(f"The mask after step {step}: {number_words(numbers, optics.began)}.")
