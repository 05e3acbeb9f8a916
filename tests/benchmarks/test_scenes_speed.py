"""How long procedural scenes take on one core, 480x640 with the margin of d3net-2m: `make bench`."""

import numpy as np
import pytest
from timing import seconds

from defocal.pipelines.shipped import find_recipe
from defocal.synth import procedural_scene
from defocal.synth.photos import Photographs
from defocal.synth.samples import SampleMaker

pytestmark = pytest.mark.bench
SAMPLES = range(12)


def show(name, **more):
    """Print the mean over scenes, each the shortest of three runs."""
    recipe = find_recipe("d3net-2m")
    margin, depth = SampleMaker(recipe).margin, more.pop("depth", recipe.scenes.depth)
    taken = [
        seconds(lambda k=k: procedural_scene(1, k, (480, 640), depth, margin=margin, **more), repeats=3)
        for k in SAMPLES
    ]
    print(f"\n  {name:<28} {1e3 * np.mean(taken):6.1f} ms a scene, at most {1e3 * max(taken):.1f}")


@pytest.mark.parametrize(("world", "depth"), [("indoor", (0.7, 10.0)), ("outdoor", (0.5, 80.0)), ("macro", (0.1, 1.0))])
def test_worlds(world, depth):
    show(world, world=world, depth=depth)


def test_with_lamps():
    show("indoor, 30 lamps", lights=(30, 30))


def test_with_photographs(tmp_path):
    import cv2

    rng = np.random.default_rng(0)
    for k in range(20):
        coarse = rng.integers(0, 256, (24, 32, 3)).astype(np.uint8)
        image = cv2.resize(coarse, (640, 480), interpolation=cv2.INTER_LINEAR)
        (tmp_path / f"{k}.jpg").write_bytes(cv2.imencode(".jpg", image)[1].tobytes())
    show("indoor, photographs (kept)", textures=Photographs.of(tmp_path))
