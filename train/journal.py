"""What a run leaves to read: run.json, a log of JSON lines, TensorBoard's events, and a line on the terminal."""

import json
import os
import platform
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .. import InputError, __version__

LOG, RUN = "log.jsonl", "run.json"
QUIET_SECONDS = 10.0


class Journal:
    """Writes down how a run goes.

    Parameters
    ----------
    out
        Folder of the run.
    step
        Steps made before: lines of later ones, which a resumed run makes again, are dropped.
    writes
        Whether this process writes; the others of a team keep silent.
    tensorboard
        Also write TensorBoard's events, which needs the package `tensorboard`.

    Raises
    ------
    InputError
        If TensorBoard is wanted and not installed.
    """

    def __init__(self, out: Path, step: int, *, writes: bool = True, tensorboard: bool = False) -> None:
        self.out, self.writes = out, writes
        self._events = _tensorboard(out) if tensorboard and writes else None
        self._said = 0.0
        if writes:
            keep_until(out / LOG, step)

    def log(self, step: int, facts: Mapping[str, Any], group: str = "train") -> None:
        """Add a line to the log: numbers by name, of training or validation."""
        if not self.writes:
            return
        with (self.out / LOG).open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step, "group": group, **facts}) + "\n")
        if self._events is not None:
            for name, value in facts.items():
                if isinstance(value, int | float):
                    self._events.add_scalar(f"{group}/{name}", value, step)

    def say(self, text: str) -> None:
        """Print a sentence, on standard error."""
        if self.writes:
            end = "\r\x1b[K" if sys.stderr.isatty() else ""
            sys.stderr.write(f"{end}{text}\n")
            sys.stderr.flush()

    def status(self, text: str) -> None:
        """Show how things stand: over the last status on a terminal, now and then where there is none."""
        now = time.monotonic()
        if not self.writes or now - self._said < (0.2 if sys.stderr.isatty() else QUIET_SECONDS):
            return
        self._said = now
        sys.stderr.write(f"\r\x1b[K{text}" if sys.stderr.isatty() else f"{text}\n")
        sys.stderr.flush()

    def close(self) -> None:
        """Write what is still held back."""
        if self._events is not None:
            self._events.close()


def _tensorboard(out: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise InputError(
            "run.tensorboard needs the package tensorboard: `pip install tensorboard`, or leave it out."
        ) from None
    return SummaryWriter(str(out / "tensorboard"))


def keep_until(path: Path, step: int) -> None:
    """Drop the lines of a log that tell of later steps, and those that are damaged or half written."""
    if not path.exists():
        return
    kept = [line for line in _lines(path) if _step_of(line) <= step]
    partial = path.with_name(f"{path.name}.partial")
    partial.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")
    partial.replace(path)


def _lines(path: Path) -> list[str]:
    # A failing disk or a loss of power leaves bytes that are no text: what else is there is still of use.
    return path.read_text(encoding="utf-8", errors="replace").splitlines()


def _step_of(line: str) -> float:
    try:
        return float(json.loads(line)["step"])
    except (ValueError, LookupError, TypeError):
        return float("inf")


def read_log(out: Path, group: str) -> list[dict[str, Any]]:
    """Read the lines of a run's log that tell of training or of validation.

    Raises
    ------
    InputError
        If there is no log.
    """
    path = out / LOG
    if not path.is_file():
        raise InputError(f"{out} is not the folder of a run: it has no {LOG}.")
    lines = [json.loads(line) for line in _lines(path) if _step_of(line) < np.inf]
    return [line for line in lines if line.get("group") == group]


def write_json(path: Path, facts: Mapping[str, Any]) -> None:
    """Write a JSON file, whole or not at all."""
    partial = path.with_name(f"{path.name}.partial")
    partial.write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    partial.replace(path)


def read_json(path: Path) -> dict[str, Any]:
    """Read what `write_json` wrote; {} where there is nothing of the kind."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def machine() -> dict[str, Any]:
    """Describe this machine and what computes on it; nothing here tells who or where."""
    return {
        "defocal": __version__,
        "torch": torch.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
        "system": platform.system(),
        "processor": platform.machine(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
    }
