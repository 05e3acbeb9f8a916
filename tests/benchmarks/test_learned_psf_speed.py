"""What the PSFs of a learned mask cost in every step of training: `make bench` prints it. Never asserts a time."""

import time

import pytest

from defocal.synth import ThinLens

torch = pytest.importorskip("torch")

from defocal.synth.pupil.propagation import defocused, mask_fields, psf_at_pixels  # noqa: E402
from defocal.train.optics.bank import DifferentiableBank  # noqa: E402
from defocal.train.optics.mask_settings import (  # noqa: E402
    AmplitudeSection,
    HeightSection,
    RadialSection,
    SpiralSection,
    ZernikeSection,
)
from defocal.train.optics.masks import build_mask  # noqa: E402

COLOURS = (640e-9, 550e-9, 460e-9)
LENS = ThinLens.for_defocus(0.5, 3.1, (-10, 10), 550e-9, focal_length=0.05, pixel_pitch=12e-6)
SECTIONS = {
    "spiral, rings": SpiralSection(kind="spiral"),
    "spiral, blend": SpiralSection(kind="spiral", form="blend"),
    "55 Zernike coefficients": ZernikeSection(kind="zernike"),
    "32x32 heights": HeightSection(kind="height"),
    "32 heights along a radius": RadialSection(kind="radial"),
    "13x13 transmissions": AmplitudeSection(kind="amplitude"),
}


def cost(make):
    """Processor seconds of forward and backward, the least of five."""
    forward, backward = [], []
    for _ in range(5):
        start = time.process_time()
        kernels = make()
        between = time.process_time()
        kernels.square().sum().backward()
        forward.append(between - start)
        backward.append(time.process_time() - between)
    return min(forward), min(backward)


def plainly(mask, bank):
    """The same kernels by the functions of numpy's bank, on torch."""
    psi = bank.psi.float()
    fields, light = mask_fields(mask, COLOURS, bank.samples, oversampling=8, like=psi)
    pixels = [LENS.pixel_pitch / (w * LENS.working_f_number) for w in COLOURS]
    shares = [
        psf_at_pixels(defocused(field, psi * (550e-9 / w)), pixel, bank.size, light)
        for field, w, pixel in zip(fields, COLOURS, pixels, strict=True)
    ]
    return torch.stack(shares, dim=1)


@pytest.mark.bench
def test_kernels_of_a_step():
    bank = DifferentiableBank(LENS, (0.5, 3.1), wavelengths=COLOURS, planes=21, size=31, samples=128)
    print("\n21 planes, 3 colours, 31 px, 128 samples, float32, processor time")
    for name, section in SECTIONS.items():
        learned = build_mask(section, 0)
        forward, backward = cost(lambda learned=learned: bank.kernels(learned.mask(), "cpu"))
        print(f"  {name:26} forward {1e3 * forward:4.0f} ms, backward {1e3 * backward:4.0f} ms")
    for name in ("spiral, rings", "55 Zernike coefficients"):
        learned = build_mask(SECTIONS[name], 0)
        forward, backward = cost(lambda learned=learned: plainly(learned.mask(), bank))
        print(f"  as numpy's bank: {name}, forward {1e3 * forward:.0f} ms, backward {1e3 * backward:.0f} ms")
