"""The three ways in which blurred layers are put together, and how their gradients come back.

Two real images that are blurred by one kernel travel through all transforms as one complex image: the light of a
colour with its layer's coverage, or one picture with another. Kernels being real, the blurred images are the real and
the imaginary part of what comes back, and the kernel's gradient is the real part of one complex correlation.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from .continuation import halves, upsampled
from .tiles import Block, Part, Plan

FAINT = 1e-3
"""What is seen less than this of a slice and of those behind it is left to nearer slices: too little to divide by."""


@dataclass(frozen=True)
class Taken:
    """What the `T` tiles of a part take of their images, without what lies beyond the borders.

    Attributes
    ----------
    part
        The tiles.
    light
        (T, 3, h, w).
    number
        (T, 1, h, w) int16: planes.
    """

    part: Part
    light: Tensor
    number: Tensor

    def where(self, block: Block) -> tuple[Tensor, Tensor]:
        """Return the planes of pixels (c, 1, h, w), and those of a block's layers (c, 1, 1, 1)."""
        wanted = torch.tensor(self.part.planes[block.start : block.stop], dtype=torch.int16, device=self.number.device)
        return self.number[: block.count], wanted[:, None, None, None]


class Compositor(ABC):
    """One model of how pictures arise from layers, applied to a batch part by part.

    In the shapes below, `c` tiles of a part have an l-th layer; `P` complex images of it are blurred by `Q` complex
    kernels, or by one that serves all.

    Parameters
    ----------
    aif
        (B, 3, H, W) linear light.
    plane
        (B, H, W) plane of each pixel.
    kernels
        (K, C, n, n).
    plan
        The parts.
    """

    between = False
    """Whether a tile needs all planes between those that it sees, too."""
    paired = False
    """Whether the second half of the batch travels in the imaginary parts of the first."""

    def __init__(self, aif: Tensor, plane: Tensor, kernels: Tensor, plan: Plan) -> None:
        self.aif, self.plan = aif, plan
        self.plane = plane.to(torch.int16)[:, None]
        self.channels, self.size = kernels.shape[1], kernels.shape[-1]
        self.spectra = self.combine(torch.fft.fft2(kernels, s=plan.shape))
        self.total = torch.zeros(0)

    @property
    @abstractmethod
    def sources(self) -> int:
        """Number P of complex images that are transformed of each layer."""

    @abstractmethod
    def fill(self, images: Tensor, taken: Taken, block: Block) -> None:
        """Write what is blurred of layers into a view (c, P, h, w), complex."""

    @abstractmethod
    def picture(self, part: Part) -> Tensor:
        """Return what a part's tiles make, (images, 3, h, w)."""

    @abstractmethod
    def add_gradient(self, part: Part, coming: Tensor) -> None:
        """Add the gradient of the kernels, given that of `picture`, to `total`."""

    def images(self, part: Part) -> list[int]:
        """Return which images of the batch `picture` returns."""
        return list(part.images)

    def combine(self, spectra: Tensor) -> Tensor:
        """Return the spectra by which sources are multiplied, (K, Q or 1, ...), given those of (K, C, ...)."""
        return spectra

    def separate(self, found: Tensor) -> Tensor:
        """Return the gradient of kernels (K, C, n, n), given that of what `combine` made of them."""
        return found.real

    def pairs(self, sources: int) -> list[tuple[slice, slice, slice]]:
        """Return which of the sources (P), of what comes back (Q) and of the kernels belong together."""
        if self.spectra.shape[1] == 3:
            return [(slice(None), slice(None), slice(None))]
        return [(slice(p, p + 1), slice(p, p + 1), slice(None)) for p in range(sources)]

    def backward(self, coming: Tensor) -> Tensor:
        """Return the gradient of the kernels, given that of the pictures (B, 3, H, W)."""
        self.total = torch.zeros_like(self.spectra)
        for part in self.plan.parts:
            self.add_gradient(part, part.made(coming)[self.images(part)])
        # What was added up is the conjugate of the correlations' spectrum.
        found = torch.fft.fft2(self.total, norm="forward")[..., : self.size, : self.size]
        return self.separate(found.conj()).contiguous()

    def take(self, part: Part) -> Taken:
        """Cut out what a part takes."""
        return Taken(part, *(_chosen(part.taken(image), part.images) for image in (self.aif, self.plane)))

    def transformed(self, taken: Taken, block: Block) -> Tensor:
        """Return the spectra of what is blurred of layers, (c, P, height, width)."""
        images = self.spectra.new_zeros(block.count, self.sources, *self.plan.shape)
        self.fill(taken.part.inner(images), taken, block)
        taken.part.mirror(images)
        spectra: Tensor = torch.fft.fft2(images)
        return spectra

    def kernels_of(self, part: Part, block: Block) -> Tensor:
        """Return the spectra of the kernels of layers, (c, Q or 1, height, width)."""
        return _chosen(self.spectra, part.planes[block.start : block.stop])

    def blurred(self, spectra: Tensor, part: Part, block: Block) -> Tensor:
        """Return blurred layers, (c, Q, h, w), given spectra (c, P, height, width)."""
        kernels = self.kernels_of(part, block)
        if kernels.shape[1] in (1, spectra.shape[1]):
            product = spectra * kernels
        else:
            product = kernels * spectra[:, [0, 1, 2, 3, 3]]
        return part.valid(torch.fft.ifft2(product), self.size)

    def spread(self, part: Part) -> Tensor:
        """Return zeros (T, Q, height, width), for the gradient to blurred layers."""
        kernels = self.spectra.shape[1]
        return self.spectra.new_zeros(len(part.images), max(kernels, self.sources), *self.plan.shape)

    def add(self, sources: Tensor, coming: Tensor, part: Part, block: Block) -> None:
        """Add products of spectra (c, P, ...) and conjugate spectra of gradients (c, Q, ...), in one order always."""
        for layer, plane in enumerate(part.planes[block.start : block.stop]):
            for source, back, kernel in self.pairs(sources.shape[1]):
                self.total[plane, kernel].addcmul_(sources[layer, source], coming[layer, back])


class Sum(Compositor):
    """Blurred slices added up: the RPSF paper's Eq. 7."""

    paired = True

    @property
    def sources(self) -> int:
        """Three colours."""
        return 3

    def images(self, part: Part) -> list[int]:
        """Return the images, then their partners."""
        half = len(self.aif) // 2
        return [*part.images, *(half + image for image in part.images)]

    def take(self, part: Part) -> Taken:
        """Cut out what a part takes, the partners as channels 3 to 5 of light and 1 of planes."""
        half = len(self.aif) // 2
        both = []
        for image in (self.aif, self.plane):
            inner = part.taken(image)
            both.append(torch.cat([_chosen(inner[:half], part.images), _chosen(inner[half:], part.images)], 1))
        return Taken(part, *both)

    def fill(self, images: Tensor, taken: Taken, block: Block) -> None:
        """Write the light of slices."""
        number, wanted = taken.where(block)
        there = (number == wanted).to(taken.light.dtype)
        light = taken.light[: block.count]
        torch.mul(light[:, :3], there[:, :1], out=images.real)
        torch.mul(light[:, 3:], there[:, 1:], out=images.imag)

    def picture(self, part: Part) -> Tensor:
        """Return images, then their partners."""
        taken, total = self.take(part), self.spread(part)
        for block in part.blocks():
            total[: block.count].addcmul_(self.transformed(taken, block), self.kernels_of(part, block))
        sums = part.valid(torch.fft.ifft2(total), self.size)
        return torch.cat([sums.real, sums.imag])

    def add_gradient(self, part: Part, coming: Tensor) -> None:
        """Add the correlation of each slice with the gradient of its tile."""
        taken, spread = self.take(part), self.spread(part)
        images, partners = coming.chunk(2)
        part.valid(spread, self.size).copy_(torch.complex(images, -partners))
        back = torch.fft.ifft2(spread, norm="forward")
        for block in part.blocks():
            self.add(self.transformed(taken, block), back, part, block)


class Over(Compositor):
    """Blurred layers laid over each other, from far to near: ``out = out (1 - a_k) + l_k``."""

    @abstractmethod
    def shares(self, blurred: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the light `l_k` (c, 3, h, w), coverage `a_k` (c, C, h, w), and what they were divided by, inverted."""

    @abstractmethod
    def returned(self, light: Tensor, shade: Tensor, kept: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        """Return the conjugate gradient of what `shares` took, (c, Q, h, w), given that of light and minus coverage."""

    def picture(self, part: Part) -> Tensor:
        """Lay the layers over each other."""
        taken = self.take(part)
        out = self.aif.new_zeros(len(part.images), 3, *part.size)
        for block in part.blocks():
            light, cover, _ = self.shares(self.blurred(self.transformed(taken, block), part, block))
            now = out[: block.count]
            now.addcmul_(now, cover, value=-1).add_(light)
        return out

    def add_gradient(self, part: Part, coming: Tensor) -> None:
        """Lay the layers over each other again, then go back from the nearest."""
        taken, spread = self.take(part), self.spread(part)
        out = self.aif.new_zeros(len(part.images), 3, *part.size)
        kept = []
        for block in part.blocks():
            sources = self.transformed(taken, block)
            shares = self.shares(self.blurred(sources, part, block))
            now = out[: block.count]
            kept.append((block, sources, now.clone(), shares))
            now.addcmul_(now, shares[1], value=-1).add_(shares[0])
        left = coming.clone()
        while kept:
            block, sources, behind, shares = kept.pop()
            now = left[: block.count]
            shade = behind.mul_(now)
            shade = shade if self.channels == 3 else shade.sum(1, keepdim=True)
            part.valid(spread[: block.count], self.size).copy_(self.returned(now, shade, shares))
            self.add(sources, torch.fft.ifft2(spread[: block.count], norm="forward"), part, block)
            now.addcmul_(now, shares[1], value=-1)

    def write(self, images: Tensor, light: Tensor, cover: Tensor) -> None:
        """Write light (c, 3, h, w) and coverage (c, 1, h, w) into complex images.

        Of kernels of three colours, each colour with the coverage; of one, R + iG and B + i coverage.
        """
        if self.channels == 3:
            images[:, :3].real.copy_(light)
            images[:, :3].imag.copy_(cover)
        else:
            images[:, :2].real.copy_(light[:, 0::2])
            images[:, 0].imag.copy_(light[:, 1])
            images[:, 1].imag.copy_(cover[:, 0])

    def read(self, blurred: Tensor) -> tuple[Tensor, Tensor]:
        """Return light (c, 3, h, w) and coverage (c, C, h, w) of blurred images that were written by `write`."""
        if self.channels == 3:
            return blurred[:, :3].real.contiguous(), blurred[:, :3].imag.contiguous()
        first, second = blurred[:, 0], blurred[:, 1]
        return torch.stack([first.real, first.imag, second.real], 1), second.imag[:, None].contiguous()

    def conjugate(self, light: Tensor, shade: Tensor) -> Tensor:
        """Return the conjugate of gradients to what `read` read, given that to light and minus that to coverage."""
        if self.channels == 3:
            return torch.complex(light, shade)
        return torch.complex(light[:, 0::2], torch.cat([-light[:, 1:2], shade], 1))


class Layered(Over):
    """Whole layers laid over each other: D3-Net Eqs. 1-2 after Hasinoff and Kutulakos 2007, extended.

    ``out = out (1 - h_k * A_k) + h_k * (A_k L_k)`` from far to near; `A_k` is the slice and all before it, `L_k` the
    image in the slice, continued behind what is nearer.

    Parameters
    ----------
    behind
        What `behind` of an earlier one was, for the same batch; None if layers are to be continued.
    """

    between = True

    def __init__(self, aif: Tensor, plane: Tensor, kernels: Tensor, plan: Plan, behind: Tensor | None = None) -> None:
        super().__init__(aif, plane, kernels, plan)
        used = sorted({pair for part in plan.parts for pair in zip(part.owners(), part.planes, strict=True)})
        self.place = {pair: i for i, pair in enumerate(used)}
        if behind is None:
            height, width = aif.shape[-2:]
            behind = aif.new_empty(len(used), 3, -(-height // 2), -(-width // 2))
            for image in range(len(aif)):
                planes = [k for owner, k in used if owner == image]
                first = self.place[image, planes[0]]
                behind[first : first + len(planes)] = halves(aif[image], self.plane[image], planes)
        self.behind = behind

    @property
    def sources(self) -> int:
        """Each colour with the coverage, or both pairs of light and coverage."""
        return 3 if self.channels == 3 else 2

    def fill(self, images: Tensor, taken: Taken, block: Block) -> None:
        """Write light, continued behind what is nearer, and coverage of layers."""
        number, wanted = taken.where(block)
        part, of = taken.part, slice(block.start, block.stop)
        pairs = zip(part.images, part.planes[of], strict=False)
        light = upsampled(_chosen(self.behind, [self.place[pair] for pair in pairs]), part)
        nearer = (number > wanted).to(light.dtype)
        here = (number == wanted).to(light.dtype)
        light.mul_(nearer).addcmul_(taken.light[: block.count], here)
        self.write(images, light, nearer.add_(here))

    def shares(self, blurred: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return light and coverage, undivided."""
        light, cover = self.read(blurred)
        return light, cover, light

    def returned(self, light: Tensor, shade: Tensor, kept: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        """Return the conjugate gradient to light and coverage."""
        return self.conjugate(light, shade)


class NormalisedOver(Over):
    """Blurred slices laid over each other, each made whole by itself and those behind it: Ikoma et al. 2021.

    ``out = out (1 - a_k) + l_k``, ``a_k = h_k * M_k / E_k``, ``l_k = h_k * (aif M_k) / E_k`` and
    ``E_k = h_k * (M_0 + ... + M_k)``, from far to near.
    """

    @property
    def sources(self) -> int:
        """As many as of layers, and the sum of masks, which is real."""
        return 4 if self.channels == 3 else 3

    def combine(self, spectra: Tensor) -> Tensor:
        """Return, of three colours, their spectra, those of two in one complex kernel, and of the third: (K, 5, ...).

        So the sum of masks, which is real, is blurred by two kernels at once.
        """
        if self.channels == 1:
            return spectra
        red, green, blue = spectra[:, 0], spectra[:, 1], spectra[:, 2]
        return torch.stack([red, green, blue, torch.add(red, green, alpha=1j), blue], 1)

    def separate(self, found: Tensor) -> Tensor:
        """Return the gradient of kernels, given that of what `combine` returned."""
        if self.channels == 1:
            return found.real
        return found[:, :3].real + torch.stack([found[:, 3].real, found[:, 3].imag, found[:, 4].real], 1)

    def pairs(self, sources: int) -> list[tuple[slice, slice, slice]]:
        """Return what belongs together: of three colours the last source meets two kernels."""
        if self.channels == 1:
            return super().pairs(sources)
        return [(slice(3), slice(3), slice(3)), (slice(3, 4), slice(3, 5), slice(3, 5))]

    def fill(self, images: Tensor, taken: Taken, block: Block) -> None:
        """Write light and mask of slices, and the sum of masks."""
        number, wanted = taken.where(block)
        here = (number == wanted).to(taken.light.dtype)
        self.write(images, taken.light[: block.count] * here, here)
        images[:, -1:].real.copy_(number <= wanted)

    def shares(self, blurred: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return light and mask over the sum of masks, and one over that sum, 0 where it is faint."""
        if self.channels == 3:
            whole = torch.stack([blurred[:, 3].real, blurred[:, 3].imag, blurred[:, 4].real], 1)
        else:
            whole = blurred[:, 2:].real
        share = torch.where(whole > FAINT, 1 / whole, 0)
        light, mask = self.read(blurred)
        return light.mul_(share), mask.mul_(share), share

    def returned(self, light: Tensor, shade: Tensor, kept: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        """Return the conjugate gradient to light, mask and sum of masks."""
        laid, cover, share = kept
        change = light * laid
        change = change if self.channels == 3 else change.sum(1, keepdim=True)
        whole = change.addcmul_(shade, cover, value=-1).mul_(share).neg_()
        packed = self.conjugate(light * share, shade * share)
        if self.channels == 1:
            return torch.cat([packed, whole.to(packed.dtype)], 1)
        two = torch.complex(whole[:, 0], -whole[:, 1])
        return torch.cat([packed, torch.stack([two, whole[:, 2].to(packed.dtype)], 1)], 1)


MODELS: dict[str, type[Compositor]] = {"eq7": Sum, "layered": Layered, "normalised-over": NormalisedOver}


def _chosen(table: Tensor, numbers: list[int] | tuple[int, ...]) -> Tensor:
    """Return rows of a table: a view where they follow each other."""
    first = numbers[0]
    if list(numbers) == list(range(first, first + len(numbers))):
        return table[first : first + len(numbers)]
    return table[torch.tensor(numbers, device=table.device)]
