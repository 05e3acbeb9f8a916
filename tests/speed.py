"""Measures how fast defocal is and writes docs/speed.md: `make speed`, on a machine that does nothing else.

    .venv/bin/python tests/speed.py [FILE ...]

runs all benchmarks, or those of some files of tests/benchmarks; sections of the others stay on the page as they were,
with the date and the machine of their measurement. A benchmark that fails leaves its section as it was.
"""

import datetime
import os
import platform
import re
import subprocess
import sys
from collections.abc import Generator, Iterable
from pathlib import Path

import pytest

import defocal

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "speed.md"
BENCHMARKS = ROOT / "tests" / "benchmarks"
INTRODUCTION = """# Speed

What the benchmarks print, word for word. `make speed` runs them and writes this page; `make bench` only prints. Each
section says when and where it was measured. Times depend on the machine and on what else it does; ratios to other
programs, taken in the same minute, are steadier. No test asserts a time.
"""


class Printed:
    """Collects what tests print, by file, and which files had a failure."""

    def __init__(self) -> None:
        self.text: dict[Path, list[str]] = {}
        self.failed: set[Path] = set()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Keep what a test printed, once it has run."""
        report = yield
        if report.failed:
            self.failed.add(item.path)
        if report.when == "call" and report.passed and report.capstdout.strip():
            self.text.setdefault(item.path, []).append(report.capstdout.strip("\n"))
        return report


def machine() -> str:
    """Say what computes: processor, cores, and how busy it was before."""
    try:
        model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    except OSError:
        model = None
    name = model[1].strip() if model else platform.processor() or platform.machine()
    return f"{name}, {len(os.sched_getaffinity(0))} cores, load {os.getloadavg()[0]:.1f} before the first benchmark"


def measured(where: str) -> str:
    """Say when, where and with which version."""
    git = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True)
    commit = f" (commit {git.stdout.strip()})" if git.returncode == 0 else ""
    return f"Measured {datetime.date.today():%Y-%m-%d} with defocal {defocal.__version__}{commit} on {where}."


def sections(page: str) -> dict[str, str]:
    """Return the sections of a page by their headings."""
    return {part.split("\n", 1)[0]: part.split("\n", 1)[1].strip("\n") for part in page.split("\n## ")[1:]}


def heading(path: Path) -> str:
    """Return the first sentence of a benchmark's docstring, without what it says of how it is run."""
    said = path.read_text(encoding="utf-8").split('"""')[1]
    return re.split(r"[:.\n]", said, maxsplit=1)[0].strip()


def page(found: dict[str, str]) -> str:
    """Put the page together."""
    return "\n".join([INTRODUCTION, *(f"## {name}\n\n{text}\n" for name, text in found.items())])


def measure(files: Iterable[Path], out: Path) -> int:
    """Run benchmarks and write the page; return the exit status.

    Sections are in the order of the files' names; nothing is written if nothing was measured.
    """
    where, printed, files = machine(), Printed(), sorted(files)
    status = int(pytest.main(["-m", "bench", "-q", *map(str, files)], plugins=[printed]))
    old = sections(out.read_text(encoding="utf-8")) if out.exists() else {}
    for path in files:
        if path in printed.text and path not in printed.failed:
            text = "\n\n".join(printed.text[path])
            old[heading(path)] = f"{measured(where)}\n\n```text\n{text}\n```"
    order = [heading(path) for path in sorted({*BENCHMARKS.glob("test_*.py"), *files})]
    kept = {name: old[name] for name in order if name in old}
    if kept:
        out.write_text(page(kept), encoding="utf-8")
    return status


def main() -> None:
    """Measure what the command line names, or all."""
    files = [Path(name).resolve() for name in sys.argv[1:]] or [*BENCHMARKS.glob("test_*.py")]
    sys.exit(measure(files, PAGE))


if __name__ == "__main__":
    main()
