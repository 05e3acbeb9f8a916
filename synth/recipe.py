"""Recipes: the declaration of a dataset, in TOML, checked as a whole.

A recipe with its seed determines the dataset; its canonical hash names it. Lengths are metres or strings with units.
"""

import hashlib
import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BeforeValidator,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from .. import InputError
from .camera import Intrinsics, ThinLens
from .recipe_psf import AperturePsf, DiskPsf, GaussianPsf, Length, MaskPsf, PowerExponentialPsf, PsfSection
from .recipe_psf import Section as _Section
from .units import parse_bytes

FORMAT_VERSION = 1

DepthRange = tuple[Length, Length]
Pixels = Annotated[int, Field(ge=16, le=16384)]
Objects = Annotated[int, Field(ge=0, le=2000)]
LARGEST_REACH = 512
"""Half-size in pixels of the largest kernel that a recipe may ask for."""
YOUNGER = (("render", "model", "surfaces"), ("render", "samples", 256))
"""Keys (section, key, default) that came after version 1 was in use: left out at their default, they change no hash."""
Accept = Literal["all-blurred", "all-sharp"]


class _ScenesBase(_Section):
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


class CameraSection(_Section):
    """The thin lens and its sensor: f-number and focus distance, or the defocus that both shall give."""

    focal_length: Length
    f_number: float | None = Field(default=None, gt=0)
    focus_distance: Length | None = None
    pixel_pitch: Length
    defocus: tuple[float, float] | None = None
    """Radians at the pupil's edge, at the mask's design wavelength, of the farthest and the nearest depth."""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        physical = (self.f_number is not None, self.focus_distance is not None)
        if self.defocus is None and not all(physical):
            raise ValueError("needs f_number and focus_distance, or defocus = [farthest, nearest] in radians")
        if self.defocus is not None and any(physical):
            raise ValueError("defocus determines f_number and focus_distance: leave those out")
        if self.defocus is None:
            self.lens((1.0, 2.0), 550e-9)
        return self

    def lens(self, depth: tuple[float, float], wavelength: float) -> ThinLens:
        """Return the camera model for scenes of such depths, metres; the wavelength is that of `defocus`."""
        if self.defocus is not None:
            near, far = depth
            return ThinLens.for_defocus(
                near, far, self.defocus, wavelength, focal_length=self.focal_length, pixel_pitch=self.pixel_pitch
            )
        assert self.f_number is not None
        assert self.focus_distance is not None
        return ThinLens(
            focal_length=self.focal_length,
            f_number=self.f_number,
            focus_distance=self.focus_distance,
            pixel_pitch=self.pixel_pitch,
        )


class RenderSection(_Section):
    """How light is put together."""

    method: Literal["layered", "exact"] = "layered"
    """"exact" integrates over the aperture: slower, and for disks and other apertures of geometric optics only."""
    samples: int = Field(default=256, ge=1, le=65536)
    """Cells of the aperture, for "exact"."""
    model: Literal["surfaces", "hasinoff", "normalised-over", "eq7"] = "surfaces"
    """All but the first are papers' models, for comparison; see `rendering.render`."""
    planes: int = Field(default=64, ge=2, le=4096)
    light: Literal["linear", "srgb"] = "linear"
    """"srgb" blurs encoded values, as some papers did; the default is what light does."""


class OutputSection(_Section):
    """What is stored, and how."""

    arrays: tuple[Literal["aif", "depth", "coc", "capture"], ...] = ("aif", "depth", "coc", "capture")
    encoding: Literal["srgb", "linear"] = "srgb"
    bits: Literal[8, 16] = 8
    compression: Literal["release", "fast"] = "release"
    shard_bytes: Annotated[float, BeforeValidator(parse_bytes), Field(ge=1, le=1e9)] = 96e6
    """Largest raw size of one shard of one array."""
    splits: dict[Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")], Annotated[float, Field(gt=0, le=1)]] = Field(
        default_factory=lambda: {"train": 1.0}
    )
    """Share of the samples in each split; drawn by sample, so that a longer run keeps what a shorter one had."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if not self.arrays or len(set(self.arrays)) < len(self.arrays):
            raise ValueError("arrays must name each array once, and at least one")
        if abs(sum(self.splits.values()) - 1) > 1e-9:
            raise ValueError(f"the shares of splits must sum to 1, not {sum(self.splits.values()):g}")
        return self


class Recipe(_Section):
    """A declared dataset. Make one with `load_recipe` or `Recipe.parse`."""

    version: int = Field(ge=1, le=1)
    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    seed: int = Field(ge=0, lt=2**63)
    description: str = ""
    accept: tuple[Accept, ...] = ()
    """Uses of the camera that are refused otherwise: "all-blurred", "all-sharp"."""
    scenes: Annotated[ProceduralScenes | FolderScenes, Field(discriminator="kind")]
    camera: CameraSection
    psf: PsfSection = DiskPsf()
    render: RenderSection = RenderSection()
    output: OutputSection = OutputSection()

    @model_validator(mode="after")
    def _renderable(self) -> Self:
        if self.render.method == "exact" and not isinstance(self.psf, DiskPsf | AperturePsf):
            raise ValueError(
                f"render.method = 'exact' sends rays through an aperture, and psf.kind = {self.psf.kind!r} has none: "
                "use psf.kind = 'disk' or 'aperture'"
            )
        if self.render.method == "exact" and self.render.model != "surfaces":
            raise ValueError(f"render.model = {self.render.model!r} goes with render.method = 'layered' only")
        return self

    @model_validator(mode="after")
    def _bounded(self) -> Self:
        if self.camera.defocus is not None and isinstance(self.psf, MaskPsf) and self.psf.mask.wavelength is None:
            raise ValueError(
                "camera.defocus counts at the mask's design wavelength: give that of the file as psf.mask.wavelength"
            )
        coc = max(abs(self.lens.coc(z)) for z in self.scenes.depth)
        reach = coc * _reach_per_coc(self.psf)
        if not reach <= LARGEST_REACH:
            raise ValueError(
                f"blur would reach {reach:.3g} px from a point (CoC {coc:.3g} px), and at most "
                f"{LARGEST_REACH} px are possible: raise scenes.depth[0], camera.f_number or camera.pixel_pitch"
            )
        return self

    @classmethod
    def parse(cls, data: Mapping[str, Any], origin: str = "the recipe") -> "Recipe":
        """Check a recipe given as nested mappings.

        Raises
        ------
        InputError
            Naming every error with its path.
        """
        try:
            # Through JSON, whose strict mode takes arrays for tuples: TOML knows no tuples.
            return cls.model_validate_json(json.dumps(data))
        except ValidationError as error:
            raise InputError(_explain(error, origin)) from None
        except (TypeError, ValueError, RecursionError) as error:
            raise InputError(f"{origin} holds a value that recipes do not use: {str(error)[:200]}.") from None

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON data with every default written out, but for those of keys younger than the format."""
        data: dict[str, Any] = json.loads(self.model_dump_json(exclude_none=True))
        for section, key, default in YOUNGER:
            if data[section][key] == default:
                del data[section][key]
        return data

    def to_toml(self) -> str:
        """Return the recipe as TOML with every default written out."""
        data = self.to_dict()
        lines = [f"{key} = {_toml(value)}" for key, value in data.items() if not isinstance(value, dict)]
        for name, section in data.items():
            if isinstance(section, dict):
                lines += ["", f"[{name}]"] + [f"{key} = {_toml(value)}" for key, value in section.items()]
        return "\n".join(lines) + "\n"

    def hash(self) -> str:
        """Return the canonical hash: sha256 over the recipe as sorted JSON without white space, hexadecimal."""
        text = json.dumps(self.to_dict(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def lens(self) -> ThinLens:
        """The camera model."""
        wavelength = self.psf.mask.wavelength if isinstance(self.psf, MaskPsf) else None
        return self.camera.lens(self.scenes.depth, wavelength or 550e-9)


def _reach_per_coc(psf: PsfSection) -> float:
    if isinstance(psf, GaussianPsf):
        return 3.5 * psf.sigma_per_coc
    if isinstance(psf, PowerExponentialPsf):
        from .psf_shapes import power_exponential_reach

        return power_exponential_reach(psf.exponent)
    return 0.5


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{k} = {_toml(v)}" for k, v in value.items()) + " }"
    # JSON's strings, numbers, booleans and arrays are TOML's, but for escaped pairs and an unescaped DEL.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _explain(error: ValidationError, origin: str) -> str:
    lines = []
    for item in error.errors(include_url=False):
        path = _key(item["loc"])
        message = item["msg"].removeprefix("Value error, ").rstrip(".")
        if item["type"] == "extra_forbidden":
            message = "unknown key"
        elif item["type"] == "missing":
            message = "is missing"
        elif item["type"] == "union_tag_not_found":
            message = "needs a kind"
        elif item["type"] == "union_tag_invalid":
            message = f"kind must be one of {item['ctx']['expected_tags']}, not {item['ctx']['tag']!r}"
        elif item["type"] in ("too_long", "too_short"):
            message = f"has {item['ctx']['actual_length']} values, and needs another number of them"
        elif item["type"] != "value_error":
            message = message.replace("Input should be", "must be").replace("an object", "a section")
            message += f", not {str(item['input'])[:60]!r}"
        lines.append(f"{path}: {message}" if path else message)
    if len(lines) == 1:
        return f"{origin}: {lines[0]}."
    return f"{origin} has {len(lines)} errors:" + "".join(f"\n  {line}." for line in lines)


def _key(location: tuple[int | str, ...]) -> str:
    """Dotted key of an error: pydantic also names the kind that it checked a section as."""
    kept: list[str] = []
    parts = iter(location)
    for part in parts:
        kept.append(str(part))
        if kept in (["scenes"], ["psf"], ["psf", "mask"]):
            next(parts, None)
    return ".".join(kept)


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file.

    Raises
    ------
    InputError
        If it is missing, unreadable or not TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise InputError(f"cannot read the recipe {path}: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise InputError(f"the recipe {path} is not a text file in UTF-8.") from None
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"the recipe {path} is not valid TOML: {error}.") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"the recipe {path} cannot be read: {str(error)[:200]}.") from None


def load_recipe(path: str | Path) -> Recipe:
    """Read and check a recipe file.

    Raises
    ------
    InputError
        If the file cannot be read, or naming every error in it with its path.
    """
    path = Path(path)
    return Recipe.parse(read_toml(path), origin=str(path))
