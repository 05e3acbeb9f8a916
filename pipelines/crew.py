"""Who makes the shards of a run: this process. The module `cluster` has those who work elsewhere."""

import contextlib
import errno
import functools
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import zarr

from .. import InputError
from ..synth.buckets import ObjectStoreError, UnusableStoreError
from ..synth.commit import make_shard
from ..synth.places import Place
from ..synth.samples import SampleMaker
from ..synth.shards import Shard
from ..synth.store import use_one_codec_thread
from .events import Event, Result

PASSING = {errno.EIO, errno.ESTALE, errno.EAGAIN, errno.ETIMEDOUT, errno.ECONNRESET, errno.ENOTCONN}
"""Errors that network file systems get over."""
HOPELESS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS}
"""Errors that the next shard would meet as well."""


KEPT_BYTES, KEPT_AT_ONCE = 64 << 20, 8 << 20
"""What a process keeps of what it has freed, bytes: in all, and of one array, where glibc takes no more."""
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3


class StoppedError(Exception):
    """The run cannot go on: a sentence says why."""


@dataclass(frozen=True, slots=True)
class Job:
    """What a crew works at: a dataset and the maker of its samples."""

    out: Place
    maker: SampleMaker


class Crew(Protocol):
    """Makes shards.

    Any place of work has one: this process, local processes, a cluster; later perhaps another kind of scheduler.
    """

    def check(self, maker: SampleMaker) -> None:
        """Check what can be checked before anything is written.

        Raises
        ------
        InputError
            If the crew cannot do this work.
        """
        ...

    def make(self, job: Job, todo: Iterator[Shard]) -> Iterator[Event]:
        """Make shards and yield what became of each; take no more of them than can soon be begun.

        Raises
        ------
        StoppedError
            If it is no use to go on.
        InputError
            If the crew cannot do this work.
        """
        ...


class ThisProcess:
    """Makes one shard after the other."""

    def check(self, maker: SampleMaker) -> None:
        """Find nothing wrong."""

    def make(self, job: Job, todo: Iterator[Shard]) -> Iterator[Event]:
        """Make the shards here."""
        prepare_process()
        for shard in todo:
            result = attempt(job.out, job.maker, shard)
            yield result.event(shard)
            stop_if_hopeless(result)


def stop_if_hopeless(result: Result) -> None:
    """Stop a run whose other shards would fail like this one."""
    if result.hopeless:
        raise StoppedError(f"{result.error} The other shards would meet the same, and were left.")


@functools.cache
def prepare_process() -> None:
    """Make sure of what a process that writes shards needs: one thread for each codec, no chunk left out."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    use_one_codec_thread()
    keep_freed_memory()
    # For workers with several threads: `write_array` sets it too, and would take it from the others when it is done.
    zarr.config.set({"array.write_empty_chunks": True})


def attempt(out: Place, maker: SampleMaker, shard: Shard, worker: str = "") -> Result:
    """Make a shard, and say what became of it; another try is made where a file system may have had a bad moment."""
    begun = time.monotonic()
    for last in (False, True):
        try:
            written = sum(make_shard(out, maker, shard)["bytes"].values())
            return Result(bytes=written, seconds=time.monotonic() - begun, worker=worker)
        except OSError as error:
            if not last and error.errno in PASSING:
                time.sleep(1.0)
                continue
            sentence = f"{type(error).__name__} while writing {shard.name}: {error.strerror or error}."
            return Result(sentence, worker=worker, hopeless=error.errno in HOPELESS)
        except ObjectStoreError as error:
            # It has been asked for long. What one request meets, another may not.
            hopeless = isinstance(error, UnusableStoreError)
            if last or hopeless:
                return Result(f"{shard.name} could not be written: {error}", worker=worker, hopeless=hopeless)
        except InputError as error:
            return Result(str(error), worker=worker)
        except Exception as error:
            # A defect in one scene's way must not cost the rest.
            if os.environ.get("DEFOCAL_DEBUG"):
                raise
            return Result(f"{type(error).__name__} while making {shard.name}: {str(error)[:300]}.", worker=worker)
    raise AssertionError


def keep_freed_memory() -> None:
    """Let this process keep the memory that it frees, to use it again for the next image.

    Returning it to the system and getting it back, page by page, takes a tenth of the time of a sample, and under
    Dask's own setting for workers a third. Where the C library is not glibc nothing changes.
    """
    with contextlib.suppress(OSError, AttributeError, TypeError):
        import ctypes

        mallopt = ctypes.CDLL(None).mallopt
        for option, size in ((_TRIM_THRESHOLD, KEPT_BYTES), (_MMAP_THRESHOLD, KEPT_AT_ONCE)):
            mallopt(option, size)
