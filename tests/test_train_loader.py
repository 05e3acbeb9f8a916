"""The loader: the same batches for any number of workers, no stall between epochs, going on after interruptions."""

import os
import shutil
import signal
import time
from itertools import islice
from multiprocessing import active_children

import pytest
import torch
from stores import noise_store

from defocal import InputError
from defocal.train.data import StoreDataset
from defocal.train.loader import make_loader
from defocal.train.order import ShardShuffle


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return noise_store(tmp_path_factory.mktemp("noise") / "one", count=70)


def loader(store, *, batch=8, backend="auto", **options):
    data = StoreDataset(store, "train", ("capture", "depth"), backend=backend)
    return make_loader(data, ShardShuffle(data.shards, batch, seed=3, window=3), **options)


def take(load, count):
    """Return the first batches of a run over as many epochs as it takes."""

    def run():
        while True:
            yield from load

    return list(islice(run(), count))


def equal(ours, theirs):
    return len(ours) == len(theirs) and all(
        one.keys() == other.keys() and all(torch.equal(one[k].nan_to_num(), other[k].nan_to_num()) for k in one)
        for one, other in zip(ours, theirs, strict=True)
    )


@pytest.mark.parametrize(
    ("workers", "context"),
    [
        (1, None),
        (2, None),
        pytest.param(1, "spawn", marks=pytest.mark.slow),
        pytest.param(1, "forkserver", marks=pytest.mark.slow),
    ],
)
def test_batches_do_not_depend_on_workers(store, workers, context):
    load = loader(store, workers=workers, context=context)
    assert equal(take(load, 17), take(loader(store, workers=0), 17))
    load.close()


@pytest.mark.parametrize("backend", ["zarr", pytest.param("tensorstore", marks=pytest.mark.slow)])
def test_other_backends_work_in_workers(store, backend):
    if backend == "tensorstore":
        pytest.importorskip("tensorstore")
    load = loader(store, workers=2, backend=backend)
    assert equal(take(load, 5), take(loader(store, workers=0), 5))
    load.close()


def test_an_iteration_is_an_epoch_and_workers_go_on_into_the_next(store):
    load = loader(store, workers=1)
    assert len(load) == 7
    first = list(load)
    workers = active_children()
    assert len(first) == 7
    assert (load.epoch, load.batch) == (1, 0)
    second = list(load)
    assert [child.pid for child in active_children()] == [worker.pid for worker in workers]
    seen = [sorted(torch.cat([batch["index"] for batch in epoch]).tolist()) for epoch in (first, second)]
    assert seen[0] == seen[1] == list(range(49))
    assert load.waited > 0
    load.close()
    assert not any(worker.is_alive() for worker in workers)


def test_workers_end_with_their_loader(store):
    load = loader(store, workers=1)
    take(load, 1)
    (worker,) = active_children()
    del load
    assert not worker.is_alive()


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("done", [3, 7, 10])
def test_a_resumed_run_goes_on_with_the_very_next_sample(store, workers, done):
    whole = take(loader(store, workers=0), 17)
    load = loader(store, workers=workers)
    take(load, done)
    state = load.state()
    load.close()
    again = loader(store, workers=2 - workers)
    again.load(state)
    assert equal(take(again, 17 - done), whole[done:])
    again.close()


def test_an_epoch_that_is_left_goes_on_and_can_be_begun_again(store):
    whole = take(loader(store, workers=0), 7)
    load = loader(store, workers=0)
    assert equal(list(islice(load, 2)), whole[:2])
    assert equal(list(load), whole[2:])
    load.start(0)
    assert equal(list(load), whole)


def test_torch_draws_the_same_numbers_whenever_workers_start(store):
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    load = loader(store, workers=1)
    take(load, 2)
    assert torch.equal(torch.rand(3), expected)
    load.close()


def test_what_is_wrong_in_a_worker_is_one_sentence(store, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(store, copy)
    for path in copy.glob("train.zarr/depth/c/*/0/0"):
        path.write_bytes(b"x")
    with pytest.raises(InputError, match=r"^/.*depth/c/\d+/0/0 is damaged \(it is too short\)") as caught:
        take(loader(copy, workers=1), 3)
    assert "\n" not in str(caught.value)


def test_signals_of_a_batch_system_leave_workers_alone(store):
    load = loader(store, workers=2)
    take(load, 2)  # one of each worker: both are there, and have said what they ignore
    for child in active_children():
        os.kill(child.pid, signal.SIGTERM)
        os.kill(child.pid, signal.SIGINT)
    time.sleep(0.2)
    assert equal(take(load, 15), take(loader(store, workers=0), 17)[2:])
    load.close()


def test_a_worker_that_is_killed_is_said_to_be(store):
    """As torch tells it: a real death would raise its error in whatever this process does at that moment."""

    def dying():
        raise RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed. \nMore of it.")
        yield

    load = loader(store, workers=0)
    load._stream = dying()
    with pytest.raises(InputError, match="a process that reads data has died") as caught:
        take(load, 1)
    assert "\n" not in str(caught.value)
