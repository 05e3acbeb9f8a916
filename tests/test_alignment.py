"""Alignment of breathing stacks: geometry against the renderer's, and a network that finds it."""

import numpy as np
import pytest
import torch
from stacking import stack_store, toy_config
from training import objective

from defocal import InputError
from defocal.synth import PHONES, ThinLens, procedural_scene, render_stack
from defocal.synth.breathing import seen_from
from defocal.train import load_model, train
from defocal.train.config import Config
from defocal.train.losses_stack import DffLossSettings
from defocal.train.models import build
from defocal.train.models.alignment import (
    AlignmentNet,
    aligned,
    displacement,
    positions,
    reference_slice,
    thin_lens_alignment,
    true_alignment,
)
from defocal.train.models.dff import DffSettings

pytestmark = pytest.mark.usefixtures("one_thread")

PHONE = PHONES["pixel4xl"]
SIZE = (96, 128)
LENS = ThinLens(
    focal_length=PHONE.focal_length, f_number=PHONE.f_number, focus_distance=1.0, pixel_pitch=1.4e-6 * 4032 / SIZE[1]
)
FOCUS = [0.9, 0.16, 0.3, 0.1]
"""Metres; the first slice, focused farthest, is the reference."""


@pytest.fixture(scope="module")
def swept():
    """A scene's stack of a breathing phone, of a thin lens, and without breathing: pictures and camera matrices."""
    scene = procedural_scene(1, 0, SIZE, depth=(0.1, 1.1), margin=24)
    found = {}
    for name, breathing in (("phone", PHONE.breathing), ("thin", True), ("none", False)):
        stack = render_stack(scene, LENS, FOCUS, breathing=breathing, seed=(1, 0))
        found[name] = torch.from_numpy(stack.images).movedim(-1, 1)[None], torch.from_numpy(stack.intrinsics)[None]
    return found


def first(slices=4, batch=1):
    return (torch.arange(slices) == 0).expand(batch, slices)


def inner(picture, cut=12):
    """What every slice shows: those that are focused near see less."""
    return picture[..., cut:-cut, cut:-cut]


def psnr(found, true):
    return -10 * torch.log10(((found - true) ** 2).mean((-3, -2, -1)) / true.max() ** 2)


# --- geometry -------------------------------------------------------------------------------------------------------


def test_the_reference_is_found_by_its_focus_or_its_place():
    focus = torch.tensor([[0.5, 2.0, 0.1], [3.0, 0.2, 1.0]])
    places = {
        rule: reference_slice(focus, rule).int().argmax(1).tolist() for rule in ("farthest", "nearest", "first", "last")
    }
    assert places == {"farthest": [1, 0], "nearest": [2, 1], "first": [0, 0], "last": [2, 2]}
    assert reference_slice(torch.ones(2, 3), "farthest").sum(1).tolist() == [1, 1], "one alone, of equal distances"


@pytest.mark.parametrize("reference", [0, 2])
def test_true_alignment_looks_where_the_renderer_does(swept, reference):
    matrices = swept["phone"][1]
    chosen = (torch.arange(4) == reference)[None]
    at = positions(true_alignment(matrices, chosen, SIZE), SIZE)
    points = np.stack(np.meshgrid(np.arange(SIZE[1]), np.arange(SIZE[0])), -1)
    for k, matrix in enumerate(matrices[0].double().numpy()):
        expected = seen_from(matrices[0, reference].double().numpy(), matrix, points)
        np.testing.assert_allclose(at[0, k], expected, atol=1e-3)
    assert torch.equal(true_alignment(matrices, chosen, SIZE)[0, reference], torch.tensor([1.0, 0, 0]))


def test_positions_of_coarser_grids_are_some_of_the_finest():
    alignment = torch.tensor([[[1.1, 0.5, -2.0]]])
    torch.testing.assert_close(positions(alignment, SIZE, 4), positions(alignment, SIZE)[:, :, ::4, ::4])


def test_a_thin_lens_is_known_from_its_focus(swept):
    focus, focal_length = torch.tensor([FOCUS]), torch.tensor([LENS.focal_length])
    found = thin_lens_alignment(focus, focal_length, first())
    true = true_alignment(swept["thin"][1], first(), SIZE)
    torch.testing.assert_close(found, true, atol=1e-4, rtol=0)
    assert found[0, 3, 0] > 1.03, "focused nearer, the picture is larger"
    far = thin_lens_alignment(torch.tensor([[torch.inf, 1.0]]), focal_length, first(2))
    assert far[0, 1, 0].item() == pytest.approx(1 / (1 - LENS.focal_length / 1.0))


@pytest.mark.parametrize("name", ["phone", "thin"])
def test_aligned_slices_are_those_of_a_stack_that_does_not_breathe(swept, name):
    pictures, matrices = swept[name]
    found = aligned(pictures, true_alignment(matrices, first(), SIZE))
    still = swept["none"][0]
    before, after = psnr(inner(pictures), inner(still))[0], psnr(inner(found), inner(still))[0]
    torch.testing.assert_close(found[:, 0], pictures[:, 0], atol=1e-4, rtol=0)
    assert (after[1:] > 34).all(), after
    assert (after[1:] > before[1:] + 5).all(), (before, after)


def test_cropping_keeps_the_alignment(swept):
    """A crop's principal point is not its middle, and the alignment knows."""
    pictures, matrices = swept["phone"]
    whole = aligned(pictures, true_alignment(matrices, first(), SIZE))
    top, left, size = 20, 40, (64, 80)
    shifted = matrices.clone()
    shifted[..., :2, 2] -= torch.tensor([float(left), float(top)])
    part = pictures[..., top : top + size[0], left : left + size[1]]
    found = aligned(part, true_alignment(shifted, first(), size))
    expected = whole[..., top : top + size[0], left : left + size[1]]
    torch.testing.assert_close(inner(found), inner(expected), atol=1e-4, rtol=0)


def test_gradients_of_aligning():
    drawn = torch.Generator().manual_seed(0)
    stack = torch.rand(1, 2, 1, 5, 6, dtype=torch.float64, generator=drawn).requires_grad_()
    alignment = torch.tensor([[[1.0, 0.0, 0.0], [1.07, 0.31, -0.43]]], dtype=torch.float64).requires_grad_()
    at = positions(alignment, (5, 6))
    assert ((at[:, 1] % 1 - 0.5).abs() < 0.499).all(), "not where two pieces of the interpolation meet"
    moving = alignment.detach()[:, 1:].requires_grad_()
    assert torch.autograd.gradcheck(lambda one, two: aligned(one[:, 1:], two), (stack, moving))


def test_displacement_by_hand():
    """A scale that is 0.1 too large moves pixels that are 1 from the middle by 0.1; shifts move all alike."""
    true, chosen = torch.tensor([[[1.0, 0, 0], [1.2, 1.0, 2.0]]]), first(2)
    wrong = true + torch.tensor([[[9.0, 9, 9], [0, 3.0, 4.0]]])
    assert displacement(wrong, true, chosen, (4, 5)).item() == pytest.approx(5)
    scaled = true + torch.tensor([[[0, 0, 0], [0.1, 0, 0]]])
    assert displacement(scaled, true, chosen, (1, 3)).item() == pytest.approx((0.1 + 0 + 0.1) / 3, rel=1e-4)
    assert displacement(true, true, chosen, (4, 5)).item() == 0
    assert displacement(true[:, :1], true[:, :1], first(1), (4, 5)).item() == 0


# --- networks -------------------------------------------------------------------------------------------------------


def batch_of(swept, name="phone"):
    pictures, matrices = swept[name]
    focus = torch.tensor([FOCUS])
    lens = torch.tensor([[LENS.focal_length, LENS.f_number, 1.0, LENS.pixel_pitch]])
    return {"stack": pictures.clamp(0, 1), "focus": focus, "sharp_at": focus, "lens": lens, "intrinsics": matrices}


def test_parameters_are_those_of_the_layer_list():
    """By hand, of width 8: a block from a to b channels has 9 a b + 9 b^2 + 4 b and a b without a bias.

    Blocks 3 to 8 to 8 (848 + 1,248), 8 to 16 to 16 (3,648 + 4,928), 16 to 32 to 32 (14,464 + 19,584). An estimate from
    2 c + 2 channels, with w = 2 c: 9 (w + 2) w + 18 w^2 + 6 w, and 27 w + 3: 7,635 + 29,187 + 114,051 of c = 8, 16, 32.
    """
    blocks = sum(
        9 * a * b + 9 * b * b + 4 * b + a * b for a, b in ((3, 8), (8, 8), (8, 16), (16, 16), (16, 32), (32, 32))
    )
    estimates = sum(9 * (w + 2) * w + 18 * w * w + 6 * w + 27 * w + 3 for w in (16, 32, 64))
    count = sum(parameter.numel() for parameter in AlignmentNet(8).parameters())
    assert count == blocks + estimates == 195_593


@pytest.mark.parametrize("slices", [1, 3, 5, 10])
def test_any_number_of_slices_can_be_aligned(slices):
    model = build(DffSettings(width=1, alignment="learned", alignment_width=2), seed=1)
    drawn = torch.Generator().manual_seed(0)
    focus = 0.2 + torch.rand(2, slices, generator=drawn)
    batch = {"stack": torch.rand(2, slices, 3, 32, 64, generator=drawn), "focus": focus, "sharp_at": focus,
             "lens": torch.tensor([[0.005, 2.0, 1.0, 1e-5]] * 2)}  # fmt: skip
    found = model(batch)
    assert found["alignment"].shape == (2, slices, 3)
    assert found["depth"].shape == (2, 32, 64)
    where = found["alignment_reference"] == 1
    assert where.sum(1).tolist() == [1, 1]
    assert torch.equal(focus[where], focus.max(1).values)
    assert found["alignment"][where].tolist() == [[1, 0, 0]] * 2


def test_an_untrained_network_gives_the_thin_lens(swept):
    model = build(DffSettings(width=1, alignment="learned", alignment_width=2), seed=1).eval()
    batch = batch_of(swept, "thin")
    found = model(batch)["alignment"]
    torch.testing.assert_close(found, thin_lens_alignment(batch["focus"], batch["lens"][:, 0], first()))


@pytest.mark.parametrize("alignment", ["intrinsics", "learned"])
def test_slices_in_any_order_are_aligned_alike(swept, alignment):
    settings = DffSettings(width=1, alignment=alignment, alignment_width=2, heads=("depth", "aif"))
    model = build(settings, seed=1).eval()
    if model.align is not None:
        for estimate in model.align.estimates:
            torch.nn.init.normal_(estimate[-1].weight, 0, 0.05)
    batch, order = batch_of(swept), torch.tensor([2, 0, 3, 1])
    by_slice = ("stack", "focus", "sharp_at", "intrinsics")
    moved = {name: value[:, order] if name in by_slice else value for name, value in batch.items()}
    found, other = model(batch), model(moved)
    for name in ("depth", "aif", "depth_1", "aif_2"):
        assert torch.equal(found[name], other[name]), name
    assert torch.equal(found["alignment"][:, order], other["alignment"])
    assert not torch.equal(found["alignment"][:, 1], other["alignment"][:, 1])


def test_with_true_camera_matrices_a_breathing_stack_is_seen_as_a_still_one(swept):
    """The same network, on the stack that breathes, on the still one, and on the one that breathes unaligned."""
    model = build(DffSettings(width=2, alignment="intrinsics", heads=("aif",)), seed=1).eval()
    plain = build(DffSettings(width=2, heads=("aif",)), seed=1).eval()
    assert model.inputs == ("stack", "sharp_at", "focus", "intrinsics")
    moving, still = batch_of(swept), batch_of(swept, "none")
    expected = inner(plain(still)["aif"])
    with_it, without = (psnr(inner(one(moving)["aif"]), expected).item() for one in (model, plain))
    assert with_it > 38
    assert with_it > without + 8


def test_predictions_of_padded_stacks_are_aligned_alike(swept):
    model = build(DffSettings(width=1, alignment="intrinsics", heads=("aif",)), seed=1).eval()
    batch = batch_of(swept)
    batch["stack"] = batch["stack"][..., 10:86, 9:119]
    batch["intrinsics"] = batch["intrinsics"].clone()
    batch["intrinsics"][..., :2, 2] -= torch.tensor([9.0, 10.0])
    seen = []
    model.extract.register_forward_hook(lambda _, given, __: seen.append(given[0]))
    model.predict(batch)
    whole = aligned(batch_of(swept)["stack"], true_alignment(batch_of(swept)["intrinsics"], first(), SIZE))
    # 76 x 110 in 96 x 128: 10 pixels above and 9 on the left again.
    found = (seen[0].transpose(1, 2)[:, -1] + 1) / 2
    torch.testing.assert_close(inner(found, 24), inner(whole[:, 0], 24), atol=1e-4, rtol=0)
    torch.testing.assert_close(
        inner((seen[0].transpose(1, 2)[:, 0] + 1) / 2, 24), inner(whole[:, 3], 24), atol=1e-4, rtol=0
    )


@pytest.mark.slow
def test_the_network_finds_the_alignment_of_a_few_stacks(swept):
    """Trained by the displacement alone, on shifts that no lens says."""
    net = build(DffSettings(width=1, alignment="learned", alignment_width=4), seed=3).align
    still = batch_of(swept, "none")["stack"]
    optimiser = torch.optim.Adam(net.parameters(), 5e-3)
    drawn = torch.Generator().manual_seed(0)
    history = []
    for _ in range(200):
        wrong = torch.randn(1, 4, 3, generator=drawn) * torch.tensor([0.004, 2.0, 2.0])
        wrong[:, 0] = 0
        # A shift of the picture by s is undone by looking s farther on.
        moved = aligned(still, torch.tensor([1.0, 0, 0]) - wrong)
        true = torch.tensor([1.0, 0, 0]) + wrong
        start = thin_lens_alignment(torch.ones(1, 4), torch.tensor([0.005]), first())
        loss = displacement(net(2 * moved - 1, start, first()), true, first(), SIZE)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        history.append((loss.item(), displacement(start, true, first(), SIZE).item()))
    found, untrained = torch.tensor(history[-10:]).mean(0).tolist()
    assert found < 0.6 * untrained


def test_the_loss_reads_what_the_model_says(swept):
    model = build(DffSettings(width=1, alignment="learned", alignment_width=2), seed=1)
    batch = batch_of(swept)
    depth = torch.full((1, *SIZE), 0.3)
    minimised = objective(DffLossSettings(alignment_weight=0.5))
    found = minimised(model(batch), {**batch, "depth": depth}, depth > 0)
    true = true_alignment(batch["intrinsics"], first(), SIZE)
    start = thin_lens_alignment(batch["focus"], batch["lens"][:, 0], first())
    assert found["alignment/displacement"].item() == pytest.approx(displacement(start, true, first(), SIZE).item())
    assert 0.05 < found["alignment/displacement"].item() < 3
    found["total"].backward()
    assert model.align.estimates[0][-1].bias.grad.abs().max() > 0


def test_another_reference_than_the_datas_is_refused(tmp_path):
    store = stack_store(tmp_path / "nearest", stack={"focus": ["0.9 m", "3 m", "1.6 m"], "reference": "nearest"})
    changes = {
        "data": {"crop": [32, 32], "extra": ["lens", "intrinsics"], "targets": ["depth"]},
        "loss": {"kind": "dff", "alignment_weight": 0.1},
    }
    model = {"kind": "dff", "width": 1, "alignment_width": 2}
    with pytest.raises(InputError, match="of their nearest slice, and the model aligns to the farthest"):
        train(Config.parse(toy_config(**changes, model={**model, "alignment": "learned"})), [store], tmp_path / "run")
    settled = {**model, "alignment": "learned", "reference": "nearest"}
    outcome = train(Config.parse(toy_config(**changes, model=settled)), [store], tmp_path / "run")
    assert outcome.complete
    assert "alignment/displacement" in outcome.numbers
    assert load_model(tmp_path / "run", device="cpu").model.reference == "nearest"


def test_weights_of_three_dimensions_bear_channels_last(tmp_path):
    store = stack_store(tmp_path / "store")
    run = {"steps": 1, "channels_last": True, "device": "cpu"}
    config = toy_config(data={"crop": [32, 32]}, model={"kind": "dff", "width": 1}, loss={"kind": "dff"}, run=run)
    assert train(Config.parse(config), [store], tmp_path / "run").complete
