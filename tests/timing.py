"""How the benchmarks take times."""

import time


def seconds(work, repeats=5):
    """Return the shortest of several runs, after one that warms up."""
    work()
    times = []
    for _ in range(repeats):
        begun = time.perf_counter()
        work()
        times.append(time.perf_counter() - begun)
    return min(times)
