"""Croissant 1.1: what a release is, for programs that look for datasets.

The format has no word for Zarr yet. The groups are described as sets of files, which need no checksum of their own;
`data.sha256`, whose sha256 is the release's id, vouches for every byte in them. All record sets can be iterated.
"""

import json
from typing import Any

from ..synth.arrays import REGISTRY, array_dims
from .card import bibtex, limitations
from .release_facts import Release
from .release_manifest import DATA, MANIFEST

CONFORMS = ["http://mlcommons.org/croissant/1.1", "http://mlcommons.org/croissant/RAI/1.0"]
_OWN_TERMS = (
    "citeAs", "column", "equivalentProperty", "extract", "field", "fileProperty", "fileObject", "fileSet", "format",
    "includes", "isArray", "arrayShape", "isLiveDataset", "jsonPath", "key", "md5", "parentField", "path", "recordSet",
    "references", "regex", "repeated", "replace", "samplingRate", "separator", "source", "subField", "transform",
    "containedIn",
)  # fmt: skip
CONTEXT = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "sc": "https://schema.org/",
    "dct": "http://purl.org/dc/terms/",
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "description": {"@container": "@language"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "name": {"@container": "@language"},
    **{term: f"cr:{term}" for term in _OWN_TERMS},
}
_ZARR = "application/vnd.zarr; version=3"


def croissant(release: Release) -> str:
    """Write croissant.json."""
    licence = release.terms.licence
    document: dict[str, Any] = {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "name": release.title,
        "description": _words(release),
        "conformsTo": CONFORMS,
        "identifier": f"sha256:{release.identity}",
        "version": release.version,
        "license": licence.url if licence else release.terms.words,
        "citeAs": bibtex(release),
        "keywords": ["depth from defocus", "defocus", "depth estimation", "Zarr"],
        "isLiveDataset": False,
        "isAccessibleForFree": True,
    }
    if release.authors:
        document["creator"] = [_creator(author) for author in release.authors]
    if release.date:
        document["datePublished"] = release.date
    if release.url:
        document["url"] = release.url
    document |= _responsibility(release)
    document["distribution"] = _distribution(release)
    document["recordSet"] = [_samples(release), _splits(release), _arrays(release)]
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _words(release: Release) -> str:
    mark = f" {release.terms.mark}" if release.terms.mark else ""
    sources = "".join(f" Made from {one.title}; terms: {one.terms}." for one in release.terms.sources)
    return f"{release.description}{sources}{mark}"


def _creator(author: Any) -> dict[str, str]:
    kind = "sc:Person" if author.family else "sc:Organization"
    facts = {"name": author.name, "email": author.email, "url": author.orcid or author.website}
    return {"@type": kind, **{key: value for key, value in facts.items() if value}}


def _responsibility(release: Release) -> dict[str, Any]:
    """Return what the vocabulary for responsible AI asks."""
    if release.made:
        collection = "Synthetic: scenes are made from a seed and seen through a simulated camera. Nothing was recorded."
        kinds = ["Software Collection"]
        personal = "None: no person, place or thing in it is real."
        biases = "Shapes, textures and depths follow the distributions of the recipe, not those of the world."
    else:
        source = release.terms.sources[0].title
        collection = f"Images and depth of {source}, seen through a simulated camera, which makes the defocus."
        kinds = ["Secondary Data Analysis", "Software Collection"]
        personal = f"Whatever the images of {source} show; nothing was added or removed."
        biases = f"Those of {source}: what it shows is what this dataset shows."
    encoding = release.recipe.output.encoding
    return {
        "rai:hasSyntheticData": True,
        "rai:dataCollection": collection,
        "rai:dataCollectionType": kinds,
        "rai:dataPreprocessingProtocol": [
            f"Images are encoded as {encoding} with {release.recipe.output.bits} bits a channel.",
            "Depth is rounded to 10 bits of mantissa, circles of confusion to float16.",
        ],
        "rai:dataLimitations": limitations(release),
        "rai:dataBiases": [biases],
        "rai:personalSensitiveInformation": [personal],
        "rai:dataUseCases": ["Training and evaluation of depth estimation from defocus, deblurring and refocusing."],
        "rai:dataReleaseMaintenancePlan": "A release is not changed: another version has another release id.",
    }


def _distribution(release: Release) -> list[dict[str, Any]]:
    files = [
        _file("samples.csv", "text/csv", release.digests["samples.csv"], release.sizes["samples.csv"],
              "A row for each sample: its number, split, row, source and content digests."),
        _file(DATA, "text/plain", release.identity, None,
              "The sha256 of every file of the dataset, sorted by path; its own sha256 is the release id."),
        _file("recipe.toml", "application/toml", release.digests["recipe.toml"], release.sizes["recipe.toml"],
              "The recipe that makes the dataset."),
    ]  # fmt: skip
    sets = [
        _set(
            f"{split}.zarr",
            f"{split}.zarr/**",
            _ZARR,
            f"The split {split}: a Zarr v3 group with {release.count(split)} samples.",
        )
        for split in release.store.splits
    ]
    manifest = _set(
        MANIFEST, MANIFEST, "text/plain",
        "The sha256 of every file of the release but itself, this document included, which so cannot hold its digest.",
    )  # fmt: skip
    return [*files, *sets, manifest]


def _file(name: str, kind: str, digest: str, size: int | None, words: str) -> dict[str, Any]:
    sized = {} if size is None else {"contentSize": f"{size} B"}
    return {
        "@type": "cr:FileObject", "@id": name, "name": name, "description": words, "contentUrl": name, **sized,
        "encodingFormat": kind, "sha256": digest,
    }  # fmt: skip


def _set(name: str, includes: str, kind: str, words: str) -> dict[str, Any]:
    return {
        "@type": "cr:FileSet", "@id": name, "name": name, "description": words, "encodingFormat": kind,
        "includes": includes,
    }  # fmt: skip


def _samples(release: Release) -> dict[str, Any]:
    """Describe samples.csv."""
    columns = {
        "index": ("sc:Integer", "number of the sample in the recipe"),
        "split": ("sc:Text", "its split"),
        "row": ("sc:Integer", "its row in every array of the split"),
        "source": ("sc:Text", "name of its scene"),
        "digest": ("sc:Text", "sha256 over the names and digests of its arrays"),
        **{
            f"sha256_{name}": ("sc:Text", f"sha256 over dtype, shape and little-endian bytes of its {name}")
            for name in release.recipe.arrays
        },
    }
    fields = []
    for name, (kind, words) in columns.items():
        field: dict[str, Any] = {
            "@type": "cr:Field", "@id": f"samples/{name}", "name": name, "description": words, "dataType": kind,
            "source": {"fileObject": {"@id": "samples.csv"}, "extract": {"column": name}},
        }  # fmt: skip
        if name == "split":
            field["references"] = {"field": {"@id": "splits/name"}}
        fields.append(field)
    return {
        "@type": "cr:RecordSet", "@id": "samples", "name": "samples", "description": "The samples.",
        "key": {"@id": "samples/index"}, "field": fields,
    }  # fmt: skip


def _inline(
    name: str, words: str, kind: str | None, columns: dict[str, tuple[str, str]], rows: list[Any]
) -> dict[str, Any]:
    """Describe a record set whose records are in the document."""
    fields = [
        {"@type": "cr:Field", "@id": f"{name}/{key}", "name": key, "description": about, "dataType": type_}
        for key, (type_, about) in columns.items()
    ]
    typed = {"dataType": kind} if kind else {}
    return {
        "@type": "cr:RecordSet", "@id": name, "name": name, "description": words, **typed, "field": fields,
        "data": [dict(zip((f"{name}/{key}" for key in columns), row, strict=True)) for row in rows],
    }  # fmt: skip


def _splits(release: Release) -> dict[str, Any]:
    columns = {"name": ("sc:Text", "name of the split"), "samples": ("sc:Integer", "how many samples it has")}
    rows = [(split, release.count(split)) for split in release.store.splits]
    record_set = _inline("splits", "The splits.", "cr:Split", columns, rows)
    return {**record_set, "key": {"@id": "splits/name"}}


def _arrays(release: Release) -> dict[str, Any]:
    columns = {
        "split": ("sc:Text", "the split, a Zarr group"),
        "array": ("sc:Text", "path of the array in the group"),
        "dtype": ("sc:Text", "NumPy's name of its type"),
        "shape": ("sc:Text", "its lengths, joined by commas"),
        "dims": ("sc:Text", "names of its axes, joined by commas"),
        "units": ("sc:Text", "unit of its numbers; empty where they are codes"),
        "description": ("sc:Text", "what it is"),
    }
    recipe, rows = release.recipe, []
    for split in release.store.splits:
        for name in (*recipe.arrays, "index"):
            array, spec = release.store.array(split, name), REGISTRY[name]
            shape, dims = ",".join(map(str, array.shape)), ",".join(array_dims(recipe, name))
            rows.append((split, name, str(array.dtype), shape, dims, spec.unit, spec.doc))
    return _inline("arrays", "The arrays of each split, in Zarr.", None, columns, rows)
