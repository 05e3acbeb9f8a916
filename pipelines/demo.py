"""The whole way on a small scale: recipe, dataset, proof and pictures."""

from pathlib import Path

import click

from .. import InputError
from ..synth.samples import SampleMaker
from ..synth.store import open_store
from .generate import complete, create, reopen, run
from .info import recipe_facts
from .preview import write_preview
from .progress import Progress
from .shipped import find_recipe
from .verify import comparison_words, verify


def run_demo(out: Path) -> None:
    """Make the `quickstart` dataset in `out`, verify it, make two samples again, and draw it.

    A dataset that an earlier demo left there is used; an unfinished one is completed.

    Raises
    ------
    InputError
        If `out` holds anything else, or the dataset fails its verification.
    """
    if out.exists() and not out.is_dir():
        raise InputError(f"{out} is a file: choose another folder with --out.")
    recipe = find_recipe("quickstart")
    for heading, text in recipe_facts(recipe):
        click.echo(f"{heading:<12} {text}")
    store = out / "quickstart"
    _make(store, SampleMaker(recipe))
    verdict = verify(store, rerender=2)
    if verdict.problems:
        raise InputError(f"{store} failed its verification ({verdict.problems[0]}): delete it and try again.")
    click.echo(f"\nVerified {verdict.samples} samples against their digests and the lens;")
    again = [comparison_words(words) for _, words in verdict.rerendered]
    click.echo(f"made {len(again)} again: {', '.join(again)}.")
    click.echo(f"Content digest {verdict.digest}\n")
    picture, page, *_ = write_preview(str(store), out, 12)
    click.echo(f"Look at it:  {picture}\n             {page}")
    click.echo("Next:        `defocal recipes`, `defocal plan d3net-2m`, then `defocal generate d3net-2m my-dataset`")


def _make(store: Path, maker: SampleMaker) -> None:
    if store.exists():
        open_store(store, unfinished=True)
    if store.exists() and complete(store):
        click.echo(f"\nUsing the dataset in {store}; delete it to see it made.")
        return
    if store.exists():
        maker, todo = reopen(store)
    else:
        store.parent.mkdir(parents=True, exist_ok=True)
        todo = create(store, maker)
    click.echo("\nMaking scenes and captures (the first one compiles the renderer) ...")
    with Progress(maker.count, "generating") as progress:
        outcome = run(store, maker, todo, report=progress.event)
    if outcome.failed:
        raise InputError(f"the demo could not be written to {store}: {next(iter(outcome.failed.values()))}")
