"""How fast training data are read, beside a folder of PNG files and beside raw numpy arrays: run with `make bench`.

The same pictures (uint8 RGB and depth), batches and number of workers. On a busy machine the processor time is the
fairer figure: what one sample costs all processes together.
"""

import os
import resource
import time
from itertools import islice

import numpy as np
import pytest
import torch
import zarr
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from defocal.pipelines.generate import create, run
from defocal.pipelines.shipped import find_recipe
from defocal.synth.samples import SampleMaker
from defocal.train.data import StoreDataset
from defocal.train.loader import make_loader
from defocal.train.order import ShardShuffle

pytestmark = pytest.mark.bench
COUNT, BATCH, READ = 32, 8, 160
WORKERS = int(os.environ.get("DEFOCAL_BENCH_WORKERS", "2").split()[-1])


class Pngs(Dataset):
    """A PNG file for each picture, and one of 16 bits, millimetres, for each depth map."""

    def __init__(self, folder):
        self.folder = folder

    def __len__(self):
        return COUNT

    def __getitem__(self, index):
        depth = np.asarray(Image.open(self.folder / f"depth{index}.png")).astype(np.float32) / 1000
        return {"capture": _tensor(Image.open(self.folder / f"capture{index}.png")), "depth": torch.from_numpy(depth)}


class Mapped(Dataset):
    """Raw arrays that are mapped into memory."""

    def __init__(self, folder):
        self.arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("capture", "depth")}

    def __len__(self):
        return COUNT

    def __getitem__(self, index):
        return {name: _tensor(array[index]) for name, array in self.arrays.items()}


def _tensor(data):
    return torch.from_numpy(np.array(data))


def _one_thread(worker):
    torch.set_num_threads(1)


def _processor():
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def speed(start):
    """Return samples a second; `start` returns batches without end, and what ends them."""
    batches, end = start()
    for _ in islice(batches, 4):
        pass
    begun = time.perf_counter()
    for _ in islice(batches, READ // BATCH):
        pass
    elapsed = time.perf_counter() - begun
    end()
    return READ / elapsed


def ours(path, backend):
    data = StoreDataset(path, "train", ("capture", "depth"), backend=backend)
    order = ShardShuffle(data.shards, BATCH, seed=1, drop_last=True)
    loader = make_loader(data, order, workers=WORKERS)

    def forever():
        while True:
            yield from loader

    return forever(), loader.close


def theirs(data):
    order = ShardShuffle([len(data)], BATCH, seed=1, drop_last=True)
    loader = DataLoader(data, batch_sampler=order, num_workers=WORKERS, prefetch_factor=4, worker_init_fn=_one_thread)
    stream = iter(loader)
    return stream, stream._shutdown_workers


def rate(start, rounds=2):
    """Return the best of several rates, and the processor time that a sample took in all of them."""
    best, begun = 0.0, _processor()
    for _ in range(rounds):
        best = max(best, speed(start))
    # What was read ahead and thrown away counts too: about four batches a round, and the four that warm up.
    return best, (_processor() - begun) / (rounds * (READ + 8 * BATCH)) * 1e3


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The same samples as stores of both presets, PNG files and raw arrays."""
    root = tmp_path_factory.mktemp("loading")
    maker = SampleMaker(find_recipe("d3net-2m", limit=COUNT, changes=["output.splits={ train = 1.0 }"]))
    assert not run(root / "release", maker, create(root / "release", maker)).failed
    _again(root / "release", root / "fast")
    batch = StoreDataset(root / "release", "train", ("capture", "depth")).__getitems__(range(COUNT)).batch
    for name, tensor in batch.items():
        np.save(root / f"{name}.npy", tensor.numpy())
    for index in range(COUNT):
        Image.fromarray(batch["capture"][index].numpy()).save(root / f"capture{index}.png")
        millimetres = np.round(batch["depth"][index].numpy() * 1000).astype(np.uint16)
        Image.fromarray(millimetres).save(root / f"depth{index}.png")
    return root


def _again(store, out):
    """Copy a store with the preset "fast"."""
    recipe = find_recipe("d3net-2m", limit=COUNT, changes=["output.splits={ train = 1.0 }", "output.compression=fast"])
    group, maker = zarr.open_group(store / "train.zarr", mode="r"), SampleMaker(recipe)
    maker.make = lambda sample: {name: np.asarray(group[name][sample]) for name in recipe.arrays}
    assert not run(out, maker, create(out, maker)).failed


def test_loading(folder):
    peers = {"PNG files": Pngs(folder), "raw arrays": Mapped(folder)}
    found = {name: rate(lambda data=data: theirs(data)) for name, data in peers.items()}
    for preset in ("release", "fast"):
        for backend in ("auto", "zarr"):
            found[f"{preset}, {backend}"] = rate(lambda p=preset, b=backend: ours(folder / p, b))
    png, raw = found["PNG files"], found["raw arrays"]
    print(f"\n640x480 RGB and depth, {WORKERS} workers, batches of {BATCH}:")
    for name, (samples, cost) in found.items():
        print(
            f"  {name:<14} {samples:6.0f} samples/s, {samples / png[0]:5.1f} x PNG, {samples / raw[0]:4.2f} x raw; "
            f"{cost:5.1f} ms of processor: {png[1] / cost:5.1f} x PNG, {raw[1] / cost:4.2f} x raw"
        )
