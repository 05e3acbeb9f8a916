"""Under which terms a release may be used: those of whoever makes it, bound by those of its scenes."""

from dataclasses import dataclass

from .. import InputError
from ..synth.readers import READERS
from ..synth.recipe import Recipe
from ..synth.recipe_scenes import DatasetScenes, FolderScenes, ProceduralScenes


@dataclass(frozen=True, slots=True)
class Licence:
    """A licence that a release may have.

    Attributes
    ----------
    spdx
        Its SPDX identifier.
    title
        Its name.
    url
        Where its text is.
    hub
        Its identifier on the Hugging Face Hub; "other" if it has none.
    commercial, attribution
        Whether it allows commercial use, and whether it asks that the makers be named.
    """

    spdx: str
    title: str
    url: str
    hub: str
    commercial: bool = True
    attribution: bool = True


def _creative_commons() -> dict[str, Licence]:
    words = {"BY": "Attribution", "NC": "NonCommercial", "SA": "ShareAlike", "ND": "NoDerivatives"}
    found = {}
    for version, kinds in {
        "4.0": ("BY", "BY-SA", "BY-ND", "BY-NC", "BY-NC-SA", "BY-NC-ND"),
        "3.0": ("BY", "BY-SA", "BY-NC", "BY-NC-SA"),
    }.items():
        for kind in kinds:
            spdx = f"CC-{kind}-{version}"
            title = f"Creative Commons {'-'.join(words[word] for word in kind.split('-'))} {version}"
            url = f"https://creativecommons.org/licenses/{kind.lower()}/{version}/legalcode"
            found[spdx] = Licence(spdx, title, url, spdx.lower(), commercial="NC" not in kind)
    return found


def _others() -> dict[str, Licence]:
    rows = (
        ("CC0-1.0", "Creative Commons Zero 1.0", "cc0-1.0", False),
        ("PDDL-1.0", "Open Data Commons Public Domain Dedication and License 1.0", "pddl", False),
        ("ODC-By-1.0", "Open Data Commons Attribution License 1.0", "odc-by", True),
        ("ODbL-1.0", "Open Data Commons Open Database License 1.0", "odbl", True),
        ("CDLA-Permissive-1.0", "Community Data License Agreement Permissive 1.0", "cdla-permissive-1.0", True),
        ("CDLA-Permissive-2.0", "Community Data License Agreement Permissive 2.0", "cdla-permissive-2.0", True),
        ("CDLA-Sharing-1.0", "Community Data License Agreement Sharing 1.0", "cdla-sharing-1.0", True),
        ("etalab-2.0", "Etalab Open License 2.0", "etalab-2.0", True),
        ("MIT", "MIT License", "mit", True),
        ("BSD-3-Clause", "BSD 3-Clause License", "bsd-3-clause", True),
        ("Apache-2.0", "Apache License 2.0", "apache-2.0", True),
    )
    return {
        spdx: Licence(spdx, title, f"https://spdx.org/licenses/{spdx}.html", hub, attribution=attribution)
        for spdx, title, hub, attribution in rows
    }


LICENCES = {**_creative_commons(), **_others()}
"""Licences that a release may be given, by SPDX identifier."""
_SPOKEN = {
    "CC BY 4.0": "CC-BY-4.0",
    "CC BY-SA 3.0": "CC-BY-SA-3.0",
    "CC BY-NC-SA 4.0": "CC-BY-NC-SA-4.0",
    "MIT": "MIT",
    "BSD 3-clause": "BSD-3-Clause",
}
"""Licences as readers name them."""
_HEIRS = {
    "CC-BY-SA-3.0": ("CC-BY-SA-3.0", "CC-BY-SA-4.0"),
    "CC-BY-NC-SA-4.0": ("CC-BY-NC-SA-4.0",),
}
"""Licences under which work that builds on one of these may be shared."""


@dataclass(frozen=True, slots=True)
class Source:
    """What a dataset is made of that others, or the maker, brought.

    Attributes
    ----------
    title
        Its name.
    terms
        Its licence, in the words of its reader.
    spdx
        The same as an SPDX identifier, or nothing.
    commercial
        Whether commercial use is known to be allowed.
    own
        Whether they are files of the maker, who must know their terms.
    """

    title: str
    terms: str
    spdx: str = ""
    commercial: bool = True
    own: bool = False

    def contradiction(self, licence: Licence) -> str | None:
        """Say in a clause why a release of it cannot have a licence."""
        if self.own:
            return None
        if not self.commercial and licence.commercial:
            why = "are unknown" if self.terms == "unknown" else f"({self.terms}) do not say so"
            return f"allows commercial use, and the terms of {self.title} {why}"
        heirs = _HEIRS.get(self.spdx)
        if heirs and licence.spdx not in heirs:
            return f"is not what {self.terms} of {self.title} asks of what builds on it: {' or '.join(heirs)}"
        if self.spdx and not licence.attribution and LICENCES[self.spdx].attribution:
            return f"does not ask to name {self.title}, as {self.terms} does"
        return None


@dataclass(frozen=True, slots=True)
class Terms:
    """Terms of a release.

    Attributes
    ----------
    licence
        What its maker gave it, or what it has from its source; None if neither is known.
    sources
        What it is made of.
    """

    licence: Licence | None
    sources: tuple[Source, ...]

    @property
    def commercial(self) -> bool:
        """Whether nothing forbids commercial use, and no source leaves it open."""
        free = self.licence is None or self.licence.commercial
        return free and all(source.commercial for source in self.sources)

    @property
    def words(self) -> str:
        """The licence in a few words."""
        if self.licence:
            return self.licence.spdx
        foreign = [source for source in self.sources if not source.own]
        return f"terms of {foreign[0].title}: {foreign[0].terms}" if foreign else "no licence is stated"

    @property
    def mark(self) -> str:
        """A sentence that a release is marked with if commercial use is not allowed; nothing otherwise."""
        if self.commercial:
            return ""
        open_terms = [s.title for s in self.sources if s.terms == "unknown"]
        if open_terms:
            return (
                f"NOT FOR COMMERCIAL USE as far as is known: the terms of {' and '.join(open_terms)} are unknown. "
                "Ask its owners before you use it or pass it on."
            )
        return "NOT FOR COMMERCIAL USE."

    @property
    def hub(self) -> dict[str, str]:
        """Keys of a Hugging Face card."""
        if self.licence and self.licence.hub != "other":
            return {"license": self.licence.hub}
        foreign = [source for source in self.sources if not source.own]
        if foreign and foreign[0].terms != "unknown":
            return {"license": "other", "license_name": "see-license", "license_link": "LICENSE"}
        return {"license": "unknown"}


def sources(recipe: Recipe) -> tuple[Source, ...]:
    """Return what the scenes of a recipe are made of."""
    scenes = recipe.scenes
    if isinstance(scenes, ProceduralScenes):
        if scenes.textures is None:
            return ()
        return (Source("the photographs on the scenes' surfaces", "those of the files", own=True),)
    if isinstance(scenes, FolderScenes):
        return (Source("the colour and depth files", "those of the files", own=True),)
    assert isinstance(scenes, DatasetScenes)
    reader = READERS[scenes.kind]
    return (Source(reader.TITLE, reader.LICENCE, _SPOKEN.get(reader.LICENCE, ""), reader.COMMERCIAL),)


def terms_of(recipe: Recipe, licence: str | None) -> Terms:
    """Settle the terms of a release.

    Parameters
    ----------
    recipe
        Its recipe.
    licence
        SPDX identifier that its maker gives it; the source's if None.

    Raises
    ------
    InputError
        If the licence is not known, or contradicts the terms of a source.
    """
    made_of = sources(recipe)
    if licence is None:
        inherited = [source.spdx for source in made_of if source.spdx]
        return Terms(LICENCES[inherited[0]] if inherited else None, made_of)
    known = {name.lower(): found for name, found in LICENCES.items()}
    chosen = known.get(licence.lower())
    if chosen is None:
        raise InputError(f"--licence {licence[:40]!r} is none of {', '.join(LICENCES)}.")
    for source in made_of:
        if why := source.contradiction(chosen):
            raise InputError(f"--licence {chosen.spdx} {why}: give another one, or leave it out.")
    return Terms(chosen, made_of)
