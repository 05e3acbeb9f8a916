"""Seeds that are functions of what they are for."""

import zlib

import numpy as np


def key(seed: int, purpose: str, *numbers: int) -> int:
    """Return a seed below 2^63 for a purpose and numbers such as step or sample: the same wherever it is asked for.

    Parameters
    ----------
    seed
        The run's.
    purpose
        A word.
    numbers
        Not negative.
    """
    sequence = np.random.SeedSequence(seed, spawn_key=(zlib.crc32(purpose.encode()), *numbers))
    return int(sequence.generate_state(1, np.uint64)[0] >> np.uint64(1))
