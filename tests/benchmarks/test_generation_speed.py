"""How fast datasets are made, and where the time goes: run with `make bench`, on one core for one-core figures."""

import subprocess
import sys
import time

import pytest

from defocal.pipelines.generate import create, run
from defocal.pipelines.shipped import find_recipe
from defocal.synth import captures, commit, scene
from defocal.synth.samples import SampleMaker

pytestmark = pytest.mark.bench
COUNT = 60


def test_end_to_end(tmp_path, monkeypatch):
    maker = SampleMaker(find_recipe("d3net-2m", limit=COUNT))
    maker.make(0)
    outcome = run(tmp_path / "a", maker, create(tmp_path / "a", maker))
    print(f"\nd3net-2m, {COUNT} samples of 640x480 with all four arrays, in process: "
          f"{outcome.samples / outcome.seconds:.1f} images a second")  # fmt: skip
    spent = {}

    def clocked(owner, name):
        work = getattr(owner, name)

        def timed(*arguments, **options):
            begun = time.perf_counter()
            try:
                return work(*arguments, **options)
            finally:
                spent[name] = spent.get(name, 0.0) + time.perf_counter() - begun

        monkeypatch.setattr(owner, name, timed)

    for owner, name in (
        (SampleMaker, "scene"), (scene.LayeredScene, "flatten"), (captures, "render"), (captures.Shot, "encoded"),
        (commit, "array_digest"), (commit, "write_array"),
    ):  # fmt: skip
        clocked(owner, name)
    outcome = run(tmp_path / "b", maker, create(tmp_path / "b", maker))
    total = outcome.seconds / COUNT * 1e3
    for name, t in spent.items():
        print(f"  {name:<14} {t / COUNT * 1e3:6.1f} ms")
    print(f"  {'the rest':<14} {total - sum(spent.values()) / COUNT * 1e3:6.1f} ms")


def test_help():
    begun = time.perf_counter()
    subprocess.run([sys.executable, "-m", "defocal.pipelines.cli", "--help"], capture_output=True, check=True)
    print(f"\ndefocal --help: {time.perf_counter() - begun:.2f} s")
