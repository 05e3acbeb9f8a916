"""The three ways in which blurred layers are put together, and how their gradients come back.

Two real images that are blurred by one kernel travel through all transforms as one complex image: the light of a
colour with its layer's mask, or one picture with another. Kernels being real, the blurred images are the real and the
imaginary part of what comes back, and the kernel's gradient is the real part of one complex correlation.
"""

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from .continuation import halves, upsampled
from .tiles import Part

FAINT = 1e-3
"""What is seen less than this of a slice and of those behind it is left to nearer slices: too little to divide by."""
PIXELS_AT_ONCE = 2**20
"""Pixels of layers that are continued at once."""


class Compositor(ABC):
    """One model of how pictures arise from layers, applied to a batch.

    In the shapes below the `T` tiles of a part have `J` layers (see `Part`); `P` complex images of each layer are
    blurred by `Q` complex kernels, or by one that serves all.

    Parameters
    ----------
    aif
        (B, 3, H, W) linear light.
    plane
        (B, H, W) plane of each pixel.
    channels
        Colours of the kernels, 1 or 3.
    """

    between = False
    """Whether a tile needs all planes between those that it sees, too."""
    linear = False
    """Whether the layers are only added up, which can be done before the inverse transform."""
    paired = False
    """Whether the second half of the batch travels in the imaginary parts of the first."""

    def __init__(self, aif: Tensor, plane: Tensor, channels: int) -> None:
        self.aif, self.channels = aif, channels
        self.plane = plane.to(torch.int16)[:, None]

    @abstractmethod
    def sources(self, part: Part) -> Tensor:
        """Return what is blurred, (J, P, height, width) complex."""

    @abstractmethod
    def compose(self, blurred: Tensor, part: Part) -> Tensor:
        """Put blurred layers (J, Q, h, w), or their sums (T, Q, h, w), together: (images, 3, h, w)."""

    @abstractmethod
    def gradient(self, blurred: Tensor | None, coming: Tensor, part: Part) -> Tensor:
        """Return the gradient of `compose` to its layers, given that of its result; `blurred` unless it is linear."""

    def images(self, part: Part) -> list[int]:
        """Return which images of the batch `compose` returns."""
        return list(part.images)

    def kernels(self, spectra: Tensor) -> Tensor:
        """Return the spectra by which `sources` are multiplied, (K, Q or 1, ...), given those of (K, C, ...)."""
        return spectra

    def spread(self, sources: Tensor, kernels: Tensor, part: Part) -> Tensor:
        """Multiply spectra (J, P, ...) by those of their kernels (J, Q or 1, ...), which may be overwritten."""
        return kernels.mul_(sources) if kernels.shape == sources.shape else sources * kernels

    def correlate(self, sources: Tensor, coming: Tensor, part: Part) -> Tensor:
        """Multiply conjugate spectra (J, P, ...) with those of gradients (J, Q, ...); both may be overwritten."""
        product = coming.mul_(sources.conj_physical_())
        return product if self.channels == 3 else product.sum(1, keepdim=True)

    def kernel_gradient(self, found: Tensor) -> Tensor:
        """Return the gradient of kernels (K, C, n, n), given (K, Q or 1, n, n) complex correlations."""
        return found.real

    def _inner(self, image: Tensor, part: Part) -> Tensor:
        """What the tiles take of an image of the batch, without what lies beyond the borders: (T, ..., h, w)."""
        taken = part.taken(image)
        return taken if part.images == tuple(range(len(image))) else taken[_indices(part.images, image)]

    def _numbers(self, part: Part) -> Tensor:
        return _indices(part.planes, self.plane)[:, None, None, None].to(self.plane.dtype)


class Sum(Compositor):
    """Blurred slices added up: the RPSF paper's Eq. 7.

    Images beyond the first half of the batch are the partners of those before.
    """

    linear = True
    paired = True

    def sources(self, part: Part) -> Tensor:
        """Return the light of slices, (J, 3, height, width)."""
        half, numbers = len(self.aif) // 2, self._numbers(part)
        both = []
        for aif, plane in ((self.aif[:half], self.plane[:half]), (self.aif[half:], self.plane[half:])):
            inner, number = self._inner(aif, part), self._inner(plane, part)
            light = inner.new_empty(len(numbers), *inner.shape[1:])
            for start, stop, count in part.blocks():
                there = (number[:count] == numbers[start:stop]).to(inner.dtype)
                torch.mul(inner[:count], there, out=light[start:stop])
            both.append(part.framed(light))
        return torch.complex(*both)

    def images(self, part: Part) -> list[int]:
        """Return the images, then their partners."""
        half = len(self.aif) // 2
        return [*part.images, *(half + image for image in part.images)]

    def spread(self, sources: Tensor, kernels: Tensor, part: Part) -> Tensor:
        """Add up the blurred slices of each tile, (T, 3, ...)."""
        total = sources.new_zeros(part.counts[0], *sources.shape[1:])
        for start, stop, count in part.blocks():
            total[:count].addcmul_(sources[start:stop], kernels[start:stop])
        return total

    def compose(self, blurred: Tensor, part: Part) -> Tensor:
        """Return the images and their partners, (2 T, 3, h, w)."""
        return torch.cat([blurred.real, blurred.imag])

    def gradient(self, blurred: Tensor | None, coming: Tensor, part: Part) -> Tensor:
        """Return the gradient to the sum of the slices, (T, 3, h, w)."""
        return torch.complex(*coming.chunk(2))

    def correlate(self, sources: Tensor, coming: Tensor, part: Part) -> Tensor:
        """Correlate each slice with the gradient of its tile."""
        product = sources.conj_physical_()
        for start, stop, count in part.blocks():
            product[start:stop].mul_(coming[:count])
        return product if self.channels == 3 else product.sum(1, keepdim=True)


class Layered(Compositor):
    """Whole layers laid over each other: D3-Net Eqs. 1-2 after Hasinoff and Kutulakos 2007, extended.

    ``out = out (1 - h_k * A_k) + h_k * (A_k L_k)`` from far to near; `A_k` is the slice and all before it, `L_k` the
    image in the slice, continued behind what is nearer.
    """

    between = True

    def __init__(self, aif: Tensor, plane: Tensor, channels: int) -> None:
        super().__init__(aif, plane, channels)
        self.behind: Tensor | None = None
        self.place: dict[tuple[int, int], int] = {}

    def continue_layers(self, parts: tuple[Part, ...], behind: Tensor | None = None) -> Tensor:
        """Continue all layers that parts need behind what is nearer, and return them: see `halves`.

        `behind` is what an earlier call returned for the same parts.
        """
        used = sorted({pair for part in parts for pair in zip(part.owners(), part.planes, strict=True)})
        self.place = {pair: i for i, pair in enumerate(used)}
        if behind is None:
            height, width = self.aif.shape[-2:]
            behind = self.aif.new_empty(len(used), 3, -(-height // 2), -(-width // 2))
            images, planes = _indices([image for image, _ in used], behind), _indices([k for _, k in used], behind)
            step = max(PIXELS_AT_ONCE // (height * width), 1)
            for start in range(0, len(used), step):
                some = slice(start, start + step)
                behind[some] = halves(self.aif, self.plane[:, 0], images[some], planes[some])
        self.behind = behind
        return behind

    def sources(self, part: Part) -> Tensor:
        """Return light and coverage of layers, packed: (J, 3, ...), or (J, 2, ...) for kernels of one colour."""
        assert self.behind is not None, "layers are continued first"
        inner, number, numbers = self._inner(self.aif, part), self._inner(self.plane, part), self._numbers(part)
        wanted = [self.place[pair] for pair in zip(part.owners(), part.planes, strict=True)]
        behind = upsampled(self.behind, _indices(wanted, inner), part)
        layers = inner.new_empty(len(numbers), 4, *inner.shape[2:])
        for start, stop, count in part.blocks():
            here = (number[:count] == numbers[start:stop]).to(inner.dtype)
            nearer = (number[:count] > numbers[start:stop]).to(inner.dtype)
            light = layers[start:stop, :3]
            torch.mul(behind[start:stop], nearer, out=light)
            light.addcmul_(inner[:count], here)
            torch.add(here, nearer, out=layers[start:stop, 3:])
        layers = part.framed(layers)
        return _packed(layers[:, :3], layers[:, 3:], self.channels)

    def compose(self, blurred: Tensor, part: Part) -> Tensor:
        """Lay the layers over each other, (T, 3, h, w)."""
        return _over(*_unpacked(blurred, self.channels), part)

    def gradient(self, blurred: Tensor | None, coming: Tensor, part: Part) -> Tensor:
        """Return the gradient to light and coverage, packed as they are."""
        assert blurred is not None
        light, cover = _over_gradient(*_unpacked(blurred, self.channels), coming, part)
        return _packed(light, cover, self.channels)


class NormalisedOver(Compositor):
    """Blurred slices laid over each other, each made whole by itself and those behind it: Ikoma et al. 2021.

    ``out = out (1 - a_k) + l_k``, ``a_k = h_k * M_k / E_k``, ``l_k = h_k * (aif M_k) / E_k`` and
    ``E_k = h_k * (M_0 + ... + M_k)``, from far to near.
    """

    def sources(self, part: Part) -> Tensor:
        """Return light and mask of slices, packed, and all that lies as far: (J, 4, ...), or (J, 3, ...)."""
        inner, number, numbers = self._inner(self.aif, part), self._inner(self.plane, part), self._numbers(part)
        layers = inner.new_empty(len(numbers), 5, *inner.shape[2:])
        for start, stop, count in part.blocks():
            here = (number[:count] == numbers[start:stop]).to(inner.dtype)
            torch.mul(inner[:count], here, out=layers[start:stop, :3])
            layers[start:stop, 3:4] = here
            layers[start:stop, 4:] = number[:count] <= numbers[start:stop]
        layers = part.framed(layers)
        packed = _packed(layers[:, :3], layers[:, 3:4], self.channels)
        return torch.cat([packed, layers[:, 4:].to(packed.dtype)], 1)

    def kernels(self, spectra: Tensor) -> Tensor:
        """Return, of three colours, their spectra and those of two in one complex kernel and of the third, (K, 5, ...).

        So the third image of `sources`, which is real, is blurred by two kernels at once.
        """
        if self.channels == 1:
            return spectra
        red, green, blue = spectra[:, 0], spectra[:, 1], spectra[:, 2]
        return torch.stack([red, green, blue, torch.add(red, green, alpha=1j), blue], 1)

    def spread(self, sources: Tensor, kernels: Tensor, part: Part) -> Tensor:
        """Multiply spectra by those of their kernels: (J, 5, ...), or (J, 3, ...)."""
        if self.channels == 1:
            return sources * kernels
        kernels[:, :3].mul_(sources[:, :3])
        kernels[:, 3:].mul_(sources[:, 3:])
        return kernels

    def compose(self, blurred: Tensor, part: Part) -> Tensor:
        """Lay the slices over each other, (T, 3, h, w)."""
        light, mask, _ = self._shares(blurred)
        return _over(light, mask, part)

    def gradient(self, blurred: Tensor | None, coming: Tensor, part: Part) -> Tensor:
        """Return the gradient to light, mask and sum of masks, packed as they are."""
        assert blurred is not None
        light, mask, share = self._shares(blurred)
        to_light, to_mask = _over_gradient(light, mask, coming, part)
        to_whole = to_light * light
        if self.channels == 1:
            to_whole = to_whole.sum(1, keepdim=True)
        to_whole = to_whole.addcmul_(to_mask, mask).mul_(share).neg_()
        packed = _packed(to_light.mul_(share), to_mask.mul_(share), self.channels)
        if self.channels == 1:
            return torch.cat([packed, to_whole.to(packed.dtype)], 1)
        two = torch.complex(to_whole[:, 0], to_whole[:, 1])
        return torch.cat([packed, torch.stack([two, to_whole[:, 2].to(packed.dtype)], 1)], 1)

    def correlate(self, sources: Tensor, coming: Tensor, part: Part) -> Tensor:
        """Multiply conjugate spectra with those of gradients, (J, 5 or 1, ...)."""
        sources.conj_physical_()
        if self.channels == 1:
            return coming.mul_(sources).sum(1, keepdim=True)
        coming[:, :3].mul_(sources[:, :3])
        coming[:, 3:].mul_(sources[:, 3:])
        return coming

    def kernel_gradient(self, found: Tensor) -> Tensor:
        """Return the gradient of kernels, given that of `kernels`."""
        if self.channels == 1:
            return found.real
        return found[:, :3].real + torch.stack([found[:, 3].real, found[:, 3].imag, found[:, 4].real], 1)

    def _shares(self, blurred: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Light (J, 3, h, w) and mask (J, C, h, w) over the sum of masks; one over that sum, 0 where it is faint."""
        if self.channels == 1:
            whole = blurred[:, 2:].real
        else:
            whole = torch.stack([blurred[:, 3].real, blurred[:, 3].imag, blurred[:, 4].real], 1)
        share = torch.where(whole > FAINT, 1 / whole, 0)
        light, mask = _unpacked(blurred[:, : 3 if self.channels == 3 else 2], self.channels)
        return light * share, mask * share, share


MODELS: dict[str, type[Compositor]] = {"eq7": Sum, "layered": Layered, "normalised-over": NormalisedOver}


def _indices(numbers: list[int] | tuple[int, ...], like: Tensor) -> Tensor:
    return torch.tensor(numbers, dtype=torch.int64, device=like.device)


def _packed(light: Tensor, cover: Tensor, channels: int) -> Tensor:
    """Complex images of light (J, 3, h, w) and coverage (J, 1 or C, h, w): (J, 3, h, w), or of one colour (J, 2, h, w).

    Those of one colour are R + iG and B + i coverage.
    """
    if channels == 3:
        return torch.complex(light, cover.expand_as(light))
    return torch.complex(light[:, 0::2], torch.cat([light[:, 1:2], cover], 1))


def _unpacked(packed: Tensor, channels: int) -> tuple[Tensor, Tensor]:
    """Light (J, 3, h, w) and coverage (J, C, h, w) of what `_packed` made."""
    if channels == 3:
        return packed.real, packed.imag
    first, second = packed[:, 0], packed[:, 1]
    return torch.stack([first.real, first.imag, second.real], 1), second.imag[:, None]


def _over(light: Tensor, cover: Tensor, part: Part) -> Tensor:
    """Lay light (J, 3, h, w) with coverage (J, C, h, w) over each other, from far to near: (T, 3, h, w)."""
    out = light.new_zeros(part.counts[0], *light.shape[1:])
    for start, stop, count in part.blocks():
        now = out[:count]
        now.addcmul_(now, cover[start:stop], value=-1).add_(light[start:stop])
    return out


def _over_gradient(light: Tensor, cover: Tensor, coming: Tensor, part: Part) -> tuple[Tensor, Tensor]:
    """Gradient of `_over` to light (J, 3, h, w) and coverage (J, C, h, w), given that of its result."""
    to_light = light.new_empty(light.shape)
    out = light.new_zeros(part.counts[0], *light.shape[1:])
    # What lies behind each layer is kept where the gradient to its light will be.
    for start, stop, count in part.blocks():
        now = out[:count]
        to_light[start:stop] = now
        now.addcmul_(now, cover[start:stop], value=-1).add_(light[start:stop])
    to_cover = light.new_empty(cover.shape)
    left = coming.clone()
    for start, stop, count in reversed(list(part.blocks())):
        now, behind = left[:count], to_light[start:stop]
        change = behind.mul_(now).neg_()
        to_cover[start:stop] = change if cover.shape[1] == 3 else change.sum(1, keepdim=True)
        to_light[start:stop] = now
        now.addcmul_(now, cover[start:stop], value=-1)
    return to_light, to_cover
