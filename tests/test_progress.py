"""Progress: a bar, lines where there is no terminal, JSON for programs; and what `plan` says of memory."""

import io
import json
import os
import pty
import re
import time

import psutil
import pytest
from conftest import recipe_data
from processes import command, ended, events, toy, workers_of

from defocal.pipelines import progress
from defocal.pipelines.events import Event, JsonLines, Outcome
from defocal.pipelines.progress import Progress, amount, duration
from defocal.synth import Recipe
from defocal.synth.shards import Shard

SHARD = Shard("train", 3, 9, (20, 21, 22))


@pytest.fixture
def recipe_file(tmp_path):
    path = tmp_path / "tiny.toml"
    path.write_text(Recipe.parse(recipe_data(scenes={"count": 40})).to_toml())
    return path


def test_a_line_every_few_seconds_where_there_is_no_terminal(monkeypatch, capsys):
    monkeypatch.setattr(progress, "QUIET_SECONDS", 0.05)
    monkeypatch.setattr(progress, "STILL_SECONDS", 0.1)
    with Progress(20, "generating") as said:
        said.event(Event(SHARD, kind="kept", kept=3))
        said.event(Event(SHARD, samples=3, bytes=2_500_000))
        said.event(Event(SHARD, error="no.", kind="failed"))
        said.event(Event(kind="note", text="Something else."))
        time.sleep(0.3)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "Something else."
    # Also while nothing happens.
    assert len(lines) >= 3
    pattern = (
        r"generating: 6 of 20 samples, [\d.]+ a second, 2\.5 MB written \([\d.]+ MB/s\), \d+ s left, 1 shard failed"
    )
    assert re.fullmatch(pattern, lines[-1]), lines[-1]
    # What was there before does not count for the speed.
    speed = float(re.search(r"([\d.]+) a second", lines[-1])[1])
    assert speed < 3 / 0.2


def test_what_does_not_change_is_not_said_again_and_again(monkeypatch, capsys):
    monkeypatch.setattr(progress, "QUIET_SECONDS", 0.01)
    with Progress(20, "generating") as said:
        time.sleep(0.2)
        said.begun -= 9
        said.advance(1)
        time.sleep(0.2)
    first, second = capsys.readouterr().err.splitlines()
    assert re.fullmatch(r"generating: 0 of 20 samples, getting ready for 0 s", first)
    assert re.fullmatch(r"generating: 1 of 20 samples, 9 s each, \d min left", second)


def test_numbers_are_readable():
    assert [amount(n) for n in (4e5, 2.5e6, 3e7, 4.2e9)] == ["0.4 MB", "2.5 MB", "30 MB", "4.2 GB"]
    assert [duration(n) for n in (3, 120, 7200)] == ["3 s", "2 min", "2.0 h"]


def test_a_bar_where_there_is_a_terminal(recipe_file, tmp_path):
    ours, theirs = pty.openpty()
    process = toy("generate", recipe_file, tmp_path / "d", faults={"sleep": 0.05, "fail": [13]})
    process.communicate()
    shown = b""
    process = toy("resume", tmp_path / "d", faults={"sleep": 0.5}, stderr=theirs)
    os.close(theirs)
    try:
        while chunk := os.read(ours, 4096):
            shown += chunk
    except OSError:
        pass
    os.close(ours)
    process.communicate()
    text = shown.decode()
    assert "40/40" in text
    for words in ("a second", "written", "left", "generating  ["):
        assert words in text, text


def test_lines_of_json_are_what_is_documented():
    stream = io.StringIO()
    lines = JsonLines(stream)
    lines.event(Event(SHARD, kind="kept", kept=3))
    lines.event(Event(SHARD, samples=3, bytes=10, seconds=0.5))
    lines.event(Event(SHARD, error="no.", kind="failed", worker="tcp://w"))
    lines.event(Event(kind="note", text="Something else."))
    lines.done(Outcome(samples=3, seconds=1.0, failures=1, bytes=10), 3)
    shard = {"shard": "train-000003", "samples": 3}
    assert [json.loads(line) for line in stream.getvalue().splitlines()] == [
        {"event": "kept", **shard},
        {"event": "shard", **shard, "bytes": 10, "seconds": 0.5},
        {"event": "failed", **shard, "error": "no.", "worker": "tcp://w"},
        {"event": "note", "text": "Something else."},
        {"event": "done", "samples": 3, "seconds": 1.0, "failures": 1, "bytes": 10, "stopped": "", "complete": False,
         "exit": 3},
    ]  # fmt: skip


def test_a_program_is_told_all_of_a_run(recipe_file, tmp_path):
    out = tmp_path / "d"
    status, output, _ = ended(toy("generate", recipe_file, out, "--json"))
    told = events(output)
    assert [line["event"] for line in told] == ["begun", *["shard"] * 14, "done"]
    assert told[0]["samples"] == told[-1]["samples"] == sum(line["samples"] for line in told[1:-1]) == 40
    assert told[0]["recipe"] == "tiny"
    assert len(told[0]["recipe_hash"]) == 64
    assert told[-1]["bytes"] == sum(line["bytes"] for line in told[1:-1])
    assert told[-1]["exit"] == status == 0
    _, output, _ = ended(toy("resume", out, "--json"))
    assert [line["event"] for line in events(output)] == ["done"]


@pytest.mark.slow
def test_a_worker_takes_no_more_memory_than_the_plan_says(tmp_path):
    """Over some shards of full size, with samples that are meant."""
    data = recipe_data(scenes={"count": 2000, "size": [240, 320]}, camera={"pixel_pitch": "35 um"})
    path = tmp_path / "larger.toml"
    path.write_text(Recipe.parse({**data, "output": {"shard_bytes": "30 MB"}}).to_toml())
    status, said, errors = ended(command("plan", path, "--out", tmp_path))
    assert status == 0, errors
    stated = re.search(r"up to (\d+) MB a worker, (\d+) MB of it for a shard", said)
    assert stated, said
    process = command("generate", path, tmp_path / "d", "--workers", 1, "--shards", "0:3")
    most = 0
    while process.poll() is None:
        for worker in workers_of(process):
            most = max(most, peak(worker.pid))
        time.sleep(0.1)
    status, _, errors = ended(process)
    assert status == 0, errors
    print(f"\na worker took {most / 1e6:.0f} MB where {stated[1]} MB were stated")
    assert int(stated[2]) < most / 1e6 <= int(stated[1])
    assert most / 1e6 > 0.5 * int(stated[1])


def peak(process):
    """Most bytes that a process has had in memory."""
    try:
        with open(f"/proc/{process}/status") as file:
            return next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        return 0


def test_memory_is_measured():
    from defocal.pipelines.memory import peak_bytes

    assert peak_bytes() >= 0.9 * psutil.Process().memory_info().rss
