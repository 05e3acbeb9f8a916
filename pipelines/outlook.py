"""What a reproduction will do, before it does it: its steps, which are done, their time, and what they leave."""

import re
from collections.abc import Mapping, Sequence
from functools import cache

from ..synth.arrays import sample_bytes
from ..synth.places import total_size
from ..synth.samples import SampleMaker
from .papers import Paper
from .plan import COMPRESSED
from .progress import amount, duration
from .shipped import find_recipe
from .steps import Generate, Step, Train, spoken

COPIES = 3
"""What a checkpoint holds for each weight: itself, and the two moments of Adam; an average is one more."""


def outline(paper: Paper) -> list[str]:
    """Tell every step in two lines, what it is and its command, and in the last line all of them together.

    Times are those of `times.json`: of the step itself, or of another seed's, which does the same; a step that is not
    done tells none. Sizes are what is on disk, or estimates: of a dataset the raw size times what compression left of
    another, of a run its checkpoints.
    """
    steps = paper.steps
    finished = {step.out.name for step in steps if step.done()}
    # What a broken-off attempt used is no time that a step takes.
    times = {name: seconds for name, seconds in paper.times().items() if name in finished}
    lines, undone, left, unknown, size = [], 0, 0.0, 0, 0.0
    for number, step in enumerate(steps, 1):
        done, seconds = step.out.name in finished, _seconds(step, times)
        found = float(total_size(step.out)) if done else _bytes(step)
        size += found
        undone += not done
        left += 0.0 if done or seconds is None else seconds
        unknown += not done and seconds is None
        facts = ["done" if done else "begun" if step.command() != step.fresh() else "to do"]
        if seconds is not None:
            facts.append(f"{'' if done else 'about '}{duration(seconds)}")
        if found >= 1e5:
            facts.append(f"{'' if done else 'about '}{amount(found)}")
        lines += [f"[{number}/{len(steps)}] {step.out.name}: {', '.join(facts)}", f"    $ {spoken(step.fresh())}"]
    rest = f"{undone} to do" if undone else "nothing to do but the page"
    more = f"; {unknown} of them for a time that is not known yet" if unknown else ""
    wait = f", about {duration(left)} one after the other{more}" if left else ", for a time that is not known yet"
    total = f"{len(steps)} steps in {paper.out}: {rest}{wait if undone else ''}; about {amount(size)} on disk in all."
    return [*lines, total, *([paper.last()] if paper.last() else [])]


def _seconds(step: Step, times: Mapping[str, float]) -> float | None:
    """Return how long a step took, or the same with another seed."""
    kind = _kind(step.out.name)
    alike = [seconds for name, seconds in times.items() if _kind(name) == kind]
    return times.get(step.out.name, sum(alike) / len(alike) if alike else None)


def _kind(name: str) -> str:
    return re.sub(r"-\d+$", "", name)


def _bytes(step: Step) -> float:
    if isinstance(step, Generate):
        return _dataset_bytes(step)
    return _run_bytes(step.config, _changes(step.options)) if isinstance(step, Train) else 0.0


def _dataset_bytes(step: Generate) -> float:
    maker = SampleMaker(find_recipe(step.recipe, **step.changes()))
    return maker.count * sum(sample_bytes(maker.recipe, maker.size).values()) * COMPRESSED


def _changes(options: Sequence[str]) -> tuple[str, ...]:
    """Return what options of `train` change of a config."""
    return tuple(value for name, value in zip(options[::2], options[1::2], strict=True) if name == "--set")


@cache
def _run_bytes(config: str, changes: tuple[str, ...]) -> float:
    """Return what the two checkpoints of a run take."""
    from ..train.config import load_config
    from ..train.models import build

    loaded = load_config(config, changes=changes)
    weights = sum(weight.numel() for weight in build(loaded.model).parameters())
    return 2.0 * 4 * (COPIES + bool(loaded.run.ema)) * weights
