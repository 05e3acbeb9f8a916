"""The command `defocal`: parses, calls and prints. Whatever computes is imported by the command that needs it."""

import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from .. import InputError, __version__
from ..synth.places import Place, dataset_at
from .commands import LOCAL, MASK, MISMATCH, PLACE, Group, NumberType, print_json, table
from .commands_depth import depth
from .commands_export import export
from .commands_mask import mask
from .commands_release import diff, release, unpack
from .commands_reproduce import reproduce
from .commands_scenes import scenes
from .commands_train import configs, evaluate, train

_Command = TypeVar("_Command", bound=Callable[..., Any])


def _recipe_options(command: _Command) -> _Command:
    for option in (
        click.option("--scenes", metavar="KIND:PATH", help="Take the scenes from there, for example folder:my-rgbd."),
        click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Make at most N samples."),
        MASK,
        click.option("--seed", type=click.IntRange(min=0), metavar="N", help="Use this seed, not the recipe's."),
        click.option("--set", "changes", multiple=True, metavar="KEY=VALUE",
                     help="Change a key of the recipe, for example camera.f_number=4. May be repeated."),
    ):  # fmt: skip
        command = option(command)
    return command


def _note_limit(recipe: Any, limit: int | None) -> None:
    """Tell who asks for more samples than a recipe makes how to get them."""
    count = recipe.scenes.count
    if limit is not None and recipe.scenes.kind == "procedural" and count < limit:
        click.echo(f"Note: {recipe.name} makes {count} samples; for more, --set scenes.count={limit}.", err=True)


def _crew_options(command: _Command) -> _Command:
    for option in (
        click.option("--json", "as_json", is_flag=True, help="Print what happens as lines of JSON, for programs."),
        click.option("--dashboard", is_flag=True, help="Serve Dask's dashboard of --workers, on this machine alone."),
        click.option("--patience", type=NumberType(min=0), default=600.0, show_default=True, metavar="SECONDS",
                     help="How long to wait for a scheduler that was lost, or for workers where there are none."),
        click.option("--scheduler-file", type=click.Path(path_type=Path), metavar="FILE",
                     help="Work on the Dask scheduler that wrote its address there."),
        click.option("--scheduler", metavar="ADDRESS", help="Work on this Dask scheduler, for example "
                     "tcp://host:8786; DASK_SCHEDULER_ADDRESS, where it is set, if no other way is chosen."),
        click.option("--memory-limit", metavar="SIZE",
                     help='Of each of --workers, for example "4 GB"; an equal share of all memory if left out.'),
        click.option("--workers", type=click.IntRange(min=0), metavar="N",
                     help="Local processes; 0, the default, works in this one."),
    ):  # fmt: skip
        command = option(command)
    return command


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="defocal")
def cli() -> None:
    """Make physically faithful, verified datasets of defocused captures.

    A RECIPE is the name of a shipped recipe (see `defocal recipes`) or a TOML file.
    """


@cli.command()
@click.option("--out", type=LOCAL, default=Path("demo-out"), show_default=True)
def demo(out: Path) -> None:
    """Make a small dataset, verify it and draw it: the whole way in a minute or two."""
    from .demo import run_demo

    run_demo(out)


@cli.command()
def recipes() -> None:
    """List the recipes that come with defocal."""
    from .shipped import find_recipe, shipped

    names = shipped()
    width = max(map(len, names))
    for name in names:
        click.echo(f"{name:<{width}}  {find_recipe(name).description}")


@cli.command()
@click.argument("name")
@click.option("-o", "--output", type=LOCAL, help="File to write; NAME.toml if left out.")
def init(name: str, output: Path | None) -> None:
    """Copy the shipped recipe NAME to a file, to be edited."""
    from .shipped import shipped_text

    text = shipped_text(name)
    output = output or Path(f"{name}.toml")
    try:
        with output.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise InputError(f"{output} already exists: choose another name with -o.") from None
    except OSError as error:
        raise InputError(f"cannot write {output} ({error.strerror}): choose another place with -o.") from None
    click.echo(f"Wrote {output}. Next: edit it, then `defocal plan {shlex.quote(str(output))}`.")


@cli.command()
@click.argument("recipe")
@click.option("--out", type=PLACE, default=Path(), help="Where the dataset would go.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs: numbers, with units in their names.")
@_recipe_options
def plan(recipe: str, out: Place, as_json: bool, **changes: Any) -> None:
    """Say what RECIPE will do: blur, size, shards, time. Refuses what cannot be right."""
    from ..synth.samples import SampleMaker
    from .plan import check_blur, cost, describe, histogram_lines, survey
    from .shipped import find_recipe

    loaded = find_recipe(recipe, **changes)
    _note_limit(loaded, changes["limit"])
    maker = SampleMaker(loaded)
    maker.check_bank()
    costs = cost(maker)
    seen = survey(maker)
    check_blur(loaded, seen)
    if as_json:
        from .facts import plan_numbers

        print_json(plan_numbers(loaded, maker, seen, out, costs))
        return
    table(describe(loaded, maker, seen, out, costs))
    click.echo("\nCircle of confusion over the scenes looked at:")
    click.echo("\n".join(histogram_lines(seen.coc, "px")))


@cli.command()
@click.argument("recipe")
@click.argument("out", type=PLACE)
@_crew_options
@click.option("--shards", metavar="A:B", help="Make shards A to B alone, B not included; other runs make the others.")
@click.option("--shard-index", type=click.IntRange(min=0), metavar="I",
              help="Make the Ith part of the shards alone, of N equal parts; the first is 0.")  # fmt: skip
@click.option("--shard-count", type=click.IntRange(min=1), metavar="N", help="Into how many parts to divide.")
@_recipe_options
def generate(
    recipe: str, out: Place, shards: str | None, shard_index: int | None, shard_count: int | None, **options: Any
) -> None:
    """Make the dataset of RECIPE in the folder OUT, which must be new or empty; s3://BUCKET/NAME is one too.

    With --shards or --shard-index any number of runs divide a dataset among them: the first begins it, the others
    join, the last completes it.
    """
    from .runs import Part, Ways, generate_dataset
    from .shipped import find_recipe

    ways, changes = Ways.of(options)
    part = Part.of(shards, shard_index, shard_count)
    loaded = find_recipe(recipe, **changes)
    _note_limit(loaded, changes["limit"])
    sys.exit(generate_dataset(loaded, out, ways, part))


@cli.command()
@click.argument("out", type=PLACE)
@_crew_options
def resume(out: Place, **options: Any) -> None:
    """Complete the dataset in OUT after an interruption; what is done is kept."""
    from .runs import Ways, resume_dataset

    sys.exit(resume_dataset(out, Ways.of(options)[0]))


@cli.command()
@click.argument("target")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs: numbers, with units in their names.")
@MASK
def info(target: str, as_json: bool, mask: Path | None) -> None:
    """Describe a dataset or a recipe in words, or for programs in numbers."""
    if as_json:
        from .facts import target_numbers

        print_json(target_numbers(target, mask))
        return
    from .info import describe_target

    table(describe_target(target, mask))


@cli.command()
@click.argument("target")
@click.option("--out", type=LOCAL, help="Folder for the pictures; TARGET-preview if left out.")
@click.option(
    "--count",
    type=click.IntRange(min=1, max=200),
    default=8,
    show_default=True,
    help="Samples on the page; the sheet shows six of them.",
)
@click.option("--set", "changes", multiple=True, metavar="KEY=VALUE",
              help="Change a key of the recipe, for example camera.f_number=4. May be repeated.")  # fmt: skip
@MASK
def preview(target: str, out: Path | None, count: int, changes: tuple[str, ...], mask: Path | None) -> None:
    """Draw samples of a dataset or a recipe: a viewer (HTML), a contact sheet (PNG), and of focal stacks the sweep."""
    from .preview import write_preview

    for path in write_preview(target, out, count, mask, changes):
        click.echo(f"Wrote {path}")


@cli.command()
@click.argument("target")
@click.option("--out", type=LOCAL, help="The picture (PNG); TARGET-psf.png if left out.")
@click.option("--save", type=LOCAL, metavar="FILE.npz", help="Also write the kernels to a file.")
@click.option("--set", "changes", multiple=True, metavar="KEY=VALUE",
              help="Change a key of the recipe, for example psf.mask.lobes=2. May be repeated.")  # fmt: skip
@MASK
def psf(target: str, out: Path | None, save: Path | None, changes: tuple[str, ...], mask: Path | None) -> None:
    """Draw the PSFs of a recipe or a dataset over depth, with their rotation and MTF."""
    from .psf import write_psf

    facts, written = write_psf(target, out, save, changes=changes, mask=mask)
    table(facts)
    for path in written:
        click.echo(f"Wrote {path}")
    if dataset_at(target) is not None:
        click.echo(f"Next: `defocal preview {shlex.quote(target)}`.")
    else:
        given = [word for change in changes for word in ("--set", change)] + (["--mask", str(mask)] if mask else [])
        click.echo(f"Next: `{shlex.join(['defocal', 'plan', target, *given])}`.")


@cli.command()
@click.argument("store", type=PLACE)
@click.option("--rerender", type=click.IntRange(min=0), default=0, metavar="K",
              help="Also make K random samples again and compare.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
def verify(store: Place, rerender: int, as_json: bool) -> None:
    """Prove that a dataset or release is what it says: files, digests, physics, samples made again."""
    from ..synth.store import open_store
    from .progress import Progress
    from .verify import EXACT, comparison_words, count_samples, make_again, worst
    from .verify import verify as check

    samples = count_samples(store)
    with Progress(samples, "verifying") as progress:
        verdict = check(store, report=progress.advance)
    if rerender and not verdict.problems:
        with Progress(min(rerender, samples), "making again") as progress:
            make_again(open_store(store), rerender, verdict, progress.advance)
    if as_json:
        print_json(verdict.to_dict())
        sys.exit(MISMATCH if verdict.problems else 0)
    for index, comparison in verdict.rerendered:
        click.echo(f"sample {index} made again: {comparison_words(comparison)}")
    if len(verdict.rerendered) > 1:
        words = ", ".join(f"{name} {said}" for name, said in worst(verdict.rerendered).items())
        click.echo(f"{len(verdict.rerendered)} samples made again: {words}")
    if verdict.others and any(said != EXACT for said in worst(verdict.rerendered).values()):
        click.echo(f"The dataset was made with other versions: {'; '.join(verdict.others)}.")
    for problem in verdict.problems[:20]:
        click.echo(f"Mismatch: {problem}", err=True)
    if len(verdict.problems) > 20:
        click.echo(f"... and {len(verdict.problems) - 20} more.", err=True)
    if verdict.made_otherwise:
        click.echo(
            f"{store} is as it was written, but its recipe makes other samples here: compare versions and processors, "
            "or how it was made.",
            err=True,
        )
    elif verdict.problems:
        click.echo(f"{store} failed verification: generate it again, or fetch a fresh copy.", err=True)
    if verdict.problems:
        sys.exit(MISMATCH)
    click.echo(f"{store} is intact: {verdict.samples} samples, content digest {verdict.digest}")
    if verdict.release:
        click.echo(f"It is the release {verdict.release}")


for command in (mask, depth, scenes, release, unpack, diff, export, configs, train, evaluate, reproduce):
    cli.add_command(command)


if __name__ == "__main__":
    cli()
