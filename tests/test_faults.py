"""Faults of runs: whatever is killed, lost or broken costs what was under way; `resume` mends it to the same digest.

Samples are noise here (`toy/sitecustomize.py`), which costs nothing; what becomes of them is real.
"""

import contextlib
import errno
import os
import random
import signal
import time
from types import SimpleNamespace

import psutil
import pytest
from conftest import recipe_data
from processes import digest, ended, events, toy, wait_until, workers_of
from rgbd import noise_folder

from defocal import InputError
from defocal.pipelines import cluster, workers
from defocal.pipelines.generate import create, reopen, run
from defocal.synth import Recipe, commit
from defocal.synth.commit import FOLDER
from defocal.synth.samples import SampleMaker
from defocal.synth.shards import Shards


def resumed(out, *arguments):
    """Resume a dataset, and return its digest."""
    status, _, errors = ended(toy("resume", out, *arguments))
    assert status == 0, errors
    assert not list(out.rglob("*.partial"))
    return digest(out)


def kill_workers(process, rng, most=4):
    """Kill workers of a run, one or all at once, now and then."""
    for _ in range(rng.randint(1, most)):
        victims = workers_of(process)
        for worker in victims if rng.random() < 0.5 else rng.sample(victims, min(1, len(victims))):
            with contextlib.suppress(psutil.Error):
                worker.kill()
        time.sleep(rng.uniform(0, 1))


def killed_workers(recipe_file, out, seed):
    """Run while workers are killed, resume if that was needed, and return the digest."""
    rng = random.Random(seed)
    process = toy("generate", recipe_file, out, "--workers", 2, faults={"sleep": 0.03})
    wait_until(lambda: workers_of(process) or process.poll() is not None)
    time.sleep(rng.uniform(0, 2.5))
    kill_workers(process, rng)
    status, _, errors = ended(process)
    assert status in (0, 3), errors
    return digest(out) if status == 0 else resumed(out)


@pytest.mark.parametrize("seed", [1])
def test_killed_workers_are_replaced_and_nothing_is_lost(recipe_file, undisturbed, tmp_path, seed):
    assert killed_workers(recipe_file, tmp_path / "d", seed) == undisturbed


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 200))
def test_workers_killed_at_a_hundred_moments(recipe_file, undisturbed, tmp_path, seed):
    assert killed_workers(recipe_file, tmp_path / "d", seed) == undisturbed


def killed_driver(recipe_file, out, seed):
    """Kill a run, but not its workers, after a random time; resume it and return its digest."""
    rng = random.Random(seed)
    process = toy("generate", recipe_file, out, "--workers", 1 + seed % 2, faults={"sleep": 0.05})
    wait_until(lambda: out.exists() or process.poll() is not None)
    time.sleep(rng.uniform(0, 3))
    orphans = workers_of(process)
    process.kill()
    process.communicate()
    mended = resumed(out)
    _, alive = psutil.wait_procs(orphans, timeout=10)
    assert not alive, "workers outlive their run"
    return mended


def test_a_killed_driver_takes_its_workers_along_and_is_resumed(recipe_file, undisturbed, tmp_path):
    assert killed_driver(recipe_file, tmp_path / "d", 1) == undisturbed


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(200, 220))
def test_drivers_killed_at_many_moments(recipe_file, undisturbed, tmp_path, seed):
    assert killed_driver(recipe_file, tmp_path / "d", seed) == undisturbed


class Doomed(workers.LocalWorkers):
    """Local workers that are lost before they have done anything, a number of times."""

    def __init__(self, losses):
        super().__init__(1)
        self.losses = losses

    @contextlib.contextmanager
    def _session(self):
        if self.losses:
            self.losses -= 1
            raise cluster.LostError("All local workers are gone.")
        with super()._session() as session:
            yield session


def test_workers_that_are_lost_again_and_again_end_the_run(tiny, tmp_path):
    maker, seen = SampleMaker(tiny), []
    outcome = run(tmp_path / "d", maker, create(tmp_path / "d", maker), crew=Doomed(99), report=seen.append)
    assert "All local workers are gone. That was so 4 times in a row" in outcome.stopped
    assert not outcome.complete
    assert [event.kind for event in seen] == ["note"] * 4
    with pytest.raises(InputError, match="unfinished"):
        create(tmp_path / "d", maker)


def test_a_session_without_workers_is_given_up(monkeypatch):
    """All workers gone and not coming back: what no one may wait for."""

    scheduler, client = SimpleNamespace(workers=()), SimpleNamespace(status="running")

    now = [0.0]
    monkeypatch.setattr(workers.time, "monotonic", lambda: now[0])
    session = workers._LocalSession(client, SimpleNamespace(scheduler=scheduler), 2, None)
    now[0] = workers.GRACE - 1
    assert session.look() is None
    now[0] = workers.GRACE + 1
    with pytest.raises(cluster.LostError, match="All local workers"):
        session.look()
    session = workers._LocalSession(client, SimpleNamespace(scheduler=scheduler), 2, None)
    scheduler.workers = ("one",)
    now[0] += 4 * workers.GRACE - 1
    assert session.look() is None
    now[0] += 2
    with pytest.raises(cluster.LostError, match="Some local workers"):
        session.look()


SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    ("fault", "words"),
    [("fail", "scene 13 cannot be read."), pytest.param("defect", "ZeroDivisionError", marks=SLOW)],
)
def test_a_shard_that_always_fails_costs_itself_alone(recipe_file, undisturbed, tmp_path, fault, words):
    out = tmp_path / "d"
    run = toy("generate", recipe_file, out, "--workers", 2, "--json", faults={fault: [13]})
    status, output, errors = ended(run)
    assert status == 3
    assert words in errors
    assert f"1 of 14 shards failed; `defocal resume {out}` tries them again" in errors
    told = events(output)
    assert [event["event"] for event in told].count("failed") == 1
    assert told[-1] == {**told[-1], "event": "done", "failures": 1, "complete": False, "exit": 3}
    status, output, _ = ended(toy("resume", out, "--json"))
    assert status == 0
    assert [event["event"] for event in events(output)].count("shard") == 1
    assert digest(out) == undisturbed


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=SLOW)])
def test_a_shard_that_kills_its_worker_costs_itself_alone(recipe_file, undisturbed, tmp_path, workers):
    """With one worker every other shard is in its company, and must not be taken for guilty."""
    out = tmp_path / "d"
    status, output, errors = ended(
        toy("generate", recipe_file, out, "--workers", workers, "--json", faults={"kill": [13]})
    )
    assert status == 3
    told = events(output)
    assert [event["event"] for event in told].count("shard") == 13
    assert "the workers that made it died again and again: killed, or out of memory" in errors
    assert resumed(out) == undisturbed


def test_a_full_disk_stops_the_run_at_once(tiny, tiny_store, tmp_path, monkeypatch):
    out, maker = tmp_path / "d", SampleMaker(tiny)
    todo, tried = create(out, maker), []

    def full(group, name, first, block):
        tried.append(first)
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(commit, "write_array", full)
        outcome = run(out, maker, todo)
    assert len(tried) == 1
    assert "No space left on device. The other shards would meet the same" in outcome.stopped
    assert not run(out, *reopen(out)).failures
    assert digest(out) == digest(tiny_store)


def test_a_bad_moment_of_a_file_system_is_got_over(tiny, tiny_store, tmp_path, monkeypatch):
    out, maker = tmp_path / "d", SampleMaker(tiny)
    todo, moments = create(out, maker), [errno.ESTALE]

    def stale(*arguments, write=commit.write_array):
        if moments:
            raise OSError(moments.pop(), "Stale file handle")
        write(*arguments)

    monkeypatch.setattr(commit, "write_array", stale)
    assert not run(out, maker, todo).failures
    assert digest(out) == digest(tiny_store)


def test_a_poisoned_scene_file_costs_its_shard(tmp_path):
    """A file that is damaged after all were checked, with its size kept."""
    frames, out = tmp_path / "frames", tmp_path / "d"
    data = recipe_data()
    data["scenes"] = noise_folder(frames, 6)
    maker = SampleMaker(Recipe.parse(data))
    run(tmp_path / "whole", maker, create(tmp_path / "whole", maker))
    todo = create(out, maker)
    poisoned = frames / "depth/3.png"
    kept = poisoned.read_bytes()
    poisoned.write_bytes(b"x" * len(kept))
    outcome = run(out, SampleMaker(Recipe.parse(data)), todo)
    assert list(outcome.failed) == [shard.name for shard in todo if 3 in shard.samples]
    assert str(poisoned) in next(iter(outcome.failed.values()))
    poisoned.write_bytes(kept)
    assert run(out, *reopen(out)).complete
    assert digest(out) == digest(tmp_path / "whole")


def test_two_runs_on_one_dataset_keep_out_of_each_others_way(recipe_file, undisturbed, tmp_path):
    out = tmp_path / "d"
    first = toy("generate", recipe_file, out, faults={"sleep": 2.0})
    wait_until(lambda: (out / FOLDER / "lock").exists() and (out / FOLDER / "lock").read_text())
    who = f"is being made by another run (process {first.pid} on "
    for arguments in (
        ("generate", recipe_file, out),
        ("resume", out),
        ("generate", recipe_file, out, "--shards", "0:2"),
    ):
        status, _, errors = ended(toy(*arguments))
        assert status == 2
        assert errors.strip().splitlines()[-1].startswith("Error: ")
        assert who in errors
    assert first.poll() is None
    first.kill()
    first.communicate()
    assert resumed(out) == undisturbed


@pytest.mark.parametrize(
    ("crew", "signal_number"),
    [
        ((), signal.SIGTERM),
        (("--workers", 2), signal.SIGINT),
        pytest.param(("--workers", 2), signal.SIGTERM, marks=SLOW),
    ],
)
def test_ctrl_c_and_the_signal_of_batch_systems_say_how_to_go_on(
    recipe_file, undisturbed, tmp_path, crew, signal_number
):
    out = tmp_path / "d"
    # All samples take 40 s: a loaded machine notices the first shard long before the last.
    process = toy("generate", recipe_file, out, *crew, faults={"sleep": 1.0})
    wait_until(lambda: list(out.glob(f"{FOLDER}/*.json")))
    process.send_signal(signal_number)
    status, _, errors = ended(process, 30)
    assert status == 1
    assert f"Run `defocal resume {out}` to go on" in errors
    assert resumed(out) == undisturbed


def test_clock_time_zone_and_locale_change_nothing(recipe_file, undisturbed, tmp_path):
    out = tmp_path / "d"
    abroad = {"TZ": "Pacific/Kiritimati", "LC_ALL": "tr_TR.UTF-8", "LANG": "tr_TR.UTF-8", "PYTHONUTF8": "0"}
    back = {"clock": 400 * 86400.0, "after": 2.0, "sleep": 0.1}
    process = toy("generate", recipe_file, out, "--workers", 2, faults=back, env=abroad)
    wait_until(lambda: list(out.glob(f"{FOLDER}/*.json")))
    time.sleep(1)
    process.kill()
    process.communicate()
    status, _, errors = ended(toy("resume", out, env={"TZ": "America/New_York", "LC_ALL": "C", "PYTHONUTF8": "0"}))
    assert status == 0, errors
    assert digest(out) == undisturbed


def test_markers_without_their_shards_are_not_believed(tiny, tiny_store, tmp_path):
    """As after a power failure, or when a part of a dataset was deleted or cut short."""
    out, maker = tmp_path / "d", SampleMaker(tiny)
    todo = create(out, maker)
    for shard in todo[:3]:
        commit.make_shard(out, maker, shard)
    (out / "train.zarr/aif/c/0/0/0/0").unlink()
    os.truncate(out / "train.zarr/depth/c/1/0/0", 100)
    again = []
    assert run(out, *reopen(out), report=again.append).complete
    assert [event.shard.number for event in again if event.kind == "kept"] == [2]
    assert digest(out) == digest(tiny_store)


def test_a_run_keeps_the_errors_of_some_failures_only(tiny, tmp_path, monkeypatch):
    from defocal.pipelines import events as module

    monkeypatch.setattr(module, "LISTED", 2)
    monkeypatch.setattr(SampleMaker, "make", lambda self, sample: (_ for _ in ()).throw(InputError("no.")))
    maker = SampleMaker(tiny)
    outcome = run(tmp_path / "d", maker, create(tmp_path / "d", maker))
    assert outcome.failures == len(Shards(maker))
    assert len(outcome.failed) == 2
