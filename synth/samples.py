"""One sample of a recipe: from its number to the arrays that are stored.

Nothing here depends on which process makes the sample, or on what was made before.
"""

import hashlib
import itertools
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import InputError
from .banks import half_banks, make_bank, pinned, stored_mask
from .camera import ThinLens
from .captures import Shot, frame_margin
from .distortion import distorted
from .draws import draw_all, value_at
from .psf import PsfBank
from .recipe import Recipe
from .recipe_psf import MaskPsf, MeasuredPsf
from .recipe_scenes import ProceduralScenes
from .scene import LayeredScene, Scene
from .sources import open_source

Float32 = npt.NDArray[np.float32]
Arrays = dict[str, npt.NDArray[Any]]

DEPTH_MANTISSA_BITS = 10
MOST_BANKS = 128
"""Banks that a process keeps for the lenses of stacks and of cameras that are drawn."""
_GOLDEN = 0x9E3779B97F4A7C15
"""2^64 over the golden ratio."""


class SampleMaker:
    """Makes the samples of a recipe.

    Attributes
    ----------
    recipe
        What is made.
    count
        Number of samples.
    size
        Height and width of every sample, pixels.

    Parameters
    ----------
    recipe
        What to make.
    bank
        Its PSFs, if they are at hand; see `banks.stored_bank`.

    Raises
    ------
    InputError
        If the recipe's scenes cannot be found, or do not agree with it.
    """

    def __init__(self, recipe: Recipe, bank: PsfBank | None = None) -> None:
        self.recipe, self._bank = (pinned(recipe) if bank is None else recipe), bank
        self._banks: dict[tuple[str, ThinLens | None], PsfBank] = {}
        self._halves: dict[str, tuple[PsfBank, PsfBank]] = {}
        self._mask = None if bank is None else stored_mask(recipe, bank)
        self.scenes = open_source(recipe)
        self.count, self.size = self.scenes.count, self.scenes.size

    @cached_property
    def bank(self) -> PsfBank:
        """The PSFs of the recipe, through its own lens."""
        return self._bank or make_bank(self.recipe)

    @cached_property
    def _extremes(self) -> list[Recipe]:
        return self.recipe.extremes

    @cached_property
    def reach(self) -> int:
        """Half-size in pixels of the widest kernel that the recipe's depths can ask for."""
        depth = np.array(self.recipe.scenes.depth)
        most = 0
        for recipe in self._extremes:
            base = self._base(recipe)
            most = max(most, *(int(base.reach(lens.coc(depth)).max()) for lens in recipe.widest_lenses))
        return most

    @cached_property
    def margin(self) -> int:
        """Pixels around a procedural scene that its blur, and the frames of its slices, can bring into the picture."""
        return self.reach + max(frame_margin(recipe, self.size) for recipe in self._extremes)

    def check_bank(self) -> None:
        """Check that the PSFs serve the recipe's depths, and fit into its images.

        Raises
        ------
        InputError
            If they do not.
        """
        if isinstance(self.recipe.scenes, ProceduralScenes):
            self.bank.check_covers(np.array(self.recipe.scenes.depth))
            return
        width = 2 * self.reach + 1
        if width > min(self.size) and not self.bank.by_differences:
            raise InputError(
                f"the PSF's kernels are up to {width} pixels wide, and the images are {self.size[1]}x{self.size[0]} "
                "pixels: check the units of the camera and of the PSFs, or use larger images."
            )

    def source(self, sample: int) -> str:
        """Name of the scene of a sample: that of its dataset, or its number in the procedural sequence."""
        return self.scenes.name(sample)

    def split(self, sample: int) -> str:
        """Split of a sample, which no longer run moves.

        What a dataset officially tests or validates with keeps its split. Otherwise the place where a scene was taken
        decides, with the seed. Procedural samples are dealt evenly along their sequence (multiples of the golden
        ratio), so that small datasets too have the shares that were asked for.
        """
        official, shares = self.scenes.official(sample), self.recipe.output.splits
        if official:
            if official != "train":
                return official
            taken = self.scenes.official_splits
            shares = {name: share for name, share in shares.items() if name not in taken} or {"train": 1.0}
        group = self.scenes.group(sample)
        digest = hashlib.sha256(f"{self.recipe.seed}/{group}".encode()).digest()
        start = int.from_bytes(digest[:8], "big")
        position = (start + (0 if group else sample * _GOLDEN)) % 2**64 / 2.0**64 * sum(shares.values())
        total = 0.0
        for name, share in shares.items():
            total += share
            if position < total:
                return name
        return name

    def deal(self, first: int, last: int) -> dict[str, npt.NDArray[np.int64]]:
        """Return samples `first` to `last`, exclusive, by split, ascending; splits without any are left out."""
        samples = np.arange(first, last, dtype=np.int64)
        if isinstance(self.recipe.scenes, ProceduralScenes):
            names, codes = list(self.recipe.output.splits), self._deal_evenly(samples)
        else:
            of_sample = [self.split(int(sample)) for sample in samples]
            names = list(dict.fromkeys(of_sample))
            codes = np.array([names.index(name) for name in of_sample], np.int64)
        return {name: samples[codes == code] for code, name in enumerate(names) if (codes == code).any()}

    def _deal_evenly(self, samples: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Place in the recipe's splits of each procedural sample: `split` for many at once, to the last bit."""
        shares = self.recipe.output.splits
        digest = hashlib.sha256(f"{self.recipe.seed}/".encode()).digest()
        start = np.uint64(int.from_bytes(digest[:8], "big"))
        with np.errstate(over="ignore"):
            turns = start + samples.astype(np.uint64) * np.uint64(_GOLDEN)
        position = turns.astype(np.float64) / 2.0**64 * sum(shares.values())
        ends = np.array(list(itertools.accumulate(shares.values())))
        return np.minimum(np.searchsorted(ends, position, side="right"), len(ends) - 1)

    def scene(self, sample: int) -> Scene | LayeredScene:
        """Return the scene of a sample."""
        made = isinstance(self.recipe.scenes, ProceduralScenes)
        scene = self.scenes.scene(sample, self.margin if made else 0, self.split(sample))
        if isinstance(scene, Scene):
            try:
                self.bank.check_covers(scene.depth)
            except InputError as error:
                raise InputError(f"{self.source(sample)}: {error}") from None
        return scene

    def fingerprint(self, sample: int) -> str:
        """Name of a sample's scene and the sizes of its files: what tells that the input is still the same."""
        return self.scenes.fingerprint(sample)

    def shot(self, sample: int) -> Shot:
        """Return the scene of a sample before its camera, with what the recipe draws for it.

        Raises
        ------
        InputError
            If the scene cannot be read.
        """
        recipe, scene = self.recipe, self.scene(sample)
        if recipe.camera.distortion:
            intrinsics = scene.intrinsics or recipe.lens.intrinsics(*scene.size)
            scene = distorted(scene, intrinsics, *recipe.camera.distortion)
        flat = scene.flatten()
        if recipe.draws:
            camera = recipe.camera.model_dump()
            recipe = recipe.at(draw_all(recipe.draws, recipe.seed, sample, flat, camera))
        return Shot(
            recipe, sample, scene, flat, lambda: self.scenes.views(sample),
            lambda lens: self._bank_for(recipe, lens), lambda lens: self._halves_for(recipe, lens),
        )  # fmt: skip

    def make(self, sample: int) -> Arrays:
        """Make the arrays of a sample.

        Returns
        -------
        The recipe's `arrays` by name, each with the registry's dims without "sample".

        Raises
        ------
        InputError
            If the scene cannot be read.
        """
        shot = self.shot(sample)
        made: Arrays = shot.captures()
        wanted = self.recipe.arrays
        if "aif" in wanted:
            made["aif"] = shot.encoded(shot.flat.aif)
        if "depth" in wanted:
            made["depth"] = round_mantissa(shot.flat.depth, DEPTH_MANTISSA_BITS)
        if "valid" in wanted:
            made["valid"] = ~np.isnan(shot.flat.depth)
        if "coc" in wanted:
            made["coc"] = shot.coc
        if "drawn" in wanted:
            data = shot.recipe.model_dump()
            drawn = [draw.number(value_at(data, name)) for name, draw in self.recipe.draws.items()]
            made["drawn"] = np.array(drawn, np.float64)
        return {name: made[name] for name in wanted}

    def _bank_for(self, recipe: Recipe, lens: ThinLens) -> PsfBank:
        if lens == self.recipe.lens and recipe.psf == self.recipe.psf:
            return self.bank
        return self._kept(recipe, lens) if _is_bound(recipe) else self._base(recipe).through(lens)

    def _base(self, recipe: Recipe) -> PsfBank:
        """Return a bank of a drawn recipe's PSFs; shapes serve any lens."""
        if recipe.psf == self.recipe.psf:
            return self.bank
        return self._kept(recipe, recipe.lens if _is_bound(recipe) else None)

    def _halves_for(self, recipe: Recipe, lens: ThinLens) -> tuple[PsfBank, PsfBank]:
        key = recipe.psf.model_dump_json()
        if key not in self._halves:
            self._halves = {key: half_banks(recipe)}
        left, right = self._halves[key]
        return left.through(lens), right.through(lens)

    def _kept(self, recipe: Recipe, lens: ThinLens | None) -> PsfBank:
        """Return the bank of a lens, or of any, made once for as many as are kept."""
        key = (recipe.psf.model_dump_json(), lens)
        if key not in self._banks:
            if len(self._banks) >= MOST_BANKS:
                self._banks.pop(next(iter(self._banks)))
            self._banks[key] = make_bank(recipe, lens, self._mask)
        return self._banks[key]


def _is_bound(recipe: Recipe) -> bool:
    """Tell whether a recipe's kernels serve one lens alone."""
    return isinstance(recipe.psf, MaskPsf | MeasuredPsf)


def round_mantissa(values: Float32, bits: int) -> Float32:
    """Round float32 to `bits` bits of mantissa, half to even, so that it compresses; NaN and `inf` stay.

    The relative error is at most 2^-(bits + 1).

    Raises
    ------
    InputError
        If `bits` is not between 1 and 22.
    """
    if not 1 <= bits <= 22:
        raise InputError(f"a float32 can be rounded to 1 to 22 bits of mantissa, not {bits}.")
    drop = 23 - bits
    raw = values.view(np.uint32)
    half = np.uint32((1 << (drop - 1)) - 1)
    odd = (raw >> np.uint32(drop)) & np.uint32(1)
    rounded = (raw + half + odd) & np.uint32(0xFFFFFFFF ^ ((1 << drop) - 1))
    return np.where(np.isfinite(values), rounded, raw).astype(np.uint32).view(np.float32)
