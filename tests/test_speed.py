"""The page of speed holds what benchmarks printed, and keeps what was not measured again."""

import sys
import textwrap

import speed


def benchmark(folder, name, *lines):
    path = folder / f"test_{name}.py"
    path.write_text(
        f'"""How fast {name} is: run it."""\n\nimport pytest\n\npytestmark = pytest.mark.bench\n\n\n'
        + "def test_it():\n"
        + textwrap.indent("\n".join(lines), "    ")
        + "\n"
    )
    return path


def test_sections_are_written_kept_and_replaced(tmp_path, monkeypatch):
    monkeypatch.setattr(speed, "BENCHMARKS", tmp_path)
    out, had = tmp_path / "speed.md", set(sys.modules)
    files = [benchmark(tmp_path, name, f"print('\\n{name}: 12.5 ms')") for name in ("walking", "running")]
    assert speed.measure(files, out) == 0
    written = out.read_text()
    assert written.startswith(speed.INTRODUCTION)
    assert list(speed.sections(written)) == ["How fast running is", "How fast walking is"]
    assert "```text\nwalking: 12.5 ms\n```" in written
    assert "cores, load" in written
    # One measured again, the other broken: its section stays.
    benchmark(tmp_path, "walking", "print('walking: 9 ms')")
    benchmark(tmp_path, "running", "print('running: 1 ms')", "assert False")
    for name in set(sys.modules) - had:
        del sys.modules[name]
    assert speed.measure(files, out) == 1
    again = speed.sections(out.read_text())
    assert "walking: 9 ms" in again["How fast walking is"]
    assert "running: 12.5 ms" in again["How fast running is"]


def test_nothing_measured_writes_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(speed, "BENCHMARKS", tmp_path)
    speed.measure([benchmark(tmp_path, "silence", "pass")], tmp_path / "speed.md")
    assert not (tmp_path / "speed.md").exists()


def test_every_benchmark_has_a_heading_of_its_own():
    found = [speed.heading(path) for path in speed.BENCHMARKS.glob("test_*.py")]
    assert len(found) == len(set(found)) > 5
    assert all(len(name) > 10 for name in found), found
