"""What a training configuration says about its data: the section `data`, checked as a whole.

Lengths are metres or strings with units, as in recipes.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, ValidationError, model_validator

from .. import InputError
from ..synth.recipe import Section as Section
from ..synth.recipe_errors import explain
from ..synth.units import parse_length

Length = Annotated[float, BeforeValidator(parse_length), Field(gt=0)]
Flip = Literal["left-right", "up-down", "transpose"]
Share = Annotated[float, Field(ge=0, le=1)]
Range = tuple[float, float]
Count = Annotated[int, Field(ge=1)]

INPUTS = ("capture", "aif", "stack")
LENS = ("focal_length", "f_number", "focus_distance", "pixel_pitch")
"""Columns of the input `lens`: metres, but for the f-number."""
BLUR_CHANGES = {
    "resize": "makes the circles of confusion larger or smaller than the camera's",
    "rotate": "resamples the picture, which blurs it once more",
    "blur": "adds blur that does not come from depth",
    "sharpen": "takes away blur that comes from depth",
    "noise": "hides the high frequencies that tell sharp from blurred, unlike the sensor that the recipe states",
    "colour_per_slice": "lets the slices of a stack differ by more than their focus",
}
"""Augmentations that change what depth is to be read from, each with how."""


_STACK = "set data.input = 'stack'"
_HOW = {
    "stack": _STACK, "focus": _STACK, "sharp_at": _STACK, "image": "add 'capture' to data.extra",
    "depth": "add 'depth' to data.targets", "valid": "add 'depth' to data.targets", "aif": "add 'aif' to data.targets",
}  # fmt: skip
"""Which key gives what is missing of a batch."""


class CameraSettings(Section):
    """The camera that a model is trained for; what is given must be what the stores say."""

    focal_length: Length | None = None
    f_number: float | None = Field(default=None, gt=0)
    focus_distance: Length | None = None
    pixel_pitch: Length | None = None
    psf: str | None = None
    """Kind of the PSFs: "disk", "gaussian", "mask", ..."""


class AugmentSettings(Section):
    """Changes of training samples, drawn by (seed, epoch, sample): no worker and no batch size alters them."""

    flips: tuple[Flip, ...] = ("left-right",)
    """Each with probability 1/2, all arrays of a sample alike; "transpose" needs a square crop."""
    allow_asymmetric: bool = False
    """Flip although the PSFs are not symmetric: the flipped samples then show a lens that does not exist."""
    brightness: Range = (0.0, 0.0)
    """Added to pictures of 0 to 1; DfF in the Wild has [-0.1, 0.1]."""
    contrast: Range = (1.0, 1.0)
    """Factor about 0.5; DfF in the Wild has [0.4, 1.6]."""
    gamma: Range = (1.0, 1.0)
    """Exponent, after contrast and brightness; DfF in the Wild has [0.5, 2]."""
    gain: Range = (1.0, 1.0)
    """Factor, after all these; the UDfD paper's brightness, [0.5, 1.5]."""
    colour: Range = (1.0, 1.0)
    """Factor of each colour by itself; the UDfD paper has [0.8, 1.2]."""
    probability: Share = 1.0
    """Of changing a sample's colours at all; the UDfD paper has 0.5."""
    allow_blur_changes: bool = False
    """Allow what follows."""
    resize: Range = (1.0, 1.0)
    """Factor of magnification about the middle of the crop; depth stays what it is."""
    rotate: float = Field(default=0.0, ge=0, le=180)
    """Largest angle, degrees, either way."""
    blur: float = Field(default=0.0, ge=0, le=16)
    """Largest standard deviation of a Gaussian, pixels."""
    sharpen: float = Field(default=0.0, ge=0, le=10)
    """Largest share of what a Gaussian of 1 px takes away that is added."""
    noise: float = Field(default=0.0, ge=0, le=1)
    """Standard deviation, of pictures of 0 to 1."""
    colour_per_slice: bool = False
    """Draw brightness, contrast and gamma for each slice of a stack, not for the stack."""

    @property
    def colours(self) -> bool:
        """Whether colours change."""
        plain = (self.brightness, self.contrast, self.gamma) == ((0.0, 0.0), (1.0, 1.0), (1.0, 1.0))
        return not plain or self.tints

    @property
    def tints(self) -> bool:
        """Whether colours change by factors, or not always."""
        return (self.gain, self.colour, self.probability) != ((1.0, 1.0), (1.0, 1.0), 1.0)

    @property
    def warps(self) -> bool:
        """Whether pictures are resampled."""
        return self.resize != (1.0, 1.0) or self.rotate > 0

    @model_validator(mode="after")
    def _possible(self) -> Self:
        for name in ("brightness", "contrast", "gamma", "gain", "colour", "resize"):
            low, high = getattr(self, name)
            if low > high or (name != "brightness" and low <= 0):
                raise ValueError(f"{name} must be [least, greatest], and positive but for brightness")
        if len(set(self.flips)) < len(self.flips):
            raise ValueError("flips names one twice")
        if self.colour_per_slice and not self.colours:
            raise ValueError("colour_per_slice needs brightness, contrast or gamma")
        return self

    @model_validator(mode="after")
    def _keeps_blur(self) -> Self:
        default = type(self).model_fields
        if self.allow_blur_changes:
            return self
        for name, how in BLUR_CHANGES.items():
            if getattr(self, name) != default[name].default:
                raise ValueError(
                    f"{name} {how}, and depth is read from blur (D3-Net: no processing that modifies out-of-focus "
                    "information); leave it out, or set allow_blur_changes = true"
                )
        return self


class DataSettings(Section):
    """The section `data` of a training configuration."""

    train_split: str = "train"
    validation_split: str = "test"
    input: Literal["capture", "aif", "stack"] = "capture"
    """What the model sees; "aif" trains on sharp pictures, for comparison."""
    targets: tuple[Literal["depth", "aif"], ...] = ("depth",)
    extra: tuple[
        Literal["capture", "coc", "lens", "dual", "raw", "stack_raw", "f_number", "intrinsics", "pose"], ...
    ] = ()
    """More arrays of each sample; `capture` is the single picture beside a stack, `lens` is (focal length, f-number,
    focus distance, pixel pitch)."""
    slices: tuple[Count, Count] | None = None
    """Fewest and most slices of the stacks that a training step sees: each step draws how many, each sample which.
    The slice in whose frame the ground truth is stays. Left out, all slices; in validation always."""
    limit: int | None = Field(default=None, ge=1)
    """Take the first so many samples of the training split of each store."""
    validation_limit: int | None = Field(default=None, ge=1)
    subset: tuple[str, ...] = ()
    """Take only scenes whose source, in `samples.csv`, matches one of these patterns, such as "kitchen_*"."""
    camera: CameraSettings = CameraSettings()
    mixed_cameras: bool = False
    """Allow stores of cameras that differ, from each other or from `camera`."""
    batch_size: int = Field(default=8, ge=1)
    """Of one process: with several GPUs a step sees as many times more."""
    window: int = Field(default=0, ge=0)
    """Shards that are mixed at a time; 0 mixes all. A few dozen keep the reads of network file systems together."""
    drop_last: bool = True
    """Leave out an epoch's last batch where it is not full."""
    workers: int = Field(default=2, ge=0, le=256)
    """Processes that read; 0 reads in the training process."""
    prefetch: int = Field(default=4, ge=1, le=64)
    """Batches that each of them reads ahead."""
    backend: Literal["auto", "direct", "zarr", "tensorstore"] = "auto"
    """"auto" reads shards directly where their layout is the one defocal writes, and by zarr otherwise."""
    crop: tuple[int, int] | None = None
    """Height and width in pixels: at random in training, in the middle in validation; the whole picture if left out."""
    light: Literal["encoded", "linear"] = "encoded"
    """"linear" gives pictures in linear light; "encoded" as they are stored."""
    depth: tuple[Length, Length] | None = None
    """Metres: depths outside are not valid; all known depths are if left out."""
    augment: AugmentSettings = AugmentSettings()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for name in ("targets", "extra"):
            if len(set(getattr(self, name))) < len(getattr(self, name)):
                raise ValueError(f"{name} names an array twice")
        if self.crop is not None and min(self.crop) < 1:
            raise ValueError("crop must be a height and a width in pixels")
        if self.depth is not None and not self.depth[0] < self.depth[1]:
            raise ValueError("depth must be [nearest, farthest]")
        if self.input != "stack":
            for name, given in (
                ("augment.colour_per_slice", self.augment.colour_per_slice),
                ("slices", self.slices is not None),
                ("extra = ['capture']", "capture" in self.extra),
            ):
                if given:
                    raise ValueError(f"{name} needs input = 'stack'")
        if self.slices is not None and self.slices[0] > self.slices[1]:
            raise ValueError("slices must be [fewest, most]")
        self._check_flips()
        return self

    def _check_flips(self) -> None:
        flips, raws = self.augment.flips, sorted({"raw", "stack_raw"} & set(self.extra))
        if raws and (flips or self.augment.warps):
            raise ValueError(
                f"augment.flips would change the order of the colour filters in {raws[0]}: set augment.flips = [], and "
                "neither resize nor rotate"
            )
        if raws and self.crop and any(side % 2 for side in self.crop):
            raise ValueError(f"crop must be even where {raws[0]} is used, so that colour filters keep their order")
        if "transpose" in flips and (self.crop is None or self.crop[0] != self.crop[1]):
            raise ValueError("augment.flips = 'transpose' needs a square crop")
        if "transpose" in flips and "dual" in self.extra:
            raise ValueError("augment.flips = 'transpose' would make left and right views into upper and lower ones")
        if self.augment.warps and {"intrinsics", "pose"} & set(self.extra):
            raise ValueError("augment.resize and augment.rotate do not follow intrinsics and pose: leave those out")

    @property
    def arrays(self) -> tuple[str, ...]:
        """Names of the arrays that every store must have."""
        stack = ("focus",) if self.input == "stack" else ()
        return tuple(dict.fromkeys((self.input, *stack, *self.targets, *self.extra)))

    @property
    def gives(self) -> tuple[str, ...]:
        """Names of what a model and a loss find in a batch."""
        stack = ("stack", "focus", "sharp_at") if self.input == "stack" else ()
        image = ("image",) if self.input != "stack" or "capture" in self.extra else ()
        valid = ("valid",) if "depth" in self.targets else ()
        return (*stack, *image, *self.targets, *valid, *(name for name in self.extra if name != "capture"))

    def check_gives(self, names: Iterable[str], who: str) -> None:
        """Refuse data that do not give what a model or a loss reads.

        Raises
        ------
        InputError
            Naming what is missing, and the key that gives it.
        """
        for name in names:
            if name not in self.gives:
                how = _HOW.get(name, f"add {name!r} to data.extra")
                raise InputError(f"{who} reads {name!r}, which these data do not give: {how}.")

    @property
    def through_lens(self) -> tuple[str, ...]:
        """Names of those arrays that show the PSFs of the stores."""
        return tuple(name for name in self.arrays if name in ("capture", "stack", "dual", "raw", "stack_raw"))

    @classmethod
    def parse(cls, data: Mapping[str, Any], origin: str = "the section data") -> "DataSettings":
        """Check settings given as nested mappings.

        Raises
        ------
        InputError
            Naming every error with its key.
        """
        try:
            # Through JSON, whose strict mode takes arrays for tuples: TOML knows no tuples.
            return cls.model_validate_json(json.dumps(data))
        except ValidationError as error:
            raise InputError(explain(error, origin, model=cls)) from None
        except (TypeError, ValueError, RecursionError) as error:
            raise InputError(f"{origin} holds a value that settings do not use: {str(error)[:200]}.") from None
