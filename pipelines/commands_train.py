"""The command `train`, which needs torch and a store, and nothing that generates one."""

import contextlib
import sys
from pathlib import Path
from shlex import quote
from typing import Any

import click

from .commands import FAILED, LOCAL


@click.command()
@click.argument("config")
@click.option("--data", "stores", multiple=True, required=True, metavar="STORE", help="Dataset; may be repeated.")
@click.option("--out", type=LOCAL, required=True, metavar="RUN", help="Folder of the run.")
@click.option("--resume", is_flag=True, help="Go on with the run in RUN, from its last checkpoint.")
@click.option("--seed", type=click.IntRange(min=0), metavar="N", help="Use this seed, not the config's.")
@click.option("--device", metavar="NAME", help="auto, cpu, cuda, cuda:N or mps; the config's if left out.")
@click.option("--set", "changes", multiple=True, metavar="KEY=VALUE",
              help="Change a key of the config, for example data.batch_size=4. May be repeated.")  # fmt: skip
def train(
    config: str, stores: tuple[str, ...], out: Path, resume: bool, seed: int | None, device: str | None,
    changes: tuple[str, ...],
) -> None:  # fmt: skip
    """Train the model of CONFIG: the name of a shipped config (see `defocal configs`) or a TOML file.

    SIGTERM and Ctrl-C save after the step under way; --resume goes on with the very next sample. Several GPUs:
    torchrun --nproc-per-node 4 -m defocal.pipelines.cli train ...
    """
    from ..train.config import load_config
    from ..train.trainer import DivergedError
    from ..train.trainer import train as run
    from ..train.validation import in_words

    loaded = load_config(config, seed=seed, changes=changes)
    try:
        outcome = run(loaded, stores, out, resume=resume, device=device)
    except DivergedError as error:
        click.echo(f"Diverged: {error}", err=True)
        sys.exit(FAILED)
    if not outcome.complete:
        click.echo(f"Stopped after step {outcome.step} of {outcome.steps}, which is saved. Go on with --resume.")
        sys.exit(FAILED if outcome.interrupted else 0)
    if outcome.best:
        found = in_words({name: value for name, value in outcome.best.items() if name != "step"})
        seen = loaded.data.crop
        where = f" (the middle {seen[1]}x{seen[0]} px of each picture)" if seen else ""
        click.echo(f"Best validation at step {outcome.best['step']:.0f}{where}: {found}")
    run_folder, report = quote(str(out)), quote(f"{out.resolve().name}-report")
    click.echo(f"Next: `defocal evaluate {run_folder} --data {quote(stores[0])} --out {report}`.")
    if loaded.optics is not None:
        mask = quote(str(out / "mask.json"))
        made = f"`defocal generate RECIPE DATA --mask {mask}` makes the dataset of this mask"
        click.echo(f"Then: {made}, `defocal mask {mask} OUT` writes it for a workshop.")


@click.command()
@click.argument("runs", nargs=-1, type=LOCAL)
@click.option("--data", required=True, metavar="STORE", help="Dataset to judge on; its camera must be the runs'.")
@click.option("--out", type=LOCAL, required=True, metavar="REPORT", help="Folder of the report.")
@click.option("--split", help="Split of the dataset; the config's validation split if left out.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Judge at most N samples.")
@click.option("--protocol", default="all", show_default=True, metavar="NAME",
              help="Which pixels count: all, nyu-eigen, make3d-c1, make3d-c2.")  # fmt: skip
@click.option("--dropout-samples", "samples", type=click.IntRange(min=2), metavar="N",
              help="Predict N times with dropout, for uncertainty; D3-Net has 50.")  # fmt: skip
@click.option("--baseline", "baselines", multiple=True, metavar="NAME",
              help="Also judge mean-depth or zhuo-sim; of stacks sml, rdf, variance or windowed-ls; as-captured or "
                   "wiener; of stacks fusion-depth or fusion-pyramid. May be repeated.")  # fmt: skip
@click.option("--depth-from", type=LOCAL, metavar="RUN",
              help="Run that tells the depth which models that deblur read; the true depth if left out.")  # fmt: skip
@click.option("--pictures", type=click.IntRange(0, 50), default=6, show_default=True, help="Images on the page.")
@click.option("--captures", type=click.Choice(["rendered", "stored"]), default="rendered", show_default=True,
              help="Of runs that learned a mask: render captures through it, or take the store's.")  # fmt: skip
@click.option("--last", is_flag=True, help="Take the last checkpoint, not the best.")
@click.option("--device", default="auto", show_default=True, metavar="NAME", help="auto, cpu, cuda, cuda:N or mps.")
def evaluate(runs: tuple[Path, ...], data: str, out: Path, samples: int | None, last: bool, **options: Any) -> None:
    """Judge the models of RUNS side by side: metrics, curves, pictures, as one HTML page, tables and JSON.

    A RUN is the folder that `defocal train` made, or a checkpoint. Runs that differ in their seeds alone become one row
    with mean and spread.
    """
    from .evaluation import evaluate as judge
    from .evaluation_report import cautions, check_out, summary, write_report
    from .judged import Options
    from .progress import Progress

    check_out(out)
    chosen = Options(samples=samples or 0, which="last" if last else "best", **options)
    with contextlib.ExitStack() as stack:
        bars: list[Progress] = []
        found = judge(
            runs, data, chosen,
            begin=lambda rows: bars.append(stack.enter_context(Progress(rows, "evaluating"))),
            report=lambda rows: bars[0].advance(rows),
        )  # fmt: skip
    paths = write_report(found, out)
    for note in cautions(found):
        click.echo(f"Note: {note}", err=True)
    click.echo(f"{summary(found)}\nMean over {found.samples} image{'s' * (found.samples != 1)}.")
    click.echo(f"Wrote {', '.join(path.name for path in paths)} in {out}. Open {paths[0]}.")


@click.command()
@click.argument("name", required=False)
def configs(name: str | None) -> None:
    """List the trainings that come with defocal, or print that of NAME.

    Written to a file, it is the beginning of one of your own.
    """
    from ..train.config import config_text, load_config, shipped_configs

    if name is not None:
        click.echo(config_text(name), nl=False)
        return
    names = shipped_configs()
    width = max(map(len, names))
    for name in names:
        click.echo(f"{name:<{width}}  {load_config(name).description}")
