"""Exports: the same bytes every time, whole or absent, resumed where they were interrupted, refused in one sentence."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from exporting import contents, dataset, table
from rgbd import refusal

from defocal.pipelines.cli import cli
from defocal.pipelines.diff import diff
from defocal.pipelines.export import LAYOUTS, export, prepare, run
from defocal.pipelines.exports.kinds import ALL, KINDS, OF_STACKS
from defocal.pipelines.exports.samples import table_rows
from defocal.pipelines.lock import hold
from defocal.pipelines.verify import verify
from defocal.synth import open_store
from defocal.synth.arrays import REGISTRY
from defocal.synth.commit import dataset_digest, read_samples

CHOICES = {"zedd": {"splits": ["train=val", "test"]}, "webdataset": {"shard_bytes": 1000}}


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """A dataset that every layout can hold."""
    stack = {"slices": 10, "near": "0.6 m", "far": "3 m"}
    arrays = ["aif", "depth", "capture", "coc", "stack"]
    out = tmp_path_factory.mktemp("both") / "both"
    return dataset(out, count=3, size=(256, 256), stack=stack, output={"arrays": arrays})


@pytest.fixture(scope="module")
def whole(both, tmp_path_factory):
    """Undisturbed exports of it by their kinds; tests must not change them."""
    made = {}

    def of(kind):
        if kind not in made:
            made[kind] = tmp_path_factory.mktemp("whole") / "export"
            assert export(both, made[kind], kind, **CHOICES.get(kind, {})).samples == 3
        return made[kind]

    return of


def interrupted(store, out, kind, monkeypatch, after, **options):
    """Begin an export and end it after so many samples, as Ctrl-C does."""
    put, done = LAYOUTS[kind].put, []

    def counted(self, sample, files):
        if len(done) == after:
            raise KeyboardInterrupt
        done.append(sample.index)
        return put(self, sample, files)

    monkeypatch.setattr(LAYOUTS[kind], "put", counted)
    with pytest.raises(KeyboardInterrupt):
        export(store, out, kind, **options)
    monkeypatch.setattr(LAYOUTS[kind], "put", put)


def test_the_table_of_arrays_is_that_of_the_registry():
    assert {*ALL, "index"} == set(REGISTRY)


def test_every_layout_is_in_the_documents():
    page = (Path(__file__).parents[1] / "docs/exports.md").read_text()
    for kind in KINDS.values():
        row = next(line for line in page.splitlines() if line.startswith(f"| `{kind.name}` |"))
        assert row.endswith(f"| {kind.unknown} |")
        assert all(f"`{name}`" in row for name in kind.needs if name not in OF_STACKS)
        assert f"\n## {kind.name}\n" in page
        assert f"--as {kind.name}" in page


@pytest.mark.parametrize("kind", KINDS)
def test_what_an_export_says_of_itself(kind, both, whole, tmp_path):
    facts, page = json.loads((whole(kind) / "_export.json").read_text()), (whole(kind) / "README.md").read_text()
    assert facts["kind"] == kind
    assert facts["dataset"]["content_digest"] == dataset_digest(table_rows(both))
    assert sum(facts["samples"].values()) == 3
    for words in (facts["command"], facts["dataset"]["content_digest"], "those of the files", KINDS[kind].loss):
        assert words in page
    assert [one["split"] for one in table(whole(kind))] == [n for n, k in facts["samples"].items() for _ in range(k)]
    assert not [name for name in contents(whole(kind)) if ".partial" in name or name.startswith(("_commit", "_p"))]
    assert str(whole(kind).parent).encode() not in b"".join(contents(whole(kind)).values())


def test_the_command_it_names_makes_it_again(both, tmp_path):
    options = {"depth_unit": 0.00025, "beyond": "unknown", "images": "jpg"}
    export(both, tmp_path / "one", "d3net", splits=["test=val"], limit=1, **options)
    words = json.loads((tmp_path / "one/_export.json").read_text())["command"]
    words = words.replace("STORE", str(both)).replace("OUT", str(tmp_path / "two")).replace('"', "'").split("'")
    arguments = [*words[0].split()[1:], words[1], *words[2].split()]
    assert CliRunner().invoke(cli, arguments).exit_code == 0
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_the_digest_is_that_of_the_dataset(both):
    assert dataset_digest(table_rows(both)) == dataset_digest(read_samples(both))


def test_a_release_passes_its_licence_on(made, tmp_path):
    export(made, tmp_path / "out", "d3net")
    for name in ("LICENSE", "CITATION.cff"):
        assert (tmp_path / "out" / name).read_bytes() == (made / name).read_bytes()
    facts = json.loads((tmp_path / "out/_export.json").read_text())
    assert facts["dataset"]["release"] == verify(made).release
    assert "Those of the release" in (tmp_path / "out/README.md").read_text()


def test_a_source_that_forbids_commercial_use_marks_the_export(both):
    from defocal.pipelines.exports.base import Job
    from defocal.pipelines.exports.documents import facts_of
    from defocal.synth import Recipe

    job = prepare(both, "folder")
    data = job.recipe.to_dict()
    data["scenes"] = {"kind": "nyuv2", "path": "nyu.mat", "depth": [0.5, 7.0]}
    store = type(job.store)(job.store.path, Recipe.parse(data), job.store.splits, job.store.facts)
    facts = facts_of(Job(store, job.kind, job.splits, job.counts, job.options), "", {})
    assert "NOT FOR COMMERCIAL USE" in facts["mark"]
    assert facts["sources"][0]["title"] == "NYUv2" or "NYU" in facts["sources"][0]["title"]


# --- what is refused --------------------------------------------------------------------------------------------------


def test_missing_arrays_are_named_with_the_remedy(tiny_store, both, tmp_path):
    text = refusal(lambda: prepare(tiny_store, "dff-wild"), "needs stack, depth", "a section [stack]")
    assert 'output.arrays = ["aif", "depth", "coc", "capture", "stack"]' in text
    bare = dataset(tmp_path / "bare", count=1, output={"arrays": ["aif", "depth"]})
    refusal(lambda: prepare(bare, "d3net"), "d3net needs capture, depth", 'output.arrays = ["aif", "depth", "capture"]')


def test_choices_that_make_no_sense(both, tmp_path):
    refusal(lambda: prepare(both, "lmdb"), "lmdb", "webdataset")
    refusal(lambda: prepare(both, "folder", splits=["val"]), "no split 'val'", "train, test")
    refusal(lambda: prepare(both, "folder", splits=["train=../x"]), "small letters")
    refusal(lambda: prepare(both, "folder", splits=["train=a", "test=a"]), "twice")
    refusal(lambda: prepare(both, "ddff-hdf5", splits=["train=training"]), "train, val, test", "--split train=train")
    refusal(lambda: prepare(both, "zedd", depth_unit=0.001), "--depth-unit", "zedd", "none")
    refusal(lambda: prepare(both, "folder", images="png"), "--images", "--depth-unit, --beyond")
    refusal(lambda: prepare(both, "folder", depth_unit=-1.0), "between 1 um and 1 m")
    refusal(lambda: prepare(both, "folder", beyond="clip"), "refuse, unknown")
    refusal(lambda: prepare(both, "folder", limit=0), "positive")
    refusal(lambda: prepare(both, "folder", colour="red"), "no option 'colour'")


def test_a_folder_must_be_new_or_empty_and_elsewhere(both, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full/mine.txt").write_text("mine")
    refusal(lambda: export(both, tmp_path / "full", "folder"), "not empty")
    refusal(lambda: export(both, both / "out", "folder"), "lies in the dataset")
    assert os.listdir(tmp_path / "full") == ["mine.txt"]


def test_depth_that_16_bits_cannot_hold(both, tmp_path):
    text = refusal(lambda: export(both, tmp_path / "out", "folder", depth_unit=2e-5), "1.3107 m", "sample")
    assert '--depth-unit ("0.046 mm" or more) or --beyond unknown' in text  # 3 m over 65535
    assert os.listdir(tmp_path) == []
    export(both, tmp_path / "out", "folder", depth_unit=2e-5, beyond="unknown")
    import cv2

    for split, row, index in open_store(both).rows():
        depth = open_store(both).sample(split, row)["depth"]
        stored = cv2.imread(str(tmp_path / f"out/depth/{index:08d}.png"), cv2.IMREAD_UNCHANGED)
        with np.errstate(invalid="ignore"):
            fits = np.rint(depth.astype(float) / 2e-5) <= 65535
        np.testing.assert_array_equal(stored > 0, fits)


def test_a_damaged_dataset_is_not_exported(tmp_path):
    store = dataset(tmp_path / "store", count=2)
    shard = next(path for path in (store / "train.zarr/capture/c").rglob("*") if path.is_file())
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 1
    shard.write_bytes(data)
    refusal(lambda: export(store, tmp_path / "out", "d3net"), "capture", "sample 0", "verify")
    assert not (tmp_path / "out").exists()
    store = dataset(tmp_path / "other", count=2)
    lines = (store / "samples.csv").read_text().splitlines(keepends=True)
    (store / "samples.csv").write_text("".join(lines[:2]))
    refusal(lambda: export(store, tmp_path / "out", "d3net"), "samples.csv", "test")


def test_an_unfinished_dataset_is_not_exported(tmp_path):
    store = dataset(tmp_path / "store", count=1)
    (store / "_commit").mkdir()
    refusal(lambda: export(store, tmp_path / "out", "folder"), "unfinished", "resume")


# --- interruptions ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_interrupted_exports_become_the_undisturbed_one(kind, both, whole, tmp_path, monkeypatch):
    """Elsewhere, later, in another time zone, by another number of threads: the same bytes."""
    expected = contents(whole(kind))
    monkeypatch.setattr("defocal.pipelines.export.BATCH", 1)
    monkeypatch.setattr("defocal.pipelines.export.MOST_THREADS", 1)
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    out, beside = tmp_path / "elsewhere/out", tmp_path / "elsewhere/.out.partial"
    out.mkdir(parents=True)  # empty: it may be there
    interrupted(both, out, kind, monkeypatch, 2, **CHOICES.get(kind, {}))
    assert os.listdir(out) == []
    with (beside / "samples.jsonl").open("a") as file:
        file.write('{"name": "half a li')  # as a crash may leave it
    (beside / "train-000000.tar.partial").write_bytes(b"half")
    assert export(both, out, kind, **CHOICES.get(kind, {})).kept == (0 if kind == "ddff-hdf5" else 2)
    assert contents(out) == expected
    assert os.listdir(out.parent) == ["out"]
    monkeypatch.undo()
    time.tzset()


def test_another_plan_begins_anew(both, tmp_path, monkeypatch):
    monkeypatch.setattr("defocal.pipelines.export.BATCH", 1)
    interrupted(both, tmp_path / "out", "folder", monkeypatch, 2)
    (tmp_path / ".out.partial/rgb/stray.png").write_bytes(b"of the first plan")
    done = export(both, tmp_path / "out", "folder", depth_unit=0.00025)
    assert done.kept == 0
    assert not (tmp_path / "out/rgb/stray.png").exists()


def test_two_at_once_keep_apart(both, tmp_path):
    beside = tmp_path / ".out.partial"
    beside.mkdir()
    with hold(beside):
        refusal(lambda: export(both, tmp_path / "out", "folder"), "another run", os.getpid())


def test_a_full_disk_is_one_sentence_and_nothing_is_lost(both, tmp_path, monkeypatch):
    monkeypatch.setattr("defocal.pipelines.export.BATCH", 1)
    put = LAYOUTS["d3net"].put

    def full(self, sample, files):
        if sample.place == 1:
            raise OSError(28, "No space left on device")
        return put(self, sample, files)

    with monkeypatch.context() as patch:
        patch.setattr(LAYOUTS["d3net"], "put", full)
        refusal(lambda: export(both, tmp_path / "out", "d3net"), "No space left", "same command again")
    assert export(both, tmp_path / "out", "d3net").kept == 1


def test_few_samples_are_in_memory(both, tmp_path, monkeypatch):
    """However long the export, and however slow the disk."""
    alive, most = set(), []
    encode, put = LAYOUTS["webdataset"].encode, LAYOUTS["webdataset"].put

    def encoded(self, sample):
        alive.add(sample.place)
        return encode(self, sample)

    def written(self, sample, files):
        time.sleep(0.1)
        most.append(len(alive))
        alive.discard(sample.place)
        return put(self, sample, files)

    monkeypatch.setattr("defocal.pipelines.export.MOST_THREADS", 1)
    monkeypatch.setattr(LAYOUTS["webdataset"], "encode", encoded)
    monkeypatch.setattr(LAYOUTS["webdataset"], "put", written)
    store = dataset(tmp_path / "store", count=10, size=(32, 32))
    export(store, tmp_path / "out", "webdataset", shard_bytes=10000)
    assert max(most) <= 3


@pytest.mark.slow
def test_killed_at_random_it_goes_on(both, whole, tmp_path):
    """SIGKILL at twelve moments: nothing under the name of the export before it is whole, and then the same bytes."""
    expected = contents(whole("folder"))
    code = (
        "import sys, time; from defocal.pipelines import export as e; e.BATCH = 1; put = e.Layout.put\n"
        "e.Layout.put = lambda self, s, f: (time.sleep(0.2), put(self, s, f))[1]\n"
        "e.export(*sys.argv[1:])"
    )
    rng, kept = np.random.default_rng(5), []
    for trial in range(12):
        out = tmp_path / f"out{trial}"
        process = subprocess.Popen([sys.executable, "-c", code, str(both), str(out), "folder"])
        while process.poll() is None and not (tmp_path / f".out{trial}.partial/samples.jsonl").exists():
            time.sleep(0.02)
        time.sleep(1.5 * rng.random())
        process.send_signal(signal.SIGKILL)
        process.wait()
        if not out.exists():
            kept.append(export(both, out, "folder").kept)
        assert contents(out) == expected
    assert len(set(kept)) > 1  # it was killed here and there


# --- the command ------------------------------------------------------------------------------------------------------


def test_the_command(both, tmp_path):
    done = CliRunner().invoke(cli, ["export", str(both), str(tmp_path / "out"), "--as", "folder", "--limit", "1"])
    assert done.exit_code == 0, done.output
    assert f"Exported 2 samples to {tmp_path / 'out'} as folder." in done.output
    again = CliRunner().invoke(cli, ["export", str(both), str(tmp_path / "out"), "--as", "folder"])
    assert again.exit_code == 2
    assert again.output.startswith("Error: ")
    assert "not empty" in again.output
    unit = CliRunner().invoke(cli, ["export", "a", "b", "--as", "folder", "--depth-unit", "3 inches"])
    assert unit.exit_code == 2
    assert "--depth-unit: '3 inches'" in unit.output


def test_the_command_lists_the_layouts_and_says_what_was_there(both, tmp_path, monkeypatch):
    listed = CliRunner().invoke(cli, ["export", "--list"])
    assert listed.exit_code == 0
    assert all(kind.name in listed.output and kind.loss in listed.output for kind in KINDS.values())
    monkeypatch.setattr("defocal.pipelines.export.BATCH", 1)
    interrupted(both, tmp_path / "out", "d3net", monkeypatch, 1)
    done = CliRunner().invoke(cli, ["export", str(both), str(tmp_path / "out"), "--as", "d3net"])
    assert "1 of 3 samples were there" in done.output


def test_an_exported_folder_generates_the_same_captures(tmp_path):
    """The whole way round: what is rendered from an export is what was rendered from the original."""
    store = dataset(tmp_path / "store", count=2)
    export(store, tmp_path / "out", "folder", depth_unit=0.00025)
    recipe = open_store(store).recipe.to_dict()
    from defocal.pipelines.generate import create
    from defocal.pipelines.generate import run as generate
    from defocal.synth import Recipe
    from defocal.synth.samples import SampleMaker

    recipe["scenes"]["path"] = str(tmp_path / "out")
    maker = SampleMaker(Recipe.parse(recipe))
    assert not generate(tmp_path / "again", maker, create(tmp_path / "again", maker)).failed
    found = diff(store, tmp_path / "again")
    first, second = open_store(store), open_store(tmp_path / "again")
    before = {index: first.sample(split, row) for split, row, index in first.rows()}
    after = {index: second.sample(split, row) for split, row, index in second.rows()}
    for index, arrays in before.items():
        np.testing.assert_array_equal(arrays["aif"], after[index]["aif"])
        assert np.abs(arrays["capture"].astype(int) - after[index]["capture"]).max() <= 2
    assert found.samples == (2, 2)


def test_run_says_how_far_it_is(both, tmp_path, monkeypatch):
    monkeypatch.setattr("defocal.pipelines.export.BATCH", 1)
    interrupted(both, tmp_path / "out", "folder", monkeypatch, 1)
    job, steps, kept = prepare(both, "folder"), [], []
    done = run(job, tmp_path / "out", report=steps.append, resumed=kept.append)
    assert (steps, kept, done.kept, job.total) == ([1, 1], [1], 1, 3)
