"""Sections of a recipe that say how light is put together, and what of it is stored."""

from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from .recipe_psf import Section
from .units import parse_bytes

ArrayName = Literal["aif", "depth", "valid", "coc", "capture", "raw", "dual", "stack", "stack_raw"]


class RenderSection(Section):
    """How light is put together."""

    method: Literal["layered", "exact", "views", "taken"] = "layered"
    """"exact" integrates over the aperture: slower, and for disks and other apertures of geometric optics only. "views"
    renders nothing: it refocuses the views of a light field, which the scenes must have. Nor does "taken": captures are
    the scenes' photographs, taken by a real camera that the recipe describes."""
    samples: int = Field(default=256, ge=1, le=65536)
    """Cells of the aperture, for "exact"."""
    model: Literal["surfaces", "hasinoff", "normalised-over", "eq7", "gather"] = "surfaces"
    """All but the first are papers' models, for comparison; see `rendering.render`."""
    planes: int = Field(default=64, ge=2, le=4096)
    light: Literal["linear", "srgb"] = "linear"
    """"srgb" blurs encoded values, as some papers did; the default is what light does."""


class OutputSection(Section):
    """What is stored, and how."""

    arrays: tuple[ArrayName, ...] = ("aif", "depth", "coc", "capture")
    """By default with "stack" in place of "capture" where there is a stack, and "valid" where scenes are read."""
    encoding: Literal["srgb", "linear"] = "srgb"
    bits: Literal[8, 16] = 8
    compression: Literal["release", "fast"] = "release"
    shard_bytes: Annotated[float, BeforeValidator(parse_bytes), Field(ge=1, le=1e9)] = 96e6
    """Largest raw size of one shard of one array."""
    splits: dict[Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")], Annotated[float, Field(gt=0, le=1)]] = Field(
        default_factory=lambda: {"train": 1.0}
    )
    """Share of the samples in each split, drawn by place, so that a longer run keeps what a shorter one had; what a
    dataset officially tests or validates with keeps its own split."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if not self.arrays or len(set(self.arrays)) < len(self.arrays):
            raise ValueError("arrays must name each array once, and at least one")
        if abs(sum(self.splits.values()) - 1) > 1e-9:
            raise ValueError(f"the shares of splits must sum to 1, not {sum(self.splits.values()):g}")
        return self
