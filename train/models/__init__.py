"""Networks that estimate depth and all-in-focus images, one architecture a file."""

from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import torch
from pydantic import Field
from torch import Tensor

from ... import InputError
from ..banks import Bank
from ..settings import Section
from .aifdepthnet import AifDepthNet, AifDepthNetSettings
from .base import Model, ModelSection, Window, by_focus, crop, enable_dropout, pad_to_multiple
from .d3net import D3Net, D3NetSettings
from .defocusnet import DefocusNet, DefocusNetSettings
from .dff import Dff, DffSettings
from .dwdn import Dwdn, DwdnSettings
from .focusnet import FocusNet, FocusNetSettings
from .hded import Hded, HdedSettings
from .udfd import Udfd, UdfdSettings
from .unet import UNet, UNetSettings

__all__ = [
    "MODELS",
    "Architecture",
    "Model",
    "ModelSettings",
    "Window",
    "build",
    "by_focus",
    "crop",
    "enable_dropout",
    "pad_to_multiple",
    "restore",
]


class Architecture(NamedTuple):
    """What makes a network of one kind."""

    settings: type[ModelSection]
    construct: Callable[[Any], Model]
    outputs: tuple[str, ...] = ("depth",)
    """What it returns, where its settings do not say so by `heads`."""


MODELS: dict[str, Architecture] = {
    "unet": Architecture(UNetSettings, UNet),
    "d3net": Architecture(D3NetSettings, D3Net),
    "2hded": Architecture(HdedSettings, Hded),
    "dwdn": Architecture(DwdnSettings, Dwdn, Dwdn.outputs),
    "defocusnet": Architecture(DefocusNetSettings, DefocusNet),
    "focusnet": Architecture(FocusNetSettings, FocusNet),
    "udfd": Architecture(UdfdSettings, Udfd),
    "dff": Architecture(DffSettings, Dff),
    "aifdepthnet": Architecture(AifDepthNetSettings, AifDepthNet),
}
"""One line for each; `docs/contributing.md` says what a new one needs."""

if TYPE_CHECKING:
    ModelSettings = ModelSection
else:
    ModelSettings = Annotated[reduce(or_, (one.settings for one in MODELS.values())), Field(discriminator="kind")]


def build(settings: ModelSettings, seed: int = 0) -> Model:
    """Make a network; its random weights depend on settings and seed alone, and torch's own generator is left alone.

    Parameters
    ----------
    settings
        Its kind and shape.
    seed
        Of the random weights.

    Returns
    -------
    Model
        On the CPU, float32, in training mode. `note` says where the weights come from.

    Raises
    ------
    InputError
        If `settings.weights` names a file that cannot be read or does not fit.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return MODELS[settings.kind].construct(settings)


def restore(settings: ModelSettings, state: Mapping[str, Tensor], heads: Sequence[str] | None = None) -> Model:
    """Make a network with trained weights, for prediction.

    Parameters
    ----------
    settings
        Those it was trained with.
    state
        Its `state_dict()`.
    heads
        Outputs that are wanted, all by default; the others' heads are not built (2HDED:NET, section III-C).

    Returns
    -------
    Model
        On the CPU, in evaluation mode.

    Raises
    ------
    InputError
        If it has no such head, or the weights are those of another network.
    """
    changes = _without_files(settings)
    has = tuple(getattr(settings, "heads", MODELS[settings.kind].outputs))
    wanted = has if heads is None else tuple(heads)
    if not wanted or not set(wanted) <= set(has):
        raise InputError(
            f"the model returns {' and '.join(has)}, so it cannot return {' and '.join(wanted) or 'nothing'}."
        )
    if "heads" in type(settings).model_fields:
        changes["heads"] = tuple(name for name in has if name in wanted)
    model = build(settings.model_copy(update=changes))
    if model.reads_bank:
        model.attach(Bank.of_state(state))
    left_out = tuple(f"heads.{name}." for name in has if name not in wanted)
    kept = {name: value for name, value in state.items() if not (left_out and name.startswith(left_out))}
    try:
        model.load_state_dict(kept)
    except RuntimeError:
        raise InputError(_mismatch(model, kept)) from None
    model.note = "all weights are from a checkpoint"
    return model.eval()


def _without_files(settings: Section) -> dict[str, Any]:
    """Return what changes of settings that name ImageNet checkpoints: these may be gone, and would be overwritten."""
    changes: dict[str, Any] = {"weights": ""} if "weights" in type(settings).model_fields else {}
    for name in type(settings).model_fields:
        part = getattr(settings, name)
        if isinstance(part, Section) and (inner := _without_files(part)):
            changes[name] = part.model_copy(update=inner)
    return changes


def _mismatch(model: Model, state: Mapping[str, Tensor]) -> str:
    own = model.state_dict()
    differ = [name for name in own if name not in state or state[name].shape != own[name].shape]
    extra = [name for name in state if name not in own]
    return (
        f"the checkpoint is of another network than this {type(model).__name__}: of its {len(own)} tensors "
        f"{len(differ)} are missing or have another shape, {len(extra)} are unknown; first {(differ or extra)[0]}."
    )
