"""Focal stacks: one scene through one lens, focused again and again, with what that does to the field of view.

The slices are rendered in the frame of the reference slice, which is that of the scene, with the blur that each has at
its own magnification, and then moved to their own frames: blur, silhouettes and depth of a slice agree, depth edges
are never resampled, and the scene is split into surfaces once for all slices.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from .. import InputError
from .breathing import Breathing, outside, slice_intrinsics
from .camera import Intrinsics, ThinLens
from .motion import moved
from .psf import PsfBank
from .rendering import Model, render_sweep
from .resample import resample_similarity
from .scene import LayeredScene, Scene
from .schedules import checked

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Banks = PsfBank | Callable[[ThinLens], PsfBank] | None

BEYOND = 0.02
"""Share of the picture's shorter side that a slice may look beyond the scene, where the world is its mirror image."""


class FocalStack(NamedTuple):
    """The slices of a focal stack.

    Attributes
    ----------
    images
        (S, H, W, 3) float32, linear radiance.
    intrinsics
        (S, 3, 3) float32, pixels: the camera matrix of each slice.
    """

    images: Float32
    intrinsics: Float32


def render_stack(
    scene: Scene | LayeredScene,
    lens: ThinLens,
    focus_distances: Sequence[float] | Float64,
    bank: Banks = None,
    *,
    f_numbers: Sequence[float] | None = None,
    breathing: Breathing | bool = False,
    reference: int | None = None,
    motion: Float64 | None = None,
    seed: tuple[int, int] = (0, 0),
    planes: int = 64,
    method: Literal["layered", "exact"] = "layered",
    samples: int = 256,
    model: Model = "surfaces",
) -> FocalStack:
    """Render a focal stack.

    Parameters
    ----------
    scene
        As the reference slice frames it; its ground truth is that of the reference slice.
    lens
        The camera; its own focus distance does not matter.
    focus_distances
        (S,) metres, one a slice, in any order.
    bank
        PSFs: a bank whose kernels serve any lens (disks and other shapes), or a function that makes the bank of a
        lens, as for masks; disks if left out.
    f_numbers
        (S,) f-number of each slice; the lens's own if left out.
    breathing
        True: the field of view changes with the image distance, as that of a thin lens (UDfD and aligned datasets
        have False). A `Breathing` adds the measured deviations of a camera.
    reference
        Number of the slice that the scene's frame is that of; the farthest focus, which sees most, if left out.
    motion
        (S, 6) rotation vector (radians) and translation (metres) of the camera of each slice; see
        `motion.hand_motion`.
    seed
        The recipe's seed and the sample's number: for the principal points that a `Breathing` draws.
    planes, method, samples, model
        As for `render`.

    Returns
    -------
    The images and the intrinsics of the slices.

    Raises
    ------
    InputError
        If there is no slice, a focus distance is at or inside the focal length, a slice would look far beyond the
        scene, or `render` refuses the rest.
    """
    focus = checked(focus_distances, lens.focal_length)
    lenses = [lens.refocused(float(d)) for d in focus]
    if f_numbers is not None:
        if np.ndim(f_numbers) != 1 or len(f_numbers) != len(lenses):
            raise InputError(f"{len(lenses)} focus distances need as many f-numbers, not {f_numbers}.")
        lenses = [replace(slice_lens, f_number=float(n)) for slice_lens, n in zip(lenses, f_numbers, strict=True)]
    reference = int(np.argmax(focus)) if reference is None else reference
    if not isinstance(reference, int | np.integer) or not 0 <= reference < len(lenses):
        raise InputError(f"the reference slice must be one of 0 to {len(lenses) - 1}, not {reference!r}.")
    if not isinstance(breathing, bool | Breathing):
        raise InputError(f"breathing must be true, false or a Breathing, not {breathing!r}.")
    if motion is not None and np.shape(motion) != (len(lenses), 6):
        raise InputError(
            f"motion must have six numbers for each of {len(lenses)} slices, not shape {np.shape(motion)}."
        )
    matrices = frames(scene, lenses, reference, breathing, seed)
    options = {"planes": planes, "method": method, "samples": samples, "model": model}
    return shoot(scene, lenses, matrices, reference, bank, motion, options)


def frames(
    scene: Scene | LayeredScene,
    lenses: Sequence[ThinLens],
    reference: int,
    breathing: Breathing | bool,
    seed: tuple[int, int],
) -> Float64:
    """Return the camera matrices of the slices, (S, 3, 3) float64, pixels; see `breathing.slice_intrinsics`."""
    focus = np.array([lens.focus_distance for lens in lenses])
    if breathing is False:
        height, width = scene.size
        own = scene.intrinsics or lenses[reference].intrinsics(height, width)
        return np.repeat(own.matrix.astype(np.float64)[None], len(lenses), axis=0)
    deviations = Breathing() if breathing is True else breathing
    return slice_intrinsics(
        lenses[reference], focus, scene.size, breathing=deviations, reference=reference, intrinsics=scene.intrinsics,
        seed=seed,
    )  # fmt: skip


def shoot(
    scene: Scene | LayeredScene,
    lenses: Sequence[ThinLens],
    matrices: Float64,
    reference: int,
    bank: Banks,
    motion: Float64 | None,
    options: dict[str, Any],
) -> FocalStack:
    """Render slices through given lenses in given frames; see `render_stack`."""
    height, width = scene.size
    border = frame_border(scene, matrices, reference)
    scales = matrices[:, 0, 0] / matrices[reference, 0, 0]
    bank = bank or PsfBank.disk(lenses[reference])
    # A slice that is magnified afterwards is blurred by so much less before.
    banks = [
        _bank_for(bank, replace(lens, pixel_pitch=lens.pixel_pitch * float(scale)))
        for lens, scale in zip(lenses, scales, strict=True)
    ]
    if motion is None:
        pictures = render_sweep(scene.with_margin(scene.margin - border), banks, **options)
    else:
        pictures = [
            _from_hand(scene, banks[k], matrices[reference], motion[k], border, options) for k in range(len(banks))
        ]
    images = np.empty((len(pictures), height, width, 3), np.float32)
    for image, picture, matrix in zip(images, pictures, matrices, strict=True):
        image[...] = resample_similarity(picture, matrices[reference], matrix, (height, width), border)
    return FocalStack(images, matrices.astype(np.float32))


def frame_border(scene: Scene | LayeredScene, matrices: Float64, reference: int) -> int:
    """Return by how many pixels of its margin the picture must be larger, so that the slices find what they see.

    Raises
    ------
    InputError
        If they see more than the scene has, and more than its mirror image may stand for.
    """
    height, width = scene.size
    beyond = math.ceil(outside(scene.size, matrices, reference))
    if beyond > scene.margin + max(BEYOND * min(height, width), 1):
        raise InputError(
            f"the warp of the focal stack would leave the image by {beyond - scene.margin} pixels: choose the slice "
            "with the widest field of view as the reference, lessen the deviations of the stack, or use larger images."
        )
    return min(beyond, scene.margin)


def _bank_for(bank: PsfBank | Callable[[ThinLens], PsfBank], lens: ThinLens) -> PsfBank:
    return bank.through(lens) if isinstance(bank, PsfBank) else bank(lens)


def _from_hand(
    scene: Scene | LayeredScene, bank: PsfBank, matrix: Float64, pose: Float64, border: int, options: dict[str, Any]
) -> Float32:
    fx, fy, cx, cy = matrix[0, 0], matrix[1, 1], matrix[0, 2], matrix[1, 2]
    seen = moved(scene, Intrinsics(fx=fx, fy=fy, cx=cx, cy=cy), pose)
    return render_sweep(seen.with_margin(scene.margin - border), [bank], **options)[0]
