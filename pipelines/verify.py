"""Proof that a store is what it says: digests, physics, and samples made again from its own recipe."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import InputError
from ..synth.banks import checked_bank, make_bank, stored_bank
from ..synth.camera import ThinLens
from ..synth.commit import dataset_digest, read_samples
from ..synth.psf_files import bank_arrays
from ..synth.recipe_scenes import ProceduralScenes
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
    verdict = Verdict(samples=len(store))
    try:
        rows = read_samples(path)
    except InputError as error:
        verdict.problems.append(str(error))
        return verdict
    verdict.digest = dataset_digest(rows)
    table = {(row["split"], int(row["row"])): row for row in rows}
    verdict.problems += _check_folder(store)
    maker = _maker(store)
    if len(table) != len(store) or len(table) != len(rows):
        verdict.problems.append(f"samples.csv lists {len(table)} samples where the arrays hold {len(store)}.")
    try:
        for split, row, index in store.rows():
            _check_sample(store, split, row, index, table.get((split, row)), verdict.problems)
            if maker is not None and (listed := table.get((split, row))) and listed["source"] != maker.source(index):
                verdict.problems.append(f"sample {index}: samples.csv names another source than its own.")
            report(1)
    except InputError as error:
        verdict.problems.append(str(error))
    for split in store.splits:
        _check_psf(store, split, verdict.problems)
    if rerender and not verdict.problems:
        _rerender(store, rerender, verdict)
    return verdict


def _maker(store: Store) -> SampleMaker | None:
    """Return the maker of a store whose scenes need no files."""
    return SampleMaker(store.recipe) if isinstance(store.recipe.scenes, ProceduralScenes) else None


def _check_folder(store: Store) -> list[str]:
    """Compare what lies in the dataset's folder with what belongs there."""
    problems = []
    try:
        text = (store.path / "recipe.toml").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        text = ""
    if text != store.recipe.to_toml():
        problems.append("recipe.toml is not the recipe that the arrays were made from.")
    found = {item.name for item in store.path.iterdir()}
    expected = {"recipe.toml", "samples.csv", *(f"{split}.zarr" for split in store.splits)}
    problems += [f"{name} does not belong to the dataset." for name in sorted(found - expected)]
    members = {"zarr.json", "psf", "index", *store.recipe.arrays}
    for split in store.splits:
        there = {item.name for item in (store.path / f"{split}.zarr").iterdir()}
        problems += [f"{split}.zarr/{name} does not belong to the dataset." for name in sorted(there - members)]
        problems += [f"{split}.zarr/{name} is missing." for name in sorted(members - there)]
    return problems


def _check_sample(
    store: Store, split: str, row: int, index: int, listed: dict[str, str] | None, problems: list[str]
) -> None:
    where = f"sample {index} ({split}, row {row})"
    if listed is None or int(listed["index"]) != index:
        problems.append(f"{where}: is not the one that samples.csv lists there.")
        return
    try:
        arrays = store.sample(split, row)
    except InputError as error:
        problems.append(f"{where}: cannot be read: {error}")
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
    if depth is not None and "valid" in arrays and (arrays["valid"] == np.isnan(depth)).any():
        problems.append("valid does not say where depth is known.")
    if depth is not None and coc is not None:
        try:
            lenses = _lenses(store, arrays)
        except InputError as error:
            return [*problems, f"what was drawn for it makes no camera: {error}"]
        maps = coc.reshape(-1, *depth.shape)
        wrong = [_compare_coc(lens, depth, one) for lens, one in zip(lenses, maps, strict=True)]
        problems += dict.fromkeys(problem for problem in wrong if problem)
    return problems


def _lenses(store: Store, arrays: Arrays) -> list[ThinLens]:
    """Return the lens of each CoC map of a sample."""
    recipe = store.recipe.as_drawn(arrays["drawn"].tolist()) if store.recipe.draws else store.recipe
    if recipe.stack is None:
        return [recipe.lens]
    slices = zip(arrays["focus"].tolist(), arrays["f_number"].tolist(), strict=True)
    return [replace(recipe.lens, focus_distance=focus, f_number=f_number) for focus, f_number in slices]


def _compare_coc(lens: ThinLens, depth: npt.NDArray[np.float32], coc: npt.NDArray[Any]) -> str | None:
    expected, stored = lens.coc(depth), coc.astype(np.float32)
    if (np.isnan(expected) != np.isnan(stored)).any():
        return "coc and depth are not unknown at the same pixels."
    # Half a step of the stored depth moves the CoC by 2^-11 of its distance from infinity; float16 rounds as much.
    slack = 2.0**-10 * (np.abs(stored) + np.abs(lens.coc_per_dioptre / depth)) + 1e-4
    if (np.abs(expected - stored) > slack).any():
        return "coc is not the circle of confusion of depth through the recipe's lens."
    return None


def _check_psf(store: Store, split: str, problems: list[str]) -> None:
    """Compare a split's PSF bank with its digest, and with the one that the recipe makes where that needs no files."""
    try:
        stored = checked_bank(store.path / f"{split}.zarr")
    except InputError as error:
        problems.append(f"psf/main of split {split}: {error}")
        return
    psf = store.recipe.psf.model_dump_json()
    if '"path":"' in psf or '"picture":"' in psf:
        return
    made = make_bank(store.recipe).sampled(*store.recipe.scenes.depth)
    kernels, found = (bank_arrays(bank)["kernel"][0] for bank in (made, stored))
    if kernels.shape != found.shape or not np.allclose(kernels, found, rtol=0, atol=1e-6):
        problems.append(f"psf/main of split {split} is not the PSF bank of the recipe.")


def _rerender(store: Store, count: int, verdict: Verdict) -> None:
    maker = SampleMaker(store.recipe, stored_bank(store.path, store.recipe))
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
