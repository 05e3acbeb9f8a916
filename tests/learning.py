"""A tiny training through a mask, and datasets for it."""

import torch
from conftest import recipe_data
from training import config

from defocal.synth import Recipe

CAMERA = {"focal_length": "50 mm", "pixel_pitch": "24 um", "defocus": [-6, 6]}


MASK = {"kind": "spiral", "zones": 3, "lobes": 1.4, "confinement": 0.6}


OPTICS = {"mask": MASK, "planes": 5, "size": 13, "samples": 48, "rate": 0.05}


NOISY = {"sensor": {"preset": "rpsf", "read_noise": 40.0}}


def recipe(mask, **changes):
    """A dataset of tiny scenes through a mask of a recipe."""
    psf = {"kind": "mask", "mask": mask, "planes": 9, "size": 13, "samples": 64}
    data = recipe_data(psf=psf, **{"scenes": {"count": 10, "objects": [2, 3]}, **changes})
    data["camera"] = CAMERA
    return Recipe.parse(data)


def made(out, mask, **changes):
    from defocal.pipelines.generate import create, run
    from defocal.synth.samples import SampleMaker

    maker = SampleMaker(recipe(mask, **changes))
    assert not run(out, maker, create(out, maker)).failed
    return out


def settings(optics=None, **changes):
    """The tiny training, through a mask."""
    data = {"data": {"input": "aif", **changes.pop("data", {})}, "optics": {**OPTICS, **(optics or {})}, **changes}
    return config(**data)


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
