"""Baselines that know no training: what a learned model must beat to be worth its name."""

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from .. import InputError
from ..evaluate.zhuo_sim import defocus_map, depth_from_defocus
from ..synth.light import decode
from ..synth.store import Store
from .restoration import AsCaptured, Restorer, Wiener

Picture = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]
MOST_LOOKED_AT = 64
"""Training samples whose depth the mean is taken of."""


class Baseline(Protocol):
    """A method that tells depth of one capture."""

    @property
    def words(self) -> str:
        """What it does, in a sentence."""
        ...

    def predict(self, image: Picture) -> npt.NDArray[np.float32]:
        """Return (h, w) float32 metres of an (h, w, 3) image as stored."""
        ...


class MeanDepth:
    """The mean depth of training data everywhere: what tells nothing.

    Raises
    ------
    InputError
        If the store has no training data.
    """

    def __init__(self, store: Store) -> None:
        if "train" not in store.splits:
            raise InputError(f"the baseline mean-depth needs a split 'train', and {store.path} has none.")
        array = store.array("train", "depth")
        looked_at = min(MOST_LOOKED_AT, array.shape[0])
        maps = (np.asarray(array[row], np.float64) for row in range(looked_at))
        means = [known.mean() for known in (depth[np.isfinite(depth)] for depth in maps) if len(known)]
        if not means:
            raise InputError(f"the baseline mean-depth needs known depth in the split 'train' of {store.path}.")
        self.depth = float(np.mean(means))

    @property
    def words(self) -> str:
        """What it does, in a sentence."""
        return f"says {self.depth:.3g} m everywhere, the mean of training samples"

    def predict(self, image: Picture) -> npt.NDArray[np.float32]:
        """Return (h, w) float32 metres."""
        return np.full(image.shape[:2], self.depth, np.float32)


class ZhuoSim:
    """Zhuo and Sim 2011: blur of edges by re-blurring, spread over the image; depth by the lens, on one side of focus.

    Raises
    ------
    InputError
        If the store has no single lens.
    """

    def __init__(self, store: Store) -> None:
        if store.recipe.stack is not None or any(name.startswith("camera.") for name in store.recipe.draws):
            raise InputError(f"the baseline zhuo-sim needs captures of one lens, which {store.path} does not have.")
        self.lens = store.recipe.lens
        self.near, self.far = store.recipe.scenes.depth
        self.encoding = store.recipe.output.encoding
        self.linear = store.recipe.render.light == "linear"
        # Depths spread evenly over dioptres are a rough guess, and all that is known before looking.
        middle = 2.0 / (1 / self.near + 1 / self.far)
        self.side: Any = "far" if middle > self.lens.focus_distance else "near"

    @property
    def words(self) -> str:
        """What it does, in a sentence."""
        return f"Zhuo and Sim 2011: blur of edges, spread over the image, taken to lie on the {self.side} side of focus"

    def predict(self, image: Picture) -> npt.NDArray[np.float32]:
        """Return (h, w) float32 metres."""
        # Blur is measured in the light in which it was made.
        values = decode(image, self.encoding if self.linear else "linear")
        sigma = defocus_map(values).sigma
        depth = depth_from_defocus(sigma, self.lens.coc, near=self.near, far=self.far, side=self.side)
        # Where no edge was found at all nothing is known: the middle of the range, in dioptres.
        return np.nan_to_num(depth, nan=2.0 / (1 / self.near + 1 / self.far)).astype(np.float32)


BASELINES: dict[str, Callable[[Store], Baseline | Restorer]] = {
    "mean-depth": MeanDepth,
    "zhuo-sim": ZhuoSim,
    "as-captured": AsCaptured,
    "wiener": Wiener,
}
"""By the names that `defocal evaluate --baseline` takes."""
