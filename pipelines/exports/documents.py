"""What tells of an export: a page for people, and JSON for programs."""

from typing import Any

from ... import __version__
from ...synth.places import Place
from ..release_manifest import CITATION, LICENCE, is_release, stored_id
from ..release_terms import terms_of
from .base import Job, Layout, Options

MARKER, README = "_export.json", "README.md"
"""`_export.json` is written last: without it an export is not whole."""


def notices(store: Place) -> list[str]:
    """Return the files of a release that its copies must carry; none of a dataset that is no release."""
    return [name for name in (LICENCE, CITATION) if is_release(store) and (store / name).is_file()]


def facts_of(job: Job, digest: str, layout: dict[str, Any]) -> dict[str, Any]:
    """Return what an export is and where it comes from, JSON data; nothing in it tells when or where it was made.

    Parameters
    ----------
    digest
        Content digest of the dataset.
    layout
        What the layout adds.
    """
    recipe, terms, kind = job.recipe, terms_of(job.recipe, None), job.kind
    return {
        "kind": kind.name,
        "defocal": __version__,
        "command": command(job),
        "dataset": {
            "name": recipe.name, "recipe_hash": recipe.hash(), "content_digest": digest,
            "release": stored_id(job.store.path) if is_release(job.store.path) else None,
        },
        "samples": {job.splits[split]: count for split, count in job.counts.items()},
        "splits": {there: split for split, there in job.splits.items()},
        "arrays": list(job.arrays),
        "size": list(job.size),
        "slices": job.slices,
        "bits": recipe.output.bits,
        "encoding": recipe.output.encoding,
        "depth": kind.depth,
        "unknown_depth": kind.unknown,
        "lost": kind.loss,
        "layout": layout,
        "licence": terms.words,
        "mark": terms.mark,
        "sources": [{"title": source.title, "terms": source.terms} for source in terms.sources],
    }  # fmt: skip


def command(job: Job) -> str:
    """Return the command that makes the same export, without the folders of any machine."""
    words = ["defocal export STORE OUT --as", job.kind.name]
    whole = dict.fromkeys(job.store.splits)
    if list(job.splits) != list(whole) or any(split != there for split, there in job.splits.items()):
        words += [f"--split {split}" + (f"={there}" * (there != split)) for split, there in job.splits.items()]
    cut = [count for split, count in job.counts.items() if count < int(job.store.array(split, "index").shape[0])]
    words += [f"--limit {max(cut)}"] if cut else []
    options, default = job.options, Options()
    if options.depth_unit != default.depth_unit:
        words.append(f'--depth-unit "{options.depth_unit * 1000:g} mm"')
    words += [f"--beyond {options.beyond}"] if options.beyond != default.beyond else []
    words += [f"--images {options.images}"] if options.images != default.images else []
    words += [f'--shard-bytes "{options.shard_bytes / 1e6:g} MB"'] if options.shard_bytes != default.shard_bytes else []
    return " ".join(words)


def readme(job: Job, facts: dict[str, Any], layout: Layout) -> str:
    """Return the page that lies in an export, Markdown."""
    dataset, kind = facts["dataset"], job.kind
    samples = ", ".join(f"{count} {name}" for name, count in facts["samples"].items())
    release = f", release `{dataset['release']}`" if dataset["release"] else ""
    unit = facts["layout"].get("depth_unit")
    depth = f"{kind.depth}, {unit:g} m each" if unit else kind.depth
    lines = [
        f"# {dataset['name']} as {kind.name}",
        f"{kind.title[0].upper()}{kind.title[1:]}: {kind.holds}.",
        f"- Samples: {samples}; {job.size[1]}x{job.size[0]} pixels"
        + (f", {job.slices} slices" if job.recipe.stack else "") + f"; pictures {facts['encoding']}.\n"
        f"- Depth: z, along the optical axis; {depth}; unknown: {kind.unknown}.\n"
        f"- Lost: {kind.loss}.\n"
        f"- From: dataset `{dataset['name']}`, content digest `{dataset['content_digest']}`{release}.\n"
        f"- Made by: `{facts['command']}`, defocal {facts['defocal']}.",
        "## Loading it",
        *layout.reading(),
        "`samples.jsonl` has a line for each sample: its name, number, source, digest, and its camera. `recipe.toml` "
        "is what "
        "the dataset was made from, `_export.json` what is said here for programs.",
        "## Terms",
        *terms_lines(job, facts),
    ]  # fmt: skip
    return "\n\n".join(lines) + "\n"


def terms_lines(job: Job, facts: dict[str, Any]) -> list[str]:
    """Return what binds whoever uses an export, a paragraph each."""
    lines = [f"**{facts['mark']}**"] if facts["mark"] else []
    if notices(job.store.path):
        lines.append(f"Those of the release, in `{LICENCE}`; cite it as `{CITATION}` says.")
    else:
        lines.append(f"Licence: {facts['licence']}.")
    for source in facts["sources"]:
        lines.append(f"Made from: {source['title']}. Terms of that source: {source['terms']}.")
    if not facts["sources"]:
        lines.append("Sources: none; its scenes were made from a seed.")
    return lines
