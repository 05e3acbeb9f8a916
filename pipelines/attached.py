"""The command line in a process that ends with the one that began it: `python -m ... attached PARENT WORDS...`.

A process that is killed cannot end those that it has begun. Linux can: it signals them when their parent is gone.
SIGTERM has a training save after its step, and a generation stop where `resume` goes on.
"""

import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def end_with(parent: int) -> None:
    """Have this process receive SIGTERM when its parent ends, however it ends; on Linux alone.

    Parameters
    ----------
    parent
        Its number: a parent that has ended already sends nothing any more.
    """
    if not sys.platform.startswith("linux"):
        return
    import ctypes

    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    end_with(int(sys.argv[1]))
    del sys.argv[1]
    from .cli import cli

    cli(prog_name="defocal")
