"""Samples of stores, for training: a map-style dataset over one or several stores of one split."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch
import zarr
from torch.utils.data import Dataset

from .. import InputError
from ..synth.store import Store, open_store
from .cameras import Camera, LensTable, check_cameras
from .reading import Backend, DirectReader, Layout, Reader, check_backend, check_readable, reader
from .samples import Batch, Samples, room_for
from .settings import DataSettings, Flip
from .slices import BY_SLICE, Stacks
from .symmetry import symmetries

Int64 = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Facts:
    """What the numbers of a dataset's arrays mean, for `batches.prepare`.

    Attributes
    ----------
    encoding
        Of pictures: "srgb" or "linear".
    levels
        Black and white level of `raw` and `stack_raw`, digital numbers.
    size
        Height and width of the pictures, pixels.
    stacks
        Of each store, where stacks are read.
    """

    encoding: str
    levels: Mapping[str, tuple[float, float]]
    size: tuple[int, int]
    stacks: tuple[Stacks, ...] = ()


@dataclass(frozen=True, slots=True)
class _Part:
    """One store of a dataset: all that a process needs to read it."""

    path: str
    rows: Int64
    layouts: Mapping[str, Layout | None]
    lenses: LensTable
    camera: Camera
    stack: Stacks | None


@dataclass(frozen=True, slots=True)
class _Array:
    """Shape of a sample, dtype, and encoding of an array."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    encoding: str | None


class StoreDataset(Dataset[Batch]):
    """The samples of one split of one or several stores, one store after the other.

    A sample is a dict of tensors in the dtypes of the store (pictures uint8 or uint16, `coc` float16), with `index`,
    its place in this dataset, and `store`, the number of its store, both int64. Opening reads shapes and attributes;
    files of samples are opened by the process that reads them.

    Parameters
    ----------
    stores
        What `open_store` opens.
    split
        Name of the split.
    arrays
        Names of arrays that every store must have; also `lens`: focal length, f-number, focus distance (that of the
        single capture; NaN where stacks have none) and pixel pitch of the sample, (4,) float32, metres but for the
        f-number.
    valid
        Read `valid` too if a store has it; of stores that have not it is true everywhere.
    backend
        How to read; see `reading`.
    limit
        Take the first so many samples of each store.
    subset
        Take samples whose scene's name matches one of these patterns.
    slices
        Slices that each stack must have at least: stores may then have different numbers of them. In a batch all
        samples have as many as that with most; what a sample lacks is 0 at its end.

    Raises
    ------
    InputError
        If a store is none, is unfinished, of another version, has no such split or array, has stacks of too few slices,
        or if the stores' arrays differ in shape, dtype or encoding.
    """

    def __init__(
        self, stores: Sequence[str | Path] | str | Path, split: str, arrays: Sequence[str], *, valid: bool = True,
        backend: Backend = "auto", limit: int | None = None, subset: Sequence[str] = (), slices: int | None = None,
    ) -> None:  # fmt: skip
        check_backend(backend)
        paths = [stores] if isinstance(stores, str | Path) else list(stores)
        if not paths:
            raise InputError("no store is given to read samples from.")
        self.split, self.backend, self._least = split, backend, slices
        opened = [open_store(path) for path in paths]
        with_valid = valid and "valid" not in arrays and any("valid" in store.recipe.arrays for store in opened)
        self.arrays = (*arrays, "valid") if with_valid else tuple(arrays)
        needed = [_stored(arrays, store) for store in opened]
        for names, store in zip(needed, opened, strict=True):
            if with_valid and "valid" in store.recipe.arrays:
                names.append("valid")
        self._specs: dict[str, _Array] = {}
        self._parts = [
            self._part(store, str(path), names, limit, subset)
            for store, path, names in zip(opened, paths, needed, strict=True)
        ]
        self._ends = np.cumsum([len(part.rows) for part in self._parts])
        if not len(self):
            raise InputError(
                f"no sample of {', '.join(map(str, paths))} matches subset = {list(subset)}: names are those of "
                "the column source in samples.csv."
            )
        self.facts = self._facts(opened)
        self._readers: tuple[int, dict[tuple[int, str], Reader]] = (0, {})

    @classmethod
    def of(cls, stores: Sequence[str | Path] | str | Path, settings: DataSettings, *, training: bool = True) -> Self:
        """Return the training or the validation data that settings ask for, checked against them.

        Raises
        ------
        InputError
            As the class does, and if cameras or sizes do not go with the settings, or flips with the PSFs.
        """
        data = cls(
            stores,
            settings.train_split if training else settings.validation_split,
            settings.arrays,
            valid="depth" in settings.arrays,
            backend=settings.backend,
            limit=settings.limit if training else settings.validation_limit,
            subset=settings.subset,
            slices=settings.slices[1] if settings.slices else None,
        )
        check_cameras(
            data.cameras, settings.camera, mixed=settings.mixed_cameras, psf=bool(settings.through_lens),
            captures="capture" in settings.extra,
        )  # fmt: skip
        data._check_settings(settings, training)
        return data

    def _part(self, store: Store, path: str, names: list[str], limit: int | None, subset: Sequence[str]) -> _Part:
        if self.split not in store.splits:
            raise InputError(
                f"{path} has no split {self.split!r}; it has {', '.join(store.splits)}: choose one of them as "
                "data.train_split or data.validation_split, or generate the store with output.splits."
            )
        layouts: dict[str, Layout | None] = {}
        for name in names:
            array = self._array(store, path, name)
            layouts[name] = Layout.of(array)
            check_readable(array, self.backend, layouts[name])
        rows = np.arange(store.array(self.split, "index").shape[0])
        if subset:
            sources = store.sources(self.split)
            rows = rows[[any(fnmatchcase(source, pattern) for pattern in subset) for source in sources]]
        lenses, camera = LensTable(store.recipe), Camera.of(store.recipe)
        return _Part(path, rows[:limit], layouts, lenses, camera, self._stacks(store, path))

    def _stacks(self, store: Store, path: str) -> Stacks | None:
        if "stack" not in self.arrays or store.recipe.stack is None:
            return None
        slices = int(store.array(self.split, "stack").shape[1])
        if self._least is not None and slices < self._least:
            raise InputError(
                f"the stacks of {path} have {slices} slices, and data.slices asks for up to {self._least}: lower it, "
                "or leave this store out."
            )
        return Stacks(slices, store.recipe.stack.reference)

    def _array(self, store: Store, path: str, name: str) -> zarr.Array[Any]:
        if name not in store.recipe.arrays:
            raise InputError(
                f"{path} has no array {name!r}, which the training data need; it has "
                f"{', '.join(store.recipe.arrays)}: generate it with {name!r} in output.arrays, or do without."
            )
        array = store.array(self.split, name)
        spec = _Array(array.shape[1:], array.dtype, array.attrs.get("encoding"))  # type: ignore[arg-type]
        known = self._specs.setdefault(name, spec)
        fits = spec == known
        if self._least is not None and self._by_slice(name):
            fits = replace(spec, shape=spec.shape[1:]) == replace(known, shape=known.shape[1:])
        if not fits and (name != "drawn" or name in self.arrays):
            raise InputError(
                f"{name} of {path} is {_words(spec)} and that of the first store {_words(known)}: "
                "one batch cannot hold both; train on stores of one size, encoding and number of slices, or set "
                "data.slices where the number alone differs."
            )
        return array

    def _by_slice(self, name: str) -> bool:
        return "stack" in self.arrays and name in BY_SLICE

    def _facts(self, opened: Sequence[Store]) -> Facts:
        store = opened[0]
        levels: dict[str, tuple[float, float]] = {}
        for name in {"raw", "stack_raw"} & set(self.arrays):
            found = [store.array(self.split, name).attrs for store in opened]
            pairs = [(float(one["black_level"]), float(one["white_level"])) for one in found]  # type: ignore[arg-type]
            if len(set(pairs)) > 1:
                raise InputError(f"{name} has black and white levels {pairs} in these stores: train on one sensor.")
            levels[name] = pairs[0]
        height, width = store.facts[self.split]["image_size"]
        stacks = tuple(part.stack for part in self._parts if part.stack is not None)
        return Facts(store.recipe.output.encoding, levels, (int(height), int(width)), stacks)

    def _check_settings(self, settings: DataSettings, training: bool) -> None:
        crop, (height, width) = settings.crop, self.facts.size
        if crop is not None and (crop[0] > height or crop[1] > width):
            raise InputError(
                f"data.crop = [{crop[0]}, {crop[1]}] is larger than the pictures of {self._parts[0].path}, which are "
                f"[{height}, {width}]: make it smaller."
            )
        augment = settings.augment
        # What shows no PSFs may be flipped: a mirrored scene is as good, and what optics make of it is their own.
        if not training or not augment.flips or augment.allow_asymmetric or not settings.through_lens:
            return
        flips = self.flips
        wrong = [flip for flip in augment.flips if flip not in flips]
        if wrong:
            kinds = ", ".join(sorted({part.camera.psf for part in self._parts}))
            raise InputError(
                f"augment.flips = {wrong[0]!r} would show PSFs (psf.kind {kinds}) that the lens of "
                f"{self._parts[0].path} does not have, as they are not their own mirror images: leave it out, or set "
                "augment.allow_asymmetric = true."
            )

    @property
    def flips(self) -> frozenset[Flip]:
        """Flips that leave the PSFs of every store as they are."""
        return frozenset.intersection(*(symmetries(open_store(part.path), self.split) for part in self._parts))

    @property
    def cameras(self) -> dict[str, Camera]:
        """Camera of each store, by the store's path."""
        return {part.path: part.camera for part in self._parts}

    @property
    def shards(self) -> list[int]:
        """Number of samples in each shard, in the order of the samples: what `ShardShuffle` mixes."""
        found: list[int] = []
        for part in self._parts:
            known = [layout.per_shard for layout in part.layouts.values() if layout]
            per_shard = known[0] if known else max(1, len(part.rows))
            found += np.unique(part.rows // per_shard, return_counts=True)[1].tolist()
        return found

    def locate(self, index: int) -> tuple[str, str, int]:
        """Return where a sample lies: path of its store, split, row."""
        store, row = self._place(index)
        return self._parts[store].path, self.split, row

    def _place(self, index: int) -> tuple[int, int]:
        if not -len(self) <= index < len(self):
            raise IndexError(f"there is no sample {index} among {len(self)}")
        index %= len(self)
        store = int(np.searchsorted(self._ends, index, side="right"))
        return store, int(self._parts[store].rows[index - (self._ends[store - 1] if store else 0)])

    def __len__(self) -> int:
        return int(self._ends[-1])

    def __getitem__(self, index: int) -> Batch:
        return self.__getitems__([index])[0]  # type: ignore[no-any-return]

    def __getitems__(self, indices: Sequence[int]) -> Samples:
        """Read samples, in the order that they are asked for; each shard's file is opened once for each array."""
        places = [self._place(int(index)) for index in indices]
        count = len(places)
        stores = sorted({store for store, _ in places})
        batch = {name: self._room(name, count, stores) for name in self.arrays}
        for store in stores:
            chosen = [place for place, (number, _) in enumerate(places) if number == store]
            rows = [places[place][1] for place in chosen]
            stack = self._parts[store].stack
            for name, tensor in batch.items():
                out = tensor.numpy()
                own = (slice(stack.slices),) if stack and self._by_slice(name) else ()
                self._fill(store, name, rows, [out[(place, *own, ...)] for place in chosen])
        batch["index"] = torch.tensor([int(index) % len(self) for index in indices])
        batch["store"] = torch.tensor([store for store, _ in places])
        return Samples(batch)

    def _room(self, name: str, count: int, stores: Sequence[int]) -> torch.Tensor:
        """Return memory for so many samples of these stores."""
        spec = _LENS if name == "lens" else self._specs[name]
        slices = {part.stack.slices for part in (self._parts[store] for store in stores) if part.stack}
        if not (slices and self._by_slice(name)):
            return room_for((count, *spec.shape), spec.dtype)
        room = room_for((count, max(slices), *spec.shape[1:]), spec.dtype)
        if len(slices) > 1:
            room.numpy()[...] = 0
        return room

    def _fill(self, store: int, name: str, rows: list[int], out: list[npt.NDArray[Any]]) -> None:
        part = self._parts[store]
        if name == "lens":
            for sample, lens in zip(out, self._lenses(store, rows), strict=True):
                sample[...] = lens
        elif name == "valid" and name not in part.layouts:
            for sample in out:
                sample[...] = True
        else:
            self._reader(store, name).read(rows, out)

    def _lenses(self, store: int, rows: list[int]) -> list[npt.NDArray[np.float64]]:
        table = self._parts[store].lenses
        if not table.drawn:
            return [table.lens()] * len(rows)
        numbers = [np.empty(len(table.drawn)) for _ in rows]
        self._reader(store, "drawn").read(rows, numbers)
        return [table.lens(one.tolist()) for one in numbers]

    def _reader(self, store: int, name: str) -> Reader:
        """Return this process's reader of an array: handles do not outlive a fork, and are not pickled."""
        owner, readers = self._readers
        if owner != os.getpid():
            readers = {}
            self._readers = (os.getpid(), readers)
        found = readers.get((store, name))
        if found is None:
            found = self._open(store, name)
            readers[store, name] = found
        return found

    def _open(self, store: int, name: str) -> Reader:
        part = self._parts[store]
        layout = part.layouts[name]
        if layout is not None and self.backend in ("auto", "direct"):
            return DirectReader(layout)
        return reader(open_store(part.path).array(self.split, name), self.backend, layout)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_readers": (0, {})}


_LENS = _Array((4,), np.dtype("f4"), None)


def _stored(arrays: Sequence[str], store: Store) -> list[str]:
    """Names of stored arrays that have to be read for those that are asked for."""
    names = [name for name in arrays if name != "lens"]
    drawn = "lens" in arrays and store.recipe.draws and "drawn" not in names
    return [*names, "drawn"] if drawn else names


def _words(spec: _Array) -> str:
    return f"{' x '.join(map(str, spec.shape))} {spec.dtype}" + (f" ({spec.encoding})" if spec.encoding else "")
