"""FocusNet and DefocusNet as one model, trained together without depth: the UDfD paper.

After training each can be used by itself: `load_model(run, heads=["depth_defocus"])` builds DefocusNet alone.
"""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import AfterValidator, Field
from torch import Tensor, nn

from .base import Model, ModelSection
from .defocusnet import DefocusNet, DefocusNetShape
from .focusnet import FocusNet, FocusNetShape

Head = Literal["depth", "depth_defocus"]
NAMES: dict[Head, str] = {"depth": "FocusNet", "depth_defocus": "DefocusNet"}
INPUTS: dict[Head, tuple[str, ...]] = {"depth": FocusNet.inputs, "depth_defocus": DefocusNet.inputs}


def _distinct(heads: tuple[Head, ...]) -> tuple[Head, ...]:
    if len(set(heads)) != len(heads):
        raise ValueError(f"names a network twice: {', '.join(heads)}")
    return heads


class UdfdSettings(ModelSection):
    """Both networks of the UDfD paper."""

    kind: Literal["udfd"] = "udfd"
    heads: Annotated[tuple[Head, ...], Field(min_length=1), AfterValidator(_distinct)] = ("depth", "depth_defocus")
    """What it returns: `depth` is FocusNet's, `depth_defocus` DefocusNet's."""
    focus: FocusNetShape = FocusNetShape()
    defocus: DefocusNetShape = DefocusNetShape()


class Udfd(Model):
    """FocusNet reads the stack, DefocusNet the single capture; they share nothing but what they are trained by.

    Parameters
    ----------
    settings
        Their shapes.

    Raises
    ------
    InputError
        If the checkpoint cannot be read or is not of a VGG-19.
    """

    def __init__(self, settings: UdfdSettings) -> None:
        super().__init__()
        self.outputs = settings.heads
        self.heads = nn.ModuleDict()
        # In one order always: the weights of a network do not depend on how the heads are listed.
        if "depth" in settings.heads:
            focus = FocusNet(settings.focus)
            self.heads["depth"], self.slices, self.note = focus, focus.slices, focus.note
        if "depth_defocus" in settings.heads:
            self.heads["depth_defocus"] = DefocusNet(settings.defocus)
        self.inputs = tuple(name for head in NAMES if head in self.heads for name in INPUTS[head])
        self.depths: Mapping[str, str] = {NAMES[head]: head for head in NAMES if head in self.heads}
        self.multiple = max(network.multiple for network in self.networks)
        bounds = [network.bounds for network in self.networks]
        self.bounds = None if None in bounds else (0.0, 1.0)

    @property
    def networks(self) -> list[Model]:
        """Those that there are."""
        return [network for network in self.heads.values() if isinstance(network, Model)]

    def compute(self, *tensors: Tensor) -> dict[str, Tensor]:
        """Return `depth` and `depth_defocus`, (B, H, W) each, or what heads there are."""
        given = dict(zip(self.inputs, tensors, strict=True))
        found = {}
        for head, network in self.heads.items():
            assert isinstance(network, Model)
            found[head] = network.compute(*(given[name] for name in network.inputs))["depth"]
        return found
