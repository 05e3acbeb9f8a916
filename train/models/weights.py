"""Weights from files: checkpoints of torch or safetensors, and ImageNet's for the encoder.

Nothing here unpickles arbitrary objects: torch's files are read with `weights_only`, safetensors' are numbers only.
"""

import json
import math
import re
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ... import InputError

DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
LARGEST_HEADER = 100_000_000
"""Bytes; the limit of safetensors' own reader."""

WRAPPERS = ("state_dict", "model", "model_state", "module")
"""Keys under which trainers keep the weights among other things."""
PREFIX = re.compile(r"^(?:module\.|model\.|backbone\.|encoder\.|features[._])+")
OLD_LAYER = re.compile(r"(denselayer\d+\.(?:norm|conv))\.([12])\.")
"""torchvision's checkpoints of 2017 say `norm.1` for what is called `norm1`."""
COUNTERS = "num_batches_tracked"


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """Read the tensors of a checkpoint: .safetensors, or what `torch.save` wrote.

    Raises
    ------
    InputError
        If the file is missing, damaged, or holds anything but tensors by name.
    """
    path = Path(path)
    try:
        return _read_safetensors(path) if path.suffix == ".safetensors" else _read_torch(path)
    except OSError as error:
        raise InputError(f"cannot read the weights {path}: {error.strerror or 'it is not a file of torch'}.") from None


def _read_torch(path: Path) -> dict[str, Tensor]:
    try:
        data: Any = torch.load(path, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception as error:
        # Torch raises many kinds of error for a file that is none of its own.
        reason = str(error).split("\n", 1)[0][:120]
        raise InputError(f"{path} is damaged, or holds more than weights: {reason}") from None
    for key in WRAPPERS:
        if isinstance(data, Mapping) and isinstance(data.get(key), Mapping):
            data = data[key]
    if not isinstance(data, Mapping) or not data or not all(isinstance(value, Tensor) for value in data.values()):
        raise InputError(f"{path} is not a file of weights: it must hold tensors by name.")
    return dict(data)


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    """Read the format of Hugging Face: header's length (u64, little-endian), header (JSON), numbers."""
    content = path.read_bytes()
    damaged = InputError(f"{path} is not a whole file of safetensors: fetch it again.")
    try:
        (length,) = struct.unpack_from("<Q", content)
        if length > min(LARGEST_HEADER, len(content) - 8):
            raise damaged
        header = json.loads(content[8 : 8 + length])
        numbers = memoryview(bytearray(content))[8 + length :]
        found = {}
        for name, entry in header.items():
            if name != "__metadata__":
                found[name] = _tensor(numbers, DTYPES[entry["dtype"]], entry["shape"], entry["data_offsets"])
    except (struct.error, ValueError, KeyError, TypeError, AttributeError):
        raise damaged from None
    return found


def _tensor(numbers: memoryview, dtype: torch.dtype, shape: list[int], offsets: list[int]) -> Tensor:
    start, end = offsets
    if not (0 <= start <= end <= len(numbers)) or math.prod(shape) * dtype.itemsize != end - start:
        raise ValueError(shape)
    if start == end:
        return torch.empty(shape, dtype=dtype)
    return torch.frombuffer(numbers[start:end], dtype=dtype).reshape(shape)


def load_encoder(encoder: nn.Module, path: str | Path, kind: str = "DenseNet-121") -> str:
    """Copy what fits of an ImageNet network's weights into an encoder; what does not fit stays as it is.

    Names are torchvision's of any age, or timm's (whose feature extractors say `features_conv0`); prefixes of wrappers,
    `features` among them, are ignored. The classifier has no place here.

    Parameters
    ----------
    encoder
        A `DenseEncoder`, or another one, whose names are those of the checkpoint without such prefixes.
    path
        The checkpoint.
    kind
        What it is of, for messages.

    Returns
    -------
    str
        For the log: how many tensors were taken from the file, and by name which were not.

    Raises
    ------
    InputError
        If the file cannot be read, or nothing in it fits.
    """
    found = {OLD_LAYER.sub(r"\1\2.", PREFIX.sub("", name)): value for name, value in read_weights(path).items()}
    own = {name: value for name, value in encoder.state_dict().items() if not name.endswith(COUNTERS)}
    fitting = {name: found[name] for name, value in own.items() if name in found and found[name].shape == value.shape}
    if not fitting:
        raise InputError(f"{path} is not a {kind}: none of its {len(found)} tensors fits the encoder.")
    encoder.load_state_dict(fitting, strict=False)
    parts = [f"encoder: {len(fitting)} of {len(own)} tensors from {Path(path).name}"]
    differ = [f"{name} ({_size(own[name])}, there {_size(found[name])})" for name in own if _differs(name, own, found)]
    parts += [f"of another shape, random: {_some(differ)}"] if differ else []
    missing = [name for name in own if name not in found]
    parts += [f"not in the file, random: {_some(missing)}"] if missing else []
    unused = [name for name in found if name not in own and not name.endswith(COUNTERS)]
    parts += [f"not used of the file: {_some(unused)}"] if unused else []
    return "; ".join(parts)


def _differs(name: str, own: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> bool:
    return name in found and found[name].shape != own[name].shape


def _size(value: Tensor) -> str:
    return "x".join(str(length) for length in value.shape)


def _some(names: list[str], most: int = 8) -> str:
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")
