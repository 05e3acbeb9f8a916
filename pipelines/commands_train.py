"""The command `train`, which needs torch and a store, and nothing that generates one."""

import sys
from pathlib import Path

import click

from .commands import FAILED


@click.command()
@click.argument("config")
@click.option("--data", "stores", multiple=True, required=True, metavar="STORE", help="Dataset; may be repeated.")
@click.option("--out", type=click.Path(path_type=Path), required=True, metavar="RUN", help="Folder of the run.")
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

    loaded = load_config(config, seed=seed, changes=changes)
    try:
        outcome = run(loaded, stores, out, resume=resume, device=device)
    except DivergedError as error:
        click.echo(f"Diverged: {error}", err=True)
        sys.exit(FAILED)
    if not outcome.complete:
        click.echo(f"Stopped after step {outcome.step} of {outcome.steps}, which is saved. Go on with --resume.")
        return
    if outcome.best:
        found = ", ".join(f"{name} {value:.4g}" for name, value in outcome.best.items() if name != "step")
        click.echo(f"Best validation at step {outcome.best['step']:.0f}: {found}")
    click.echo(f"Next: `defocal evaluate {out} --data {stores[0]} --out {out.name}-report`.")


@click.command()
def configs() -> None:
    """List the trainings that come with defocal."""
    from ..train.config import load_config, shipped_configs

    names = shipped_configs()
    width = max(map(len, names))
    for name in names:
        click.echo(f"{name:<{width}}  {load_config(name).description}")
