"""AiFDepthNet: layers and counts of the public code, numbers and order of slices, heads."""

import pytest
import torch
from torch import nn

from defocal.train.models import MODELS, build, restore
from defocal.train.models.aifdepthnet import MIXED, AifDepthNetSettings

pytestmark = pytest.mark.usefixtures("one_thread")

TINY = AifDepthNetSettings(width=1 / 32)


def stacks(slices=4, batch=1, size=(32, 64), seed=0):
    drawn = torch.Generator().manual_seed(seed)
    return {
        "stack": torch.rand(batch, slices, 3, *size, generator=drawn),
        "sharp_at": torch.rand(batch, slices, generator=drawn),
    }


def parameters(module):
    return sum(parameter.numel() for parameter in module.parameters())


def test_parameters_are_those_of_the_layer_list():
    """By hand: k a b + b of a convolution of k taps from a to b channels with its bias, 2 b of its normalisation."""

    def layer(before, after, taps, norm=2):
        return taps * before * after + (1 + norm) * after

    def mixed(before, six):
        plain, enter1, leave1, enter2, leave2, pooled = six
        ones = sum(layer(before, after, 1) for after in (plain, enter1, enter2, pooled))
        return ones + layer(enter1, leave1, 27) + layer(enter2, leave2, 27), plain + leave1 + leave2 + pooled

    encoder, before, leaves = layer(3, 64, 343) + layer(64, 64, 1) + layer(64, 192, 27), 192, []
    for blocks in MIXED.values():
        for six in blocks:
            count, before = mixed(before, six)
            encoder += count
            leaves.append(before)
    # Inflated Inception's own widths.
    assert leaves == [256, 480, 512, 512, 512, 528, 832, 832, 1024]
    # A transposed convolution has 3 x 4 x 4 taps.
    decoder = (
        layer(1024, 64, 48) + layer(64, 64, 27) + layer(832, 64, 1)
        + layer(128, 64, 48) + layer(64, 64, 27) + layer(480, 64, 1)
        + layer(128, 32, 48) + layer(32, 32, 27) + layer(192, 32, 1)
        + layer(64, 32, 48) + layer(32, 16, 27) + layer(64, 16, 1)
        + layer(32, 32, 48, norm=0) + layer(32, 1, 27, norm=0)
    )  # fmt: skip
    with torch.device("meta"):
        model = MODELS["aifdepthnet"].construct(AifDepthNetSettings())
    assert parameters(model) == encoder + decoder == 16_533_873


def test_features_have_the_sizes_of_the_layer_list():
    with torch.device("meta"):
        model = MODELS["aifdepthnet"].construct(AifDepthNetSettings())
        seen = {}
        for name in ("stage1", "stage2", "stage3", "stage4", "stage5", "last_up"):
            part = getattr(model, name)
            part.register_forward_hook(lambda _, __, out, name=name: seen.update({name: tuple(out.shape[1:])}))
        scores = model.scores(torch.empty(1, 5, 3, 64, 96))
    assert scores.shape == (1, 5, 64, 96)
    assert seen == {
        "stage1": (64, 5, 32, 48), "stage2": (192, 5, 16, 24), "stage3": (480, 5, 8, 12), "stage4": (832, 5, 4, 6),
        "stage5": (1024, 5, 2, 3), "last_up": (32, 5, 64, 96),
    }  # fmt: skip


@pytest.mark.parametrize("slices", [1, 3, 5, 10])
def test_any_number_of_slices_will_do(slices):
    batch = stacks(slices, batch=2)
    found = build(TINY, seed=1)(batch)
    assert {name: tuple(value.shape) for name, value in found.items()} == {"depth": (2, 32, 64), "aif": (2, 3, 32, 64)}
    assert (found["depth"] >= batch["sharp_at"].min(1).values.view(2, 1, 1) - 1e-6).all()
    assert (found["depth"] <= batch["sharp_at"].max(1).values.view(2, 1, 1) + 1e-6).all()
    if slices == 1:
        torch.testing.assert_close(found["aif"], batch["stack"][:, 0])


def test_heads_share_all_weights_and_one_can_be_left_out():
    model = build(TINY, seed=1).eval()
    batch = stacks(3, size=(40, 50))
    whole = model.predict(batch)
    for head in ("depth", "aif"):
        found = restore(TINY, model.state_dict(), [head]).predict(batch)
        assert list(found) == [head]
        assert torch.equal(found[head], whole[head])


def test_width_scales_all_channels():
    model = build(TINY)
    widths = {layer.out_channels for layer in model.modules() if isinstance(layer, nn.Conv3d)}
    assert max(widths) == 12
    assert min(widths) == 1
