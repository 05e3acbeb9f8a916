"""Proof that a store is what it says: digests, physics, and samples made again from its own recipe."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import InputError
from ..synth.commit import dataset_digest, read_samples
from ..synth.samples import SampleMaker
from ..synth.seeding import Purpose, generator
from ..synth.store import Store, array_digest, open_store, sample_digest

Arrays = dict[str, npt.NDArray[Any]]


@dataclass
class Verdict:
    """What was found.

    Attributes
    ----------
    samples
        How many samples were read.
    digest
        Digest of the dataset's content, by its sample table.
    problems
        One sentence each; none if all is well.
    rerendered
        For each sample made again, its number and how it compares: "bit-exact" or what differs.
    """

    samples: int = 0
    digest: str = ""
    problems: list[str] = field(default_factory=list)
    rerendered: list[tuple[int, str]] = field(default_factory=list)


def verify(path: Path, *, rerender: int = 0, report: Callable[[int], None] = lambda done: None) -> Verdict:
    """Read every sample of a store and compare it with its digests and with the physics of its camera.

    Parameters
    ----------
    path
        A finished dataset.
    rerender
        How many samples, drawn at random by the recipe's seed, to make again and compare.
    report
        Called with 1 after each sample.

    Raises
    ------
    InputError
        If it cannot be opened as a dataset at all.
    """
    store = open_store(path)
    table = {(row["split"], int(row["row"])): row for row in read_samples(path)}
    verdict = Verdict(samples=len(store), digest=dataset_digest(list(table.values())))
    if len(table) != len(store):
        verdict.problems.append(f"samples.csv lists {len(table)} samples where the arrays hold {len(store)}.")
    for split, row, index in store.rows():
        _check_sample(store, split, row, index, table.get((split, row)), verdict.problems)
        report(1)
    for split in store.splits:
        _check_psf(store, split, verdict.problems)
    if rerender and not verdict.problems:
        _rerender(store, rerender, verdict)
    return verdict


def _check_sample(
    store: Store, split: str, row: int, index: int, listed: dict[str, str] | None, problems: list[str]
) -> None:
    where = f"sample {index} ({split}, row {row})"
    if listed is None or int(listed["index"]) != index:
        problems.append(f"{where}: is not the one that samples.csv lists there.")
        return
    try:
        arrays = store.sample(split, row)
    except (OSError, ValueError, RuntimeError) as error:
        problems.append(f"{where}: cannot be read ({type(error).__name__}: {error}).")
        return
    digests = {name: array_digest(array) for name, array in arrays.items()}
    changed = [name for name, digest in digests.items() if listed.get(f"sha256_{name}") != digest]
    if changed:
        problems.append(f"{where}: {', '.join(changed)} differ from their digests in samples.csv.")
    elif sample_digest(digests) != listed["digest"]:
        problems.append(f"{where}: its digest in samples.csv is not that of its arrays.")
    else:
        problems.extend(f"{where}: {problem}" for problem in _check_physics(store, arrays))


def _check_physics(store: Store, arrays: Arrays) -> list[str]:
    problems = []
    depth, coc = arrays.get("depth"), arrays.get("coc")
    if depth is not None and not (depth[~np.isnan(depth)] > 0).all():
        problems.append("depth has values that are zero or negative.")
    if depth is not None and coc is not None:
        lens = store.recipe.lens
        expected, stored = lens.coc(depth), coc.astype(np.float32)
        if (np.isnan(expected) != np.isnan(stored)).any():
            problems.append("coc and depth are not unknown at the same pixels.")
        # Half a step of the stored depth moves the CoC by 2^-11 of its distance from infinity; float16 rounds as much.
        slack = 2.0**-10 * (np.abs(stored) + np.abs(lens.coc_per_dioptre / depth)) + 1e-4
        if (np.abs(expected - stored) > slack).any():
            problems.append("coc is not the circle of confusion of depth through the recipe's lens.")
    return problems


def _check_psf(store: Store, split: str, problems: list[str]) -> None:
    try:
        kernels = np.asarray(store.splits[split]["psf/main/kernel"][...], np.float64)  # type: ignore[index]
    except (KeyError, OSError, ValueError, RuntimeError) as error:
        problems.append(f"the PSF bank of split {split} cannot be read ({type(error).__name__}: {error}).")
        return
    sums = kernels.sum(axis=(-2, -1))
    if (kernels < 0).any() or not np.allclose(sums, 1, atol=1e-5):
        problems.append(f"the PSF bank of split {split} has kernels that are negative or do not sum to 1.")


def _rerender(store: Store, count: int, verdict: Verdict) -> None:
    maker = SampleMaker(store.recipe)
    rows = list(store.rows())
    chosen = generator(store.recipe.seed, Purpose.VERIFY).permutation(len(rows))[:count]
    for split, row, index in (rows[i] for i in sorted(chosen)):
        try:
            again = maker.make(index)
        except InputError as error:
            verdict.problems.append(f"sample {index} cannot be made again: {error}")
            continue
        comparison = compare(store.sample(split, row), again)
        verdict.rerendered.append((index, comparison))
        if comparison.startswith("mismatch"):
            verdict.problems.append(f"sample {index} ({split}, row {row}) made again: {comparison}.")


def compare(stored: Arrays, again: Arrays) -> str:
    """Say how two versions of a sample differ: "bit-exact", "within one step of ..." or "mismatch in ...".

    A step is one code of an integer array, or one unit in the last place of a float one.
    """
    off: list[str] = []
    wrong: list[str] = []
    for name, a in stored.items():
        b = again[name]
        if a.shape != b.shape or a.dtype != b.dtype:
            wrong.append(name)
            continue
        if np.array_equal(a, b, equal_nan=a.dtype.kind == "f"):
            continue
        step = np.spacing(np.abs(a)) if a.dtype.kind == "f" else 1
        close = np.abs(a.astype(np.float64) - b.astype(np.float64)) <= step
        if a.dtype.kind == "f":
            close |= np.isnan(a) & np.isnan(b)
        (off if close.all() else wrong).append(name)
    if wrong:
        return f"mismatch in {', '.join(wrong)}"
    return f"within one step in {', '.join(off)}" if off else "bit-exact"
