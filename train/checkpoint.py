"""Checkpoints: whole or absent, and never unpickled into anything but tensors, numbers and text."""

import json
import os
import uuid
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from .. import InputError

LAST, BEST = "last.pt", "best.pt"
FORMAT = 1


class _Optics(BaseModel):
    """What it holds of a mask: the mask itself, JSON data, and the parameters that are learned."""

    model_config = ConfigDict(extra="forbid", strict=True, arbitrary_types_allowed=True)

    mask: str
    numbers: dict[str, float]
    parameters: dict[str, torch.Tensor]
    average: dict[str, torch.Tensor] | None


class _State(BaseModel):
    """What a checkpoint holds."""

    model_config = ConfigDict(extra="forbid", strict=True, arbitrary_types_allowed=True)

    format: int
    config: str
    data: str
    model: dict[str, torch.Tensor]
    average: dict[str, torch.Tensor] | None
    optics: _Optics | None = None
    optimiser: dict[str, Any]
    step: int = Field(ge=0)
    steps: int = Field(ge=1)
    numbers: dict[str, float]
    best: dict[str, float]

    @model_validator(mode="after")
    def _within(self) -> Self:
        if self.step > self.steps:
            raise ValueError("more steps than there are")
        return self


def save_checkpoint(path: Path, state: Mapping[str, Any]) -> None:
    """Write a checkpoint so that it is either whole or absent, on disk when this returns.

    Parameters
    ----------
    path
        The file.
    state
        Tensors, numbers, text, and tables and lists of them.
    """
    partial = path.with_name(f"{path.name}.{uuid.uuid4().hex}.partial")
    try:
        with partial.open("wb") as file:
            torch.save({"format": FORMAT, **state}, file)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def load_checkpoint(path: Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """Read a checkpoint that `save_checkpoint` wrote.

    Raises
    ------
    InputError
        If there is none, or it is damaged, or holds anything but data.
    """
    if not path.is_file():
        raise InputError(f"there is no checkpoint {path}: train first, or give the folder of a run.")
    try:
        with warnings.catch_warnings():
            # Of files that are none of ours torch warns before it refuses them.
            warnings.simplefilter("ignore")
            with zipfile.ZipFile(path) as archive:
                # Torch itself does not look whether the bytes are those that were written.
                if damaged := archive.testzip():
                    raise ValueError(f"{damaged} is not what was written")
            state = torch.load(path, map_location=device, weights_only=True)
    except Exception as error:
        # Torch raises many kinds of error for a file that is none of its own.
        reason = str(error).split("\n")[0][:200]
        raise InputError(
            f"{path} cannot be read as a checkpoint ({type(error).__name__}: {reason}): fetch a fresh copy, or train "
            "in another folder."
        ) from None
    if not isinstance(state, dict) or not isinstance(state.get("format"), int):
        raise InputError(f"{path} is no checkpoint of defocal: give the folder of a run, or its best.pt or last.pt.")
    if state["format"] != FORMAT:
        raise InputError(
            f"{path} has format {state['format']}, and this defocal reads {FORMAT}: use the version that made it."
        )
    try:
        _State.model_validate(state)
        config, data = json.loads(state["config"]), json.loads(state["data"])
    except (ValidationError, ValueError, RecursionError):
        raise InputError(f"{path} is no checkpoint of defocal, or damaged: fetch a fresh copy.") from None
    whole = isinstance(config, dict) and isinstance(data, list) and data
    if not whole or not all(isinstance(one, dict) and {"camera", "encoding"} <= one.keys() for one in data):
        raise InputError(f"{path} does not say what it was trained with and on: fetch a fresh copy.")
    return state


def checkpoint_of(run: str | Path, which: str = "best") -> Path:
    """Return the checkpoint of a run's folder, or the path itself if it is a file.

    Raises
    ------
    InputError
        If there is none, or `which` is neither "best" nor "last".
    """
    if which not in ("best", "last"):
        raise InputError(f"which must be best or last, not {str(which)[:40]!r}.")
    path = Path(run)
    if path.is_file():
        return path
    if not path.is_dir():
        raise InputError(f"there is no run at {path}: give the folder of one, or a checkpoint.")
    names = (BEST, LAST) if which == "best" else (LAST,)
    for name in names:
        if (path / name).is_file():
            return path / name
    raise InputError(f"{path} is not the folder of a run, or has no checkpoint yet: it holds no {names[0]}.")


def start_from(model: torch.nn.Module, run: str | Path, target: Mapping[str, Any]) -> str:
    """Put the best weights of a run into a model; return a sentence about them, without the run's place.

    `target` is the section of that name of the model's config, JSON data.

    Raises
    ------
    InputError
        If there is no such run, its model is another one, or it has learned to tell something else.
    """
    path = checkpoint_of(run)
    state = load_checkpoint(path)
    config, stores = json.loads(state["config"]), ", ".join(str(one.get("recipe")) for one in json.loads(state["data"]))
    if config.get("target") != target:
        raise InputError(
            f"the run of run.start_from has learned the target {json.dumps(config.get('target'))}, and here it is "
            f"{json.dumps(target)}: its numbers would mean other depths. Give the same target, and data of such depths."
        )
    load_weights(model, state["average"] or state["model"], str(path))
    through = " through the mask of that run" if state.get("optics") else ""
    return f"all weights are those of step {state['step']} of {config.get('name')}, trained on {stores}{through}"


def load_weights(model: torch.nn.Module, weights: Mapping[str, torch.Tensor], origin: str) -> None:
    """Put weights into a model.

    Raises
    ------
    InputError
        If they are those of another model: naming the first difference.
    """
    own = model.state_dict()
    missing, foreign = sorted(own.keys() - weights.keys()), sorted(weights.keys() - own.keys())
    shapes = [name for name in own.keys() & weights.keys() if own[name].shape != weights[name].shape]
    if missing or foreign or shapes:
        if shapes:
            name = min(shapes)
            what = f"{name} has shape {tuple(weights[name].shape)} there and {tuple(own[name].shape)} here"
        else:
            what = f"it lacks {missing[0]}" if missing else f"it has {foreign[0]}, which this model lacks"
        raise InputError(f"{origin} holds the weights of another model: {what}. Use the config that it was made with.")
    model.load_state_dict(weights)
