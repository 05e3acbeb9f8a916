"""Coded apertures as binary patterns of cells, 1 where light passes, row 0 at the top.

Kept are patterns with a published rule or a printed table, and one of our own by a published criterion. Patterns known
from figures alone, as those of Levin et al. 2007, Zhou and Nayar 2009 and Zhou, Lin and Nayar 2009, are not here: cells
read off a figure cannot be checked. Such a pattern can be used as a picture, one pixel or more for each cell; see
`synth.apertures.picture_aperture`.
"""

import numpy as np
import numpy.typing as npt

MURA_PRIMES = (5, 7, 11, 13, 17, 19, 23, 29, 31)


def mura(prime: int) -> npt.NDArray[np.uint8]:
    """Modified uniformly redundant array of side `prime`.

    Row 0 is opaque; column 0 is open but there; any other cell (i, j) is open if both or neither of i and j are squares
    modulo the prime (Gottesman and Fenimore, "New family of binary arrays for coded aperture imaging", Applied Optics
    28(20), 1989). Its power spectrum, repeated, is flat: it has no zeros.

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


LEVIN_CRITERION = (
    "0000000000000",
    "0000110110000",
    "0001110111100",
    "0010000000100",
    "0110001000110",
    "0100101000110",
    "0100000000010",
    "0110001010010",
    "0110001000110",
    "0010000000100",
    "0011110111000",
    "0000110110000",
    "0000000000000",
)
"""Found by the criterion of Levin et al. 2007 for depth from one picture; NOT the pattern that they published.

13 x 13 cells, as theirs. The 48 open ones lie wholly within the inscribed circle: about half of the 101 that do, and
36 % of its area. All opaque cells hang together with the frame, by their edges, so that the mask can be cut from a
sheet. Of such patterns with 48 to 52 open cells it is the best that simulated annealing from 26 seeded starts found
(ten others ended within 4 % of it), and no flip of a cell nor swap of two improves it.

By `designs.blur_divergences` with its defaults, blurs 5 to 13 pixels wide, one pixel apart, differ by at least 0.0740
nats per pixel (0.072 with kernels sampled at pixels); those of a round aperture by 0.0143, of the MURAs of up to 13
cells by 0.0196. It came out symmetric about its centre: it does not tell points before the focus plane from those
behind.
"""


def _cells(rows: tuple[str, ...]) -> npt.NDArray[np.uint8]:
    return np.array([[int(cell) for cell in row] for row in rows], np.uint8)


PATTERNS: dict[str, npt.NDArray[np.uint8]] = {
    **{f"mura-{prime}": mura(prime) for prime in MURA_PRIMES},
    "levin-criterion": _cells(LEVIN_CRITERION),
}
"""(n, n) cells of each pattern, by name."""
