"""All losses that a config can ask for, and what a training step minimises."""

from typing import Annotated

from pydantic import Field

from .losses import (
    CharbonnierSettings,
    DwdnLossSettings,
    HdedLossSettings,
    L1GradientSettings,
    L1Settings,
    LossContext,
    Objective,
    RpsfSettings,
    ScaleInvariantSettings,
    SilogSettings,
    SsimSettings,
)
from .losses_stack import AifDepthNetLossSettings, DffLossSettings, DffUnsupervisedSettings
from .losses_udfd import UdfdLossSettings, UdfdSupervisedSettings

LossSettings = Annotated[
    L1Settings
    | L1GradientSettings
    | CharbonnierSettings
    | SsimSettings
    | RpsfSettings
    | ScaleInvariantSettings
    | SilogSettings
    | HdedLossSettings
    | DwdnLossSettings
    | DffLossSettings
    | DffUnsupervisedSettings
    | AifDepthNetLossSettings
    | UdfdLossSettings
    | UdfdSupervisedSettings,
    Field(discriminator="kind"),
]


def build_loss(settings: LossSettings, context: LossContext) -> Objective:
    """Make the function that a training step minimises.

    Parameters
    ----------
    settings
        Which losses, and their weights. Those of weight 0 are not computed.
    context
        What they work in.

    Raises
    ------
    InputError
        If nothing is left to minimise, or the context is not one that the loss can work in.
    """
    return settings.build(context)
