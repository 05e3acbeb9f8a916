"""FocusNet, DefocusNet and both as one: layers, counts, order of slices, heads, weights from files, colours."""

import numpy as np
import pytest
import torch
from stores import noise_store
from torch import nn

from defocal import InputError
from defocal.train.batches import prepare
from defocal.train.config import load_config
from defocal.train.data import StoreDataset
from defocal.train.models import MODELS, build, restore
from defocal.train.models.defocusnet import DefocusNetSettings, DefocusNetShape, PlainDenseBlock, UpProjection
from defocal.train.models.focusnet import FocusNetSettings, FocusNetShape, VggBody
from defocal.train.models.udfd import UdfdSettings
from defocal.train.settings import AugmentSettings, DataSettings

FOCUS = {"width": 1 / 32, "gathered": 4, "slices": 3, "norm": True}
DEFOCUS = {"blocks": (1, 2), "growth": 4, "width": 8, "decoder": (1, 1, 1)}
SMALL = UdfdSettings(focus=FocusNetShape(**FOCUS), defocus=DefocusNetShape(**DEFOCUS))
NAMES = ["udfd", "udfd-supervised", "focusnet", "defocusnet"]
pytestmark = pytest.mark.usefixtures("one_thread")


def batch(seed=0, size=(64, 32)):
    torch.manual_seed(seed)
    return {
        "stack": torch.rand(2, 3, 3, *size),
        "image": torch.rand(2, 3, *size),
        "sharp_at": torch.tensor([[0.1, 0.9, 0.4], [0.2, 0.3, 0.7]]),
    }


def parameters(module):
    return sum(parameter.numel() for parameter in module.parameters())


def test_the_body_is_vgg_19():
    with torch.device("meta"):
        body = VggBody(1.0, norm=False)
        deep, stages = body(torch.empty(1, 3, 64, 96))
    assert parameters(body) == 20_024_384  # 143,667,240 less the fully connected layers
    assert parameters(body) == 143_667_240 - (512 * 49 * 4096 + 4096) - (4096**2 + 4096) - (4096 * 1000 + 1000)
    kinds = [type(layer) for layer in body.features]
    assert (kinds.count(nn.Conv2d), kinds.count(nn.MaxPool2d)) == (16, 5)
    assert deep.shape == (1, 512, 2, 3)
    assert [tuple(stage.shape[1:]) for stage in stages] == [
        (64, 64, 96), (128, 32, 48), (256, 16, 24), (512, 8, 12), (512, 4, 6),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("settings", "count"),
    [(FocusNetSettings(), 24_863_046), (DefocusNetSettings(), 8_888_033), (UdfdSettings(), 33_751_079)],
    ids=["focusnet", "defocusnet", "udfd"],
)
def test_parameters(settings, count):
    with torch.device("meta"):
        model = MODELS[settings.kind].construct(settings)
    assert parameters(model) == count


def test_dense_blocks_keep_what_they_were_given():
    block = PlainDenseBlock(6, 3, 4).eval()
    x = torch.rand(1, 6, 8, 8)
    found = block(x)
    assert found.shape == (1, 18, 8, 8)
    torch.testing.assert_close(found[:, :6], x)
    kinds = [type(part) for part in block.layers[1]]
    assert kinds == [nn.BatchNorm2d, nn.ReLU, nn.Conv2d]
    assert block.layers[2][2].weight.shape == (4, 14, 3, 3)
    assert UpProjection(6, 5)(x).shape == (1, 5, 16, 16)


def test_both_networks_answer():
    model = build(SMALL, seed=1)
    found = model(batch())
    assert set(found) == {"depth", "depth_defocus"}
    for value in found.values():
        assert value.shape == (2, 64, 32)
        low, high = value.detach().aminmax()
        assert 0 <= low < high <= 1
    assert model.depths == {"FocusNet": "depth", "DefocusNet": "depth_defocus"}
    assert model.inputs == ("stack", "sharp_at", "image")
    assert (model.multiple, model.bounds, model.slices) == (32, (0.0, 1.0), (3, 3))
    found["depth"].sum().backward()
    reached = [parameter.grad is not None for parameter in model.heads["depth"].parameters()]
    assert all(reached)
    assert all(parameter.grad is None for parameter in model.heads["depth_defocus"].parameters())


def test_the_order_of_slices_does_not_count():
    model = build(SMALL, seed=1).eval()
    data = batch()
    turned = {**data, **{name: data[name][:, [2, 0, 1]] for name in ("stack", "sharp_at")}}
    with torch.no_grad():
        first, second = model(data), model(turned)
        swapped = model({**data, "stack": turned["stack"]})
    assert torch.equal(first["depth"], second["depth"])
    assert not torch.allclose(first["depth"], swapped["depth"])


def test_each_network_can_be_used_by_itself():
    model = build(SMALL, seed=1).eval()
    data, state = batch(), model.state_dict()
    with torch.no_grad():
        both = model(data)
        for head, inputs in (("depth", ("stack", "sharp_at")), ("depth_defocus", ("image",))):
            alone = restore(SMALL, state, heads=[head])
            assert (alone.inputs, alone.outputs) == (inputs, (head,))
            found = alone({name: data[name] for name in inputs})
            assert torch.equal(found[head], both[head])
    assert restore(SMALL, state, heads=["depth_defocus"]).multiple == 8


def test_weights_of_imagenet_are_taken(tmp_path):
    path = tmp_path / "vgg19.pth"
    width = {"width": 1 / 32, "norm": False}
    body = VggBody(**width)
    torch.save({**body.state_dict(), "classifier.0.weight": torch.zeros(2, 2)}, path)
    model = build(FocusNetSettings(**width, weights=str(path)))
    assert torch.equal(model.body.features[0].weight, body.features[0].weight)
    assert "32 of 32 tensors from vgg19.pth" in model.note
    joint = UdfdSettings(focus=FocusNetShape(**width, weights=str(path)), defocus=SMALL.defocus)
    made = build(joint)
    assert made.note == model.note
    path.unlink()
    assert restore(joint, made.state_dict()).note == "all weights are from a checkpoint"
    torch.save({"conv.weight": torch.zeros(2)}, path)
    with pytest.raises(InputError, match="is not a VGG-19"):
        build(joint)


def test_another_number_of_slices_is_refused():
    data = batch()
    with pytest.raises(InputError, match="takes stacks of 3 slices, not of 2"):
        build(SMALL)({**data, "stack": data["stack"][:, :2], "sharp_at": data["sharp_at"][:, :2]})


@pytest.mark.parametrize("name", [f"{name}{size}" for name in NAMES for size in ("", "-smoke")])
def test_configs_are_whole(name):
    config = load_config(name)
    with torch.device("meta"):
        model = MODELS[config.model.kind].construct(config.model)
    config.data.check_gives(model.inputs, "the model")
    config.data.check_gives(config.loss.needs, "the loss")
    assert not any(side % model.multiple for side in config.data.crop)


# --- colours --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def stacks(tmp_path_factory):
    out = {"arrays": ["aif", "depth", "stack", "capture"]}
    changes = {"stack": {"focus": ["0.9 m", "3 m"]}, "output": out, "scenes": {"size": [16, 16]}}
    return noise_store(tmp_path_factory.mktemp("tints") / "s", count=24, **changes)


def prepared(store, **augment):
    settings = DataSettings.parse(
        {"input": "stack", "targets": ["depth", "aif"], "extra": ["capture"], "augment": {"flips": [], **augment}}
    )
    data = StoreDataset.of([store], settings)
    return prepare(data.__getitems__(list(range(len(data)))).batch, settings, data.facts, seed=4)


def test_colours_change_by_factors_half_of_the_time_and_all_pictures_alike(stacks):
    plain = prepared(stacks)
    found = prepared(stacks, probability=0.5, gain=(0.5, 0.6), colour=(0.8, 1.2))
    ratios = {name: found[name] / plain[name].clamp_min(1e-6) for name in ("aif", "image", "stack")}
    changed = ~torch.isclose(ratios["aif"].flatten(1).amax(1), torch.ones(len(plain["aif"])))
    assert 0.2 < changed.float().mean() < 0.8
    for sample in range(len(plain["aif"])):
        lit = plain["aif"][sample] > 0.1
        for colour in range(3):
            factor = ratios["aif"][sample, colour][lit[colour]].median()
            assert not changed[sample] or 0.4 <= factor <= 0.72
            for name in ("image", "stack"):
                picture = found[name][sample][..., colour, :, :]
                torch.testing.assert_close(picture, plain[name][sample][..., colour, :, :] * factor, rtol=0, atol=1e-5)


def test_colours_that_are_not_asked_for_are_drawn_as_ever(stacks):
    assert AugmentSettings().tints is False
    first = prepared(stacks, gamma=(0.5, 2.0))
    second = prepared(stacks, gamma=(0.5, 2.0), probability=0.999999)
    for name in ("aif", "image", "stack"):
        assert torch.equal(first[name], second[name])
    np.testing.assert_array_equal(prepared(stacks, gamma=(0.5, 2.0), probability=0.0)["aif"], prepared(stacks)["aif"])
