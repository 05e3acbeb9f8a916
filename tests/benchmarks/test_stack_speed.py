"""What a focal stack costs beside single captures: `make bench` prints it. Never asserts a time."""

import numpy as np
import pytest
from timing import seconds

from defocal.synth import PsfBank, Scene, ThinLens, procedural_scene, render, render_stack
from defocal.synth.schedules import spaced

LENS = ThinLens(focal_length=0.025, f_number=2.0, focus_distance=1.5, pixel_pitch=20e-6)
BANK = PsfBank.disk(LENS)
FOCUS = spaced(10, 0.8, 3.0, "inverse", LENS.focal_length)


def all_captures(scene):
    lenses = [LENS.refocused(float(focus)) for focus in FOCUS]
    return [render(scene, lens, BANK.through(lens)) for lens in lenses]


@pytest.mark.bench
@pytest.mark.parametrize("kind", ["image and depth map", "true layers"])
def test_ten_slices(kind):
    scene = procedural_scene(1, 0, (480, 640), (0.7, 5.0), margin=24)
    if kind == "image and depth map":
        flat = scene.flatten()
        scene = Scene(flat.aif, flat.depth, flat.intrinsics)
    single = seconds(lambda: all_captures(scene)) / len(FOCUS)
    aligned = seconds(lambda: render_stack(scene, LENS, FOCUS, BANK))
    breathing = seconds(lambda: render_stack(scene, LENS, FOCUS, BANK, breathing=True))
    print(f"\n640x480, {kind}, ten slices, disks to {max(abs(LENS.refocused(0.8).coc(np.array([0.7, 5.0])))):.0f} px")
    print(f"  a single capture, mean of ten    {1e3 * single:7.1f} ms")
    print(f"  aligned stack                    {1e3 * aligned:7.1f} ms = {aligned / single:4.1f} captures")
    print(f"  stack with breathing             {1e3 * breathing:7.1f} ms = {breathing / single:4.1f} captures")
