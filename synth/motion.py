"""Hand motion between the slices of a focal stack, with the parallax of depth."""

import math
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from .. import InputError
from .camera import Intrinsics
from .fill import fill_depth
from .scene import LayeredScene, Patch, Scene
from .seeding import Purpose, generator
from .warp import layer_at
from .warp_kernels import fill_gaps, follow, gather, sharpen, splat

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]

STEPS = 5
"""How often a ray is followed to where it meets a surface: its place is known to a few thousandths of a pixel then."""
LARGEST_TURN = 0.2


def hand_motion(
    seed: int, sample: int, slices: int, rotation_rms: float, translation_rms: float, reference: int
) -> Float64:
    """Draw how a hand drifts while a focal stack is taken: a random walk from slice to slice.

    Parameters
    ----------
    seed, sample
        The recipe's seed and the sample's number.
    slices
        Their number.
    rotation_rms
        Radians about each axis, from the first slice to the last, root mean square.
    translation_rms
        Metres along each axis, as the rotation.
    reference
        The slice that does not move.

    Returns
    -------
    (S, 6) float64: rotation vector (radians) and translation (metres) that bring points from the reference slice's
    camera to that of each slice; x right, y down, z ahead.
    """
    steps = np.zeros((slices, 6))
    for k in range(1, slices):
        steps[k] = generator(seed, Purpose.MOTION, sample, k).standard_normal(6)
    walk = np.cumsum(steps, axis=0) / math.sqrt(max(slices - 1, 1))
    walk *= np.repeat([rotation_rms, translation_rms], 3)
    return np.asarray(walk - walk[reference])


def moved(scene: Scene | LayeredScene, intrinsics: Intrinsics, pose: npt.ArrayLike) -> Scene | LayeredScene:
    """Return a scene as a moved camera sees it.

    Layers move on their own, and show what they hid. Of an image with a depth map the nearest surface is seen, and
    what comes to light behind it is the farther surface's last colour, continued along the row. Beyond the frame the
    world is its mirror image.

    Parameters
    ----------
    scene
        Without oversampling, if it is layered.
    intrinsics
        Of its picture, pixels.
    pose
        (6,) rotation vector (radians) and translation (metres) of points from the scene's camera to the moved one.

    Returns
    -------
    A scene of the same kind, with the same frame; the depth is that along the moved camera's axis, and is known
    everywhere.

    Raises
    ------
    InputError
        If the pose is not six numbers, or turns the camera by more than 0.2 radians.
    """
    try:
        given = np.asarray(pose, np.float64)
    except (TypeError, ValueError):
        raise InputError(f"a pose is a rotation vector and a translation, six numbers: not {pose!r}.") from None
    if given.shape != (6,) or not np.isfinite(given).all() or np.linalg.norm(given[:3]) > LARGEST_TURN:
        raise InputError(
            f"a pose is a rotation vector of at most {LARGEST_TURN:g} radians and a translation in metres, six "
            f"numbers: not {given.tolist()}."
        )
    if not given.any():
        return scene
    matrix = np.column_stack([rotation_matrix(given[:3]), given[3:]])
    margin = scene.margin
    optics = np.array([intrinsics.fx, intrinsics.fy, intrinsics.cx + margin, intrinsics.cy + margin])
    if isinstance(scene, Scene):
        return _moved_image(scene, optics, matrix)
    patches = [_moved_patch(patch, scene.frame, optics, matrix) for patch in scene.patches]
    return LayeredScene.from_patches(scene.frame, patches, scene.intrinsics, scene.source, margin)


def rotation_matrix(vector: Float64) -> Float64:
    """Return the (3, 3) matrix of a rotation vector of at most 1 radian (Rodrigues).

    Sine and cosine by their series, and products without BLAS: their last bits are the same on every processor.
    """
    x, y, z = (float(part) for part in vector)
    square = x * x + y * y + z * z
    sine, versine = 1.0, 1.0  # sin a / a, and 2 (1 - cos a) / a^2, from the innermost factor of their series outwards
    for n in range(9, 0, -1):
        sine = 1.0 - sine * square / (2 * n * (2 * n + 1))
        versine = 1.0 - versine * square / ((2 * n + 1) * (2 * n + 2))
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    outer = np.multiply.outer((x, y, z), (x, y, z))
    return np.asarray(np.eye(3) + sine * cross + 0.5 * versine * (outer - square * np.eye(3)))


def _moved_image(scene: Scene, optics: Float64, pose: Float64) -> Scene:
    depth = fill_depth(scene.depth, scene.aif)
    seen, source = np.empty_like(depth), np.zeros((*depth.shape, 2))
    border = min(_reach(optics, pose, depth.shape, float(depth.min()), float(depth.max())), max(depth.shape))
    splat(depth, optics, pose, border, source, seen)
    fill_gaps(source, seen)
    if not np.isfinite(seen).all():
        raise InputError("a moved camera would look past the scene: lessen the hand motion of the stack.")
    sharpen(depth, optics, pose, STEPS, source, seen)
    aif = np.empty_like(scene.aif)
    gather(scene.aif, source, True, aif)
    return replace(scene, aif=aif, depth=seen)


def _moved_patch(patch: Patch, frame: tuple[int, int], optics: Float64, pose: Float64) -> Patch:
    height, width = patch.rgba.shape[:2]
    own = optics - np.array([0, 0, patch.left, patch.top])
    there = patch.rgba[..., 3] > 0
    depth = np.broadcast_to(np.asarray(patch.depth, np.float32), (height, width))
    if not there.any():
        return patch
    near, far = float(depth[there].min()), float(depth[there].max())
    # Where a layer is transparent its depth may be anything, and rays are followed across it.
    depth = np.fmin(np.fmax(depth, near), far).astype(np.float32)
    whole = (height, width) == frame
    pad = 0 if whole else _reach(own, pose, (height, width), near, far)
    at = np.empty((height + 2 * pad, width + 2 * pad, 2))
    seen = np.empty(at.shape[:2], np.float32)
    follow(depth, own, pose, -pad, -pad, STEPS, at, seen)
    return layer_at(patch, at, seen, patch.top - pad, patch.left - pad, mirrored=whole)


def _reach(optics: Float64, pose: Float64, size: tuple[int, ...], near: float, far: float) -> int:
    """Pixels by which the corners of a picture between two depths move at most, and a few more."""
    most = 0.0
    for z in (near, far):
        for y in (0, size[0] - 1):
            for x in (0, size[1] - 1):
                point = np.array([(x - optics[2]) / optics[0] * z, (y - optics[3]) / optics[1] * z, z])
                u, v, w = pose[:, :3] @ point + pose[:, 3]
                if w > 0:
                    most = max(most, abs(u / w * optics[0] + optics[2] - x), abs(v / w * optics[1] + optics[3] - y))
    if most > 4 * max(size) + 1000:
        raise InputError(
            f"a moved camera would shift the picture by {most:.3g} pixels: hand motion is small, in radians and metres."
        )
    return math.ceil(most) + 3
