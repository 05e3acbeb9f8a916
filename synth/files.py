"""Writing files so that a crash leaves them whole or absent."""

import contextlib
import os
import tempfile
import uuid
from collections.abc import Iterator
from typing import IO

from .places import ObjectPath, Place


@contextlib.contextmanager
def writing(path: Place) -> Iterator[IO[bytes]]:
    """Open a file that appears under its name, whole and on disk, when the block ends without an error.

    Several processes may write the same file at once: one of them is last, and what it wrote stays.
    """
    if isinstance(path, ObjectPath):
        with tempfile.TemporaryFile() as file:
            yield file
            file.seek(0)
            path.write_bytes(file)
        return
    temporary = path.with_name(f"{path.name}.{uuid.uuid4().hex}.partial")
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_atomically(path: Place, content: str | bytes) -> None:
    """Write a file so that it is either whole or absent, on disk when this returns; text is UTF-8."""
    if isinstance(path, ObjectPath):
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return
    with writing(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)


def flush_to_disk(path: Place) -> int:
    """Wait until a file is on disk, so that it outlasts a power failure; return its size in bytes."""
    if isinstance(path, ObjectPath):
        return path.stat().st_size
    with path.open("rb") as file:
        os.fsync(file.fileno())
        return os.fstat(file.fileno()).st_size
