"""Registration of the slices of a real focal stack: a lens that focuses nearer sees less, and hands move.

Between two slices a point at p is at ``scale * p + shift``, p in pixels from the middle of the picture: the model by
which stacks are made here too (`synth.breathing`). It is found by Gauss-Newton steps on the difference of the
pictures, coarse to fine, with one gain and one offset for what exposure changes, and weights that fall where pictures
differ for another reason, such as blur (Baker and Matthews 2004, "Lucas-Kanade 20 years on", IJCV 56, 221).
Neighbours in the stack are blurred nearly alike: each is registered to the next, and the steps are multiplied.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from .. import InputError
from ..evaluate.smoothing import reduced

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]

_COARSEST, _FINEST = 40, 640
_STEPS = 15
_SMOOTH = 1.5
_MOST = 0.25
_LEAST_ALIKE = 0.5


@dataclass(frozen=True, eq=False, kw_only=True)
class Registration:
    """How the slices of a stack lie on its reference, and what they have in common.

    Parameters
    ----------
    slices
        (S, h, w, 3), of the type that was given: the slices in the frame of the reference, cut to what all of them see.
    moves
        float64 (S, 3): scale, and shift to the right and down in pixels, from the reference to each slice.
    reference
        The slice that all others lie on: that which sees least.
    box
        First row, row after the last, first column, column after the last, of the reference.
    before, after
        RMS difference between neighbouring slices, in codes of 255, over what all of them see.
    """

    slices: npt.NDArray[Any]
    moves: Float64
    reference: int
    box: tuple[int, int, int, int]
    before: float
    after: float


def register(
    stack: npt.NDArray[Any], focus: npt.ArrayLike | None = None, *, reference: int | None = None, cut: bool = True
) -> Registration:
    """Find from their pictures how slices lie on each other, and bring them there.

    Parameters
    ----------
    stack
        (S, H, W, 3), uint8 or uint16.
    focus
        S focus distances: neighbours are those of the next distance, and slices of one distance (of several apertures)
        see the same. Left out, neighbours are those in the stack.
    reference
        The slice that all others are brought onto; that which sees least if left out.
    cut
        Cut to what all slices see; otherwise their last pixels are continued.

    Raises
    ------
    InputError
        If a slice cannot be brought onto its neighbour: more than a quarter larger, smaller or shifted, or unlike it.
    """
    distances = np.arange(len(stack)) if focus is None else np.asarray(focus)
    groups = [np.flatnonzero(distances == one) for one in np.unique(distances)]
    # The smallest aperture's slice is the sharpest, and says most exactly where things are.
    chain = [max(group.tolist(), key=lambda k: _detail(stack[k])) if len(group) > 1 else group[0] for group in groups]
    moves = np.tile([1.0, 0.0, 0.0], (len(stack), 1))
    last = _grey(stack[chain[0]])
    for k in range(1, len(chain)):
        one = _grey(stack[chain[k]])
        step = _pair(last, one)
        if not _sane(step, one.shape) or _likeness(last, one, step) < _LEAST_ALIKE:
            raise InputError(
                f"photographs {chain[k - 1] + 1} and {chain[k] + 1} cannot be registered: they do not seem to show "
                "the same view. Leave the one that does not belong out, or leave --align out."
            )
        moves[groups[k]] = _after(step, moves[chain[k - 1]])
        last = one
    return aligned(stack, moves, reference=reference, cut=cut)


def by_lens(stack: npt.NDArray[Any], focus: Sequence[float], focal_length: float) -> Registration:
    """Bring slices onto each other by how a thin lens magnifies: 1 / (1 - f / d) at the focus distance d.

    Parameters
    ----------
    stack
        (S, H, W, 3), uint8 or uint16.
    focus
        S focus distances in metres.
    focal_length
        In metres.

    Raises
    ------
    InputError
        If the focal length is not above 0, or a distance is not beyond it.
    """
    distances = np.asarray(focus, np.float64)
    if not focal_length > 0:
        raise InputError(f"a focal length is above 0, not {focal_length:g} m.")
    if not focal_length < distances.min():
        raise InputError(
            f"a lens of focal length {focal_length:g} m focuses beyond that, not at {distances.min():g} m: check "
            "the units."
        )
    moves = np.zeros((len(stack), 3))
    moves[:, 0] = 1 / (1 - focal_length / distances)
    return aligned(stack, moves)


def aligned(stack: npt.NDArray[Any], moves: Float64, *, reference: int | None = None, cut: bool = True) -> Registration:
    """Resample slices into the frame of one of them.

    Parameters
    ----------
    stack
        (S, H, W, 3), uint8 or uint16.
    moves
        (S, 3): scale, and shift in pixels, from any one frame to each slice.
    reference, cut
        As for `register`.

    Raises
    ------
    InputError
        If the slices have less than 16 pixels in common.
    """
    height, width = stack.shape[1:3]
    chosen = int(np.argmax(moves[:, 0])) if reference is None else reference
    own = np.array([_after(move, _back(moves[chosen])) for move in moves])
    half = np.array([width - 1, height - 1]) / 2
    low = np.max([(-half - move[1:]) / move[0] for move in own], axis=0)
    high = np.min([(half - move[1:]) / move[0] for move in own], axis=0)
    first = np.maximum(np.ceil(low + half - 1e-6), 0).astype(int)
    last = np.minimum(np.floor(high + half + 1e-6) + 1, 2 * half + 1).astype(int)
    if (last - first).min() < 16:
        raise InputError("the photographs have hardly anything in common: leave --align out, or check their order.")
    box = (int(first[1]), int(last[1]), int(first[0]), int(last[0]))
    common = np.s_[:, box[0] : box[1], box[2] : box[3]]
    moved = np.stack([_warped(one, move) for one, move in zip(stack, own, strict=True)])
    return Registration(
        slices=np.ascontiguousarray(moved[common]) if cut else moved, moves=own, reference=chosen,
        box=box if cut else (0, height, 0, width), before=residual(stack[common]), after=residual(moved[common]),
    )  # fmt: skip


def _detail(picture: npt.NDArray[Any]) -> float:
    grey = _grey(picture)
    return float(np.square(np.diff(grey, axis=0)).sum() + np.square(np.diff(grey, axis=1)).sum())


def residual(stack: npt.NDArray[Any]) -> float:
    """Return the RMS difference between neighbouring slices, in codes of 255; 0 of one slice."""
    greys = [_grey(one) for one in stack]
    squares = [float(np.square(a - b).mean()) for a, b in zip(greys[1:], greys, strict=False)]
    return 255 * float(np.sqrt(np.mean(squares))) if squares else 0.0


def _grey(picture: npt.NDArray[Any]) -> Float32:
    scale = np.iinfo(picture.dtype).max if picture.dtype.kind == "u" else 1
    return np.asarray(picture.mean(axis=2, dtype=np.float32) / np.float32(scale))


def _after(step: Float64, move: Float64) -> Float64:
    """Return the move that does `move` and then `step`."""
    return np.array([step[0] * move[0], *(step[0] * move[1:] + step[1:])])


def _back(move: Float64) -> Float64:
    return np.array([1 / move[0], *(-move[1:] / move[0])])


def _sane(move: Float64, size: tuple[int, ...]) -> bool:
    limit = _MOST * np.array([1.0, size[1], size[0]])
    return bool(np.isfinite(move).all() and (np.abs(move - [1, 0, 0]) < limit).all())


def _matrix(move: Float64, size: tuple[int, ...]) -> Float64:
    """Return the matrix from pixels of the reference to pixels of a slice of one size."""
    centre = np.array([size[1] - 1, size[0] - 1]) / 2
    offset = centre + move[1:] - move[0] * centre
    return np.array([[move[0], 0, offset[0]], [0, move[0], offset[1]]])


def _warped(picture: npt.NDArray[Any], move: Float64) -> npt.NDArray[Any]:
    if (move == [1, 0, 0]).all():
        return picture
    size = (picture.shape[1], picture.shape[0])
    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    return np.asarray(
        cv2.warpAffine(picture, _matrix(move, picture.shape), size, flags=flags, borderMode=cv2.BORDER_REPLICATE)
    )


def _pair(fixed: Float32, moving: Float32) -> Float64:
    """Return the move from one picture's frame to another's."""
    # Scale and shift of a whole picture are known to hundredths of a pixel long before all its pixels are looked at.
    whole = max(fixed.shape)
    levels = [(reduced(fixed, _FINEST), reduced(moving, _FINEST))]
    while min(levels[-1][0].shape) >= 2 * _COARSEST:
        levels.append((cv2.pyrDown(levels[-1][0]), cv2.pyrDown(levels[-1][1])))
    move = np.array([1.0, 0.0, 0.0])
    for k, (a, b) in enumerate(reversed(levels)):
        if k:
            move[1:] *= 2
        move = _refined(a, b, move)
    move[1:] *= whole / max(levels[0][0].shape)
    return move


def _refined(fixed: Float32, moving: Float32, move: Float64) -> Float64:
    """Improve a move at one size of pictures."""
    a, b = (cv2.GaussianBlur(one, (0, 0), _SMOOTH) for one in (fixed, moving))
    height, width = a.shape
    y, x = (np.arange(n, dtype=np.float32) - np.float32((n - 1) / 2) for n in (height, width))
    # In units of half the picture all unknowns are about as large.
    unit = max(height, width) / 2
    kernel = np.array([[-0.5, 0, 0.5]], np.float32)
    down, across = cv2.filter2D(b, -1, kernel.T), cv2.filter2D(b, -1, kernel)
    gain, offset = np.float32(1), np.float32(0)
    for _ in range(_STEPS):
        matrix = _matrix(move, a.shape)
        shown, dx, dy = (
            cv2.warpAffine(one, matrix, (width, height), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
                           borderMode=cv2.BORDER_REPLICATE)
            for one in (b, across, down)
        )  # fmt: skip
        seen = _seen(move, y, x, a.shape)
        error = a - gain * shown - offset
        if not seen.any():
            break
        scale = np.float32(1.4826 * np.median(np.abs(error[seen])) + 1e-4)
        weight = (seen / np.square(1 + np.square(error / (3 * scale)))).ravel()
        columns = [
            gain * (dx * x[None, :] + dy * y[:, None]) / np.float32(unit),
            gain * dx,
            gain * dy,
            shown,
            np.ones_like(a),
        ]
        design = np.stack([one.ravel() for one in columns], axis=1)
        normal = ((design * weight[:, None]).T @ design).astype(np.float64)
        update = np.linalg.lstsq(normal, design.T @ (weight * error.ravel()), rcond=None)[0]
        move = move + np.array([update[0] / unit, update[1], update[2]])
        gain, offset = np.float32(gain + update[3]), np.float32(offset + update[4])
        if not _sane(move, a.shape):
            break
        if np.abs(update[:3]).max() < 3e-3:
            break
    return move


def _likeness(fixed: Float32, moving: Float32, move: Float64) -> float:
    """Return the correlation of two pictures, one moved onto the other, without detail that blur changes."""
    a, b = (cv2.GaussianBlur(one, (0, 0), max(one.shape) / 100) for one in (fixed, _warped(moving, move)))
    spread = float(a.std() * b.std())
    return float(np.mean((a - a.mean()) * (b - b.mean()))) / spread if spread > 1e-9 else 1.0


def _seen(move: Float64, y: Float32, x: Float32, size: tuple[int, ...]) -> npt.NDArray[np.bool_]:
    """Say which pixels of the fixed picture are inside the moving one."""
    inside = [np.abs(move[0] * p + t) <= n / 2 - 1 for p, t, n in ((y, move[2], size[0]), (x, move[1], size[1]))]
    return np.asarray(inside[0][:, None] & inside[1][None, :])
