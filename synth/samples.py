"""One sample of a recipe: from its number to the arrays that are stored.

Nothing here depends on which process makes the sample, or on what was made before.
"""

import hashlib
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import InputError
from .banks import half_banks, make_bank
from .camera import ThinLens
from .captures import Shot, frame_margin
from .distortion import distorted
from .draws import draw_all, value_at
from .psf import PsfBank
from .readers import FolderReader
from .recipe import Recipe
from .recipe_psf import MaskPsf, MeasuredPsf
from .recipe_scenes import FolderScenes, ProceduralScenes
from .scene import LayeredScene, Scene

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
        self.recipe, self._bank = recipe, bank
        self._banks: dict[tuple[str, ThinLens | None], PsfBank] = {}
        self._halves: dict[str, tuple[PsfBank, PsfBank]] = {}
        self.reader: FolderReader | None = None
        if isinstance(recipe.scenes, ProceduralScenes):
            self.count, self.size = recipe.scenes.count, recipe.scenes.size
        else:
            reader = _folder_reader(recipe.scenes)
            self.count = min(recipe.scenes.count or len(reader), len(reader))
            self.size = reader.read(0).size
            self.reader = replace(reader, size=self.size)

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
        if self.reader is None:
            self.bank.check_covers(np.array(self.recipe.scenes.depth))
            return
        width = 2 * self.reach + 1
        if width > min(self.size) and not self.bank.by_differences:
            raise InputError(
                f"the PSF's kernels are up to {width} pixels wide, and the images are {self.size[1]}x{self.size[0]} "
                "pixels: check the units of the camera and of the PSFs, or use larger images."
            )

    def source(self, sample: int) -> str:
        """Name of the scene of a sample: the file it is read from, or its number in the procedural sequence."""
        if self.reader is not None:
            return self.reader.source(sample)
        return f"procedural/{sample:06d}"

    def split(self, sample: int) -> str:
        """Split of a sample, which no longer run moves.

        The name of a scene that is read decides, with the seed. Procedural samples are dealt evenly along their
        sequence (multiples of the golden ratio), so that small datasets too have the shares that were asked for.
        """
        named = self.reader is not None
        digest = hashlib.sha256(f"{self.recipe.seed}/{self.source(sample) if named else ''}".encode()).digest()
        start = int.from_bytes(digest[:8], "big")
        position = (start + (0 if named else sample * _GOLDEN)) % 2**64 / 2.0**64
        total = 0.0
        for name, share in self.recipe.output.splits.items():
            total += share
            if position < total:
                return name
        return name

    def scene(self, sample: int) -> Scene | LayeredScene:
        """Return the scene of a sample."""
        scenes = self.recipe.scenes
        if self.reader is not None:
            scene = self._within_range(self.reader.read(sample))
            try:
                self.bank.check_covers(scene.depth)
            except InputError as error:
                raise InputError(f"{self.source(sample)}: {error}") from None
            return scene
        assert isinstance(scenes, ProceduralScenes)
        from .procedural import procedural_scene

        return procedural_scene(
            self.recipe.seed, sample, scenes.size, scenes.depth, objects=scenes.objects, margin=self.margin
        )

    def _within_range(self, scene: Scene) -> Scene:
        """Take depths nearer than the recipe's range as unknown: a stray millimetre would blur over the whole image."""
        stray = scene.depth < np.float32(self.recipe.scenes.depth[0] * (1 - 1e-6))
        return replace(scene, depth=np.where(stray, np.float32(np.nan), scene.depth)) if stray.any() else scene

    def fingerprint(self, sample: int) -> str:
        """Name of a sample's scene and the sizes of its files: what tells that the input is still the same."""
        if self.reader is None:
            return self.source(sample)
        return " ".join([self.source(sample), *(str(path.stat().st_size) for path in self.reader.files(sample))])

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
            pitch = recipe.camera.pixel_pitch
            recipe = recipe.at(draw_all(recipe.draws, recipe.seed, sample, flat, pitch))
        return Shot(
            recipe, sample, scene, flat,
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
            self._banks[key] = make_bank(recipe, lens)
        return self._banks[key]


def _is_bound(recipe: Recipe) -> bool:
    """Tell whether a recipe's kernels serve one lens alone."""
    return isinstance(recipe.psf, MaskPsf | MeasuredPsf)


def _folder_reader(scenes: FolderScenes) -> FolderReader:
    options = scenes.model_dump(exclude={"kind", "count", "depth", "path", "intrinsics"})
    return FolderReader(path=Path(scenes.path), intrinsics=scenes.camera, depth_range=scenes.depth, **options)


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
