"""What a training refuses, in a sentence each: before it begins, and of errors on the way that its settings caused."""

import torch

from .. import InputError
from .config import Config
from .devices import out_of_memory
from .feeding import Feed
from .loader import died
from .models import Model


def check_possible(config: Config, model: Model, feed: Feed) -> None:
    """Refuse at once what would be found at the first step, or at the first validation.

    Raises
    ------
    InputError
        If the model, the loss and the data do not go together.
    """
    height, width = feed.size
    multiple, best = model.multiple, config.run.best
    if height % multiple or width % multiple:
        raise InputError(
            f"the model {config.model.kind} takes heights and widths that are multiples of {multiple}, not "
            f"{height} x {width}: set data.crop."
        )
    config.data.check_gives(model.inputs, f"the model {config.model.kind}")
    config.data.check_gives(config.loss.needs, f"the loss {config.loss.kind}")
    for slices in feed.slices:
        model.check_slices(slices)
    for rule in feed.references - {model.reference}:
        if model.reference is not None:
            raise InputError(
                f"the ground truth of the stacks is in the frame of their {rule} slice, and the model aligns to "
                f"the {model.reference} one: set model.reference = {rule!r}."
            )
    tells = {"aif"} & set(model.outputs) | ({"depth"} if model.told_depths else set())
    targets = set(config.data.targets) & tells
    needed = {"psnr": "aif", "rmse": "depth", "mae": "depth", "abs_rel": "depth"}.get(best)
    if needed is not None and needed not in targets:
        raise InputError(f"run.best is {best!r}, and this model is not trained for {needed}: use 'loss'.")


def explained(error: Exception, config: Config, feed: Feed, device: torch.device) -> InputError | None:
    """Say in a sentence what torch could not do with what it was given; None of errors that are nobody's wish."""
    if "more than 1 value per channel" in str(error):
        return InputError(
            "batch normalisation needs more than one number of each channel, and the model's deepest features have "
            "one: raise data.crop or data.batch_size, or lower run.accumulate."
        )
    if "DataLoader worker" in str(error):
        # Torch raises it wherever this process happens to be.
        return InputError(f"a process that reads data has died: {died(error)}")
    if isinstance(error, RuntimeError) and out_of_memory(error):
        size = "x".join(map(str, feed.size))
        return InputError(
            f"{device} is out of memory at batches of {config.data.batch_size} ({size} px, in "
            f"{config.run.accumulate} parts): lower data.batch_size or data.crop, or raise run.accumulate."
        )
    return None
