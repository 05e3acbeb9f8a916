"""What the commands share: exit codes, one sentence for bad input, tables."""

import math
import os
import sys
from pathlib import Path
from typing import Any

import click

from .. import InputError
from ..synth.buckets import ObjectStoreError
from ..synth.places import Place, local_place, place

FAILED, BAD_INPUT, MISMATCH = 1, 2, 4
EXTRAS = {
    **dict.fromkeys(("numba", "llvmlite", "scipy", "dask", "distributed", "h5py", "OpenEXR"), "synth"),
    "cv2": "synth",
    "torch": "train",
    "tensorstore": "fast",
}
"""Extras that bring the modules which not every installation has."""
DISTRIBUTIONS = {"cv2": "opencv-python-headless"}
"""What modules are called where they are installed from."""


class PlaceType(click.ParamType[Any]):
    """Where a dataset lies: a folder, or `s3://BUCKET/NAME`."""

    name = "path"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Place:
        """Return the place."""
        return place(value)


class LocalType(PlaceType):
    """A file or folder of this machine."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """Return the path."""
        return local_place(place(value), "this command's output")


class NumberType(click.FloatRange):
    """A number within a range: NaN lies in none, which click's own lets through."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the number."""
        number = super().convert(value, param, ctx)
        if math.isnan(number):
            self.fail(f"{value!r} is not a number.", param, ctx)
        return number


PLACE, LOCAL = PlaceType(), LocalType()
MASK = click.option(
    "--mask", type=click.Path(path_type=Path), metavar="FILE",
    help="Put the mask of this file into the pupil, in place of the recipe's: RUN/mask.json of a training.",
)  # fmt: skip
"""The option that a recipe's mask is replaced by."""


class Group(click.Group):
    """Turns what the user gave wrong into one sentence and exit status 2."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command."""
        try:
            return super().invoke(ctx)
        except (click.exceptions.Exit, click.Abort, click.ClickException):
            raise
        except InputError as error:
            click.echo(f"Error: {error}", err=True)
            sys.exit(BAD_INPUT)
        except ModuleNotFoundError as error:
            absent = (error.name or "").split(".")[0]
            if absent not in EXTRAS:
                raise
            click.echo(f"Error: {_needs(ctx, absent)}", err=True)
            sys.exit(BAD_INPUT)
        except ObjectStoreError as error:
            click.echo(f"Error: {error}", err=True)
            sys.exit(FAILED)
        except BrokenPipeError:
            # Whoever read the output has gone; what was to be done is done.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        except OSError as error:
            where = f" ({error.filename})" if error.filename else ""
            click.echo(f"Error: {error.strerror or error}{where}.", err=True)
            sys.exit(FAILED)
        except (
            ArithmeticError,
            AttributeError,
            LookupError,
            MemoryError,
            RuntimeError,
            TypeError,
            ValueError,
        ) as error:
            if os.environ.get("DEFOCAL_DEBUG"):
                raise
            click.echo(f"Error: {type(error).__name__}: {str(error)[:300]}", err=True)
            click.echo("This is a defect of defocal: set DEFOCAL_DEBUG=1 to see where, and report it.", err=True)
            sys.exit(FAILED)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the commands, in the order that they were added."""
        return list(self.commands)


def _needs(ctx: click.Context, module: str) -> str:
    name = " ".join(filter(None, (ctx.command_path, ctx.invoked_subcommand)))
    return f"`{name}` needs {DISTRIBUTIONS.get(module, module)}: pip install 'defocal[{EXTRAS[module]}]'."


def table(rows: list[tuple[str, str]]) -> None:
    """Print headings and texts in two columns."""
    width = max(len(heading) for heading, _ in rows)
    for heading, text in rows:
        click.echo(f"{heading:<{width}}  {text}")


def print_json(data: dict[str, Any]) -> None:
    """Print JSON for programs; no number in it may be infinite."""
    import json

    click.echo(json.dumps(data, indent=2, allow_nan=False))
