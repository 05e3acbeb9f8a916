"""Statistics of scenes, of a recipe or from files, as a page."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .. import InputError
from ..evaluate.row import Row
from ..evaluate.scene_page import scene_page
from ..evaluate.scene_statistics import SceneCounter, SceneStatistics
from ..synth.light import encode
from ..synth.samples import SampleMaker
from ..synth.scene import Scene
from .scenes import opened
from .shipped import find_recipe

PICTURES = 12
"""Scenes that the page shows."""


@dataclass(frozen=True)
class Scenes:
    """Scenes to count, chosen evenly among all.

    Attributes
    ----------
    title
        What they are.
    chosen
        Their numbers.
    total
        How many there are in all.
    read
        Gives the flat scene of a number.
    """

    title: str
    chosen: list[int]
    total: int
    read: Callable[[int], Scene]

    def __iter__(self) -> Iterator[tuple[int, Scene]]:
        for number in self.chosen:
            yield number, self.read(number)


def scenes_of(target: str, count: int, changes: Sequence[str] = ()) -> Scenes:
    """Return up to `count` scenes of KIND:PATH, or of a recipe by name or path.

    Raises
    ------
    InputError
        If there are none, or a key is wrong.
    """
    if ":" in target and not Path(target).exists():
        reader = opened(target, changes)
        return Scenes(target, _spread(len(reader), count), len(reader), reader.read)
    maker = SampleMaker(find_recipe(target, changes=changes))
    source = maker.scenes
    return Scenes(
        maker.recipe.name, _spread(maker.count, count), maker.count,
        lambda sample: source.scene(sample, 0, maker.split(sample)).flatten(),
    )  # fmt: skip


def _spread(total: int, count: int) -> list[int]:
    return [int(i) for i in np.unique(np.linspace(0, total - 1, min(count, total)).round())]


def write_statistics(
    scenes: Scenes, out: Path, report: Callable[[int], None] = lambda done: None
) -> SceneStatistics:  # fmt: skip
    """Count scenes and write the page.

    Raises
    ------
    InputError
        If a scene cannot be read, or the page not written.
    """
    counter, rows = SceneCounter(), []
    shown = {scenes.chosen[i] for i in _spread(len(scenes.chosen), PICTURES)}
    for number, scene in scenes:
        counter.add(scene.aif, scene.depth)
        if number in shown:
            rows.append(Row(index=number, source=scene.source, aif=encode(scene.aif, "srgb"), depth=scene.depth))
        report(1)
    found = counter.result()
    title = f"{scenes.title}: {len(scenes.chosen)} of {scenes.total} scenes"
    try:
        out.write_text(scene_page(title, found, rows), encoding="utf-8")
    except OSError as error:
        raise InputError(f"cannot write {out} ({error.strerror}): choose another place with --out.") from None
    return found
