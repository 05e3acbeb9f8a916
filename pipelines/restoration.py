"""Restorations that know no training: what a network that makes sharp images of blurred ones must beat."""

from typing import Any

import numpy as np
import numpy.typing as npt

from .. import InputError
from ..evaluate.image_errors import image_metrics
from ..evaluate.wiener import wiener_layers
from ..synth.light import decode, linear_to_srgb
from ..synth.store import Store
from .classical import Classical, Depth, Picture, Told

RATIOS = (3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3, 1.0)
"""Ratios of noise to signal that the Wiener filter is tried with."""
TRIED_ON, TRIED_SIZE = 4, 256
"""Training samples, and height and width of their middles in pixels, that the best ratio is found on."""
LAYERS = 32
"""Layers of depth at most: as many as a network's by default."""


class AsCaptured(Classical):
    """The capture itself: what doing nothing is worth."""

    words = "the capture itself, nothing restored"
    outputs = ("aif",)

    def __init__(self, store: Store) -> None:
        pass

    def tell(self, picture: Picture, focus: Depth | None, depth: Depth | None) -> Told:
        """Return "aif", the capture as float32 from 0 to 1."""
        return {"aif": picture.astype(np.float32) / np.float32(np.iinfo(picture.dtype).max)}


class Wiener(Classical):
    """The classical Wiener filter, by layers of depth and colours: RPSF section 5.2, Table 1.

    Its one parameter, the ratio of noise to signal, is that of a few which restores some training samples best by PSNR:
    the filter at its best, and not at what somebody took for it.

    Raises
    ------
    InputError
        If the store has no training data, lacks an array, or has no PSF bank for all of its samples.
    """

    outputs = ("aif",)
    reads_depth = True

    def __init__(self, store: Store) -> None:
        # Torch takes a second to import: only who deblurs waits.
        from ..train.banks import read_bank

        if "train" not in store.splits:
            raise InputError(
                f"the baseline wiener needs a split 'train', and {store.path} has none: leave it out, or judge "
                "on a dataset that has one."
            )
        for name in ("capture", "aif", "depth"):
            if name not in store.recipe.arrays:
                raise InputError(
                    f"the baseline wiener needs the array {name!r}, and {store.path} has none: leave it out, or "
                    "generate with it in output.arrays."
                )
        self.bank = read_bank(store).thinned(LAYERS)
        self.kernels = self.bank.kernels.numpy()
        # Blur is undone in the light in which it was made.
        self.decodes = store.recipe.render.light == "linear" and store.recipe.output.encoding == "srgb"
        self.ratio = self._best(store)
        self.words = (
            f"Wiener filter of each of {len(self.kernels)} layers of depth and each colour, noise to signal "
            f"{self.ratio:g}: the best of {len(RATIOS)} on training samples"
        )

    def tell(self, picture: Picture, focus: Depth | None, depth: Depth | None) -> Told:
        """Return "aif", the restored image."""
        assert depth is not None
        return {"aif": self._restored(picture, depth, (self.ratio,))[0]}

    def _restored(self, image: Picture, depth: Depth, ratios: tuple[float, ...]) -> npt.NDArray[np.float32]:
        import torch

        metres = torch.from_numpy(np.asarray(depth, np.float32))
        plane = self.bank.planes_of(metres[None])[0].numpy()
        found = wiener_layers(decode(image, "srgb" if self.decodes else "linear"), plane, self.kernels, ratios)
        light = np.clip(found, 0.0, 1.0)
        shown: npt.NDArray[np.float32] = (linear_to_srgb(light) if self.decodes else light).astype(np.float32)
        return shown

    def _best(self, store: Store) -> float:
        count = int(store.array("train", "index").shape[0])
        each = []
        for row in np.linspace(0, count - 1, min(TRIED_ON, count)).round().astype(int).tolist():
            image, aif, depth = (_middle(store.array("train", name)[row]) for name in ("capture", "aif", "depth"))
            truth = aif.astype(np.float32) / np.float32(np.iinfo(aif.dtype).max)
            each.append([image_metrics(found, truth)["psnr"] for found in self._restored(image, depth, RATIOS)])
        return RATIOS[int(np.mean(each, axis=0).argmax())]


def _middle(array: Any) -> npt.NDArray[Any]:
    whole = np.asarray(array)
    top, left = (max(0, size - TRIED_SIZE) // 2 for size in whole.shape[:2])
    return whole[top : top + TRIED_SIZE, left : left + TRIED_SIZE]
