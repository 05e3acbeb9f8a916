"""Who may write a dataset: one run alone, or any number of runs that have divided its shards among them.

The lock is `flock` on a file among the commit markers. The system releases it when a process ends, however it ends.
Object stores have no such locks: see `lease.py`.
"""

import contextlib
import errno
import json
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

from .. import InputError
from ..synth.commit import FOLDER, SAMPLES
from ..synth.places import ObjectPath, Place
from .lease import LOCK, FinishedError, Hold, hold_lease, lease_holder

_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL}


@contextlib.contextmanager
def hold(out: Place, *, shared: bool = False, wait: float = 0.0) -> Iterator[Hold]:
    """Hold the lock of a dataset under way, shared with other runs or alone.

    Yields what is held, with a note where there is no lock: some network file systems have none. Then nothing keeps
    runs apart; as shards are written in one step and the same whoever makes them, two runs on one dataset only do
    double work.

    Parameters
    ----------
    out
        The dataset.
    shared
        Let others hold it too who ask so.
    wait
        Seconds for which to try.

    Raises
    ------
    InputError
        If another run holds it.
    FinishedError
        If another run has completed the dataset.
    """
    if isinstance(out, ObjectPath):
        with hold_lease(out, shared=shared, wait=wait) as lease:
            yield lease
        return
    path = out / FOLDER / LOCK
    deadline = time.monotonic() + wait
    while True:
        if not path.parent.exists():
            if (out / SAMPLES).exists():
                raise FinishedError
            path.parent.mkdir(exist_ok=True)
        try:
            file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        except FileNotFoundError:
            continue
        try:
            held = _try(file, shared)
            if held and _same(file, path):
                _sign(file)
                yield Hold()
                return
            if held is None:
                yield Hold("has no locks: take care that no other run makes the same shards.")
                return
            who = _signed(file)
        finally:
            os.close(file)
        if time.monotonic() >= deadline and not held:
            raise InputError(f"{out} is being made by another run{who}: wait until it ends, or end it.")
        time.sleep(0.05)


@contextlib.contextmanager
def hold_folder(out: Path, work: str) -> Iterator[list[int]]:
    """Hold the lock of a folder in which one process alone works.

    Yields the open files that hold it, none where there are no locks: a process that inherits them holds it too.

    Parameters
    ----------
    out
        The folder.
    work
        What is being done there, for the sentence.

    Raises
    ------
    InputError
        If another process holds it.
    """
    file = os.open(out / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        held = _try(file, shared=False)
        if held is False:
            raise InputError(
                f"{work} is under way in {out}{_signed(file)}: wait until it and its steps have ended, or end it."
            )
        _sign(file)
        yield [file] if held else []
    finally:
        os.close(file)


def holder(out: Place) -> str | None:
    """Say who holds the lock of a dataset under way; None if nobody does, as far as can be told."""
    if isinstance(out, ObjectPath):
        return lease_holder(out)
    try:
        file = os.open(out / FOLDER / LOCK, os.O_RDWR)
    except OSError:
        return None
    try:
        return f"another run{_signed(file)}" if _try(file, shared=False) is False else None
    finally:
        os.close(file)


def _try(file: int, shared: bool) -> bool | None:
    """Take the lock if it is free; None if there are no locks."""
    try:
        import fcntl
    except ImportError:
        return None
    try:
        fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno in _NO_LOCKS:
            return None
        raise
    return True


def _same(file: int, path: Path) -> bool:
    """Tell whether the file is still the one of that name, and not what a finished run has set aside."""
    try:
        return os.path.samestat(os.fstat(file), path.stat())
    except FileNotFoundError:
        return False


def _sign(file: int) -> None:
    with contextlib.suppress(OSError):
        os.ftruncate(file, 0)
        os.pwrite(file, json.dumps({"process": os.getpid(), "host": socket.gethostname()}).encode(), 0)


def _signed(file: int) -> str:
    """Say who signed last: of those who share the lock, the one who came last."""
    try:
        who = json.loads(os.pread(file, 1000, 0))
        return f" (process {int(who['process'])} on {str(who['host'])[:100]})"
    except (OSError, ValueError, LookupError, TypeError):
        return ""
