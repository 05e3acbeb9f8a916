"""How fast the layered renderer is, on one core, beside what labs use: run with `make bench`.

Nothing asserts a time: machines are noisy. What is asserted is that the peers compute the same picture.
"""

import cv2
import naive
import numpy as np
import pytest
import scipy.fft
from timing import seconds

from defocal.synth import PsfBank, Scene, ThinLens, render
from defocal.synth.layers import slots_for_coc, split_surfaces
from defocal.synth.psf_sampled import SampledBank

pytestmark = pytest.mark.bench
LENS = ThinLens(focal_length=0.015, f_number=1.9, focus_distance=2.0, pixel_pitch=5.6e-6)
HEIGHT, WIDTH = 480, 640


def room(margin, seed=0, planes=None, noise=0.0):
    """A floor, a wall and twenty slanted objects between 0.7 and 10 m; disks up to 10 px in radius."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: HEIGHT + 2 * margin, : WIDTH + 2 * margin].astype(np.float64)
    inverse = 0.1 + 1.3 * np.clip((y - 200) / 280, 0, 1)
    for _ in range(20):
        cy, cx, r = rng.integers(0, HEIGHT), rng.integers(0, WIDTH), rng.integers(20, 90)
        inside = (y - cy) ** 2 + (x - cx) ** 2 < r * r * (1 + 0.3 * np.sin(5 * np.arctan2(y - cy, x - cx)))
        surface = 1 / rng.uniform(0.72, 6) + rng.uniform(-3e-4, 3e-4) * (x - cx)
        inverse = np.where(inside, np.maximum(inverse, np.clip(surface, 0.1, 1.42)), inverse)
    if planes:
        step = (inverse.max() - inverse.min()) / (planes - 1)
        inverse = 0.5 + np.round((inverse - 0.5) / step) * step
    depth = 1 / inverse * (1 + noise * rng.standard_normal(inverse.shape))
    return Scene(rng.random((*depth.shape, 3), np.float32), depth.astype(np.float32), margin=margin)


def layers_of(scene, bank, planes):
    """The premultiplied layers, hidden parts included, and kernels (C, n, n) that every method is given: K of each."""
    found = split_surfaces(scene.aif, scene.depth, 0, bank, planes)
    slots = slots_for_coc(found, bank, LENS.coc(np.array([scene.depth.min(), scene.depth.max()])))
    numbers = np.unique(found.plane[0])
    layers, kernels = [], []
    for number in numbers:
        there = found.plane == number
        layers.append(np.where(there[..., None], found.rgba, 0).sum(axis=0))
        slot = slots[there]
        assert (slot == slot[0]).all(), "one kernel a plane"
        kernels.append(bank.slot_kernels(int(slot[0])).astype(np.float32))
    return numbers, layers, kernels, found


def by_torch(layers, kernels):
    """Blur all layers with batched real FFTs in torch, one thread."""
    import torch

    reach = max(k.shape[0] for k in kernels) // 2
    height, width = layers[0].shape[0] + 2 * reach, layers[0].shape[1] + 2 * reach
    stack = torch.from_numpy(np.stack(layers)).permute(0, 3, 1, 2)
    psf = torch.zeros(len(kernels), 1, height, width)
    for i, kernel in enumerate(kernels):
        n = kernel.shape[0]
        psf[i, 0, :n, :n] = torch.from_numpy(kernel)
        psf[i, 0] = torch.roll(psf[i, 0], (-(n // 2), -(n // 2)), (0, 1))
    out = torch.fft.irfft2(torch.fft.rfft2(stack, s=(height, width)) * torch.fft.rfft2(psf), s=(height, width))
    return out[..., : layers[0].shape[0], : layers[0].shape[1]].permute(0, 2, 3, 1).numpy()


def laid_over(blurred):
    """Composite blurred layers, far to near, as the peers do; simpler than what the renderer does."""
    out = np.zeros_like(blurred[0])
    for rgba in blurred:
        out *= 1 - rgba[..., 3:]
        out += rgba
    return out


def test_against_the_peers():
    """64 planes: the whole render beside peers that are given its layers, and only blur and composite them."""
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    bank = PsfBank.disk(LENS)
    margin = 11
    scene = room(margin, planes=64)
    numbers, layers, kernels, found = layers_of(scene, bank.averaged, 64)
    kernels = [k[0] for k in kernels]
    cut = np.s_[margin:-margin, margin:-margin]

    def filter2d():
        return [cv2.filter2D(a, -1, k, borderType=cv2.BORDER_CONSTANT) for a, k in zip(layers, kernels, strict=True)]

    ours = render(scene, LENS, bank, planes=64)
    for blurred in (filter2d(), by_torch(layers, kernels)):
        groups = list(zip(numbers, blurred, strict=True))
        peer = naive.composite(groups, found.gap, fill=True, coc=lambda plane: found.plane_coc[int(plane)])
        np.testing.assert_allclose(ours, peer[cut], atol=1e-4)
    t = seconds(lambda: render(scene, LENS, bank, planes=64))
    t_cv, t_torch = seconds(filter2d, 3), seconds(lambda: by_torch(layers, kernels), 1)
    blurred = filter2d()
    t_over = seconds(lambda: laid_over(blurred), 3)
    print(f"\n{WIDTH}x{HEIGHT}, {len(numbers)} planes, radius to {max(map(len, kernels)) // 2} px, one core")
    print(f"  defocal, whole render                    {t * 1e3:8.1f} ms")
    t_split = seconds(lambda: split_surfaces(scene.aif, scene.depth, 0, bank.averaged, 64))
    print(f"    of which to find what is given to peers{t_split * 1e3:8.1f} ms")
    for name, peer in (("cv2.filter2D a layer", t_cv), ("torch FFT, batched", t_torch)):
        for what, total in (("blur alone", peer), ("and composite", peer + t_over)):
            print(f"  {name + ', ' + what:<40} {total * 1e3:8.1f} ms = {total / t:4.0f} x")


def by_fft(layers, kernels):
    """Blur layers by real FFTs in scipy, one thread: colour and coverage, (6, H, W), by each colour's own kernel."""
    blurred = []
    for rgba, kernel in zip(layers, kernels, strict=True):
        height, width, n = *rgba.shape[:2], kernel.shape[-1]
        shape = [scipy.fft.next_fast_len(size + n - 1, real=True) for size in (height, width)]
        light = scipy.fft.rfft2(np.moveaxis(rgba, -1, 0), shape, workers=1)
        psf = scipy.fft.rfft2(kernel, shape, workers=1)
        spread = np.concatenate([light[:3] * psf, light[3:] * psf])
        cut = np.s_[:, n // 2 : n // 2 + height, n // 2 : n // 2 + width]
        blurred.append(scipy.fft.irfft2(spread, shape, workers=1)[cut])
    return blurred


def over_in_each_colour(blurred):
    """Composite light and coverage (6, H, W), far to near."""
    out = np.zeros_like(blurred[0][:3])
    for layer in blurred:
        out *= 1 - layer[3:]
        out += layer[:3]
    return out


def test_colour_kernels_against_a_transform_a_layer():
    """21 planes of 23x23 kernels, each colour its own: the whole render beside FFTs that are given its layers."""
    planes, size = 21, 23
    margin, rng = size // 2, np.random.default_rng(1)
    scene = room(margin, planes=planes)
    kernels = (0.2 + rng.random((planes, 3, size, size))) ** 3
    kernels /= kernels.sum(axis=(2, 3), keepdims=True)
    coc = np.linspace(LENS.coc(scene.depth.max()), LENS.coc(scene.depth.min()), planes)
    bank = SampledBank("test", LENS, kernels, coc)
    numbers, layers, kernels, found = layers_of(scene, bank, planes)
    blurred = by_fft(layers, kernels)
    peer = []
    for k in range(3):
        groups = [(n, b[[k, k, k, 3 + k]].transpose(1, 2, 0)) for n, b in zip(numbers, blurred, strict=True)]
        peer.append(naive.composite(groups, found.gap, fill=True)[..., 0])
    cut = np.s_[margin:-margin, margin:-margin]
    ours = render(scene, LENS, bank, planes=planes)
    np.testing.assert_allclose(ours, np.dstack(peer)[cut], atol=1e-4)
    t = seconds(lambda: render(scene, LENS, bank, planes=planes), 9)
    t_fft = seconds(lambda: over_in_each_colour(by_fft(layers, kernels)), 3)
    print(f"\n{WIDTH}x{HEIGHT}, {len(numbers)} planes, 23x23 kernels for each colour, one core")
    print(f"  defocal, whole render                    {t * 1e3:8.1f} ms")
    print(f"  scipy FFT a layer, and over              {t_fft * 1e3:8.1f} ms = {t_fft / t:4.1f} x")


def test_against_the_number_of_planes_the_radius_and_noise():
    bank = PsfBank.disk(LENS)
    scene, noisy = room(11), room(11, noise=0.01)
    times = {planes: seconds(lambda p=planes: render(scene, LENS, bank, planes=p)) for planes in (8, 16, 32, 64, 128)}
    rough = seconds(lambda: render(noisy, LENS, bank, planes=64))
    print("\nplanes  " + "  ".join(f"{p}: {t * 1e3:.1f} ms" for p, t in times.items()))
    print(f"  64 planes over 8: {times[64] / times[8]:.2f} x")
    print(f"  1 % of depth noise: {rough * 1e3:.1f} ms, {rough / times[64]:.2f} x")
    for radius in (5, 10, 25):
        wide = ThinLens(focal_length=0.015, f_number=1.9 * 10 / radius, focus_distance=2.0, pixel_pitch=5.6e-6)
        t = seconds(lambda w=wide: render(scene, w, planes=64))
        print(f"  disks to {radius} px in radius: {t * 1e3:.1f} ms")
