"""From what a store holds to what a model takes: integers to floats, crops, flips and colours, on the model's device.

What is random is drawn by (seed, epoch, sample), so that no worker, no batch size and no resumption alters it.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from .. import InputError
from .blur_changes import change_blur, warp
from .data import Facts
from .samples import Batch
from .seeds import Stream, generator
from .settings import DataSettings, Flip
from .slices import choose, slice_count
from .tints import tint

CROP, FLIPS, COLOURS, BLUR = slice(0, 2), slice(2, 5), slice(5, 8), slice(8, 13)
"""Places of a sample's uniform numbers; those for the colours of slices follow."""
DRAWN = 13
PICTURES = ("capture", "aif", "stack", "dual")
MAPS = ("depth", "valid", "coc", "raw", "stack_raw")

Float64 = npt.NDArray[np.float64]


def uniforms(seed: int, epoch: int, sample: int, slices: int = 0) -> Float64:
    """Return the numbers in [0, 1) that decide what happens to a sample in an epoch, (13 + 3 slices,) float64."""
    return generator(seed, Stream.AUGMENTATION, epoch, sample).random(DRAWN + 3 * slices)


def prepare(
    batch: Batch, settings: DataSettings, facts: Facts, device: torch.device | str = "cpu", *, seed: int = 0,
    epoch: int = 0, step: int = 0, training: bool = True, surface: bool = False,
) -> Batch:  # fmt: skip
    """Return what a model takes and is compared with, of a batch of `StoreDataset`.

    Parameters
    ----------
    batch
        As `StoreDataset` gives it.
    settings, facts
        Of the dataset.
    device
        Where to work, and where the result is.
    seed, epoch
        Decide the augmentations, and which slices are seen, with each sample's `index`.
    step
        Decides, with the seed, how many slices are seen.
    training
        Crop at random, augment and choose slices; or crop the middle, and take all slices: where stores have different
        numbers of them, as many as the store with fewest, evenly spread.
    surface
        Also give `surface`, for a renderer: (B, h, w) metres, NaN where unknown, whatever `settings.depth` says.

    Returns
    -------
    Of (B, ...) tensors, float32 if not said otherwise, pictures from 0 to 1:
    `image` (B, 3, h, w), or `stack` (B, S, 3, h, w) with `focus` (B, S) in metres, and `image` where the capture beside
    the stack is asked for;
    `depth` (B, h, w) in metres, 0 where `valid` (B, h, w) bool is false: unknown, or outside `settings.depth`;
    `aif` (B, 3, h, w); `coc` (B, 1 or S, h, w) in pixels, 0 where unknown; `dual` (B, 2, 3, h, w);
    `raw` (B, 1, h, w) and `stack_raw` (B, S, h, w), 0 at black level and 1 at white level; `lens` (B, 4);
    `f_number` (B, S); `intrinsics` (B, S, 3, 3) in pixels of the crop; `pose` (B, S, 6);
    `index` and `store` (B,) int64. Of these, what settings ask for.

    Raises
    ------
    InputError
        If a slice is focused at no distance above 0.
    """
    if settings.input == "stack":
        count = slice_count(seed, step, settings.slices) if training else None
        batch = choose(batch, facts.stacks, count, seed, epoch)
        _check_focus(batch)
    moved = {name: _channels_first(name, tensor.to(device, non_blocking=True)) for name, tensor in batch.items()}
    slices = moved["stack"].shape[1] if settings.augment.colour_per_slice else 0
    indices = batch["index"].tolist()
    random = np.stack([uniforms(seed, epoch, index, slices) for index in indices])
    moved = _cut(moved, settings, random if training else None)
    ready = {name: _numbers(name, tensor, facts) for name, tensor in moved.items()}
    if training:
        ready = _flip(ready, settings, random)
        if settings.augment.warps:
            ready = warp(ready, settings.augment, random[:, BLUR])
    if surface:
        known = torch.isfinite(ready["depth"]) & ready.get("valid", torch.ones_like(ready["depth"], dtype=torch.bool))
        ready["surface"] = torch.where(known, ready["depth"], torch.nan).squeeze(1)
    _mask_depth(ready, settings)
    pictures = {name: ready[name] for name in PICTURES if name in ready}
    if training and settings.augment.colours:
        coloured = {name: _coloured(name, one, settings, random) for name, one in pictures.items()}
        if settings.augment.tints:
            coloured = tint(pictures, coloured, settings.augment, seed, epoch, indices)
        pictures = coloured
    if training:
        seen = [name for name in ("capture", settings.input) if name in pictures]
        pictures |= {name: change_blur(pictures[name], settings.augment, random[:, BLUR]) for name in seen}
    if settings.light == "linear" and facts.encoding == "srgb":
        pictures = {name: srgb_to_linear(one) for name, one in pictures.items()}
    ready |= pictures
    first = {"stack": ready["stack"]} if settings.input == "stack" else {}
    image = "capture" if "capture" in ready else settings.input
    if image != "stack":
        first["image"] = ready[image]
    ready |= {name: ready[name].squeeze(1) for name in ("depth", "valid") if name in ready}
    for name in ("capture", *(() if "aif" in settings.targets else ("aif",))):
        ready.pop(name, None)
    return first | {name: tensor for name, tensor in ready.items() if name not in first}


def srgb_to_linear(picture: torch.Tensor) -> torch.Tensor:
    """Decode sRGB values of 0 to 1 (IEC 61966-2-1)."""
    return torch.where(picture <= 0.04045, picture / 12.92, ((picture + 0.055) / 1.055).clamp_min(0) ** 2.4)


def linear_to_srgb(picture: torch.Tensor) -> torch.Tensor:
    """Encode linear light as sRGB (IEC 61966-2-1); what lies outside 0 to 1 is cut off."""
    light = picture.clamp(0, 1)
    return torch.where(light <= 0.0031308, light * 12.92, 1.055 * light.clamp_min(1e-9) ** (1 / 2.4) - 0.055)


def _check_focus(batch: Batch) -> None:
    if not bool((batch["focus"] > 0).all()):
        raise InputError(
            "the store's array focus holds what is no distance above 0: it is damaged; fetch a fresh copy, or generate "
            "it again."
        )


def _channels_first(name: str, tensor: torch.Tensor) -> torch.Tensor:
    # Few operations know torch.uint16, on some devices none; the bits of int16 are the same.
    tensor = tensor.view(torch.int16) if tensor.dtype == torch.uint16 else tensor
    if name in PICTURES:
        return tensor.movedim(-1, -3)
    return tensor.unsqueeze(1) if name in MAPS and tensor.ndim == 3 else tensor


def _cut(batch: Batch, settings: DataSettings, random: Float64 | None) -> Batch:
    """Cut the same window out of all arrays of a sample; intrinsics follow."""
    if settings.crop is None:
        return batch
    height, width = next(tensor.shape[-2:] for name, tensor in batch.items() if name in PICTURES)
    room = np.array([height - settings.crop[0], width - settings.crop[1]])
    share = np.full((len(batch["index"]), 2), 0.5) if random is None else random[:, CROP]
    corners = np.floor(share * (room + (random is not None))).astype(np.int64)
    if {"raw", "stack_raw"} & batch.keys():
        corners -= corners % 2
    windows = [
        (..., slice(y, y + settings.crop[0]), slice(x, x + settings.crop[1])) for y, x in corners.tolist()
    ]  # fmt: skip
    cut = dict(batch)
    for name in batch.keys() & {*PICTURES, *MAPS}:
        cut[name] = torch.stack([one[window] for one, window in zip(batch[name], windows, strict=True)])
    if "intrinsics" in batch:
        moved = torch.as_tensor(corners[:, ::-1].copy(), dtype=torch.float32, device=batch["intrinsics"].device)
        cut["intrinsics"] = batch["intrinsics"].clone()
        cut["intrinsics"][..., :2, 2] -= moved[:, None]
    return cut


def _numbers(name: str, tensor: torch.Tensor, facts: Facts) -> torch.Tensor:
    """Turn integers and half floats into float32: pictures and mosaics to 0 ... 1."""
    if tensor.dtype == torch.int16:
        # The full range of uint16, of which int16 shows the upper half as negative.
        tensor = (tensor.to(torch.int32) & 0xFFFF).to(torch.float32)
        if name in PICTURES:
            tensor = tensor / 65535.0
    elif tensor.dtype == torch.uint8:
        tensor = tensor.to(torch.float32) / 255.0
    elif tensor.dtype in (torch.float16, torch.float64):
        tensor = tensor.to(torch.float32)
    if name in facts.levels:
        black, white = facts.levels[name]
        tensor = (tensor - black) / (white - black)
    return tensor.contiguous()


def _flip(batch: Batch, settings: DataSettings, random: Float64) -> Batch:
    """Flip samples, each with probability 1/2 in each way that settings name."""
    places: dict[Flip, int] = {"left-right": 0, "up-down": 1, "transpose": 2}
    for flip in settings.augment.flips:
        chosen = torch.as_tensor(random[:, FLIPS][:, places[flip]] < 0.5, device=batch["index"].device)
        for name in batch.keys() & {*PICTURES, *MAPS, "intrinsics", "pose"}:
            one = batch[name]
            pick = chosen.reshape(-1, *[1] * (one.ndim - 1))
            batch[name] = torch.where(pick, _flipped(name, one, flip, settings, batch), one)
    return batch


def _flipped(name: str, tensor: torch.Tensor, flip: Flip, settings: DataSettings, batch: Batch) -> torch.Tensor:
    if name == "intrinsics":
        return _flipped_intrinsics(tensor, flip, batch[settings.input].shape[-2:])
    if name == "pose":
        return _flipped_pose(tensor, flip)
    if flip == "transpose":
        return tensor.transpose(-2, -1)
    flipped = tensor.flip(-1 if flip == "left-right" else -2)
    # Mirrored, the left half of the aperture is the right one.
    return flipped.flip(1) if name == "dual" and flip == "left-right" else flipped


def _flipped_intrinsics(matrices: torch.Tensor, flip: Flip, size: Any) -> torch.Tensor:
    if flip == "transpose":
        turn = [1, 0, 2]
        return matrices[..., turn, :][..., turn]
    flipped = matrices.clone()
    axis, length = (0, size[1]) if flip == "left-right" else (1, size[0])
    flipped[..., axis, 2] = length - 1 - matrices[..., axis, 2]
    return flipped


def _flipped_pose(pose: torch.Tensor, flip: Flip) -> torch.Tensor:
    """Mirror a rotation vector, which keeps its sign along the mirror's normal alone, and a translation."""
    if flip == "transpose":
        return torch.cat([-pose[..., [1, 0, 2]], pose[..., [4, 3, 5]]], -1)
    signs = [1, -1, -1, -1, 1, 1] if flip == "left-right" else [-1, 1, -1, 1, -1, 1]
    return pose * pose.new_tensor(signs)


def _coloured(name: str, picture: torch.Tensor, settings: DataSettings, random: Float64) -> torch.Tensor:
    """Change contrast about 0.5, brightness and gamma of pictures: one sample's all alike, or slice by slice."""
    augment = settings.augment
    ranges = np.array([augment.contrast, augment.brightness, augment.gamma])
    draws = random[:, None, COLOURS]
    if augment.colour_per_slice and name == "stack":
        draws = random[:, DRAWN:].reshape(len(random), -1, 3)
    values = ranges[:, 0] + draws * (ranges[:, 1] - ranges[:, 0])
    factors = torch.as_tensor(values, dtype=torch.float32, device=picture.device)
    contrast, brightness, gamma = (factors[..., column, None, None, None] for column in range(3))
    if picture.ndim == 4:
        contrast, brightness, gamma = contrast[:, 0], brightness[:, 0], gamma[:, 0]
    return ((picture - 0.5) * contrast + 0.5 + brightness).clamp(0, 1) ** gamma


def _mask_depth(batch: Batch, settings: DataSettings) -> None:
    """Say where depth is known and wanted, and fill it with 0 elsewhere: NaN times 0 would be NaN."""
    if "depth" in batch:
        depth = batch["depth"]
        valid = torch.isfinite(depth) & (depth > 0)
        if settings.depth is not None:
            valid &= (depth >= settings.depth[0]) & (depth <= settings.depth[1])
        batch["valid"] = valid & batch["valid"] if "valid" in batch else valid
        batch["depth"] = torch.where(batch["valid"], depth, 0.0)
    if "coc" in batch:
        batch["coc"] = torch.nan_to_num(batch["coc"])
