"""Rendering models of papers, as they are written, for comparison and faithful reproduction.

All of them cut the image at the depths between `planes` bins that are uniform in inverse depth, give each slice the
blur of its bin's centre, and differ in how they put the blurred slices together.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .. import InputError
from .camera import ThinLens
from .disk_kernels import PLAIN
from .fill import fill_depth
from .layered import border_for, canvas_for, layer_runs_of
from .psf import PsfBank
from .psf_field import FieldBank
from .scene import LayeredScene, Scene

Float32 = npt.NDArray[np.float32]

FAINT = np.float32(1e-3)
"""What is seen less than this of a slice and of those behind it is left to nearer slices: too little to divide by."""
COPIED = 2.0
"""CoC in pixels up to which "gather" copies a pixel: FOSSA's radius of 1."""
WINDOW = 7
"""Pixels on each side of the middle in which "gather" looks for neighbours: 15x15."""


def masked_sum(scene: Scene | LayeredScene, lens: ThinLens, bank: PsfBank, planes: int) -> Float32:
    """Render by the RPSF paper's Eq. 7: ``sum_k h_k * (aif M_k)``, M_k being the slices."""
    cut = _sliced(scene, lens, bank, planes)
    around = [(cut.border, cut.border)] * 2
    slot = np.pad(bank.slots(cut.coc)[cut.plane], around, mode="symmetric")
    rgba = np.ones((*slot.shape, 4), np.float32)
    rgba[..., :3] = np.pad(cut.aif, [*around, (0, 0)], mode="symmetric")
    canvas = canvas_for(slot.shape, bank, cut.coc, int(slot.max()), cut.margin + cut.border, shared=False)
    canvas.scatter(rgba, layer_runs_of(rgba, slot))
    canvas.flush(0, 0, PLAIN)
    canvas.done()
    return canvas.laid()


def normalised_over(scene: Scene | LayeredScene, lens: ThinLens, bank: PsfBank, planes: int) -> Float32:
    """Render by Ikoma et al. 2021: blurred slices laid over each other, each made whole by itself and those behind it.

    ``out = out (1 - a_k) + l_k``, ``a_k = h_k * M_k / E_k``, ``l_k = h_k * (aif M_k) / E_k`` and
    ``E_k = h_k * (M_0 + ... + M_k)``, from far to near. Nothing is known of what is hidden.
    """
    cut = _sliced(scene, lens, bank, planes)
    seen = np.zeros(cut.plane.shape, np.float32)
    out = np.zeros_like(cut.aif)
    for k, blur in cut.kernels(bank):
        slice_ = (cut.plane == k).astype(np.float32)
        seen += slice_
        light, mask, whole = blur(cut.aif * slice_[..., None]), blur(slice_), blur(seen)
        there = whole > FAINT
        share = np.divide(1, whole, out=np.zeros_like(whole), where=there)
        out = out * (1 - mask * share) + light * share
    return cut.inner(out)


def gathered(scene: Scene | LayeredScene, lens: ThinLens, bank: PsfBank, planes: int) -> Float32:
    """Render by the rule of FOSSA's public code (2026): every blurred pixel is a mean of its blurred neighbours.

    A neighbour counts by what its own kernel spreads here, within `WINDOW` pixels either way; the sum is divided by
    that of the weights. Pixels whose CoC is at most `COPIED` pixels stay as they are and count for no other. Nothing
    is before or behind anything. The rule is meant for encoded pictures: `render.light = "srgb"`.
    """
    cut = _sliced(scene, lens, bank, planes)
    light, weight = np.zeros_like(cut.aif), np.zeros_like(cut.aif)
    kept = np.abs(cut.coc)[cut.plane] <= COPIED
    for k, blur in cut.kernels(bank):
        if abs(cut.coc[k]) <= COPIED:
            continue
        slice_ = (cut.plane == k).astype(np.float32)
        within = blur.within(WINDOW)
        light += within(cut.aif * slice_[..., None])
        weight += within(slice_)
    # Where nothing reaches but what transforms round off, a pixel has not even itself: it is one that is kept.
    mean = light / np.maximum(weight, np.float32(1e-6))
    return cut.inner(np.where(kept[..., None], cut.aif, mean))


def extended_layers(scene: Scene | LayeredScene, lens: ThinLens, bank: PsfBank, planes: int) -> Float32:
    """Render by D3-Net Eqs. 1-2 (after Hasinoff and Kutulakos 2007), each layer going on behind all that is nearer.

    ``out = out (1 - h_k * A_k) + h_k * (A_k L_k)`` from far to near, A_k being the slice and everything before it, and
    L_k the image in the slice, continued from coarse to fine behind what is nearer ("push-pull").
    """
    cut = _sliced(scene, lens, bank, planes)
    out = np.zeros_like(cut.aif)
    for k, blur in cut.kernels(bank):
        extended = (cut.plane >= k).astype(np.float32)
        light = _continued(cut.aif, (cut.plane == k).astype(np.float32)) * extended[..., None]
        out = out * (1 - blur(extended)) + blur(light)
    return cut.inner(out)


@dataclass(frozen=True)
class _Slices:
    """An image cut into slices of depth.

    Attributes
    ----------
    aif
        (H, W, 3) float32, with the margin.
    plane
        (H, W) int64: slice of each pixel, from far to near.
    coc
        (planes,) float64, signed pixels: of each slice.
    margin
        Pixels on each side that are not part of the picture.
    border
        Pixels to add on each side by reflection.
    """

    aif: Float32
    plane: npt.NDArray[np.int64]
    coc: npt.NDArray[np.float64]
    margin: int
    border: int

    def inner(self, image: Float32) -> Float32:
        """Return the picture, without its margin and without what rounding left below zero."""
        height, width = self.plane.shape
        cut = image[self.margin : height - self.margin, self.margin : width - self.margin]
        return np.ascontiguousarray(np.maximum(cut, 0))

    def kernels(self, bank: PsfBank) -> Iterator[tuple[int, "_Blur"]]:
        """Yield the slices that are not empty, from far to near, with what blurs them.

        Raises
        ------
        InputError
            If kernels vary over the picture.
        """
        if isinstance(bank, FieldBank):
            raise InputError(
                "this model blurs whole slices by one kernel, and the PSFs vary over the picture: use render.model "
                "'surfaces' or 'eq7'."
            )
        for k in np.unique(self.plane):
            yield int(k), _Blur(bank.slot_kernels(int(bank.slots(self.coc[k : k + 1])[0])))


class _Blur:
    """Convolution with a slice's kernels (C, n, n), one for each colour or one for all; borders are mirrors."""

    def __init__(self, kernels: npt.NDArray[np.float64]) -> None:
        self.kernels = kernels.astype(np.float32)

    def within(self, reach: int) -> "_Blur":
        """Return what is left of it in a window of `reach` pixels on each side of the middle."""
        cut = max(self.kernels.shape[1] // 2 - reach, 0)
        end = self.kernels.shape[1] - cut
        return _Blur(np.asarray(self.kernels[:, cut:end, cut:end], np.float64))

    def __call__(self, image: Float32) -> Float32:
        """Blur three colours (H, W, 3), or a mask (H, W) into what it is in each colour, (H, W, 3) or (H, W, 1)."""
        from scipy.fft import irfft2, next_fast_len, rfft2

        channels, n, _ = self.kernels.shape
        height, width = image.shape[:2]
        if n == 1:
            return image if image.ndim == 3 else np.repeat(image[..., None], channels, axis=2)
        colours = np.moveaxis(image, -1, 0) if image.ndim == 3 else image[None]
        padded = np.pad(colours, [(0, 0), (n // 2, n // 2), (n // 2, n // 2)], mode="symmetric")
        # What wraps around is cut off with the border.
        shape = next_fast_len(height + n - 1, real=True), next_fast_len(width + n - 1, real=True)
        spectrum = rfft2(padded, shape, workers=1) * rfft2(self.kernels, shape, workers=1)
        blurred = irfft2(spectrum, shape, workers=1)[:, n - 1 : n - 1 + height, n - 1 : n - 1 + width]
        return np.moveaxis(blurred, 0, -1)


def _sliced(scene: Scene | LayeredScene, lens: ThinLens, bank: PsfBank, planes: int) -> _Slices:
    if planes < 2:
        raise InputError(f"render.planes must be 2 or more, not {planes}.")
    if isinstance(scene, LayeredScene):
        flat = LayeredScene.from_patches(scene.frame, scene.patches, oversampling=scene.oversampling).flatten()
        scene = Scene(flat.aif, flat.depth, margin=scene.margin)
    depth = fill_depth(scene.depth, scene.aif)
    bank.check_covers(np.array([depth.min(), depth.max()]))
    inverse = 1.0 / depth.astype(np.float64)
    low, high = inverse.min(), inverse.max()
    step = (high - low) / planes
    number = np.floor((inverse - low) / step) if step else np.zeros(depth.shape)
    plane = np.minimum(number.astype(np.int64), planes - 1)
    centres = low + (np.arange(planes) + 0.5) * step
    coc = lens.coc_per_dioptre * (centres - 1.0 / lens.focus_distance)
    return _Slices(scene.aif, plane, coc, scene.margin, border_for(scene, bank, coc))


def _continued(image: Float32, known: Float32) -> Float32:
    """Fill an image (H, W, 3) where `known` (H, W) is 0, by push-pull (Gortler et al. 1996), coarse to fine."""
    if known.all():
        return image
    if min(known.shape) < 2:
        return np.where(known[..., None] > 0, image, np.mean(image[known > 0], axis=0))
    height, width = known.shape
    even = [(0, height % 2), (0, width % 2)]
    light = np.pad(image * known[..., None], [*even, (0, 0)], mode="edge")
    there = np.pad(known, even, mode="edge")
    total = _fourfold(there)
    coarse = _fourfold(light) / np.maximum(total, np.float32(1))[..., None]
    filled = _continued(np.asarray(coarse, np.float32), (total > 0).astype(np.float32))
    return np.where(known[..., None] > 0, image, _twice(_twice(filled, 0), 1)[:height, :width])


def _fourfold(image: Float32) -> Float32:
    """Sum of each 2x2 pixels."""
    return np.asarray(image[0::2, 0::2] + image[1::2, 0::2] + image[0::2, 1::2] + image[1::2, 1::2])


def _twice(image: Float32, axis: int) -> Float32:
    """Double the size along one axis, by linear interpolation."""
    image = np.moveaxis(image, axis, 0)
    padded = np.concatenate([image[:1], image, image[-1:]])
    out = np.empty((2 * len(image), *image.shape[1:]), np.float32)
    out[0::2] = 0.75 * image + 0.25 * padded[:-2]
    out[1::2] = 0.75 * image + 0.25 * padded[2:]
    return np.moveaxis(out, 0, axis)
