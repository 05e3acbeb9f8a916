"""Work in steps, each an ordinary command: printed and run, left out if done, gone on with after an interruption."""

import itertools
import json
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from ..synth.files import write_atomically
from .evaluation_report import NUMBERS
from .generate import begun, complete

INTERRUPTED = 130


class StepError(Exception):
    """A step failed: a sentence says which, and how to go on."""


class Step(Protocol):
    """One command that leaves something behind."""

    @property
    def out(self) -> Path:
        """What it leaves."""
        ...

    def done(self) -> bool:
        """Tell whether that is there, and whole."""
        ...

    def fresh(self) -> list[str]:
        """Return the words after `defocal` that do it where there is nothing yet."""
        ...

    def command(self) -> list[str]:
        """Return those that do it here: begin it, or go on with what an interruption left."""
        ...


@dataclass(frozen=True, slots=True)
class Generate:
    """Make a dataset."""

    recipe: str
    out: Path
    options: tuple[str, ...] = ()

    def done(self) -> bool:
        """Tell whether the dataset is finished."""
        return begun(self.out) and complete(self.out)

    def command(self) -> list[str]:
        """Return `generate`, or `resume` where there is a part of it."""
        if begun(self.out):
            return ["resume", str(self.out), *_pairs(self.options, {"--workers"})]
        return self.fresh()

    def fresh(self) -> list[str]:
        """Return `generate`."""
        return ["generate", self.recipe, str(self.out), *self.options]


@dataclass(frozen=True, slots=True)
class Train:
    """Train a model."""

    config: str
    data: Path
    out: Path
    options: tuple[str, ...] = ()

    def done(self) -> bool:
        """Tell whether the run has made all its steps."""
        from ..train.checkpoint import LAST, load_checkpoint

        path = self.out / LAST
        if not path.is_file():
            return False
        state = load_checkpoint(path)
        return bool(state["step"] >= state["steps"])

    def command(self) -> list[str]:
        """Return `train`, with `--resume` where it was interrupted."""
        from ..train.checkpoint import LAST

        return [*self.fresh(), *(["--resume"] if (self.out / LAST).is_file() else [])]

    def fresh(self) -> list[str]:
        """Return `train`."""
        return ["train", self.config, "--data", str(self.data), "--out", str(self.out), *self.options]


@dataclass(frozen=True, slots=True)
class Evaluate:
    """Judge runs on a dataset."""

    runs: tuple[Path, ...]
    data: Path
    out: Path
    options: tuple[str, ...] = ()

    def done(self) -> bool:
        """Tell whether there is a report of just these runs, younger than they are."""
        path = self.out / NUMBERS
        if not path.is_file():
            return False
        ages = [(run / name).stat().st_mtime for run in self.runs for name in ("last.pt",) if (run / name).is_file()]
        return path.stat().st_mtime >= max(ages, default=0.0)

    def command(self) -> list[str]:
        """Return `evaluate`."""
        return self.fresh()

    def fresh(self) -> list[str]:
        """Return `evaluate`."""
        return ["evaluate", *map(str, self.runs), "--data", str(self.data), "--out", str(self.out), *self.options]

    def judged(self) -> dict[str, dict[str, Any]]:
        """Return what was found of each run, and of each baseline, by name; see docs/metrics.md."""
        found = json.loads((self.out / NUMBERS).read_text(encoding="utf-8"))
        return {one["name"]: one for one in found["judged"]}


def _pairs(options: Sequence[str], names: set[str]) -> list[str]:
    """Keep of options with values those of some names."""
    kept = []
    for name, value in itertools.pairwise(options):
        if name in names:
            kept += [name, value]
    return kept


def spoken(words: Sequence[str]) -> str:
    """Return a command as one types it."""
    return shlex.join(["defocal", *words])


def run_steps(steps: Sequence[Step], times: Path, say: Callable[[str], None]) -> None:
    """Do what is not done yet, one step after the other.

    Parameters
    ----------
    steps
        In the order in which they need each other.
    times
        JSON file of how long each took, by what it leaves, in seconds; interruptions add up.
    say
        Is told of each step.

    Raises
    ------
    StepError
        If one fails.
    """
    taken: dict[str, float] = json.loads(times.read_text(encoding="utf-8")) if times.is_file() else {}
    for number, step in enumerate(steps, start=1):
        heading = f"[{number}/{len(steps)}]"
        if step.done():
            say(f"{heading} {step.out} is done.")
            continue
        words = step.command()
        say(f"{heading} $ {spoken(words)}")
        begun_at = time.monotonic()
        try:
            status = subprocess.run([sys.executable, "-m", "defocal.pipelines.cli", *words], check=False).returncode
        except KeyboardInterrupt:
            status = INTERRUPTED
        taken[step.out.name] = taken.get(step.out.name, 0.0) + time.monotonic() - begun_at
        write_atomically(times, json.dumps(taken, indent=2) + "\n")
        if status or not step.done():
            reason = "was interrupted" if status in (0, 1, INTERRUPTED) else f"failed (exit code {status})"
            raise StepError(f"step {number} of {len(steps)}, {step.out}, {reason}: give the same command to go on.")
