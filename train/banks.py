"""The PSF bank that a store holds, for networks that undo blur: kernels by depth, and which depth has which.

Every store has one, `psf/main`: of masks and measurements the planes that it was rendered with, of disks and other
shapes a kernel for each step of the circle of confusion.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from .. import InputError
from ..synth.camera import ThinLens
from ..synth.store import Store, open_store

GROUP = "psf/main"
NAMES = ("kernels", "coc", "optics")
"""Tensors that a bank is, in the state of a model as `bank_kernels` and so on."""
SLACK = 1e-6
"""Pixels of CoC that a bank may lack of the depths that it is to serve."""
MOST_AMISS = 1e-2
"""Share of the light that rounding may add to a kernel, or take from it; more is damage."""


@dataclass(frozen=True, eq=False)
class Bank:
    """Kernels at planes of depth.

    Attributes
    ----------
    kernels
        (K, C, n, m) float32, C 1 or 3, unit sum, the axis at (n // 2, m // 2).
    coc
        (K,) float32, signed diameter of the circle of confusion of each plane in pixels, ascending: from far to near.
    optics
        (2,) float32: pixels of CoC per dioptre, and the inverse of the focus distance in dioptres.
    """

    kernels: Tensor
    coc: Tensor
    optics: Tensor

    @classmethod
    def of(cls, kernels: npt.ArrayLike, coc: npt.ArrayLike, lens: ThinLens) -> Self:
        """Make a bank of arrays."""
        optics = [lens.coc_per_dioptre, 1.0 / lens.focus_distance]
        return cls(*(torch.tensor(np.asarray(each), dtype=torch.float32) for each in (kernels, coc, optics)))

    @classmethod
    def of_state(cls, state: Mapping[str, Tensor]) -> Self:
        """Take a bank out of the state of a model that it was attached to.

        Raises
        ------
        InputError
            If the state has none, or a damaged one.
        """
        missing = [name for name in NAMES if f"bank_{name}" not in state]
        if missing:
            raise InputError(f"the checkpoint holds no PSF bank (bank_{missing[0]} is missing): train the model again.")
        found = [state[f"bank_{name}"] for name in NAMES]
        if not (all(isinstance(part, Tensor) and part.is_floating_point() for part in found) and _usable(*found)):
            raise InputError("the PSF bank in the checkpoint is damaged: fetch a fresh copy, or train the model again.")
        return cls(*(part.float() for part in found))

    def thinned(self, planes: int) -> "Bank":
        """Return a bank of at most so many planes, as evenly spread over CoC as they are there, the ends included."""
        if len(self.coc) <= planes:
            return self
        wanted = torch.linspace(float(self.coc[0]), float(self.coc[-1]), planes)
        chosen = torch.unique((self.coc[None, :] - wanted[:, None]).abs().argmin(1))
        return Bank(self.kernels[chosen], self.coc[chosen], self.optics)

    def trimmed(self) -> "Bank":
        """Return the bank with kernels no larger than their light needs: rows and columns of zeros around all left out.

        They become odd and square, the axis in the middle.
        """
        n, m = self.kernels.shape[-2:]
        lit = (self.kernels != 0).any(0).any(0).nonzero()
        half = int((lit - torch.tensor([n // 2, m // 2])).abs().max()) if len(lit) else 0
        out = self.kernels.new_zeros(*self.kernels.shape[:2], 2 * half + 1, 2 * half + 1)
        rows, columns = (range(max(0, size // 2 - half), min(size, size // 2 + half + 1)) for size in (n, m))
        top, left = half - (n // 2 - rows.start), half - (m // 2 - columns.start)
        out[:, :, top : top + len(rows), left : left + len(columns)] = self.kernels[
            :, :, rows.start : rows.stop, columns.start : columns.stop
        ]
        return Bank(out, self.coc, self.optics)

    def planes_of(self, depth: Tensor) -> Tensor:
        """Return the plane of each pixel; see the function of this name."""
        return planes_of(depth, self.coc, self.optics)


def planes_of(depth: Tensor, coc: Tensor, optics: Tensor) -> Tensor:
    """Return the plane that is nearest to each pixel's depth in CoC.

    Parameters
    ----------
    depth
        (B, H, W) metres; NaN, or 0 and less, is unknown, and takes the plane of the nearest known pixel. An image of
        which nothing is known is taken to be in focus.
    coc, optics
        Of a `Bank`.

    Returns
    -------
    (B, H, W) int64.
    """
    # Not `optics.planes.planes_of`: that one fills as the renderer of `synth` does (city-block steps, the farther plane
    # of two, the farthest where nothing is known), and its fill would give networks that are trained another input.
    known = depth > 0
    blur = optics[0] * (1.0 / torch.where(known, depth, 1.0) - optics[1])
    plane = torch.bucketize(blur.contiguous(), (coc[1:] + coc[:-1]) / 2)
    return plane if bool(known.all()) else _filled(plane, known, int(coc.abs().argmin()))


def _filled(plane: Tensor, known: Tensor, otherwise: int) -> Tensor:
    """Give unknown pixels the value of a nearest known one, by jumps of halving lengths (Rong and Tan 2006)."""
    height, width = plane.shape[-2:]
    here = torch.stack(torch.meshgrid(*(torch.arange(n, device=plane.device) for n in (height, width)), indexing="ij"))
    far = 4 * (height + width)
    # (B, 2, H, W): where the nearest known pixel found so far lies.
    seed = torch.where(known[:, None], here, far)
    jump = 1 << max(height, width).bit_length()
    while (jump := jump // 2) >= 1:
        for dy in (-jump, 0, jump):
            for dx in (-jump, 0, jump):
                other = _shifted(seed, dy, dx, far)
                nearer = ((other - here) ** 2).sum(1) < ((seed - here) ** 2).sum(1)
                seed = torch.where(nearer[:, None], other, seed)
    found = (seed[:, 0] < height) & (seed[:, 1] < width)
    y, x = (seed[:, axis].clamp(max=n - 1) for axis, n in enumerate((height, width)))
    samples = torch.arange(len(plane), device=plane.device)[:, None, None]
    return torch.where(found, plane[samples, y, x], otherwise)


def _shifted(seed: Tensor, dy: int, dx: int, outside: int) -> Tensor:
    moved = torch.full_like(seed, outside)
    height, width = seed.shape[-2:]
    if abs(dy) >= height or abs(dx) >= width:
        return moved
    to, source = (
        (..., slice(max(0, s * dy), height + min(0, s * dy)), slice(max(0, s * dx), width + min(0, s * dx)))
        for s in (-1, 1)
    )
    moved[to] = seed[source]
    return moved


def read_bank(store: Store) -> Bank:
    """Read the PSF bank of a store.

    Raises
    ------
    InputError
        If it has no single bank: its samples have cameras of their own, its kernels vary over the picture, or its
        pictures are stacks; or if it is damaged.
    """
    recipe, where = store.recipe, store.path
    drawn = [name for name in recipe.draws if name.split(".")[0] in ("camera", "psf")]
    if drawn:
        raise InputError(
            f"{where} draws {drawn[0]} for each sample, and deblurring needs the PSFs of one camera: train on a "
            "dataset of one."
        )
    if recipe.stack is not None:
        raise InputError(
            f"{where} holds focal stacks, and deblurring is of single captures: train on a dataset of those."
        )
    split = next(iter(store.splits))
    try:
        group = cast(Any, store.splits[split][GROUP])
        attributes = dict(group.attrs)
        if "field_y" in group:
            raise InputError(
                f"the PSFs of {where} vary over the picture, and one Wiener filter has one kernel for a layer: deblur "
                "stores whose psf.kind is another than 'cat-eye', or measured on the axis."
            )
        lens = ThinLens(**{name: float(attributes["lens"][name]) for name in ThinLens.__dataclass_fields__})
        kernels, coc = (np.asarray(group[name][...]) for name in ("kernel", "coc"))
    except InputError:
        raise
    except Exception as error:  # zarr raises many kinds of error for damaged data
        raise InputError(
            f"the PSF bank of {where} ({split}.zarr/{GROUP}) cannot be read ({type(error).__name__}): fetch the "
            "dataset again."
        ) from None
    if not _whole(kernels, coc):
        raise InputError(f"the PSF bank of {where} is damaged: fetch the dataset again.")
    return Bank.of(kernels, coc, lens).trimmed()


def _whole(kernels: npt.NDArray[Any], coc: npt.NDArray[Any]) -> bool:
    """Tell whether these can be the PSFs of planes: finite, nowhere darker than rounding makes them, of unit sum."""
    if kernels.dtype.kind != "f" or coc.dtype.kind != "f" or kernels.ndim != 4 or not kernels.size:
        return False
    if coc.shape != kernels.shape[:1] or not np.isfinite(coc).all() or not (np.diff(coc) > 0).all():
        return False
    sums = kernels.sum(axis=(2, 3), dtype=np.float64)
    return bool((np.abs(sums - 1) < MOST_AMISS).all() and kernels.min() > -MOST_AMISS)


def _usable(kernels: Tensor, coc: Tensor, optics: Tensor) -> bool:
    """Tell whether floating-point tensors can be a bank."""
    if optics.shape != (2,) or not bool(torch.isfinite(optics).all()) or not float(optics[0]) > 0:
        return False
    return (
        kernels.ndim == 4 and kernels.shape[1] in (1, 3) and _whole(*(t.float().cpu().numpy() for t in (kernels, coc)))
    )


def common_bank(stores: Sequence[str | Path]) -> Bank:
    """Return the bank that serves all samples of stores of one camera: that which covers the depths of all.

    Raises
    ------
    InputError
        As `read_bank`, or if lenses or kinds of PSFs differ, or none covers all.
    """
    opened = [open_store(path) for path in stores]
    banks = [read_bank(store) for store in opened]
    first = banks[0]
    for store, bank in zip(opened[1:], banks[1:], strict=True):
        if not torch.allclose(bank.optics, first.optics) or store.recipe.psf != opened[0].recipe.psf:
            raise InputError(
                f"{store.path} has other PSFs than {opened[0].path}, and deblurring needs those of one camera: train "
                "on one of them."
            )
    low, high = min(float(bank.coc[0]) for bank in banks), max(float(bank.coc[-1]) for bank in banks)
    for bank in banks:
        if float(bank.coc[0]) <= low + SLACK and float(bank.coc[-1]) >= high - SLACK:
            return bank
    raise InputError("no store has PSFs for the depths of all of them: generate them with the same scenes.depth.")
