"""The command `export`."""

from pathlib import Path
from typing import Any

import click

from .. import InputError
from ..synth.places import Place
from ..synth.units import parse_bytes, parse_length
from .commands import LOCAL, PLACE, table
from .exports.kinds import KINDS


def _list(context: click.Context, _: click.Parameter, asked: bool) -> None:
    if not asked or context.resilient_parsing:
        return
    for kind in KINDS.values():
        rows = [
            (kind.name, kind.title), ("  holds", kind.holds), ("  needs", ", ".join(kind.needs) or "nothing"),
            ("  lost", kind.loss), ("  unknown", f"{kind.unknown} where depth is unknown"),
        ]  # fmt: skip
        rows += [("  splits", ", ".join(kind.splits))] if kind.splits else []
        rows += [("  again", kind.back)] if kind.back else []
        table([(f"{heading:<12}", text) for heading, text in rows])
    context.exit()


def _size(parse: Any, flag: str) -> Any:
    def read(_: click.Context, __: click.Parameter, value: str | None) -> float | None:
        try:
            return None if value is None else float(parse(float(value) if value.replace(".", "").isdigit() else value))
        except ValueError as error:
            raise InputError(f"{flag}: {error}.") from None

    return read


@click.command()
@click.argument("store", type=PLACE)
@click.argument("out", type=LOCAL)
@click.option("--as", "kind", required=True, metavar="KIND", help=f"The layout: {', '.join(KINDS)}.")
@click.option(
    "--split",
    "splits",
    multiple=True,
    metavar="NAME[=THERE]",
    help="Export this split, under another name if one is given; all if left out. May be repeated.",
)
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Export the first N samples of each split.")
@click.option(
    "--depth-unit",
    callback=_size(parse_length, "--depth-unit"),
    metavar="LENGTH",
    help='What one number of a 16-bit depth map means, for example "0.25 mm"; 1 mm if left out.',
)
@click.option(
    "--beyond",
    type=click.Choice(["refuse", "unknown"]),
    help="Depth that 16 bits cannot hold in that unit: refuse it, the default, or write it as unknown.",
)
@click.option("--images", type=click.Choice(["png", "jpg"]), help="Pictures of d3net; png, the default, loses nothing.")
@click.option(
    "--shard-bytes",
    callback=_size(parse_bytes, "--shard-bytes"),
    metavar="SIZE",
    help='Arrays in one tar file of webdataset, before compression; "256 MB" if left out.',
)
@click.option("--list", is_flag=True, is_eager=True, expose_value=False, callback=_list,
              help="List the layouts, what each needs, holds and loses.")  # fmt: skip
def export(store: Place, out: Path, kind: str, **choices: Any) -> None:
    """Write the dataset STORE to the new folder OUT in a layout that other programs read.

    The same dataset and options give the same bytes. Interrupted, the same command goes on.
    """
    from .export import prepare, run
    from .progress import Progress

    job = prepare(store, kind, **choices)
    with Progress(job.total, "exporting") as progress:

        def resumed(kept: int) -> None:
            progress.kept += kept
            progress.advance(kept)

        exported = run(job, out, report=progress.advance, resumed=resumed)
    if exported.kept:
        click.echo(f"{exported.kept} of {exported.samples} samples were there, of an interrupted export.")
    for note in exported.notes:
        click.echo(f"Note: {note}", err=True)
    click.echo(f"Exported {exported.samples} samples to {out} as {kind}.")
    click.echo(f"Next: {out / 'README.md'} says how to load them, and under which terms.")
