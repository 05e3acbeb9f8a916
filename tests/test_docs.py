"""The documents: they run, name what exists, and the command reference is what the commands say."""

import inspect
import os
import re
from pathlib import Path

import click
import pytest
from apidoc import api
from click.testing import CliRunner
from walkthroughs import FOLLOWED

from defocal.pipelines.cli import cli
from defocal.pipelines.shipped import find_recipe, shipped
from defocal.synth import Recipe
from defocal.synth.arrays import REGISTRY
from defocal.synth.readers import READERS
from defocal.synth.recipe_scenes import DatasetScenes, FolderScenes

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
# Blocks of the other pages that are followed need what stands before them.
ALONE = [page for page in PAGES if page.name == "README.md" or f"docs/{page.name}" not in FOLLOWED]
PYTHON = [(page, code) for page in ALONE for code in re.findall(r"```python\n(.*?)```", page.read_text(), re.S)]
TOML = [(page, code) for page in PAGES for code in re.findall(r"```toml\n(.*?)```", page.read_text(), re.S)]

DATASETS = """# Datasets

`defocal generate RECIPE OUT --scenes KIND:PATH` renders with the images and depth of any of these, as their owners
publish them; nothing need be converted. `defocal scenes check KIND:PATH` reads everything once and says what it found.
All give linear light, z-depth in metres, NaN where unknown, and the intrinsics where the dataset tells them. Scenes
taken at one place share a split. This page is written from the readers by `make docs`.
"""


def reference():
    """Return the command reference, from the commands' own help."""
    pages = ["# Commands\n\nWritten from `defocal COMMAND --help` by `make docs`.\n"]
    groups = {name: command.commands for name, command in cli.commands.items() if isinstance(command, click.Group)}
    inner = {name: [f"{name} {one}" for one in commands] for name, commands in groups.items()}
    for name in ["", *(one for outer in cli.commands for one in (outer, *inner.get(outer, ())))]:
        words = [*name.split(), "--help"]
        text = CliRunner().invoke(cli, words, prog_name="defocal", terminal_width=100).output
        pages.append(f"## defocal {name}".rstrip() + f"\n\n```text\n{text.strip()}\n```\n")
    pages.append(
        "Exit codes: 0 done, 1 failed or interrupted, 2 bad input, 3 finished with failed shards, "
        "4 verification mismatch.\n"
    )
    return "\n".join(pages)


def datasets():
    """Return what the readers say of themselves."""
    rows = ["| kind | dataset | variants | parts | terms |", "|---|---|---|---|---|"]
    pages = []
    for kind, reader in READERS.items():
        choices = [", ".join(f"`{one}`" for one in names) for names in (reader.VARIANTS, reader.PARTS)]
        rows.append(f"| `{kind}` | {reader.TITLE} | {choices[0]} | {choices[1]} | {reader.LICENCE} |")
        if kind != "folder":
            pages.append(f"## {kind}\n\n{inspect.getdoc(reader)}\n")
    return "\n".join([DATASETS, *rows, "", *pages])


@pytest.mark.parametrize(("page", "written"), [("cli.md", reference), ("datasets.md", datasets), ("api.md", api)])
def test_what_is_written_from_the_code_is_current(page, written):
    path = ROOT / "docs" / page
    if os.environ.get("DEFOCAL_WRITE_DOCS"):
        path.write_text(written())
    assert path.read_text() == written(), "run `make docs`"


@pytest.mark.parametrize(("page", "code"), PYTHON, ids=lambda value: value.name if isinstance(value, Path) else "")
def test_python_examples_run(page, code, tiny_store, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my-data").symlink_to(tiny_store)
    exec(compile(code, str(page), "exec"), {})
    assert capsys.readouterr().out


@pytest.mark.parametrize(("page", "code"), TOML, ids=lambda value: value.name if isinstance(value, Path) else "")
def test_recipe_examples_are_valid(page, code):
    import tomllib

    Recipe.parse(tomllib.loads(code), origin=str(page))


def test_examples_exist():
    assert len(PYTHON) >= 2
    assert len(TOML) >= 1


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text()):
        assert target.startswith("https://") or (page.parent / target).exists(), target


def test_commands_in_the_documents_exist():
    for page in PAGES:
        for name in re.findall(r"(?m)(?:^    |`)defocal ([a-z]+)", page.read_text()):
            assert name in cli.commands, f"{page.name}: defocal {name}"


def test_every_recipe_array_and_folder_key_is_documented():
    recipes = (ROOT / "docs" / "recipes.md").read_text()
    for name in shipped():
        assert find_recipe(name)
        assert f"`{name}`" in recipes or f"`-{name.split('-')[-1]}`" in recipes
    for key in {**FolderScenes.model_fields, **DatasetScenes.model_fields}:
        assert f"`{key}" in recipes or key in ("kind", "depth", "focal", "baseline", "intrinsics"), key
    store = (ROOT / "docs" / "store.md").read_text()
    assert all(f"`{name}`" in store for name in REGISTRY)
