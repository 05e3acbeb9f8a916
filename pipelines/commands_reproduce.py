"""The command `reproduce`: a paper's systems, one ordinary command after the other, and a page of what came out."""

import signal
import sys
from pathlib import Path
from typing import Any

import click

from .commands import BAD_INPUT, FAILED, LOCAL


@click.command()
@click.argument("paper")
@click.option("--scale", type=click.Choice(["smoke", "small", "full"]), default="small", show_default=True,
              help="smoke: minutes on two cores, to see that it runs; small: one GPU, or a CPU for hours; full: the "
              "paper's own.")  # fmt: skip
@click.option("--out", type=LOCAL, metavar="FOLDER", help="Where everything goes; PAPER-SCALE if left out.")
@click.option("--scenes", metavar="KIND:PATH", help="Take the scenes from there, not procedural ones.")
@click.option("--real", type=LOCAL, metavar="PATH", help="d3net: the DSLR pairs, to fine-tune on and be tested by.")
@click.option("--test", type=LOCAL, metavar="PATH", help="rendering: a dataset of other stacks to be tested by.")
@click.option("--seeds", type=click.IntRange(1, 100), metavar="N",
              help="Seeds of every row, in the place of the scale's own number; more may be added later.")  # fmt: skip
@click.option("--jobs", type=click.IntRange(1, 64), default=1, show_default=True, metavar="N",
              help="Steps to do at a time, where one does not need another.")  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Tell the steps, which are done, time and size, and do nothing.")
def reproduce(
    paper: str, scale: Any, out: Path | None, scenes: str | None, real: Path | None, test: Path | None,
    seeds: int | None, jobs: int, dry_run: bool,
) -> None:  # fmt: skip
    """Do what PAPER did: rpsf, udfd, dff-wild, d3net or 2hded; or the study rendering.

    Each step is an ordinary command, printed before it runs. After an interruption the same command goes on. The page
    shows the paper's numbers beside ours, and whether the relations between them hold.
    """
    from .lock import hold_folder
    from .papers import paper as named
    from .reproduction import check, prepare, write_page
    from .steps import StepError, run_steps

    given = {name: path for name, path in (("real", real), ("test", test)) if path is not None}
    work = named(paper, out or Path(f"{paper}-{scale}"), scale, scenes, given, seeds)
    if dry_run:
        from .outlook import outline

        check(work)
        click.echo("\n".join(outline(work)))
        return
    prepare(work)
    # So that what is under way is stopped too, and saved.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with hold_folder(work.out, "a reproduction") as held:
        try:
            run_steps(work.steps, work.out / "times.json", click.echo, jobs, held)
        except StepError as error:
            click.echo(f"Error: {error}", err=True)
            sys.exit(BAD_INPUT if error.status == BAD_INPUT else FAILED)
        except KeyboardInterrupt:
            click.echo("Stopped: give the same command to go on.", err=True)
            sys.exit(FAILED)
        path, relations = write_page(work)
    for one in relations:
        won = "" if one.won is None else f" ({one.won} of {one.seeds} seeds)"
        click.echo(f"{one.verdict:<18} {one.text}{won}")
    click.echo(f"Wrote {path}. Open it.")
