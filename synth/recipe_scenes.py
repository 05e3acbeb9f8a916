"""The `scenes` section of a recipe: where all-in-focus images and depth come from."""

from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from .camera import Intrinsics
from .datasets import DATASETS
from .recipe_psf import Length, Section

DepthRange = tuple[Length, Length]
Pixels = Annotated[int, Field(ge=16, le=16384)]
Objects = Annotated[int, Field(ge=0, le=2000)]
Lights = Annotated[int, Field(ge=0, le=500)]


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
    world: Literal["indoor", "outdoor", "macro"] = "indoor"
    lights: tuple[Lights, Lights] = (0, 0)
    """Fewest and most lamps brighter than white in a scene."""
    textures: str | None = None
    """Folder of photographs."""

    @field_validator("objects", "lights")
    @classmethod
    def _counts_ordered(cls, counts: tuple[int, int]) -> tuple[int, int]:
        if counts[0] > counts[1]:
            raise ValueError(f"the fewest ({counts[0]}) must not exceed the most ({counts[1]})")
        return counts

    @field_validator("textures")
    @classmethod
    def _textures_named(cls, textures: str | None) -> str | None:
        if textures is not None and (not textures or "\0" in textures):
            raise ValueError("textures must name a folder")
        return textures


if TYPE_CHECKING:
    Kind = str
else:
    Kind = Literal[tuple(DATASETS)]
"""Datasets that have a reader."""


class ReadScenes(_ScenesBase):
    """What scenes from files have in common."""

    path: str
    count: int | None = Field(default=None, ge=1)
    """How many, in order of their names; all if left out."""
    listing: str | None = Field(default=None, min_length=1)
    """A text file with the names of the scenes to take, one a line."""
    size: tuple[Pixels, Pixels] | None = None
    """Height and width that scenes are brought to, pixels; if left out they stay, and must all be alike."""
    fit: Literal["cover", "crop"] = "cover"
    """"cover" resizes until `size` is covered and cuts the rest; "crop" cuts without resizing."""
    align: int = Field(default=0, ge=0, le=8)
    """Pixels by which edges of depth may move to those of the image; 0 leaves depth as it is."""
    intrinsics: tuple[float, float, float, float] | None = None
    """fx, fy, cx, cy in pixels, of the files' images; in place of those that a dataset tells."""

    @model_validator(mode="after")
    def _speakable(self) -> Self:
        if "\0" in self.path + (self.listing or ""):
            raise ValueError("path must not hold a null character")
        if self.intrinsics is not None and not min(self.intrinsics[:2]) >= 1:
            raise ValueError("intrinsics = [fx, fy, cx, cy] need focal lengths of a pixel or more")
        return self

    @property
    def camera(self) -> Intrinsics | None:
        """The declared intrinsics of the images."""
        if self.intrinsics is None:
            return None
        fx, fy, cx, cy = self.intrinsics
        return Intrinsics(fx=fx, fy=fy, cx=cx, cy=cy)


class FolderScenes(ReadScenes):
    """Pairs of colour and depth files; see `readers.folder.FolderReader` for what each key means."""

    kind: Literal["folder"]
    rgb: str = "rgb/*"
    depth_map: str = "depth/*"
    depth_unit: Length = 0.001
    depth_kind: Literal["z", "ray", "disparity"] = "z"
    invalid: tuple[float, ...] = (0.0,)
    focal: float | None = Field(default=None, gt=0)
    """Focal length in pixels; for disparities."""
    baseline: Length | None = None
    disparity_offset: float = 0.0
    encoding: Literal["srgb", "linear"] = "srgb"
    pairing: Literal["name", "order"] = "name"
    group: Literal["file", "folder"] = "file"

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.depth_kind == "disparity" and (self.focal is None or self.baseline is None):
            raise ValueError("depth_kind = 'disparity' needs focal (pixels) and baseline (a length)")
        if self.depth_kind == "ray" and self.intrinsics is None:
            raise ValueError("depth_kind = 'ray' needs intrinsics = [fx, fy, cx, cy] in pixels")
        return self


class DatasetScenes(ReadScenes):
    """One of the field's datasets, laid out as its owners publish it; see docs/datasets.md."""

    kind: Kind
    variant: str = ""
    """Which of what the dataset offers, such as one of two depth maps; the first if left out."""
    part: str = ""
    """Only this official split; all if left out."""
