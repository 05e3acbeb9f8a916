"""Generation: same digests whatever the workers, order and interruptions; faults cost only what was under way."""

import os
import random
import resource
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from conftest import recipe_data
from rgbd import noise_folder

from defocal import InputError
from defocal.pipelines import generate
from defocal.pipelines.generate import committed, complete, create, reopen, run
from defocal.synth import Recipe
from defocal.synth.commit import FOLDER, dataset_digest, make_shard, read_samples
from defocal.synth.samples import SampleMaker
from defocal.synth.store import open_store


def digest(out):
    return dataset_digest(read_samples(out))


def write_recipe(folder, **changes):
    path = folder / "tiny.toml"
    path.write_text(Recipe.parse(recipe_data(**changes)).to_toml())
    return path


def command(*arguments, **options):
    return subprocess.Popen(
        [sys.executable, "-m", "defocal.pipelines.cli", *map(str, arguments)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options,
    )  # fmt: skip


@pytest.mark.parametrize("shard_bytes", [1, 20_000, 1e9])
def test_shard_size_and_order_change_no_digest(tiny_store, tmp_path, shard_bytes):
    recipe = Recipe.parse(recipe_data(output={"shard_bytes": shard_bytes, "splits": {"train": 0.7, "test": 0.3}}))
    maker = SampleMaker(recipe)
    todo = list(create(tmp_path / "d", maker))
    random.Random(1).shuffle(todo)
    for shard in todo:
        make_shard(tmp_path / "d", maker, shard)
    run(tmp_path / "d", maker, todo)
    assert digest(tmp_path / "d") == digest(tiny_store)


def test_a_shorter_run_is_a_part_of_a_longer_one(tiny_store, tmp_path):
    maker = SampleMaker(Recipe.parse(recipe_data(scenes={"count": 5})))
    run(tmp_path / "d", maker, create(tmp_path / "d", maker))
    long = {row["index"]: row["digest"] for row in read_samples(tiny_store)}
    for row in read_samples(tmp_path / "d"):
        assert row["digest"] == long[row["index"]]


def test_resuming_makes_only_what_is_missing(tiny, tiny_store, tmp_path, monkeypatch):
    out, maker = tmp_path / "d", SampleMaker(tiny)
    todo = create(out, maker)
    for shard in todo[:5]:
        make_shard(out, maker, shard)
    assert not complete(out)
    assert committed(out, maker, todo) == sum(len(s.samples) for s in todo[:5])
    made = []
    monkeypatch.setattr(SampleMaker, "make", lambda self, i, make=SampleMaker.make: (made.append(i), make(self, i))[1])
    again, todo = reopen(out)
    outcome = run(out, again, todo)
    assert sorted(made) == sorted(i for s in todo[5:] for i in s.samples)
    assert outcome.samples == len(made)
    assert complete(out)
    assert digest(out) == digest(tiny_store)


def test_a_shard_that_fails_leaves_the_rest_and_can_be_tried_again(tiny, tiny_store, tmp_path, monkeypatch):
    out, maker = tmp_path / "d", SampleMaker(tiny)
    todo = create(out, maker)

    def poisoned(self, sample, make=SampleMaker.make):
        if sample == 7:
            raise InputError("scene 7 cannot be read.")
        return make(self, sample)

    with monkeypatch.context() as patch:
        patch.setattr(SampleMaker, "make", poisoned)
        outcome = run(out, maker, todo)
    assert list(outcome.failed.values()) == ["scene 7 cannot be read."]
    assert committed(out, maker, todo) == 12 - len(next(s for s in todo if 7 in s.samples).samples)
    with pytest.raises(InputError, match="unfinished"):
        open_store(out)
    assert not run(out, *reopen(out)).failed
    assert digest(out) == digest(tiny_store)


def test_interruptions_at_the_very_end_are_mended(tiny, tiny_store, tmp_path):
    out, maker = tmp_path / "d", SampleMaker(tiny)
    todo = create(out, maker)
    run(out, maker, todo)
    (out / (FOLDER + ".partial")).mkdir()
    (out / (FOLDER + ".partial") / "train-000000.json").write_text("{}")
    assert complete(out)
    assert not (out / (FOLDER + ".partial")).exists()


def test_litter_of_a_killed_writer_is_swept(tiny, tiny_store, tmp_path):
    out, maker = tmp_path / "d", SampleMaker(tiny)
    todo = create(out, maker)
    make_shard(out, maker, todo[0])
    litter = out / "train.zarr" / "aif" / "c" / "0.abc.partial"
    litter.parent.mkdir(parents=True, exist_ok=True)
    litter.write_bytes(b"half a shard")
    run(out, *reopen(out))
    assert not list(out.rglob("*.partial"))
    assert digest(out) == digest(tiny_store)


def done(*arguments):
    """Run a command to its end; return its exit status."""
    process = command(*arguments)
    process.communicate(timeout=120)
    return process.returncode


def killed_and_resumed(folder, seed, workers):
    """Kill a generation with SIGKILL after a random time, resume it, and return its folder."""
    rng = random.Random(seed)
    path = write_recipe(folder, scenes={"count": 40})
    out = folder / f"k{seed}"
    process = command("generate", path, out, "--workers", workers, start_new_session=True)
    deadline = time.monotonic() + 300
    while not out.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    time.sleep(rng.uniform(0, 1.5))
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    resumed = command("resume", out)
    _, errors = resumed.communicate(timeout=120)
    assert resumed.returncode == 0, errors
    return out


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    out = tmp_path_factory.mktemp("undisturbed") / "d"
    maker = SampleMaker(Recipe.parse(recipe_data(scenes={"count": 40})))
    run(out, maker, create(out, maker))
    return digest(out)


@pytest.mark.parametrize("seed", [1, 2])
def test_a_killed_run_resumes_to_the_same_digest(tmp_path, undisturbed, seed):
    assert digest(killed_and_resumed(tmp_path, seed, workers=0)) == undisturbed


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10, 30))
def test_runs_killed_at_many_moments_resume_to_the_same_digest(tmp_path, undisturbed, seed):
    assert digest(killed_and_resumed(tmp_path, seed, workers=seed % 3)) == undisturbed


def test_a_run_killed_before_it_began_leaves_no_dataset(tiny, tmp_path, monkeypatch):
    def fail(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(generate, "store_psf", fail)
    with pytest.raises(InputError, match=r"cannot write a dataset to .*: No space left"):
        create(tmp_path / "d", SampleMaker(tiny))
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_fills_up_on_the_way_costs_only_the_shards_under_way(tmp_path, undisturbed):
    """A limit on file size stands for the full disk: both make the write fail."""
    path = write_recipe(tmp_path, scenes={"count": 40})
    whole = tmp_path / "whole"
    assert done("generate", path, whole) == 0
    sizes = sorted(f.stat().st_size for f in whole.glob("*.zarr/*/c/**/*") if f.is_file())
    limit = sizes[-3]
    out = tmp_path / "d"
    limited = command(
        "generate", path, out, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    )
    _, errors = limited.communicate()
    assert limited.returncode == 3, errors
    assert "File too large" in errors
    assert "defocal resume" in errors
    assert "Traceback" not in errors
    resumed = command("resume", out)
    _, errors = resumed.communicate()
    assert resumed.returncode == 0, errors
    assert digest(out) == undisturbed


def test_a_disk_too_small_is_refused_before_anything_is_written(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(generate, "free_bytes", lambda out: 10**6)
    with pytest.raises(InputError, match=r"0\.00 GB free where up to 0\.06 GB may be needed"):
        create(tmp_path / "d", SampleMaker(tiny))
    assert list(tmp_path.iterdir()) == []


def test_a_dataset_is_not_begun_inside_another_or_through_a_link(tiny, tiny_store, tmp_path):
    maker = SampleMaker(tiny)
    with pytest.raises(InputError, match="lies in the dataset"):
        create(tiny_store / "deep" / "inside", maker)
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with pytest.raises(InputError, match="is a link: give the folder"):
        create(tmp_path / "link", maker)


def test_existing_output_is_refused(tiny, tiny_store, tmp_path):
    (tmp_path / "file").write_text("x")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").write_text("x")
    maker = SampleMaker(tiny)
    for out in (tmp_path / "full", tiny_store):
        with pytest.raises(InputError, match="already exists and is not empty"):
            create(out, maker)
    for out in (tmp_path / "file", tmp_path / "file" / "x"):
        with pytest.raises(InputError, match="file is no folder, where one is to be made"):
            create(out, maker)
    create(tmp_path / "new", maker)
    with pytest.raises(InputError, match="unfinished dataset: run `defocal resume"):
        create(tmp_path / "new", maker)
    (tmp_path / "empty").mkdir()
    create(tmp_path / "empty", maker)


def test_ctrl_c_says_how_to_go_on(tmp_path, undisturbed):
    path = write_recipe(tmp_path, scenes={"count": 40})
    out = tmp_path / "d"
    process = command("generate", path, out)
    while not out.exists():
        time.sleep(0.002)
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    if process.returncode == 1:
        assert f"Run `defocal resume {out}` to go on" in errors
        assert done("resume", out) == 0
    assert "Traceback" not in errors
    assert digest(out) == undisturbed


@pytest.mark.parametrize("text", ["", "{", '{"samples": [{"digest": 1}]}', "[]"])
def test_a_damaged_marker_only_costs_its_shard(tiny, tiny_store, tmp_path, text):
    out, maker = tmp_path / "d", SampleMaker(tiny)
    todo = create(out, maker)
    for shard in todo[:3]:
        make_shard(out, maker, shard)
    (out / FOLDER / f"{todo[1].name}.json").write_text(text)
    assert committed(out, maker, todo) == len(todo[0].samples) + len(todo[2].samples)
    assert not run(out, *reopen(out)).failed
    assert digest(out) == digest(tiny_store)


def test_a_recipe_edited_on_the_way_is_noticed(tiny, tmp_path):
    create(tmp_path / "d", SampleMaker(tiny))
    (tmp_path / "d/recipe.toml").write_text(tiny.to_toml().replace("2.0", "2.2"))
    with pytest.raises(InputError, match="no longer the recipe"):
        reopen(tmp_path / "d")


def test_lost_markers_are_made_good(tiny, tiny_store, tmp_path):
    import shutil

    out, maker = tmp_path / "d", SampleMaker(tiny)
    make_shard(out, maker, create(out, maker)[0])
    shutil.rmtree(out / FOLDER)
    assert not complete(out)
    assert not run(out, *reopen(out)).failed
    assert digest(out) == digest(tiny_store)


def test_a_neighbour_with_a_likely_name_is_left_alone(tiny, tmp_path):
    (tmp_path / "d.partial").mkdir()
    (tmp_path / "d.partial/thesis.txt").write_text("years of work")
    create(tmp_path / "d", SampleMaker(tiny))
    assert (tmp_path / "d.partial/thesis.txt").exists()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["d", "d.partial"]


def test_changed_input_files_are_noticed_on_resume(tmp_path):
    import cv2

    frames = tmp_path / "frames"
    data = recipe_data()
    data["scenes"] = noise_folder(frames, 4)
    maker = SampleMaker(Recipe.parse(data))
    out = tmp_path / "d"
    todo = create(out, maker)
    make_shard(out, maker, todo[0])
    assert len(reopen(out)[1]) == len(todo)
    kept = (frames / "rgb/2.png").read_bytes()
    cv2.imwrite(str(frames / "rgb/2.png"), np.zeros((32, 40, 3), np.uint8))
    with pytest.raises(InputError, match="have changed since it was begun"):
        reopen(out)
    (frames / "rgb/2.png").write_bytes(kept)
    for kind in ("rgb", "depth"):
        (frames / kind / "3.png").rename(frames / kind / "4.png")
    with pytest.raises(InputError, match="have changed since it was begun"):
        reopen(out)
