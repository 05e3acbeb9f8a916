"""PSFs that vary over the picture: banks at the nodes of a grid, interpolated bilinearly.

A position in the picture is (y, x), counted from its centre in half-diagonals: y grows downwards, a corner is at a
distance of 1, and nothing depends on the number of pixels or on the shape of the picture.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt

from .. import InputError
from .camera import ThinLens
from .psf import Float32, Float64, PsfBank, Slots
from .psf_sampled import SampledBank
from .psf_shaped import ShapeBank

Node = TypeVar("Node", bound=ShapeBank | SampledBank)

FARTHEST = 1.5
"""Half-diagonals: nodes farther out are a mistake of units."""
LARGEST_FIELD = 2 * 10**7
"""Values of the kernels of a bank that is stored, all nodes together."""


@dataclass(frozen=True, slots=True)
class Hats:
    """Along one axis, the two nodes that each position lies between, and their weights.

    Attributes
    ----------
    node
        (2, n) int32: the one with an even number, and the one with an odd number.
    weight
        (2, n) float32, 0 to 1, of each; they add up to 1.
    """

    node: npt.NDArray[np.int32]
    weight: Float32


def hats(nodes: Float64, position: Float64) -> Hats:
    """Interpolate linearly between nodes, ascending, at positions (n); beyond the outermost nodes they are repeated.

    Nodes of one parity serve no position together: each such half of the weights is an image of its own.
    """
    if len(nodes) == 1:
        none = np.zeros((2, len(position)))
        return Hats(none.astype(np.int32), np.stack([none[0] + 1, none[0]]).astype(np.float32))
    lower = np.clip(np.searchsorted(nodes, position, side="right") - 1, 0, len(nodes) - 2)
    share = (np.clip(position, nodes[0], nodes[-1]) - nodes[lower]) / (nodes[lower + 1] - nodes[lower])
    upper_weight = share.astype(np.float32)
    both = np.stack([lower, lower + 1]), np.stack([np.float32(1) - upper_weight, upper_weight])
    odd_first = (lower % 2).astype(bool)
    node, weight = (np.where(odd_first, pair[::-1], pair) for pair in both)
    return Hats(node.astype(np.int32), np.asarray(weight))


def picture_positions(pixels: int, half_diagonal: float, edge: int = 0) -> Float64:
    """Positions, in half-diagonals, of the pixels of a row or column of the picture and of `edge` more on each side.

    Parameters
    ----------
    pixels
        Of the picture, along the axis.
    half_diagonal
        Of the picture, pixels.
    edge
        Pixels.

    Returns
    -------
    (pixels + 2 edge) float64.
    """
    return np.asarray((np.arange(-edge, pixels + edge) - (pixels - 1) / 2) / half_diagonal)


class FieldBank(PsfBank, Generic[Node]):
    """Kernels at the nodes of a grid over the picture, interpolated bilinearly between them.

    Beyond the outermost nodes the kernels are theirs. Each point of a scene is blurred by the kernel of where it stands
    in the picture, interpolated between the four nodes around it: its light is dealt to them, and blurred by theirs.

    Parameters
    ----------
    kind
        What the kernels are, in a word.
    banks
        The bank of each node, row by row; all of one lens, with the same planes or steps of CoC.
    field_y, field_x
        (n,) and (m,) positions of the rows and columns of nodes, in half-diagonals, ascending.
    facts
        What the bank was made from, as JSON data.

    Raises
    ------
    InputError
        If the positions are not ascending or not within the picture, or the banks do not belong together.
    """

    def __init__(
        self,
        kind: str,
        banks: tuple[Node, ...],
        field_y: npt.ArrayLike,
        field_x: npt.ArrayLike,
        facts: dict[str, Any] | None = None,
    ) -> None:
        self.kind, self.banks = kind, banks
        self.field_y, self.field_x = (np.asarray(nodes, np.float64) for nodes in (field_y, field_x))
        _check_nodes(self.field_y, self.field_x, banks)
        self.lens, self.channels, self.coc_step = banks[0].lens, banks[0].channels, banks[0].coc_step
        self._facts = facts or {"kind": kind}
        self._like: FieldBank[Any] | None = None

    def through(self, lens: ThinLens) -> "FieldBank[Any]":
        """Return the same kernels, by CoC, for another lens; see `PsfBank.through`."""
        if lens == self.lens:
            return self
        banks: tuple[Any, ...] = tuple(bank.through(lens) for bank in self.banks)
        bank = FieldBank(self.kind, banks, self.field_y, self.field_x, self._facts)
        bank._tables, bank._like = self._tables, self._like or self
        if self.__dict__.get("averaged") is self:
            bank.averaged = bank
        return bank

    @property
    def facts(self) -> dict[str, Any]:
        """What the bank was made from, as JSON data."""
        return self._facts

    def kernel(self, coc: float, field: tuple[float, float] = (0.0, 0.0)) -> Float32:
        """Kernel of a signed CoC in pixels at a position (y, x), in half-diagonals; see `PsfBank.kernel`."""
        rows, columns = (
            hats(nodes, np.array([at])) for nodes, at in zip((self.field_y, self.field_x), field, strict=True)
        )
        slot, parts = int(self.slots(np.array(coc))), []
        for a, b in np.ndindex(2, 2):
            node = int(rows.node[a, 0]) * len(self.field_x) + int(columns.node[b, 0])
            weight = float(rows.weight[a, 0]) * float(columns.weight[b, 0])
            parts.append(weight * self.slot_kernels(slot + node))
        size = max(part.shape[-1] for part in parts)
        out = np.sum([centred(part, (size, size)) for part in parts], axis=0)
        return np.asarray((out if self.channels > 1 else out[0]).astype(np.float32))

    @cached_property
    def averaged(self) -> "FieldBank[Any]":
        """The bank for pictures whose pixels are averages over their area already; see `ShapeBank.averaged`."""
        if self._like:
            return self._like.averaged.through(self.lens)
        middle = self.nearest(0.0, 0.0)
        if isinstance(middle, SampledBank):
            return self
        # Every shape on its own would differ from this by little, and take long.
        banks = tuple(bank.averaged_as(middle) for bank in self.banks if isinstance(bank, ShapeBank))
        bank = FieldBank(self.kind, banks, self.field_y, self.field_x, self._facts)
        bank.averaged = bank
        return bank

    def nearest(self, y: float, x: float) -> Node:
        """Return the bank of the node nearest to a position, in half-diagonals."""
        row, column = np.abs(self.field_y - y).argmin(), np.abs(self.field_x - x).argmin()
        return self.banks[int(row) * len(self.field_x) + int(column)]

    def lookup(self, low: float, high: float) -> tuple[Slots, int]:
        """Slots of CoCs at the first node; those of the other nodes follow. See `PsfBank.lookup`."""
        slots, first = self.banks[0].lookup(low, high)
        return np.asarray(slots * np.int32(len(self.banks))), first

    def reach(self, coc: npt.ArrayLike) -> Any:
        """Half-size in pixels, an upper bound, of the kernels of a signed CoC; same shape, int64."""
        return np.max([bank.reach(coc) for bank in self.banks], axis=0)

    def slot_kernels(self, slot: int) -> Float64:
        """Kernels of a slot at its node: (channels, n, n) float64, n odd, each of unit sum."""
        at_node, node = divmod(slot, len(self.banks))
        return self.banks[node].slot_kernels(at_node)

    def check_covers(self, depth: npt.NDArray[Any]) -> None:
        """Check that the bank has kernels for depths in metres; see `PsfBank.check_covers`."""
        self.banks[0].check_covers(depth)

    def sampled(self, near: float, far: float, *, values: int = LARGEST_FIELD) -> "FieldBank[SampledBank]":
        """All kernels between two depths in metres at every node, as banks of the same planes."""
        each = values // len(self.banks)
        banks = tuple(bank.sampled(near, far, values=each) for bank in self.banks)
        return FieldBank(self.kind, banks, self.field_y, self.field_x, self._facts)

    def save(self: "FieldBank[SampledBank]", path: str | Path) -> None:
        """Write a bank of planes to a file that `PsfBank.load` reads; see `psf_files.save_bank`."""
        from .psf_files import save_bank

        save_bank(self, Path(path))


def centred(kernels: npt.NDArray[Any], size: tuple[int, int]) -> npt.NDArray[Any]:
    """Add zeros around kernels (..., h, w) up to a size, the axis staying at (height // 2, width // 2)."""
    around = [(0, 0)] * (kernels.ndim - 2)
    for n, now in zip(size, kernels.shape[-2:], strict=True):
        before = n // 2 - now // 2
        around.append((before, n - now - before))
    return np.pad(kernels, around)


StoredBank = SampledBank | FieldBank[SampledBank]
"""What a file or a dataset holds."""


def _check_nodes(field_y: Float64, field_x: Float64, banks: tuple[ShapeBank | SampledBank, ...]) -> None:
    for name, nodes in (("rows", field_y), ("columns", field_x)):
        ordered = nodes.ndim == 1 and nodes.size and np.isfinite(nodes).all() and (np.diff(nodes) > 0).all()
        if not ordered or np.abs(nodes).max() > FARTHEST:
            raise InputError(
                f"the {name} of a PSF bank's field must be ascending positions within {FARTHEST:g} half-diagonals of "
                f"the picture's centre, not {nodes.tolist()}."
            )
    if len(banks) != len(field_y) * len(field_x):
        raise InputError(
            f"a PSF bank with a field of {len(field_y)} x {len(field_x)} positions needs a bank for each, "
            f"not {len(banks)}."
        )
    first = banks[0]
    if any((b.lens, b.channels, b.coc_step) != (first.lens, first.channels, first.coc_step) for b in banks):
        raise InputError("the banks of a PSF bank's field must have one lens, the same channels and the same planes.")
