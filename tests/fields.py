"""Small PSFs that vary over the picture, and scenes to see them in."""

import numpy as np

from defocal.synth import PsfBank, Scene, ThinLens
from defocal.synth.psf_field import FieldBank
from defocal.synth.psf_sampled import SampledBank

LENS = ThinLens(focal_length=0.05, f_number=2.0, focus_distance=2.0, pixel_pitch=2e-4)
EYES = ThinLens(focal_length=0.05, f_number=2.0, focus_distance=2.0, pixel_pitch=5e-5)
NEAR, FAR = 0.8, 6.0


def random_planes(seed, size=5, planes=7, channels=3):
    kernels = np.random.default_rng(seed).random((planes, channels, size, size)) ** 4
    kernels /= kernels.sum(axis=(2, 3), keepdims=True)
    return SampledBank("test", LENS, kernels, np.linspace(LENS.coc(FAR), LENS.coc(NEAR), planes))


def random_field(channels=3, field_y=(-0.5, 0.1, 0.4), field_x=(-0.9, -0.2, 0.3, 0.6)):
    """Kernels of no symmetry at the nodes of an uneven grid that does not cover the picture."""
    count = len(field_y) * len(field_x)
    return FieldBank("test", tuple(random_planes(k, channels=channels) for k in range(count)), field_y, field_x)


def small_cat_eye(lens=LENS, **changes):
    return PsfBank.cat_eye(lens, **{"clipping": 0.6, "nodes": 5, "coc_step": 0.5} | changes)


def blocks(height, width, seed, depths=(NEAR, 1.3, 2.0, FAR)):
    """A scene of random rectangles at the given depths, in random colours with texture."""
    rng = np.random.default_rng(seed)
    depth = np.full((height, width), max(depths), np.float32)
    for z in sorted(depths, reverse=True):
        y, x = rng.integers(0, height), rng.integers(0, width)
        depth[y : y + height // 2, x : x + width // 2] = z
    return Scene(rng.random((height, width, 3), np.float32), depth)


def layers_of(seed, size=(20, 26)):
    """A wall, a slanted half-transparent layer, and a card in front: [(rgba, depth map)]."""
    rng = np.random.default_rng(seed)
    depths = [np.full(size, 5.0), 1 / np.linspace(0.3, 0.9, size[1])[None].repeat(size[0], 0), np.full(size, 0.9)]
    alphas = [np.ones(size), np.clip(rng.normal(size=size) + 0.3, 0, 1), (rng.random(size) < 0.3) * 1.0]
    return [
        (np.dstack([rng.random((*size, 3)) * a[..., None], a]).astype(np.float32), z.astype(np.float32))
        for a, z in zip(alphas, depths, strict=True)
    ]
