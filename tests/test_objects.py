"""Datasets in object stores: the same digests, safe resumption, one run at a time, and no credentials anywhere."""

import json
import os
import pickle
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from click.testing import CliRunner
from conftest import recipe_data
from processes import digest, ended, events, toy, wait_until

pytest.importorskip("obstore")
pytest.importorskip("moto")

from buckets import BUCKET, KEYS, Server, contents, upload

from defocal import InputError
from defocal.pipelines import generate, lease
from defocal.pipelines.cli import cli
from defocal.pipelines.diff import diff
from defocal.pipelines.generate import begun, create, reopen, run
from defocal.pipelines.release import release
from defocal.pipelines.verify import verify
from defocal.synth import PsfBank, Recipe, buckets, open_store
from defocal.synth.buckets import ObjectStoreError, UnusableStoreError
from defocal.synth.commit import FOLDER, make_shard
from defocal.synth.places import ObjectPath, place
from defocal.synth.samples import SampleMaker


@pytest.fixture(scope="module")
def server():
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            patch.delenv(name)
        made = Server()
        for name, value in {**KEYS, "AWS_ENDPOINT_URL": made.url, "DEFOCAL_OBJECT_PATIENCE": "20"}.items():
            patch.setenv(name, value)
        buckets.connect.cache_clear()
        yield made
        made.stop()
        buckets.connect.cache_clear()


@pytest.fixture
def patience(monkeypatch):
    """Set for how long requests are repeated, seconds."""

    def patient(seconds):
        monkeypatch.setenv("DEFOCAL_OBJECT_PATIENCE", str(seconds))
        buckets.connect.cache_clear()

    yield patient
    monkeypatch.undo()
    buckets.connect.cache_clear()


@pytest.fixture
def out(server, request):
    """An empty place."""
    return place(f"s3://{BUCKET}/{request.node.name.replace('[', '-').replace(']', '')}")


@pytest.fixture(scope="module")
def small():
    """A recipe of few objects: the server takes some milliseconds for each request."""
    arrays = {"arrays": ["depth", "capture"], "splits": {"train": 1.0}}
    return Recipe.parse(recipe_data(scenes={"count": 5, "size": [16, 20]}, output=arrays))


@pytest.fixture(scope="module")
def local(small, tmp_path_factory):
    """The small dataset in a folder."""
    folder, maker = tmp_path_factory.mktemp("local") / "small", SampleMaker(small)
    assert run(folder, maker, create(folder, maker)).complete
    return folder


@pytest.fixture(scope="module")
def remote(small, server):
    """The small dataset in an object store; tests must not change it."""
    where, maker = place(f"s3://{BUCKET}/remote/small"), SampleMaker(small)
    assert run(where, maker, create(where, maker)).complete
    return where


@pytest.fixture(scope="module")
def recipe_file(small, tmp_path_factory):
    path = tmp_path_factory.mktemp("recipe") / "tiny.toml"
    path.write_text(Recipe.parse(small.to_dict() | {"scenes": {**small.to_dict()["scenes"], "count": 8}}).to_toml())
    return path


@pytest.fixture(scope="module")
def undisturbed(recipe_file, tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed") / "d"
    assert ended(toy("generate", recipe_file, folder))[0] == 0
    return digest(folder)


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


# Two runs


def test_two_runs_keep_out_of_each_others_way(out):
    with lease.hold_lease(out) as held:
        assert held.note == ""
        for shared in (False, True):
            with (
                pytest.raises(InputError, match=rf"is being made by another run \(process {os.getpid()} on "),
                lease.hold_lease(out, shared=shared),
            ):
                pass
        assert "another run" in lease.lease_holder(out)
    both = (lease.hold_lease(out, shared=True), lease.hold_lease(out, shared=True))
    with both[0], both[1], pytest.raises(InputError, match="is being made"), lease.hold_lease(out):
        pass
    assert lease.lease_holder(out) is None
    assert contents(out) == {}


def test_of_runs_that_begin_at_once_one_is_alone(out):
    inside, refused, gate = [], [], threading.Barrier(4)

    def one():
        gate.wait()
        try:
            with lease.hold_lease(out):
                inside.append(1)
                assert sum(inside) == 1
                time.sleep(0.3)
                inside.append(-1)
        except InputError:
            refused.append(1)

    threads = [threading.Thread(target=one) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (inside, len(refused)) == ([1, -1], 3)


def test_a_lock_without_a_sign_of_life_is_taken_over(out, monkeypatch):
    foreign = {"process": 1, "host": "elsewhere", "machine": "another", "token": "t", "beat": 0.0}
    (out / FOLDER / "lock").write_bytes(json.dumps(foreign).encode())
    with pytest.raises(InputError, match=r"process 1 on elsewhere\).*try again in 90 s"), lease.hold_lease(out):
        pass
    monkeypatch.setattr(lease, "STALE", 1.0)
    time.sleep(2.1)
    with lease.hold_lease(out):
        assert b"elsewhere" not in (out / FOLDER / "lock").read_bytes()


@pytest.mark.parametrize("name", ["lock", "lock-0"])
def test_a_process_of_this_machine_that_is_gone_is_known_to_be(out, name):
    gone = subprocess.Popen(["true"])
    gone.wait()
    lock = lease._Lock(out / FOLDER / name)
    said = json.loads(lock.text()) | {"process": gone.pid, "token": "t"}
    lock.place.write_bytes(json.dumps(said).encode())
    with lease.hold_lease(out):
        pass
    assert contents(out) == {}


def test_a_run_that_was_taken_over_stops(small, local, out, monkeypatch):
    monkeypatch.setattr(lease, "BEAT", 0.05)
    maker = SampleMaker(small)
    todo = create(out, maker)

    def make(self, sample, real=SampleMaker.make):
        if sample == 2:
            # A machine that slept meanwhile finds another run's lock.
            (out / FOLDER / "lock").write_bytes(b'{"process": 1, "host": "h", "machine": "", "token": "t"}')
            time.sleep(0.5)
        return real(self, sample)

    with monkeypatch.context() as patch:
        patch.setattr(SampleMaker, "make", make)
        outcome = run(out, maker, todo)
    assert outcome.stopped.startswith("Another run has taken the dataset over")
    (out / FOLDER / "lock").unlink()
    assert run(out, *reopen(out)).complete
    assert contents(out) == contents(local)


def test_signs_of_life_are_given(out, monkeypatch):
    monkeypatch.setattr(lease, "BEAT", 0.05)
    with lease.hold_lease(out) as held:
        first = (out / FOLDER / "lock").tagged()[1]
        wait_until(lambda: (out / FOLDER / "lock").tagged()[1] != first)
        assert not held.lost.is_set()


def test_a_store_without_conditions_is_told_once(server, small, local, out):
    server.deaf, seen = True, []
    try:
        maker = SampleMaker(small)
        assert run(out, maker, create(out, maker), report=seen.append).complete
    finally:
        server.deaf = False
    assert [event.text for event in seen if event.kind == "note"] == [f"{out} {lease.UNSURE}"]
    assert contents(out) == contents(local)


def test_parts_share_a_dataset(small, local, out):
    maker = SampleMaker(small)
    todo = create(out, maker)
    assert not run(out, maker, todo[0::2], shared=True).complete
    with pytest.raises(InputError, match="unfinished"):
        open_store(out)
    assert run(out, maker, todo[1::2], shared=True).complete
    assert contents(out) == contents(local)


@pytest.mark.slow
@pytest.mark.parametrize("count", [2, 4])
def test_parts_that_begin_at_once_share_a_dataset(recipe_file, undisturbed, out, count):
    runs = [toy("generate", recipe_file, out, "--shard-index", i, "--shard-count", count) for i in range(count)]
    for one in runs:
        status, _, errors = ended(one)
        assert status == 0, errors
    assert digest(out) == undisturbed
    assert not (out / FOLDER).exists()


# Trust


def test_credentials_enter_nothing(small, out, tmp_path):
    (tmp_path / "r.toml").write_text(small.to_toml())
    result = CliRunner().invoke(cli, ["generate", str(tmp_path / "r.toml"), str(out), "--json"])
    assert result.exit_code == 0, result.output
    search(out, result.output)


@pytest.mark.slow
def test_credentials_enter_nothing_of_what_workers_write(recipe_file, out):
    process = toy("generate", recipe_file, out, "--workers", 2, "--json", env={"DEFOCAL_DEBUG": "1"})
    status, output, errors = ended(process)
    assert status == 0, errors
    search(out, output, errors)


def search(out, *said):
    """Look for secrets in what was said, written, and is sent to other processes."""
    store = open_store(out)
    shown = [*said, repr(store), str(pickle.dumps(store)), str(pickle.dumps(out)), repr(out), str(out)]
    for value in KEYS.values():
        assert not [text for text in shown if value in text]
        assert not [name for name, content in contents(out).items() if value.encode() in content]


def test_errors_tell_nothing_of_what_a_server_answers():
    """The answer to a wrong signature holds the key's id."""

    class GenericError(Exception):
        __module__ = "obstore.exceptions"

    body = "<Error><Code>SignatureDoesNotMatch</Code><AWSAccessKeyId>AKIA</AWSAccessKeyId></Error>"
    text = f"Server returned non-2xx status code: 403 Forbidden: {body}"
    said = buckets.described(GenericError(text), "s3://b/x")
    assert isinstance(said, UnusableStoreError)
    assert "403 SignatureDoesNotMatch" in str(said)
    assert "AKIA" not in str(said)


def test_keys_come_from_the_files_of_the_aws_tools(remote, tmp_path, monkeypatch):
    for name in KEYS:
        monkeypatch.delenv(name)
    (tmp_path / "credentials").write_text(
        "[default]\naws_access_key_id = AKIAINAFILE\naws_secret_access_key = SECRETINAFILE\n[work]\nsso_session = x\n"
    )
    (tmp_path / "config").write_text("[default]\nregion = eu-central-1\n[profile role]\nrole_arn = x\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    buckets.connect.cache_clear()
    assert digest(remote)
    assert "SECRETINAFILE" not in str(pickle.dumps(open_store(remote)))
    assert buckets._from_profile({})["region"] == "eu-central-1"
    assert "region" not in buckets._from_profile({"AWS_REGION": "us-west-2"})
    assert "credential_provider" not in buckets._from_profile({"AWS_ACCESS_KEY_ID": "x"})
    with pytest.raises(InputError, match="no profile 'nobody'"):
        buckets._from_profile({"AWS_PROFILE": "nobody"})
    monkeypatch.setitem(sys.modules, "boto3", None)
    for name in ("work", "role"):
        with pytest.raises(InputError, match=f"profile '{name}' takes its credentials from elsewhere"):
            buckets._from_profile({"AWS_PROFILE": name})
    (tmp_path / "config").write_text("secret without a heading")
    with pytest.raises(InputError, match=r"cannot read .*config \(MissingSectionHeaderError\)"):
        buckets._from_profile({})
    buckets.connect.cache_clear()


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("s3://key:secret@bucket/x", "holds a user name or a password"),
        ("https://key:secret@host/x", "holds a user name or a password"),
        ("http://host/x", "is no place for a dataset"),
        ("s3:///x", "not of the form s3://BUCKET/NAME"),
        ("s3://bucket/x?token=secret", "not of the form"),
        ("s3://bucket/a/../b", "an empty part, or one of dots"),
        ("s3://bucket/a//b", "an empty part, or one of dots"),
    ],
)
def test_addresses_that_are_refused(address, words):
    with pytest.raises(InputError, match=words) as refusal:
        place(address)
    assert "secret" not in str(refusal.value)


def test_what_must_be_local_is(remote, tmp_path):
    for command, words in (
        (["preview", str(remote), "--out", f"{remote}-preview"], "this command's output must be local"),
        (["release", str(remote)], "release a copy in a local folder with --out"),
        (["info", f"s3://{BUCKET}/nothing"], f"there is no dataset at s3://{BUCKET}/nothing"),
        (["info", "s3://no-such-bucket/x"], ""),
    ):
        result = CliRunner().invoke(cli, command)
        assert result.exit_code == (2 if words else 1), result.output
        assert (words or "there is no bucket for s3://no-such-bucket/x") in result.output


def test_an_endpoint_with_a_password_is_refused(server, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://me:secret@127.0.0.1:1")
    buckets.connect.cache_clear()
    with pytest.raises(InputError, match="AWS_ENDPOINT_URL holds a user name or a password") as refusal:
        buckets.connect("s3", "bucket")
    assert "secret" not in str(refusal.value)
    monkeypatch.setenv("DEFOCAL_OBJECT_PATIENCE", "long")
    with pytest.raises(InputError, match="DEFOCAL_OBJECT_PATIENCE='long' is no number of seconds"):
        buckets.connect("s3", "bucket")


def test_without_the_library_there_is_a_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, "obstore", None)
    with pytest.raises(InputError, match=r"pip install 'defocal\[s3\]'"):
        open_store("s3://bucket/x")


def test_folders_do_not_load_the_library(local):
    code = f"import sys; from defocal.synth import open_store; open_store({str(local)!r}).sample('train', 0); "
    done = subprocess.run(
        [sys.executable, "-c", code + "print('obstore' in sys.modules)"], capture_output=True, text=True
    )
    assert done.stdout.strip() == "False", done.stderr


def test_an_unusable_store_is_a_kind_of_failure():
    assert issubclass(UnusableStoreError, ObjectStoreError)
    assert isinstance(place("gs://bucket/x"), ObjectPath)
