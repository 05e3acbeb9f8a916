"""Losses of networks for stacks: by hand, with gradients, and what they refuse."""

import math

import pytest
import torch
from training import objective

from defocal import InputError
from defocal.train.loss_functions import mse
from defocal.train.losses_stack import (
    AifDepthNetLossSettings,
    DffLossSettings,
    DffUnsupervisedSettings,
    edge_aware_smoothness,
    robust_smoothness,
)

P = torch.tensor([[[1.0, 2.0], [3.0, 5.0]]])
T = torch.tensor([[[1.0, 1.0], [5.0, 1.0]]])
# Errors: 0 1 / -2 4.
IMAGE = torch.tensor([[0.50, 0.51], [0.50, 0.53]]).expand(1, 3, 2, 2)
# Sums over colours of differences, along x: 0.03, 0.09; along y: 0, 0.06. Of depth P: 1, 2; 2, 3.


def numbers(shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_mean_squared_error_by_hand():
    assert mse(P, T) == pytest.approx(21 / 4)
    assert mse(P, torch.tensor([[[1.0, 1.0], [float("nan"), 1.0]]]), torch.tensor([[[True, True], [False, True]]])) == (
        pytest.approx(17 / 3)
    )


def test_equation_6_by_hand():
    across = (math.exp(-150 * 0.03) * 1 + math.exp(-150 * 0.09) * 2) / 2
    down = (1 * 2 + math.exp(-150 * 0.06) * 3) / 2
    assert edge_aware_smoothness(P, IMAGE).item() == pytest.approx(across + down, rel=1e-4)
    assert edge_aware_smoothness(P, IMAGE, 0.0).item() == pytest.approx(1.5 + 2.5)


def test_aifdepthnets_smoothness_by_hand():
    """Squares of 150 x 0.01, 0.03, 0 and 0.02, the same in all colours."""
    robust = [math.sqrt(step**2 + 1e-6) for step in (1, 2, 2, 3)]
    across = (math.exp(-(1.5**2)) * robust[0] + math.exp(-(4.5**2)) * robust[1]) / 2
    down = (robust[2] + math.exp(-(3.0**2)) * robust[3]) / 2
    assert robust_smoothness(P, IMAGE).item() == pytest.approx((across + down) / 2, rel=1e-4)


@pytest.mark.parametrize("smoothness", [edge_aware_smoothness, robust_smoothness])
def test_gradients_of_smoothness(smoothness):
    depth = numbers((1, 3, 4)).requires_grad_()
    image = (0.5 + 0.01 * numbers((1, 3, 3, 4), 1)).requires_grad_()
    assert torch.autograd.gradcheck(smoothness, (depth, image))


# --- DfF in the Wild ------------------------------------------------------------------------------------------------


def four_scales(name, values):
    return {f"{name}{end}": value for end, value in zip(("_1", "_2", "_3", ""), values, strict=True)}


def test_dff_weighs_four_scales():
    outputs = four_scales("depth", [T + 1, T + 2, T + 3, T + 4])
    found = objective(DffLossSettings())(outputs, {"depth": T}, torch.ones(1, 2, 2, dtype=torch.bool))
    assert found["total"].item() == pytest.approx(0.3 * 1 + 0.5 * 4 + 0.7 * 9 + 1.0 * 16)
    assert found["depth_2/mse"].item() == pytest.approx(4)
    assert DffLossSettings().needs == ("depth",)


def test_dff_counts_valid_pixels_alone():
    outputs = four_scales("depth", [P] * 4)
    outputs["depth"] = outputs["depth"].clone().requires_grad_()
    valid = torch.tensor([[[True, True], [False, False]]])
    found = objective(DffLossSettings())(outputs, {"depth": torch.where(valid, T, torch.nan)}, valid)
    assert found["total"].item() == pytest.approx(2.5 * 0.5)
    found["total"].backward()
    assert outputs["depth"].grad[~valid].abs().max() == 0


def test_the_unsupervised_loss_is_equations_4_to_6():
    target = torch.full((1, 3, 2, 2), 0.4)
    depths, pictures = [P, 2 * P, 3 * P, 4 * P], [IMAGE, IMAGE - 0.1, IMAGE, IMAGE + 0.1]
    outputs = {**four_scales("depth", depths), **four_scales("aif", pictures)}
    found = objective(DffUnsupervisedSettings())(outputs, {"aif": target}, None)
    mean, smooth = 0.51 - 0.4, edge_aware_smoothness(P, IMAGE).item()
    near = (0 + 0.01 + 0 + 0.03) / 4
    errors = (mean, near, mean, mean + 0.1)
    expected = sum(
        weight * (error + 0.002 * factor * smooth)
        for weight, error, factor in zip((0.3, 0.5, 0.7, 1.0), errors, (1, 2, 3, 4), strict=True)
    )
    assert found["total"].item() == pytest.approx(expected, rel=1e-5)
    assert found["depth_3/smoothness"].item() == pytest.approx(3 * smooth, rel=1e-4)
    assert DffUnsupervisedSettings().needs == ("aif",)


def test_gradients_of_the_unsupervised_loss():
    minimised = objective(DffUnsupervisedSettings(smoothness_weight=0.5))
    target = numbers((1, 3, 3, 4), 7)

    def total(depth, aif):
        outputs = {**four_scales("depth", [depth * k for k in (1, 2, 3, 4)]), **four_scales("aif", [aif] * 4)}
        return minimised(outputs, {"aif": target}, None)["total"]

    inputs = numbers((1, 3, 4)), 0.5 + 0.01 * numbers((1, 3, 3, 4), 1)
    assert torch.autograd.gradcheck(total, [one.requires_grad_() for one in inputs])


def test_gradients_of_four_scales():
    minimised, target = objective(DffLossSettings()), numbers((1, 3, 4), 7)
    depths = [numbers((1, 3, 4), seed).requires_grad_() for seed in range(4)]
    valid = numbers((1, 3, 4), 9) > 0.3
    assert torch.autograd.gradcheck(
        lambda *four: minimised(four_scales("depth", four), {"depth": target}, valid)["total"], depths
    )


def test_a_model_without_a_picture_cannot_learn_without_depth():
    with pytest.raises(InputError, match="the loss dff-unsupervised is of aif, and the model returns depth"):
        objective(DffUnsupervisedSettings())(four_scales("depth", [P] * 4), {"aif": IMAGE}, None)


# --- AiFDepthNet ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("supervision", ["depth", "aif", "both"])
def test_aifdepthnet_learns_of_depth_or_pictures_or_both(supervision):
    outputs, targets = {"depth": P, "aif": IMAGE + 0.1}, {"depth": T, "aif": IMAGE}
    found = objective(AifDepthNetLossSettings(supervision=supervision))(outputs, targets, None)
    depth, aif = 7 / 4, 0.1 + 0.002 * robust_smoothness(P, IMAGE).item()
    expected = {"depth": depth, "aif": aif, "both": depth + aif}[supervision]
    assert found["total"].item() == pytest.approx(expected, rel=1e-5)
    needs = {"depth": ("depth",), "aif": ("aif",), "both": ("depth", "aif")}[supervision]
    assert AifDepthNetLossSettings(supervision=supervision).needs == needs


def test_gradients_of_aifdepthnets_loss():
    minimised = objective(AifDepthNetLossSettings(supervision="both", smoothness_weight=0.5))
    targets = {"depth": numbers((1, 3, 4), 5), "aif": 0.5 + 0.01 * numbers((1, 3, 3, 4), 6)}
    inputs = [numbers((1, 3, 4)).requires_grad_(), numbers((1, 3, 3, 4), 1).requires_grad_()]
    assert torch.autograd.gradcheck(
        lambda depth, aif: minimised({"depth": depth, "aif": aif}, targets, None)["total"], inputs
    )


# --- alignment ------------------------------------------------------------------------------------------------------


def breathing():
    """Two slices of 3x5 pixels, the first of which is the reference; the second is shifted by (3, 4) pixels."""
    matrices = torch.tensor([[10.0, 0, 2], [0, 10, 1], [0, 0, 1]]).repeat(1, 2, 1, 1)
    matrices[0, 1, :2, 2] += torch.tensor([3.0, 4.0])
    return {"stack": torch.zeros(1, 2, 3, 3, 5), "intrinsics": matrices, "depth": T}


def said(alignment):
    return {
        **four_scales("depth", [T] * 4),
        "alignment": alignment,
        "alignment_reference": torch.tensor([[1.0, 0.0]]),
    }


@pytest.mark.parametrize(
    ("alignment", "distance"), [((1.0, 0.0, 0.0), 5.0), ((1.0, 3.0, 4.0), 0.0), ((1.0, 3.0, 3.0), 1.0)]
)
@pytest.mark.parametrize("section", [DffLossSettings, DffUnsupervisedSettings, AifDepthNetLossSettings])
def test_alignment_is_judged_in_pixels(section, alignment, distance):
    loss = section(alignment_weight=0.1)
    assert loss.needs[-1] == "intrinsics"
    found = torch.tensor([[[1.0, 0, 0], alignment]]).requires_grad_()
    outputs = {**said(found), **four_scales("aif", [torch.zeros(1, 3, 2, 2)] * 4), **four_scales("depth", [T] * 4)}
    targets = {**breathing(), "aif": torch.zeros(1, 3, 2, 2)}
    with_it, without = (objective(one)(outputs, targets, None) for one in (loss, section()))
    assert with_it["alignment/displacement"].item() == pytest.approx(distance, abs=1e-6)
    assert (with_it["total"] - without["total"]).item() == pytest.approx(0.1 * distance, abs=1e-6)
    with_it["total"].backward()
    assert torch.isfinite(found.grad).all()
    assert found.grad[0, 0].abs().max() == 0


def test_gradients_of_the_alignment_term():
    minimised, batch = objective(DffLossSettings(alignment_weight=1.0)), breathing()
    batch = {name: value.double() for name, value in batch.items()}
    fixed = torch.tensor([[[1.0, 0, 0]]], dtype=torch.float64)

    def total(one):
        return minimised(said(torch.cat([fixed, one], 1)), batch, None)["total"]

    assert torch.autograd.gradcheck(total, torch.tensor([[[1.2, 1.0, 2.0]]], dtype=torch.float64).requires_grad_())


def test_what_is_not_aligned_cannot_be_judged():
    with pytest.raises(InputError, match=r"aligns nothing: set model\.alignment"):
        objective(DffLossSettings(alignment_weight=0.1))(four_scales("depth", [T] * 4), breathing(), None)
