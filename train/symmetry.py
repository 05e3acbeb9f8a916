"""Which flips leave a store's PSFs as they are: those of a lens that is its own mirror image.

A flipped capture shows the flipped scene through the flipped PSFs. Where these are others, as rotating PSFs and most
coded apertures have, it shows a lens that does not exist, and a network that learns from it learns to confuse depths.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import zarr

from ..synth.store import Store
from .settings import Flip

FLIPS: tuple[Flip, ...] = ("left-right", "up-down", "transpose")
TOLERANCE = 2e-3
"""Share of a kernel's light that may move by a flip: what the finite sampling of round pupils leaves."""


def symmetries(store: Store, split: str) -> frozenset[Flip]:
    """Return the flips that leave every PSF of a split's bank as it is."""
    recipe = store.recipe
    if recipe.psf.is_round:
        return frozenset(FLIPS)
    if any(name.startswith("psf.") for name in recipe.draws):
        # The bank is that of typical values, and says nothing about what is drawn.
        return frozenset()
    kernels = store.splits[split]["psf/main/kernel"]
    assert isinstance(kernels, zarr.Array)
    bank = np.asarray(kernels[...], np.float32)
    return frozenset(flip for flip in FLIPS if _stays(bank, flip))


def _stays(bank: npt.NDArray[np.float32], flip: Flip) -> bool:
    flipped = _flipped(bank, flip)
    if flipped.shape != bank.shape:
        return False
    moved = np.abs(bank - flipped).sum(axis=(-2, -1))
    return bool((moved <= TOLERANCE * np.abs(bank).sum(axis=(-2, -1))).all())


def _flipped(bank: npt.NDArray[np.float32], flip: Flip) -> npt.NDArray[Any]:
    """Flip kernels, and the places in the picture that they are for where these are the first two axes."""
    of_field = bank.ndim == 6
    if flip == "transpose":
        turned = bank.swapaxes(-2, -1)
        return turned.swapaxes(0, 1) if of_field else turned
    pixels, nodes = (-1, 1) if flip == "left-right" else (-2, 0)
    return np.flip(bank, (nodes, pixels) if of_field else (pixels,))
