"""Who may write a dataset in an object store, which has no locks that the system releases.

A run alone holds the object `_commit/lock`, created by a conditional put; runs that share a dataset hold one each,
`_commit/lock-<token>`. Who holds one writes it again every `BEAT` seconds; who has not for `STALE` seconds is taken for
dead, by the clock of the store alone. A process of this machine that is gone is known to be dead at once.
"""

import contextlib
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field

from .. import InputError
from ..synth.buckets import ObjectStoreError
from ..synth.commit import FOLDER, SAMPLES
from ..synth.places import ObjectPath

LOCK = "lock"
BEAT = 15.0
"""Seconds between two signs of life."""
STALE = 90.0
"""Seconds without a sign of life after which a run is taken for dead; six signs."""


class FinishedError(Exception):
    """The dataset is complete: there is nothing left to hold."""


@dataclass
class Hold:
    """What a run holds while it writes a dataset.

    Attributes
    ----------
    note
        What keeps the lock from being sure, in words; nothing if it is.
    lost
        Set when another run has taken the dataset over.
    """

    note: str = ""
    lost: threading.Event = field(default_factory=threading.Event)


@dataclass
class _Lock:
    """An object that says that we hold a dataset."""

    place: ObjectPath
    token: str = field(default_factory=lambda: uuid.uuid4().hex)
    tag: str | None = None

    def text(self) -> bytes:
        """Content: who holds it, and since when it is known that they live."""
        who = {"process": os.getpid(), "host": socket.gethostname(), "machine": _machine()}
        return json.dumps({**who, "token": self.token, "beat": round(time.time(), 3)}).encode()

    def beat(self) -> bool:
        """Give a sign of life; tell whether the object is still ours."""
        tag = self.place.write_if(self.text(), self.tag)
        if tag is None:
            # Of a try whose answer was lost nothing is known but what is there.
            held = _read(self.place)
            tag = held.tag if held is not None and held.token == self.token else None
        self.tag = tag or self.tag
        return tag is not None

    def release(self) -> None:
        """Delete the object, if it is still ours."""
        _ours.discard(self.token)
        with contextlib.suppress(ObjectStoreError):
            held = _read(self.place)
            if held is not None and held.token == self.token:
                self.place.unlink(missing_ok=True)


_ours: set[str] = set()
"""Tokens of the locks that this process holds, or tries to."""


@dataclass(frozen=True)
class _Held:
    """What somebody's lock says."""

    place: ObjectPath
    tag: str
    written: float
    token: str = ""
    process: int = 0
    host: str = ""
    machine: str = ""

    def alive(self, now: float) -> bool:
        """Tell whether its holder lives, as far as can be told; `now` is the time of the store."""
        if self.machine and self.machine == _machine():
            if self.process == os.getpid():
                return self.token in _ours
            try:
                os.kill(self.process, 0)
            except ProcessLookupError:
                return False
            except OSError:
                pass
        return now - self.written <= STALE

    def __str__(self) -> str:
        return f"another run (process {self.process} on {self.host})" if self.process else "another run"


def _machine() -> str:
    """Say on which machine process numbers are ours: its boot and its name space; nothing where it does not tell."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return f"{file.read().strip()}-{os.stat('/proc/self/ns/pid').st_ino}"
    except OSError:
        return ""


def _read(place: ObjectPath) -> _Held | None:
    try:
        content, tag, written = place.tagged()
    except FileNotFoundError:
        return None
    try:
        said = json.loads(content)
        process, host, machine = int(said["process"]), str(said["host"])[:100], str(said["machine"])
        return _Held(place, tag, written, str(said["token"]), process, host, machine)
    except (ValueError, LookupError, TypeError):
        return _Held(place, tag, written)


def _now(out: ObjectPath) -> float:
    """Return the time of the store, by an object that is written and deleted."""
    probe = out / FOLDER / f"time-{uuid.uuid4().hex}"
    probe.write_bytes(b"")
    try:
        return probe.stat().st_mtime
    finally:
        probe.unlink(missing_ok=True)


def _others(out: ObjectPath, mine: _Lock | None, *, shared: bool) -> _Held | None:
    """Return a living holder that keeps us out; delete what the dead have left."""
    names = [LOCK] if shared else [name for name, _ in (out / FOLDER).files() if name.split("-")[0] == LOCK]
    held = [found for name in names if (found := _read(out / FOLDER / name)) is not None]
    held = [found for found in held if mine is None or found.token != mine.token]
    if not held:
        return None
    now = _now(out)
    for found in held:
        if found.alive(now):
            return found
        if found.place.name != LOCK:
            found.place.unlink(missing_ok=True)
    return None


def lease_holder(out: ObjectPath) -> str | None:
    """Say who holds a dataset under way; None if nobody does who lives."""
    found = _others(out, None, shared=False)
    return None if found is None else str(found)


@contextlib.contextmanager
def hold_lease(out: ObjectPath, *, shared: bool = False, wait: float = 0.0) -> Iterator[Hold]:
    """Hold a dataset in an object store, shared with other runs or alone; see `lock.hold`.

    Raises
    ------
    InputError
        If another run holds it.
    FinishedError
        If another run has completed the dataset.
    """
    deadline = time.monotonic() + wait
    while True:
        if (out / SAMPLES).is_file():
            raise FinishedError
        lock, note, who = _take(out, shared)
        if lock is not None:
            break
        if time.monotonic() >= deadline:
            raise InputError(
                f"{out} is being made by {who}: wait until it ends, or end it; if it was killed on another machine, "
                f"try again in {STALE:g} s."
            )
        time.sleep(0.2)
    hold, ended = Hold(note), threading.Event()
    thread = threading.Thread(target=_keep, args=(lock, hold, ended), daemon=True)
    thread.start()
    try:
        if (out / SAMPLES).is_file():
            raise FinishedError
        yield hold
    finally:
        ended.set()
        thread.join()
        lock.release()


def _take(out: ObjectPath, shared: bool) -> tuple[_Lock | None, str, str]:
    """Try to take the lock.

    First our own object is written, then those of others are looked at: of two that do so at once at least one sees
    the other.

    Returns
    -------
    The lock or None, what keeps it from being sure, and who holds it if we do not.
    """
    lock = _Lock(out / FOLDER / (f"{LOCK}-{uuid.uuid4().hex}" if shared else LOCK))
    dead = _read(out / FOLDER / LOCK)
    if dead is not None and dead.alive(_now(out)):
        return None, "", str(dead)
    _ours.add(lock.token)
    try:
        if shared:
            lock.place.write_bytes(lock.text())
            lock.tag = lock.place.tagged()[1]
        note = "" if shared else _create(lock, dead)
        other = "another run" if note is None else _others(out, lock, shared=shared)
    except BaseException:
        lock.release()
        raise
    if note is None or other is not None:
        lock.release()
        return None, "", str(other)
    return lock, note, ""


def _create(lock: _Lock, dead: _Held | None) -> str | None:
    """Create the lock of a run alone, or take over that of a dead one.

    Returns
    -------
    What keeps it from being sure; None if another run was faster.
    """
    try:
        lock.tag = dead.tag if dead else None
        if not lock.beat():
            return None
        if lock.place.write_if(lock.text(), None) is None:
            return ""
    except NotImplementedError:
        lock.place.write_bytes(lock.text())
    lock.tag = lock.place.tagged()[1]
    return UNSURE


UNSURE = "is in an object store without conditional writes: do not begin two runs on it in the same moment."


def _keep(lock: _Lock, hold: Hold, ended: threading.Event) -> None:
    """Give signs of life until the work is ended, or another run has taken over."""
    while not ended.wait(BEAT):
        try:
            if hold.note:
                lock.place.write_bytes(lock.text())
            elif not lock.beat():
                hold.lost.set()
                return
        except (ObjectStoreError, NotImplementedError):
            # The run itself will find out whether the store is gone for good.
            continue
