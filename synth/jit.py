"""The one place that says how kernels are compiled.

`fastmath` stays off: results must not depend on the processor. Kernels release the GIL and start no threads, so
parallelism over samples cannot change a result.

Machine code is kept between processes in a folder named by a digest of every kernel's source, because numba's own
cache misses edits in other files than the kernel's. `DEFOCAL_NUMBA_CACHE` names another place for it; "0" keeps none.
"""

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, cast

import numba

_Kernel = TypeVar("_Kernel", bound=Callable[..., object])


@cache
def _cache_folder() -> Path | None:
    """Folder for the machine code of these sources, or None where there is none to write to."""
    wanted = os.environ.get("DEFOCAL_NUMBA_CACHE", "")
    if wanted == "0":
        return None
    digest = hashlib.sha256(numba.__version__.encode())
    here = Path(__file__).parent
    for source in sorted([*here.rglob("*_kernels.py"), *here.glob("simd*.py"), Path(__file__)]):
        digest.update(source.read_bytes())
    base = Path(wanted or os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = base / "defocal" / "kernels" / digest.hexdigest()[:16]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError:
        return None
    return folder


class _ForgivingCache:
    """Numba's cache of a kernel, except that a damaged or full one only costs another compilation."""

    def __init__(self, cache: Any) -> None:
        self._cache = cache

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cache, name)

    def load_overload(self, *arguments: Any) -> Any:
        with contextlib.suppress(Exception):
            return self._cache.load_overload(*arguments)
        return None

    def save_overload(self, *arguments: Any) -> None:
        with contextlib.suppress(Exception):
            self._cache.save_overload(*arguments)


def jit(kernel: _Kernel) -> _Kernel:
    """Compile a kernel on its first call, for the types it is called with."""
    folder = _cache_folder()
    settings: Any = numba.config
    before = settings.CACHE_DIR
    try:
        # Numba reads the setting when it decorates; other users of numba in this process keep theirs.
        settings.CACHE_DIR = str(folder or before)
        compiled = numba.njit(kernel, fastmath=False, nogil=True, error_model="numpy", cache=folder is not None)
        if folder is not None:
            compiled._cache = _ForgivingCache(compiled._cache)
    finally:
        settings.CACHE_DIR = before
    return cast(_Kernel, compiled)
