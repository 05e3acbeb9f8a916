"""Weights from files: ImageNet's for the encoder under any names, safetensors, and files that are something else."""

import json
import struct

import pytest
import torch

from defocal import InputError
from defocal.train.models import build
from defocal.train.models.d3net import D3NetSettings
from defocal.train.models.densenet import DenseEncoder
from defocal.train.models.hded import HdedSettings
from defocal.train.models.weights import load_encoder, read_weights

SMALL = {
    "d3net": D3NetSettings(width=1 / 16, blocks=(1, 2, 1, 1)),
    "2hded": HdedSettings(width=1 / 16, blocks=(1, 2, 1, 1)),
}


def imagenet(rename=lambda name: name, stem=7):
    """What torchvision's DenseNet-121 of the small shape would hold, all ones."""
    own = DenseEncoder(SMALL["d3net"].model_copy(update={"stem": stem}), 3).state_dict()
    ours = ("downconv0", "norm1.")
    found = {rename(name): torch.ones_like(value) for name, value in own.items() if not name.startswith(ours)}
    return {**found, "classifier.weight": torch.ones(1000, 8), "classifier.bias": torch.ones(1000)}


def old(name):
    for layer in ("norm1", "norm2", "conv1", "conv2"):
        name = name.replace(f".{layer}.", f".{layer[:-1]}.{layer[-1]}.")
    return "features." + name


def save(path, state):
    if path.suffix == ".safetensors":
        path.write_bytes(safetensors(state))
    else:
        torch.save(state, path)
    return str(path)


def safetensors(state):
    header, numbers = {"__metadata__": {"format": "pt"}}, b""
    codes = {torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16", torch.int64: "I64"}
    for name, value in state.items():
        raw = value.contiguous().view(-1).view(torch.uint8).numpy().tobytes() if value.numel() else b""
        offsets = [len(numbers), len(numbers) + len(raw)]
        header[name] = {"dtype": codes[value.dtype], "shape": list(value.shape), "data_offsets": offsets}
        numbers += raw
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + numbers


NAMES = {
    "torchvision": lambda name: "features." + name,
    "torchvision 2017": old,
    "timm features": lambda name: "features_" + name,
    "wrapped": lambda name: "module.features." + name,
}


@pytest.mark.parametrize("rename", NAMES.values(), ids=NAMES)
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_imagenet_weights_of_any_name_are_loaded_and_what_is_not_is_named(rename, suffix, tmp_path):
    path = save(tmp_path / f"densenet121{suffix}", imagenet(rename))
    model = build(SMALL["d3net"].model_copy(update={"weights": path}))
    assert (model.encoder.conv0.weight == 1).all()
    assert (model.encoder.denseblock2.denselayer2.norm2.running_var == 1).all()
    assert not (model.decoder.last.weight == 1).all()
    total = sum(not name.endswith("num_batches_tracked") for name in model.encoder.state_dict())
    assert model.note == (
        f"encoder: {total - 5} of {total} tensors from densenet121{suffix}; not in the file, random: downconv0.weight, "
        "norm1.weight, norm1.bias, norm1.running_mean, norm1.running_var; "
        "not used of the file: classifier.weight, classifier.bias"
    )
    assert build(SMALL["d3net"]).note == "all weights are random"


def test_a_stem_of_another_width_stays_random_and_is_named(tmp_path):
    path = save(tmp_path / "w.pth", {"state_dict": imagenet(NAMES["torchvision"])})
    model = build(SMALL["2hded"].model_copy(update={"weights": path, "stem": 3}))
    assert "of another shape, random: conv0.weight (4x3x3x3, there 4x3x7x7)" in model.note
    assert not (model.encoder.conv0.weight == 1).all()


def test_safetensors_are_read_bit_for_bit(tmp_path):
    state = {
        "a": torch.randn(3, 4),
        "b": torch.randn(5).bfloat16(),
        "c": torch.tensor(7),
        "d": torch.randn(2, 1, 2).half(),
        "e": torch.empty(0, 3),
    }
    found = read_weights(save(tmp_path / "w.safetensors", state))
    assert set(found) == set(state)
    assert all(found[name].dtype == value.dtype and torch.equal(found[name], value) for name, value in state.items())


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"1234567",
        struct.pack("<Q", 2**60) + b"{}",
        struct.pack("<Q", 2) + b"[]",
        struct.pack("<Q", 3) + b"{]}",
        safetensors({"a": torch.ones(4)})[:-1],
        safetensors({"a": torch.ones(4)}).replace(b"[4]", b"[5]"),
        safetensors({"a": torch.ones(4)}).replace(b"F32", b"F33"),
        safetensors({"a": torch.ones(4)}).replace(b"[0, 16]", b"[-8, 8]"[:7]),
    ],
)
def test_damaged_safetensors_are_refused(content, tmp_path):
    path = tmp_path / "w.safetensors"
    path.write_bytes(content)
    with pytest.raises(InputError, match="not a whole file of safetensors"):
        read_weights(path)


class Payload:
    """Something that a pickle could run."""

    def __reduce__(self):
        return (print, ("unpickled",))


def test_files_that_are_no_weights_are_refused_and_never_run(tmp_path, capsys):
    encoder = DenseEncoder(SMALL["d3net"], 3)
    before = encoder.conv0.weight.clone()
    with pytest.raises(InputError, match=r"cannot read the weights .*No such file"):
        load_encoder(encoder, tmp_path / "none.pth")
    torch.save({"a": Payload()}, tmp_path / "code.pth")
    with pytest.raises(InputError, match="is damaged, or holds more than weights"):
        load_encoder(encoder, tmp_path / "code.pth")
    (tmp_path / "text.pth").write_text("<html>not found</html>")
    with pytest.raises(InputError, match="is damaged, or holds more than weights"):
        load_encoder(encoder, tmp_path / "text.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(InputError, match="must hold tensors by name"):
        load_encoder(encoder, tmp_path / "list.pth")
    torch.save({"layer1.0.conv1.weight": torch.ones(4, 4, 3, 3)}, tmp_path / "resnet.pth")
    with pytest.raises(InputError, match="is not a DenseNet-121: none of its 1 tensors fits"):
        load_encoder(encoder, tmp_path / "resnet.pth")
    assert torch.equal(before, encoder.conv0.weight)
    assert "unpickled" not in capsys.readouterr().out
