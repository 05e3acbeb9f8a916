"""Networks: layers and counts of the papers, sizes, heads, checkpoints, dropout, and half precision."""

import json
from copy import deepcopy
from functools import cache

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter, ValidationError
from torch import nn

from defocal import InputError
from defocal.train.models import MODELS, Model, ModelSettings, build, crop, enable_dropout, pad_to_multiple, restore
from defocal.train.models.d3net import D3NetSettings
from defocal.train.models.densenet import DenseEncoder
from defocal.train.models.hded import HdedSettings
from defocal.train.models.unet import UNetSettings

SMALL = {
    "unet": UNetSettings(width=4, levels=3, dropout=0.3, head_norm=False),
    "d3net": D3NetSettings(width=1 / 16, blocks=(1, 2, 1, 1)),
    "2hded": HdedSettings(width=1 / 16, blocks=(1, 2, 1, 1), dropout=0.5),
}
every_kind = pytest.mark.parametrize("kind", SMALL)
KINDS = TypeAdapter(ModelSettings)


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    """Networks this small only wait for a second one."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@cache
def _settled(kind):
    model = build(SMALL[kind])
    norms = [layer for layer in model.modules() if isinstance(layer, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = 1.0
    with torch.no_grad():
        model(images(4, seed=9))
    return model.eval()


def settled(kind):
    """A network whose batch normalisation has seen images; before that, deep features all but vanish."""
    return deepcopy(_settled(kind))


def images(batch=2, height=64, width=96, seed=0):
    return {"image": torch.rand(batch, 3, height, width, generator=torch.Generator().manual_seed(seed))}


def parameters(module):
    return sum(parameter.numel() for parameter in module.parameters())


# --- what the papers say --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "count"),
    [
        (UNetSettings(), 8_635_907),  # "approximately 8.6M"
        (UNetSettings(head_norm=False), 8_635_905),
        (D3NetSettings(), 24_220_224),
        (D3NetSettings(stem=3), 24_212_544),
        (HdedSettings(), 41_422_080),  # "41 million"
        (HdedSettings(heads=("depth",)), 24_220_224),
    ],
)
def test_parameters_are_as_many_as_in_the_papers(settings, count):
    with torch.device("meta"):
        model = MODELS[settings.kind].construct(settings)
    assert parameters(model) == count


def test_the_encoder_is_densenet_121_but_for_the_convolution_in_the_place_of_its_pooling():
    with torch.device("meta"):
        encoder = DenseEncoder(D3NetSettings(), 3)
        assert (encoder.skips, encoder.channels) == ((64, 128, 256, 512), 1024)
        features, skips = encoder(torch.empty(1, 3, 224, 320))
    # 7,978,856 with the classifier of 1,025,000 (Huang et al. 2017).
    assert parameters(encoder) - parameters(encoder.downconv0) - parameters(encoder.norm1) == 7_978_856 - 1_025_000
    assert features.shape == (1, 1024, 7, 10)
    assert [tuple(skip.shape[1:]) for skip in skips] == [(64, 112, 160), (128, 56, 80), (256, 28, 40), (512, 14, 20)]


def test_the_decoder_is_that_of_the_papers():
    with torch.device("meta"):
        decoder = MODELS["d3net"].construct(D3NetSettings()).decoder
    assert parameters(decoder) == 17_200_704
    widths = [(block.conv1.in_channels, block.conv1.out_channels) for block in decoder.blocks]
    assert widths == [(1024, 512), (1024, 256), (512, 128), (256, 64), (128, 64)]
    assert [block.dropout.p for block in decoder.blocks] == [0.5, 0.5, 0, 0, 0]


def test_the_transposed_convolution_of_the_unet_is_tensorflows():
    """SAME with stride 2: output row o is the sum over input rows i of kernel row o - 2 i."""
    model = build(UNetSettings(width=1, levels=2))
    x = torch.rand(1, 2, 4, 5)
    found = model.up[0](x)[..., :-1, :-1].detach()
    expected = torch.zeros(1, 1, 8, 10)
    kernel = model.up[0].weight.detach()
    for i, j, a, b in np.ndindex(4, 5, 3, 3):
        if 2 * i + a < 8 and 2 * j + b < 10:
            expected[0, 0, 2 * i + a, 2 * j + b] += (x[0, :, i, j] * kernel[:, 0, a, b]).sum()
    torch.testing.assert_close(found, expected)


def test_weights_are_drawn_as_the_papers_code_does():
    model = build(D3NetSettings(width=0.25, init_std=0.1))
    weight = model.decoder.blocks[0].conv1.weight
    assert weight.std().item() == pytest.approx(0.1, rel=0.02)
    assert model.encoder.norm5.weight.mean().item() == pytest.approx(1, abs=0.01)
    unet = build(UNetSettings(width=16, levels=3))
    inner = unet.down[2][0].weight
    assert inner.abs().max().item() == pytest.approx((6 / (9 * (inner.shape[0] + inner.shape[1]))) ** 0.5, rel=0.01)


# --- the contract of all --------------------------------------------------------------------------------------------


@every_kind
def test_outputs_have_the_shapes_that_the_model_names(kind):
    model = build(SMALL[kind])
    shapes = {"depth": (2, 64, 96), "aif": (2, 3, 64, 96)}
    found = model(images())
    assert tuple(found) == model.outputs
    assert {name: value.shape for name, value in found.items()} == {name: shapes[name] for name in model.outputs}
    assert isinstance(model, Model)
    assert model.inputs == ("image",)


@every_kind
def test_weights_are_a_function_of_settings_and_seed(kind):
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first, again, other = build(SMALL[kind]), build(SMALL[kind]), build(SMALL[kind], seed=1)
    assert torch.equal(before, torch.get_rng_state())
    pairs = list(zip(first.parameters(), again.parameters(), other.parameters(), strict=True))
    assert all(torch.equal(a, b) for a, b, _ in pairs)
    assert any(not torch.equal(a, c) for a, _, c in pairs)


@every_kind
def test_every_parameter_gets_a_gradient(kind):
    model = build(SMALL[kind])
    found = model(images())
    sum((value**2).mean() for value in found.values()).backward()
    assert [name for name, p in model.named_parameters() if p.grad is None] == []
    assert sum(p.grad.abs().sum() > 0 for p in model.parameters()) > 0.7 * len(list(model.parameters()))


@every_kind
def test_inputs_that_do_not_fit_are_refused_in_a_sentence(kind):
    model = build(SMALL[kind])
    m = model.multiple
    for batch, message in (
        ({}, "reads 'image', and the batch has only"),
        ({"image": torch.zeros(1, 3, m, m, dtype=torch.uint8)}, "floating-point"),
        ({"image": torch.zeros(1, 1, m, m)}, r"\(batch, 3, height, width\)"),
        ({"image": torch.zeros(3, m, m)}, r"\(batch, 3, height, width\)"),
        ({"image": torch.zeros(1, 3, m, m + 1)}, f"multiples of {m}, not {m} x {m + 1}"),
    ):
        with pytest.raises(InputError, match=message):
            model(batch)
        if "multiples" not in message:
            with pytest.raises(InputError, match=message):
                model.predict(batch)


@every_kind
def test_half_precision_and_memory_format_give_the_same(kind):
    model = settled(kind)
    with torch.no_grad():
        reference = model(images())
        last = model.to(memory_format=torch.channels_last)(
            {"image": images()["image"].contiguous(memory_format=torch.channels_last)}
        )
        with torch.autocast("cpu", dtype=torch.bfloat16):
            half = model(images())
        double = model.double()({"image": images()["image"].double()})
    for name, value in reference.items():
        assert value.std() > 1e-3
        torch.testing.assert_close(last[name], value, rtol=1e-4, atol=1e-5)
        assert half[name].dtype == torch.float32
        assert (half[name] - value).abs().mean() < 0.03 * value.std()
        assert double[name].dtype == torch.float64
        torch.testing.assert_close(double[name].float(), value, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["unet", "2hded"])
def test_the_compiler_captures_the_whole_network(kind):
    model, batch = settled(kind), images(1, 32, 32)
    with torch.no_grad():
        captured = torch.compile(model, backend="eager", fullgraph=True)(batch)
        for name, value in model(batch).items():
            torch.testing.assert_close(captured[name], value, rtol=1e-4, atol=1e-5)


@every_kind
def test_training_in_half_precision_learns(kind):
    model = build(SMALL[kind]).to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    batch = images(2, 32, 32)
    truth = {"depth": batch["image"][:, 0], "aif": batch["image"].flip(1)}
    losses = []
    for _ in range(8):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found = model(batch)
        loss = sum((found[name] - truth[name]).abs().mean() for name in found)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert min(losses[-3:]) < 0.9 * losses[0]


@every_kind
def test_predictions_of_any_size_are_those_of_the_padded_image(kind):
    model = settled(kind)
    batch = images(1, 45, 71)
    padded, window = pad_to_multiple(batch["image"], model.multiple)
    found = model.predict(batch)
    for name, value in model({"image": padded}).items():
        assert found[name].shape[-2:] == (45, 71)
        assert not found[name].requires_grad
        assert torch.equal(found[name], crop(value, window))


@pytest.mark.parametrize("size", [(64, 64), (33, 64), (1, 40), (31, 5), (427, 571)])
@pytest.mark.parametrize("leading", [(), (2, 3), (1, 4, 3)])
def test_padding_reflects_and_crops_back(size, leading):
    image = torch.rand(*leading, *size)
    padded, window = pad_to_multiple(image, 32)
    assert padded.shape[:-2] == image.shape[:-2]
    assert all(length % 32 == 0 and 0 <= length - own < 32 for length, own in zip(padded.shape[-2:], size, strict=True))
    assert torch.equal(crop(padded, window), image)
    pads = [(a, b - own - a) for a, b, own in zip(window[:2], padded.shape[-2:], size, strict=True)]
    expected = image.numpy()
    for axis, (pad, own) in enumerate(zip(pads, size, strict=True)):
        mode = "reflect" if own > max(pad) else "edge"
        expected = np.pad(expected, [(0, 0)] * (len(leading) + axis) + [pad] + [(0, 0)] * (1 - axis), mode)
    np.testing.assert_array_equal(padded, expected)


# --- dropout --------------------------------------------------------------------------------------------------------


@every_kind
def test_monte_carlo_samples_differ_by_dropout_alone(kind):
    model = settled(kind)
    plain = model.predict(images())["depth"]
    assert torch.equal(plain, model.predict(images())["depth"])
    enable_dropout(model)
    training = [type(module) for module in model.modules() if module.training]
    assert set(training) == {nn.Dropout}
    state = {name: value.clone() for name, value in model.state_dict().items()}
    torch.manual_seed(0)
    first, second = model.predict(images())["depth"], model.predict(images())["depth"]
    torch.manual_seed(0)
    assert torch.equal(first, model.predict(images())["depth"])
    assert not torch.equal(first, second)
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


def test_a_model_without_dropout_gives_no_samples():
    with pytest.raises(InputError, match="drops nothing"):
        enable_dropout(build(UNetSettings(width=2, levels=2)))


# --- heads and checkpoints ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("head", ["depth", "aif"])
def test_either_head_can_be_removed_after_training(head):
    trained = build(SMALL["2hded"], seed=3).eval()
    both = trained(images())
    alone = restore(SMALL["2hded"], trained.state_dict(), heads=[head])
    assert alone.outputs == (head,)
    assert parameters(alone) < parameters(trained)
    assert not alone.training
    assert torch.equal(alone(images())[head], both[head])


def test_the_restored_image_is_the_input_plus_what_its_head_finds():
    model = build(SMALL["2hded"]).eval()
    nn.init.zeros_(model.heads["aif"].last.weight)
    assert torch.equal(model(images())["aif"], images()["image"])


@every_kind
def test_a_checkpoint_restores_all_and_the_file_of_the_encoder_may_be_gone(kind):
    trained = build(SMALL[kind], seed=7).eval()
    settings = SMALL[kind]
    if kind != "unet":
        settings = settings.model_copy(update={"weights": "gone.pth"})
    again = restore(settings, trained.state_dict())
    assert all(torch.equal(value, again(images())[name]) for name, value in trained(images()).items())


def test_checkpoints_that_do_not_fit_are_refused():
    state = build(SMALL["d3net"]).state_dict()
    with pytest.raises(InputError, match="of another network than this Hded"):
        restore(SMALL["2hded"], state)
    with pytest.raises(InputError, match=r"have another shape, 0 are unknown; first encoder\.conv0\.weight"):
        restore(D3NetSettings(width=1 / 8, blocks=(1, 2, 1, 1)), state)
    with pytest.raises(InputError, match="returns depth, so it cannot return aif"):
        restore(SMALL["d3net"], state, heads=["aif"])
    depth_alone = SMALL["2hded"].model_copy(update={"heads": ("depth",)})
    with pytest.raises(InputError, match="cannot return nothing"):
        restore(depth_alone, {}, heads=[])


# --- settings -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", MODELS)
def test_every_kind_is_named_in_configs_with_the_papers_defaults(kind):
    assert KINDS.validate_json(json.dumps({"kind": kind})) == MODELS[kind].settings()


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"kind": "unet", "widht": 4}, "Extra inputs"),
        ({"kind": "resnet"}, "'unet', 'd3net', '2hded'"),
        ({"kind": "unet", "levels": 1}, "greater than or equal to 2"),
        ({"kind": "d3net", "stem": 5}, "3 or 7"),
        ({"kind": "d3net", "blocks": [6, 12, 24]}, "blocks"),
        ({"kind": "d3net", "dropout": 1.0}, "less than 1"),
        ({"kind": "2hded", "heads": []}, "at least 1"),
        ({"kind": "2hded", "heads": ["aif", "aif"]}, "names a head twice: aif, aif"),
    ],
)
def test_bad_settings_are_refused(section, message):
    with pytest.raises(ValidationError, match=message):
        KINDS.validate_json(json.dumps(section))
