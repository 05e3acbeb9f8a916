"""All kinds of PSFs that a recipe can ask for."""

from typing import Annotated

from pydantic import Field

from .recipe_psf import AperturePsf, CatEyePsf, DiskPsf, GaussianPsf, MaskPsf, MeasuredPsf, PowerExponentialPsf

PsfSection = Annotated[
    DiskPsf
    | GaussianPsf
    | PowerExponentialPsf
    | AperturePsf
    | CatEyePsf
    | MaskPsf
    | MeasuredPsf,
    Field(discriminator="kind"),
]  # fmt: skip
"""One line for each kind; `docs/contributing.md` says what a new one needs."""
