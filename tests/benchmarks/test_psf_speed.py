"""How long banks of masks take on one core, beside prysm: run with `make bench`."""

import warnings

import numpy as np
import pytest
from timing import seconds

from defocal.synth import PsfBank, SpiralMask, ThinLens
from defocal.synth.pupil import propagation as wave

pytestmark = pytest.mark.bench
GREEN = 550e-9


def lens_for(pixel):
    """A lens with psi from -10 to 10 rad whose pixels are so many green wavelengths times f-number wide."""
    probe = ThinLens.for_defocus(0.5, 3.1, (-10, 10), GREEN, focal_length=0.05, pixel_pitch=1e-5)
    pitch = pixel * GREEN * probe.working_f_number
    return ThinLens.for_defocus(0.5, 3.1, (-10, 10), GREEN, focal_length=0.05, pixel_pitch=pitch)


def test_a_bank():
    """21 planes, three wavelengths, 256 samples; every pixel integrated over its area."""
    print()
    for size in (23, 35, 97):
        lens = lens_for(1.0)

        def ours(lens=lens, size=size):
            return PsfBank.from_mask(SpiralMask(), lens, depth=(0.5, 3.1), size=size, samples=256)

        print(f"  21 planes x 3 wavelengths, 256 samples, {size}x{size} px: {seconds(ours, 3):.2f} s")


def test_one_point_sampled_psf_beside_prysm():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        propagation = pytest.importorskip("prysm.propagation")
    (field,), _ = wave.mask_fields(SpiralMask(), (GREEN,), 256)
    at = (np.arange(97) - 48) * 0.5

    def ours():
        return np.abs(wave.field_at(field, at, at)) ** 2

    def prysm():
        found = propagation.focus_fixed_sampling(field, 10 / 256, 40.0, 0.55, 0.5 * 0.55 * 4, 97, method="mdft")
        return np.abs(np.asarray(found)) ** 2

    a, b = ours(), prysm()[::-1, ::-1]
    np.testing.assert_allclose(a / a.sum(), b / b.sum(), atol=1e-12)
    t, peer = seconds(ours), seconds(prysm)
    print(f"\n  a 97x97 PSF, point-sampled, 256 samples: {t * 1e3:.1f} ms; prysm (matrices kept) {peer * 1e3:.1f} ms "
          f"= {peer / t:.1f} x")  # fmt: skip
