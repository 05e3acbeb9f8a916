"""Schedulers: how they are found and left, what is asked of their workers, what listens on this machine."""

import http.client
import json
import shutil
import socket
import subprocess
import sys
import threading
import urllib.request

import psutil
import pytest
from processes import digest, ended, toy, toy_environment, wait_until, workers_of

from defocal import InputError
from defocal.pipelines.agreement import difference, identity
from defocal.pipelines.generate import create, run
from defocal.pipelines.workers import LocalWorkers
from defocal.synth.commit import FOLDER
from defocal.synth.samples import SampleMaker

QUICK = {"DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT": "2s"}


class Cluster:
    """A scheduler and workers as a user starts them: commands of Dask, on the loopback interface."""

    def __init__(self, folder, security=(), port=0):
        self.folder, self.file, self.security = folder, folder / "scheduler.json", security
        self.processes = []
        self.port = port
        self.begin()

    def begin(self):
        self.file.unlink(missing_ok=True)
        self.scheduler = self._dask("scheduler", "--port", self.port, "--no-dashboard", "--scheduler-file", self.file)
        wait_until(self.file.exists)
        wait_until(lambda: self.file.read_text().endswith("}"))
        self.address = json.loads(self.file.read_text())["address"]
        self.port = int(self.address.rsplit(":", 1)[1])

    def worker(self, *options, env=None, **faults):
        arguments = ("--nthreads", "1", "--no-dashboard", "--scheduler-file", self.file, *options)
        return self._dask("worker", *arguments, env={**toy_environment(**faults), **(env or {})})

    def _dask(self, what, *arguments, env=None):
        line = [sys.executable, "-m", f"distributed.cli.dask_{what}", "--host", "127.0.0.1", *self.security]
        process = subprocess.Popen(
            [*line, *map(str, arguments)], cwd=self.folder, env=env,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        self.processes.append(process)
        return process

    def end(self, *processes):
        for process in processes or self.processes:
            if process.poll() is None:
                for one in [*psutil.Process(process.pid).children(recursive=True), process]:
                    one.kill()
            process.wait()


@pytest.fixture
def clusters(tmp_path):
    begun = []

    def begin(name="cluster", **options):
        (tmp_path / name).mkdir()
        begun.append(Cluster(tmp_path / name, **options))
        return begun[-1]

    yield begin
    for one in begun:
        one.end()


def refused(*arguments, **options):
    """Run a command that must be refused; return its one sentence."""
    status, _, errors = ended(toy("generate", *arguments, **options))
    assert status == 2, errors
    sentence = errors.strip().splitlines()[-1]
    assert sentence.startswith("Error: ")
    assert sentence.endswith(".")
    return sentence


def test_a_scheduler_is_found_by_address_by_file_and_by_the_environment(clusters, recipe_file, undisturbed, tmp_path):
    cluster = clusters()
    cluster.worker()
    cluster.worker("--nthreads", "3")
    ways = {
        "address": (("--scheduler", cluster.address), {}),
        "file": (("--scheduler-file", cluster.file), {}),
        "environment": ((), {"DASK_SCHEDULER_ADDRESS": cluster.address}),
    }
    for name, (arguments, env) in ways.items():
        status, _, errors = ended(toy("generate", recipe_file, tmp_path / name, *arguments, env=env))
        assert status == 0, errors
        assert (f"Using the scheduler at {cluster.address}, from DASK_SCHEDULER_ADDRESS." in errors) == bool(env)
        assert digest(tmp_path / name) == undisturbed
    # Who asks for local workers gets them.
    env = {"DASK_SCHEDULER_ADDRESS": "tcp://127.0.0.1:1"}
    assert ended(toy("generate", recipe_file, tmp_path / "here", "--workers", 0, env=env))[0] == 0


def test_a_scheduler_that_is_not_there_is_said_in_one_sentence(recipe_file, tmp_path):
    out = tmp_path / "d"
    asked = ("--scheduler", "tcp://127.0.0.1:1")
    assert "cannot reach the scheduler at tcp://127.0.0.1:1 (no answer" in refused(recipe_file, out, *asked, env=QUICK)
    assert "missing port number" in refused(recipe_file, out, "--scheduler", "somewhere", env=QUICK)
    assert "cannot read the scheduler file" in refused(recipe_file, out, "--scheduler-file", tmp_path / "none.json")
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer():
            with server.accept()[0] as visitor:
                visitor.sendall(b"HTTP/1.1 400 Bad Request\r\n" * 9)

        other = threading.Thread(target=answer)
        other.start()
        asked = ("--scheduler", f"tcp://127.0.0.1:{server.getsockname()[1]}")
        assert "cannot reach the scheduler" in refused(recipe_file, out, *asked, env=QUICK)
        other.join()
    assert not out.exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--workers", 1, "--scheduler", "tcp://127.0.0.1:1"), "exclude each other"),
        (("--scheduler", "tcp://127.0.0.1:1", "--scheduler-file", "x"), "exclude each other"),
        (("--memory-limit", "1 GB"), "are for local --workers"),
        (("--workers", 1, "--memory-limit", "much"), "is not a number with one of the units"),
        (("--workers", 1, "--memory-limit", "20 MB"), "is too little: a worker of this recipe needs"),
    ],
)
def test_options_that_make_no_sense_are_refused(recipe_file, tmp_path, arguments, words):
    assert words in refused(recipe_file, tmp_path / "d", *arguments)
    assert not (tmp_path / "d").exists()


def test_the_dashboard_needs_bokeh(tiny, monkeypatch):
    monkeypatch.setitem(sys.modules, "bokeh", None)
    with pytest.raises(InputError, match="--dashboard needs bokeh"):
        LocalWorkers(1, dashboard=True).check(SampleMaker(tiny))


def test_what_differs_is_said_with_both_versions():
    mine = identity()
    assert {"python", "numpy", "numba", "zarr", "defocal", "sources"} <= mine.keys()
    assert difference("tcp://w", dict(mine), mine) is None
    said = difference("tcp://w", {**mine, "numba": "0.1"}, mine)
    assert said.startswith(f"worker tcp://w has numba 0.1 where this run has {mine['numba']}: ")
    assert "other sources of defocal" in difference("tcp://w", {**mine, "sources": "x"}, mine)


def test_workers_with_other_versions_are_refused_before_anything_is_made(clusters, recipe_file, tmp_path):
    cluster = clusters()
    cluster.worker(versions={"numba": "0.60.0"})
    cluster.worker()
    wait_until(lambda: _workers(cluster) == 2)
    said = refused(recipe_file, tmp_path / "d", "--scheduler-file", cluster.file)
    assert "has numba 0.60.0 where this run has" in said
    assert "Install the same there, or leave that worker out." in said
    assert not (tmp_path / "d").exists()


def _workers(cluster):
    from distributed import Client

    with Client(cluster.address, set_as_default=False) as client:
        return len(client.nthreads())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("faults", "words"),
    [({"versions": {"zarr": "3.0.0"}}, "has zarr 3.0.0 where this run has"), ({"blind": 1}, "cannot see")],
)
def test_workers_that_come_later_are_asked_too(clusters, recipe_file, tmp_path, faults, words):
    cluster, out = clusters(), tmp_path / "d"
    process = toy("generate", recipe_file, out, "--scheduler-file", cluster.file)
    wait_until((out / FOLDER / "lock").exists)
    cluster.worker(**faults)
    status, _, errors = ended(process)
    assert status == 2
    assert words in errors.strip().splitlines()[-1]


def test_a_scheduler_that_is_lost_and_comes_back_costs_no_shard(clusters, recipe_file, undisturbed, tmp_path):
    cluster, out = clusters(), tmp_path / "d"
    worker = cluster.worker(sleep=0.1)
    process = toy("generate", recipe_file, out, "--scheduler-file", cluster.file)
    wait_until(lambda: list(out.glob(f"{FOLDER}/*.json")))
    cluster.end(cluster.scheduler, worker)
    cluster.begin()
    cluster.worker()
    status, _, errors = ended(process)
    assert status == 0, errors
    assert "Starting again with what is not finished" in errors
    assert digest(out) == undisturbed


def test_a_scheduler_that_is_lost_for_good_ends_the_run(clusters, recipe_file, undisturbed, tmp_path):
    cluster, out = clusters(), tmp_path / "d"
    cluster.worker(sleep=0.1)
    process = toy("generate", recipe_file, out, "--scheduler", cluster.address, "--patience", 1, env=QUICK)
    wait_until(lambda: list(out.glob(f"{FOLDER}/*.json")))
    cluster.end()
    status, _, errors = ended(process)
    assert status == 3
    assert "It did not come back within 1 s." in errors
    assert f"What is finished is safe; `defocal resume {out}` goes on." in errors
    status, _, errors = ended(toy("resume", out))
    assert status == 0, errors
    assert digest(out) == undisturbed


@pytest.mark.slow
def test_a_scheduler_that_loses_all_workers_is_not_waited_for_for_ever(clusters, recipe_file, tmp_path):
    cluster, out = clusters(), tmp_path / "d"
    worker = cluster.worker("--no-nanny", sleep=0.1)
    process = toy("generate", recipe_file, out, "--scheduler", cluster.address, "--patience", 3)
    wait_until(lambda: list(out.glob(f"{FOLDER}/*.json")))
    cluster.end(worker)
    status, _, errors = ended(process)
    assert status == 3
    assert "has had no workers for 3 s" in errors


def test_the_local_cluster_listens_on_this_machine_alone_and_serves_no_pages(recipe_file, tmp_path):
    process = toy("generate", recipe_file, tmp_path / "d", "--workers", 2, faults={"sleep": 0.3})
    wait_until(lambda: list(tmp_path.glob(f"d/{FOLDER}/*.json")))
    listening = [
        connection.laddr
        for one in [psutil.Process(process.pid), *workers_of(process)]
        for connection in one.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert len(listening) >= 3
    assert {address.ip for address in listening} == {"127.0.0.1"}
    for address in listening:
        for page in ("status", "info/main/workers.html", "health", "json/counts.json", "metrics"):
            with pytest.raises((OSError, http.client.HTTPException)) as refusal:
                urllib.request.urlopen(f"http://127.0.0.1:{address.port}/{page}", timeout=0.5).read()
            assert getattr(refusal.value, "code", 404) == 404
    process.terminate()
    assert ended(process)[0] == 1


@pytest.mark.slow
def test_a_worker_that_takes_too_much_memory_is_said(recipe_file, tmp_path):
    greedy = {"eat": [13], "bytes": 900_000_000}
    limit = ("--workers", 1, "--memory-limit", "600 MB")
    status, _, errors = ended(toy("generate", recipe_file, tmp_path / "d", *limit, faults=greedy))
    assert status == 3
    assert "killed, or out of memory (see --memory-limit)" in errors
    assert "1 of 14 shards failed" in errors


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl to make certificates with")
def test_tls_is_taken_from_dasks_configuration(clusters, recipe_file, undisturbed, tmp_path):
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    subprocess.run(
        ["openssl", "req", "-newkey", "rsa:2048", "-nodes", "-x509", "-days", "2", "-subj", "/CN=defocal",
         "-keyout", key, "-out", certificate],
        check=True, capture_output=True,
    )  # fmt: skip
    tls = ("--protocol", "tls", "--tls-ca-file", certificate, "--tls-cert", certificate, "--tls-key", key)
    cluster = clusters(security=tls)
    assert cluster.address.startswith("tls://")
    cluster.worker()
    asked = ("--scheduler", cluster.address)
    assert "TLS" in refused(recipe_file, tmp_path / "d", *asked, env=QUICK)
    env = {"DASK_DISTRIBUTED__COMM__TLS__CA_FILE": str(certificate)}
    for who in ("CLIENT",):
        env[f"DASK_DISTRIBUTED__COMM__TLS__{who}__CERT"] = str(certificate)
        env[f"DASK_DISTRIBUTED__COMM__TLS__{who}__KEY"] = str(key)
    status, _, errors = ended(toy("generate", recipe_file, tmp_path / "d", *asked, env=env))
    assert status == 0, errors
    assert digest(tmp_path / "d") == undisturbed


def test_two_workers_give_the_digest_of_none(tiny, tiny_store, tmp_path):
    """With the samples that are meant: everything else here is about noise."""
    maker, seen = SampleMaker(tiny), []
    outcome = run(tmp_path / "d", maker, create(tmp_path / "d", maker), workers=2, report=seen.append)
    assert not outcome.failed
    assert outcome.complete
    assert outcome.samples == sum(event.samples for event in seen) == 12
    files = [f for name in tiny.arrays for f in (tmp_path / "d").glob(f"*.zarr/{name}/c/**/*") if f.is_file()]
    assert outcome.bytes == sum(file.stat().st_size for file in files)
    assert all(event.seconds > 0 for event in seen)
    assert digest(tmp_path / "d") == digest(tiny_store)
    assert contents(tmp_path / "d") == contents(tiny_store)


def contents(folder):
    """Bytes of every file."""
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
