"""Counter-based random numbers: what a sample draws depends on (seed, purpose, sample) and on nothing else."""

from enum import IntEnum

import numpy as np


class Purpose(IntEnum):
    """What a random stream is for. Numbers are part of the reproducibility contract: never renumber."""

    SCENE = 2
    TEXTURE_ATLAS = 3
    VERIFY = 4
    SHOT = 5
    READ = 6
    PATTERN = 7
    JITTER = 8
    MOTION = 9
    OPTICS = 10
    FOCUS = 11


def generator(seed: int, purpose: Purpose, *key: int) -> np.random.Generator:
    """Return the generator of one purpose and one sample.

    Parameters
    ----------
    seed
        The recipe's seed, 0 or more.
    purpose
        What the numbers are for; streams of different purposes are independent.
    key
        Usually the sample index; more integers make more streams.

    Notes
    -----
    Philox is counter-based, so any worker reaches any sample's stream directly, in any order.
    """
    sequence = np.random.SeedSequence(seed, spawn_key=(int(purpose), *key))
    return np.random.Generator(np.random.Philox(sequence))
