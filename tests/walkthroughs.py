"""Pages that a reader follows from the first block to the last: run as they are written, in one folder, but smaller."""

import contextlib
import re
import shlex
from pathlib import Path

import click
from click.testing import CliRunner

from defocal.pipelines.cli import cli
from defocal.pipelines.shipped import find_recipe
from defocal.train.config import load_config

FOLLOWED = ["README.md", "docs/tutorial.md", "docs/own-dataset.md", "docs/own-mask.md", "docs/own-model.md"]
BLOCK = re.compile(
    r"(?m)^```(?P<kind>[a-z]+)[^\n]*\n(?P<code>.*?)^```$|(?P<shell>(?:^ {4}\S[^\n]*\n(?:^ {4,}\S[^\n]*\n)*))", re.S
)
SAVED = re.compile(r"[Ss]ave[^`\n]*`([^`]+)`[^`]*\Z")
SMALLER = {
    "generate": ["--limit", "12", "--workers", "0"],
    "preview": ["--count", "2"],
    "train": ["--set", "run.steps=2", "--set", "data.crop=[64, 64]", "--set", "data.batch_size=2", "--device", "cpu"],
    "evaluate": ["--limit", "2", "--device", "cpu"],
}
"""Options that commands of a page are given at their end, where they count instead of what stands before."""
PROCEDURAL = ["--set", "scenes.size=[64, 96]"]
"""And those of `generate` where the recipe makes its scenes."""


def blocks(text):
    """Yield (kind, code, what stands before it) of a page: indented lines are "shell"."""
    begun = 0
    for found in BLOCK.finditer(text):
        yield found["kind"] or "shell", found["code"] or found["shell"], text[begun : found.start()]
        begun = found.end()


def commands(shell):
    """Return the commands of defocal in indented lines, as lists of words without comments."""
    lines = re.sub(r"\\\n\s*", " ", shell).splitlines()
    return [shlex.split(line, comments=True) for line in lines if line.split()[0] == "defocal"]


def parse(words):
    """Check that a command and all its options exist, without running it."""
    command, context = cli, click.Context(cli)
    while isinstance(command, click.Group):
        name, *words = words
        command = command.get_command(context, name)
        assert command is not None, name
    # Options such as --list answer at once, and end.
    with contextlib.suppress(click.exceptions.Exit):
        command.make_context(command.name, list(words))


def made_smaller(words, own=()):
    """Add options to a command so that it makes little; `own` are the names of recipes that take no `PROCEDURAL`."""
    more = SMALLER.get(words[1], [])
    takes_scenes = words[1] == "generate" and words[2] not in own and "--scenes" not in words
    return [*words[1:], *more, *(PROCEDURAL if takes_scenes else [])]


def check_crop(words, sizes):
    """Check that a command of the page would train on crops that fit: `sizes`, by dataset, are of what it generates."""
    changes = [words[i + 1] for i, word in enumerate(words) if word == "--set"]
    if words[1] == "generate" and "--scenes" not in words:
        sizes[words[3]] = getattr(find_recipe(words[2], changes=changes).scenes, "size", None)
    elif words[1] == "train":
        crop, size = load_config(words[2], changes=changes).data.crop, sizes.get(words[words.index("--data") + 1])
        assert crop is None or size is None or (crop[0] <= size[0] and crop[1] <= size[1]), shlex.join(words)


def follow(page, folder):
    """Run a page in `folder`, which is where we are; return the commands that ran."""
    ran, names, own, sizes = [], {"__name__": "__main__"}, set(), {}
    for kind, code, before in blocks(Path(page).read_text(encoding="utf-8")):
        if kind == "python":
            exec(compile(code, str(page), "exec"), names)
        elif kind == "toml" and (saved := SAVED.search(before)):
            (folder / saved[1]).write_text(code, encoding="utf-8")
            own.add(saved[1])
        elif kind == "shell":
            for words in commands(code):
                check_crop(words, sizes)
                done = CliRunner().invoke(cli, made_smaller(words, own))
                assert done.exit_code == 0, f"{shlex.join(words)}\n{done.output}"
                ran.append(words)
    return ran
