"""Releases: a dataset with all that others need to trust it, cite it, load it and make it again.

A release is the dataset's own folder, or a copy of it, with documents and lists of digests beside the arrays. The
arrays are never changed. The same dataset and options give the same bytes: nothing in a release tells when or where it
was made.
"""

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .. import InputError
from ..synth.files import write_atomically
from ..synth.places import ObjectPath, Place, file_sizes
from ..synth.recipe import Recipe
from ..synth.store import ATTRIBUTES, Store, open_store
from .archive import zip_release
from .aside import check_new, write_aside
from .card import card, citation, licence_text
from .croissant import croissant
from .preview import draw_store
from .release_environment import environment_text
from .release_facts import Author, Release, named_paths, parse_date, parse_version, plain, portable, public_url
from .release_manifest import (
    CARD,
    CITATION,
    CROISSANT,
    DATA,
    ENVIRONMENT,
    LICENCE,
    MANIFEST,
    PICTURES,
    RELEASED,
    check_data,
    file_digest,
    files_of,
    is_data,
    listing,
    release_id,
)
from .release_statistics import Statistics, Summary
from .release_terms import terms_of
from .verify import check_store


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the maker of a release says about it.

    Attributes
    ----------
    title
        Its title; the recipe's name if None.
    authors
        Who made it, see `Author.parse`.
    licence
        SPDX identifier; the scene source's if None.
    version
        MAJOR.MINOR.PATCH.
    date
        Day of its publication, YYYY-MM-DD, or None.
    url
        Where it will be found, or None.
    keep_paths
        Whether the recipe may name folders of this machine.
    """

    title: str | None = None
    authors: Sequence[str] = ()
    licence: str | None = None
    version: str = "1.0.0"
    date: str | None = None
    url: str | None = None
    keep_paths: bool = False


@dataclass
class Outcome:
    """What was released.

    Attributes
    ----------
    folder
        Where the release lies.
    identity
        Its id; nothing if there is none because of problems.
    problems
        What is wrong with the dataset, one sentence each; nothing was released if there is any.
    zips
        The archives and the list of their digests.
    notes
        What its maker should know, one sentence each.
    """

    folder: Path
    identity: str = ""
    problems: list[str] = field(default_factory=list)
    zips: list[Path] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def release(
    path: Place, out: Path | None = None, options: Options | None = None, *, zips: bool = False,
    report: Callable[[int], None] = lambda done: None,
) -> Outcome:  # fmt: skip
    """Make a release of a finished dataset.

    Every sample is read and checked first, so that no damage is released.

    Parameters
    ----------
    path
        The dataset, or an earlier release of it, whose documents are written anew. In an object store it cannot be
        released in place.
    out
        A new folder for a copy, in which the recipe names no folder of this machine; None releases in place.
    options
        What to say about it.
    zips
        Also write it as stored zips, into the folder beside it whose name ends with "-zips".
    report
        Called with 1 after each sample.

    Raises
    ------
    InputError
        If it is no finished dataset, an option cannot be used, or the recipe of a release in place names folders.
    """
    options = options or Options()
    if out is None and isinstance(path, ObjectPath):
        raise InputError(f"{path} is in an object store: release a copy in a local folder with --out, and upload that.")
    store = open_store(path)
    describe = _checked(store, options)
    if out is None and not options.keep_paths and (named := named_paths(store.recipe)):
        key, value = next(iter(named.items()))
        raise InputError(
            f"the recipe of {path} names a place of this machine ({key} = {value}): release a copy with --out, whose "
            "recipe keeps the last part of it, or let it be published with --keep-paths."
        )
    if out is not None:
        _refuse(path, out)
    counted = Statistics()
    verdict = check_store(store, report=report, observe=counted.add)
    _, others = files_of(path)
    verdict.problems += [f"{name} is a link, or no file: replace it by the file itself." for name in others]
    if not verdict.problems and (path / DATA).exists():
        verdict.problems += map(str, check_data(path, _data_digests(path)))
    if verdict.problems:
        return Outcome(out or Path(str(path)), problems=verdict.problems)
    if out is None:
        assert isinstance(path, Path)
        identity = _write(path, describe, verdict.digest, counted.summaries())
    else:
        identity = _copied(store, out, options, describe, verdict.digest, counted.summaries())
    folder = out or Path(str(path))
    outcome = Outcome(folder, identity, notes=_notes(store.recipe, options))
    if zips:
        whole = folder.resolve()
        outcome.zips = zip_release(folder, whole.with_name(f"{whole.name}-zips"), store.recipe.name)
    return outcome


Describe = Callable[[Store, str, str, list[Summary], dict[str, str], list[str]], Release]


def _checked(store: Store, options: Options) -> Describe:
    """Check the options; return what describes a release by them."""
    terms = terms_of(store.recipe, options.licence)
    title = plain(options.title, "--title") if options.title is not None else store.recipe.name
    authors = [Author.parse(text) for text in options.authors]
    if len({author.name for author in authors}) < len(authors):
        raise InputError("--author names the same author twice: name each once.")
    version = parse_version(options.version)
    date = parse_date(options.date) if options.date is not None else ""
    url = public_url(options.url) if options.url is not None else ""

    def describe(
        released: Store, identity: str, content: str, summaries: list[Summary], digests: dict[str, str],
        pictures: list[str],
    ) -> Release:  # fmt: skip
        return Release(
            store=released, recipe=portable(released.recipe), title=title, version=version, date=date, url=url,
            authors=authors, terms=terms, identity=identity, content=content, summaries=summaries,
            sizes={name: (released.path / name).stat().st_size for name in digests}, digests=digests,
            pictures=pictures,
        )  # fmt: skip

    return describe


def _notes(recipe: Recipe, options: Options) -> list[str]:
    terms, notes = terms_of(recipe, options.licence), []
    if terms.mark:
        notes.append(f"It is marked: {terms.mark}")
    if terms.licence is None and all(source.own for source in terms.sources):
        notes.append("It states no licence, so nobody else may use it: give one with --licence, for example CC-BY-4.0.")
    if not options.authors:
        notes.append("It names no author: give them with --author.")
    return notes


def _refuse(path: Place, out: Path) -> None:
    source = path.resolve() if isinstance(path, Path) else None
    if source is not None and source in (whole := out.resolve(), *whole.parents):
        raise InputError(f"{out} lies in the dataset {path}: choose another folder, or leave --out away.")
    check_new(out)


def _data_digests(folder: Place) -> dict[str, str]:
    return {name: file_digest(folder / name) for name in files_of(folder)[0] if is_data(name)}


def _copied(
    store: Store, out: Path, options: Options, describe: Describe, content: str, summaries: list[Summary]
) -> str:
    """Write a release into a copy of the dataset, which is made aside and renamed when it is whole."""
    names = [name for name in files_of(store.path)[0] if is_data(name)]
    size = sum(file_sizes({name: store.path / name for name in names}).values())

    def fill(aside: Path) -> str:
        free = shutil.disk_usage(aside).free
        if size + 64e6 > free:
            raise InputError(
                f"{out} has {free / 1e9:.2f} GB free where {size / 1e9:.2f} GB are needed: free some space."
            )
        for name in names:
            (aside / name).parent.mkdir(parents=True, exist_ok=True)
            if isinstance(store.path, ObjectPath):
                (aside / name).write_bytes((store.path / name).read_bytes())
            else:
                shutil.copyfile(store.path / name, aside / name)
        if not options.keep_paths and named_paths(store.recipe):
            _rewrite(aside, portable(store.recipe), list(store.splits))
        return _write(aside, describe, content, summaries)

    mode = (store.path.stat().st_mode & 0o777) | 0o700 if isinstance(store.path, Path) else 0o755
    return write_aside(out, fill, "a release", mode)


def _rewrite(folder: Path, recipe: Recipe, splits: list[str]) -> None:
    """Put another recipe into a copy of a dataset: into its file and the attributes of its groups."""
    write_atomically(folder / "recipe.toml", recipe.to_toml())
    for split in splits:
        path = folder / f"{split}.zarr" / "zarr.json"
        metadata = json.loads(path.read_text(encoding="utf-8"))
        metadata["attributes"][ATTRIBUTES] |= {"recipe": recipe.to_dict(), "recipe_hash": recipe.hash()}
        write_atomically(path, json.dumps(metadata, indent=2))


def _write(folder: Path, describe: Describe, content: str, summaries: list[Summary]) -> str:
    """Write the documents of a release and its lists of digests, the manifest last: without it there is no release."""
    (folder / MANIFEST).unlink(missing_ok=True)
    for name in set(RELEASED) - {PICTURES}:
        (folder / name).unlink(missing_ok=True)
    shutil.rmtree(folder / PICTURES, ignore_errors=True)
    digests = _data_digests(folder)
    listed = listing(digests)
    identity = release_id(listed)
    (folder / PICTURES).mkdir()
    pictures = draw_store(folder)
    for name, picture in pictures.items():
        write_atomically(folder / PICTURES / name, picture)
    made = describe(open_store(folder), identity, content, summaries, digests, list(pictures))
    documents = {
        DATA: listed,
        ENVIRONMENT: environment_text(made.versions),
        LICENCE: licence_text(made),
        CITATION: citation(made),
        CARD: card(made),
        CROISSANT: croissant(made),
    }
    for name, text in documents.items():
        write_atomically(folder / name, text)
    written = {name: file_digest(folder / name) for name in files_of(folder)[0] if not is_data(name)}
    write_atomically(folder / MANIFEST, listing({**digests, **written}))
    return identity
