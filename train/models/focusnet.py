"""FocusNet of the UDfD paper: depth from a focal stack by VGG-19, slice by slice, and a 1x1 convolution over slices.

"Unsupervised simultaneous depth-from-defocus and depth-from-focus", section 3.3 and Figure 3. No code of it is public:
what the paper does not say is chosen here, and docs/models.md says what.
"""

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import interpolate

from ..settings import Section
from .base import Model, ModelSection, by_focus
from .defocusnet import Output, initialise
from .weights import load_encoder

VGG19 = ((2, 64), (2, 128), (4, 256), (4, 512), (4, 512))
"""Convolutions of each stage, and their channels (Simonyan and Zisserman 2014, column E)."""
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of ImageNet's pictures, which its weights were made for."""


class FocusNetShape(Section):
    """Shape of FocusNet, by itself or as a part of the joint model."""

    slices: int = Field(default=4, ge=1, le=256)
    """Slices of a stack: the last convolution has a weight for each."""
    width: float = Field(default=1.0, ge=1 / 32, le=4)
    """Factor of all numbers of channels: below 1 for trials on small machines."""
    norm: bool = False
    """Batch normalisation after each convolution, as in torchvision's `vgg19_bn`: without it, and without ImageNet's
    weights, a network this deep hardly begins to learn."""
    gathered: int = Field(default=32, ge=1, le=512)
    """Channels that each stage gives to the concatenation."""
    output: Output = "sigmoid"
    """`sigmoid` returns numbers in (0, 1): target.span says what they mean. `linear` any number."""
    weights: str = ""
    """Path of an ImageNet checkpoint of VGG-19 (.pth or .safetensors) for the body; random without one."""


class FocusNetSettings(FocusNetShape, ModelSection):
    """FocusNet by itself."""

    kind: Literal["focusnet"] = "focusnet"


class VggBody(nn.Module):
    """VGG-19 without its fully connected layers: 16 convolutions in five stages, each ended by a max-pool.

    Layers of `features` are numbered as torchvision's, so that its checkpoints fit.

    Attributes
    ----------
    channels
        Of what leaves each stage.
    """

    def __init__(self, width: float, *, norm: bool) -> None:
        super().__init__()
        self.channels = tuple(max(1, round(channels * width)) for _, channels in VGG19)
        self.features = nn.Sequential()
        self._ends: list[int] = []
        before = 3
        for (count, _), channels in zip(VGG19, self.channels, strict=True):
            for _ in range(count):
                self.features.append(nn.Conv2d(before, channels, 3, padding=1))
                if norm:
                    self.features.append(nn.BatchNorm2d(channels))
                self.features.append(nn.ReLU(inplace=True))
                before = channels
            self._ends.append(len(self.features))
            self.features.append(nn.MaxPool2d(2))

    def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return the features at 1/32 of the size, and those of the stages from the full size to 1/16."""
        stages = []
        for place, layer in enumerate(self.features):
            if place in self._ends:
                stages.append(x)
            x = layer(x)
        return x, stages


class FocusNet(Model):
    """FocusNet. Slices are normalised as ImageNet's pictures are, and taken in the order of their focus distances.

    Parameters
    ----------
    settings
        Its shape.

    Raises
    ------
    InputError
        If the checkpoint cannot be read or is not of a VGG-19.
    """

    inputs = ("stack", "sharp_at")
    multiple = 32

    def __init__(self, settings: FocusNetShape) -> None:
        super().__init__()
        self.slices = (settings.slices, settings.slices)
        self.body = VggBody(settings.width, norm=settings.norm)
        deepest = self.body.channels[-1]
        self.extra = nn.Sequential(*_convolution(deepest, deepest, settings), *_convolution(deepest, deepest, settings))
        self.gather = nn.ModuleList(nn.Conv2d(n, settings.gathered, 1) for n in (*self.body.channels, deepest))
        self.last = nn.Sequential(
            nn.ReLU(inplace=True),
            nn.Conv2d(settings.gathered * len(self.gather), settings.gathered, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(settings.gathered, 1, 1),
        )
        self.merge = nn.Conv2d(settings.slices, 1, 1)
        self.bounds = (0.0, 1.0) if settings.output == "sigmoid" else None
        for name, numbers in (("mean", MEAN), ("deviation", DEVIATION)):
            self.register_buffer(name, torch.tensor(numbers).view(3, 1, 1), persistent=False)
        initialise(self)
        if settings.weights:
            self.note = load_encoder(self.body.features, settings.weights, "VGG-19")

    def compute(self, *tensors: Tensor) -> dict[str, Tensor]:
        """Return `depth` (B, H, W)."""
        stack, sharp_at = tensors
        count = stack.shape[1]
        _, stack = by_focus(sharp_at, stack)
        said = self._slice_by_slice(stack.flatten(0, 1)).view(-1, count, *stack.shape[-2:])
        depth = self.merge(said).squeeze(1)
        return {"depth": depth if self.bounds is None else torch.sigmoid(depth)}

    def _slice_by_slice(self, pictures: Tensor) -> Tensor:
        """Return one map (N, 1, H, W) for each picture (N, 3, H, W)."""
        deep, stages = self.body((pictures - self.get_buffer("mean")) / self.get_buffer("deviation"))
        size = stages[0].shape[-2:]
        gathered = [
            interpolate(gather(found), size, mode="bilinear", align_corners=False)
            for gather, found in zip(self.gather, (*stages, self.extra(deep)), strict=True)
        ]
        found: Tensor = self.last(torch.cat(gathered, dim=1))
        return found


def _convolution(before: int, after: int, settings: FocusNetShape) -> list[nn.Module]:
    layers: list[nn.Module] = [nn.Conv2d(before, after, 3, padding=1)]
    return [*layers, *([nn.BatchNorm2d(after)] if settings.norm else []), nn.ReLU(inplace=True)]
