"""Recipes: the declaration of a dataset, in TOML, checked as a whole.

A recipe with its seed determines the dataset; its canonical hash names it. Lengths are metres or strings with units.
"""

import hashlib
import json
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import islice, product
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, PrivateAttr, model_validator

from .. import InputError
from .camera import ThinLens
from .draws import Draw, check_range, ends, extract, extremes, typical, value_at, with_value
from .psf_kinds import PsfSection
from .recipe_camera import NEEDED, CameraSection
from .recipe_capture import SensorSection, StackSection
from .recipe_errors import checked
from .recipe_output import OutputSection, RenderSection
from .recipe_psf import AperturePsf, DiskPsf, MaskPsf
from .recipe_psf import Section as Section
from .recipe_scenes import DatasetScenes, FolderScenes, ProceduralScenes, ReadScenes
from .scene import PLAUSIBLE_DEPTH

FORMAT_VERSION = 1

MOST_CORNERS = 512
OF_RAW_FILES = tuple(f"sensor.{key}" for key in ("preset", "bits", "black_level", "white_level", "cfa"))
"""Values that tell how to read a raw file."""
LARGEST_REACH = 512
"""Half-size in pixels of the largest kernel that a recipe may ask for."""
YOUNGER = (
    ("render", "model", "surfaces"),
    ("render", "samples", 256),
    ("scenes", "fit", "cover"),
    ("scenes", "align", 0),
    ("scenes", "group", "file"),
    ("scenes", "world", "indoor"),
    ("scenes", "lights", [0, 0]),
)
"""Keys (section, key, default) that came after version 1 was in use: left out at their default, they change no hash."""
LIGHT_FIELDS = ("hci",)
"""Kinds of scenes that have views."""
Accept = Literal["all-blurred", "all-sharp"]


class Recipe(Section):
    """A declared dataset. Make one with `load_recipe` or `Recipe.parse`."""

    version: int = Field(ge=1, le=1)
    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    seed: int = Field(ge=0, lt=2**63)
    description: str = ""
    accept: tuple[Accept, ...] = ()
    """Uses of the camera that are refused otherwise: "all-blurred", "all-sharp"."""
    scenes: Annotated[ProceduralScenes | FolderScenes | DatasetScenes, Field(discriminator="kind")]
    camera: CameraSection
    psf: PsfSection = DiskPsf()
    render: RenderSection = RenderSection()
    sensor: SensorSection | None = None
    stack: StackSection | None = None
    output: OutputSection = OutputSection()
    _draws: dict[str, Draw] = PrivateAttr(default_factory=dict)

    @model_validator(mode="after")
    def _captured(self) -> Self:
        arrays = self.output.arrays
        if self.camera.defocus is None and self.camera.focus_distance is None and self.stack is None:
            raise ValueError(f"camera: needs {NEEDED}")
        if self.stack is None and {"stack", "stack_raw"} & set(arrays):
            raise ValueError("output.arrays: a stack needs a section [stack]")
        if self.stack is not None and not {"stack", "stack_raw"} & set(arrays):
            raise ValueError("output.arrays: has no stack, which the section [stack] is for")
        if self.stack is not None and self.camera.defocus is not None:
            raise ValueError("camera: defocus is that of one focus distance: a stack needs f_number")
        raws = [name for name in ("raw", "stack_raw") if name in arrays]
        if raws and (self.sensor is None or self.sensor.sensor().cfa == "none"):
            raise ValueError(f"output.arrays: {raws[0]} needs a [sensor] with a colour filter array")
        if self.stack is not None and self.stack.hand_translation > self.scenes.depth[0] / 10:
            raise ValueError(
                f"stack.hand_translation ({self.stack.hand_translation:g} m rms) must be at most a tenth of the "
                f"nearest depth ({self.scenes.depth[0]:g} m)"
            )
        if "dual" in arrays and not isinstance(self.psf, DiskPsf | AperturePsf):
            raise ValueError("output.arrays: dual halves an aperture: use psf.kind = 'disk' or 'aperture'")
        return self

    @model_validator(mode="after")
    def _renderable(self) -> Self:
        if self.render.method == "exact" and not isinstance(self.psf, DiskPsf | AperturePsf):
            raise ValueError(
                f"render.method = 'exact' sends rays through an aperture, and psf.kind = {self.psf.kind!r} has none: "
                "use psf.kind = 'disk' or 'aperture'"
            )
        if self.render.method == "views":
            self._check_views()
        if self.render.method == "taken":
            self._check_taken()
        if self.render.method != "layered" and self.render.model != "surfaces":
            raise ValueError(f"render.model = {self.render.model!r} goes with render.method = 'layered' only")
        return self

    def _check_taken(self) -> None:
        if not isinstance(self.scenes, FolderScenes | DatasetScenes):
            raise ValueError("render.method = 'taken' stores photographs: give --scenes, or scenes.kind of files")
        if self.stack is not None or self.sensor is not None or self.camera.distortion:
            raise ValueError("render.method = 'taken' changes nothing: leave stack, sensor and distortion out")
        if strange := sorted({"aif", "raw", "dual"} & set(self.output.arrays)):
            raise ValueError(
                f"output.arrays: render.method = 'taken' knows the photograph as it is, and no {strange[0]}: ask for "
                'arrays = ["depth", "capture"]'
            )

    def _check_views(self) -> None:
        if not isinstance(self.scenes, DatasetScenes) or self.scenes.kind not in LIGHT_FIELDS:
            raise ValueError(
                f"render.method = 'views' refocuses light fields, of scenes.kind {', '.join(LIGHT_FIELDS)} alone"
            )
        stack = self.stack
        if stack is None or {"capture", "raw", "dual"} & set(self.output.arrays):
            raise ValueError("render.method = 'views' makes focal stacks: give a [stack], and no other captures")
        if stack.breathing or stack.hand_rotation or stack.hand_translation or stack.f_numbers:
            raise ValueError(
                "render.method = 'views' makes aligned slices of one aperture: leave all else out of [stack]"
            )
        if self.scenes.size is not None or self.scenes.align or self.camera.distortion:
            raise ValueError("render.method = 'views' takes views as they are: leave size, align and distortion out")

    @model_validator(mode="after")
    def _bounded(self) -> Self:
        if self.camera.defocus is not None and isinstance(self.psf, MaskPsf) and self.psf.mask.wavelength is None:
            raise ValueError(
                "camera.defocus counts at the mask's design wavelength: give that of the file as psf.mask.wavelength"
            )
        coc = max(abs(lens.coc(z)) for z in self.scenes.depth for lens in self.widest_lenses)
        reach = coc * self.psf.reach
        if not reach <= LARGEST_REACH:
            raise ValueError(
                f"blur would reach {reach:.3g} px from a point (CoC {coc:.3g} px), and at most "
                f"{LARGEST_REACH} px are possible: raise scenes.depth[0], camera.f_number or camera.pixel_pitch"
            )
        return self

    @classmethod
    def parse(cls, data: Mapping[str, Any], origin: str = "the recipe") -> "Recipe":
        """Check a recipe given as nested mappings, and what its distributions may draw.

        Raises
        ------
        InputError
            Naming every error with its path.
        """
        try:
            plain, found = extract(data)
        except (ValueError, TypeError) as error:
            raise InputError(f"{origin}: {str(error)[:300]}.") from None
        recipe = cls._checked(plain, origin)
        return recipe._with_draws(plain, found, origin) if found else recipe

    @classmethod
    def _checked(cls, data: Mapping[str, Any], origin: str) -> "Recipe":
        return checked(cls, _with_default_arrays(data), origin)

    def _with_draws(self, plain: dict[str, Any], found: dict[str, Draw], origin: str) -> "Recipe":
        """Return the recipe with its distributions, whose numbers are SI; checks what they may draw."""
        self._check_drawable(found, origin)
        draws, bounds = {}, {}
        # In the order of names: that of a table's keys may change on the way to a file and back.
        for name, draw in sorted(found.items()):
            raw = ends(draw, self.scenes.depth, value_at(plain, name))
            where = f"{origin}, drawing {name}"
            recipes = [self._checked(with_value(plain, name, value), where) for value in raw]
            values = tuple(value_at(recipe.model_dump(), name) for recipe in recipes)
            draws[name] = draw if draw.of_scene else replace(draw, values=values)
            check_range(draws[name], where)
            bounds[name] = values
        middle = {name: bounds[name][0] if d.of_scene else typical(d) for name, d in draws.items()}
        recipe = self._checked(_changed(plain, middle), origin)
        # Only what decides blur can be wrong together, and what belongs to the sensor.
        for of_sensor in (False, True):
            some = {name: v for name, v in bounds.items() if name.startswith("sensor.") is of_sensor}
            corners = product(*(extremes(draws[name], self.scenes.depth, v[0]) for name, v in some.items()))
            for corner in islice(corners, MOST_CORNERS):
                together = dict(zip(some, corner, strict=True))
                self._checked(_changed(plain, together), f"{origin}, drawing the extremes")
        recipe._draws.update(draws)
        return recipe

    def _check_drawable(self, found: Mapping[str, Draw], origin: str) -> None:
        """Refuse to draw what all samples of a dataset must have in common."""
        stored = {"raw", "stack_raw"} & set(self.output.arrays)
        for name in found:
            if name in ("stack.slices", "stack.focus", "stack.f_numbers", "psf.kind", "psf.mask.kind"):
                raise InputError(f"{origin}: {name} cannot be drawn: all samples of a dataset have it in common.")
            if name in OF_RAW_FILES and stored:
                raise InputError(
                    f"{origin}: {name} cannot be drawn where raw files are stored, which are read alike: leave "
                    f"{' and '.join(sorted(stored))} out of output.arrays, or make a dataset for each."
                )

    @property
    def draws(self) -> Mapping[str, Draw]:
        """Distributions by the dotted names of their keys; the recipe itself has a typical value of each."""
        return self._draws

    @property
    def extremes(self) -> list["Recipe"]:
        """Recipes with the ends of all distributions in all combinations, as far as they are few; at least one."""
        if not self._draws:
            return [self]
        data = self.model_dump(mode="json", exclude_none=True)
        # What is drawn of a sensor changes no blur, and would crowd out what does.
        drawn = {name: draw for name, draw in self._draws.items() if not name.startswith("sensor.")}
        bounds = [extremes(draw, self.scenes.depth, value_at(data, name)) for name, draw in drawn.items()]
        corners = islice(product(*bounds), MOST_CORNERS)
        return [self.at(dict(zip(drawn, corner, strict=True))) for corner in corners]

    def at(self, values: Mapping[str, Any]) -> "Recipe":
        """Return the recipe with fixed values, by dotted names, in the place of its distributions."""
        return self._checked(_changed(self.model_dump(mode="json", exclude_none=True), values), "the recipe as drawn")

    def as_drawn(self, numbers: Sequence[float]) -> "Recipe":
        """Return the recipe with the values that a sample's `drawn` stands for, in the place of its distributions.

        Raises
        ------
        InputError
            If they are no values that it could draw.
        """
        pairs = zip(self._draws.items(), numbers, strict=True)
        try:
            values = {name: draw.value(number) for (name, draw), number in pairs}
        except (IndexError, ValueError):
            raise InputError(f"{list(numbers)} are no values that the recipe {self.name} draws.") from None
        return self.at(values)

    @property
    def arrays(self) -> tuple[str, ...]:
        """Names of all arrays of a sample: those of `output.arrays`, and what tells how they were made."""
        more = ("focus", "f_number", "intrinsics") if self.stack else ()
        hand = ("hand_rotation", "hand_translation")
        if self.stack and any(getattr(self.stack, key) or f"stack.{key}" in self._draws for key in hand):
            more = (*more, "pose")
        return (*self.output.arrays, *more, *(("drawn",) if self._draws else ()))

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON data with every default written out, but for those of keys younger than the format."""
        data: dict[str, Any] = json.loads(self.model_dump_json(exclude_none=True))
        for section, key, default in YOUNGER:
            if data[section].get(key) == default:
                del data[section][key]
        mask = data["psf"].get("mask", {})
        if "sha256" in mask:
            # The content names it: where the file lay on this machine, and for which camera, makes no other dataset.
            mask.pop("path", None)
            mask.pop("any_camera", None)
        elif mask.get("any_camera") is False:
            del mask["any_camera"]
        return _changed(data, {name: draw.table() for name, draw in self._draws.items()})

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
        """The camera model: of single captures, or where none are asked for focused as far as the stack's slices."""
        wavelength = self.psf.mask.wavelength if isinstance(self.psf, MaskPsf) else None
        focus = self.camera.focus_distance
        if focus is None:
            focus = self.widest_focus[1]
        return self.camera.lens(self.scenes.depth, wavelength or 550e-9, focus)

    def ordered_splits(self, found: Iterable[str]) -> list[str]:
        """Return those splits that samples can be in: the recipe's own first, official ones of a dataset next."""
        names = set(found)
        official = sorted(names - set(self.output.splits)) if isinstance(self.scenes, DatasetScenes) else []
        return [name for name in self.output.splits if name in names] + official

    @property
    def widest_focus(self) -> tuple[float, float]:
        """Nearest and farthest focus distance of the stack, metres, or of any that the scenes could decide."""
        return (self.stack.range if self.stack else None) or self.scenes.depth

    @property
    def widest_lenses(self) -> list[ThinLens]:
        """The lenses that blur most: that of single captures, and those of a stack's nearest and farthest focus."""
        if self.stack is None:
            return [self.lens]
        lens = self.lens
        if self.stack.f_numbers:
            lens = replace(lens, f_number=min(self.stack.f_numbers))
        return [lens, *(lens.refocused(focus) for focus in self.widest_focus)]


class _ScenesAlone(Section):
    scenes: Annotated[FolderScenes | DatasetScenes, Field(discriminator="kind")]


def _changed(data: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    for name, value in values.items():
        data = with_value(data, name, value)
    return dict(data)


def _with_default_arrays(data: Mapping[str, Any]) -> Mapping[str, Any]:
    output, scenes = data.get("output", {}), data.get("scenes")
    read = isinstance(scenes, Mapping) and scenes.get("kind") != "procedural"
    if not (data.get("stack") or read) or not isinstance(output, Mapping) or "arrays" in output:
        return data
    picture = "stack" if data.get("stack") else "capture"
    return {**data, "output": {**output, "arrays": ["aif", "depth", *(["valid"] if read else []), "coc", picture]}}


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{k} = {_toml(v)}" for k, v in value.items()) + " }"
    # JSON's strings, numbers, booleans and arrays are TOML's, but for escaped pairs and an unescaped DEL.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def parse_scenes(data: Mapping[str, Any], origin: str) -> ReadScenes:
    """Check the section of scenes from files by itself; without a range of depths it takes any that can be.

    Raises
    ------
    InputError
        Naming every error with its key.
    """
    return checked(_ScenesAlone, {"scenes": {"depth": list(PLAUSIBLE_DEPTH), **data}}, origin).scenes


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
        raise InputError(f"cannot read {path}: {error.strerror}: check the path.") from None
    except UnicodeDecodeError:
        raise InputError(f"{path} is not a text file in UTF-8: a recipe or config is one, in TOML.") from None
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{path} is not valid TOML: {error}.") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} cannot be read: {str(error)[:200]}.") from None


def load_recipe(path: str | Path) -> Recipe:
    """Read and check a recipe file.

    Raises
    ------
    InputError
        If the file cannot be read, or naming every error in it with its path.
    """
    path = Path(path)
    return Recipe.parse(read_toml(path), origin=str(path))
