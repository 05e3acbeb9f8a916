"""Datasets in object stores: the same digests, safe resumption, and what faults cost."""

import os
import pickle
import threading

import numpy as np
import pytest
from click.testing import CliRunner
from processes import digest, ended, events, toy, wait_until

pytest.importorskip("obstore")
pytest.importorskip("moto")

from buckets import BUCKET, contents, upload

from defocal import InputError
from defocal.pipelines import generate
from defocal.pipelines.cli import cli
from defocal.pipelines.diff import diff
from defocal.pipelines.generate import begun, create, reopen, run
from defocal.pipelines.release import release
from defocal.pipelines.verify import verify
from defocal.synth import PsfBank, open_store
from defocal.synth.buckets import UnusableStoreError
from defocal.synth.commit import FOLDER, make_shard
from defocal.synth.places import place
from defocal.synth.samples import SampleMaker

# The same dataset


def test_the_objects_are_the_files_of_a_folder(remote, local):
    assert contents(remote) == contents(local)
    assert verify(remote, rerender=2).problems == []


def test_readers_open_it(remote, local):
    """As a trainer does: in its own process, from copies in others, and with nothing but Zarr."""
    import zarr
    from obstore.store import S3Store
    from zarr.storage import ObjectStore

    here, there = open_store(local), open_store(str(remote))
    assert list(here.rows()) == list(there.rows())
    copy = pickle.loads(pickle.dumps(there))
    bare = zarr.open_group(
        ObjectStore(S3Store(BUCKET, prefix="remote/small/train.zarr", client_options={"allow_http": True}))
    )
    for row in range(2):
        for name, array in here.sample("train", row).items():
            for other in (there.sample("train", row)[name], copy.sample("train", row)[name], bare[name][row]):
                np.testing.assert_array_equal(array, other)
    np.testing.assert_array_equal(PsfBank.load(str(remote)).kernels, PsfBank.load(local).kernels)


def test_commands_take_it(remote, local, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    said = {}
    for command in (
        ["info", str(remote)], ["preview", str(remote)], ["psf", str(remote)], ["diff", str(remote), str(local)],
        ["verify", str(remote)], ["resume", str(remote)], ["release", str(remote), "--out", "released"],
    ):  # fmt: skip
        result = CliRunner().invoke(cli, command)
        assert result.exit_code == 0, result.output
        said[command[0]] = result.output
    assert digest(local) in said["info"]
    assert "the same content" in said["diff"]
    assert "nothing to do" in said["resume"]
    assert (tmp_path / "small-preview/contact.png").exists()
    assert (tmp_path / "small-psf.png").exists()
    assert contents(tmp_path / "released") == contents(release(local, tmp_path / "other").folder)


@pytest.mark.slow
def test_a_release_may_lie_there(local, tmp_path, out):
    upload(contents(release(local, tmp_path / "r").folder), out)
    assert verify(out).problems == []
    assert diff(out, local).release[0]
    (out / "README.md").write_bytes(b"x")
    (out / "more.txt").write_bytes(b"x")
    problems = verify(out).problems
    assert any("README.md differs" in problem for problem in problems)
    assert any("more.txt does not belong" in problem for problem in problems)


SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    "damage", ["flipped", "missing", pytest.param("extra", marks=SLOW), pytest.param("foreign", marks=SLOW)]
)
def test_verify_finds_damage(remote, out, damage):
    files = contents(remote)
    name = "train.zarr/capture/c/1/0/0/0"
    if damage == "flipped":
        half = len(files[name]) // 3
        files[name] = files[name][:half] + bytes([files[name][half] ^ 4]) + files[name][half + 1 :]
    elif damage == "missing":
        del files[name]
    else:
        files["train.zarr/x" if damage == "extra" else "_commit/lock"] = b"x"
    upload(files, out)
    problems = verify(out).problems
    expected = {"extra": "train.zarr/x does not belong", "foreign": "_commit does not belong"}
    assert any(expected.get(damage, "(train, row 1)") in problem for problem in problems), problems


def test_plan_does_not_ask_for_free_space(remote, small, tmp_path):
    (tmp_path / "r.toml").write_text(small.to_toml())
    result = CliRunner().invoke(cli, ["plan", str(tmp_path / "r.toml"), "--out", str(remote)])
    assert result.exit_code == 0, result.output
    assert "free" not in result.output


def test_shapes_of_paths():
    where = place("s3://bucket/a/b.zarr/")
    assert (str(where), where.name, where.stem, where.suffix) == ("s3://bucket/a/b.zarr", "b.zarr", "b", ".zarr")
    assert str(place("S3://bucket")) == "s3://bucket"
    assert str(where / "c" / "d") == str(where.joinpath("c", "d")) == "s3://bucket/a/b.zarr/c/d"
    with pytest.raises(InputError, match="where a local file is needed"):
        os.stat(where)


# Interruption


def test_an_interrupted_dataset_is_resumed(small, local, out):
    maker = SampleMaker(small)
    todo = create(out, maker)
    for shard in todo[:4]:
        make_shard(out, maker, shard)
    (out / FOLDER / f"{todo[1].name}.json").write_bytes(b"{")
    (out / f"{todo[2].split}.zarr/depth/c/{todo[2].number}/0/0").unlink()
    with pytest.raises(InputError, match=f"{out} is unfinished: run `defocal resume {out}`"):
        open_store(out)
    with pytest.raises(InputError, match="unfinished dataset: run `defocal resume"):
        create(out, maker)
    seen = []
    assert run(out, *reopen(out), report=seen.append).complete
    assert [event.shard.name for event in seen if event.kind == "kept"] == [todo[0].name, todo[3].name]
    assert contents(out) == contents(local)
    with pytest.raises(InputError, match="already exists and is not empty"):
        create(out, maker)


def test_a_creation_that_was_interrupted_is_begun_again(small, local, out, monkeypatch):
    maker = SampleMaker(small)
    with monkeypatch.context() as patch:
        patch.setattr(generate, "store_psf", lambda *arguments: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            create(out, maker)
    assert not begun(out)
    with pytest.raises(InputError, match="ended before it was begun: run `defocal generate` again"):
        open_store(out, unfinished=True)
    assert run(out, maker, create(out, maker)).complete
    assert contents(out) == contents(local)


def test_what_lies_there_is_left_alone(small, out):
    (out / "thesis.txt").write_bytes(b"years of work")
    with pytest.raises(InputError, match="already exists and is not empty"):
        create(out, SampleMaker(small))
    assert contents(out) == {"thesis.txt": b"years of work"}


def test_an_end_that_was_interrupted_is_the_end(small, local, remote, out):
    """Between the sample table and the removal of the markers."""
    upload(contents(remote) | {f"{FOLDER}/train-000000.json": b"{}", f"{FOLDER}/lock": b"{}"}, out)
    assert len(open_store(out)) == 5
    assert CliRunner().invoke(cli, ["resume", str(out)]).exit_code == 0
    assert contents(out) == contents(local)


@pytest.mark.slow
@pytest.mark.parametrize("crew", [(), ("--workers", 2)])
def test_a_killed_run_is_resumed_at_once(recipe_file, undisturbed, out, crew):
    process = toy("generate", recipe_file, out, *crew, faults={"sleep": 0.1})
    wait_until(lambda: (out / FOLDER / "train-000001.json").is_file())
    process.kill()
    process.communicate()
    status, _, errors = ended(toy("resume", out, "--workers", 1))
    assert status == 0, errors
    assert digest(out) == undisturbed
    assert not (out / FOLDER).exists()


# Faults


def test_requests_that_fail_are_repeated(server, small, local, out):
    server.every, before = 5, server.failed
    try:
        maker = SampleMaker(small)
        assert run(out, maker, create(out, maker)).complete
    finally:
        server.every = 0
    assert server.failed - before > 5
    assert contents(out) == contents(local)


@pytest.mark.slow
@pytest.mark.parametrize("every", [3, 7, 40])
def test_workers_get_over_requests_that_fail(server, recipe_file, undisturbed, out, every):
    server.every = every
    try:
        status, _, errors = ended(toy("generate", recipe_file, out, "--workers", 2))
    finally:
        server.every = 0
    assert status == 0, errors
    assert digest(out) == undisturbed


def test_a_server_that_is_gone_stops_the_run(server, small, local, out, patience, monkeypatch):
    maker = SampleMaker(small)
    todo = create(out, maker)
    patience(0.5)

    def make(self, sample, real=SampleMaker.make):
        if sample == todo[2].samples[0]:
            server.stop()
        return real(self, sample)

    try:
        with monkeypatch.context() as patch:
            patch.setattr(SampleMaker, "make", make)
            outcome = run(out, maker, todo)
    finally:
        server.start()
    assert list(outcome.failed) == [todo[2].name]
    assert f"no connection to the object store of {out} for 0.5 s" in outcome.stopped
    assert not outcome.complete
    seen = []
    assert run(out, *reopen(out), report=seen.append).complete
    assert [event.kind for event in seen].count("kept") == 2
    assert contents(out) == contents(local)


@pytest.mark.slow
@pytest.mark.parametrize("crew", [(), ("--workers", 2)])
def test_a_command_whose_server_is_gone_says_how_to_go_on(server, recipe_file, undisturbed, out, patience, crew):
    patience(1)
    process = toy("generate", recipe_file, out, "--json", *crew, faults={"sleep": 0.05})
    wait_until(lambda: (out / FOLDER / "train-000001.json").is_file())
    server.stop()
    try:
        status, output, errors = ended(process)
    finally:
        server.start()
    assert status == 3, errors
    assert f"no connection to the object store of {out}" in errors
    assert f"`defocal resume {out}` goes on" in errors
    assert events(output)[-1]["exit"] == 3
    assert ended(toy("resume", out))[0] == 0
    assert digest(out) == undisturbed


@pytest.mark.slow
def test_a_server_that_is_gone_for_a_moment_is_waited_for(server, small, local, out):
    maker = SampleMaker(small)
    todo = create(out, maker)
    server.stop()
    back = threading.Timer(1.0, server.start)
    back.start()
    assert run(out, maker, todo).complete
    back.join()
    assert contents(out) == contents(local)


@pytest.mark.slow
def test_an_object_that_cannot_be_written_costs_its_shard(server, small, local, out, patience):
    maker = SampleMaker(small)
    todo = create(out, maker)
    patience(1)
    server.broken = f"{out.name}/train.zarr/capture/c/1/"
    try:
        outcome = run(out, maker, todo)
    finally:
        server.broken = ""
    assert list(outcome.failed) == ["train-000001"]
    assert "the object store answered 500" in outcome.failed["train-000001"]
    assert not outcome.stopped
    assert run(out, *reopen(out)).complete
    assert contents(out) == contents(local)


def test_a_network_that_fails_is_not_taken_for_damage(server, remote, patience):
    store = open_store(remote)
    patience(0.3)
    server.stop()
    try:
        with pytest.raises(UnusableStoreError, match="no connection"):
            open_store(remote)
        result = CliRunner().invoke(cli, ["verify", str(remote)])
        assert result.exit_code == 1
        assert result.output.startswith("Error: no connection to the object store")
    finally:
        server.start()
    assert len(store) == 5
