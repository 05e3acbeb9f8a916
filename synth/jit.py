"""The one place that says how kernels are compiled.

`fastmath` stays off: results must not depend on the processor. Kernels release the GIL and start no threads, so
parallelism over samples cannot change a result.
"""

from collections.abc import Callable
from typing import TypeVar, cast

import numba

_Kernel = TypeVar("_Kernel", bound=Callable[..., object])


def jit(kernel: _Kernel) -> _Kernel:
    """Compile a kernel on its first call, for the types it is called with."""
    return cast(_Kernel, numba.njit(kernel, fastmath=False, nogil=True, error_model="numpy", boundscheck=False))
