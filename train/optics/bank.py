"""PSFs of a learned mask, made again in every step of training; the numbers of `PsfBank.from_mask`, with gradients."""

import contextlib
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from ... import InputError
from ...synth.camera import ThinLens
from ...synth.pupil import Mask, mask_from
from ...synth.pupil.base import DESIGN_WAVELENGTH
from ...synth.pupil.phase import phase_of_height
from ...synth.pupil.pixels import shared_nodes
from ...synth.pupil.propagation import check_samples, pupil_axis
from ...synth.pupil.windows import POINTS_ACROSS, check_held, check_light, check_request, check_window, planes_over

ROWS_AT_ONCE = 16
"""Rows of cells whose points a processor looks at together: they fit into its cache. Other devices take all at once."""


class DifferentiableBank:
    """The PSFs of masks on the planes of a lens, in torch, with gradients to the masks' parameters.

    It holds what does not change while a mask is learned: planes, Fourier matrices with the planes' defocus in them,
    and the filters that integrate over pixels. It has no parameters.

    Parameters
    ----------
    lens
        Binds phase to depth and the PSF to pixels.
    depth
        Nearest and farthest, metres, that the planes serve; the planes are those of `PsfBank.from_mask`.
    wavelengths
        Metres; one for all channels, or those of R, G and B.
    planes
        At most so many, uniform in defocus, the focus plane among them where it lies between.
    size
        Height and width of the kernels, pixels, odd or even; the axis is at size // 2.
    samples
        Cells across the pupil.
    dtype
        Of the kernels: float32 in training, float64 where numbers are compared.
    reference
        Metres: where `psi` is counted. Kernels count at the design wavelength of the mask that they are of.

    Attributes
    ----------
    coc
        (K,) float64, signed CoC of each plane in pixels, ascending: from far to near.
    psi
        (K,) float64, defocus of each plane, radians at the pupil's edge at `reference`.
    held
        (K, C) share of the light that the window held of the last `kernels`, which have unit sum without it; without
        gradient. None before.

    Raises
    ------
    InputError
        If the pupil is undersampled, or the window narrower than the CoC; see `check` for what depends on the mask.
    """

    def __init__(
        self,
        lens: ThinLens,
        depth: tuple[float, float],
        *,
        wavelengths: Sequence[float],
        planes: int,
        size: int,
        samples: int,
        dtype: torch.dtype = torch.float32,
        reference: float = DESIGN_WAVELENGTH,
    ) -> None:
        self.lens, self.wavelengths = lens, tuple(float(w) for w in wavelengths)
        self.size, self.samples, self.dtype = size, samples, dtype
        with _as_optics():
            check_request(self.wavelengths, 0.5, planes=planes, size=size, samples=samples)
            psi = planes_over(lens, depth, planes, reference)
            coc = psi / lens.defocus_per_coc(reference)
            check_window(size, coc, lens, len(self.wavelengths))
            self._pixels = [lens.pixel_pitch / (w * lens.working_f_number) for w in self.wavelengths]
            self._widest = float(np.abs(coc).max()) * lens.defocus_per_coc(min(self.wavelengths))
            check_samples(samples, self._widest, size * max(self._pixels))
        self._kind = torch.complex128 if dtype == torch.float64 else torch.complex64
        self.psi, self.coc = torch.from_numpy(psi), torch.from_numpy(coc)
        self.held: Tensor | None = None
        self._constants: dict[torch.device, list[tuple[Tensor, Tensor]]] = {}

    def check(self, mask: Mask) -> Tensor:
        """Check what depends on the mask: its slope against the samples, its light, and what the window holds of it.

        Returns
        -------
        (K, C) float64 on the CPU: share of the light that the window holds.

        Raises
        ------
        InputError
            If the pupil is undersampled for the mask, or the mask opaque, or a window holds too little of the light.
        """
        with _as_optics(), torch.no_grad():
            # On numpy's numbers, wherever its parameters are.
            mask = mask_from(mask.to_dict())
            steepness = mask.steepness() * mask.wavelength / min(self.wavelengths)
            check_samples(self.samples, self._widest, self.size * max(self._pixels), steepness)
            fields, light = self._fields(mask, torch.device("cpu"))
            check_light(float(light), mask)
            _, held = self._windows(fields, light)
            check_held(float(held.min()), self.size, min(self._pixels))
        return held.double()

    def kernels(self, mask: Mask, device: torch.device | str) -> Tensor:
        """Kernels of a mask: those of ``PsfBank.from_mask(mask, lens, wavelengths, depth=..., planes=...)``.

        Parameters
        ----------
        mask
            Its parameters may be tensors on the device.
        device
            Where to compute.

        Returns
        -------
        (K, C, size, size), unit sum, differentiable with respect to the mask's parameters.
        """
        kernels, held = self.windows(mask, device)
        self.held = held.detach()
        return kernels

    def windows(self, mask: Mask, device: torch.device | str) -> tuple[Tensor, Tensor]:
        """Return `kernels`, and (K, C) what share of the light the window held of each, also differentiable."""
        return self._windows(*self._fields(mask, torch.device(device)))

    def _fields(self, mask: Mask, device: torch.device) -> tuple[Tensor, Tensor]:
        """Fields behind the mask, (C, M, M) complex, and its light: what `mask_fields` gives, in strips of rows."""
        oversampling = max(1, POINTS_ACROSS // self.samples)
        x = torch.from_numpy(pupil_axis(self.samples * oversampling)).to(device, self.dtype)
        rows = ROWS_AT_ONCE if device.type == "cpu" else self.samples
        waves = [phase_of_height(1.0, w, mask.material.index(w)) for w in self.wavelengths]
        strips, lights = [], []
        for y in torch.split(x, rows * oversampling):
            height, amplitude = mask.height_on(x, y), mask.amplitude_on(x, y)
            if height is None:
                strips.append(_cell_means(amplitude, oversampling).to(self._kind).expand(len(waves), -1, -1))
            elif amplitude.requires_grad:
                parts = [(amplitude * torch.cos(height * w), amplitude * torch.sin(height * w)) for w in waves]
                strips.append(torch.stack([torch.complex(*(_cell_means(p, oversampling) for p in ps)) for ps in parts]))
            else:
                strips.append(_CellFields.apply(height, amplitude, waves, oversampling))  # type: ignore[no-untyped-call]
            lights.append((amplitude * amplitude).sum())
        return torch.cat(strips, dim=1), torch.stack(lights).sum() / len(x) ** 2

    def _windows(self, fields: Tensor, light: Tensor) -> tuple[Tensor, Tensor]:
        found = []
        for pupil, (transform, weights) in zip(fields, self._matrices(fields.device), strict=True):
            # The defocus is in the matrices, so the pupil itself is the same for all planes.
            field = torch.matmul(torch.matmul(transform, pupil), transform.mT)
            found.append(weights @ (field.real.square() + field.imag.square()) @ weights.T)
        # Filters with negative taps may go below nothing by their error.
        shares = torch.stack(found, dim=1).clamp(min=0) / light
        held = shares.sum(dim=(2, 3))
        return shares / held[:, :, None, None], held

    def _matrices(self, device: torch.device) -> list[tuple[Tensor, Tensor]]:
        """Per wavelength: Fourier matrices of all planes, (K, n, M), and the weights of their points, (size, n)."""
        if device not in self._constants:
            axis, made = pupil_axis(self.samples), []
            for wavelength, pixel in zip(self.wavelengths, self._pixels, strict=True):
                points, weights = shared_nodes(pixel, self.size)
                psi = self.coc.numpy() * self.lens.defocus_per_coc(wavelength)
                phase = math.pi * points[None, :, None] * axis + psi[:, None, None] * axis**2
                transform = torch.from_numpy(np.exp(1j * phase) / self.samples).to(device, self._kind)
                made.append((transform, torch.from_numpy(weights * pixel).to(device, self.dtype)))
            self._constants[device] = made
        return self._constants[device]


class _CellFields(torch.autograd.Function):
    """Means over cells of ``amplitude exp(i wave height)``, (C, h, w), whose backward takes no sine or cosine again."""

    @staticmethod
    def forward(ctx: Any, height: Tensor, amplitude: Tensor, waves: Sequence[float], oversampling: int) -> Tensor:
        parts = []
        for wave in waves:
            phase = height * wave
            parts += [torch.cos(phase).mul_(amplitude), torch.sin(phase).mul_(amplitude)]
        ctx.save_for_backward(*parts)
        ctx.waves, ctx.oversampling = waves, oversampling
        means = [_cell_means(part, oversampling) for part in parts]
        return torch.stack([torch.complex(*means[i : i + 2]) for i in range(0, len(means), 2)])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        total: Tensor | None = None
        for wave, gradient, real, imaginary in zip(
            ctx.waves, gradients[0], ctx.saved_tensors[::2], ctx.saved_tensors[1::2], strict=True
        ):
            # Of all points of a cell the same: repeated along the rows, broadcast down the columns.
            scaled = gradient * (wave / ctx.oversampling**2)
            to_real, to_imaginary = (
                part.repeat_interleave(ctx.oversampling, dim=1)[:, None] for part in (scaled.real, scaled.imag)
            )
            shape = (len(gradient), ctx.oversampling, -1)
            one = real.reshape(shape) * to_imaginary
            one.addcmul_(imaginary.reshape(shape), to_real, value=-1)
            total = one if total is None else total.add_(one)
        assert total is not None
        return total.reshape(ctx.saved_tensors[0].shape), None, None, None


def _cell_means(values: Tensor, oversampling: int) -> Tensor:
    """Means over cells of so many points a side."""
    rows, columns = (n // oversampling for n in values.shape)
    down = values.reshape(rows, oversampling, -1).sum(dim=1)
    return down.reshape(rows, columns, oversampling).sum(dim=2) / oversampling**2


@contextlib.contextmanager
def _as_optics() -> Iterator[None]:
    """Name the keys in sentences as configs have them: the section is called `psf` in recipes only."""
    try:
        yield
    except InputError as error:
        raise InputError(str(error).replace("psf.", "optics.")) from None
