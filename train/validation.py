"""Validation during a run: loss and a few metrics over unseen samples, and pictures of some."""

import math
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

    def depth(self, predicted: torch.Tensor, truth: torch.Tensor, valid: torch.Tensor) -> None:
        """Take (b, h, w) metres, predicted and true; only valid pixels count."""
        p, t = predicted[valid].cpu().double(), truth[valid].cpu().double()
        error = p - t
        ratio = torch.maximum(p / t, t / p.clamp_min(1e-9))
        values = (float(p.numel()), error.square().sum(), error.abs().sum(), (error.abs() / t).sum(),
                  ((p > 0) & (ratio < 1.25)).sum())  # fmt: skip
        for name, value in zip(_DEPTH, values, strict=True):
            self._add(name, torch.as_tensor(value))

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
        if pixels := sums.get("pixels"):
            found |= {
                "rmse": math.sqrt(sums["square"] / pixels),
                "mae": sums["absolute"] / pixels,
                "abs_rel": sums["relative"] / pixels,
                "delta1": sums["within"] / pixels,
            }
        if images := sums.get("images"):
            found["psnr"] = sums["decibel"] / images
        return found


@dataclass(frozen=True, slots=True)
class Shown:
    """One sample as a validation draws it: (3, h, w) images, (h, w) metres, NaN unknown."""

    image: npt.NDArray[np.float32]
    depth: npt.NDArray[np.float32] | None = None
    predicted_depth: npt.NDArray[np.float32] | None = None
    aif: npt.NDArray[np.float32] | None = None
    predicted_aif: npt.NDArray[np.float32] | None = None

    @property
    def titles(self) -> list[str]:
        """What the pictures of `row` are."""
        titles = ["input"]
        if self.predicted_depth is not None and self.depth is not None:
            titles += ["true depth", "predicted", "error to 50%"]
        if self.predicted_aif is not None and self.aif is not None:
            titles += ["true sharp", "restored"]
        return titles

    def row(self) -> list[npt.NDArray[np.uint8]]:
        """Return its pictures: input, depth true, predicted and their difference, all-in-focus true and predicted."""
        row = [as_picture(self.image)]
        if self.predicted_depth is not None and self.depth is not None:
            low, high = np.nanmin(self.depth, initial=np.inf), np.nanmax(self.depth, initial=-np.inf)
            # Inverse depth, as blur goes: near things would look alike otherwise.
            ends = (1 / high, 1 / low) if 0 < low <= high < np.inf else (0.0, 1.0)
            with np.errstate(divide="ignore", invalid="ignore"):
                row += [coloured(1 / d, *ends) for d in (self.depth, self.predicted_depth)]
                row.append(coloured(np.abs(self.predicted_depth / self.depth - 1), 0.0, 0.5, error=True))
        if self.predicted_aif is not None and self.aif is not None:
            row += [as_picture(self.aif), as_picture(self.predicted_aif)]
        return row


def draw(path: Path, samples: Iterable[Shown]) -> None:
    """Write a sheet of samples, a row each; nothing if there are none."""
    drawn = list(samples)
    if drawn:
        write_rows(path, drawn[0].titles, [sample.row() for sample in drawn])


def shown(batch: Tensors, outputs: Tensors, predicted: torch.Tensor | None, count: int) -> list[Shown]:
    """Return the first samples of a batch, with what the model said; `predicted` is depth in metres."""

    def picked(source: Tensors, name: str, i: int) -> npt.NDArray[np.float32] | None:
        return source[name][i].detach().float().cpu().numpy() if name in source else None

    found = []
    for i in range(min(count, len(next(iter(batch.values()))))):
        image = picked(batch, "image", i)
        if image is None:
            stack = picked(batch, "stack", i)
            assert stack is not None
            image = stack[len(stack) // 2]
        depth = picked(batch, "depth", i)
        if depth is not None and "valid" in batch:
            depth = np.where(batch["valid"][i].cpu().numpy(), depth, np.float32(np.nan))
        said = None if predicted is None else predicted[i].detach().float().cpu().numpy()
        found.append(Shown(image, depth, said, picked(batch, "aif", i), picked(outputs, "aif", i)))
    return found
