"""How two datasets or releases differ: recipe, versions, samples, arrays."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from ..synth.commit import dataset_digest, read_samples
from ..synth.places import Place
from ..synth.recipe import Recipe
from ..synth.store import Store, open_store
from .release_facts import portable
from .release_manifest import stored_id

Row = dict[str, str]
Pair = tuple[Row, Row]
ABSENT = "absent"
LOOKED_AT = 8
"""Samples that differ whose arrays are read, unless another number is asked for."""


@dataclass
class ArrayDifference:
    """How an array differs.

    Attributes
    ----------
    name
        Its name.
    only
        "a" or "b" if the other has none.
    metadata
        What differs of its type, its shape of one sample and its attributes: (a, b) by key.
    samples
        How many samples that both datasets have differ in it.
    looked_at
        How many of those were read for the rest.
    most
        Largest difference of known values among them; None if none was read, or they cannot be compared.
    share
        Share of their values that differ.
    """

    name: str
    only: str = ""
    metadata: dict[str, tuple[Any, Any]] = field(default_factory=dict)
    samples: int = 0
    looked_at: int = 0
    most: float | None = None
    share: float = 0.0


@dataclass
class Difference:
    """How two datasets differ. Samples are known by their source, or by number where sources are not unique.

    Attributes
    ----------
    recipe, versions, facts
        Values that differ, (a, b) by dotted key; "absent" where one has none.
    content, release
        Content digests and release ids of both, the latter empty where one is no release.
    added, removed, changed
        Names of samples that only b has, that only a has, and whose arrays differ.
    moved
        Names of samples in another split, with both splits.
    arrays
        The arrays that differ.
    """

    recipe: dict[str, tuple[Any, Any]]
    versions: dict[str, tuple[Any, Any]]
    facts: dict[str, tuple[Any, Any]]
    content: tuple[str, str]
    release: tuple[str, str]
    samples: tuple[int, int]
    added: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    moved: dict[str, tuple[str, str]] = field(default_factory=dict)
    arrays: list[ArrayDifference] = field(default_factory=list)

    @property
    def same(self) -> bool:
        """Whether both hold the same samples in the same splits, in arrays of the same types, units and attributes."""
        return self.content[0] == self.content[1] and not self.arrays

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON data."""
        return {"same": self.same, **asdict(self)}


def diff(a: Place, b: Place, *, looked_at: int = LOOKED_AT) -> Difference:
    """Compare two finished datasets.

    Samples are compared by the digests of their sample tables; `verify` tells whether those are true.

    Parameters
    ----------
    looked_at
        How many of the samples that differ to read for the sizes of differences, evenly spread.

    Raises
    ------
    InputError
        If one cannot be opened as a dataset.
    """
    stores = (open_store(a), open_store(b))
    tables = (read_samples(a), read_samples(b))
    first, second = (_by_name(table, _unique(tables)) for table in tables)
    digests = (dataset_digest(tables[0]), dataset_digest(tables[1]))
    facts = [next(iter(store.facts.values())) for store in stores]
    found = Difference(
        recipe=_changes(*(_flat(portable(store.recipe)) for store in stores)),
        versions=_changes(*(fact["versions"] for fact in facts)),
        facts=_changes(*(_stated(fact) for fact in facts)),
        content=digests,
        release=(stored_id(a), stored_id(b)),
        samples=(len(tables[0]), len(tables[1])),
        added=[name for name in second if name not in first],
        removed=[name for name in first if name not in second],
    )
    pairs = {name: (row, second[name]) for name, row in first.items() if name in second}
    found.changed = [name for name, (x, y) in pairs.items() if x["digest"] != y["digest"]]
    found.moved = {name: (x["split"], y["split"]) for name, (x, y) in pairs.items() if x["split"] != y["split"]}
    found.arrays = _arrays(stores, list(pairs.values()), looked_at)
    return found


def _unique(tables: Sequence[list[Row]]) -> bool:
    return all(len({row["source"] for row in table}) == len(table) for table in tables)


def _by_name(table: list[Row], by_source: bool) -> dict[str, Row]:
    return {row["source"] if by_source else f"sample {row['index']}": row for row in table}


def _stated(facts: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "image_size": facts["image_size"],
        "psf.kind": facts["psf"].get("kind"),
        "psf.sha256": facts["psf"].get("sha256"),
        "sources_sha256": facts["sources_sha256"],
    }


def _flat(recipe: Recipe) -> dict[str, Any]:
    """Return a recipe's values by dotted key."""
    found: dict[str, Any] = {}

    def visit(value: Any, key: str) -> None:
        if isinstance(value, dict) and value:
            for name, inner in value.items():
                visit(inner, f"{key}.{name}" if key else name)
        else:
            found[key] = value

    visit(recipe.to_dict(), "")
    return found


def _changes(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    keys = dict.fromkeys([*a, *b])
    return {key: (a.get(key, ABSENT), b.get(key, ABSENT)) for key in keys if a.get(key, ABSENT) != b.get(key, ABSENT)}


def _arrays(stores: Sequence[Store], pairs: list[Pair], looked_at: int) -> list[ArrayDifference]:
    names = dict.fromkeys([*stores[0].recipe.arrays, *stores[1].recipe.arrays])
    found = []
    for name in names:
        holders = [label for label, store in zip("ab", stores, strict=True) if name in store.recipe.arrays]
        one = ArrayDifference(name, holders[0] if len(holders) == 1 else "")
        if not one.only:
            one.metadata = _changes(*(_metadata(store, name) for store in stores))
            key = f"sha256_{name}"
            differing = [(x, y) for x, y in pairs if x.get(key) != y.get(key)]
            one.samples = len(differing)
            _measure(one, stores, [differing[i] for i in _spread(len(differing), looked_at)])
        if one.only or one.metadata or one.samples:
            found.append(one)
    return found


def _spread(total: int, count: int) -> list[int]:
    return [int(i) for i in np.unique(np.linspace(0, total - 1, min(count, total)).round())] if total else []


def _metadata(store: Store, name: str) -> dict[str, Any]:
    """Return what is said of an array, but for its length and its chunks."""
    array = store.array(next(iter(store.splits)), name)
    dims = list(getattr(array.metadata, "dimension_names", None) or ())
    facts: dict[str, Any] = {"dtype": str(array.dtype), "shape": list(array.shape[1:]), "dims": dims}
    return facts | {f"attributes.{key}": value for key, value in array.attrs.asdict().items()}


def _measure(one: ArrayDifference, stores: Sequence[Store], pairs: list[Pair]) -> None:
    """Read samples that differ, and note by how much."""
    total = differing = 0
    for rows in pairs:
        x, y = (_read(store, row, one.name) for store, row in zip(stores, rows, strict=True))
        if x.shape != y.shape:
            continue
        one.looked_at += 1
        same = x == y
        if x.dtype.kind == "f" and y.dtype.kind == "f":
            same |= np.isnan(x) & np.isnan(y)
        total, differing = total + x.size, differing + int(np.count_nonzero(~same))
        with np.errstate(invalid="ignore"):
            off = np.abs(x[~same].astype(np.float64) - y[~same].astype(np.float64))
        known = off[~np.isnan(off)]
        if known.size:
            one.most = max(one.most or 0.0, float(known.max()))
    one.share = differing / total if total else 0.0


def _read(store: Store, row: Row, name: str) -> npt.NDArray[Any]:
    return store.sample(row["split"], int(row["row"]))[name]


def difference_lines(found: Difference) -> list[str]:
    """Say how two datasets differ, line by line."""
    lines = []
    for heading, changes in (("recipe", found.recipe), ("version", found.versions), ("", found.facts)):
        lines += [f"{heading} {key}: {_shown(x)} -> {_shown(y)}".strip() for key, (x, y) in changes.items()]
    for heading, names in (("removed", found.removed), ("added", found.added), ("changed", found.changed)):
        if names:
            lines.append(f"samples {heading}: {len(names)} ({_few(names)})")
    if found.moved:
        words = [f"{name} from {x} to {y}" for name, (x, y) in found.moved.items()]
        lines.append(f"samples moved: {len(words)} ({_few(words)})")
    if not (found.same or found.added or found.removed or found.changed or found.moved or found.arrays):
        lines.append("samples have other numbers")
    for one in found.arrays:
        if one.only:
            lines.append(f"array {one.name}: only in {one.only}")
            continue
        lines += [f"array {one.name}, {key}: {_shown(x)} -> {_shown(y)}" for key, (x, y) in one.metadata.items()]
        if one.samples:
            lines.append(f"array {one.name}: differs in {one.samples} samples{_sizes(one)}")
    return lines


def _sizes(one: ArrayDifference) -> str:
    if not one.looked_at:
        return ", whose shapes differ" if "shape" in one.metadata else ""
    most = "in unknown values alone" if one.most is None else f"by up to {one.most:.4g}"
    return f"; {most} in {one.share:.2%} of the values of {one.looked_at} of them"


def _shown(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 100 else f"{text[:97]}..."


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
