"""Losses without depth: each term by hand and by gradcheck, the whole of them, and pictures put together of stacks."""

import math

import numpy as np
import pytest
import torch
from skimage.metrics import structural_similarity
from torch.autograd import gradcheck

from defocal import InputError
from defocal.synth.camera import ThinLens
from defocal.train import losses_udfd as udfd
from defocal.train.batches import linear_to_srgb, srgb_to_linear
from defocal.train.completion import complete, select, sharpness
from defocal.train.losses import LossContext
from defocal.train.objectives import build_loss
from defocal.train.targets import InverseTarget, Target

DEPTH = (0.8, 4.0)
LENS = ThinLens(focal_length=0.05, f_number=2.0, focus_distance=1.0, pixel_pitch=300e-6)
TARGET = Target(InverseTarget(kind="inverse-depth", span=(0.2, 1.3)), LENS, DEPTH)
pytestmark = pytest.mark.usefixtures("one_thread")


def noise(*shape, dtype=torch.float64, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def context(**changes):
    return LossContext(**{"target": TARGET, "lens": LENS, "depth": DEPTH, **changes})


def batch(encoded=True):
    """What a lens makes of noise of two depths, and where its parts are."""
    sharp = noise(2, 3, 40, 40, dtype=torch.float32)
    depth = torch.full((2, 40, 40), 1.2)
    depth[..., 20:] = 2.5
    focus = torch.tensor([[0.9, 1.5, 3.0]] * 2)
    again = udfd.Reblur(LENS, DEPTH, udfd.UdfdLossSettings().planes)
    light = srgb_to_linear(sharp) if encoded else sharp
    seen = again(light, 1 / depth, torch.cat([focus, torch.ones(2, 1)], 1))
    seen = linear_to_srgb(seen) if encoded else seen
    data = {"stack": seen[:, :3], "image": seen[:, 3], "aif": sharp, "focus": focus}
    return data, TARGET.encode(depth)


def test_likeness_by_hand():
    first, second = noise(1, 3, 13, 14), noise(1, 3, 13, 14, seed=1)
    found = udfd.likeness_loss(first, second, 0.85).item()
    same = [
        structural_similarity(
            a.numpy(), b.numpy(), gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=1, full=True
        )[1][5:-5, 5:-5]
        for a, b in zip(first[0], second[0], strict=True)
    ]
    difference = (first - second).abs().mean(1).numpy()
    expected = 0.85 / 2 * (1 - np.mean(same)) + 0.15 * np.mean((difference**2 + 1e-6) ** 0.45)
    assert found == pytest.approx(expected, rel=1e-6)
    assert udfd.likeness_loss(first, first).item() == pytest.approx(0.15 * 1e-6**0.45, rel=1e-6)


def test_blur_by_hand():
    """A checkerboard of amplitude a has a Laplacian of 8 a in codes, of either sign: its variance is 64 a^2."""
    y, x = torch.meshgrid(torch.arange(8), torch.arange(8), indexing="ij")
    board = (((y + x) % 2) * 2 - 1).double().expand(1, 3, 8, 8)
    picture = torch.cat([0.5 + 2 / 255 * board, 0.5 + 3 / 255 * board])
    torch.testing.assert_close(sharpness(picture), torch.tensor([256.0, 576.0], dtype=torch.float64))
    expected = -2.5 * (math.log(0.256) + math.log(0.576)) / 2
    assert udfd.blur_loss(picture).item() == pytest.approx(expected)
    assert udfd.blur_loss(noise(1, 3, 8, 8)).item() == 0
    assert udfd.blur_loss(torch.zeros(1, 3, 8, 8)).item() == pytest.approx(-2.5 * math.log(udfd.DULLEST))


def test_smoothness_by_hand():
    """Beta stands in the exponent: an edge of the picture excuses one of depth."""
    depth = torch.tensor([[[0.0, 1.0, 1.0], [0.0, 1.0, 3.0]]], dtype=torch.float64)
    picture = torch.zeros(1, 3, 2, 3, dtype=torch.float64)
    picture[..., 1:] = 0.4
    across = (2 * (math.exp(-2.5 * 0.4) * 1) ** 2 + 0 + 2**2) / 4
    down = 2**2 / 3
    assert udfd.smoothness_loss(depth, picture).item() == pytest.approx(across + down)


@pytest.mark.parametrize(
    "loss",
    [
        lambda x: udfd.likeness_loss(x, noise(1, 3, 12, 12, seed=1)),
        lambda x: udfd.blur_loss(x / 20),
        lambda x: udfd.smoothness_loss(x[:, 0], noise(1, 3, 12, 12, seed=1)),
        lambda x: select(noise(1, 3, 3, 12, 12, seed=1), torch.tensor([[0.9, 0.1, 0.4]]), x[:, 0]),
    ],
    ids=["likeness", "blur", "smoothness", "select"],
)
def test_gradients(loss):
    assert gradcheck(loss, (noise(1, 3, 12, 12).requires_grad_(),))


def test_depth_selects_from_the_stack_in_whatever_order_it_is():
    stack = torch.tensor([1.0, 2.0, 4.0]).view(1, 3, 1, 1, 1).expand(1, 3, 3, 1, 5)
    at = torch.tensor([[0.2, 0.4, 0.8]])
    depth = torch.tensor([[[0.0, 0.2, 0.3, 0.7, 0.9]]])
    expected = torch.tensor([1.0, 1.0, 1.5, 3.5, 4.0]).expand(1, 3, 1, 5)
    torch.testing.assert_close(select(stack, at, depth), expected)
    turn = [2, 0, 1]
    torch.testing.assert_close(select(stack[:, turn], at[:, turn], depth), expected)
    torch.testing.assert_close(select(stack[:, :1], at[:, :1], depth), torch.ones(1, 3, 1, 5))


def test_a_stack_is_completed_of_its_sharp_parts():
    data, _ = batch()
    sharp, blurred = data["aif"], data["aif"].mean((-2, -1), keepdim=True).expand(-1, -1, 40, 40)
    left = torch.arange(40) < 20
    stack = torch.stack([torch.where(left, sharp, blurred), torch.where(left, blurred, sharp)], 1)
    found = complete(stack)
    torch.testing.assert_close(found[..., :15], sharp[..., :15])
    torch.testing.assert_close(found[..., 25:], sharp[..., 25:])


@pytest.mark.parametrize("encoded", [True, False])
def test_true_depth_is_the_least_of_it(encoded):
    data, truth = batch(encoded)
    objective = udfd.UdfdLossSettings(blur_weight=0, smooth_weight=0).build(context(encoded=encoded))
    at_truth = objective({"depth": truth, "depth_defocus": truth}, data)
    assert set(at_truth) == {"depth/reconstruction", "depth_defocus/reconstruction", "depth/consistency", "total"}
    # What is left is the Charbonnier function of nothing.
    assert at_truth["total"].item() == pytest.approx(3 * 0.15 * 1e-6**0.45, rel=0.02)
    for wrong in (torch.full_like(truth, 0.3), truth + 0.1, truth - 0.1):
        found = objective({"depth": wrong, "depth_defocus": wrong}, data)
        assert found["depth/reconstruction"] > 5 * at_truth["depth/reconstruction"]
        assert found["depth_defocus/reconstruction"] > 5 * at_truth["depth_defocus/reconstruction"]


def test_depth_is_found_by_descent_on_pictures_alone():
    data, truth = batch()
    objective = build_loss(udfd.UdfdLossSettings(smooth_weight=0), context())
    start = torch.full_like(truth, 0.4)
    raw = torch.logit(start).requires_grad_()
    optimiser = torch.optim.Adam([raw], 0.1)
    before = objective({"depth": start}, data)["total"].item()
    for _ in range(40):
        optimiser.zero_grad()
        total = objective({"depth": torch.sigmoid(raw)}, data)["total"]
        total.backward()
        optimiser.step()
    assert total.item() < 0.5 * before
    inner = (..., slice(8, -8), slice(8, -8))
    error = (torch.sigmoid(raw.detach()) - truth)[inner].abs().mean()
    assert error < 0.4 * (start - truth)[inner].abs().mean()


def test_terms_of_no_weight_are_left_out():
    data, truth = batch()
    full = udfd.UdfdLossSettings().build(context())({"depth": truth, "depth_defocus": truth}, data)
    assert {name.split("/")[1] for name in full if name != "total"} == {
        "reconstruction", "consistency", "blur", "smooth",
    }  # fmt: skip
    weights = {"reconstruction": 1.0, "consistency": 1.0, "blur": 0.2, "smooth": 0.2}
    total = sum(weights[name.split("/")[1]] * value for name, value in full.items() if name != "total")
    torch.testing.assert_close(full["total"], total)
    without = udfd.UdfdLossSettings(smooth_weight=0).build(context())({"depth": truth}, data)
    assert set(without) == {"depth/reconstruction", "depth/blur", "total"}


def test_what_cannot_be_is_refused():
    data, truth = batch()
    with pytest.raises(InputError, match="cameras of their own"):
        udfd.UdfdLossSettings().build(context(lens=None))
    none = {f"{name}_weight": 0 for name in ("reconstruction", "consistency", "blur", "smooth")}
    with pytest.raises(InputError, match="no term"):
        udfd.UdfdLossSettings(**none).build(context())
    objective = udfd.UdfdLossSettings().build(context())
    with pytest.raises(InputError, match="the model returns aif"):
        objective({"aif": data["aif"]}, data)
    with pytest.raises(InputError, match="add 'capture'"):
        objective({"depth_defocus": truth}, {name: data[name] for name in data if name != "image"})
    with pytest.raises(InputError, match="SSIM needs"):
        udfd.UdfdLossSettings(border=15).build(context())({"depth": truth}, data)
    assert udfd.UdfdLossSettings().needs == ("stack", "focus", "aif")
    assert udfd.UdfdLossSettings(sharp="completed").needs == ("stack", "focus")


def test_supervision_adds_up_both_networks():
    _, truth = batch()
    objective = build_loss(udfd.UdfdSupervisedSettings(), context())
    found = objective({"depth": truth + 0.1, "depth_defocus": truth - 0.3}, {"depth": truth}, None)
    assert found["total"].item() == pytest.approx(0.4, rel=1e-4)


@pytest.mark.slow
def test_both_networks_learn_depth_from_pictures_alone():
    """Losses of the paper as they are, on rendered stacks: they fall, and the error of depth with them."""
    from defocal.synth import procedural_scene, render, render_stack
    from defocal.train.models import build
    from defocal.train.models.defocusnet import DefocusNetShape
    from defocal.train.models.focusnet import FocusNetShape
    from defocal.train.models.udfd import UdfdSettings

    focus = (0.9, 1.6, 3.0)
    made = []
    for sample in range(4):
        scene = procedural_scene(1, sample, (64, 64), depth=DEPTH, margin=16)
        stack = render_stack(scene, LENS, focus, breathing=False, seed=(1, sample))
        flat = scene.flatten()
        inner = (slice(flat.margin, flat.margin + 64),) * 2
        pictures = [flat.aif[inner], render(scene, LENS), *stack.images]
        made.append((np.stack(pictures), flat.depth[inner]))
    pictures = linear_to_srgb(torch.from_numpy(np.stack([one for one, _ in made])).movedim(-1, -3))
    truth = TARGET.encode(torch.from_numpy(np.stack([depth for _, depth in made])))
    data = {"aif": pictures[:, 0], "image": pictures[:, 1], "stack": pictures[:, 2:]}
    data["focus"] = torch.tensor([focus] * 4)
    data["sharp_at"] = TARGET.encode(data["focus"])
    shape = FocusNetShape(width=1 / 16, gathered=8, slices=3, norm=True)
    small = DefocusNetShape(blocks=(2, 2), growth=8, width=12, decoder=(1, 1, 1))
    model = build(UdfdSettings(focus=shape, defocus=small), seed=2)
    objective = udfd.UdfdLossSettings(planes=8).build(context())
    optimiser = torch.optim.Adam(model.parameters(), 2e-3)
    totals, errors = [], []
    for _ in range(100):
        outputs = model(data)
        total = objective(outputs, data)["total"]
        optimiser.zero_grad()
        total.backward()
        optimiser.step()
        totals.append(total.item())
        errors.append([(outputs[name].detach() - truth).square().mean().sqrt().item() for name in outputs])
    assert totals[-1] < 0.6 * totals[0]
    assert max(errors[-1]) < truth.std().item()
    for first, last in zip(errors[0], errors[-1], strict=True):
        assert last < 0.75 * first
