"""The `camera` section of a recipe: the thin lens, and the pixels behind it."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from .camera import ThinLens
from .recipe_capture import Phone
from .recipe_psf import Length, Section

Coefficient = Annotated[float, Field(ge=-10, le=10)]
NEEDED = "f_number and focus_distance, or defocus = [farthest, nearest] in radians"


class CameraSection(Section):
    """The thin lens and its sensor: f-number and focus distance, or the defocus that both shall give."""

    phone: Phone | None = None
    """Gives focal length and f-number, and in a stack the deviations of its field of view."""
    focal_length: Length | None = None
    f_number: float | None = Field(default=None, gt=0, le=1e6)
    focus_distance: Length | None = None
    """Of single captures; may be left out where there is a stack."""
    pixel_pitch: Length
    distortion: tuple[Coefficient, Coefficient] | None = None
    """Radial distortion k1, k2 of images, depth and layers; see `distortion.distorted`."""
    defocus: tuple[float, float] | None = None
    """Radians at the pupil's edge, at the mask's design wavelength, of the farthest and the nearest depth."""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        optics = (self.focal_length is not None, self.f_number is not None)
        if self.phone is not None and (any(optics) or self.defocus is not None):
            raise ValueError("phone determines focal_length and f_number: leave those, and defocus, out")
        if self.phone is None and self.focal_length is None:
            raise ValueError("needs focal_length, or phone")
        if self.phone is None and self.defocus is None and self.f_number is None:
            raise ValueError(f"needs {NEEDED}")
        if self.defocus is not None and (self.f_number is not None or self.focus_distance is not None):
            raise ValueError("defocus determines f_number and focus_distance: leave those out")
        if self.defocus is None and self.focus_distance is not None:
            self.lens((1.0, 2.0), 550e-9, self.focus_distance)
        return self

    def lens(self, depth: tuple[float, float], wavelength: float, focus_distance: float) -> ThinLens:
        """Return the camera model.

        Parameters
        ----------
        depth
            Nearest and farthest depth of the scenes, metres: for `defocus`, which is counted at the wavelength.
        wavelength
            Metres.
        focus_distance
            Metres; for cameras without `defocus`.
        """
        focal_length, f_number = self.focal_length, self.f_number
        if self.phone is not None:
            from .breathing import PHONES

            focal_length, f_number = PHONES[self.phone].focal_length, PHONES[self.phone].f_number
        assert focal_length is not None
        if self.defocus is not None:
            near, far = depth
            return ThinLens.for_defocus(
                near, far, self.defocus, wavelength, focal_length=focal_length, pixel_pitch=self.pixel_pitch
            )
        assert f_number is not None
        return ThinLens(
            focal_length=focal_length, f_number=f_number, focus_distance=focus_distance, pixel_pitch=self.pixel_pitch
        )
