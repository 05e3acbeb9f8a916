"""Validation during a run: loss and a few metrics over unseen samples, and pictures of some."""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from .devices import Team
from .pictures import as_picture, coloured, write_rows

Tensors = Mapping[str, torch.Tensor]
_DEPTH = ("pixels", "square", "absolute", "relative", "within")
_PIXELS = re.compile("([^:]*/)?pixels")
LARGER_IS_BETTER = {"psnr", "delta1"}


@dataclass
class Scores:
    """Sums over what was seen so far; numbers come out at the end, so that any division into parts gives the same.

    Depth metrics are over all known pixels of all images together ("per pixel"); PSNR is the mean over images.
    `defocal evaluate` has the field's whole list.
    """

    sums: dict[str, torch.Tensor] = field(default_factory=dict)

    def _add(self, name: str, value: torch.Tensor | float) -> None:
        value = torch.as_tensor(value).detach().to("cpu", torch.float64)
        self.sums[name] = self.sums.get(name, torch.zeros((), dtype=torch.float64)) + value

    def losses(self, terms: Tensors, samples: int) -> None:
        """Take the terms of the loss of so many samples."""
        self._add("samples", samples)
        for name, value in terms.items():
            self._add(f"loss:{name}", value.double() * samples if value.device.type != "mps" else value * samples)

    def depths(self, told: Tensors, truth: torch.Tensor, valid: torch.Tensor) -> None:
        """Take the depths that a model tells, by their labels, as `depth` does; the first has the plain names."""
        for place, (label, predicted) in enumerate(told.items()):
            self.depth(predicted, truth, valid, of=f"{label}/" if place else "")

    def depth(self, predicted: torch.Tensor, truth: torch.Tensor, valid: torch.Tensor, *, of: str = "") -> None:
        """Take (b, h, w) metres, predicted and true; only valid pixels count. `of` goes before the metrics' names."""
        p, t = predicted[valid].cpu().double(), truth[valid].cpu().double()
        error = p - t
        ratio = torch.maximum(p / t, t / p.clamp_min(1e-9))
        values = (float(p.numel()), error.square().sum(), error.abs().sum(), (error.abs() / t).sum(),
                  ((p > 0) & (ratio < 1.25)).sum())  # fmt: skip
        for name, value in zip(_DEPTH, values, strict=True):
            self._add(of + name, torch.as_tensor(value))

    def images(self, predicted: torch.Tensor, truth: torch.Tensor) -> None:
        """Take (b, 3, h, w) images in [0, 1], restored and true."""
        mean = (predicted - truth).square().mean((1, 2, 3)).cpu().double().clamp_min(1e-12)
        self._add("images", float(len(mean)))
        self._add("decibel", (-10 * mean.log10()).sum())

    def numbers(self, team: Team) -> dict[str, float]:
        """Return loss and metrics by name, over all processes of a team."""
        names = sorted(self.sums)
        total = team.total(torch.stack([self.sums[name] for name in names]))
        sums = {name: float(value) for name, value in zip(names, total, strict=True)}
        found = {
            "loss" if name == "loss:total" else name.removeprefix("loss:"): value / sums["samples"]
            for name, value in sums.items()
            if name.startswith("loss:")
        }
        for of in sorted(name.removesuffix("pixels") for name in sums if _PIXELS.fullmatch(name)):
            if pixels := sums[f"{of}pixels"]:
                found |= {
                    f"{of}rmse": math.sqrt(sums[f"{of}square"] / pixels),
                    f"{of}mae": sums[f"{of}absolute"] / pixels,
                    f"{of}abs_rel": sums[f"{of}relative"] / pixels,
                    f"{of}delta1": sums[f"{of}within"] / pixels,
                }
        if images := sums.get("images"):
            found["psnr"] = sums["decibel"] / images
        return found


Picture = npt.NDArray[np.float32]


def in_words(numbers: Mapping[str, float]) -> str:
    """Say what `Scores.numbers` found, metrics with their units; terms of the loss, as in `depth/rmse`, have none."""
    units = {"rmse": " m", "mae": " m", "psnr": " dB"}
    of_loss = ("depth", "aif", "alignment")
    return ", ".join(
        f"{name} {value:.4g}{'' if name.startswith(of_loss) else units.get(name.split('/')[-1], '')}"
        for name, value in numbers.items()
    )


@dataclass(frozen=True, slots=True)
class Shown:
    """One sample as a validation draws it.

    Attributes
    ----------
    seen
        What the model saw, (3, h, w) images by their titles: of a stack two slices.
    depth
        True depth, (h, w) metres, NaN unknown.
    told
        What the model said of it, by its label.
    aif, told_aif
        All-in-focus image, true and as the model made it, (3, h, w).
    """

    seen: Mapping[str, Picture]
    depth: Picture | None = None
    told: Mapping[str, Picture] = field(default_factory=dict)
    aif: Picture | None = None
    told_aif: Picture | None = None

    def row(self) -> dict[str, npt.NDArray[np.uint8]]:
        """Return its pictures by their titles: what was seen, depth and its error, the all-in-focus image."""
        row = {title: as_picture(image) for title, image in self.seen.items()}
        known = self.depth if self.depth is not None else next(iter(self.told.values()), None)
        if self.told and known is not None:
            low, high = np.nanmin(known, initial=np.inf), np.nanmax(known, initial=-np.inf)
            # Inverse depth, as blur goes: near things would look alike otherwise.
            ends = (1 / high, 1 / low) if 0 < low <= high < np.inf else (0.0, 1.0)
            with np.errstate(divide="ignore", invalid="ignore"):
                if self.depth is not None:
                    row["true depth"] = coloured(1 / self.depth, *ends)
                for label, told in self.told.items():
                    row[label or "predicted"] = coloured(1 / told, *ends)
                    if self.depth is not None:
                        error = coloured(np.abs(told / self.depth - 1), 0.0, 0.5, error=True)
                        row[f"{label} error to 50 %".strip()] = error
        if self.told_aif is not None:
            row |= {"true sharp": as_picture(self.aif)} if self.aif is not None else {}
            row["restored"] = as_picture(self.told_aif)
        return row


def draw(path: Path, samples: Iterable[Shown]) -> None:
    """Write a sheet of samples, a row each; nothing if there are none."""
    rows = [sample.row() for sample in samples]
    if rows:
        write_rows(path, list(rows[0]), [list(row.values()) for row in rows])


def shown(batch: Tensors, outputs: Tensors, told: Tensors, count: int) -> list[Shown]:
    """Return the first samples of a batch, with what the model said; `told` is depth in metres, by its label."""

    def picked(source: Tensors, name: str, i: int) -> Picture | None:
        return source[name][i].detach().float().cpu().numpy() if name in source else None

    found = []
    for i in range(min(count, len(next(iter(batch.values()))))):
        depth = picked(batch, "depth", i)
        if depth is not None and "valid" in batch:
            depth = np.where(batch["valid"][i].cpu().numpy(), depth, np.float32(np.nan))
        said = {label: one[i].detach().float().cpu().numpy() for label, one in told.items()}
        found.append(Shown(_seen(batch, i), depth, said, picked(batch, "aif", i), picked(outputs, "aif", i)))
    return found


def _seen(batch: Tensors, i: int) -> dict[str, Picture]:
    """Return the capture that a model saw, or the slices of a stack that are focused nearest and farthest, or both."""
    found = {}
    if "stack" in batch:
        focus = batch["focus"][i]
        ends = {"nearest slice": int(focus.argmin()), "farthest slice": int(focus.argmax())}
        found = {title: batch["stack"][i, place] for title, place in ends.items()}
    if "image" in batch:
        found["capture" if "stack" in batch else "input"] = batch["image"][i]
    return {title: image.detach().float().cpu().numpy() for title, image in found.items()}
