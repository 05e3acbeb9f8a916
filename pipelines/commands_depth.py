"""The command `depth`."""

from pathlib import Path
from typing import Any

import click

from .. import InputError
from ..evaluate.stack_methods import METHODS
from ..synth.units import parse_length
from .commands import LOCAL, table


def _length(_: click.Context, parameter: click.Parameter, value: str | None) -> float | None:
    if value is None:
        return None
    try:
        return float(value) if value.replace(".", "", 1).isdigit() else parse_length(value)
    except ValueError as error:
        raise InputError(f"{parameter.opts[0]}: {error}.") from None


@click.command()
@click.argument("folder", type=LOCAL)
@click.argument("out", type=LOCAL)
@click.option("--focus", metavar="FILE|LIST",
              help="Focus distances in the natural order of the names: a text file with one on each line, or "
                   "'0.1m,0.2m,inf'. Without a unit they are metres; left out, depth is in slices.")  # fmt: skip
@click.option("--arbitrary", is_flag=True,
              help="Distances of --focus are known up to a scale: depth is in their unit, not in metres.")  # fmt: skip
@click.option(
    "--method",
    type=click.Choice(list(METHODS)),
    default="sml",
    show_default=True,
    help=f"{'; '.join(f'{name}: {words}' for name, words in METHODS.items())}.",
)
@click.option("--run", type=LOCAL, metavar="RUN", help="Let this trained model tell depth instead; needs --focus.")
@click.option("--align", is_flag=True, help="Register the slices first: lenses breathe and hands move.")
@click.option("--focal-length", callback=_length, metavar="LENGTH",
              help="With --align: by how a thin lens of this focal length magnifies, not by the pictures.")  # fmt: skip
@click.option("--size", type=click.IntRange(min=64), default=1280, show_default=True, metavar="N",
              help="Reduce larger photographs to N pixels on their longer edge.")  # fmt: skip
@click.option("--radius", type=click.IntRange(0, 256), metavar="N",
              help="Average focus measures over 2 N + 1 pixels; larger for noisy or coarse pictures.")  # fmt: skip
@click.option("--no-fill", "fill", is_flag=True, flag_value=False, default=True,
              help="Leave uncertain pixels unknown (NaN), not filled from neighbours that look alike.")  # fmt: skip
@click.option("--fusion", type=click.Choice(["pyramid", "depth"]), default="pyramid", show_default=True,
              help="How the all-in-focus picture is made.")  # fmt: skip
@click.option("--device", default="auto", show_default=True, metavar="NAME", help="Of --run: auto, cpu, cuda or mps.")
def depth(folder: Path, out: Path, **options: Any) -> None:
    """Tell depth of the focal stack in FOLDER: photographs of one view, each focused at another distance.

    Written to the new folder OUT: depth.npy (float32), depth-mm.png (of metres; 16 bits, 0 unknown), depth.png in
    colours with its scale, all-in-focus.png, confidence.png, and depth.html, a page of it all.
    """
    from .real_stack import Ways, write_depth

    facts, notes, written = write_depth(folder, out, Ways(**options))
    table(facts)
    for note in notes:
        click.echo(f"Note: {note}", err=True)
    for path in written:
        click.echo(f"Wrote {path}")
