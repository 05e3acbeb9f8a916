"""2HDED:NET (Nazir et al. 2023): one encoder, one decoder for depth and one for the all-in-focus image.

41.4 million parameters with both heads. After the paper, not after the public repository, whose networks have attention
gates that the paper does not describe; see docs/models.md.
"""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field
from torch import Tensor, nn

from .base import Model, ModelSection, initialise_normal
from .d3net import Decoder
from .densenet import DenseEncoder, DenseSettings
from .weights import load_encoder

Head = Literal["depth", "aif"]
CHANNELS = {"depth": 1, "aif": 3}


def _distinct(heads: tuple[Head, ...]) -> tuple[Head, ...]:
    if len(set(heads)) != len(heads):
        raise ValueError(f"names a head twice: {', '.join(heads)}")
    return heads


Heads = Annotated[tuple[Head, ...], Field(min_length=1), AfterValidator(_distinct)]
"""Outputs of a network, each once."""


class HdedSettings(DenseSettings, ModelSection):
    """2HDED:NET of Nazir et al. 2023."""

    kind: Literal["2hded"] = "2hded"
    heads: Heads = ("depth", "aif")
    """Heads that it has: leave one out to train the other alone (the paper's Table III)."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Probability of dropping in the first four convolutions of each head. The paper names none."""


class Hded(Model):
    """2HDED:NET. Images are scaled to [-1, 1] inside.

    The all-in-focus image is the input plus what its head returns (the paper's "input joint layer"), not clipped.

    Parameters
    ----------
    settings
        Its shape, and where weights of the encoder come from.

    Raises
    ------
    InputError
        If the checkpoint cannot be read or is not of a DenseNet-121.
    """

    multiple = 32

    def __init__(self, settings: HdedSettings) -> None:
        super().__init__()
        self.outputs = settings.heads
        self.encoder = DenseEncoder(settings, self.in_channels)
        self.heads = nn.ModuleDict(
            {name: Decoder(self.encoder, CHANNELS[name], settings.dropout) for name in settings.heads}
        )
        initialise_normal(self, settings.init_std)
        if settings.weights:
            self.note = load_encoder(self.encoder, settings.weights)

    def compute(self, *tensors: Tensor) -> dict[str, Tensor]:
        """Return `depth` (B, H, W) and `aif` (B, 3, H, W), or what heads there are."""
        (image,) = tensors
        features, skips = self.encoder(2 * image - 1)
        found: dict[str, Tensor] = {name: head(features, skips) for name, head in self.heads.items()}
        if "depth" in found:
            found["depth"] = found["depth"].squeeze(1)
        if "aif" in found:
            found["aif"] = image + found["aif"]
        return found
