"""What a method that knows no training is given of a sample, and what it tells."""

from abc import ABC, abstractmethod
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from .. import InputError
from ..synth.slices import reference_slice
from ..synth.store import Store
from .registration import register

Picture = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]
Depth = npt.NDArray[np.floating[Any]]
Told = dict[str, npt.NDArray[Any]]


class Classical(ABC):
    """A method that knows no training.

    Attributes
    ----------
    words
        What it does, in a sentence.
    input
        The array that it looks at: single captures, or focal stacks.
    outputs
        What it tells: "depth", "aif".
    reads_depth
        Whether it needs depth beside the pictures.
    aligned
        Whether slices of a stack must show the same view.
    """

    words: str
    input: Literal["capture", "stack"] = "capture"
    outputs: tuple[str, ...] = ("depth",)
    reads_depth: bool = False
    aligned: bool = False

    @abstractmethod
    def tell(self, picture: Picture, focus: Depth | None, depth: Depth | None) -> Told:
        """Look at one sample.

        Parameters
        ----------
        picture
            (h, w, 3) as stored, or a stack (S, h, w, 3).
        focus
            (S,) metres, the focus distances of a stack.
        depth
            (h, w) metres, NaN unknown; None where the method reads none.

        Returns
        -------
        Of its outputs: "depth" (h, w) float32 metres; "aif" (h, w, 3) float32 from 0 to 1, encoded as the picture.
        """


class Aligner:
    """Brings the slices of a store's stacks into the frame of the reference, in which the truth is, by their pictures.

    What several methods look at in turn is registered once.

    Attributes
    ----------
    needed
        Whether slices move: the lens breathes, or a hand trembles.
    failed
        Stacks that could not be registered, and are left as they are.
    """

    def __init__(self, store: Store) -> None:
        self._recipe, stack = store.recipe, store.recipe.stack
        self.needed = stack is not None and bool(stack.breathing or stack.hand_rotation or stack.hand_translation)
        self.failed = 0
        self._last: tuple[Picture, Picture] | None = None

    def __call__(self, stack: Picture, focus: Depth) -> Picture:
        """Return the slices (S, h, w, 3), focused at (S,) metres, in the frame of the reference."""
        if not self.needed or len(stack) < 2:
            return stack
        if self._last is None or self._last[0] is not stack:
            self._last = stack, self._registered(stack, focus)
        return self._last[1]

    def _registered(self, stack: Picture, focus: Depth) -> Picture:
        try:
            found: Picture = register(
                stack, focus, reference=reference_slice(self._recipe, focus.tolist()), cut=False
            ).slices
        except InputError:
            self.failed += 1
            return stack
        return found
