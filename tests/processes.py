"""Runs of the command line in processes of their own, with samples that are cheap noise where it does not matter."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil

from defocal.synth.commit import dataset_digest, read_samples

TOY = Path(__file__).parent / "toy"


def digest(out):
    return dataset_digest(read_samples(out))


def toy_environment(**faults):
    """Environment in which samples are noise; see `toy/sitecustomize.py`."""
    path = os.pathsep.join(filter(None, [str(TOY), os.environ.get("PYTHONPATH")]))
    return {**os.environ, "PYTHONPATH": path, "TOY_FAULTS": json.dumps(faults), "DASK_SCHEDULER_ADDRESS": ""}


def command(*arguments, **options):
    """Start a command that hears Ctrl-C, even where a shell has these tests in its background, which do not."""
    return subprocess.Popen(
        [sys.executable, "-m", "defocal.pipelines.cli", *map(str, arguments)],
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, **options},
    )


def toy(*arguments, faults=None, env=None, **options):
    """Start a command whose samples are noise."""
    return command(*arguments, env={**toy_environment(**(faults or {})), **(env or {})}, **options)


def ended(process, timeout=120):
    """Wait for the end of a process; return its exit status and what it printed."""
    try:
        output, errors = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        for one in [*psutil.Process(process.pid).children(recursive=True), process]:
            one.kill()
        output, errors = process.communicate()
        raise AssertionError(f"hangs:\n{output[-2000:]}\n{errors[-2000:]}") from None
    assert "Traceback" not in errors, errors
    return process.returncode, output, errors


def digest_of_run(recipe_file, out):
    """Digest of a dataset that a run makes in which nothing happens."""
    assert ended(toy("generate", recipe_file, out))[0] == 0
    return digest(out)


def workers_of(process):
    """Worker processes of a run."""
    with contextlib.suppress(psutil.Error):
        return [p for p in psutil.Process(process.pid).children(recursive=True) if _is_worker(p)]
    return []


def _is_worker(process):
    with contextlib.suppress(psutil.Error):
        return "spawn_main" in " ".join(process.cmdline())
    return False


def wait_until(what, timeout=180):
    """Wait until something is so."""
    deadline = time.monotonic() + timeout
    while not what():
        assert time.monotonic() < deadline, "it never came to be"
        time.sleep(0.01)


def events(output):
    """Lines of `--json`."""
    return [json.loads(line) for line in output.splitlines()]
