"""Training losses: hand-computed values, naive twins, gradients, and masks that let nothing through."""

import math
from functools import partial

import naive_losses as naive
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError
from training import objective

from defocal import InputError
from defocal.train.loss_functions import (
    charbonnier,
    gradient_l1,
    gradient_rmse,
    l1,
    rmse,
    scale_invariant,
    structural_dissimilarity,
)
from defocal.train.losses import HdedLossSettings, L1GradientSettings, L1Settings, RpsfSettings, SilogSettings
from defocal.train.objectives import LossSettings
from defocal.train.ssim import ssim_map

silog = partial(scale_invariant, balance=0.85, per_image=False, root=True)
PLAIN = {
    "l1": l1,
    "charbonnier": charbonnier,
    "rmse": rmse,
    "gradient_l1": gradient_l1,
    "gradient_rmse": gradient_rmse,
    "scale_invariant": scale_invariant,
    "silog": silog,
}
ALL = {**PLAIN, "ssim": structural_dissimilarity}
every_loss = pytest.mark.parametrize("loss", ALL.values(), ids=ALL)


def drawn(seed, shape=(2, 13, 14), share=0.8):
    """Two images of positive numbers and a mask."""
    rng = np.random.default_rng(seed)
    p, t = rng.uniform(0.3, 4, shape), rng.uniform(0.3, 4, shape)
    return p, t, rng.random(shape) < share


def tensors(*arrays):
    return [torch.from_numpy(array) for array in arrays]


# --- values by hand -------------------------------------------------------------------------------------------------

P = torch.tensor([[[1.0, 2.0], [3.0, 5.0]]])
T = torch.tensor([[[1.0, 1.0], [5.0, 1.0]]])
# Errors: 0 1 / -2 4. Along x: 1, 6. Along y: -2, 3.


def test_values_by_hand():
    assert l1(P, T) == pytest.approx(7 / 4)
    assert charbonnier(P, T, epsilon=3.0) == pytest.approx((3 + math.sqrt(10) + math.sqrt(13) + 5) / 4)
    assert rmse(P, T) == pytest.approx(math.sqrt(21 / 4))
    assert gradient_l1(P, T) == pytest.approx((1 + 6 + 2 + 3) / 4)
    assert gradient_rmse(P, T) == pytest.approx(math.sqrt(37 / 4) + math.sqrt(13 / 4))
    logs = np.log([1, 2, 3 / 5, 5])
    assert scale_invariant(P, T) == pytest.approx((logs**2).mean() - 0.5 * logs.mean() ** 2)
    assert silog(P, T) == pytest.approx(math.sqrt((logs**2).mean() - 0.85 * logs.mean() ** 2))


def test_values_by_hand_with_a_pixel_unknown():
    valid = torch.tensor([[[True, True], [True, False]]])
    assert l1(P, T, valid) == pytest.approx(3 / 3)
    assert rmse(P, T, valid) == pytest.approx(math.sqrt(5 / 3))
    assert gradient_l1(P, T, valid) == pytest.approx((1 + 2) / 3)
    assert gradient_rmse(P, T, valid) == pytest.approx(math.sqrt(1 / 3) + math.sqrt(4 / 3))


def test_ssim_of_constant_images_is_that_of_their_means():
    a, b = torch.full((1, 1, 12, 12), 0.5), torch.full((1, 1, 12, 12), 0.25)
    assert ssim_map(a, b).numpy() == pytest.approx((2 * 0.125 + 1e-4) / (0.25 + 0.0625 + 1e-4), rel=1e-4)
    assert structural_dissimilarity(a, a) == pytest.approx(0, abs=1e-6)


# --- twins ----------------------------------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([(1, 2, 3), (2, 4, 3), (1, 3, 4, 5)]), st.floats(0, 1))
def test_losses_are_their_naive_twins(seed, shape, share):
    p, t, mask = drawn(seed, shape, share)
    args = tensors(p, t, mask)
    assert l1(*args) == pytest.approx(naive.l1(p, t, mask))
    assert charbonnier(*args, epsilon=0.1) == pytest.approx(naive.charbonnier(p, t, mask, 0.1))
    assert rmse(*args) == pytest.approx(naive.rmse(p, t, mask))
    assert gradient_l1(*args) == pytest.approx(naive.gradient_l1(p, t, mask))
    assert gradient_rmse(*args) == pytest.approx(naive.gradient_rmse(p, t, mask))
    images = [naive.scale_invariant(a, b, m, 0.3) for a, b, m in zip(p, t, mask, strict=True) if m.any()]
    assert scale_invariant(*args, balance=0.3) == pytest.approx(np.mean(images) if images else 0)
    batch = math.sqrt(naive.scale_invariant(p, t, mask, 0.85)) if mask.any() else 0
    assert silog(*args) == pytest.approx(batch)


def test_ssim_is_its_naive_twin_and_takes_whole_windows_alone():
    rng = np.random.default_rng(4)
    x, y = rng.random((2, 2, 3, 14, 16))
    valid = np.ones((2, 14, 16), bool)
    valid[1, 12, 3] = False
    twin = np.array([[naive.ssim_windows(a, b) for a, b in zip(i, j, strict=True)] for i, j in zip(x, y, strict=True)])
    np.testing.assert_allclose(ssim_map(*tensors(x, y)), twin, atol=1e-12)
    whole = np.ones((2, 3, 4, 6), bool)
    whole[1, :, 2:, :4] = False
    found = structural_dissimilarity(*tensors(x, y, valid))
    assert found == pytest.approx(1 - twin[whole].mean())


def test_ssim_in_single_precision_is_close_to_that_in_double():
    x, y = torch.rand(2, 1, 3, 40, 40, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    y = x + 0.01 * y
    np.testing.assert_allclose(ssim_map(x.float(), y.float()), ssim_map(x, y), atol=3e-4)


def test_charbonnier_is_near_l1_for_large_errors_and_the_gradient_of_rmse_ends_at_zero():
    p, t, mask = tensors(*drawn(5))
    assert charbonnier(p, t, mask, epsilon=1e-6) == pytest.approx(float(l1(p, t, mask)), rel=1e-5)
    same = t.clone().requires_grad_()
    for loss in ALL.values():
        (gradient,) = torch.autograd.grad(loss(same, t, mask), same)
        assert torch.isfinite(gradient).all()


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.1, 10))
def test_no_common_factor_changes_the_scale_invariant_error_of_balance_one(seed, factor):
    p, t, mask = tensors(*drawn(seed))
    assert scale_invariant(factor * p, t, mask, balance=1) == pytest.approx(
        float(scale_invariant(p, t, mask, balance=1)), abs=1e-9
    )
    assert scale_invariant(p.log(), t.log(), mask, logarithmic=True) == pytest.approx(
        float(scale_invariant(p, t, mask))
    )


def test_predictions_that_are_not_positive_are_led_back_to_where_logarithms_are():
    p = torch.tensor([-1.0, 0.0, 1e-4]).view(3, 1, 1).requires_grad_()
    loss = scale_invariant(p, torch.ones(3, 1, 1))
    (gradient,) = torch.autograd.grad(loss, p)
    assert torch.isfinite(loss)
    assert (gradient < 0).all()
    zero = torch.zeros(1, 1, 3)
    assert scale_invariant(zero, zero) == 0
    assert torch.isfinite(silog(torch.ones(1, 1, 3), zero))


# --- gradients and masks --------------------------------------------------------------------------------------------


@every_loss
def test_gradients_are_right(loss):
    p, t, mask = tensors(*drawn(1, (2, 12, 12)))
    mask[0, :, :] = True
    p.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: loss(x, t, mask), p, fast_mode=True)


@every_loss
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_what_is_not_valid_has_no_influence(loss, dtype):
    p, t, mask = tensors(*drawn(2))
    mask[0] = True
    mask[0, 0, 0] = mask[0, 12, 13] = False
    mask[1] = False
    p, t = p.to(dtype), t.to(dtype)
    spoil = torch.tensor([math.nan, math.inf, -math.inf, -1.0], dtype=dtype)
    spoiled = torch.where(mask, t, spoil.repeat(t.numel() // 4).view_as(t))
    results = []
    for truth in (t, spoiled):
        guess = torch.where(mask, p, 7.0 if truth is t else -3.0).requires_grad_()
        value = loss(guess, truth, mask)
        assert value.dtype == dtype
        value.backward()
        assert (guess.grad[~mask] == 0).all()
        results.append((value.detach(), guess.grad[mask]))
    torch.testing.assert_close(results[0], results[1], rtol=0, atol=0)
    assert results[0][1].abs().sum() > 0


@every_loss
def test_a_number_that_is_none_is_never_hidden_where_it_is_valid(loss):
    p, t, mask = tensors(*drawn(9, share=1.0))
    for broken in (math.nan, math.inf):
        p[1, 6, 6] = broken
        assert not torch.isfinite(loss(p, t, mask))


@every_loss
def test_an_empty_image_contributes_nothing(loss):
    p, t, mask = tensors(*drawn(3, share=1.0))
    t[1] = math.nan
    mask[1] = False
    alone = loss(p[:1], t[:1], mask[:1])
    torch.testing.assert_close(loss(p, t, mask), alone)
    guess = p.clone().requires_grad_()
    value = loss(guess, torch.full_like(t, math.nan), torch.zeros_like(mask))
    value.backward()
    assert value == 0
    assert (guess.grad == 0).all()


@every_loss
def test_all_valid_is_the_same_as_no_mask_and_colours_share_one(loss):
    p, t, mask = tensors(*drawn(6, (2, 3, 12, 13)))
    torch.testing.assert_close(loss(p, t), loss(p, t, torch.ones(2, 12, 13, dtype=torch.bool)))
    torch.testing.assert_close(loss(p, t, mask[:, 0]), loss(p, t, mask[:, :1].expand_as(p)))


@every_loss
def test_half_precision_predictions_are_computed_in_single_also_under_autocast(loss):
    p, t, _ = tensors(*drawn(7))
    p, t = p.bfloat16(), t.float()
    expected = loss(p.float(), t)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = loss(p, t)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected)


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(InputError, match="at least 11 x 11"):
        structural_dissimilarity(torch.zeros(1, 10, 12), torch.zeros(1, 10, 12))
    with pytest.raises(ValueError, match="differ in shape"):
        l1(torch.zeros(1, 1, 10, 12), torch.zeros(1, 10, 12))


# --- settings -------------------------------------------------------------------------------------------------------

KINDS = TypeAdapter(LossSettings)


def batch(seed=8):
    rng = torch.Generator().manual_seed(seed)
    outputs = {"depth": torch.rand(2, 12, 12, generator=rng) + 1, "aif": torch.rand(2, 3, 12, 12, generator=rng)}
    targets = {"depth": torch.rand(2, 12, 12, generator=rng) + 1, "aif": torch.rand(2, 3, 12, 12, generator=rng)}
    return outputs, targets, torch.rand(2, 12, 12, generator=rng) < 0.7


def test_the_2hded_loss_is_equation_7_with_the_papers_constants():
    outputs, targets, valid = batch()
    found = objective(HdedLossSettings())(outputs, targets, valid)
    depth = outputs["depth"], targets["depth"], valid
    image = outputs["aif"], targets["aif"]
    expected = {
        "depth/l1": l1(*depth),
        "depth/gradient": gradient_l1(*depth),
        "aif/charbonnier": charbonnier(*image, epsilon=1e-3),
        "aif/ssim": structural_dissimilarity(*image),
    }
    total = expected["depth/l1"] + 0.001 * expected["depth/gradient"]
    total = total + 0.01 * (expected["aif/charbonnier"] + 4 * expected["aif/ssim"])
    torch.testing.assert_close(found, {**expected, "total": total})
    masked = objective(HdedLossSettings(aif_valid="depth"))(outputs, targets, valid)
    torch.testing.assert_close(masked["aif/charbonnier"], charbonnier(*image, valid))


def test_the_2hded_loss_takes_the_heads_that_there_are_and_weights_of_zero_cost_nothing():
    outputs, targets, valid = batch()
    found = objective(HdedLossSettings())({"aif": outputs["aif"]}, targets, valid)
    assert set(found) == {"aif/charbonnier", "aif/ssim", "total"}
    plain = HdedLossSettings(ssim_weight=0, gradient_weight=0, deblurring="l1")
    assert set(objective(plain)(outputs, targets, valid)) == {"depth/l1", "aif/l1", "total"}


def test_totals_of_the_other_kinds():
    outputs, targets, valid = batch()
    depth = outputs["depth"], targets["depth"], valid
    for section, total in (
        (L1Settings(), l1(*depth)),
        (L1GradientSettings(), l1(*depth) + 0.001 * gradient_l1(*depth)),
        (RpsfSettings(), rmse(*depth) + gradient_rmse(*depth)),
        (SilogSettings(), 10 * silog(*depth)),
    ):
        torch.testing.assert_close(objective(section)(outputs, targets, valid)["total"], total)


OF_PREDICTIONS = [one for one in LossSettings.__origin__.__args__ if not {"stack", "focus"} & {*one().needs}]
"""Losses that compare predictions with truth, and not with what was seen."""


@pytest.mark.parametrize("section", OF_PREDICTIONS, ids=lambda s: s.__name__)
def test_every_kind_is_named_in_configs_and_has_a_gradient(section):
    kind = section.model_fields["kind"].default
    settings = KINDS.validate_json(f'{{"kind": "{kind}"}}')
    assert settings == section()
    outputs, targets, valid = batch()
    outputs = {name: value.requires_grad_() for name, value in outputs.items()}
    objective(settings)(outputs, targets, valid)["total"].backward()
    assert any(value.grad is not None and value.grad.abs().sum() > 0 for value in outputs.values())


def test_losses_that_fit_nothing_are_refused():
    outputs, targets, valid = batch()
    with pytest.raises(InputError, match="is of depth, and the model returns aif"):
        objective(L1Settings())({"aif": outputs["aif"]}, targets, valid)
    with pytest.raises(InputError, match="needs the array 'aif'"):
        objective(L1Settings(on="aif"))(outputs, {"depth": targets["depth"]}, valid)
    with pytest.raises(InputError, match="no term"):
        objective(SilogSettings(weight=0))
    with pytest.raises(ValidationError, match="extra"):
        KINDS.validate_python({"kind": "l1", "nonsense": 1})
