"""How much memory a worker takes: its shard, what making a sample takes, and Python."""

import sys
from pathlib import Path

from ..synth.arrays import sample_bytes
from ..synth.samples import SampleMaker
from ..synth.shards import Shards
from .crew import KEPT_BYTES

WRITING = 2.2
"""What Zarr takes to write a shard of an array, over its raw size; measured."""
PYTHON = 220e6
"""Python, its libraries and Dask, with nothing to do; measured."""
DASK = 90e6
"""Dask alone."""


def shard_bytes(maker: SampleMaker) -> float:
    """Return the most bytes that a worker's shard takes: all of its arrays, and one of them while it is written."""
    shards = Shards(maker)
    samples = min(shards.per_shard, max(shards.lengths.values()))
    sizes = sorted(size * samples for name, size in sample_bytes(maker.recipe, maker.size).items() if name != "index")
    # The smallest array is written first, and each is freed as soon as it is written.
    return max(sum(sizes[k:]) + WRITING * size for k, size in enumerate(sizes))


def least_bytes(maker: SampleMaker) -> float:
    """Return the bytes that a worker takes without what making a sample takes."""
    return shard_bytes(maker) + PYTHON


def worker_bytes(maker: SampleMaker, measured: float) -> float:
    """Return the bytes that a worker takes, given the most that a process took to make samples."""
    return shard_bytes(maker) + measured + DASK + KEPT_BYTES


def peak_bytes() -> float:
    """Most bytes that this process has had in memory at once; 0 where the system does not tell."""
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return float(line.split()[1]) * 1024
    except OSError:
        pass
    try:
        import resource
    except ImportError:
        return 0.0
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used * (1.0 if sys.platform == "darwin" else 1024.0)
