"""The commands `release`, `unpack` and `diff`."""

import shlex
import sys
from pathlib import Path
from typing import Any

import click

from ..synth.places import Place
from .commands import LOCAL, MISMATCH, PLACE


@click.command()
@click.argument("store", type=PLACE)
@click.option(
    "--out",
    type=LOCAL,
    metavar="DIR",
    help="Release a copy in this new folder, whose recipe names no folder of this machine.",
)
@click.option("--title", metavar="TEXT", help="Title; the recipe's name if left out.")
@click.option(
    "--author",
    "authors",
    multiple=True,
    metavar="'NAME <ADDRESS>'",
    help="Who made it, with an e-mail address, an ORCID or nothing. May be repeated.",
)
@click.option("--licence", "--license", metavar="SPDX", help="For example CC-BY-4.0; the scene source's if left out.")
@click.option("--version", default="1.0.0", show_default=True, metavar="X.Y.Z", help="Version of the release.")
@click.option("--date", metavar="YYYY-MM-DD", help="Day of its publication.")
@click.option("--url", help="Where it will be found.")
@click.option(
    "--zip", "zips", is_flag=True, help="Also write zips, one for each split, to the folder STORE-zips or DIR-zips."
)
@click.option("--keep-paths", is_flag=True, help="Publish the recipe with the folders of this machine that it names.")
def release(store: Place, out: Path | None, zips: bool, **options: Any) -> None:
    """Make a release of STORE, in place or as a copy: digests, card, citation, licence, Croissant.

    Every sample is read and checked first. The arrays are not changed, and the same release is the same bytes.
    """
    from .progress import Progress
    from .release import Options
    from .release import release as make
    from .verify import count_samples

    with Progress(count_samples(store), "checking") as progress:
        outcome = make(store, out, Options(**options), zips=zips, report=progress.advance)
    for problem in outcome.problems[:20]:
        click.echo(f"Mismatch: {problem}", err=True)
    if outcome.problems:
        click.echo(f"{store} is damaged, and nothing was released: generate it again, or fetch a fresh copy.", err=True)
        sys.exit(MISMATCH)
    for note in outcome.notes:
        click.echo(f"Note: {note}", err=True)
    click.echo(f"Released {outcome.folder}, id {outcome.identity}")
    for path in outcome.zips:
        click.echo(f"Wrote {path}")
    click.echo(f"Next: read {outcome.folder / 'README.md'}; anyone checks it with `sha256sum -c manifest.sha256`.")


@click.command()
@click.argument("archives", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="ZIP...")
@click.option(
    "--out", type=click.Path(path_type=Path), default=Path(), help="Folder to unpack into; this one if left out."
)
def unpack(archives: tuple[Path, ...], out: Path) -> None:
    """Unpack the zips of a release, inside their folder only, overwriting nothing."""
    from .archive import unpack as extract

    for path in extract(archives, out):
        click.echo(f"Unpacked {path}. Next: `defocal verify {shlex.quote(str(path))}`.")


@click.command()
@click.argument("a", type=PLACE)
@click.argument("b", type=PLACE)
@click.option(
    "--samples",
    type=click.IntRange(min=0),
    default=8,
    show_default=True,
    metavar="N",
    help="Of the samples that differ, read so many to say by how much.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
def diff(a: Place, b: Place, samples: int, as_json: bool) -> None:
    """Say how two datasets or releases differ: recipe, versions, samples, arrays.

    Exit status 0 if they hold the same samples, whatever else differs, and 4 if they do not.
    """
    from .diff import diff as compare
    from .diff import difference_lines

    found = compare(a, b, looked_at=samples)
    if as_json:
        import json

        click.echo(json.dumps(found.to_dict(), indent=2))
    else:
        for line in difference_lines(found):
            click.echo(line)
        same = f"the same content, {found.samples[0]} samples, content digest {found.content[0]}"
        click.echo(f"{a} and {b} hold {same if found.same else 'different content'}")
    if not found.same:
        sys.exit(MISMATCH)
