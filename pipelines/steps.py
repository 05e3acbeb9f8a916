"""Work in steps, each an ordinary command: printed and run, left out if done, gone on with after an interruption."""

import itertools
import json
import math
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from .. import InputError
from ..synth.files import write_atomically
from ..synth.samples import SampleMaker
from ..synth.store import open_store
from .evaluation_report import NUMBERS
from .generate import begun, complete
from .shipped import find_recipe


class StepError(Exception):
    """A step failed: a sentence says which, and how to go on.

    Attributes
    ----------
    status
        Exit code of its command.
    """

    def __init__(self, words: str, status: int) -> None:
        super().__init__(words)
        self.status = status


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
        """Tell whether the dataset is finished, and has all its splits."""
        return begun(self.out) and complete(self.out) and not self._lacking()

    def _lacking(self) -> list[str]:
        splits = open_store(self.out).recipe.output.splits
        return [split for split in splits if not (self.out / f"{split}.zarr").is_dir()]

    def check(self) -> None:
        """Refuse what `generate` would refuse.

        Raises
        ------
        InputError
            If the recipe with these options is none, or its scenes cannot be found, or the first one not be read.
        """
        maker = SampleMaker(find_recipe(self.recipe, **self.changes()))
        maker.scenes.scene(0, 0, maker.split(0))

    def changes(self) -> dict[str, Any]:
        """Return what of the recipe the options change, but for a mask, which a step before may have to make first."""
        pairs = list(zip(self.options[::2], self.options[1::2], strict=True))
        changes = [value for name, value in pairs if name == "--set"]
        return {"scenes": dict(pairs).get("--scenes"), "changes": changes}

    def command(self) -> list[str]:
        """Return `generate`, or `resume` where there is a part of it.

        Raises
        ------
        InputError
            If it is complete, and nothing is left to go on with, but for a split that is not there.
        """
        if begun(self.out):
            if complete(self.out) and (lacking := self._lacking()):
                raise InputError(
                    f"{self.out} is complete without its split {lacking[0]}: delete {self.out} and give the same "
                    "command; if that split is not there again, it takes more scenes."
                )
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
        """Tell whether the run has made all its steps, and holds what others take from it.

        Raises
        ------
        InputError
            If its checkpoint is damaged.
        """
        from ..train.checkpoint import BEST, LAST, load_checkpoint
        from ..train.keeping import MASKS

        if not all((self.out / name).is_file() for name in (LAST, BEST)):
            return False
        try:
            state = load_checkpoint(self.out / LAST)
        except InputError:
            raise InputError(
                f"{self.out / LAST} is damaged: delete {self.out} and give the same command, which trains it anew."
            ) from None
        masks = MASKS.values() if state.get("optics") else ()
        return bool(state["step"] >= state["steps"]) and all((self.out / name).is_file() for name in masks)

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
        ages = [(run / "last.pt").stat().st_mtime for run in self.runs if (run / "last.pt").is_file()]
        try:
            told = {one.get("run") for one in self.judged().values() if numbers_of(one)}
        except (ValueError, LookupError, TypeError, AttributeError):
            return False
        return {run.name for run in self.runs} <= told and path.stat().st_mtime >= max(ages, default=0.0)

    def command(self) -> list[str]:
        """Return `evaluate`."""
        return self.fresh()

    def fresh(self) -> list[str]:
        """Return `evaluate`."""
        return ["evaluate", *map(str, self.runs), "--data", str(self.data), "--out", str(self.out), *self.options]

    def judged(self) -> dict[str, dict[str, Any]]:
        """Return what was found of each run, and of each baseline, by name; see docs/metrics.md."""
        found = json.loads((self.out / NUMBERS).read_bytes())
        return {one["name"]: one for one in found["judged"]}


def numbers_of(judged: Mapping[str, Any]) -> dict[str, float]:
    """Return the metrics of a run or a baseline, each the mean over images."""
    found: dict[str, float] = {}
    for part in ("depth", "aif"):
        found |= judged.get(part, {}).get("mean over images", {})
    return found


def read_times(path: Path) -> dict[str, float]:
    """Return how long steps took, in seconds, by the names of what they left; nothing if none is known yet.

    Raises
    ------
    InputError
        If the file is damaged.
    """
    if not path.exists():
        return {}
    try:
        taken = {name: float(seconds) for name, seconds in json.loads(path.read_bytes()).items()}
        if all(0 <= seconds < math.inf for seconds in taken.values()):
            return taken
    except (OSError, ValueError, TypeError, AttributeError):
        pass
    raise InputError(f"{path} is damaged: delete it, and times begin at nothing.")


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


def run_steps(
    steps: Sequence[Step], times: Path, say: Callable[[str], None], jobs: int = 1, keep: Sequence[int] = ()
) -> None:  # fmt: skip
    """Do what is not done yet.

    Parameters
    ----------
    steps
        In an order in which they could be done one after the other.
    times
        JSON file of how long each took, by what it leaves, in seconds; interruptions add up.
    say
        Is told of each step.
    jobs
        How many to do at a time, where one does not need what another leaves. Several share the processors, and write
        what they say into `logs` beside `times`.
    keep
        Files that stay open in the steps: a lock is held until the last of them has ended.

    Raises
    ------
    InputError
        If what an earlier run left is damaged.
    StepError
        If one fails; those under way are stopped, and go on when they are asked for again.
    """
    Work(steps, times, say, jobs, keep).run()


class Work:
    """Steps under way; see `run_steps`."""

    def __init__(
        self, steps: Sequence[Step], times: Path, say: Callable[[str], None], jobs: int, keep: Sequence[int] = ()
    ) -> None:  # fmt: skip
        self.steps, self.times, self.say, self.jobs, self.keep = steps, times, say, jobs, tuple(keep)
        self.taken = read_times(times)
        self.left = list(range(len(steps)))
        self.going: dict[int, tuple[subprocess.Popen[bytes], float]] = {}

    def run(self) -> None:
        """Do them."""
        try:
            while self.left or self.going:
                while len(self.going) < self.jobs and (number := self._next()) is not None:
                    self._begin(number)
                self._wait()
        finally:
            for process, _ in self.going.values():
                process.terminate()
            for number in list(self.going):
                self.going[number][0].wait()
                self._note(number)

    def _heading(self, number: int) -> str:
        return f"[{number + 1}/{len(self.steps)}]"

    def _next(self) -> int | None:
        """Return a step that needs nothing of what is not done yet; None if there is none now."""
        for number in list(self.left):
            undone = [k for k in (*self.left, *self.going) if k < number]
            words = self.steps[number].fresh()
            if any(str(self.steps[k].out) in word for k in undone for word in words):
                continue
            if not self.steps[number].done():
                return number
            self.say(f"{self._heading(number)} {self.steps[number].out} is done.")
            self.left.remove(number)
        return None

    def _begin(self, number: int) -> None:
        step = self.steps[number]
        words = step.command()
        self.say(f"{self._heading(number)} $ {spoken(words)}")
        command = [sys.executable, "-m", "defocal.pipelines.attached", str(os.getpid()), *words]
        if self.jobs == 1:
            process = subprocess.Popen(command, pass_fds=self.keep)
        else:
            folder = self.times.parent / "logs"
            folder.mkdir(exist_ok=True)
            threads = str(max(1, (os.cpu_count() or 1) // self.jobs))
            with (folder / f"{step.out.name}.log").open("ab") as log:
                process = subprocess.Popen(
                    command, stdout=log, stderr=subprocess.STDOUT, pass_fds=self.keep,
                    env={**os.environ, "OMP_NUM_THREADS": threads},
                )  # fmt: skip
        self.left.remove(number)
        self.going[number] = (process, time.monotonic())

    def _wait(self) -> None:
        """Wait until one ends; note how long it took."""
        while self.going:
            ended = [number for number, (process, _) in self.going.items() if process.poll() is not None]
            if ended:
                break
            time.sleep(0.2)
        else:
            return
        for number in ended:
            step, status = self.steps[number], self._note(number)
            if status or not step.done():
                raise StepError(self._failure(number, status), status)
            if self.jobs > 1:
                self.say(f"{self._heading(number)} {step.out} is done.")

    def _note(self, number: int) -> int:
        """Note the time of a step that has ended, and return its exit code."""
        process, begun_at = self.going.pop(number)
        name = self.steps[number].out.name
        self.taken[name] = self.taken.get(name, 0.0) + time.monotonic() - begun_at
        write_atomically(self.times, json.dumps(self.taken, indent=2) + "\n")
        return process.returncode

    def _failure(self, number: int, status: int) -> str:
        step = self.steps[number]
        where = f", see {self.times.parent / 'logs' / step.out.name}.log" if self.jobs > 1 else ""
        name = f"step {number + 1} of {len(self.steps)}, {step.out},"
        if status in (-signal.SIGTERM, -signal.SIGINT):
            return f"{name} was interrupted: give the same command to go on."
        if not status:
            return f"{name} did not leave all that it should{where}: delete {step.out} and give the same command."
        return (
            f"{name} failed (exit code {status}{where}): mend what it says, or delete {step.out} to begin it anew, and "
            "give the same command to go on."
        )
