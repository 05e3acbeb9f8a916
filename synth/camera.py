"""The thin lens: where it focuses, and how large and on which side the blur of a depth is.

Lengths are metres, depths are distances along the optical axis (z). A circle of confusion (CoC) is a signed
diameter on the sensor in pixels: positive for points nearer than the focus plane, negative behind it.
"""

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import InputError


@dataclass(frozen=True, kw_only=True, slots=True)
class ThinLens:
    """A thin lens in front of a sensor.

    Parameters
    ----------
    focal_length
        Metres.
    f_number
        Focal length over aperture diameter.
    focus_distance
        Distance along the axis, from the lens to the plane in focus, metres; `inf` is allowed.
    pixel_pitch
        Distance between the centres of two neighbouring pixels on the sensor, metres.

    Raises
    ------
    InputError
        If a length is not positive, or the focus distance is not beyond the focal length.
    """

    focal_length: float
    f_number: float
    focus_distance: float
    pixel_pitch: float

    def __post_init__(self) -> None:
        for name in ("focal_length", "f_number", "pixel_pitch"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise InputError(f"{name} must be a positive number, not {value}.")
        if not self.focus_distance > self.focal_length:
            raise InputError(
                f"focus_distance ({self.focus_distance} m) must be beyond the focal length "
                f"({self.focal_length} m): a thin lens cannot focus nearer."
            )

    @property
    def aperture_diameter(self) -> float:
        """Diameter of the entrance pupil, metres."""
        return self.focal_length / self.f_number

    @property
    def image_distance(self) -> float:
        """Distance from the lens to the sensor, metres: s with 1/s = 1/f - 1/focus_distance."""
        if math.isinf(self.focus_distance):
            return self.focal_length
        return self.focal_length * self.focus_distance / (self.focus_distance - self.focal_length)

    @property
    def coc_per_dioptre(self) -> float:
        """Change of the signed CoC, in pixels, when the inverse depth grows by 1/metre: A s / pitch."""
        return self.aperture_diameter * self.image_distance / self.pixel_pitch

    def coc(self, depth: npt.ArrayLike) -> Any:
        """Signed diameter of the circle of confusion, in pixels.

        ``c = A s (1/z - 1/z_focus) / pitch``: D3-Net section 2 (``D s |1/f - 1/z - 1/s|``), 2HDED Eq. 8 and
        UDfD Eq. 1 written with the sensor distance s, which makes it exact rather than approximate.

        Parameters
        ----------
        depth
            Metres along the axis, any shape; `inf` is allowed, NaN stays NaN.

        Returns
        -------
        Same shape as `depth`, in its floating dtype (float64 for integers and plain numbers).
        """
        z = np.asarray(depth)
        if not np.issubdtype(z.dtype, np.floating):
            z = z.astype(np.float64)
        coc = self.coc_per_dioptre * (1.0 / z - 1.0 / self.focus_distance)
        return coc if z.ndim else float(coc)

    def depth_at_coc(self, coc: npt.ArrayLike) -> Any:
        """Depth, in metres, whose signed CoC is `coc` pixels; `inf` where no finite depth has it.

        The inverse of `coc`, in float64.
        """
        inverse = np.asarray(coc, np.float64) / self.coc_per_dioptre + 1.0 / self.focus_distance
        depth = np.full(inverse.shape, math.inf)
        np.divide(1.0, inverse, out=depth, where=inverse > 0)
        return depth if depth.ndim else float(depth)

    @property
    def working_f_number(self) -> float:
        """Sensor distance over aperture diameter: what sets the scale of diffraction, ``wavelength * this``."""
        return self.image_distance / self.aperture_diameter

    def defocus_per_coc(self, wavelength: float) -> float:
        """Defocus phase, in radians at the pupil's edge, of a CoC of one pixel: ``pi pitch / (4 wavelength N_w)``."""
        return math.pi * self.pixel_pitch / (4.0 * wavelength * self.working_f_number)

    def defocus(self, depth: npt.ArrayLike, wavelength: float) -> Any:
        """Defocus phase psi at the edge of the pupil, in radians; positive for points nearer than the focus plane.

        ``psi = pi R^2 / wavelength (1/z - 1/z_focus)``, R the pupil's radius: RPSF paper Eq. 12; PhaseCam3D's phi at
        its middle wavelength.

        Parameters
        ----------
        depth
            Metres along the axis, any shape; `inf` is allowed.
        wavelength
            Metres, in vacuum.
        """
        return self.coc(depth) * self.defocus_per_coc(wavelength)

    def depth_at_defocus(self, defocus: npt.ArrayLike, wavelength: float) -> Any:
        """Depth, in metres, whose defocus phase is `defocus` radians; `inf` where no finite depth has it."""
        return self.depth_at_coc(np.asarray(defocus, np.float64) / self.defocus_per_coc(wavelength))

    @classmethod
    def for_defocus(
        cls,
        near: float,
        far: float,
        defocus: tuple[float, float],
        wavelength: float,
        *,
        focal_length: float,
        pixel_pitch: float,
    ) -> "ThinLens":
        """Return the lens that gives the depths `near` and `far` a wanted defocus: the papers' phi made physical.

        The two conditions fix the focus distance and the aperture.

        Parameters
        ----------
        near, far
            Depths in metres; `far` may be `inf`.
        defocus
            Radians at the pupil's edge of the farthest and the nearest depth; PhaseCam3D has (-10, 10).
        wavelength
            Metres: where the defocus is counted.
        focal_length, pixel_pitch
            Metres.

        Raises
        ------
        InputError
            If no lens does so: the depths or the phases are not in order, or the focus would lie beyond infinity.
        """
        low, high = defocus
        if not (0 < near < far and low < high and wavelength > 0):
            raise InputError(
                f"a lens for a defocus of {low:g} to {high:g} rad from {far:g} to {near:g} m cannot be found: the "
                "farther depth takes the smaller phase, and depths and wavelength are positive."
            )
        per_dioptre = (high - low) / (1.0 / near - 1.0 / far)
        focus = 1.0 / far - low / per_dioptre
        if not focus > 0:
            raise InputError(f"no finite focus distance gives {far:g} m a defocus of {low:g} rad: lower it.")
        radius = math.sqrt(per_dioptre * wavelength / math.pi)
        return cls(
            focal_length=focal_length,
            f_number=focal_length / (2.0 * radius),
            focus_distance=1.0 / focus,
            pixel_pitch=pixel_pitch,
        )

    def depth_of_field(self, max_coc: float = 1.0) -> tuple[float, float]:
        """Nearest and farthest depth, in metres, whose CoC is at most `max_coc` pixels across."""
        return float(self.depth_at_coc(max_coc)), float(self.depth_at_coc(-max_coc))

    def hyperfocal_distance(self, max_coc: float = 1.0) -> float:
        """Nearest focus distance, in metres, that keeps infinity within a CoC of `max_coc` pixels.

        ``H = f^2 / (N c) + f`` with c the CoC in metres.
        """
        return self.focal_length**2 / (self.f_number * max_coc * self.pixel_pitch) + self.focal_length

    def field_of_view(self, pixels: int) -> float:
        """Full angle, in radians, seen by a row or column of `pixels` pixels."""
        return 2.0 * math.atan(pixels * self.pixel_pitch / (2.0 * self.image_distance))

    def intrinsics(self, height: int, width: int) -> "Intrinsics":
        """Intrinsics of an image of this camera, the optical axis at its centre."""
        focal = self.image_distance / self.pixel_pitch
        return Intrinsics(fx=focal, fy=focal, cx=(width - 1) / 2, cy=(height - 1) / 2)

    def refocused(self, focus_distance: float) -> "ThinLens":
        """Return the same lens focused at another distance, in metres."""
        return replace(self, focus_distance=focus_distance)

    def resized(self, scale: float) -> "ThinLens":
        """Return the same lens for a picture that was made `scale` times as large: its pixels are 1/scale as large."""
        if not (math.isfinite(scale) and scale > 0):
            raise InputError(f"a picture is resized by a positive factor, not {scale}.")
        return replace(self, pixel_pitch=self.pixel_pitch / scale)


@dataclass(frozen=True, kw_only=True, slots=True)
class Intrinsics:
    """Pinhole intrinsics, in pixels; pixel centres have integer coordinates.

    Parameters
    ----------
    fx, fy
        Focal length over pixel pitch (the sensor distance takes the focal length's place in a focused lens).
    cx, cy
        Principal point, x right and y down.
    """

    fx: float
    fy: float
    cx: float
    cy: float

    def __post_init__(self) -> None:
        if not (self.fx > 0 and self.fy > 0):
            raise InputError(f"intrinsics need positive focal lengths, not fx={self.fx}, fy={self.fy} pixels.")

    @property
    def matrix(self) -> npt.NDArray[np.float32]:
        """The (3, 3) float32 camera matrix, pixels."""
        return np.array([[self.fx, 0, self.cx], [0, self.fy, self.cy], [0, 0, 1]], np.float32)

    def ray_length_per_depth(self, height: int, width: int) -> npt.NDArray[np.float64]:
        """Length of each pixel's viewing ray per metre of z: divide a ray distance by it to get z-depth.

        Returns
        -------
        (height, width) float64, 1 on the optical axis.
        """
        x = (np.arange(width) - self.cx) / self.fx
        y = (np.arange(height) - self.cy) / self.fy
        return np.sqrt(1.0 + x[None, :] ** 2 + y[:, None] ** 2)
