"""Where workers come from: processes of this machine, or the workers of a Dask scheduler that runs already."""

import asyncio
import contextlib
import json
import logging
import os
import signal
import threading
import time
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from .. import InputError
from ..synth.samples import SampleMaker
from ..synth.units import parse_bytes
from .agreement import check_workers
from .cluster import ClusterCrew, LostError, Session
from .crew import StoppedError

GRACE = 15.0
"""Seconds without any local worker after which all are started again; four times as long if only some are missing."""
RESTARTS = 3
"""Times in a row that local workers are started again without any shard having been finished."""
REMOTE_LOSSES = 20
"""Times in a row that a scheduler may be lost and come back without any shard having been finished."""
PATIENCE = 600.0
"""Seconds to wait for a scheduler that was lost, or for the first worker after all were lost."""

LOCAL_SETTINGS = {
    # A shard whose worker died is given another try, and if that one dies too the same once more, alone.
    "distributed.scheduler.allowed-failures": 1,
    "distributed.scheduler.worker-saturation": 1.0,
    "distributed.scheduler.http.routes": [],
    "distributed.worker.http.routes": [],
    "distributed.worker.profile.enabled": False,
    # What Dask watches and balances fifty times a second there is nothing of to watch.
    "distributed.admin.tick.interval": "500ms",
    "distributed.admin.system-monitor.interval": "5s",
    "distributed.scheduler.work-stealing": False,
    "distributed.scheduler.active-memory-manager.start": False,
    # Workers hold nothing that could be spilled. A worker that is paused because of its memory would wait for ever.
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    "distributed.worker.memory.terminate": 0.95,
}
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}


class LocalWorkers(ClusterCrew):
    """Processes of this machine, one thread each; they listen on the loopback interface only.

    Parameters
    ----------
    workers
        How many.
    memory_limit
        Bytes that each may use before it is killed, with a unit; their share of the machine's if left out.
    dashboard
        Serve Dask's dashboard, on the loopback interface.
    """

    def __init__(self, workers: int, memory_limit: str | None = None, *, dashboard: bool = False) -> None:
        self.workers, self.dashboard = workers, dashboard
        try:
            self.memory_limit = None if memory_limit is None else int(parse_bytes(memory_limit))
        except ValueError as error:
            raise InputError(f"--memory-limit: {error}.") from None

    def check(self, maker: SampleMaker) -> None:
        """Check that the memory limit leaves room for the work, and that there is a dashboard if it is asked for."""
        from .memory import least_bytes

        least = least_bytes(maker)
        if self.memory_limit is not None and self.memory_limit < least:
            raise InputError(
                f"--memory-limit {self.memory_limit / 1e6:.0f} MB is too little: a worker of this recipe needs "
                f"{least / 1e6:.0f} MB at the very least. Raise it, or make smaller shards with "
                "--set output.shard_bytes=..."
            )
        if self.dashboard:
            try:
                import bokeh  # noqa: F401
            except ImportError:
                raise InputError("--dashboard needs bokeh: pip install bokeh, or leave it out.") from None

    def _after_loss(self, lost: LostError, losses: int) -> None:
        if losses > RESTARTS:
            raise StoppedError(f"{lost} That was so {losses} times in a row without a finished shard.") from None

    @contextlib.contextmanager
    def _session(self) -> Iterator[Session]:
        import dask
        from distributed import Client, LocalCluster

        settings = dict(LOCAL_SETTINGS)
        if self.dashboard:
            del settings["distributed.scheduler.http.routes"]
        with contextlib.ExitStack() as stack:
            stack.enter_context(dask.config.set(settings))
            limit = {} if self.memory_limit is None else {"memory_limit": self.memory_limit}
            address = "127.0.0.1:8787" if self.dashboard else "127.0.0.1:0"
            try:
                _quiet_tracker()
                with _workers_ignore_ctrl_c(), warnings.catch_warnings():
                    warnings.filterwarnings("ignore", message="Port .* is already in use", category=UserWarning)
                    cluster = LocalCluster(
                        n_workers=self.workers, threads_per_worker=1, processes=True, host="127.0.0.1",
                        dashboard_address=None, env=ONE_THREAD, silence_logs=logging.CRITICAL,
                        scheduler_kwargs={"dashboard": self.dashboard, "dashboard_address": address}, **limit,
                    )  # fmt: skip
            except (OSError, RuntimeError) as error:
                raise LostError(f"The local workers could not be started ({str(error)[:200]}).") from None
            stack.enter_context(cluster)
            client = stack.enter_context(Client(cluster))
            yield _LocalSession(client, cluster, self.workers, client.dashboard_link if self.dashboard else None)


class _LocalSession:
    """Local workers under watch: their nannies start again whoever dies, except in a few unlucky moments."""

    def __init__(self, client: Any, cluster: Any, workers: int, dashboard: str | None) -> None:
        self.client, self._cluster, self._workers = client, cluster, workers
        self._some = self._all = self._looked = time.monotonic()
        self._news = f"Dashboard: {dashboard}" if dashboard else None

    @property
    def window(self) -> int:
        """One for each worker, and one more that is ready."""
        return self._workers + 1

    def look(self) -> str | None:
        """Count the workers."""
        now = time.monotonic()
        if now - self._looked < 0.5:
            return None
        self._looked = now
        if self.client.status != "running":
            raise LostError("The local scheduler is gone.")
        alive = len(self._cluster.scheduler.workers)
        self._some = now if alive else self._some
        self._all = now if alive >= self._workers else self._all
        if now - self._some > GRACE:
            raise LostError("All local workers are gone.")
        if now - self._all > 4 * GRACE:
            raise LostError("Some local workers are gone for good.")
        news, self._news = self._news, None
        return news


class RemoteWorkers(ClusterCrew):
    """The workers of a scheduler that runs already.

    Parameters
    ----------
    address
        Of the scheduler; or
    file
        the file in which it wrote its address.
    patience
        Seconds to wait for a lost scheduler, or for workers when all are gone.
    """

    def __init__(
        self, address: str | None = None, file: Path | None = None, patience: float = PATIENCE
    ) -> None:  # fmt: skip
        self._address, self._file, self.patience = address, file, patience
        self._until: float | None = None

    def check(self, maker: SampleMaker) -> None:
        """Check that the scheduler answers and its workers have what this process has.

        Raises
        ------
        InputError
            If not.
        """
        try:
            with self._session() as session:
                check_workers(session.client, maker.recipe)
        except LostError as lost:
            raise InputError(str(lost)) from None

    @property
    def address(self) -> str:
        """Address of the scheduler, as it is now."""
        if self._file is None:
            return str(self._address)
        try:
            return str(json.loads(self._file.read_text(encoding="utf-8"))["address"])
        except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
            what = error.strerror if isinstance(error, OSError) and error.strerror else f"{type(error).__name__}"
            raise LostError(
                f"cannot read the scheduler file {self._file} ({what}): check that the scheduler runs."
            ) from None

    def _after_loss(self, lost: LostError, losses: int) -> None:
        if losses > REMOTE_LOSSES:
            raise StoppedError(f"{lost} That was so {losses} times in a row without a finished shard.") from None
        deadline = time.monotonic() + self.patience
        while True:
            try:
                with self._session():
                    return
            except LostError as still:
                if time.monotonic() > deadline:
                    raise StoppedError(f"{still} It did not come back within {self.patience:g} s.") from None
            time.sleep(min(1.0, self.patience / 10))

    @contextlib.contextmanager
    def _session(self) -> Iterator[Session]:
        import dask
        from distributed import Client

        _hush()
        address = self.address
        timeout = dask.utils.parse_timedelta(dask.config.get("distributed.comm.timeouts.connect"))
        _knock(address, timeout)
        try:
            client = Client(address, timeout=timeout, set_as_default=False)
        except (OSError, RuntimeError) as error:
            raise LostError(_unreachable(address, str(error)[:200])) from None
        try:
            yield _RemoteSession(client, address, self.patience)
        finally:
            client.close(timeout=2)


def _hush() -> None:
    """Keep Dask from printing what is said in a sentence anyway."""
    for name in list(logging.root.manager.loggerDict):
        if name.split(".")[0] in ("distributed", "tornado", "asyncio"):
            logging.getLogger(name).setLevel(logging.CRITICAL)


def _knock(address: str, timeout: float) -> None:
    """Make sure that a Dask scheduler answers; a client that finds none leaves a mess behind."""
    from distributed.comm.core import connect
    from distributed.security import Security

    async def connected() -> None:
        comm = await connect(address, timeout=timeout, **Security().get_connection_args("client"))
        await comm.close()

    try:
        # In a thread of its own: there may be an event loop in this one, as in a notebook.
        with ThreadPoolExecutor(1) as thread:
            thread.submit(asyncio.run, connected()).result()
    except (OSError, TimeoutError):
        raise LostError(_unreachable(address, f"no answer within {timeout:g} s")) from None
    except (ValueError, TypeError) as error:
        raise LostError(_unreachable(address, str(error)[:200])) from None
    except Exception as error:
        # Whatever answers in another language may be understood as anything.
        raise LostError(_unreachable(address, f"what answers is no Dask scheduler: {type(error).__name__}")) from None


def _unreachable(address: str, why: str) -> str:
    return f"cannot reach the scheduler at {address} ({why}): check that it runs, and its address."


class _RemoteSession:
    """A scheduler under watch."""

    def __init__(self, client: Any, address: str, patience: float) -> None:
        self.client, self._address, self._patience = client, address, patience
        self._looked = self._peopled = self._told = time.monotonic()
        self._threads = self._count()

    @property
    def window(self) -> int:
        """Enough that a cluster that adapts to its load sees some, and no worker waits."""
        return 4 * self._threads + 64

    def _count(self) -> int:
        try:
            found = self.client.sync(self.client.scheduler.ncores, callback_timeout=30)
        except (OSError, TimeoutError, AttributeError) as error:
            raise LostError(f"The scheduler at {self._address} is gone ({type(error).__name__}).") from None
        return sum(found.values())

    def look(self) -> str | None:
        """See whether the scheduler is there, and has workers."""
        now = time.monotonic()
        if self.client.status != "running":
            raise LostError(f"The scheduler at {self._address} is gone.")
        if now - self._looked < 2.0:
            return None
        self._looked = now
        self._threads = self._count()
        if self._threads:
            self._peopled = now
            return None
        if now - self._peopled > self._patience:
            raise StoppedError(f"The scheduler at {self._address} has had no workers for {self._patience:g} s.")
        if now - self._told > 30.0:
            self._told = now
            return f"The scheduler at {self._address} has no workers; waiting for them."
        return None


def _quiet_tracker() -> None:
    """Start the process that cleans up after killed workers so that it does not complain of having to."""
    from multiprocessing import resource_tracker

    before = os.environ.get("PYTHONWARNINGS")
    os.environ["PYTHONWARNINGS"] = "ignore::UserWarning:multiprocessing.resource_tracker"
    try:
        resource_tracker.ensure_running()
    finally:
        if before is None:
            del os.environ["PYTHONWARNINGS"]
        else:
            os.environ["PYTHONWARNINGS"] = before


@contextlib.contextmanager
def _workers_ignore_ctrl_c() -> Iterator[None]:
    """Leave Ctrl-C to this process: workers started meanwhile inherit that they ignore it, and print no traceback.

    The price is that a Ctrl-C within the second that they take to start is lost.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
