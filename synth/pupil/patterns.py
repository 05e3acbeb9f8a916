"""Published coded apertures whose cells can be checked: binary patterns, 1 where light passes, row 0 at the top.

Kept are patterns with a published rule or a printed table. Those known from figures alone, as Levin et al. 2007, Zhou
and Nayar 2009 and Zhou, Lin and Nayar 2009, are not here: cells read off a figure cannot be checked. Such a pattern can
be used as a picture, one pixel or more for each cell; see `synth.apertures.picture_aperture`.
"""

import numpy as np
import numpy.typing as npt

MURA_PRIMES = (5, 7, 11, 13, 17, 19, 23, 29, 31)


def mura(prime: int) -> npt.NDArray[np.uint8]:
    """Modified uniformly redundant array of side `prime`.

    Row 0 is opaque; column 0 is open but there; any other cell (i, j) is open if both or neither of i and j are squares
    modulo the prime (Gottesman and Fenimore, "New family of binary arrays for coded aperture imaging", Applied Optics
    28(20), 1989, Eq. 9). Its power spectrum, repeated, is flat: it has no zeros.

    Parameters
    ----------
    prime
        An odd prime.

    Returns
    -------
    (prime, prime) uint8, 0 and 1.
    """
    square = np.zeros(prime, bool)
    square[np.arange(1, prime) ** 2 % prime] = True
    pattern = np.asarray(square[:, None] == square[None, :], np.uint8)
    pattern[:, 0] = 1
    pattern[0] = 0
    return pattern


PATTERNS: dict[str, npt.NDArray[np.uint8]] = {f"mura-{prime}": mura(prime) for prime in MURA_PRIMES}
"""(n, n) cells of each pattern, by name."""
