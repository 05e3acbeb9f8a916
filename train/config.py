"""Configs: the declaration of a training, in TOML, checked as a whole like a recipe."""

import json
import os
import tomllib
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from .. import InputError
from ..synth.recipe import read_toml
from ..synth.recipe_errors import checked, nearest
from .devices import Precision
from .models import ModelSettings
from .objectives import LossSettings
from .optics.settings import OpticsSettings
from .optimise import OptimiserSection, ScheduleSection
from .settings import DataSettings, Section
from .targets import DepthTarget, TargetSection

_HOME = files(f"{__package__}.configs")


class RunSection(Section):
    """How long, how much at a time, and on what."""

    steps: int | None = Field(default=None, ge=1)
    epochs: float | None = Field(default=None, gt=0)
    """Times that all samples are seen; in the place of `steps`."""
    start_from: str | None = Field(default=None, exclude=True)
    """Folder of a run, or a checkpoint, whose best weights the model begins with; the optimiser begins anew. This names
    a place, so nothing that is kept has it: `run.json` says what it was."""
    accumulate: int = Field(default=1, ge=1)
    """Parts that a batch is computed in, one after the other, where it does not fit into memory."""
    validate_every: int | None = Field(default=None, ge=1)
    """Steps; a tenth of the run if left out. The last step always validates."""
    save_every: int | None = Field(default=None, ge=1)
    """Steps between checkpoints; as `validate_every` if left out."""
    best: Literal["loss", "rmse", "mae", "abs_rel", "psnr"] = "loss"
    """What of a validation decides which checkpoint is kept as the best."""
    precision: Precision = "float32"
    ema: float | None = Field(default=None, gt=0, lt=1)
    """Decay of an average of the weights over the steps, which is validated and kept in their place."""
    compile: bool = False
    """Have torch compile the model: the first step takes minutes, the others less."""
    channels_last: bool = False
    """Keep the channels of a pixel together in memory: faster for narrow networks on CPUs and for bf16 on GPUs."""
    device: str = "auto"
    pictures: int = Field(default=4, ge=0, le=64)
    """Samples that each validation draws."""
    tensorboard: bool = False

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.steps is None) == (self.epochs is None):
            raise ValueError("give steps or epochs, one of them")
        return self

    def length(self, per_epoch: int) -> int:
        """Return the number of steps, of so many in an epoch."""
        if self.steps is not None:
            return self.steps
        assert self.epochs is not None
        return max(1, round(self.epochs * per_epoch))


class Config(Section):
    """A declared training. Make one with `load_config` or `Config.parse`."""

    version: int = Field(ge=1, le=1)
    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    seed: int = Field(default=0, ge=0, lt=2**63)
    description: str = ""
    data: DataSettings = DataSettings()
    model: ModelSettings
    target: TargetSection = DepthTarget()
    loss: LossSettings
    optimiser: OptimiserSection = OptimiserSection()
    schedule: ScheduleSection = ScheduleSection()
    optics: OpticsSettings | None = None
    """A mask to learn, and a camera to render with while training; left out, the stores hold what is seen."""
    run: RunSection

    @model_validator(mode="after")
    def _sees(self) -> Self:
        if self.optics is None:
            return self
        if self.data.input != "aif" or "depth" not in self.data.targets:
            raise ValueError(
                "optics renders captures of sharp pictures and depths: set data.input = 'aif', and 'depth' among "
                "data.targets"
            )
        if self.data.through_lens:
            raise ValueError(
                f"data.extra holds {self.data.through_lens[0]}, which the stores' own optics made: leave it out with "
                "optics"
            )
        if changed := [name for name in ("blur", "sharpen", "noise") if getattr(self.data.augment, name)]:
            raise ValueError(
                f"data.augment.{changed[0]} would change the scene before the lens: leave it out with optics, whose "
                "sensor brings noise"
            )
        return self

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.data.batch_size % self.run.accumulate:
            raise ValueError(
                f"run.accumulate = {self.run.accumulate} must divide data.batch_size = {self.data.batch_size}"
            )
        return self

    @classmethod
    def parse(cls, data: Mapping[str, Any], origin: str = "the config") -> "Config":
        """Check a config given as nested mappings.

        Raises
        ------
        InputError
            Naming every error with its key.
        """
        return checked(cls, data, origin, tagged=("model", "target", "loss", "optics.mask"))

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON data with every default written out."""
        data: dict[str, Any] = json.loads(self.model_dump_json(exclude_none=True))
        return data


def shipped_configs() -> list[str]:
    """Names of the configs that come with defocal."""
    return sorted(item.name.removesuffix(".toml") for item in _HOME.iterdir() if item.name.endswith(".toml"))


def load_config(name: str, *, seed: int | None = None, changes: Sequence[str] = ()) -> Config:
    """Load a config and apply changes to it.

    Parameters
    ----------
    name
        Path of a TOML file, or name of a shipped config.
    seed
        Instead of the config's.
    changes
        "section.key=value" each, the value in TOML; a bare word is a string.

    Raises
    ------
    InputError
        If there is no such config, or it is not valid with the changes.
    """
    path = Path(name)
    if path.suffix == ".toml" or path.is_file():
        data = read_toml(path)
        _resolve(data, path.absolute().parent)
    else:
        data = tomllib.loads(config_text(name))
    if seed is not None:
        data["seed"] = seed
    for change in changes:
        _apply(data, change)
    _choose_length(data, changes)
    _resolve(data, Path.cwd())
    return Config.parse(data, origin=f"config {name}")


def config_text(name: str) -> str:
    """TOML text of a shipped config.

    Raises
    ------
    InputError
        If there is none of that name.
    """
    if name not in shipped_configs():
        known, meant = ", ".join(shipped_configs()), nearest(name[:100], shipped_configs())
        raise InputError(f"there is no config {name[:100]!r}{meant}: name one of {known}, or to train a .toml file.")
    return (_HOME / f"{name}.toml").read_text(encoding="utf-8")


def _choose_length(data: dict[str, Any], changes: Sequence[str]) -> None:
    """Drop the steps of a config for epochs that the command line asks for, and the other way round."""
    asked = {change.split("=", 1)[0].strip() for change in changes} & {"run.steps", "run.epochs"}
    if len(asked) == 1 and isinstance(data.get("run"), dict):
        data["run"].pop("epochs" if asked == {"run.steps"} else "steps", None)


def _resolve(data: dict[str, Any], base: Path) -> None:
    """Make the paths of files absolute: in a config file they are relative to the file, else to where we are."""
    files = (("model", "weights"), ("model.focus", "weights"), ("run", "start_from"), ("optics.mask", "path"))
    for section, name in files:
        table: Any = data
        for part in section.split("."):
            table = table.get(part) if isinstance(table, dict) else None
        if isinstance(table, dict) and isinstance(table.get(name), str) and table[name]:
            table[name] = os.path.abspath(base / table[name])


def _apply(data: dict[str, Any], change: str) -> None:
    path, equals, text = change.partition("=")
    keys = path.strip().split(".")
    if not equals or not all(keys) or len(keys) > 4:
        raise InputError(f"--set takes section.key=value, for example data.batch_size=4, not {change[:60]!r}.")
    try:
        read = tomllib.loads(f"value = {text}")
        value = read["value"] if len(read) == 1 else text
    except tomllib.TOMLDecodeError:
        value = text.strip()
    for key in keys[:-1]:
        data = data.setdefault(key, {})
        if not isinstance(data, dict):
            raise InputError(f"--set {change[:60]}: {key!r} is not a section of the config.")
    data[keys[-1]] = value


# What it is called in words, where and how fast a run computes, how often it looks: that may change when it is resumed.
_FREE = {
    "description",
    "run.device",
    "run.compile",
    "run.pictures",
    "run.tensorboard",
    "run.save_every",
    "data.workers",
    "data.backend",
}


def config_difference(old: Any, new: Any, where: str = "") -> str:
    """Name the first key in which two configs differ, with both values; "" if there is none that matters."""
    if isinstance(old, dict) and isinstance(new, dict):
        # The config's name tells more than any key.
        for name in sorted(old.keys() | new.keys(), key=lambda key: (key != "name", key)):
            path = f"{where}.{name}" if where else name
            if path not in _FREE and (found := config_difference(old.get(name), new.get(name), path)):
                return found
        return ""
    return "" if old == new else f"{where} is {new!r}, and was {old!r}"
