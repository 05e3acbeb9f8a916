"""The same recipe and seed give the same bits: whatever the order, the shards, the threads, and the processor."""

import json
import os
import random
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numba
import numpy as np
import processors
import pytest
from click.testing import CliRunner
from conftest import recipe_data

from defocal.pipelines.cli import cli
from defocal.pipelines.generate import create, reopen, run
from defocal.synth import Recipe
from defocal.synth.commit import dataset_digest, make_shard, read_samples
from defocal.synth.samples import SampleMaker
from defocal.synth.store import array_digest

DIGESTS = Path(__file__).parent / "digests.json"
"""What every kind gave on the pinned versions when its pixels were last meant to change."""
REWRITE = "DEFOCAL_WRITE_DIGESTS"
OLD = "x86-64-v2"
NOISE = {"preset": "dslr", "gain": 8.0, "prnu": 0.01}
RECIPES = {
    "lamps": {"scenes": {"world": "macro", "depth": ["0.1 m", "1 m"], "lights": [3, 6]},
              "camera": {"focus_distance": "0.3 m", "focal_length": "6 mm", "pixel_pitch": "12 um"}},
    "mask": {"scenes": {"size": [32, 40]},
             "camera": {"f_number": 17.6, "pixel_pitch": "12 um"},
             "psf": {"kind": "mask", "mask": {"kind": "spiral", "lobes": 2}, "planes": 5, "size": 35, "samples": 128}},
    "breathing": {"stack": {"slices": 3, "near": 0.9, "far": 3.0, "breathing": True, "hand_rotation": 1e-3},
                  "sensor": NOISE,
                  "output": {"arrays": ["depth", "coc", "stack", "stack_raw"], "splits": {"train": 1.0}}},
    "developed": {"camera": {"f_number": {"log-uniform": [1.4, 4.0]}}, "sensor": {**NOISE, "demosaic": "edge-aware"},
                  "output": {"arrays": ["aif", "depth", "coc", "capture", "raw"], "bits": 16,
                             "splits": {"train": 0.7, "test": 0.3}}},
}  # fmt: skip


def parsed(name, **changes):
    data = recipe_data(**RECIPES[name])
    data["scenes"] = {**data["scenes"], "count": 5}
    data["output"] = {**data["output"], **changes}
    return Recipe.parse(data)


def digests(maker, sample):
    return {name: array_digest(array) for name, array in maker.make(sample).items()}


@pytest.fixture(scope="module", params=RECIPES)
def made(request):
    """The name of a recipe, and the digests of its samples, made one after the other."""
    maker = SampleMaker(parsed(request.param))
    return request.param, [digests(maker, sample) for sample in range(maker.count)]


def test_a_sample_depends_on_no_other(made):
    name, expected = made
    maker = SampleMaker(parsed(name))
    for sample in (4, 0, 4, 2, 2):
        assert digests(maker, sample) == expected[sample]


def test_threads_change_nothing(made):
    """Several samples at a time, each with a maker of its own, as on a worker with threads; and libraries' threads."""
    name, expected = made
    threads, vision = numba.get_num_threads(), cv2.getNumThreads()
    try:
        numba.set_num_threads(1)
        cv2.setNumThreads(1)
        with ThreadPoolExecutor(3) as pool:
            found = list(pool.map(lambda sample: digests(SampleMaker(parsed(name)), sample), range(len(expected))))
    finally:
        numba.set_num_threads(threads)
        cv2.setNumThreads(vision)
    assert found == expected


@pytest.mark.parametrize("shard_bytes", [1, 1e9])
def test_shards_order_and_interruption_change_nothing(made, tmp_path, shard_bytes):
    """Some shards, last ones first; then another run, which knows of them by the folder alone, makes the rest."""
    name, expected = made
    out, maker = tmp_path / "d", SampleMaker(parsed(name, shard_bytes=shard_bytes))
    todo = list(create(out, maker))
    random.Random(2).shuffle(todo)
    for shard in todo[: len(todo) // 2]:
        make_shard(out, maker, shard)
    maker, todo = reopen(out)
    assert not run(out, maker, todo).failed
    for row in read_samples(out):
        found = {key.removeprefix("sha256_"): text for key, text in row.items() if key.startswith("sha256_")}
        assert found == expected[int(row["index"])]


def test_the_state_of_global_random_numbers_and_of_the_locale_changes_nothing(made, monkeypatch):
    name, expected = made
    random.seed(77)
    np.random.seed(77)  # noqa: NPY002
    monkeypatch.setenv("TZ", "Pacific/Apia")
    monkeypatch.setenv("LC_ALL", "tr_TR.UTF-8")
    assert digests(SampleMaker(parsed(name)), 1) == expected[1]


@pytest.mark.parametrize("far", [False, True])
def test_verification_says_how_a_machine_that_rounds_otherwise_differs(tiny_store, tmp_path, monkeypatch, far):
    """By array, with versions where they differ; a difference of rounding is no failure, and no damage either."""
    out = tmp_path / "d"
    shutil.copytree(tiny_store, out)
    for metadata in out.glob("*.zarr/zarr.json"):
        metadata.write_text(metadata.read_text().replace(f'"numba": "{numba.__version__}"', '"numba": "0.1"'))

    def otherwise(self, sample, make=SampleMaker.make):
        arrays = make(self, sample)
        return {**arrays, "capture": arrays["capture"] ^ 1, "coc": arrays["coc"] + far}

    monkeypatch.setattr(SampleMaker, "make", otherwise)
    result = CliRunner().invoke(cli, ["verify", str(out), "--rerender", "2"])
    assert result.exit_code == (4 if far else 0), result.output
    coc = "coc mismatch" if far else "coc bit-exact"
    assert f"2 samples made again: aif bit-exact, depth bit-exact, {coc}, capture within one LSB" in result.stdout
    assert "capture within one LSB (6720 of 6720 values)" in result.stdout
    assert f"made with other versions: numba 0.1, here {numba.__version__}." in result.stdout
    assert ("is as it was written, but its recipe makes other samples here" in result.stderr) is far
    assert "failed verification" not in result.stderr


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    return processors.write_inputs(tmp_path_factory.mktemp("inputs") / "inputs")


@pytest.fixture(scope="module")
def found(inputs, tmp_path_factory):
    """Return a function that waits for what a processor makes; all of them work at once from the first call on."""
    out = tmp_path_factory.mktemp("processors")

    def generate(processor):
        kinds = [*(processors.SLOWLY if processor == OLD else processors.KINDS)]
        return processors.generate_on(processor, inputs, out / processor.replace(" ", "-"), kinds)

    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        futures = {processor: pool.submit(generate, processor) for processor in processors.PROCESSORS}
        yield lambda processor: futures[processor].result()


@pytest.mark.slow
def test_the_bits_are_those_that_were_published(found):
    """On the pinned versions, on any x86-64: what this compares with was made on other machines than this one."""
    now = {kind: processors.digest_of(rows) for kind, rows in found("this one")["kinds"].items()}
    if os.environ.get(REWRITE):
        DIGESTS.write_text(json.dumps(now, indent=2) + "\n")
    known = json.loads(DIGESTS.read_text())
    changed = sorted(kind for kind in known.keys() | now.keys() if known.get(kind) != now.get(kind))
    assert not changed, f"if their pixels were meant to change, say so in CHANGELOG.md and run with {REWRITE}=1"


@pytest.mark.slow
@pytest.mark.parametrize("processor", [name for name in processors.PROCESSORS if name != "this one"])
def test_processors_agree_to_the_bit(found, processor):
    kinds = found(processor)["kinds"]
    reference = {kind: found("this one")["kinds"][kind] for kind in kinds}
    differing = {
        kind: [key for key, text in rows.items() if kinds[kind][key] != text] for kind, rows in reference.items()
    }
    assert {kind: keys for kind, keys in differing.items() if keys} == {}


@pytest.mark.slow
def test_emulated_processors_are_others(found):
    """Otherwise that they agree would say nothing. An old machine has little to take away."""
    probes = {name: found(name)["probe"] for name in processors.PROCESSORS}
    if len({probe["exp"] for probe in probes.values()}) == 1:
        pytest.skip("this processor is as old as the oldest that is emulated")
    assert probes["this one"] != probes[OLD]


def test_every_shipped_recipe_is_there():
    from defocal.pipelines.shipped import shipped

    assert sorted(processors.SHIPPED) == shipped()


@pytest.mark.slow
@pytest.mark.parametrize("processor", ["x86-64-v3", "x86-64-v2"])
def test_verification_on_another_processor_is_bit_exact(tmp_path, processor):
    out = tmp_path / "d"
    recipe = parsed("developed")
    maker = SampleMaker(recipe)
    assert not run(out, maker, create(out, maker)).failed
    words = [sys.executable, "-m", "defocal.pipelines.cli", "verify", str(out), "--rerender", "2", "--json"]
    done = subprocess.run(words, env=processors.environment(processor), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["digest"] == dataset_digest(read_samples(out))
    assert [set(comparison.values()) for _, comparison in said["rerendered"]] == [{"bit-exact"}] * 2
