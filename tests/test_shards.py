"""Shards: lists that do not grow, runs that divide a dataset among them, the lock that keeps others out."""

import errno
import json
import os
import random
import subprocess
import sys

import numpy as np
import pytest
from conftest import recipe_data
from processes import digest, ended, events, toy, toy_environment, wait_until

from defocal import InputError
from defocal.pipelines import generate, lock
from defocal.pipelines.generate import complete, create, join, reopen, run
from defocal.pipelines.lock import FinishedError, hold, holder
from defocal.pipelines.runs import Part
from defocal.synth import Recipe, commit, open_store, shards, store
from defocal.synth.commit import FOLDER
from defocal.synth.samples import SampleMaker
from defocal.synth.shards import Shards


def maker_of(count=12, **changes):
    changes = {"output": {"splits": {"train": 0.6, "val": 0.1, "test": 0.3}}, **changes}
    return SampleMaker(Recipe.parse(recipe_data(scenes={"count": count}, **changes)))


@pytest.mark.parametrize("count", [1, 7, 1000])
def test_samples_are_dealt_at_once_as_one_by_one(count, monkeypatch):
    monkeypatch.setattr(shards, "BLOCK", 64)
    monkeypatch.setattr(shards, "KEPT_BLOCKS", 2)
    maker = maker_of(count, seed=random.Random(count).randrange(2**32))
    one_by_one = {}
    for sample in range(count):
        one_by_one.setdefault(maker.split(sample), []).append(sample)
    todo = Shards(maker)
    assert {split: todo.members(split, 0, n).tolist() for split, n in todo.lengths.items()} == one_by_one
    assert list(todo.lengths) == [split for split in ("train", "val", "test") if split in one_by_one]
    assert [sample for sample, _ in todo.by_sample()] == list(range(count))
    assert all(split == maker.split(sample) for sample, split in todo.by_sample())
    for split in todo.lengths:
        own = [shard for shard in todo if shard.split == split]
        assert [s for shard in own for s in shard.samples] == one_by_one[split]
        assert [shard.number for shard in own] == list(range(len(own)))
        assert [shard.first_row for shard in own] == [n * todo.per_shard for n in range(len(own))]
        assert list(todo.of(split)) == own


def test_splits_of_large_numbers_are_dealt_to_the_last_bit():
    maker = maker_of(10**9)
    for first in (0, 2**20 - 50, 2**29, 10**9 - 100):
        dealt = maker.deal(first, first + 100)
        assert {int(s): split for split, members in dealt.items() for s in members} == {
            sample: maker.split(sample) for sample in range(first, first + 100)
        }


def test_slices_are_lists_of_shards_too():
    todo = Shards(maker_of(100))
    everything = list(todo)
    for cut in (slice(3, 9), slice(None, 4), slice(1, None, 5), slice(-3, None), slice(50, 60)):
        assert list(todo[cut]) == everything[cut]
        assert todo[cut].samples == sum(len(shard.samples) for shard in everything[cut])
    assert list(todo[2:9][1:3]) == everything[3:5]
    assert todo[-1] == everything[-1]
    assert list(todo[2:3].all()) == everything
    assert todo.samples == 100
    with pytest.raises(IndexError):
        todo[len(everything)]


def test_the_index_is_written_in_chunks(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "INDEX_CHUNK", 10)
    maker = maker_of(100)
    create(tmp_path / "d", maker)
    rows = list(open_store(tmp_path / "d", unfinished=True).rows())
    assert sorted(index for _, _, index in rows) == list(range(100))
    todo = Shards(maker)
    for split, length in todo.lengths.items():
        assert [i for s, _, i in rows if s == split] == todo.members(split, 0, length).tolist()


DRY = """
import sys
from defocal.pipelines.crew import StoppedError
from defocal.pipelines.events import Result
from defocal.pipelines.generate import create, run
from defocal.pipelines.memory import peak_bytes
from defocal.synth import Recipe
from defocal.synth.samples import SampleMaker
from pathlib import Path
import json

class Dry:
    def make(self, job, todo):
        made = 0
        for shard in todo:
            made += len(shard.samples)
            yield Result(bytes=1).event(shard)
        assert made == job.maker.count
        raise StoppedError("Nothing was made.")

out, data = sys.argv[1:]
maker = SampleMaker(Recipe.parse(json.loads(data)))
outcome = run(Path(out), maker, create(Path(out), maker), crew=Dry())
assert outcome.samples == maker.count and outcome.stopped
print(peak_bytes())
"""


@pytest.mark.parametrize("most", [1_000_000, pytest.param(10_000_000, marks=pytest.mark.slow)])
def test_the_run_itself_takes_no_more_memory_for_millions_of_samples(tmp_path, most):
    """Everything but the samples: dealing, writing the index, submitting, counting."""
    peaks = []
    for count in (10_000, most):
        data = recipe_data(scenes={"count": count}, output={"shard_bytes": 3e5, "splits": {"train": 0.7, "test": 0.3}})
        out = tmp_path / str(count)
        line = [sys.executable, "-c", DRY, str(out), json.dumps(data)]
        # A disk of any size will do, for nothing is written.
        env = toy_environment(disk=1e18)
        done = subprocess.run(line, capture_output=True, text=True, check=False, env=env)
        assert done.returncode == 0, done.stderr
        peaks.append(float(done.stdout))
    print(
        f"\npeak memory of a run over 10 thousand samples {peaks[0] / 1e6:.0f} MB, over 10 million {peaks[1] / 1e6:.0f}"
    )
    assert peaks[1] < peaks[0] + 24e6


def test_runs_that_begin_at_once_divide_a_dataset(recipe_file, undisturbed, tmp_path):
    out, count = tmp_path / "d", 4
    order = random.Random(1).sample(range(count), count)
    parts = [
        toy("generate", recipe_file, out, "--shard-index", i, "--shard-count", count, faults={"sleep": 0.02})
        for i in order
    ]
    told = [ended(part) for part in parts]
    assert [status for status, _, _ in told] == [0] * count, told
    assert complete(out)
    assert digest(out) == undisturbed
    assert sum(f"{out} holds 40." in output for _, output, _ in told) >= 1
    assert not list(tmp_path.glob(".*"))
    # A job that is sent again finds nothing to do.
    status, output, _ = ended(toy("generate", recipe_file, out, "--shard-index", 0, "--shard-count", count))
    assert status == 0
    assert "is complete; nothing to do" in output


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(8))
def test_parts_in_any_order_some_killed_some_sent_again(recipe_file, undisturbed, tmp_path, seed):
    rng, out = random.Random(seed), tmp_path / "d"
    jobs = [f"{first}:{first + 4}" for first in range(0, 14, 3)]
    rng.shuffle(jobs)
    running = []
    for job in jobs:
        running.append(toy("generate", recipe_file, out, "--shards", job, faults={"sleep": 0.05}))
        if rng.random() < 0.4:
            wait_until(out.exists)
            rng.choice(running).kill()
    for process in running:
        process.communicate(timeout=120)
    again = [ended(toy("generate", recipe_file, out, "--shards", job)) for job in jobs]
    assert [status for status, _, _ in again] == [0] * len(jobs)
    assert complete(out)
    assert digest(out) == undisturbed


def test_parts_are_made_alone_and_the_last_completes_the_dataset(tiny, tiny_store, tmp_path):
    out, maker = tmp_path / "d", SampleMaker(tiny)
    todo = create(out, maker)
    first = run(out, maker, todo[:5], shared=True)
    assert not first.complete
    assert first.samples == todo[:5].samples
    maker, todo = join(out, SampleMaker(tiny))
    last = run(out, maker, todo[5:], shared=True)
    assert last.complete
    assert digest(out) == digest(tiny_store)


def test_a_dataset_that_nobody_completed_is_completed_by_resume(recipe_file, undisturbed, tmp_path):
    out = tmp_path / "d"
    status, output, _ = ended(toy("generate", recipe_file, out, "--shards", "0:0"))
    assert status == 0
    assert "holds 0 of 14 shards" in output
    status, output, _ = ended(toy("generate", recipe_file, out, "--shards", "10:", "--json"))
    assert status == 0
    told = events(output)
    assert told[0] == {**told[0], "event": "begun", "shards": 4, "all_shards": 14}
    assert told[-1] == {**told[-1], "event": "done", "complete": False, "exit": 0}
    assert ended(toy("resume", out))[0] == 0
    assert digest(out) == undisturbed


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("3-5", None, None), "is not of the form A:B"),
        (("-1:5", None, None), "is not of the form A:B"),
        (("0:5", 1, 2), "exclude each other"),
        ((None, 1, None), "belong together"),
        ((None, None, 2), "belong together"),
        ((None, 2, 2), "must be less than"),
    ],
)
def test_parts_that_make_no_sense_are_refused(options, words):
    with pytest.raises(InputError, match=words):
        Part.of(*options)


def test_parts_are_what_they_say():
    todo = Shards(maker_of(100))
    everything = list(todo)
    assert Part.of(None, None, None) is None
    assert list(Part.of("3:7", None, None)(todo)) == everything[3:7]
    assert list(Part.of(":", None, None)(todo)) == everything
    assert list(Part.of("3:99", None, None)(todo)) == everything[3:]
    divided = [list(Part.of(None, i, 5)(todo)) for i in range(5)]
    assert sorted(shard.name for part in divided for shard in part) == sorted(shard.name for shard in everything)
    assert max(map(len, divided)) - min(map(len, divided)) <= 1
    assert list(Part.of(None, 98, 99)(todo)) == []
    with pytest.raises(InputError, match="there is no shard 99: the dataset has"):
        Part.of("99:", None, None)(todo)


def test_another_recipe_does_not_join(recipe_file, tmp_path):
    out = tmp_path / "d"
    assert ended(toy("generate", recipe_file, out, "--shards", "0:1"))[0] == 0
    for arguments in (("--seed", 9), ("--limit", 12)):
        status, _, errors = ended(toy("generate", recipe_file, out, "--shards", "0:1", *arguments))
        assert status == 2
        assert "holds another dataset (tiny, hash " in errors
    status, _, errors = ended(toy("generate", recipe_file, out))
    assert status == 2
    assert f"run `defocal resume {out}`" in errors


def test_the_lock_is_shared_by_those_who_say_so(tiny, tmp_path):
    out = tmp_path / "d"
    create(out, SampleMaker(tiny))
    assert holder(out) is None
    with hold(out) as locked:
        assert locked
        assert f"process {os.getpid()} on " in holder(out)
        for shared in (False, True):
            with pytest.raises(InputError, match="is being made by another run"), hold(out, shared=shared):
                pass
    assert holder(out) is None
    with hold(out, shared=True), hold(out, shared=True):
        assert holder(out)
        with pytest.raises(InputError, match="is being made by another run"), hold(out):
            pass
    with hold(out):
        pass


def test_a_lock_is_not_taken_of_a_dataset_that_was_completed_meanwhile(tiny, tmp_path):
    out, maker = tmp_path / "d", SampleMaker(tiny)
    run(out, maker, create(out, maker))
    with pytest.raises(FinishedError), hold(out):
        pass
    assert not (out / FOLDER).exists()
    assert run(out, maker, Shards(maker)).complete


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS])
def test_file_systems_without_locks_are_said(tiny, tiny_store, tmp_path, monkeypatch, number):
    import fcntl

    def refuse(*arguments):
        raise OSError(number, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    out, maker, seen = tmp_path / "d", SampleMaker(tiny), []
    todo = create(out, maker)
    outcome = run(out, maker, todo[:3], shared=True, report=seen.append)
    assert not outcome.complete
    assert [event.text for event in seen if event.kind == "note"] == [
        f"{out} has no locks: take care that no other run makes the same shards."
    ]
    assert run(out, *reopen(out)).complete
    assert digest(out) == digest(tiny_store)


def test_markers_that_are_seen_late_are_waited_for(tiny, tmp_path, monkeypatch):
    class Elsewhere:
        """Makes the shards, on a machine whose files are seen late."""

        def make(self, job, todo):
            for shard in todo:
                commit.make_shard(job.out, job.maker, shard)
                yield generate.Event(shard, samples=len(shard.samples))
            (job.out / FOLDER).rename(job.out / "late")
            (job.out / FOLDER).mkdir()

    seen = []

    def look(out, look=generate.markers):
        seen.append(out)
        if len(seen) == 3:
            (out / FOLDER).rmdir()
            (out / "late").rename(out / FOLDER)
        return look(out)

    monkeypatch.setattr(generate, "markers", look)
    monkeypatch.setattr(lock, "LOCK", "../lock")
    out, maker = tmp_path / "d", SampleMaker(tiny)
    assert run(out, maker, create(out, maker), crew=Elsewhere()).complete


def test_samples_are_listed_in_the_order_of_their_numbers(tiny_store):
    rows = commit.read_samples(tiny_store)
    assert [int(row["index"]) for row in rows] == list(range(12))
    assert len(np.unique([row["split"] for row in rows])) == 2
