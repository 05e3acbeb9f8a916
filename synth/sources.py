"""Where a recipe's scenes come from: made from the seed, or read from files and brought to one size.

A source has a `count`, a `size`, and for each sample a name, a place (`group`) and a scene. Nothing depends on what was
asked before.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from .. import InputError
from .align import align_depth
from .fit import fit_scene
from .photos import Photographs
from .readers import READERS, FolderReader, Reader
from .readers.base import pixels
from .recipe import Recipe
from .recipe_scenes import DatasetScenes, FolderScenes, ProceduralScenes, ReadScenes
from .scene import LayeredScene, Scene

SMALL = 10_000
"""Bytes up to which a file beside a scene's own is known again by its content, and not by its size alone."""


class Source(Protocol):
    """What a `SampleMaker` asks of the scenes of a recipe."""

    count: int
    size: tuple[int, int]

    def name(self, sample: int) -> str:
        """Name of the scene of a sample, unique."""
        ...

    def group(self, sample: int) -> str:
        """Place of the scene of a sample: one place, one split. Empty if samples are dealt by their numbers."""
        ...

    def official(self, sample: int) -> str:
        """Split to which the scene's dataset officially counts it, or nothing."""
        ...

    @property
    def official_splits(self) -> Sequence[str]:
        """Official splits that training data must not be divided into."""
        ...

    def fingerprint(self, sample: int) -> str:
        """Name of the scene and what tells that its files are still the same."""
        ...

    def views(self, sample: int) -> npt.NDArray[Any]:
        """Views of a scene of a light field."""
        ...

    def scene(self, sample: int, margin: int, split: str) -> Scene | LayeredScene:
        """Scene of a sample, with a margin of so many pixels if it can be made, of the assets of its split."""
        ...


class MadeScenes:
    """Procedural scenes."""

    def __init__(self, seed: int, scenes: ProceduralScenes, splits: Mapping[str, float]) -> None:
        self.seed, self.scenes = seed, scenes
        self.count, self.size = scenes.count, scenes.size
        self._splits = splits

    @cached_property
    def photographs(self) -> dict[str, Photographs]:
        """Photographs of each split; none without `textures`."""
        if self.scenes.textures is None:
            return {}
        found, begin, parts = Photographs.of(self.scenes.textures), 0.0, {}
        for k, (name, share) in enumerate(self._splits.items()):
            end = 1.0 if k == len(self._splits) - 1 else begin + share
            parts[name] = found.part(begin, end, f"the split {name!r}")
            begin = end
        return parts

    @cached_property
    def _files(self) -> str:
        return f" {Photographs.of(self.scenes.textures).fingerprint}" if self.scenes.textures is not None else ""

    def name(self, sample: int) -> str:
        """Return the number of the scene in the procedural sequence."""
        return f"procedural/{sample:06d}"

    def group(self, sample: int) -> str:
        """Return nothing: procedural samples are dealt evenly along their sequence."""
        return ""

    official = group
    official_splits: Sequence[str] = ()

    def fingerprint(self, sample: int) -> str:
        """Return the number of the scene, and a digest of the photographs."""
        return self.name(sample) + self._files

    def check(self) -> None:
        """Read every photograph once.

        Raises
        ------
        InputError
            If one cannot be read.
        """
        for photographs in self.photographs.values():
            for index in range(len(photographs.names)):
                photographs.texels(index)

    def views(self, sample: int) -> npt.NDArray[Any]:
        """Refuse: recipes ask for no views of procedural scenes."""
        raise InputError("procedural scenes have no views.")

    def scene(self, sample: int, margin: int, split: str) -> LayeredScene:
        """Make a scene."""
        from .procedural import procedural_scene

        scenes = self.scenes
        return procedural_scene(
            self.seed, sample, scenes.size, scenes.depth, scenes.objects, margin, world=scenes.world,
            lights=scenes.lights, textures=self.photographs.get(split), assets=split,
        )  # fmt: skip


class FilesScenes:
    """Scenes that a reader reads.

    Parameters
    ----------
    scenes
        The section of the recipe.

    Attributes
    ----------
    reader
        What reads them.
    official_splits
        Official splits that some of the scenes belong to.

    Raises
    ------
    InputError
        If the scenes cannot be found, or the first cannot be read.
    """

    def __init__(self, scenes: ReadScenes) -> None:
        self.scenes, self.reader = scenes, open_reader(scenes)
        self.count = min(scenes.count or len(self.reader), len(self.reader))
        self.size = scenes.size or self.reader.read(0).size
        self._items = self.reader.scan()

    @cached_property
    def official_splits(self) -> Sequence[str]:
        """Official splits that training data must not be divided into: the dataset's, or with a part alone none."""
        parts = self.reader.PARTS if not self.reader.part else ()
        return sorted({*parts, *(item.split for item in self._items)} - {"", "train"})

    def name(self, sample: int) -> str:
        """Return the name that the dataset gives the scene."""
        return self._items[sample].source

    def group(self, sample: int) -> str:
        """Return the place where the scene was taken."""
        return self._items[sample].group or self._items[sample].source

    def official(self, sample: int) -> str:
        """Return the official split of the scene, or nothing."""
        return self._items[sample].split

    def fingerprint(self, sample: int) -> str:
        """Return the name of the scene, its official split, and the sizes of its files and of those beside them.

        Those that may be absent count as such; small ones, tables and cameras, by their content.
        """
        item = self._items[sample]
        sizes = [str(path.stat().st_size) for path in item.files]
        return " ".join([item.source, *filter(None, [item.split]), *sizes, *map(_trace, item.beside)])

    def views(self, sample: int) -> npt.NDArray[Any]:
        """Read the views of a scene of a light field."""
        return self.reader.views(sample)

    def scene(self, sample: int, margin: int = 0, split: str = "") -> Scene:
        """Read a scene and bring it to the size of all.

        Depths nearer than the recipe's range are taken as unknown: a stray millimetre would blur over the whole image.

        Raises
        ------
        InputError
            If it cannot be read, or does not fit.
        """
        scene = self.reader.read(sample)
        if self.scenes.camera is not None:
            scene = replace(scene, intrinsics=self.scenes.camera)
        if self.scenes.align:
            scene = replace(scene, depth=align_depth(scene.depth, scene.aif, self.scenes.align))
        if self.scenes.size is not None:
            scene = fit_scene(scene, self.scenes.size, self.scenes.fit)
        elif scene.size != self.size:
            raise InputError(
                f"{self.reader.files(sample)[0]} has {pixels(scene.size)} pixels, not {pixels(self.size)} as the first "
                f"scene: bring all to one size, for example with scenes.size = {list(self.size)}."
            )
        return self._within_range(scene)

    def _within_range(self, scene: Scene) -> Scene:
        near = self.scenes.depth[0]
        stray = scene.depth < np.float32(near * (1 - 1e-6))
        if not stray.any():
            return scene
        known = np.count_nonzero(~np.isnan(scene.depth))
        if 2 * np.count_nonzero(stray) > known:
            raise InputError(
                f"{scene.source}: more than half of its depths are nearer than {near:g} m, the median is "
                f"{float(np.nanmedian(scene.depth)):.3g} m: lower scenes.depth[0], or leave it out."
            )
        return replace(scene, depth=np.where(stray, np.float32(np.nan), scene.depth))


def _trace(path: Path) -> str:
    try:
        status = path.stat()
    except OSError:
        return "absent"
    return _digest(path, status.st_mtime_ns) if status.st_size <= SMALL else str(status.st_size)


@lru_cache(maxsize=64)
def _digest(path: Path, changed: int) -> str:
    """Digest of a file; `changed` only tells the cache when it is another one."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def open_source(recipe: Recipe) -> Source:
    """Return the scenes of a recipe.

    Raises
    ------
    InputError
        If they cannot be found.
    """
    if isinstance(recipe.scenes, ProceduralScenes):
        return MadeScenes(recipe.seed, recipe.scenes, recipe.output.splits)
    return FilesScenes(recipe.scenes)


def open_reader(scenes: ReadScenes) -> Reader:
    """Return the reader of a recipe's scenes; files are looked for when it is asked for them.

    Raises
    ------
    InputError
        If an option makes no sense.
    """
    path, listing = Path(scenes.path), Path(scenes.listing) if scenes.listing else None
    if isinstance(scenes, DatasetScenes):
        return READERS[scenes.kind](path=path, variant=scenes.variant, part=scenes.part, listing=listing)
    assert isinstance(scenes, FolderScenes)
    own = set(FolderScenes.model_fields) - set(ReadScenes.model_fields) - {"kind"}
    options = scenes.model_dump(include=own)
    return FolderReader(
        path=path, listing=listing, intrinsics=scenes.camera, depth_range=scenes.depth, **options
    )  # fmt: skip
