"""What docs/contributing.md says is enough: its toys, put in as they are written, work."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
BLOCK = re.compile(r"^```(python|diff) (\S+)\n(.*?)^```$", re.M | re.S)
SECTIONS = (ROOT / "docs" / "contributing.md").read_text(encoding="utf-8").split("\n## ")[1:]


def patched(text, diff):
    """Put the lines with "+" behind the next lines that begin as those before them, without the "+", do."""
    lines, at = text.splitlines(), 0
    for line in diff.splitlines():
        if line.startswith("+"):
            lines.insert(at, line[1:])
            at += 1
        else:
            at = next(i for i, there in enumerate(lines[at:], at) if there.startswith(line[1:])) + 1
    return "\n".join(lines) + "\n"


def test_every_addition_is_at_most_one_file_one_list_and_one_test():
    for section in SECTIONS:
        found = [(kind, path) for kind, path, _ in BLOCK.findall(section)]
        assert [kind for kind, _ in found] in (["python", "diff", "python"], ["diff", "python"]), section[:40]
        assert found[-1][1].startswith("tests/test_")
        (diff,) = (text for kind, _, text in BLOCK.findall(section) if kind == "diff")
        added = [line for line in diff.splitlines() if line.startswith("+")]
        assert len([line for line in added if not line.startswith("+from")]) == 1


@pytest.mark.slow
def test_the_additions_work(tmp_path):
    for room in ("synth", "train", "evaluate", "pipelines", "tests"):
        shutil.copytree(ROOT / room, tmp_path / room, ignore=shutil.ignore_patterns("__pycache__", "node_modules"))
    for name in ("__init__.py", "setup.cfg", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / ".types").mkdir()
    (tmp_path / ".types" / "defocal").symlink_to("..")
    tests, changed = [], []
    for section in SECTIONS:
        for kind, name, text in BLOCK.findall(section):
            path = tmp_path / name
            assert path.exists() == (kind == "diff"), name
            path.write_text(
                patched(path.read_text(encoding="utf-8"), text) if kind == "diff" else text, encoding="utf-8"
            )
            changed.append(name)
            if name.startswith("tests/"):
                tests.append(name)
    assert len(tests) == len(SECTIONS) == 5
    tests += ["tests/test_facts.py::test_every_key_of_a_recipe_has_a_unit_or_needs_none"]
    tests += ["tests/test_reader_base.py::test_every_reader_says_what_it_is"]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / ".types")}
    run = [sys.executable, "-m", "pytest", "-q", "--rootdir", str(tmp_path), *tests]
    done = subprocess.run(run, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:]
    assert "7 passed" in done.stdout
    for check in (["check"], ["format", "--check"]):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *check, *changed], cwd=tmp_path, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout[-3000:]
