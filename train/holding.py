"""The folder of a run: outside of datasets, and one process at a time, by a lock that ends with the process."""

from collections.abc import Sequence
from pathlib import Path
from typing import IO

from .. import InputError

LOCK = "lock"


def make_folder(out: Path, stores: Sequence[str | Path]) -> None:
    """Make the folder of a run.

    Raises
    ------
    InputError
        If it cannot be made, or lies within a dataset, which would then hold what does not belong to it.
    """
    for store in map(str, stores):
        if "://" not in store and Path(store).resolve() in out.resolve().parents:
            raise InputError(f"{out} is inside the dataset {store}: give a place outside of it with --out.")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot make the folder {out} ({error.strerror}): give another place with --out.") from None


def hold(out: Path) -> IO[bytes] | None:
    """Hold the lock of a run's folder until the file that is returned is closed; None where there are no locks.

    Raises
    ------
    InputError
        If another process trains there.
    """
    try:
        import fcntl
    except ImportError:
        return None
    file = (out / LOCK).open("ab")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise InputError(f"another process trains in {out}: wait until it ends, or give another folder.") from None
    except OSError:
        # Some network file systems have no locks.
        file.close()
        return None
    return file


def empty(out: Path) -> bool:
    """Tell whether a folder is absent, or holds nothing but what a run leaves that was killed before its first step."""
    return not out.exists() or (
        out.is_dir() and all(item.name == LOCK or item.name.endswith(".partial") for item in out.iterdir())
    )
