"""One run at a time, or the parts of one, on a dataset in an object store."""

import json
import os
import subprocess
import threading
import time

import pytest
from processes import digest, ended, toy, wait_until

pytest.importorskip("obstore")
pytest.importorskip("moto")

from buckets import contents

from defocal import InputError
from defocal.pipelines import lease
from defocal.pipelines.generate import create, reopen, run
from defocal.synth import open_store
from defocal.synth.commit import FOLDER
from defocal.synth.samples import SampleMaker


def test_two_runs_keep_out_of_each_others_way(out):
    with lease.hold_lease(out) as held:
        assert held.note == ""
        for shared in (False, True):
            with (
                pytest.raises(InputError, match=rf"is being made by another run \(process {os.getpid()} on "),
                lease.hold_lease(out, shared=shared),
            ):
                pass
        assert "another run" in lease.lease_holder(out)
    both = (lease.hold_lease(out, shared=True), lease.hold_lease(out, shared=True))
    with both[0], both[1], pytest.raises(InputError, match="is being made"), lease.hold_lease(out):
        pass
    assert lease.lease_holder(out) is None
    assert contents(out) == {}


def test_of_runs_that_begin_at_once_one_is_alone(out):
    inside, refused, gate = [], [], threading.Barrier(4)

    def one():
        gate.wait()
        try:
            with lease.hold_lease(out):
                inside.append(1)
                assert sum(inside) == 1
                time.sleep(0.3)
                inside.append(-1)
        except InputError:
            refused.append(1)

    threads = [threading.Thread(target=one) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (inside, len(refused)) == ([1, -1], 3)


def test_a_lock_without_a_sign_of_life_is_taken_over(out, monkeypatch):
    foreign = {"process": 1, "host": "elsewhere", "machine": "another", "token": "t", "beat": 0.0}
    (out / FOLDER / "lock").write_bytes(json.dumps(foreign).encode())
    with pytest.raises(InputError, match=r"process 1 on elsewhere\).*try again in 90 s"), lease.hold_lease(out):
        pass
    monkeypatch.setattr(lease, "STALE", 1.0)
    time.sleep(2.1)
    with lease.hold_lease(out):
        assert b"elsewhere" not in (out / FOLDER / "lock").read_bytes()


@pytest.mark.parametrize("name", ["lock", "lock-0"])
def test_a_process_of_this_machine_that_is_gone_is_known_to_be(out, name):
    gone = subprocess.Popen(["true"])
    gone.wait()
    lock = lease._Lock(out / FOLDER / name)
    said = json.loads(lock.text()) | {"process": gone.pid, "token": "t"}
    lock.place.write_bytes(json.dumps(said).encode())
    with lease.hold_lease(out):
        pass
    assert contents(out) == {}


def test_a_run_that_was_taken_over_stops(small, local, out, monkeypatch):
    monkeypatch.setattr(lease, "BEAT", 0.05)
    maker = SampleMaker(small)
    todo = create(out, maker)

    def make(self, sample, real=SampleMaker.make):
        if sample == 2:
            # A machine that slept meanwhile finds another run's lock.
            (out / FOLDER / "lock").write_bytes(b'{"process": 1, "host": "h", "machine": "", "token": "t"}')
            time.sleep(0.5)
        return real(self, sample)

    with monkeypatch.context() as patch:
        patch.setattr(SampleMaker, "make", make)
        outcome = run(out, maker, todo)
    assert outcome.stopped.startswith("Another run has taken the dataset over")
    (out / FOLDER / "lock").unlink()
    assert run(out, *reopen(out)).complete
    assert contents(out) == contents(local)


def test_signs_of_life_are_given(out, monkeypatch):
    monkeypatch.setattr(lease, "BEAT", 0.05)
    with lease.hold_lease(out) as held:
        first = (out / FOLDER / "lock").tagged()[1]
        wait_until(lambda: (out / FOLDER / "lock").tagged()[1] != first)
        assert not held.lost.is_set()


def test_a_store_without_conditions_is_told_once(server, small, local, out):
    server.deaf, seen = True, []
    try:
        maker = SampleMaker(small)
        assert run(out, maker, create(out, maker), report=seen.append).complete
    finally:
        server.deaf = False
    assert [event.text for event in seen if event.kind == "note"] == [f"{out} {lease.UNSURE}"]
    assert contents(out) == contents(local)


def test_parts_share_a_dataset(small, local, out):
    maker = SampleMaker(small)
    todo = create(out, maker)
    assert not run(out, maker, todo[0::2], shared=True).complete
    with pytest.raises(InputError, match="unfinished"):
        open_store(out)
    assert run(out, maker, todo[1::2], shared=True).complete
    assert contents(out) == contents(local)


@pytest.mark.slow
@pytest.mark.parametrize("count", [2, 4])
def test_parts_that_begin_at_once_share_a_dataset(recipe_file, undisturbed, out, count):
    runs = [toy("generate", recipe_file, out, "--shard-index", i, "--shard-count", count) for i in range(count)]
    for one in runs:
        status, _, errors = ended(one)
        assert status == 0, errors
    assert digest(out) == undisturbed
    assert not (out / FOLDER).exists()
