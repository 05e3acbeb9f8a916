"""Writing files so that a crash leaves them whole or absent."""

import contextlib
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import IO


@contextlib.contextmanager
def writing(path: Path) -> Iterator[IO[bytes]]:
    """Open a file that appears under its name, whole and on disk, when the block ends without an error.

    Several processes may write the same file at once: one of them is last, and what it wrote stays.
    """
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


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a file so that it is either whole or absent, on disk when this returns; text is UTF-8."""
    with writing(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)


def flush_to_disk(path: Path) -> int:
    """Wait until a file is on disk, so that it outlasts a power failure; return its size in bytes."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        return os.fstat(file.fileno()).st_size
