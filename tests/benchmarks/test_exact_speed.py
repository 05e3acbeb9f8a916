"""How near the exact renderer comes to the truth, and how fast, on one core: run with `make bench`.

The truth is its own picture through 16,384 cells of the aperture. Nothing asserts a time.
"""

import time

import numpy as np
import pytest

from defocal.synth import PsfBank, Scene, ThinLens, polygon_aperture, procedural_scene, render

pytestmark = pytest.mark.bench
LENS = ThinLens(focal_length=0.05, f_number=1.2, focus_distance=1.5, pixel_pitch=0.1125e-3)
HEIGHT, WIDTH = 90, 120
FINEST = 16384


def decibels(picture, truth):
    return 10 * np.log10(1 / np.mean((picture.astype(np.float64) - truth) ** 2))


@pytest.mark.parametrize("kind", ["layers", "layers, five blades", "image and depth"])
def test_decibels_against_seconds(kind):
    scene = procedural_scene(7, 3, (HEIGHT, WIDTH), (0.8, 6.0), margin=22)
    if kind == "image and depth":
        flat = scene.flatten()
        scene = Scene(flat.aif, flat.depth)
    bank = PsfBank.aperture(LENS, polygon_aperture(5)) if "blades" in kind else PsfBank.disk(LENS)
    truth = render(scene, LENS, bank, method="exact", samples=FINEST)
    print(f"\n{WIDTH}x{HEIGHT}, {kind}, CoC {LENS.coc(6.0):.1f} to {LENS.coc(0.8):+.1f} px, one core")
    print(f"  layered          {decibels(render(scene, LENS, bank), truth):6.1f} dB")
    last = 0.0
    for samples in (16, 64, 256, 1024, 4096):
        begun = time.perf_counter()
        picture = render(scene, LENS, bank, method="exact", samples=samples)
        taken = time.perf_counter() - begun
        last = decibels(picture, truth)
        print(f"  {samples:6} samples   {last:6.1f} dB  {taken:7.2f} s")
    assert last > 60
