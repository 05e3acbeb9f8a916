"""The `scenes` section of a recipe: where all-in-focus images and depth come from."""

from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from .camera import Intrinsics
from .recipe_psf import Length, Section

DepthRange = tuple[Length, Length]
Pixels = Annotated[int, Field(ge=16, le=16384)]
Objects = Annotated[int, Field(ge=0, le=2000)]


class _ScenesBase(Section):
    depth: DepthRange
    """Nearest and farthest depth, metres."""

    @field_validator("depth")
    @classmethod
    def _ordered(cls, depth: tuple[float, float]) -> tuple[float, float]:
        if not depth[0] < depth[1]:
            raise ValueError(f"the nearest depth ({depth[0]} m) must be below the farthest ({depth[1]} m)")
        if not 1e-4 <= depth[0] <= depth[1] <= 1e7:
            raise ValueError(f"depths must lie between 0.1 mm and 10000 km, not {depth[0]:g} to {depth[1]:g} m")
        return depth


class ProceduralScenes(_ScenesBase):
    """Scenes made from the seed."""

    kind: Literal["procedural"]
    count: int = Field(ge=1)
    size: tuple[Pixels, Pixels] = (480, 640)
    """Height and width, pixels."""
    objects: tuple[Objects, Objects] = (20, 60)
    """Fewest and most objects in a scene."""

    @field_validator("objects")
    @classmethod
    def _objects_ordered(cls, objects: tuple[int, int]) -> tuple[int, int]:
        if objects[0] > objects[1]:
            raise ValueError(f"the fewest ({objects[0]}) must not exceed the most ({objects[1]})")
        return objects


class FolderScenes(_ScenesBase):
    """Pairs of colour and depth files; see `readers.folder.FolderReader` for what each key means."""

    kind: Literal["folder"]
    path: str
    count: int | None = Field(default=None, ge=1)
    """How many pairs, in order of their names; all if left out."""
    rgb: str = "rgb/*"
    depth_map: str = "depth/*"
    depth_unit: Length = 0.001
    depth_kind: Literal["z", "ray", "disparity"] = "z"
    invalid: tuple[float, ...] = (0.0,)
    focal: float | None = Field(default=None, gt=0)
    """Focal length in pixels; for disparities."""
    baseline: Length | None = None
    disparity_offset: float = 0.0
    intrinsics: tuple[float, float, float, float] | None = None
    """fx, fy, cx, cy in pixels; for ray distances."""
    encoding: Literal["srgb", "linear"] = "srgb"
    pairing: Literal["name", "order"] = "name"

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.depth_kind == "disparity" and (self.focal is None or self.baseline is None):
            raise ValueError("depth_kind = 'disparity' needs focal (pixels) and baseline (a length)")
        if "\0" in self.path:
            raise ValueError("path must not hold a null character")
        if self.intrinsics is not None and not min(self.intrinsics[:2]) >= 1:
            raise ValueError("intrinsics = [fx, fy, cx, cy] need focal lengths of a pixel or more")
        if self.depth_kind == "ray" and self.intrinsics is None:
            raise ValueError("depth_kind = 'ray' needs intrinsics = [fx, fy, cx, cy] in pixels")
        return self

    @property
    def camera(self) -> Intrinsics | None:
        """The declared intrinsics of the images."""
        if self.intrinsics is None:
            return None
        fx, fy, cx, cy = self.intrinsics
        return Intrinsics(fx=fx, fy=fy, cx=cx, cy=cy)
