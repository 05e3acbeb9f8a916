"""Seeds and random streams that are functions of what they are for."""

import zlib
from enum import IntEnum

import numpy as np


class Stream(IntEnum):
    """What a random stream is for. Numbers are part of the reproducibility contract: never renumber."""

    ORDER = 1
    AUGMENTATION = 2
    SLICE_COUNT = 3
    SLICES = 4
    TINTS = 5


def generator(seed: int, stream: Stream, *numbers: int) -> np.random.Generator:
    """Return the generator of one purpose, and of numbers such as epoch and sample: as `synth.seeding` has them.

    Parameters
    ----------
    seed
        The run's.
    stream
        Streams of different purposes are independent.
    numbers
        Not negative.
    """
    sequence = np.random.SeedSequence(seed, spawn_key=(int(stream), *numbers))
    return np.random.Generator(np.random.Philox(sequence))


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
