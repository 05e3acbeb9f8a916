"""The command `mask`."""

from pathlib import Path
from typing import Any

import click

from .. import InputError
from ..synth.units import parse_length
from .commands import LOCAL, NumberType, table


def _length(_: click.Context, parameter: click.Parameter, value: str | None) -> float | None:
    if value is None:
        return None
    flag = parameter.opts[0]
    try:
        length = float(parse_length(value))
    except ValueError as error:
        raise InputError(f"{flag}: {error}.") from None
    if not 0 < length < 1:
        raise InputError(f"{flag} must be a length above 0 and below 1 m, not {value}.")
    return length


@click.command()
@click.argument("target")
@click.argument("out", type=LOCAL)
@click.option("--recipe", metavar="RECIPE", help="The camera of a mask from a file: pupil, wavelengths, depths.")
@click.option(
    "--set", "changes", multiple=True, metavar="KEY=VALUE", help="Change a key of the recipe. May be repeated."
)
@click.option("--levels", type=click.IntRange(2, 256), default=8, show_default=True, metavar="N",
              help="Heights that a cell can have; for 2, 4, 8, ... etch masks are written too.")  # fmt: skip
@click.option("--cell", callback=_length, default="3 um", show_default=True, metavar="LENGTH", help="Side of a cell.")
@click.option("--diameter", callback=_length, metavar="LENGTH",
              help="Of the pupil, for example '5 mm'; that of the recipe's lens if left out.")  # fmt: skip
@click.option("--wrap", is_flag=True, help="Take heights modulo one wave at the design wavelength.")
@click.option("--etch-error", type=NumberType(0, 0.5), default=0.05, show_default=True, metavar="SHARE",
              help="Relative error of all depths whose effect is told.")  # fmt: skip
def mask(target: str, out: Path, recipe: str | None, changes: tuple[str, ...], **making: Any) -> None:
    """Write the mask of TARGET for a workshop to the new folder OUT: height map, etch masks, and a page about them.

    TARGET is a file, RUN/mask.json of a training, or a recipe or dataset with psf.kind = "mask".
    """
    from .making import Making, find_subject
    from .workshop import export

    subject = find_subject(target, recipe, changes)
    facts, written = export(subject, out, Making(**making), lambda step: click.echo(f"{step} ...", err=True))
    table(facts)
    for path in written:
        click.echo(f"Wrote {path}")
    click.echo(f"Next: open {out / 'mask.html'}.")
