"""What all networks have in common: settings, named inputs and outputs, sizes, dropout at prediction."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar, NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from torch import Tensor, nn

from ... import InputError
from ..banks import Bank
from ..settings import Section


class ModelSection(Section):
    """What the settings of all networks have in common; each says its `kind`, a word, as a `Literal`."""

    kind: str


class Model(nn.Module):
    """A network from named tensors to named tensors.

    A subclass gives `compute(*tensors)`, one tensor for each name of `inputs`, and says what it reads and returns:

    Attributes
    ----------
    inputs
        What it reads of a batch, of the class or of each network, in the order in which `compute` takes it:

        - `image` (B, C, H, W), one capture, float, encoded as in the store, in [0, 1];
        - `stack` (B, S, C, H, W), a focal stack, like it;
        - `focus` (B, S), the slices' focus distances in metres, and `sharp_at` (B, S), the same in the units of its
          `depth`: what `depth` would be of a point there;
        - `intrinsics` (B, S, 3, 3), the slices' camera matrices, pixels;
        - `lens` (B, 4), focal length, f-number, focus distance (NaN where there is no single capture), pixel pitch, m;
        - `depth` (B, H, W), metres, NaN or 0 where unknown.
    outputs
        What it returns: `depth` (B, H, W) in the units of the target, `aif` (B, 3, H, W) encoded like its pictures.
        What `compute` returns beside them, such as `depth_1` or `alignment`, is for losses alone.
    depths
        Which outputs are depth: by what a row of a report calls them beside the run's name, the name of the output. The
        first decides where one depth is wanted, as `run.best` does.
    slices
        Least and greatest number of slices that it takes; None if there is no greatest.
    reference
        Which slice of a stack it takes for the one in whose frame the ground truth is, in a recipe's words; None where
        that does not matter.
    reads_bank
        Whether it needs the PSFs of its camera, by `attach`.
    multiple
        Height and width of its inputs must be divisible by it.
    bounds
        Least and greatest `depth` that it can return; None if any number.
    in_channels
        Channels of `image`, and of each slice of `stack`.
    note
        A sentence for the log: where its weights come from.
    """

    inputs: tuple[str, ...] = ("image",)
    outputs: tuple[str, ...] = ("depth",)
    depths: Mapping[str, str] = MappingProxyType({"": "depth"})
    slices: tuple[int, int | None] = (1, None)
    reference: str | None = None
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
            if name in batch and batch[name].ndim == _NDIM.get(name) and name in _PADDED:
                padded[name], window = pad_to_multiple(batch[name], self.multiple)
        if window is not None and "intrinsics" in batch:
            padded["intrinsics"] = batch["intrinsics"].clone()
            padded["intrinsics"][..., :2, 2] += batch["intrinsics"].new_tensor([window.left, window.top])
        said = self(padded)
        found: dict[str, Tensor] = {name: said[name] for name in self.outputs}
        return found if window is None else {name: crop(value, window) for name, value in found.items()}

    @property
    def told_depths(self) -> dict[str, str]:
        """Those of `depths` that are among its outputs."""
        return {label: name for label, name in self.depths.items() if name in self.outputs}

    def check_slices(self, count: int) -> None:
        """Refuse a number of slices that it does not take.

        Raises
        ------
        InputError
            If it is one.
        """
        least, most = self.slices
        if least <= count and (most is None or count <= most):
            return
        takes = f"{least} or more" if most is None else f"{least}" if least == most else f"{least} to {most}"
        raise InputError(
            f"{type(self).__name__} takes stacks of {takes} slices, not of {count}: give such stacks, or train a model "
            "for these."
        )

    def _checked(self, batch: Mapping[str, Tensor], name: str) -> Tensor:
        kind = type(self).__name__
        if name not in batch:
            raise InputError(f"{kind} reads {name!r}, and the batch has only {sorted(batch)}.")
        value = batch[name]
        if name == "depth":
            self._check_depth(value, batch)
            return value
        if not value.is_floating_point():
            what = " in [0, 1]" if name in _PADDED else ""
            raise InputError(f"{kind} reads {name!r} as floating-point numbers{what}, not as {value.dtype}.")
        self._check_shape(value, batch, name)
        if name == "stack":
            self.check_slices(value.shape[1])
        return value

    def _check_shape(self, value: Tensor, batch: Mapping[str, Tensor], name: str) -> None:
        """Refuse a tensor of another shape, or of another number of samples or slices than the stack beside it."""
        kind, shared = type(self).__name__, _SHARED[name]
        words = _SHAPES[name].format(channels=self.in_channels)
        beside, fits = "", value.ndim == _NDIM[name]
        if "stack" in batch and name != "stack":
            beside = f" beside a stack of {tuple(batch['stack'].shape)}"
            fits = fits and value.shape[:shared] == batch["stack"].shape[:shared]
        if name in _PADDED:
            fits = fits and value.shape[-3] == self.in_channels
        if not fits or value.shape[shared:] != _ENDS.get(name, value.shape[shared:]):
            raise InputError(f"{kind} reads {name!r} as {words}, not {tuple(value.shape)}{beside}.")
        if name not in _PADDED:
            return
        height, width = value.shape[-2:]
        if height % self.multiple or width % self.multiple:
            raise InputError(
                f"{kind} takes heights and widths that are multiples of {self.multiple}, not {height} x {width}: "
                "crop the images, or use predict, which pads them."
            )

    def _check_depth(self, depth: Tensor, batch: Mapping[str, Tensor]) -> None:
        pictures = batch["image" if "image" in self.inputs else "stack"]
        shape = (len(pictures), *pictures.shape[-2:])
        if depth.shape != shape or not depth.is_floating_point():
            raise InputError(
                f"{type(self).__name__} reads 'depth' as metres of every pixel of the image, floating-point numbers of "
                f"shape {shape}, not {depth.dtype} of {tuple(depth.shape)}."
            )


_SHAPES = {
    "image": "(batch, {channels}, height, width)",
    "stack": "(batch, slices, {channels}, height, width)",
    "focus": "(batch, slices)",
    "sharp_at": "(batch, slices)",
    "intrinsics": "(batch, slices, 3, 3)",
    "lens": "(batch, 4)",
}
"""What a model may read beside `depth`."""
_NDIM = {"image": 4, "stack": 5, "depth": 3, "focus": 2, "sharp_at": 2, "intrinsics": 4, "lens": 2}
_SHARED = {"image": 1, "stack": 2, "focus": 2, "sharp_at": 2, "intrinsics": 2, "lens": 1}
"""Axes that they share with the stack."""
_ENDS = {"intrinsics": (3, 3), "lens": (4,)}
_PADDED = ("image", "stack", "depth")
"""Pictures and maps, which are padded."""


def by_focus(sharp_at: Tensor, *others: Tensor) -> tuple[Tensor, ...]:
    """Put slices in the order of their focus distances.

    A network whose convolutions run along the slices begins with it, so that its result is the very same in whatever
    order slices come, each with its distance; of slices of one distance the order stays.

    Parameters
    ----------
    sharp_at
        (B, S), focus distances in any unit.
    others
        (B, S, ...) tensors.

    Returns
    -------
    `sharp_at`, ascending, and the others in that order.
    """
    order = sharp_at.argsort(dim=1, stable=True)
    rows = torch.arange(len(order), device=order.device)[:, None]
    return tuple(one[rows, order] for one in (sharp_at, *others))


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


def keep_channels_together(model: nn.Module) -> None:
    """Put the weights of 2-D convolutions into torch's `channels_last`; those of 3-D ones choose for themselves."""
    for parameter in model.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)


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
