"""What a picture of a dataset shows of one sample."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from .. import InputError

Layer = Literal["stack", "capture", "dual", "raw", "aif", "depth", "coc", "valid"]
LAYERS: dict[Layer, str] = {
    "stack": "focal stack, first slice",
    "capture": "capture",
    "dual": "dual pixel, left view",
    "raw": "raw mosaic",
    "aif": "all-in-focus",
    "depth": "depth",
    "coc": "circle of confusion",
    "valid": "where depth is known",
}
"""The pictures that a sample may have, in the order of display, with their headings."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Row:
    """What one sample shows; an array that is None is not shown.

    Parameters
    ----------
    index
        Position of the sample in its dataset.
    source
        Where the scene came from, as a person would name it.
    capture, aif
        uint8 or uint16 (H, W, 3), sRGB: the defocused capture and the all-in-focus picture.
    depth
        Floating point (H, W), metres along the optical axis; NaN is unknown. Beside a stack it is, as `aif`, in the
        frame of the reference slice.
    coc
        Floating point (H, W), signed CoC diameter in pixels, positive nearer than the focus; NaN is unknown. Beside a
        stack (S, H, W), one map for each slice, all in the frame of the reference slice.
    stack
        uint8 or uint16 (S, H, W, 3), sRGB: the slices of a focal stack.
    labels
        What tells the S slices apart, such as focus distance and f-number; left out, they are only numbered.
    intrinsics
        Floating point (S, 3, 3), pixels: the camera matrix of each slice.
    reference
        The slice in whose frame depth, CoC and all-in-focus picture are.
    dual
        uint8 or uint16 (2, H, W, 3), sRGB: the left and the right view of a dual-pixel capture.
    raw
        uint8 (H, W, 3), or (S, H, W, 3) beside a stack: mosaics as `mosaic_picture` shows them.
    valid
        bool (H, W): where depth is known, and ground truth.

    Raises
    ------
    InputError
        If labels, intrinsics, maps, mosaics or the reference do not fit the slices, or `dual` has not two views.
    """

    index: int
    source: str
    capture: npt.NDArray[Any] | None = None
    aif: npt.NDArray[Any] | None = None
    depth: npt.NDArray[Any] | None = None
    coc: npt.NDArray[Any] | None = None
    stack: npt.NDArray[Any] | None = None
    labels: Sequence[str] = ()
    intrinsics: npt.NDArray[Any] | None = None
    reference: int = 0
    dual: npt.NDArray[Any] | None = None
    raw: npt.NDArray[Any] | None = None
    valid: npt.NDArray[np.bool_] | None = None

    def __post_init__(self) -> None:
        name = f"sample {self.index}"
        if self.stack is not None and (self.stack.ndim != 4 or not self.stack.size):
            raise InputError(f"the stack of {name} has shape (S, H, W, 3) and is not empty, not {self.stack.shape}.")
        slices = self.slices
        layers: tuple[Layer, ...] = ("coc", "raw")
        for layer in layers:
            count = len(self.frames(layer))
            if count > 1 and count != slices:
                raise InputError(f"{name} has {slices} slices but {count} arrays of {layer}; give one for each.")
        if self.labels and len(self.labels) != slices:
            raise InputError(f"{name} has {slices} slices but {len(self.labels)} labels; give one for each.")
        if self.intrinsics is not None and self.intrinsics.shape != (slices, 3, 3):
            raise InputError(f"the intrinsics of {name} have shape ({slices}, 3, 3), not {self.intrinsics.shape}.")
        if not 0 <= self.reference < max(slices, 1):
            raise InputError(f"{name} has {slices} slices; number {self.reference} cannot be its reference.")
        if self.dual is not None and (self.dual.ndim != 4 or len(self.dual) != 2):
            raise InputError(f"the dual-pixel views of {name} have shape (2, H, W, 3), not {self.dual.shape}.")

    @property
    def slices(self) -> int:
        """Number of slices; 0 without a stack."""
        return 0 if self.stack is None else len(self.stack)

    def frames(self, layer: Layer) -> npt.NDArray[Any]:
        """Return the arrays of a layer one after another: (N, H, W) maps or (N, H, W, 3) pictures, N = 0 if None."""
        array: npt.NDArray[Any] | None = getattr(self, layer)
        if array is None:
            return np.empty((0, 0, 0))
        single = 2 if layer in ("depth", "coc", "valid") else 3
        return array if array.ndim > single else array[None]

    def names(self) -> list[str]:
        """Return one line of text for each slice: its number and, if given, its label."""
        labels = self.labels or [""] * self.slices
        numbers = [f"Slice {k + 1} of {self.slices}" for k in range(self.slices)]
        return [f"{number}: {label}" if label else number for number, label in zip(numbers, labels, strict=True)]
