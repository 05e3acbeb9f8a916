"""Pictures blurred again by their depth: the renderer's own, gradients, energy, focus, and what it refuses."""

import numpy as np
import pytest
import torch
from torch.autograd import gradcheck

from defocal import InputError
from defocal.synth import PsfBank, Scene, ThinLens, procedural_scene, render
from defocal.synth.psf_shapes import disk_kernel
from defocal.train.reblur import Reblur, disk_kernels

LENS = ThinLens(focal_length=0.05, f_number=2.0, focus_distance=1.6, pixel_pitch=200e-6)
DEPTH = (0.8, 4.0)
pytestmark = pytest.mark.usefixtures("one_thread")


def noise(*shape, dtype=torch.float32, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def psnr(first, second):
    return -10 * np.log10(np.mean((first - second) ** 2))


@pytest.mark.parametrize("diameter", [0.0, 0.7, 1.0, 1.3, 3.0, -4.7, 9.2])
def test_disks_are_those_of_the_renderer(diameter):
    kernel = disk_kernel(abs(diameter))
    found = disk_kernels(torch.tensor([diameter], dtype=torch.float64), 13)[0].numpy()
    half = len(kernel) // 2
    np.testing.assert_allclose(found[6 - half : 7 + half, 6 - half : 7 + half], kernel, atol=1e-12)
    assert found.sum() == pytest.approx(1, abs=1e-12)


def test_blur_is_that_of_the_lens_with_its_sign():
    reblur = Reblur(LENS, DEPTH, 6)
    focus = torch.tensor([0.9, 1.6, torch.inf], dtype=torch.float64)
    for at, found in zip(focus.tolist(), reblur.coc(focus), strict=True):
        expected = LENS.refocused(at).coc(1 / reblur.dioptres.numpy())
        np.testing.assert_allclose(found.numpy(), expected, rtol=1e-12, atol=1e-12)
    assert reblur.coc(focus)[2, -1] > 0  # nearer than the focus plane


def test_pixels_belong_to_the_two_planes_around_them():
    reblur = Reblur(LENS, DEPTH, 5)
    step = float(reblur.dioptres[1] - reblur.dioptres[0])
    dioptres = torch.tensor([[[0.25, 0.25 + 0.25 * step, 0.25 + 3.5 * step, 9.0, 0.0]]], dtype=torch.float64)
    shares = reblur.shares(dioptres)[0, :, 0].T
    expected = [[1, 0, 0, 0, 0], [0.75, 0.25, 0, 0, 0], [0, 0, 0, 0.5, 0.5], [0, 0, 0, 0, 1], [1, 0, 0, 0, 0]]
    np.testing.assert_allclose(shares.numpy(), expected, atol=1e-9)


@pytest.mark.parametrize("focus", [0.9, 1.6, 3.0])
def test_on_planes_it_is_the_renderers_model(focus):
    """Continued behind occluders too: equal everywhere, but for the steps of 0.001 px in which the bank counts CoCs."""
    planes = 8
    reblur = Reblur(LENS, DEPTH, planes)
    rng = np.random.default_rng(0)
    aif = rng.random((48, 64, 3), dtype=np.float32)
    number = rng.integers(0, planes, (6, 8)).repeat(8, 0).repeat(8, 1)
    dioptres = reblur.dioptres.numpy()[number]
    # The renderer's slices are bins; two pixels at their outer ends make the planes here their centres.
    step = (1 / DEPTH[0] - 1 / DEPTH[1]) / (planes - 1)
    binned = dioptres.copy()
    number[0, 0], number[-1, -1] = 0, planes - 1
    dioptres[0, 0], dioptres[-1, -1] = 1 / DEPTH[1], 1 / DEPTH[0]
    binned[0, 0], binned[-1, -1] = 1 / DEPTH[1] - step / 2, 1 / DEPTH[0] + step / 2
    lens = LENS.refocused(focus)
    scene = Scene(aif, (1 / binned).astype(np.float32))
    expected = render(scene, lens, PsfBank.disk(lens, coc_step=1e-3), planes=planes, model="hasinoff")
    picture = torch.from_numpy(aif).permute(2, 0, 1)[None]
    found = reblur(picture, torch.from_numpy(dioptres)[None].float(), torch.tensor([focus]))[0, 0]
    error = np.abs(found.permute(1, 2, 0).numpy() - expected)
    assert error.max() < 4e-4
    assert error.mean() < 5e-5


def test_scenes_look_as_the_renderer_makes_them():
    scene = procedural_scene(1, 0, (64, 96), depth=DEPTH, margin=0)
    scene = scene if isinstance(scene, Scene) else scene.flatten()
    sharp = torch.from_numpy(np.ascontiguousarray(scene.aif)).permute(2, 0, 1)[None]
    depth = torch.from_numpy(np.ascontiguousarray(scene.depth))[None]
    focus = torch.tensor([0.9, 1.6, 3.0])
    found = Reblur(LENS, DEPTH)(sharp, 1 / depth, focus)[0].permute(0, 2, 3, 1).numpy()
    for at, picture in zip(focus.tolist(), found, strict=True):
        expected = render(scene, LENS.refocused(at))
        assert psnr(picture, expected) > 28
        assert psnr(picture, expected) > psnr(scene.aif, expected) + 2


def test_gradients_reach_depth_and_picture():
    small = ThinLens(focal_length=0.05, f_number=2.0, focus_distance=1.6, pixel_pitch=400e-6)
    reblur = Reblur(small, DEPTH, 4)
    sharp = noise(1, 3, 7, 6, dtype=torch.float64).requires_grad_()
    dioptres = (noise(1, 7, 6, dtype=torch.float64, seed=1) * 0.9 + 0.3).requires_grad_()
    focus = torch.tensor([0.9, 2.0])
    assert gradcheck(lambda a, b: reblur(a, b, focus), (sharp, dioptres))


def test_uniform_pictures_stay_what_they_are_and_energy_is_kept():
    reblur = Reblur(LENS, DEPTH, 7)
    flat = torch.full((2, 3, 32, 40), 0.3)
    found = reblur(flat, noise(2, 32, 40) + 0.25, torch.tensor([[0.9], [3.0]]))
    torch.testing.assert_close(found, flat[:, None], rtol=0, atol=1e-5)
    point = torch.zeros(1, 3, 33, 33)
    point[..., 16, 16] = 1
    spread = reblur(point, torch.full((1, 33, 33), 0.83), torch.tensor([0.9, 1.3, 3.0]))
    torch.testing.assert_close(spread.sum((-2, -1)), torch.ones(1, 3, 3), rtol=1e-4, atol=0)


def test_what_is_in_focus_stays_sharp():
    reblur = Reblur(LENS, DEPTH, 8)
    sharp, at = noise(1, 3, 32, 32), float(reblur.dioptres[3])
    found = reblur(sharp, torch.full((1, 32, 32), at), torch.tensor([1 / at, 4.0]))[0]
    torch.testing.assert_close(found[0], sharp[0], rtol=0, atol=1e-5)
    assert found[1].var() < 0.5 * sharp.var()


def test_each_sample_has_its_own_focus_distances():
    reblur = Reblur(LENS, DEPTH, 6)
    sharp, dioptres = noise(2, 3, 24, 24), noise(2, 24, 24, seed=1) + 0.25
    focus = torch.tensor([[0.9, 2.0], [3.0, 1.2]])
    found = reblur(sharp, dioptres, focus)
    assert found.shape == (2, 2, 3, 24, 24)
    for b in range(2):
        torch.testing.assert_close(found[b], reblur(sharp[b : b + 1], dioptres[b : b + 1], focus[b])[0])


def test_it_works_under_autocast_and_on_odd_sizes():
    reblur = Reblur(LENS, DEPTH, 6)
    sharp, dioptres, focus = noise(1, 3, 23, 31), noise(1, 23, 31, seed=1) + 0.25, torch.tensor([0.9])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = reblur(sharp, dioptres, focus)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, reblur(sharp, dioptres, focus))


def test_what_cannot_be_is_refused():
    reblur = Reblur(LENS, DEPTH, 6)
    with pytest.raises(InputError, match="two planes"):
        Reblur(LENS, DEPTH, 1)
    with pytest.raises(InputError, match="nearest and a farthest"):
        Reblur(LENS, (4.0, 0.8))
    with pytest.raises(InputError, match=r"pictures \(B, 3, H, W\)"):
        reblur(noise(1, 3, 24, 24), noise(1, 24, 25), torch.tensor([1.0]))
    with pytest.raises(InputError, match="focus distances"):
        reblur(noise(2, 3, 24, 24), noise(2, 24, 24), torch.ones(3, 2))
    with pytest.raises(InputError, match="larger crops"):
        reblur(noise(1, 3, 8, 8), noise(1, 8, 8), torch.tensor([0.2]))
    with pytest.raises(InputError, match="within the focal length"):
        reblur(noise(1, 3, 24, 24), noise(1, 24, 24), torch.tensor([0.04]))
