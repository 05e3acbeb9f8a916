"""DfF in the Wild: layers, counts, numbers and order of slices, and learning with and without depth."""

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from pydantic import ValidationError
from torch import nn
from training import objective

from defocal import InputError
from defocal.train.losses_stack import DffLossSettings, DffUnsupervisedSettings
from defocal.train.models import MODELS, build, restore
from defocal.train.models.dff import Dff, DffSettings
from defocal.train.models.hourglass import Aggregation, Hourglass
from defocal.train.models.volumes import Conv3d, blend, convolution, expectation, volume

pytestmark = pytest.mark.usefixtures("one_thread")

TINY = DffSettings(width=1, heads=("depth", "aif"))


def stacks(slices=4, batch=1, size=(32, 32), seed=0):
    drawn = torch.Generator().manual_seed(seed)
    distances = 0.1 + 0.1 * torch.arange(slices) + 0.05 * torch.rand(batch, slices, generator=drawn)
    return {"stack": torch.rand(batch, slices, 3, *size, generator=drawn), "sharp_at": distances}


def parameters(module):
    return sum(parameter.numel() for parameter in module.parameters())


# --- layers ---------------------------------------------------------------------------------------------------------


def test_parameters_are_those_of_the_layer_list():
    """By hand, at C = 8; a convolution of k taps from a to b channels with its normalisation has k a b + 2 b.

    - Focus measure: 3 to 8 with 81 taps, 1,960. SRD of c channels: 2 (9 c^2 + 2 c) within slices and 3 c^2 + c^2
      between them, neither with a bias: 22 c^2 + 4 c, so 1,440, 5,696 and 22,656 at 8, 16 and 32.
      EFD from c to 2 c: 2 (27 c 2c + 4 c) = 108 c^2 + 8 c, so 6,976 and 27,776. Together 66,504.
    - First hourglass at 32: residual pairs of 32 to 32 (27,712 each, four), and twice 32 to 64 and three times 64 to 64
      (55,424 + 3 x 110,720): 886,016. Strided 32 to 64 and 64 to 128, without normalisation: 55,296 and 221,184.
      Merges 128 to 64, 64 to 64, 192 to 128, 128 to 128: 221,312 + 110,720 + 663,808 + 442,624. Back up 221,312 and
      55,360; skips of one tap 4,224 and 1,088. Together 2,882,944.
    - The coarsest score: 27,712 + 27 x 32. Entry 32 to 64 to 64: 55,424 + 110,720. Three enlargements 64 to 32 to 16
      to 8: 55,360 + 13,856 + 3,472. Together 267,408.
    - An hourglass of c channels: 54 + 54 + 108 + 2 x 108 + 108 + 54 = 594 c^2, and 24 c: 609,024 + 152,448 + 38,208.
    - Scores of one tap: 32 + 16 + 8.

    The public code makes four convolutions more, of one tap, which it never uses: 22,240 parameters.
    """
    by_hand = 66_504 + 2_882_944 + 267_408 + 799_680 + 56
    with torch.device("meta"):
        assert parameters(MODELS["dff"].construct(DffSettings())) == by_hand == 4_016_592
        assert parameters(MODELS["dff"].construct(DffSettings(heads=("depth", "aif")))) == by_hand
        assert parameters(Aggregation(32)) == 2_882_944
        assert parameters(Hourglass(8)) == 38_208
        assert parameters(MODELS["dff"].construct(DffSettings(width=4))) == 1_006_024


def test_features_have_the_sizes_and_channels_of_the_layer_list():
    with torch.device("meta"):
        model = MODELS["dff"].construct(DffSettings())
        full = model.extract(torch.empty(2, 3, 10, 64, 96))
        half = model.down1(full)
        quarter = model.down2(half)
        coarse = model.aggregate(quarter)
        pre, post = Hourglass(16)(torch.empty(2, 32, 10, 32, 48), torch.empty(2, 32, 10, 16, 24), None)
    shapes = [tuple(one.shape[1:]) for one in (full, half, quarter, coarse, pre, post)]
    assert shapes == [
        (8, 10, 64, 96), (16, 10, 32, 48), (32, 10, 16, 24), (32, 10, 8, 12), (16, 10, 32, 48), (16, 10, 32, 48)
    ]  # fmt: skip


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("kernel", [(1, 1, 1), (3, 1, 1), (5, 1, 1), (1, 3, 3), (3, 3, 3)])
def test_quick_convolutions_are_torchs_own(kernel, bias):
    torch.manual_seed(3)
    padding = tuple(size // 2 for size in kernel)
    quick, slow = (kind(5, 6, kernel, padding=padding, bias=bias).double() for kind in (Conv3d, nn.Conv3d))
    slow.load_state_dict(quick.state_dict())
    x = torch.rand(2, 4, 5, 6, 7, dtype=torch.float64)
    found, expected = quick(volume(x)), slow(x.transpose(1, 2))
    torch.testing.assert_close(found, expected)
    mixed = torch.rand_like(expected)
    (found * mixed).sum().backward()
    (expected * mixed).sum().backward()
    for mine, theirs in zip(quick.parameters(), slow.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, theirs.grad)
    torch.testing.assert_close(quick(x.transpose(1, 2)), expected)


def test_the_first_convolution_sees_17_pixels_and_one_slice():
    layer = convolution(1, 1, (1, 9, 9), dilation=2)[0]
    assert layer.weight.shape == (1, 1, 1, 9, 9)
    layer.weight.data.fill_(1)
    spot = torch.zeros(1, 1, 3, 33, 33)
    spot[0, 0, 1, 16, 16] = 1
    seen = layer(spot).detach()[0, 0]
    assert seen[[0, 2]].abs().max() == 0
    assert seen[1].nonzero().min(0).values.tolist() == [8, 8]
    assert seen[1].nonzero().max(0).values.tolist() == [24, 24]


def test_scores_turn_into_depth_and_sharp_pictures():
    scores = torch.tensor([0.0, 2.0, -1.0]).view(1, 3, 1, 1)
    weights = [F.softplus(one).item() + 1e-6 for one in scores.flatten()]
    mean = sum(w * d for w, d in zip(weights, (1.0, 2.0, 4.0), strict=True)) / sum(weights)
    assert expectation(scores, torch.tensor([[1.0, 2.0, 4.0]])).item() == pytest.approx(mean)
    even = expectation(torch.full((1, 2, 1, 1), -1e4), torch.tensor([[1.0, 3.0]]))
    assert even.item() == pytest.approx(2.0), "scores that underflow count alike"
    shares = torch.tensor([0.0, 2.0, -1.0]).softmax(0)
    picture = blend(scores, torch.tensor([0.1, 0.5, 0.9]).view(1, 3, 1, 1, 1).expand(1, 3, 3, 1, 1))
    assert picture.flatten().tolist() == pytest.approx([(shares @ torch.tensor([0.1, 0.5, 0.9])).item()] * 3)


# --- stacks ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("slices", [1, 3, 5, 10])
def test_any_number_of_slices_will_do(slices):
    model = build(TINY, seed=1)
    batch = stacks(slices, size=(64, 32))
    found = model(batch)
    assert {name: tuple(value.shape) for name, value in found.items()} == {
        **{f"depth{end}": (1, 64, 32) for end in ("_1", "_2", "_3", "")},
        **{f"aif{end}": (1, 3, 64, 32) for end in ("_1", "_2", "_3", "")},
    }
    assert (found["depth"] >= batch["sharp_at"].min() - 1e-6).all()
    assert (found["depth"] <= batch["sharp_at"].max() + 1e-6).all()
    assert all(value.dtype == torch.float32 for value in found.values())
    if slices == 1:
        torch.testing.assert_close(found["aif"], batch["stack"][:, 0])


def test_each_sample_has_its_own_focus_distances():
    model = build(TINY, seed=1).eval()
    batch = stacks(4, batch=2, seed=3)
    alone = [model({name: value[place : place + 1] for name, value in batch.items()})["depth"] for place in (0, 1)]
    torch.testing.assert_close(model(batch)["depth"], torch.cat(alone), atol=1e-5, rtol=1e-5)


def test_pictures_of_any_size_are_padded():
    found = build(TINY, seed=1).eval().predict(stacks(2, size=(35, 50)))
    assert {name: tuple(value.shape) for name, value in found.items()} == {"depth": (1, 35, 50), "aif": (1, 3, 35, 50)}
    with pytest.raises(InputError, match="multiples of 32, not 40 x 32"):
        build(TINY)(stacks(2, size=(40, 32)))


def test_a_head_can_be_left_out_of_a_trained_model():
    model = build(TINY, seed=1).eval()
    batch = stacks(3)
    whole = model.predict(batch)
    for head in ("depth", "aif"):
        found = restore(TINY, model.state_dict(), [head]).predict(batch)
        assert list(found) == [head]
        assert torch.equal(found[head], whole[head])


def test_settings_are_checked():
    with pytest.raises(ValidationError, match="names a head twice"):
        DffSettings(heads=("depth", "depth"))
    with pytest.raises(ValidationError, match="farthest"):
        DffSettings(reference="middle")


def test_half_precision_multiplies_and_full_precision_comes_out():
    model, batch = build(TINY, seed=1).eval(), stacks(3)
    with torch.autocast("cpu", torch.bfloat16):
        found = model(batch)
    assert found["depth"].dtype == found["aif"].dtype == torch.float32
    torch.testing.assert_close(found["depth"], model(batch)["depth"], atol=0.05, rtol=0)


# --- learning -------------------------------------------------------------------------------------------------------


def focal_sweep(batch, slices=4, size=32, seed=0):
    """Stacks of noise whose blur grows with the distance from the focus; depth is a ramp or two half planes."""
    drawn = torch.Generator().manual_seed(seed)
    aif = torch.rand(batch, 3, size, size, generator=drawn)
    distances = torch.linspace(0.2, 0.8, slices).expand(batch, slices)
    near, far = (0.2 + 0.6 * torch.rand(batch, 1, 1, generator=drawn) for _ in range(2))
    place = torch.rand(batch, 1, 1, generator=drawn)
    depth = torch.where(torch.arange(size) / size < place, near, far).expand(batch, size, size)
    blurred = torch.stack([aif, *(F.avg_pool2d(aif, 2 * k + 1, 1, k, count_include_pad=False) for k in (1, 2, 3, 4))])
    strength = ((depth[:, None] - distances[..., None, None]).abs() * 10).clamp(max=3.999)
    low, share = strength.floor().long(), (strength - strength.floor())[:, :, None]
    rows = torch.arange(batch)[:, None, None, None]
    y, x = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    at = [blurred.movedim(2, -1)[level, rows, y, x].movedim(-1, 2) for level in (low, low + 1)]
    stack = at[0] * (1 - share) + at[1] * share
    return {"stack": stack, "sharp_at": distances.contiguous(), "aif": aif, "depth": depth.contiguous()}


def trained(loss, steps, settings):
    """Train on a few stacks; return the loss and the depth error of the first and the last steps."""
    model = build(settings, seed=2)
    minimised = objective(loss)
    optimiser = torch.optim.Adam(model.parameters(), 5e-3, betas=(0.9, 0.99))
    history = []
    for step in range(steps):
        batch = focal_sweep(4, seed=step % 8)
        found = model(batch)
        # Without depth: what is not given cannot be learned from.
        told = {name: value for name, value in batch.items() if name != "depth" or "unsupervised" not in loss.kind}
        total = minimised(found, told, None)["total"]
        optimiser.zero_grad()
        total.backward()
        optimiser.step()
        history.append((total.item(), (found["depth"] - batch["depth"]).abs().mean().item()))
    first, last = (torch.tensor(part).mean(0).tolist() for part in (history[:8], history[-8:]))
    return first, last


def test_it_learns_depth():
    first, last = trained(DffLossSettings(), 24, DffSettings(width=2))
    assert last[0] < 0.6 * first[0]
    assert last[1] < 0.8 * first[1]


@pytest.mark.slow
def test_without_depth_its_error_falls_with_the_loss():
    first, last = trained(DffUnsupervisedSettings(), 160, DffSettings(width=2, heads=("depth", "aif")))
    assert last[0] < 0.7 * first[0]
    assert last[1] < 0.7 * first[1]


def test_it_is_a_model_of_the_trainer():
    assert isinstance(build(DffSettings(width=1)), Dff)
    assert build(DffSettings(width=1)).inputs == ("stack", "sharp_at")
    assert build(DffSettings(width=1, alignment="learned")).inputs == ("stack", "sharp_at", "focus", "lens")
