"""How throughput grows with the workers: run with `make bench`.

`DEFOCAL_BENCH_WORKERS="1 2 4 8 16"` says with how many to try; the efficiency of other machines is theirs to measure.
Seconds on the clock tell the truth on an idle machine alone; seconds of processor time, on a busy one too, how much the
workers cost beyond the samples.
"""

import os
import time

import psutil
import pytest

from defocal.pipelines.generate import create, run
from defocal.pipelines.shipped import find_recipe
from defocal.synth.samples import SampleMaker

pytestmark = pytest.mark.bench
WORKERS = [int(word) for word in os.environ.get("DEFOCAL_BENCH_WORKERS", "1 2").split()]
SHARDS_EACH, SAMPLES_EACH = 10, 12


def spent(workers):
    """Processor time of worker processes, seconds."""
    found = []
    for process in psutil.Process().children(recursive=True):
        if "spawn_main" in " ".join(process.cmdline()):
            found.append(sum(process.cpu_times()[:2]))
    assert len(found) >= workers
    return sum(found)


def maker_of_shards():
    size = f"output.shard_bytes={SAMPLES_EACH * 640 * 480 * 4}"
    return SampleMaker(find_recipe("d3net-2m", limit=10_000, changes=[size]))


def measure(out, workers):
    """Make some shards; return samples a second, with the start and without it, and processor time of a sample."""
    maker = maker_of_shards()
    todo = create(out, maker)
    assert todo.per_shard == SAMPLES_EACH
    done = []

    def report(event):
        done.append((time.monotonic(), event.samples, spent(workers), time.process_time()))

    begun = time.monotonic()
    outcome = run(out, maker, todo[: SHARDS_EACH * workers], workers=workers, shared=True, report=report)
    assert not outcome.failures
    # Steady: from when every worker has made a shard to when the first finds nothing more to do.
    (first, _, cpu_first, own_first), (last, _, cpu_last, own_last) = done[workers - 1], done[-workers]
    steady = sum(samples for _, samples, _, _ in done[workers : len(done) - workers + 1])
    return {
        "start": done[0][0] - begun,
        "all": outcome.samples / (done[-1][0] - begun),
        "steady": steady / (last - first),
        "processor": (cpu_last - cpu_first) / steady,
        "driver": (own_last - own_first) / steady,
    }


def test_workers(tmp_path):
    found = {workers: measure(tmp_path / str(workers), workers) for workers in WORKERS}
    base, fewest = found[WORKERS[0]], WORKERS[0]
    load = psutil.getloadavg()[0]
    print(f"\nd3net-2m, {SHARDS_EACH} shards of {SAMPLES_EACH} samples for each worker; "
          f"{psutil.cpu_count()} processors, load {load:.1f}")  # fmt: skip
    for workers, facts in found.items():
        print(
            f"{workers:3d} workers: {facts['steady']:6.1f} samples a second, efficiency "
            f"{facts['steady'] / base['steady'] / workers * fewest:.2f}; start-up counted {facts['all']:6.1f}, "
            f"{facts['all'] / base['all'] / workers * fewest:.2f}; first shard after {facts['start']:.1f} s; processor "
            f"time of a sample {facts['processor'] * 1e3:.1f} ms, {base['processor'] / facts['processor']:.2f}; "
            f"of the run itself {facts['driver'] * 1e3:.2f} ms"
        )


def test_what_workers_cost_beyond_this_process(tmp_path):
    maker = maker_of_shards()
    maker.make(0)
    begun, cpu = time.monotonic(), time.process_time()
    outcome = run(tmp_path / "d", maker, create(tmp_path / "d", maker)[:SHARDS_EACH], shared=True)
    rate = outcome.samples / (time.monotonic() - begun)
    processor = (time.process_time() - cpu) / outcome.samples
    print(f"\nin this process: {rate:.1f} samples a second, processor time of a sample {processor * 1e3:.1f} ms")
