"""Proof that a store is what it says: files, digests, physics, and samples made again from its own recipe."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import InputError
from ..synth.banks import checked_bank, make_bank, stored_bank, stored_mask
from ..synth.camera import ThinLens
from ..synth.commit import dataset_digest, read_samples
from ..synth.places import Place
from ..synth.psf_files import bank_arrays
from ..synth.recipe_scenes import ProceduralScenes
from ..synth.samples import SampleMaker
from ..synth.seeding import Purpose, generator
from ..synth.sources import Source, open_source
from ..synth.store import Store, array_digest, open_store, sample_digest, versions
from .release_manifest import HOSTS, MANIFEST, RELEASED, Damage, check_files, is_release, stored_id

Arrays = dict[str, npt.NDArray[Any]]
EXACT, CLOSE, WRONG = "bit-exact", "within one LSB", "mismatch"


@dataclass
class Verdict:
    """What was found.

    Attributes
    ----------
    samples
        How many samples were read.
    digest
        Digest of the dataset's content, by its sample table.
    release
        Id of the release, or nothing if it is none.
    problems
        One sentence each; none if all is well.
    damage
        Of a release: its damaged files, with the samples that they concern. Each is among the problems too.
    rerendered
        For each sample made again, its number and how each of its arrays compares, see `compare`.
    others
        If samples were made again: what here has another version than what the dataset was made with, in words.
    """

    samples: int = 0
    digest: str = ""
    release: str = ""
    problems: list[str] = field(default_factory=list)
    damage: list[Damage] = field(default_factory=list)
    rerendered: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    others: list[str] = field(default_factory=list)

    @property
    def made_otherwise(self) -> bool:
        """Whether all is as it was written, and only what is made again differs."""
        return bool(self.problems) and all(" made again: " in problem for problem in self.problems)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON data."""
        return {"intact": not self.problems, **asdict(self)}


def count_samples(path: Place) -> int:
    """Return how many samples `verify` will read; 0 of a release too damaged to tell.

    Raises
    ------
    InputError
        If it cannot be opened as a dataset at all, nor says that it is a release.
    """
    try:
        return len(open_store(path))
    except InputError:
        if is_release(path):
            return 0
        raise


def verify(path: Place, *, rerender: int = 0, report: Callable[[int], None] = lambda done: None) -> Verdict:
    """Read every sample of a store and compare it with its digests and with the physics of its camera.

    Of a release every file is compared with the manifest first.

    Parameters
    ----------
    path
        A finished dataset, or a release.
    rerender
        How many samples, drawn at random by the recipe's seed, to make again and compare.
    report
        Called with 1 after each sample that was read or made again.

    Raises
    ------
    InputError
        If it cannot be opened as a dataset at all.
    """
    damage = check_files(path) if is_release(path) else []
    try:
        store = open_store(path)
    except InputError:
        if not damage:
            raise
        return Verdict(problems=[str(one) for one in damage], damage=damage)
    verdict = check_store(store, report=report)
    verdict.damage, verdict.problems = damage, [*map(str, damage), *verdict.problems]
    verdict.release = stored_id(path) if is_release(path) else ""
    if not is_release(path) and (begun := sorted(set(RELEASED) & {item.name for item in path.iterdir()})):
        verdict.problems.append(f"{begun[0]} is of a release without its {MANIFEST}: run `defocal release` again.")
    if rerender and not verdict.problems:
        make_again(store, rerender, verdict, report)
    return verdict


def check_store(
    store: Store, *, report: Callable[[int], None] = lambda done: None,
    observe: Callable[[str, Arrays], None] = lambda split, arrays: None,
) -> Verdict:  # fmt: skip
    """Compare every sample of a store with its digests and with the physics of its camera.

    Parameters
    ----------
    report
        Called with 1 after each sample.
    observe
        Called with the split and the arrays of each sample that is as it should be.
    """
    verdict = Verdict(samples=len(store))
    try:
        rows = read_samples(store.path)
    except InputError as error:
        verdict.problems.append(str(error))
        return verdict
    verdict.digest = dataset_digest(rows)
    table = {(row["split"], int(row["row"])): row for row in rows}
    verdict.problems += _check_folder(store)
    scenes = _scenes(store)
    if len(table) != len(store) or len(table) != len(rows):
        verdict.problems.append(f"samples.csv lists {len(table)} samples where the arrays hold {len(store)}.")
    try:
        for split, row, index in store.rows():
            arrays = _check_sample(store, split, row, index, table.get((split, row)), verdict.problems)
            if arrays is not None:
                observe(split, arrays)
            if scenes is not None and (listed := table.get((split, row))) and listed["source"] != scenes.name(index):
                verdict.problems.append(f"sample {index}: samples.csv names another source than its own.")
            report(1)
    except InputError as error:
        verdict.problems.append(str(error))
    for split in store.splits:
        _check_psf(store, split, verdict.problems)
    return verdict


def _scenes(store: Store) -> Source | None:
    """Return the scenes of a store that need no files."""
    return open_source(store.recipe) if isinstance(store.recipe.scenes, ProceduralScenes) else None


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
    expected = {"recipe.toml", "samples.csv", *(f"{split}.zarr" for split in store.splits), *RELEASED}
    if is_release(store.path):
        expected.update(HOSTS)
    problems += [f"{name} does not belong to the dataset." for name in sorted(found - expected)]
    members = {"zarr.json", "psf", "index", *store.recipe.arrays}
    for split in store.splits:
        there = {item.name for item in (store.path / f"{split}.zarr").iterdir()}
        problems += [f"{split}.zarr/{name} does not belong to the dataset." for name in sorted(there - members)]
        problems += [f"{split}.zarr/{name} is missing." for name in sorted(members - there)]
    return problems


def _check_sample(
    store: Store, split: str, row: int, index: int, listed: dict[str, str] | None, problems: list[str]
) -> Arrays | None:
    """Check one sample; return its arrays if nothing is wrong with them."""
    where = f"sample {index} ({split}, row {row})"
    if listed is None or int(listed["index"]) != index:
        problems.append(f"{where}: is not the one that samples.csv lists there.")
        return None
    try:
        arrays = store.sample(split, row)
    except InputError as error:
        problems.append(f"{where}: cannot be read: {error}")
        return None
    digests = {name: array_digest(array) for name, array in arrays.items()}
    changed = [name for name, digest in digests.items() if listed.get(f"sha256_{name}") != digest]
    if changed:
        found = [f"{', '.join(changed)} differ from their digests in samples.csv."]
    elif sample_digest(digests) != listed["digest"]:
        found = ["its digest in samples.csv is not that of its arrays."]
    else:
        found = _check_physics(store, arrays)
    problems.extend(f"{where}: {problem}" for problem in found)
    return None if found else arrays


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
    try:
        mask = stored_mask(store.recipe, stored)
    except InputError as error:
        problems.append(f"psf/main of split {split}: {error}")
        return
    made = make_bank(store.recipe, mask=mask).sampled(*store.recipe.scenes.depth)
    kernels, found = (bank_arrays(bank)["kernel"][0] for bank in (made, stored))
    if kernels.shape != found.shape or not np.allclose(kernels, found, rtol=0, atol=1e-6):
        problems.append(f"psf/main of split {split} is not the PSF bank of the recipe.")


def make_again(
    store: Store, count: int, verdict: Verdict, report: Callable[[int], None] = lambda done: None
) -> None:  # fmt: skip
    """Make some samples of an intact dataset again, and compare.

    Parameters
    ----------
    store
        A finished dataset, or a release.
    count
        How many samples, drawn at random by the recipe's seed.
    verdict
        What was found of it; what is found now is added.
    report
        Called with 1 after each sample.

    Raises
    ------
    InputError
        If its scenes cannot be found.
    """
    try:
        maker = SampleMaker(store.recipe, stored_bank(store.path, store.recipe))
    except InputError as error:
        if not is_release(store.path):
            raise
        raise InputError(
            f"{error} A release names the files of its recipe without their folders: verify it where they lie."
        ) from None
    verdict.others = _other_versions(store)
    rows = list(store.rows())
    chosen = generator(store.recipe.seed, Purpose.VERIFY).permutation(len(rows))[:count]
    for split, row, index in (rows[i] for i in sorted(chosen)):
        try:
            again = maker.make(index)
        except InputError as error:
            verdict.problems.append(f"sample {index} cannot be made again: {error}")
            continue
        finally:
            report(1)
        comparison = compare(store.sample(split, row), again)
        verdict.rerendered.append((index, comparison))
        wrong = [f"{name} {words}" for name, words in comparison.items() if words.startswith(WRONG)]
        if wrong:
            verdict.problems.append(f"sample {index} ({split}, row {row}) made again: {', '.join(wrong)}.")


def _other_versions(store: Store) -> list[str]:
    """Say which versions here differ from those that a dataset was made with."""
    here, stated = versions(), next(iter(store.facts.values()))["versions"]
    return [
        f"{name} {stated.get(name)}, here {version}" for name, version in here.items() if stated.get(name) != version
    ]


def compare(stored: Arrays, again: Arrays) -> dict[str, str]:
    """Say how each array of a sample differs from another version of it.

    Returns
    -------
    By the names of the arrays "bit-exact", or "within one LSB" or "mismatch" with the count of the values that differ:
    an LSB is one code of an integer array, or one unit in the last place of a float one.
    """
    return {name: _compare(a, again.get(name)) for name, a in stored.items()}


def _compare(a: npt.NDArray[Any], b: npt.NDArray[Any] | None) -> str:
    if b is None or a.shape != b.shape or a.dtype != b.dtype:
        return f"{WRONG} (another shape or type)"
    same = a == b
    if a.dtype.kind == "f":
        same |= np.isnan(a) & np.isnan(b)
    if same.all():
        return EXACT
    x, y = a[~same], b[~same]
    count = f"{x.size} of {a.size} values"
    if a.dtype.kind == "b":
        return f"{WRONG} ({count})"
    with np.errstate(invalid="ignore"):
        off = np.abs(x.astype(np.float64) - y.astype(np.float64))
        step = np.spacing(np.abs(x)).astype(np.float64) if a.dtype.kind == "f" else np.ones(x.shape)
    if (off <= step).all():
        return f"{CLOSE} ({count})"
    most = "unknown in one of the two" if np.isnan(off).any() else f"up to {off.max():.4g}"
    return f"{WRONG} ({count}, {most})"


def comparison_words(comparison: dict[str, str]) -> str:
    """Say in a line how the arrays of a sample compare: "bit-exact", or array by array."""
    if set(comparison.values()) == {EXACT}:
        return EXACT
    exact = [name for name, words in comparison.items() if words == EXACT]
    others = [f"{name} {words}" for name, words in comparison.items() if words != EXACT]
    return "; ".join(others + ([f"{', '.join(exact)} {EXACT}"] if exact else []))


def worst(rerendered: list[tuple[int, dict[str, str]]]) -> dict[str, str]:
    """Return for each array how the worst of the samples made again compares: one of the three verdicts."""
    found: dict[str, str] = {}
    for name in rerendered[0][1] if rerendered else ():
        ranks = [
            next(k for k, verdict in enumerate((EXACT, CLOSE, WRONG)) if comparison[name].startswith(verdict))
            for _, comparison in rerendered
        ]
        found[name] = (EXACT, CLOSE, WRONG)[max(ranks)]
    return found
