"""Scenes: what stands before the camera, as all-in-focus radiance with depth, or as true layers.

Radiance is linear, nominal white 1.0. Depth is z, metres, NaN where unknown. Arrays are [y, x], y down.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from .. import InputError
from .camera import Intrinsics
from .lightfield import LightField

Float32 = npt.NDArray[np.float32]
PLAUSIBLE_DEPTH = (0.05, 1e5)
"""Depths to expect where no range is given, metres: a map with most of its own outside was read in a wrong unit."""


def _float32(array: npt.ArrayLike, shape: str, ndim: int, channels: int | None, name: str) -> Float32:
    out = np.ascontiguousarray(array, np.float32)
    if out.ndim != ndim or 0 in out.shape or (channels is not None and out.shape[-1] != channels):
        raise InputError(f"{name} must have shape {shape}, not {out.shape}.")
    return out


def _check_depth(depth: Float32, name: str) -> None:
    bad = depth <= 0
    if bad.any():
        raise InputError(
            f"{name} has {int(bad.sum())} values that are zero or negative "
            f"(lowest {float(depth[bad].min()):g} m): mark unknown depth as NaN."
        )


@dataclass(frozen=True, eq=False)
class Scene:
    """An all-in-focus image and its depth map.

    Parameters
    ----------
    aif
        (H, W, 3) float32, linear radiance; values over 1 are highlights and stay.
    depth
        (H, W) float32, z in metres, NaN unknown, `inf` allowed.
    intrinsics
        Of the picture, without the margin, if known.
    source
        Identifies the scene; names its split and appears in samples.csv.
    margin
        Pixels on each side that the renderer may look at but that are not part of the picture.
    scale
        Pixels of this picture along one pixel of the one that it was made of: below 1 if it was made smaller.
    light_field
        Where the other views of the scene were taken from, if it is of a light field.

    Raises
    ------
    InputError
        If shapes disagree, depth is not positive, or no depth is known.
    """

    aif: Float32
    depth: Float32
    intrinsics: Intrinsics | None = None
    source: str = ""
    margin: int = 0
    scale: float = 1.0
    light_field: LightField | None = None

    def __post_init__(self) -> None:
        aif = _float32(self.aif, "(H, W, 3)", 3, 3, "the all-in-focus image")
        depth = _float32(self.depth, "(H, W)", 2, None, "the depth map")
        if aif.shape[:2] != depth.shape:
            raise InputError(
                f"image and depth differ in size: {aif.shape[1]}x{aif.shape[0]} and "
                f"{depth.shape[1]}x{depth.shape[0]} pixels (width x height)."
            )
        # NaN passes through min and fails the comparison.
        if not (aif.min() >= 0 and aif.max() < np.inf):
            raise InputError("the all-in-focus image has negative or non-finite radiance.")
        if np.isnan(depth).all():
            raise InputError("the depth map has no valid value.")
        _check_depth(depth, "the depth map")
        object.__setattr__(self, "aif", aif)
        object.__setattr__(self, "depth", depth)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the picture, in pixels, without the margin."""
        height, width = self.depth.shape
        return height - 2 * self.margin, width - 2 * self.margin

    def flatten(self) -> "Scene":
        """Return the picture without its margin."""
        if not self.margin:
            return self
        inner = np.s_[self.margin : -self.margin, self.margin : -self.margin]
        return replace(self, aif=self.aif[inner], depth=self.depth[inner], margin=0)

    def with_margin(self, margin: int) -> "Scene":
        """Return the scene with another share of the frame as its margin, pixels: a larger or a smaller picture."""
        return replace(self, margin=margin, intrinsics=_shifted(self.intrinsics, self.margin - margin))

    def with_light(self, change: Callable[[Float32], Float32]) -> "Scene":
        """Return the scene with `change` applied to its radiance."""
        return replace(self, aif=change(self.aif))


@dataclass(frozen=True, eq=False)
class Patch:
    """One layer's content where it has any.

    Parameters
    ----------
    rgba
        (h, w, 4) float32, premultiplied linear radiance and coverage (alpha) in [0, 1].
    depth
        (h, w) float32 or one number, z in metres; given wherever alpha > 0.
    top, left
        Position of the patch in the frame, pixels; parts outside the frame are ignored.
    """

    rgba: Float32
    depth: Float32 | float
    top: int = 0
    left: int = 0

    def __post_init__(self) -> None:
        rgba = _float32(self.rgba, "(h, w, 4)", 3, 4, "a layer")
        object.__setattr__(self, "rgba", rgba)
        if np.ndim(self.depth) == 0:
            if not float(self.depth) > 0:
                raise InputError(f"a layer's depth must be positive, not {self.depth} m.")
            object.__setattr__(self, "depth", float(self.depth))
            return
        depth = _float32(self.depth, "(h, w)", 2, None, "a layer's depth")
        if depth.shape != rgba.shape[:2]:
            raise InputError(f"a layer's depth has shape {depth.shape} where its colour has {rgba.shape[:2]}.")
        if not (depth.min() > 0 or ((depth > 0) | (rgba[..., 3] <= 0)).all()):
            raise InputError("a layer's depth must be positive wherever the layer is not transparent.")
        object.__setattr__(self, "depth", depth)


class LayeredScene:
    """True layers, with what stands behind every occluder.

    Parameters
    ----------
    rgba
        (L, H, W, 4) float32, premultiplied linear radiance and coverage, nearest last.
    depth
        (L,) or (L, H, W) float32, z in metres.
    intrinsics, source, margin
        As for `Scene`.
    oversampling
        Texels of a layer along one pixel of the picture: H, W are so many times the picture's, and its pixels are
        means of as many texels squared. Twice the resolution keeps what an edge of a layer does within a pixel.

    Attributes
    ----------
    patches
        The layers, far to near. Most layers are small: `from_patches` takes them without the empty rest.
    frame
        Height and width of the layers in texels, the margin included.

    Raises
    ------
    InputError
        If shapes disagree, a depth is not positive, or the frame is not a whole number of pixels.
    """

    def __init__(
        self,
        rgba: npt.ArrayLike,
        depth: npt.ArrayLike,
        intrinsics: Intrinsics | None = None,
        source: str = "",
        margin: int = 0,
        oversampling: int = 1,
    ) -> None:
        layers = _float32(rgba, "(L, H, W, 4)", 4, 4, "the layers")
        depths = np.asarray(depth, np.float32)
        if depths.shape not in (layers.shape[:1], layers.shape[:3]):
            raise InputError(f"the layers' depth must have shape (L,) or (L, H, W), not {depths.shape}.")
        self.patches = tuple(Patch(c, z if z.ndim else float(z)) for c, z in zip(layers, depths, strict=True))
        self.frame = (layers.shape[1], layers.shape[2])
        self.intrinsics, self.source, self.margin = intrinsics, source, margin
        self.oversampling = _checked_oversampling(oversampling, self.frame)

    @classmethod
    def from_patches(
        cls,
        frame: tuple[int, int],
        patches: Iterable[Patch],
        intrinsics: Intrinsics | None = None,
        source: str = "",
        margin: int = 0,
        oversampling: int = 1,
    ) -> "LayeredScene":
        """Make a scene of patches, far to near, in a frame of (height, width) texels, the margin included."""
        scene = cls.__new__(cls)
        scene.patches, scene.frame = tuple(patches), frame
        scene.intrinsics, scene.source, scene.margin = intrinsics, source, margin
        scene.oversampling = _checked_oversampling(oversampling, frame)
        if not scene.patches:
            raise InputError("a layered scene needs at least one layer.")
        return scene

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the picture, in pixels, without the margin."""
        height, width = (n // self.oversampling - 2 * self.margin for n in self.frame)
        return height, width

    def flatten(self) -> Scene:
        """Return what a pinhole camera sees, without the margin.

        Depth is that of the nearest layer that covers at least half of the pixel, NaN where none does. Of several
        texels in a pixel the nearest half count.

        Raises
        ------
        InputError
            If no layer covers any pixel.
        """
        from .scene_kernels import over

        (height, width), n = self.size, self.oversampling
        rgb = np.zeros((height * n, width * n, 3), np.float32)
        depth = np.full((height * n, width * n), np.nan, np.float32)
        margin = self.margin * n
        for patch in self.patches:
            z = np.broadcast_to(np.asarray(patch.depth, np.float32), patch.rgba.shape[:2])
            over(patch.rgba, z, patch.top - margin, patch.left - margin, rgb, depth)
        if n > 1:
            # NaN comes last in order.
            texels = np.moveaxis(depth.reshape(height, n, width, n), 1, 2).reshape(height, width, n * n)
            rgb, depth = block_mean(rgb, n), np.sort(texels, axis=2)[..., (n * n - 1) // 2]
        return Scene(rgb, depth, self.intrinsics, self.source)

    def texels_as_pixels(self) -> "LayeredScene":
        """Return the layers as a scene of as many pixels as they have texels."""
        margin = self.margin * self.oversampling
        return self.from_patches(self.frame, self.patches, None, self.source, margin)

    def averaged(self) -> "LayeredScene":
        """Return the scene with its layers averaged to pixels; a varying depth by the mean of its inverse."""
        n = self.oversampling
        patches = [_averaged(patch, n) for patch in self.patches]
        frame = self.frame[0] // n, self.frame[1] // n
        return self.from_patches(frame, patches, self.intrinsics, self.source, self.margin)

    def with_margin(self, margin: int) -> "LayeredScene":
        """Return the scene with another share of the frame as its margin, pixels: a larger or a smaller picture."""
        intrinsics = _shifted(self.intrinsics, self.margin - margin)
        return self.from_patches(self.frame, self.patches, intrinsics, self.source, margin, self.oversampling)

    def with_light(self, change: Callable[[Float32], Float32]) -> "LayeredScene":
        """Return the scene with `change` applied to the radiance of its layers."""
        patches = []
        for patch in self.patches:
            alpha = patch.rgba[..., 3:]
            straight = np.divide(patch.rgba[..., :3], alpha, out=np.zeros_like(patch.rgba[..., :3]), where=alpha > 0)
            patches.append(replace(patch, rgba=np.concatenate([change(straight) * alpha, alpha], axis=-1)))
        return self.from_patches(
            self.frame, patches, self.intrinsics, self.source, self.margin, self.oversampling
        )  # fmt: skip


def block_mean(image: Float32, n: int) -> Float32:
    """Mean over blocks of n x n of an image (H, W, channels): (H / n, W / n, channels) float32."""
    height, width, channels = image.shape
    return np.asarray(image.reshape(height // n, n, width // n, n, channels).mean(axis=(1, 3)), np.float32)


def _shifted(intrinsics: Intrinsics | None, pixels: int) -> Intrinsics | None:
    """Intrinsics of a picture whose first pixel lies so many pixels farther up and left."""
    if intrinsics is None:
        return None
    return replace(intrinsics, cx=intrinsics.cx + pixels, cy=intrinsics.cy + pixels)


def _checked_oversampling(oversampling: int, frame: tuple[int, int]) -> int:
    if not (isinstance(oversampling, int | np.integer) and oversampling >= 1):
        raise InputError(f"a layered scene's oversampling must be a whole number, 1 or more, not {oversampling!r}.")
    if frame[0] % oversampling or frame[1] % oversampling:
        raise InputError(
            f"layers of {frame[1]}x{frame[0]} texels (width x height) are no whole number of pixels at an oversampling "
            f"of {oversampling}: make them larger."
        )
    return int(oversampling)


def _averaged(patch: Patch, n: int) -> Patch:
    """Average a patch over blocks of n x n texels of its frame."""
    height, width = patch.rgba.shape[:2]
    around = [(at % n, -(at + size) % n) for at, size in ((patch.top, height), (patch.left, width))]
    rgba = np.pad(patch.rgba, [*around, (0, 0)])
    top, left = patch.top // n, patch.left // n
    if isinstance(patch.depth, float):
        return Patch(block_mean(rgba, n), patch.depth, top, left)
    there = np.pad((patch.rgba[..., 3] > 0).astype(np.float32), around)
    inverse = np.divide(1.0, np.pad(patch.depth, around), out=np.zeros_like(there), where=there > 0)
    mean = block_mean(np.stack([inverse, there], axis=-1), n)
    depth = np.divide(
        mean[..., 1], mean[..., 0], out=np.full(mean.shape[:2], np.inf, np.float32), where=mean[..., 0] > 0
    )
    return Patch(block_mean(rgba, n), depth, top, left)
