"""The documents of a release that people read: the Hugging Face card, the citation and the licence.

Whatever comes from a recipe, a dataset or the command line is escaped for the language that it is put into.
"""

import json
import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any

from ..synth.arrays import REGISTRY, array_dims
from .info import recipe_facts
from .release_facts import Release
from .release_manifest import DATA, MANIFEST, PICTURES
from .release_statistics import HEADINGS, Summary

_YOUNGER_THAN_CFF = ("CDLA-Permissive-2.0",)
"""Licences that the schema of CITATION.cff 1.2.0 does not list."""
_IMAGES = ("stack", "capture", "dual", "raw", "stack_raw", "aif")


def yaml_text(text: str) -> str:
    """Write a text as a YAML string in double quotes, which every YAML and JSON reader takes for the same text."""
    quoted = json.dumps(text, ensure_ascii=False)
    return "".join(
        char if char.isprintable() else f"\\u{ord(char):04x}" if ord(char) < 0x10000 else "?" for char in quoted
    )


def markdown_text(text: str) -> str:
    """Write a text so that Markdown, and the HTML within it, show it as it is."""
    line = " ".join("".join(" " if unicodedata.category(c)[0] == "C" else c for c in text).split())
    line = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    line = re.sub(r"([\\`*_\[\]#|~$])", r"\\\1", line)
    # What begins a line with a list or a rule, and addresses that would be made links.
    line = re.sub(r"^(\d*)([-+=.)])(?=[-=\s]|$)", lambda m: f"{m[1]}&#{ord(m[2])};", line)
    return re.sub(r"(?i)(https?|ftp|www)(?=[:.])", lambda m: f"{m[1][0]}&#{ord(m[1][1])};{m[1][2:]}", line).replace(
        "@", "&#64;"
    )


def bibtex_text(text: str) -> str:
    """Write a text for a field of BibTeX in braces."""
    return re.sub(r"([&%$#_])", r"\\\1", re.sub(r"[\\{}~^]", " ", text))


def card(release: Release) -> str:
    """Write the Hugging Face dataset card."""
    parts = [
        _head(release),
        f"# {markdown_text(release.title)}",
        f"{markdown_text(release.description)}",
        f"> **{markdown_text(release.terms.mark)}**" if release.terms.mark else "",
        *_pictures(release),
        _facts(release),
        _arrays(release),
        _statistics(release),
        _loading(release),
        _checking(release),
        _making(release),
        _limits(release),
        _sources(release),
        _citing(release),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _head(release: Release) -> str:
    samples = len(release.store)
    sizes = ((1e3, "n<1K"), (1e4, "1K<n<10K"), (1e5, "10K<n<100K"), (1e6, "100K<n<1M"), (1e7, "1M<n<10M"))
    size = next((name for most, name in sizes if samples < most), "10M<n<100M")
    keys: dict[str, Any] = {
        "pretty_name": release.title,
        **release.terms.hub,
        "task_categories": ["depth-estimation", "image-to-image"],
        "tags": [
            "depth-from-defocus", *(["depth-from-focus", "focal-stack"] if release.recipe.stack else []), "defocus",
            "synthetic" if release.made else "rendered-from-rgbd", "zarr", "defocal",
            *([] if release.terms.commercial else ["non-commercial"]),
        ],
        "size_categories": [size],
        "source_datasets": ["original"] if release.made else ["extended"],
    }  # fmt: skip
    lines = ["---"]
    for key, value in keys.items():
        if isinstance(value, str):
            lines.append(f"{key}: {yaml_text(value)}")
        else:
            lines += [f"{key}:", *(f"- {yaml_text(item)}" for item in value)]
    # Named, so that the hub shows the table of samples and does not guess among the files.
    lines += ["configs:", '- config_name: "samples"', '  data_files: "samples.csv"', "---"]
    return "\n".join(lines)


def _pictures(release: Release) -> list[str]:
    alts = {
        "contact.png": "Samples: captures, all-in-focus images, depth and circles of confusion",
        "stack.png": "A focal stack, slice by slice",
        "sweep.webp": "A focal stack as it sweeps",
    }
    return [f"![{alt}]({PICTURES}/{name})" for name, alt in alts.items() if name in release.pictures]


def _table(headings: Sequence[str], rows: Iterable[Sequence[str]], right: int = 99) -> str:
    """Write a table whose columns from number `right` on are numbers; cells are Markdown already."""
    rules = ["---:" if k >= right else "---" for k in range(len(headings))]
    return "\n".join(f"| {' | '.join(row)} |" for row in (headings, rules, *rows))


def _facts(release: Release) -> str:
    hidden = ("terms", "arrays", "description")
    rows = [(heading, text) for heading, text in recipe_facts(release.recipe) if heading not in hidden]
    versions = ", ".join(f"{name} {version}" for name, version in release.versions.items())
    rows = [
        ("release", f"version {release.version}" + (f", {release.date}" if release.date else "")),
        *rows,
        ("licence", release.terms.words),
        ("size", f"{release.total / 1e6:.1f} MB"),
        ("made with", versions),
    ]
    lines = [[f"**{heading}**", markdown_text(text)] for heading, text in rows]
    lines += [
        ["**release id**", f"`{release.identity}`"],
        ["**content digest**", f"`{release.content}`"],
    ]
    return _table(["", ""], lines)


def _arrays(release: Release) -> str:
    store, recipe = release.store, release.recipe
    lines = []
    first = next(iter(store.splits))
    for name in recipe.arrays:
        array, spec = store.array(first, name), REGISTRY[name]
        dims = ", ".join(array_dims(recipe, name)[1:])
        shape = f"{' x '.join(map(str, array.shape[1:]))} ({dims})" if dims else "one number"
        size = sum(release.array_bytes(split, name) for split in store.splits)
        words = markdown_text(spec.doc)
        lines.append([f"`{name}`", shape, str(array.dtype), spec.unit, words, f"{size / 1e6:.1f}"])
    rows = [[f"`{split}.zarr`", str(release.count(split))] for split in store.splits]
    images = f"Images are encoded as {recipe.output.encoding}, {recipe.output.bits} bits a channel."
    return "\n\n".join(
        [
            "## Contents",
            _table(["split", "samples"], rows, right=1),
            _table(["array", "of one sample", "type", "unit", "", "MB"], lines, right=5),
            f"{images} Depth is z-depth along the optical axis; the circle of confusion (CoC) is a diameter, positive "
            "nearer than the focus plane. One Zarr v3 group is one split, its first axis the sample; `samples.csv` has "
            "a row for each sample with its split, its source and the digests of its arrays; `psf/main` in each group "
            "holds the kernels.",
        ]
    )


def _statistics(release: Release) -> str:
    if not release.summaries:
        return ""
    rows = [[one.quantity, one.split, *_numbers(one), f"{one.unknown:.2%}", _rest(one)] for one in release.summaries]
    headings = ["", "split", *HEADINGS, "unknown", ""]
    return (
        "## Statistics\n\n"
        + _table(headings, rows, right=2)
        + "\n\nOver every pixel of every sample; each quantile is the value of some pixel."
    )


def _numbers(one: Summary) -> list[str]:
    return [f"{value:.4g}".replace("-", "\u2212") for value in one.quantiles] or [""] * len(HEADINGS)


def _rest(one: Summary) -> str:
    if one.sharp is not None:
        return f"{one.sharp:.1%} within 1 px of sharp"
    return f"{one.infinite:.1%} infinitely far" if one.infinite else ""


def _picture_array(release: Release) -> str:
    return next((name for name in _IMAGES if name in release.recipe.arrays), release.recipe.arrays[0])


def _loading(release: Release) -> str:
    split, image = next(iter(release.store.splits)), _picture_array(release)
    other = "depth" if "depth" in release.recipe.arrays else "index"
    return f"""## Loading

```python
import zarr  # 3 or newer

{split} = zarr.open_group("{split}.zarr", mode="r")
for i in range({split}["{image}"].shape[0]):  # one by one, or in slices: index lists are slow
    image, {other} = {split}["{image}"][i], {split}["{other}"][i]
    print(i, image.shape, image.dtype, {other}.shape)
```

Any Zarr v3 library reads it. Zips are for transport: unpack them first."""


def _checking(release: Release) -> str:
    return f"""## Checking

    sha256sum --check --quiet {MANIFEST}  # every file; on macOS: shasum -a 256 --check {MANIFEST}
    sha256sum {DATA}                      # its digest is the release id above
    defocal verify . --rerender 3              # also: nothing else lies here, physics, samples made again

`{DATA}` lists the sha256 of every file of the dataset, sorted by path, and the release id is the sha256 of that
list. The content digest is of the decoded arrays, and stays when the same recipe is made again by other compressors."""


def _making(release: Release) -> str:
    version = release.versions.get("defocal", "")
    place = ""
    if release.files:
        names = " and ".join(f"`{_code(name)}`" for name in release.files)
        place = f"\n\n`recipe.toml` names {names}, without the folder: put a copy of it beside them."
    return f"""## Making it again

    pip install --constraint environment.txt 'defocal[synth]=={_code(version)}'
    defocal generate recipe.toml again
    defocal diff . again

On the versions of `environment.txt` and x86-64 the content digest is the same, bit for bit; elsewhere values may differ
by their least significant bit.{place}"""


def _code(text: str) -> str:
    """Return a text that is safe within back-quotes on one line."""
    return re.sub(r"[`\n\r<>&|]", "?", text)


def limitations(release: Release) -> list[str]:
    """Return what a dataset of this kind cannot tell, sentence by sentence."""
    found = ["Defocus is simulated: a real lens has aberrations, flare and a response that the recipe does not know."]
    render = release.recipe.render
    if render.method == "layered":
        found.append(
            "Captures are composited in layers, which is approximate at silhouettes where both sides are out of focus."
        )
    if release.made:
        found.append("Scenes are procedural: their shapes, textures and layout are no photographs of the world.")
    else:
        found.append("Depth is that of the source, with its errors; what it does not know is NaN.")
        found.append("What lies behind an occluder is not in the source: it is continued from what is seen beside it.")
    if release.recipe.sensor is None:
        found.append("Captures have no noise but their quantisation.")
    return found


def _limits(release: Release) -> str:
    return "## Limits\n\n" + "\n".join(f"- {markdown_text(one)}" for one in limitations(release))


def _sources(release: Release) -> str:
    lines = ["## Licence and sources", f"Licence: {markdown_text(release.terms.words)}; see [LICENSE](LICENSE)."]
    for source in release.terms.sources:
        lines.append(f"Made from {markdown_text(source.title)}. Terms: {markdown_text(source.terms)}.")
    if not release.terms.sources:
        lines.append("Everything in it was made from a seed; it contains nobody else's work.")
    return "\n\n".join(lines)


def bibtex(release: Release) -> str:
    """Write a BibTeX entry."""
    names = [f"{a.family}, {a.given}" if a.family else f"{{{bibtex_text(a.name)}}}" for a in release.authors]
    fields = {
        "title": f"{{{bibtex_text(release.title)}}}",
        **({"author": " and ".join(n if n[0] == "{" else bibtex_text(n) for n in names)} if names else {}),
        **({"year": release.date[:4]} if release.date else {}),
        "version": release.version,
        **({"url": release.url} if release.url else {}),
        "note": f"Release id sha256:{release.identity}",
    }
    key = re.sub(r"[^A-Za-z0-9]", "", release.recipe.name) or "dataset"
    return f"@misc{{{key},\n" + "".join(f"  {name} = {{{value}}},\n" for name, value in fields.items()) + "}"


def _citing(release: Release) -> str:
    # An entry has no line that could end the block: back-quotes are left out.
    return f"## Citing\n\n```bibtex\n{bibtex(release).replace('`', '')}\n```"


def citation(release: Release) -> str:
    """Write CITATION.cff, by the schema of the Citation File Format 1.2.0."""
    lines = [
        "cff-version: 1.2.0",
        'message: "If you use this dataset, please cite it as below."',
        "type: dataset",
        f"title: {yaml_text(release.title)}",
        f"abstract: {yaml_text(release.description)}",
        f"version: {yaml_text(release.version)}",
        "authors:",
    ]
    for author in release.authors:
        facts = {"family-names": author.family, "given-names": author.given} if author.family else {"name": author.name}
        facts |= {"email": author.email, "orcid": author.orcid, "website": author.website}
        given = [f"{key}: {yaml_text(value)}" for key, value in facts.items() if value]
        lines += [f"  - {given[0]}", *(f"    {line}" for line in given[1:])]
    if not release.authors:
        lines.append('  - name: "anonymous"')
    if release.date:
        lines.append(f"date-released: {yaml_text(release.date)}")
    if release.url:
        lines.append(f"url: {yaml_text(release.url)}")
    licence = release.terms.licence
    if licence and licence.spdx not in _YOUNGER_THAN_CFF:
        lines.append(f"license: {licence.spdx}")
    elif licence:
        lines.append(f"license-url: {yaml_text(licence.url)}")
    lines += [
        "identifiers:",
        "  - type: other",
        f'    value: "sha256:{release.identity}"',
        f'    description: "Release id: sha256 of {DATA}, which lists the sha256 of every data file."',
        "keywords:",
        *(f"  - {yaml_text(word)}" for word in ("depth from defocus", "defocus", "synthetic data")),
    ]
    return "\n".join(lines) + "\n"


def licence_text(release: Release) -> str:
    """Write the licence of a release, and what its sources ask for."""
    terms = release.terms
    lines = [f"Licence of the dataset: {release.title}"]
    if terms.mark:
        lines.append(terms.mark)
    if terms.licence:
        licence = terms.licence
        lines.append(f"Licensed under {licence.title} (SPDX-License-Identifier: {licence.spdx}).\n{licence.url}")
        makers = ", ".join(author.name for author in release.authors)
        if licence.attribution:
            lines.append(f"Name as its makers: {makers or 'the makers of this dataset'}, and the sources below.")
    elif not [source for source in terms.sources if not source.own]:
        lines.append(
            "Its makers have stated no licence, so the law alone says what others may do with it: ask them before use."
        )
    else:
        lines.append("No licence is granted beyond the terms of its sources, below.")
    for source in terms.sources:
        lines.append(f"Made from: {source.title}.\nTerms of that source: {source.terms}.")
        if not source.own:
            lines.append(
                "Changed: its images and depth were brought to one size and type, and seen through a simulated camera. "
                "These terms bind whoever uses this dataset; keep the notices that came with that source."
            )
    if not terms.sources:
        lines.append("Sources: none; its scenes were made from a seed.")
    lines.append(f"Release id: sha256:{release.identity}")
    return "\n\n".join(lines) + "\n"
