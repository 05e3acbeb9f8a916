"""A tiny focal-stack model, and a loss of its own, that several tests register among the real ones."""

import contextlib
from typing import Annotated, Literal

import pytest
import torch
from conftest import recipe_data
from pydantic import Field
from stores import noise
from torch import nn

from defocal.pipelines.generate import create, run
from defocal.synth import Recipe
from defocal.synth.samples import SampleMaker
from defocal.synth.slices import slice_lenses
from defocal.train.config import Config
from defocal.train.losses import LossBase
from defocal.train.models import MODELS, Architecture, Model, by_focus
from defocal.train.settings import Section

STACK = {"focus": ["0.9 m", "3 m", "1.6 m", "2 m"]}
ARRAYS = ["aif", "depth", "stack", "capture", "coc"]


class ToySettings(Section):
    """A network of one convolution."""

    kind: Literal["toy"] = "toy"
    heads: tuple[Literal["depth", "depth_defocus", "aif"], ...] = ("depth", "aif")
    reads_image: bool = False
    takes: tuple[int, int] | None = None


class Toy(Model):
    """Depth as an expectation over focus distances, weighted slice by slice; the sharp image by the same weights."""

    multiple = 4

    def __init__(self, settings):
        super().__init__()
        self.outputs = settings.heads
        self.depths = {"FocusNet": "depth", "DefocusNet": "depth_defocus"}
        if "depth_defocus" not in settings.heads:
            self.depths = {"": "depth"}
        self.inputs = ("stack", "sharp_at") if set(settings.heads) & {"depth", "aif"} else ()
        if settings.reads_image or "depth_defocus" in settings.heads:
            self.inputs = (*self.inputs, "image")
        if settings.takes:
            self.slices = settings.takes
        layers = {"depth": nn.Conv3d(3, 1, 3, padding=1), "depth_defocus": nn.Conv2d(3, 1, 3, padding=1)}
        self.heads = nn.ModuleDict({name: layer for name, layer in layers.items() if name in settings.heads})

    def compute(self, *tensors):
        """Return the outputs, and a coarse depth for losses."""
        given = dict(zip(self.inputs, tensors, strict=True))
        found = {}
        if "depth" in self.heads:
            sharp_at, stack = by_focus(given["sharp_at"], given["stack"])
            share = self.heads["depth"](stack.transpose(1, 2)).squeeze(1).softmax(1)
            found["depth"] = (share * sharp_at[..., None, None]).sum(1)
            found["depth_1"] = sharp_at.mean(1)[:, None, None].expand_as(found["depth"])
            found["aif"] = (share[:, :, None] * stack).sum(1)
        if "depth_defocus" in self.heads:
            found["depth_defocus"] = self.heads["depth_defocus"](given["image"]).squeeze(1).exp()
        return found


class ToyLossSettings(LossBase):
    """Squared error of whatever depth there is, in units of the target, and how far the stack is from being sharp."""

    kind: Literal["toy"] = "toy"
    lens: bool = False

    @property
    def needs(self):
        """What it reads of the batch."""
        return ("stack", "sharp_at", "depth", *(("lens",) if self.lens else ()))

    def build(self, context):
        """Make the function."""
        assert context.lens is None or context.lens.focal_length > 0

        def objective(outputs, targets, valid=None):
            depth = {name: value for name, value in outputs.items() if name.startswith("depth") and name != "depth_1"}
            found = {
                f"{name}/mse": ((value - targets["depth"])[valid] ** 2).mean() for name, value in depth.items()
            }  # fmt: skip
            assert targets["sharp_at"].shape == targets["stack"].shape[:2]
            return {**found, "total": torch.stack(list(found.values())).sum()}

        return objective


def toy_config(**changes):
    """A training of the toy on stacks, with sections or keys replaced."""
    data = {
        "version": 1,
        "name": "toy",
        "seed": 5,
        "data": {"input": "stack", "targets": ["depth", "aif"], "crop": [16, 24], "batch_size": 4, "workers": 0},
        "model": {"kind": "toy"},
        "target": {"kind": "inverse-depth"},
        "loss": {"kind": "toy"},
        "optimiser": {"rate": 3e-3},
        "run": {"steps": 4, "validate_every": 2, "pictures": 2, "device": "cpu"},
    }
    for key, value in changes.items():
        data[key] = {**data[key], **value} if isinstance(data.get(key), dict) else value
    return data


@contextlib.contextmanager
def registered():
    """Let configs name the toy and its loss, as they name models that ship."""
    old = {name: Config.model_fields[name].annotation for name in ("model", "loss")}
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(MODELS, "toy", Architecture(ToySettings, Toy, ("depth", "aif")))
        for name, section in (("model", ToySettings), ("loss", ToyLossSettings)):
            Config.model_fields[name].annotation = Annotated[old[name] | section, Field(discriminator="kind")]
        Config.model_rebuild(force=True)
        yield
    for name, annotation in old.items():
        Config.model_fields[name].annotation = annotation
    Config.model_rebuild(force=True)


def stack_store(out, *, count=12, stack=None, **changes):
    """Write a store of noise with stacks that are focused where the recipe says; return its folder."""
    output = {"arrays": ARRAYS, **changes.pop("output", {})}
    recipe = Recipe.parse(recipe_data(scenes={"count": count}, stack=stack or STACK, output=output, **changes))
    maker = SampleMaker(recipe)

    def make(sample):
        made = noise(recipe, maker.size, sample)
        made["focus"][:] = [lens.focus_distance for lens in slice_lenses(recipe, sample, made["depth"])]
        return made

    maker.make = make
    assert not run(out, maker, create(out, maker)).failed
    return out
