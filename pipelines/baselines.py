"""Baselines that know no training: what a learned model must beat to be worth its name."""

from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar, Protocol

import numpy as np
import numpy.typing as npt

from .. import InputError
from ..evaluate.fusion import fuse_by_depth, fuse_by_pyramid
from ..evaluate.stack_depth import Method, depth_from_stack
from ..evaluate.zhuo_sim import defocus_map, depth_from_defocus
from ..synth.light import decode
from ..synth.slices import reference_slice
from ..synth.store import Store
from .registration import register
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


class FromStack:
    """What reads a focal stack. Slices whose fields of view differ are registered by their pictures first.

    Raises
    ------
    InputError
        If the store has no focal stacks.
    """

    input = "stack"
    outputs: tuple[str, ...] = ("depth",)
    _last: ClassVar[list[tuple[Picture, Picture]]] = []  # what several baselines look at in turn is registered once

    def __init__(self, store: Store, name: str) -> None:
        if store.recipe.stack is None or "stack" not in store.recipe.arrays:
            raise InputError(
                f"the baseline {name} needs focal stacks (the array stack), and {store.path} has none: leave it out."
            )
        self.recipe, section = store.recipe, store.recipe.stack
        self.moves = bool(section.breathing or section.hand_rotation or section.hand_translation)

    def aligned(self, stack: Picture, focus: npt.NDArray[np.floating[Any]]) -> Picture:
        """Return the slices in the frame of the reference, in which the truth is."""
        if not self.moves or len(stack) < 2:
            return stack
        if not any(seen is stack for seen, _ in self._last):
            reference = reference_slice(self.recipe, focus.tolist())
            try:
                found: Picture = register(stack, focus, reference=reference, cut=False).slices
            except InputError:
                found = stack
            self._last[:] = [(stack, found)]
        return self._last[0][1]

    @property
    def registered(self) -> str:
        """What is done before, in words."""
        return "; slices registered by their pictures" if self.moves else ""


class DepthFromFocus(FromStack):
    """Depth from focus by a classical focus measure: `evaluate.stack_depth`."""

    def __init__(self, method: Method, words: str, store: Store) -> None:
        super().__init__(store, method)
        self.method, self.about = method, words

    @property
    def words(self) -> str:
        """What it does, in a sentence."""
        return f"depth from focus: {self.about}{self.registered}"

    def predict(self, stack: Picture, focus: npt.NDArray[np.floating[Any]]) -> dict[str, npt.NDArray[np.float32]]:
        """Return "depth" (h, w) float32 metres of a stack (S, h, w, 3) as stored, and S focus distances in metres."""
        return {"depth": depth_from_stack(self.aligned(stack, focus), focus, method=self.method).depth}


class Fusion(FromStack):
    """An all-in-focus picture of a stack, by depth from focus or by pyramids: `evaluate.fusion`."""

    outputs = ("aif",)

    def __init__(self, by: str, store: Store) -> None:
        super().__init__(store, f"fusion-{by}")
        self.by_depth = by == "depth"

    @property
    def words(self) -> str:
        """What it does, in a sentence."""
        how = "slices next to depth from focus (sml)" if self.by_depth else "the strongest detail of Laplacian pyramids"
        return f"all-in-focus picture of a stack: {how}{self.registered}"

    def predict(self, stack: Picture, focus: npt.NDArray[np.floating[Any]]) -> dict[str, npt.NDArray[np.float32]]:
        """Return "aif" (h, w, 3) float32 from 0 to 1, encoded as the stack (S, h, w, 3)."""
        slices = self.aligned(stack, focus)
        if not self.by_depth:
            return {"aif": fuse_by_pyramid(slices)}
        found = depth_from_stack(slices, focus)
        return {"aif": fuse_by_depth(slices[found.slices], found.index)}


BASELINES: dict[str, Callable[[Store], Baseline | FromStack | Restorer]] = {
    "mean-depth": MeanDepth,
    "zhuo-sim": ZhuoSim,
    "as-captured": AsCaptured,
    "wiener": Wiener,
    "sml": partial(DepthFromFocus, "sml", "sum-modified Laplacian"),
    "rdf": partial(DepthFromFocus, "rdf", "ring difference filter"),
    "variance": partial(DepthFromFocus, "variance", "variance of the Laplacian"),
    "windowed-ls": partial(DepthFromFocus, "windowed-ls", "ring difference filter, windowed linear least squares"),
    "fusion-depth": partial(Fusion, "depth"),
    "fusion-pyramid": partial(Fusion, "pyramid"),
}
"""By the names that `defocal evaluate --baseline` takes."""
