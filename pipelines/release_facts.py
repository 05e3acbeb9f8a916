"""What the documents of a release say, gathered once: the card, the citation, the licence and Croissant draw on it."""

import datetime
import json
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from .. import InputError
from ..synth.recipe import Recipe
from ..synth.recipe_scenes import ProceduralScenes
from ..synth.store import Store
from .release_statistics import Summary
from .release_terms import Terms
from .shipped import PATHS

_ORCID = re.compile(r"https://orcid\.org/[0-9]{4}-[0-9]{4}-[0-9]{4}-[0-9]{3}[0-9X]")
_EMAIL = re.compile(r"[^\s@<>:/]+@[^\s@<>:/]+\.[^\s@<>:/]{2,}")
_URL = re.compile(r"https?://[^\s<>\"'`\\{}|^\[\]]+")
_VERSION = re.compile(r"[0-9]+\.[0-9]+\.[0-9]+(-[0-9A-Za-z.-]+)?")


@dataclass(frozen=True, slots=True)
class Author:
    """Who made a dataset: a person with a family name, or a body.

    Attributes
    ----------
    name
        As it is read.
    family, given
        Names of a person; empty for a body.
    email, orcid, website
        As far as they were given.
    """

    name: str
    family: str = ""
    given: str = ""
    email: str = ""
    orcid: str = ""
    website: str = ""

    @classmethod
    def parse(cls, text: str) -> "Author":
        """Read "Given Family <ada@example.org>".

        The brackets may hold an e-mail address, an ORCID or a web address, or be left out. "Family, Given" says which
        name is which; one word, or a name with a web address, is a body.

        Raises
        ------
        InputError
            If it is no such text.
        """
        match = re.fullmatch(r"\s*([^<>]+?)\s*(?:<\s*([^<>]*?)\s*>)?\s*", plain(text, "--author"))
        if not match:
            raise InputError(
                f"--author takes a name and an address, as in 'Ada Lovelace <ada@example.org>', not {text!r}."
            )
        name, address = match[1], match[2] or ""
        facts = {}
        for key, pattern in (("orcid", _ORCID), ("email", _EMAIL), ("website", _URL)):
            if pattern.fullmatch(address):
                facts[key] = address
                break
        else:
            if address:
                raise InputError(f"--author: {address[:60]!r} is no e-mail address, no ORCID and no web address.")
        if "website" in facts:
            public_url(address)
            return cls(name, **facts)
        family, comma, given = (part.strip() for part in name.partition(","))
        if comma and family and given:
            return cls(f"{given} {family}", family, given, **facts)
        given, _, family = name.rpartition(" ")
        return cls(name, family, given, **facts) if given else cls(name, **facts)


def plain(text: str, option: str, most: int = 300) -> str:
    """Return a text on one line, fit for every document.

    Raises
    ------
    InputError
        If it is empty, too long, or holds control characters.
    """
    text = " ".join(text.split())
    bad = [char for char in text if unicodedata.category(char) in ("Cc", "Cs", "Co")]
    if not text or bad or len(text) > most:
        raise InputError(f"{option} takes a line of 1 to {most} printable characters.")
    return text


def public_url(text: str) -> str:
    """Return a web address that may be published.

    Raises
    ------
    InputError
        If it is none, or holds a user name or a password.
    """
    if not _URL.fullmatch(text) or len(text) > 500:
        raise InputError(f"{text[:60]!r} is no web address: it must begin with https:// or http://.")
    if "@" in text.split("/")[2]:
        raise InputError("a web address with a user name or a password in it cannot be published: take them out.")
    return text


def parse_date(text: str) -> str:
    """Return a date as YYYY-MM-DD.

    Raises
    ------
    InputError
        If it is none.
    """
    try:
        return datetime.date.fromisoformat(text).isoformat()
    except ValueError:
        raise InputError(f"--date takes a day as 2026-11-30, not {text[:40]!r}.") from None


def parse_version(text: str) -> str:
    """Return a version as MAJOR.MINOR.PATCH.

    Raises
    ------
    InputError
        If it is none.
    """
    if not _VERSION.fullmatch(text):
        raise InputError(f"--version takes MAJOR.MINOR.PATCH, for example 1.0.0, not {text[:40]!r}.")
    return text


def named_paths(recipe: Recipe) -> dict[str, str]:
    """Return the values of a recipe's keys that lead to places of one machine, by dotted key."""
    found: dict[str, str] = {}

    def visit(section: Any, prefix: str) -> None:
        for key, value in section.items() if isinstance(section, dict) else ():
            if key in PATHS and isinstance(value, str) and _leads_away(value):
                found[prefix + key] = value
            visit(value, f"{prefix}{key}.")

    visit(recipe.to_dict(), "")
    return found


def _leads_away(path: str) -> bool:
    ways = (PurePosixPath(path), PureWindowsPath(path))
    return any(way.is_absolute() or way.drive or ".." in way.parts for way in ways) or path.startswith("~")


def portable(recipe: Recipe) -> Recipe:
    """Return a recipe that names its files by the last part of their paths, and no folder of any machine."""
    data = json.loads(json.dumps(recipe.to_dict()))
    for dotted, value in named_paths(recipe).items():
        *sections, key = dotted.split(".")
        section = data
        for name in sections:
            section = section[name]
        section[key] = re.split(r"[/\\]", value.rstrip("/\\"))[-1] or "data"
    return Recipe.parse(data, origin="the recipe")


@dataclass(frozen=True)
class Release:
    """All that is said about a release.

    Attributes
    ----------
    store
        The dataset, where it is released.
    recipe
        Its recipe, without folders of any machine.
    title, version, date, url
        As given; the last two may be empty.
    authors, terms
        Who made it, and what others may do with it.
    identity
        Its id, see `release_manifest.release_id`.
    content
        Digest of its content, see `commit.dataset_digest`.
    summaries
        What depth and circle of confusion are like.
    sizes
        Bytes of its data files, by path.
    digests
        Their sha256.
    pictures
        Names of its pictures.
    """

    store: Store
    recipe: Recipe
    title: str
    version: str
    date: str
    url: str
    authors: Sequence[Author]
    terms: Terms
    identity: str
    content: str
    summaries: Sequence[Summary]
    sizes: dict[str, int]
    digests: dict[str, str]
    pictures: Sequence[str]

    @property
    def made(self) -> bool:
        """Whether scenes are made from a seed."""
        return isinstance(self.recipe.scenes, ProceduralScenes)

    @property
    def files(self) -> list[str]:
        """Names of the files and folders that whoever makes the dataset again must have."""
        data = self.recipe.to_dict()
        psf = data["psf"]
        sections = (data["scenes"], psf, psf.get("mask", {}))
        return [Path(s[key]).name for s in sections for key in PATHS if isinstance(s.get(key), str)]

    @property
    def total(self) -> int:
        """Bytes of its data."""
        return sum(self.sizes.values())

    def count(self, split: str) -> int:
        """Return the number of samples in a split."""
        return int(self.store.array(split, "index").shape[0])

    def array_bytes(self, split: str, name: str) -> int:
        """Return the bytes of an array on disk."""
        return sum(size for path, size in self.sizes.items() if path.startswith(f"{split}.zarr/{name}/"))

    @property
    def versions(self) -> dict[str, str]:
        """Versions of what made the dataset."""
        return dict(next(iter(self.store.facts.values()))["versions"])

    @property
    def description(self) -> str:
        """A sentence or two about it."""
        what = "focal stacks" if self.recipe.stack else "captures"
        scenes = "procedural scenes"
        if not self.made:
            source = self.terms.sources[0]
            scenes = "scenes from colour and depth files" if source.own else f"scenes of {source.title}"
        arrays = [name for name in ("aif", "depth", "coc") if name in self.recipe.arrays]
        spoken = {"aif": "all-in-focus images", "depth": "depth", "coc": "signed circles of confusion"}
        beside = f" with {_join([spoken[name] for name in arrays])}" if arrays else ""
        own = f" {self.recipe.description.strip()}" if self.recipe.description.strip() else ""
        return f"{len(self.store)} samples of synthetic defocus: {what} of {scenes}{beside}.{own}"


def _join(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
