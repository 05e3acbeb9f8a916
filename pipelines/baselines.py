"""Baselines that know no training: what a learned model must beat to be worth its name."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from .. import InputError
from ..evaluate.fusion import fuse_by_depth, fuse_by_pyramid
from ..evaluate.stack_depth import depth_from_stack
from ..evaluate.stack_methods import METHODS, Method
from ..evaluate.zhuo_sim import defocus_map, depth_from_defocus
from ..synth.light import decode
from ..synth.store import Store
from .classical import Classical, Depth, Picture, Told
from .restoration import AsCaptured, Wiener

MOST_LOOKED_AT = 64
"""Training samples whose depth the mean is taken of."""


class MeanDepth(Classical):
    """The mean depth of training data everywhere: what tells nothing.

    Raises
    ------
    InputError
        If the store has no training data.
    """

    def __init__(self, store: Store) -> None:
        if "train" not in store.splits:
            raise InputError(
                f"the baseline mean-depth needs a split 'train', and {store.path} has none: leave it out, or "
                "judge on a dataset that has one."
            )
        array = store.array("train", "depth")
        looked_at = min(MOST_LOOKED_AT, array.shape[0])
        maps = (np.asarray(array[row], np.float64) for row in range(looked_at))
        means = [known.mean() for known in (depth[np.isfinite(depth)] for depth in maps) if len(known)]
        if not means:
            raise InputError(
                f"the baseline mean-depth needs known depth in the split 'train' of {store.path}: leave it out."
            )
        self.depth = float(np.mean(means))
        self.words = f"says {self.depth:.3g} m everywhere, the mean of training samples"
        # It looks at nothing, and is at home on stacks too.
        self.input = "capture" if "capture" in store.recipe.arrays or "stack" not in store.recipe.arrays else "stack"

    def tell(self, picture: Picture, focus: Depth | None, depth: Depth | None) -> Told:
        """Return "depth" (h, w) float32 metres."""
        return {"depth": np.full(picture.shape[-3:-1], self.depth, np.float32)}


class ZhuoSim(Classical):
    """Zhuo and Sim 2011: blur of edges by re-blurring, spread over the image; depth by the lens, on one side of focus.

    Raises
    ------
    InputError
        If the store has no single lens.
    """

    def __init__(self, store: Store) -> None:
        if store.recipe.stack is not None or any(name.startswith("camera.") for name in store.recipe.draws):
            raise InputError(
                f"the baseline zhuo-sim needs captures of one lens, which {store.path} does not have: leave it out."
            )
        self.lens = store.recipe.lens
        self.near, self.far = store.recipe.scenes.depth
        self.encoding = store.recipe.output.encoding
        self.linear = store.recipe.render.light == "linear"
        # Depths spread evenly over dioptres are a rough guess, and all that is known before looking.
        middle = 2.0 / (1 / self.near + 1 / self.far)
        self.side: Any = "far" if middle > self.lens.focus_distance else "near"
        self.words = (
            f"Zhuo and Sim 2011: blur of edges, spread over the image, taken to lie on the {self.side} side of focus"
        )

    def tell(self, picture: Picture, focus: Depth | None, depth: Depth | None) -> Told:
        """Return "depth" (h, w) float32 metres."""
        # Blur is measured in the light in which it was made.
        values = decode(picture, self.encoding if self.linear else "linear")
        sigma = defocus_map(values).sigma
        found = depth_from_defocus(sigma, self.lens.coc, near=self.near, far=self.far, side=self.side)
        # Where no edge was found at all nothing is known: the middle of the range, in dioptres.
        return {"depth": np.nan_to_num(found, nan=2.0 / (1 / self.near + 1 / self.far)).astype(np.float32)}


def _check_stacks(store: Store, name: str) -> None:
    if store.recipe.stack is None or "stack" not in store.recipe.arrays:
        raise InputError(
            f"the baseline {name} needs focal stacks (the array stack), and {store.path} has none: leave it out."
        )


class DepthFromFocus(Classical):
    """Depth from focus by a classical focus measure: `evaluate.stack_depth`.

    Raises
    ------
    InputError
        If the store has no focal stacks.
    """

    input = "stack"
    aligned = True

    def __init__(self, method: Method, store: Store) -> None:
        _check_stacks(store, method)
        self.method = method
        self.words = f"depth from focus: {METHODS[method]}"

    def tell(self, picture: Picture, focus: Depth | None, depth: Depth | None) -> Told:
        """Return "depth" (h, w) float32 metres."""
        return {"depth": depth_from_stack(picture, focus, method=self.method).depth}


class Fusion(Classical):
    """An all-in-focus picture of a stack, by depth from focus or by pyramids: `evaluate.fusion`.

    Raises
    ------
    InputError
        If the store has no focal stacks.
    """

    input = "stack"
    outputs = ("aif",)
    aligned = True

    def __init__(self, by: str, store: Store) -> None:
        _check_stacks(store, f"fusion-{by}")
        self.by_depth = by == "depth"
        how = "slices next to depth from focus (sml)" if self.by_depth else "the strongest detail of Laplacian pyramids"
        self.words = f"all-in-focus picture of a stack: {how}"

    def tell(self, picture: Picture, focus: Depth | None, depth: Depth | None) -> Told:
        """Return "aif" (h, w, 3) float32 from 0 to 1, encoded as the stack."""
        if not self.by_depth:
            return {"aif": fuse_by_pyramid(picture)}
        found = depth_from_stack(picture, focus)
        return {"aif": fuse_by_depth(picture[found.slices], found.index)}


BASELINES: dict[str, Callable[[Store], Classical]] = {
    "mean-depth": MeanDepth,
    "zhuo-sim": ZhuoSim,
    "as-captured": AsCaptured,
    "wiener": Wiener,
    **{method: partial(DepthFromFocus, method) for method in METHODS},
    "fusion-depth": partial(Fusion, "depth"),
    "fusion-pyramid": partial(Fusion, "pyramid"),
}
"""By the names that `defocal evaluate --baseline` takes."""
