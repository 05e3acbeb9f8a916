"""The store: what a dataset looks like on disk, and the only code that writes or opens one.

A dataset is a folder, or a prefix of an object store: `recipe.toml`, `samples.csv`, and one Zarr v3 group per split,
`<split>.zarr`. The first axis of every array is the sample; a chunk is one sample, a shard several, the same number for
every array. While it is being made there is a `_commit` folder with a marker for each finished shard; see `commit.py`.
"""

import csv
import hashlib
import importlib.metadata
import io
import os
import platform
import shlex
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import zarr
from zarr.codecs import BloscCodec

from .. import InputError, __version__
from .arrays import REGISTRY, array_dims, array_facts, array_layout
from .buckets import pass_on
from .places import ObjectPath, Place, as_zarr, folders_of, place
from .recipe import FORMAT_VERSION, Recipe

ATTRIBUTES = "defocal"
INDEX_CHUNK = 1 << 16
"""Samples in a chunk of `index`."""


def versions() -> dict[str, str]:
    """Versions of what computes a store."""
    names = ("numpy", "numba", "scipy", "zarr", "numcodecs", "opencv-python-headless")
    found = {name: importlib.metadata.version(name) for name in names}
    return {"defocal": __version__, "python": platform.python_version(), **found}


def array_digest(array: npt.NDArray[Any]) -> str:
    """Digest of an array's content: sha256 over dtype, shape and little-endian C-order bytes, hexadecimal."""
    little = np.asarray(array, array.dtype.newbyteorder("<"), order="C")
    digest = hashlib.sha256(f"{little.dtype.str}|{','.join(map(str, little.shape))}|".encode())
    digest.update(little.data)
    return digest.hexdigest()


def sample_digest(digests: dict[str, str]) -> str:
    """Digest of a sample: sha256 over the names and digests of its arrays, in the order of their names."""
    text = "\n".join(f"{name} {digests[name]}" for name in sorted(digests))
    return hashlib.sha256(text.encode()).hexdigest()


def _compressor(dtype: np.dtype[Any], preset: str) -> BloscCodec:
    # Measured on procedural samples: zstd 5 instead of 1 saves 8 % of a dataset and takes six times as long.
    name, level = ("lz4", 5) if preset == "fast" else ("zstd", 1)
    shuffle = "shuffle" if dtype.kind == "f" else "bitshuffle"
    return BloscCodec(typesize=dtype.itemsize, cname=cast(Any, name), clevel=level, shuffle=cast(Any, shuffle))


def create_split(
    path: Place, recipe: Recipe, size: tuple[int, int], length: int,
    indices: Callable[[int, int], npt.NDArray[np.int64]], per_shard: int, attributes: dict[str, Any],
) -> None:  # fmt: skip
    """Create the empty group of one split, every array at its full length, and write its `index`.

    Parameters
    ----------
    path
        The `.zarr` folder, which must not exist.
    length
        Number of the split's samples.
    indices
        Their numbers in the recipe, from a first row to a last one, exclusive.
    per_shard
        Samples in a shard.
    attributes
        More to say about the split than the recipe does.
    """
    group = zarr.create_group(as_zarr(path))
    for name, (shape, dtype) in array_layout(recipe, size).items():
        chunk = (1, *shape) if shape else (min(length, INDEX_CHUNK),)
        group.create_array(
            name,
            shape=(length, *shape),
            dtype=dtype,
            chunks=chunk,
            shards=(per_shard, *shape) if shape else None,
            compressors=_compressor(dtype, recipe.output.compression),
            fill_value=np.nan if dtype.kind == "f" else 0,
            dimension_names=array_dims(recipe, name),
            attributes=array_facts(recipe, name),
        )
    for first in range(0, length, INDEX_CHUNK):
        write_array(group, "index", first, indices(first, min(first + INDEX_CHUNK, length)).astype(np.uint64))
    group.attrs[ATTRIBUTES] = {
        "format": FORMAT_VERSION,
        "recipe": recipe.to_dict(),
        "recipe_hash": recipe.hash(),
        "versions": versions(),
        **attributes,
    }


def store_psf(path: Place, arrays: Mapping[str, tuple[npt.NDArray[Any], tuple[str, ...], str]], facts: Any) -> None:
    """Write the PSF bank of a split as `psf/main`; see `psf_files.bank_arrays` and `psf_files.bank_attributes`.

    Parameters
    ----------
    path
        The split's `.zarr` folder.
    arrays
        Each with the names of its axes and its unit.
    facts
        Attributes of the group, JSON data.
    """
    group = zarr.open_group(as_zarr(path), mode="r+").create_group("psf/main", attributes=facts)
    for name, (data, dims, unit) in arrays.items():
        array = group.create_array(
            name,
            shape=data.shape,
            dtype=data.dtype,
            chunks=data.shape,
            compressors=_compressor(data.dtype, "release"),
            dimension_names=dims,
            attributes={"units": unit},
        )
        array[...] = data


def stored_folders(out: Place) -> list[Any]:
    """Return the `.zarr` folders of a dataset, by name; each holds the same PSF bank."""
    return folders_of(out, "*.zarr")


def write_array(group: zarr.Group, name: str, first: int, block: npt.NDArray[Any]) -> None:
    """Write samples `first` onwards of an array; a block must fill whole shards."""
    # An array forgets this setting when it is closed, and would leave out chunks of nothing but fill value.
    with zarr.config.set({"array.write_empty_chunks": True}):
        array = group[name]
        assert isinstance(array, zarr.Array)
        array[first : first + len(block)] = block


@dataclass(frozen=True)
class Store:
    """A finished dataset, opened for reading.

    Attributes
    ----------
    path
        Its folder, or its prefix in an object store.
    recipe
        What it was made from.
    splits
        Zarr group of each split; `splits["train"]["capture"][0]` is an image.
    facts
        Attributes of each split: versions, PSF, sizes.
    """

    path: Place
    recipe: Recipe
    splits: dict[str, zarr.Group]
    facts: dict[str, dict[str, Any]]
    _opened: dict[tuple[str, str], "zarr.Array[Any]"] = field(default_factory=dict, repr=False, compare=False)

    def array(self, split: str, name: str) -> zarr.Array[Any]:
        """Return an array of a split.

        Raises
        ------
        InputError
            If the store has no such split or array.
        """
        if split not in self.splits:
            raise InputError(f"{self.path} has no split {split!r}; it has {', '.join(self.splits)}.")
        if name not in (*self.recipe.arrays, "index"):
            raise InputError(f"{self.path} has no array {name!r}; it has {', '.join(self.recipe.arrays)}.")
        if (split, name) in self._opened:
            return self._opened[split, name]
        # Whatever can be wrong with metadata: zarr raises many kinds of error for it.
        try:
            array = self.splits[split][name]
        except Exception as error:
            pass_on(error, self.path)
            raise InputError(_damaged(self.path / f"{split}.zarr" / name, error)) from None
        if not isinstance(array, zarr.Array):
            raise InputError(f"{self.path / f'{split}.zarr' / name} is damaged: it is no array.")
        if isinstance(self.path, ObjectPath):
            # Its metadata would cost a request for every sample.
            self._opened[split, name] = array
        return array

    def sample(self, split: str, row: int) -> dict[str, npt.NDArray[Any]]:
        """Read the arrays of one sample, by its row in the split.

        Raises
        ------
        InputError
            If they are damaged.
        """
        arrays = {name: self.array(split, name) for name in self.recipe.arrays}
        try:
            return {name: np.asarray(array[row]) for name, array in arrays.items()}
        except Exception as error:
            pass_on(error, self.path)
            raise InputError(_damaged(self.path / f"{split}.zarr, row {row}", error)) from None

    def __len__(self) -> int:
        return sum(self.array(split, "index").shape[0] for split in self.splits)

    def rows(self) -> Iterator[tuple[str, int, int]]:
        """Yield (split, row, sample number) of every sample."""
        for split in self.splits:
            array = self.array(split, "index")
            for first in range(0, array.shape[0], INDEX_CHUNK):
                try:
                    indices = np.asarray(array[first : first + INDEX_CHUNK]).tolist()
                except Exception as error:
                    pass_on(error, self.path)
                    raise InputError(_damaged(self.path / f"{split}.zarr" / "index", error)) from None
                for row, index in enumerate(indices, first):
                    yield split, row, int(index)

    def sources(self, split: str) -> list[str]:
        """Return the name of the scene of each sample of a split, by row, from `samples.csv`.

        Raises
        ------
        InputError
            If the table is damaged.
        """
        length = self.array(split, "index").shape[0]
        table = self.path / "samples.csv"
        try:
            with io.TextIOWrapper(table.open("rb"), encoding="utf-8", newline="") as file:
                rows = {int(row["row"]): row["source"] for row in csv.DictReader(file) if row["split"] == split}
            return [rows[row] for row in range(length)]
        except (OSError, ValueError, LookupError, TypeError, csv.Error) as error:
            raise InputError(_damaged(table, error)) from None


def _damaged(what: Place, error: Exception) -> str:
    return f"{what} is damaged ({type(error).__name__}: {str(error)[:200]}): fetch a fresh copy, or generate it again."


def open_store(path: str | Place, *, unfinished: bool = False) -> Store:
    """Open a dataset and check that it is one.

    Parameters
    ----------
    path
        The dataset's folder, or `s3://bucket/prefix`.
    unfinished
        Also accept a dataset that is still being made.

    Raises
    ------
    InputError
        If it is no store, of another format version, unfinished, or its arrays are not what the registry says.
    ObjectStoreError
        If the object store that it is in does not answer, or forbids it.
    """
    path = place(path)
    if not path.is_dir():
        if isinstance(path, Path) and os.path.lexists(path):
            raise InputError(f"{path} is no folder, and a dataset is one: check the path.")
        raise InputError(
            f"there is no dataset at {path}: check the path, or make one with "
            f"`defocal generate RECIPE {shlex.quote(str(path))}`."
        )
    folders = stored_folders(path)
    if unborn(path):
        raise InputError(f"the making of {path} ended before it was begun: run `defocal generate` again.")
    if not folders:
        raise InputError(f"{path} is not a defocal dataset: it holds no .zarr folder.")
    splits: dict[str, zarr.Group] = {}
    facts: dict[str, dict[str, Any]] = {}
    for folder in folders:
        splits[folder.stem], facts[folder.stem] = _open_split(folder)
    recipe = Recipe.parse(next(iter(facts.values()))["recipe"], origin=f"the recipe stored in {path}")
    for split, stated in facts.items():
        if stated["recipe"] != recipe.to_dict() or stated.get("recipe_hash") != recipe.hash():
            raise InputError(
                f"{path / split}.zarr is damaged: its recipe is not that of the other splits, or of its hash."
            )
    order = recipe.ordered_splits(splits)
    if foreign := sorted(set(splits) - set(order)):
        raise InputError(f"{path / foreign[0]}.zarr is not one of the recipe's splits: move it elsewhere.")
    store = Store(path, recipe, {n: splits[n] for n in order}, {n: facts[n] for n in order})
    _check_arrays(store)
    if not unfinished and not finished(path):
        raise InputError(f"{path} is unfinished: run `defocal resume {shlex.quote(str(path))}` to complete it.")
    return store


def finished(path: Place) -> bool:
    """Tell whether a dataset is complete; see `commit.py`."""
    if not (path / "samples.csv").exists():
        return False
    return isinstance(path, ObjectPath) or not (path / "_commit").exists()


def unborn(path: Place) -> bool:
    """Tell whether the creation of a dataset in an object store is under way, or was interrupted."""
    return isinstance(path, ObjectPath) and (path / "_commit" / "creating").is_file()


def split_facts(folder: Place) -> dict[str, Any]:
    """Read the attributes of a split: recipe, versions, PSF, sizes.

    Raises
    ------
    InputError
        If it is no split of a dataset, or of another format version.
    """
    return _open_split(folder)[1]


def _open_split(folder: Place) -> tuple[zarr.Group, dict[str, Any]]:
    try:
        group = zarr.open_group(as_zarr(folder), mode="r")
        facts = cast(dict[str, Any], group.attrs[ATTRIBUTES])
    except Exception as error:
        pass_on(error, folder)
        raise InputError(f"{folder} is not a split of a defocal dataset ({type(error).__name__}: {error}).") from None
    if not isinstance(facts, dict):
        raise InputError(f"{folder} is not a split of a defocal dataset: its attributes are not a table.")
    if facts.get("format") != FORMAT_VERSION:
        raise InputError(
            f"{folder} has format version {facts.get('format')}; this defocal reads version {FORMAT_VERSION}: "
            "open it with the release that wrote it, or generate it again."
        )
    if not {"recipe", "versions", "image_size", "sources_sha256", "psf"} <= facts.keys():
        raise InputError(f"{folder} is damaged: its attributes are not complete.")
    if not isinstance(facts["psf"], dict):
        raise InputError(f"{folder} is damaged: its attributes do not describe its PSFs.")
    return group, facts


def _check_arrays(store: Store) -> None:
    for split in store.splits:
        lengths = set()
        for name in (*store.recipe.arrays, "index"):
            array, spec = store.array(split, name), REGISTRY[name]
            dims = array.metadata.dimension_names if hasattr(array.metadata, "dimension_names") else None
            expected = array_dims(store.recipe, name)
            if tuple(dims or ()) != expected or array.dtype.str[1:] not in spec.dtypes:
                raise InputError(
                    f"{store.path}: array {split}/{name} has dims {dims} and dtype {array.dtype}, "
                    f"where the format has {expected} and {' or '.join(spec.dtypes)}."
                )
            if "channel" in spec.dims and array.attrs.get("encoding") != store.recipe.output.encoding:
                raise InputError(f"{store.path}: array {split}/{name} does not have the encoding of the recipe.")
            if array.attrs.get("units") != spec.unit:
                raise InputError(
                    f"{store.path}: array {split}/{name} is in {array.attrs.get('units')!r}, not {spec.unit!r}."
                )
            lengths.add(array.shape[0])
        if len(lengths) > 1:
            raise InputError(f"{store.path}: the arrays of split {split!r} differ in length: {sorted(lengths)}.")


def sweep_partial(path: Place) -> None:
    """Delete the temporary files that a killed writer leaves behind; in an object store there are none."""
    if isinstance(path, ObjectPath):
        return
    for leftover in path.rglob("*.partial"):
        if leftover.is_file():
            leftover.unlink(missing_ok=True)


def use_one_codec_thread() -> None:
    """Keep blosc to one thread: with several its bytes depend on timing."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import numcodecs.blosc

        numcodecs.blosc.use_threads = False
