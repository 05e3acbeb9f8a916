"""What all networks have in common: settings, named inputs and outputs, sizes, dropout at prediction."""

from collections.abc import Mapping
from typing import ClassVar, NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from torch import Tensor, nn

from ... import InputError
from ..banks import Bank


class Model(nn.Module):
    """A network from named tensors to named tensors.

    A subclass gives `compute(*tensors)`, one tensor for each name of `inputs`, and says what it reads and returns:

    Attributes
    ----------
    inputs
        What it reads of a batch. `image` is (B, C, H, W), float, encoded as in the store, in [0, 1]; `depth` (B, H, W),
        metres, NaN or 0 where unknown.
    outputs
        What it returns: `depth` (B, H, W) in the units of the target, `aif` (B, 3, H, W) encoded like the image. What
        `compute` returns beside them is for losses alone.
    reads_bank
        Whether it needs the PSFs of its camera, by `attach`.
    multiple
        Height and width of its inputs must be divisible by it.
    bounds
        Least and greatest `depth` that it can return; None if any number.
    in_channels
        Channels of `image`.
    note
        A sentence for the log: where its weights come from.
    """

    inputs: ClassVar[tuple[str, ...]] = ("image",)
    outputs: tuple[str, ...] = ("depth",)
    multiple: int = 1
    bounds: tuple[float, float] | None = None
    in_channels: int = 3
    reads_bank: ClassVar[bool] = False
    note: str = "all weights are random"

    def compute(self, *tensors: Tensor) -> dict[str, Tensor]:
        """Return the outputs by name; heights and widths have been checked."""
        raise TypeError(f"{type(self).__name__} does not say how it computes.")

    def attach(self, bank: Bank) -> None:
        """Take the PSF bank of the camera, if the model `reads_bank`; it is part of its state then."""
        raise TypeError(f"{type(self).__name__} reads no PSFs.")

    def forward(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Compute the outputs of a batch.

        Parameters
        ----------
        batch
            Holds at least `inputs`; what else it holds is ignored.

        Returns
        -------
        dict
            At least one tensor for each name of `outputs`, float32 (under autocast too), or float64 for a float64
            network.

        Raises
        ------
        InputError
            If an input is missing, has integers, another number of channels, or a size that `multiple` does not divide.
        """
        found = self.compute(*(self._checked(batch, name) for name in self.inputs))
        return {name: value if value.dtype == torch.float64 else value.float() for name, value in found.items()}

    @torch.no_grad()
    def predict(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Compute the outputs of images of any size, without gradients: padded by reflection, then cut back.

        Dropout and batch normalisation are used as the network's mode says: call `eval` before, and
        `enable_dropout` after it for Monte-Carlo samples.

        Raises
        ------
        InputError
            As `forward` does, but for sizes.
        """
        padded = dict(batch)
        window = None
        for name in self.inputs:
            if name in batch and (batch[name].ndim >= 4 or (name == "depth" and batch[name].ndim == 3)):
                padded[name], window = pad_to_multiple(batch[name], self.multiple)
        said = self(padded)
        found: dict[str, Tensor] = {name: said[name] for name in self.outputs}
        return found if window is None else {name: crop(value, window) for name, value in found.items()}

    def _checked(self, batch: Mapping[str, Tensor], name: str) -> Tensor:
        kind = type(self).__name__
        if name not in batch:
            raise InputError(f"{kind} reads {name!r}, and the batch has only {sorted(batch)}.")
        value = batch[name]
        if name == "depth":
            self._check_depth(value, batch)
            return value
        if not value.is_floating_point():
            raise InputError(f"{kind} reads {name!r} as floating-point numbers in [0, 1], not as {value.dtype}.")
        if value.ndim < 4 or (name == "image" and (value.ndim != 4 or value.shape[1] != self.in_channels)):
            raise InputError(
                f"{kind} reads {name!r} as (batch, {self.in_channels}, height, width), not {tuple(value.shape)}."
            )
        height, width = value.shape[-2:]
        if height % self.multiple or width % self.multiple:
            raise InputError(
                f"{kind} takes heights and widths that are multiples of {self.multiple}, not {height} x {width}: "
                "crop the images, or use predict, which pads them."
            )
        return value

    def _check_depth(self, depth: Tensor, batch: Mapping[str, Tensor]) -> None:
        shape = (len(batch["image"]), *batch["image"].shape[-2:])
        if depth.shape != shape or not depth.is_floating_point():
            raise InputError(
                f"{type(self).__name__} reads 'depth' as metres of every pixel of the image, floating-point numbers of "
                f"shape {shape}, not {depth.dtype} of {tuple(depth.shape)}."
            )


class Window(NamedTuple):
    """Where an image lies in its padded copy, pixels."""

    top: int
    left: int
    height: int
    width: int


def pad_to_multiple(image: Tensor, multiple: int) -> tuple[Tensor, Window]:
    """Pad an image on all sides by reflection until `multiple` divides its height and width.

    Parameters
    ----------
    image
        (..., H, W); an axis that is shorter than its padding is continued by its last pixel instead.
    multiple
        Pixels.

    Returns
    -------
    padded
        The image itself where nothing has to be added.
    window
        What `crop` needs to cut the image out again.
    """
    height, width = image.shape[-2:]
    down, across = -height % multiple, -width % multiple
    window = Window(down // 2, across // 2, height, width)
    if not (down or across):
        return image, window
    planes = image.reshape(1, -1, height, width)
    for size, before, after, sides in (
        (height, window.top, down - window.top, lambda a, b: (0, 0, a, b)),
        (width, window.left, across - window.left, lambda a, b: (a, b, 0, 0)),
    ):
        planes = F.pad(planes, sides(before, after), mode="reflect" if size > after else "replicate")
    return planes.reshape(*image.shape[:-2], *planes.shape[-2:]), window


def crop(value: Tensor, window: Window) -> Tensor:
    """Cut out of a padded (..., H, W) what `pad_to_multiple` was given."""
    rows = slice(window.top, window.top + window.height)
    return value[..., rows, window.left : window.left + window.width]


def enable_dropout(model: nn.Module) -> None:
    """Turn dropout on, and nothing else: after `eval`, each prediction is a Monte-Carlo sample (D3-Net, section 3.4).

    Raises
    ------
    InputError
        If no layer drops anything: all samples would be the same.
    """
    layers = [layer for layer in model.modules() if isinstance(layer, nn.Dropout | nn.Dropout2d) and layer.p > 0]
    if not layers:
        raise InputError("the model drops nothing: Monte-Carlo samples need one that was trained with dropout above 0.")
    for layer in layers:
        layer.train()


def initialise_normal(module: nn.Module, deviation: float) -> None:
    """Draw weights as D3-Net's public code does: convolutions N(0, deviation), batch normalisation N(1, 0.02)."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(layer.weight, 0.0, deviation)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        elif isinstance(layer, nn.BatchNorm2d):
            nn.init.normal_(layer.weight, 1.0, 0.02)
            nn.init.zeros_(layer.bias)
