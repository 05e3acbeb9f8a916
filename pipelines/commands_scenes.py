"""The commands `scenes ...`."""

import sys
from pathlib import Path

import click

from .commands import MISMATCH, Group, table


@click.group(cls=Group)
def scenes() -> None:
    """Look at scenes from files before making anything of them.

    SOURCE is KIND:PATH, for example nyuv2:nyu_depth_v2_labeled.mat; `defocal scenes kinds` lists the kinds.
    """


_changed_source = click.option(
    "--set", "changes", multiple=True, metavar="KEY=VALUE",
    help="Set a key of the recipe's [scenes], for example variant=raw. May be repeated.",
)  # fmt: skip


@scenes.command("kinds")
def scene_kinds() -> None:
    """List the datasets that can be read."""
    from .scenes import kinds

    table(kinds())


@scenes.command("list")
@click.argument("source")
@_changed_source
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
def scene_list(source: str, changes: tuple[str, ...], as_json: bool) -> None:
    """List the scenes of SOURCE with their places and official splits; reads no picture."""
    from .scenes import counts, list_scenes, opened

    reader = opened(source, changes)
    rows = list_scenes(reader)
    if as_json:
        import json

        click.echo(json.dumps(rows, indent=2))
        return
    width = max(len(row["source"]) for row in rows)
    shared = len({row["group"] for row in rows}) < len(rows)
    for row in rows:
        place = f"at {row['group']}" if shared else ""
        click.echo("  ".join(filter(None, (f"{row['source']:<{width}}", row["split"], place))).rstrip())
    click.echo(f"{counts(reader)}.", err=True)


@scenes.command("check")
@click.argument("source")
@_changed_source
def scene_check(source: str, changes: tuple[str, ...]) -> None:
    """Read all of SOURCE once: sizes, depths, unknown pixels, and what is broken, file by file."""
    from .progress import Progress
    from .scenes import check, opened

    reader = opened(source, changes)
    with Progress(len(reader), "reading") as progress:
        found = check(reader, progress.advance)
    table(found.facts())
    if found.counts.any():
        click.echo("\nDepth of all known pixels:")
        click.echo("\n".join(found.histogram()))
    for sentence in found.broken:
        click.echo(f"Broken: {sentence}", err=True)
    if found.broken:
        sys.exit(MISMATCH)


@scenes.command("statistics")
@click.argument("target")
@click.option("--out", type=click.Path(path_type=Path), default=Path("scenes.html"), show_default=True,
              help="The page.")  # fmt: skip
@click.option("--count", type=click.IntRange(min=1), default=100, show_default=True, help="Scenes to look at.")
@click.option("--set", "changes", multiple=True, metavar="KEY=VALUE", help="Set a key of the source, or of the recipe.")
def scene_statistics(target: str, out: Path, count: int, changes: tuple[str, ...]) -> None:
    """Write a page about the scenes of TARGET, a source or a recipe: depths, edges, spectrum, beside photographs."""
    from .progress import Progress
    from .scene_report import scenes_of, write_statistics

    found = scenes_of(target, count, changes)
    with Progress(len(found.chosen), "reading") as progress:
        write_statistics(found, out, progress.advance)
    click.echo(f"Wrote {out}")
