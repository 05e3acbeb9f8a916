"""The optics of a run: a mask, its PSFs, a renderer and a sensor, as one module before the network."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ... import InputError
from ...synth.camera import ThinLens
from ...synth.pupil import Mask
from ...synth.pupil.files import check_pupil, load_mask_for, save_mask
from ..batches import linear_to_srgb, srgb_to_linear
from ..seeds import key as seed_of
from .bank import DifferentiableBank
from .mask_settings import FileSection, MaskSection, SpiralSection, ZernikeSection
from .masks import KeptMask, LearnedMask, build_mask
from .rendering import planes_of, render
from .sensor import DifferentiableSensor
from .settings import OpticsSettings


class FinishedMask(KeptMask):
    """A mask as a run has learned it: nothing more is learned of it.

    Parameters
    ----------
    mask
        The mask.
    numbers
        Its parameters, as logs name them.
    """

    def __init__(self, mask: Mask, numbers: Mapping[str, float]) -> None:
        super().__init__(mask)
        self._numbers = dict(numbers)

    def numbers(self) -> dict[str, float]:
        """Return its parameters."""
        return self._numbers


class Optics(torch.nn.Module):
    """Takes sharp pictures and depths, and makes of them what a camera behind the mask sees.

    Parameters
    ----------
    settings
        The section `optics` of a config.
    lens
        The camera.
    depth
        Nearest and farthest depth that PSFs are made for, metres; what lies beyond has the PSF of the end.
    seed
        Of whatever is random in the mask's beginning.
    encoded
        Whether pictures are sRGB, which is decoded before anything is blurred and encoded again after it.
    mask
        A mask in the place of the settings'.
    dtype
        Of everything that is computed; float64 where gradients are checked.

    Raises
    ------
    InputError
        If a file of a mask cannot be used, the pupil is undersampled, or kernels hold too little of the light.

    Attributes
    ----------
    learns
        Whether anything of the mask is learned.
    penalises
        Whether the mask adds to the loss.
    began
        Parameters of the mask that the settings begin with, as logs name them; empty where a finished mask is given,
        and its start was random or in a file.
    """

    def __init__(
        self, settings: OpticsSettings, lens: ThinLens, depth: tuple[float, float], seed: int = 0, *,
        encoded: bool = True, mask: LearnedMask | None = None, dtype: torch.dtype = torch.float32,
    ) -> None:  # fmt: skip
        super().__init__()
        self.settings, self.lens, self.encoded, self.dtype = settings, lens, encoded, dtype
        if mask is None:
            _check_file(settings.mask, lens)
        self.mask = build_mask(settings.mask, seed) if mask is None else mask
        self.began = self.mask.numbers() if mask is None else _start(settings.mask)
        if not settings.learn:
            self.mask.requires_grad_(False)
        first = self.mask.finished()
        self.bank = DifferentiableBank(
            lens, depth, wavelengths=settings.wavelengths, planes=settings.planes, size=settings.size,
            samples=settings.samples, dtype=dtype, reference=first.wavelength,
        )  # fmt: skip
        self.bank.check(first)
        self.sensor = DifferentiableSensor(settings.sensor) if settings.sensor is not None else None
        # Asked for once: a copy that averages over steps needs no gradients, and changes all the same.
        self.learns = any(parameter.requires_grad for parameter in self.mask.parameters())
        self.penalises = self.learns and self.mask.penalty().requires_grad
        self._fixed: Tensor | None = None

    @property
    def words(self) -> str:
        """Say in a few words what captures are made of."""
        size, seen = self.settings.size, "no sensor" if self.sensor is None else self.sensor.words
        laid, asked = len(self.bank.coc), self.settings.planes
        # A uniform row with the focus in it has as many planes on both sides of a range that is symmetric.
        fewer = f" (of {asked}: evenly spaced, with one in focus, they reach both ends)" if laid < asked else ""
        return (
            f"{self.mask.finished().name}, {laid} planes{fewer} of {size}x{size} px, {self.settings.renderer}; {seen}"
        )

    def kernels(self, device: torch.device | str = "cpu") -> Tensor:
        """Return the PSFs of all planes, (K, C, n, n), with gradients to what is learned."""
        if self.learns:
            return self.bank.kernels(self.mask.mask(), device)
        if self._fixed is None or self._fixed.device != torch.device(device):
            # As its file would have it: what is not learned is the same in both.
            self._fixed = self.bank.kernels(self.mask.finished(), device).detach()
        return self._fixed

    def forward(self, batch: Mapping[str, Tensor], key: int) -> dict[str, Tensor]:
        """Make captures.

        Parameters
        ----------
        batch
            `aif` (B, 3, H, W), 0 to 1, encoded as the store's pictures, or linear; `depth` (B, H, W) in metres;
            `valid` (B, H, W), where it is known; `index` (B,). Beyond its border a picture is its mirror image: crop
            before.
        key
            Of the noise, with each sample's index.

        Returns
        -------
        The batch with `image` (B, 3, H, W), encoded as `aif` is.
        """
        device = batch["aif"].device
        with torch.autocast(device.type, enabled=False):
            light = batch["aif"].to(self.dtype)
            light = srgb_to_linear(light) if self.encoded else light
            plane = planes_of(batch["depth"], self.lens, self.bank.coc, batch["valid"])
            image = render(light, plane, self.kernels(device), self.settings.renderer)
            if self.sensor is not None:
                image = self.sensor(image, [seed_of(key, "sensor", index) for index in batch["index"].tolist()])
            return {**batch, "image": linear_to_srgb(image) if self.encoded else image.clamp(0, 1)}

    def save(self, path: Path) -> None:
        """Write the mask as it is now, with its camera, as `defocal.synth.load_mask` and recipes read it."""
        save_mask(self.mask.finished(), path, self.lens)

    def to_dict(self) -> dict[str, Any]:
        """Return the mask as it is now, JSON data from which `synth.pupil.mask_from` makes it."""
        return self.mask.finished().to_dict()


def _start(section: MaskSection) -> dict[str, float]:
    return build_mask(section, 0).numbers() if isinstance(section, SpiralSection | ZernikeSection) else {}


def _check_file(section: MaskSection, lens: ThinLens) -> None:
    if isinstance(section, FileSection) and not section.any_camera:
        across = lens.aperture_diameter
        check_pupil(section.path, load_mask_for(section.path)[1], (across, across), "optics.mask.any_camera=true")


def check_camera(lens: ThinLens | None) -> ThinLens:
    """Return the one lens of all samples.

    Raises
    ------
    InputError
        If there is none: a mask is bound to a pupil.
    """
    if lens is None:
        raise InputError(
            "optics needs stores of single captures by one camera, and these samples have cameras of their own: the "
            "mask stands in one lens."
        )
    return lens
