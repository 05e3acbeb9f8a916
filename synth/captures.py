"""What the camera of a recipe makes of one scene: captures, raw mosaics, focal stacks, views of a dual pixel."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import InputError
from .breathing import outside, slice_intrinsics
from .camera import ThinLens
from .development import develop
from .light import encode, linear_to_srgb, srgb_to_linear
from .lightfield import refocus
from .motion import hand_motion
from .psf import PsfBank
from .recipe import Recipe
from .rendering import render
from .scene import LayeredScene, Scene
from .sensor import Sensor, expose
from .slices import reference_slice, slice_lenses
from .stack import FocalStack, frame_border, frames, shoot

Float32 = npt.NDArray[np.float32]
Pixels = npt.NDArray[Any]

FIRST_SLICE, FIRST_VIEW = 1, 1000
"""Numbers, for the noise, of a stack's slices and of dual-pixel views; a capture has 0."""


@dataclass(frozen=True)
class Shot:
    """One sample through its camera.

    Attributes
    ----------
    recipe
        Without distributions.
    sample
        Its number.
    scene
        What stands before the camera.
    flat
        The same as a pinhole camera sees it.
    views
        Gives the views of the scene, (V, U, H, W, 3), if it is of a light field.
    bank_for
        Gives the PSFs of a lens.
    halves
        Gives the PSFs of the two halves of the aperture of a lens, left and right.
    """

    recipe: Recipe
    sample: int
    scene: Scene | LayeredScene
    flat: Scene
    views: Callable[[], Pixels]
    bank_for: Callable[[ThinLens], PsfBank]
    halves: Callable[[ThinLens], tuple[PsfBank, PsfBank]]

    @cached_property
    def lenses(self) -> list[ThinLens]:
        """The lens of each slice of the stack, or of the one capture."""
        if self.recipe.stack is None:
            return [self.recipe.lens]
        return slice_lenses(self.recipe, self.sample, self.flat.depth)

    @cached_property
    def sensor(self) -> Sensor | None:
        """The sensor; None: pixels are the light itself."""
        return self.recipe.sensor.sensor() if self.recipe.sensor else None

    @cached_property
    def _reference(self) -> int:
        return reference_slice(self.recipe, [lens.focus_distance for lens in self.lenses])

    @cached_property
    def _motion(self) -> npt.NDArray[np.float64]:
        """Pose of the camera of each slice, (S, 6); see `motion.hand_motion`."""
        section, recipe = self.recipe.stack, self.recipe
        assert section is not None
        rms = section.hand_rotation, section.hand_translation
        return hand_motion(recipe.seed, self.sample, len(self.lenses), *rms, self._reference)

    @property
    def coc(self) -> npt.NDArray[np.float16]:
        """Signed CoC of the flat scene, pixels: (H, W), or (S, H, W) of a stack, in the frame of its reference."""
        maps = [lens.coc(self.flat.depth).astype(np.float16) for lens in self.lenses]
        return np.stack(maps) if self.recipe.stack else maps[0]

    def encoded(self, light: Float32) -> Pixels:
        """Return linear radiance as pixels of a dataset."""
        return encode(light, self.recipe.output.encoding, bits=self.recipe.output.bits)

    def captures(self) -> dict[str, Pixels]:
        """Return what is wanted of the arrays that are pictures through the lens, and what goes with it, by name."""
        wanted = set(self.recipe.output.arrays)
        made: dict[str, Pixels] = {}
        if {"capture", "raw"} & wanted:
            light = self._light_through(self.bank_for(self.recipe.lens))
            made["capture"], made["raw"] = self._pixels(light, 0)
        if "dual" in wanted:
            views = [self._light_through(bank) for bank in self.halves(self.recipe.lens)]
            made["dual"] = np.stack([self._pixels(v, FIRST_VIEW + k)[0] for k, v in enumerate(views)])
        if {"stack", "stack_raw"} & wanted:
            made.update(self._stack())
        return made

    def check(self) -> None:
        """Check that the scene serves the recipe's stack, without rendering it.

        Raises
        ------
        InputError
            If a slice cannot be focused, or would look far beyond the scene.
        """
        if self.recipe.render.method == "views":
            self.views()
        elif self.recipe.stack:
            frame_border(self.scene, self._frames, self._reference)

    @cached_property
    def _frames(self) -> npt.NDArray[np.float64]:
        """Camera matrices of the slices, (S, 3, 3), pixels."""
        section = self.recipe.stack
        assert section is not None
        breathing = section.deviations(self.recipe.camera.phone) or False
        return frames(self.scene, self.lenses, self._reference, breathing, (self.recipe.seed, self.sample))

    def _stack(self) -> dict[str, Pixels]:
        stack = self._light_of_stack()
        slices = [self._pixels(image, FIRST_SLICE + k) for k, image in enumerate(stack.images)]
        made: dict[str, Pixels] = {
            "stack": np.stack([developed for developed, _ in slices]),
            "focus": np.array([lens.focus_distance for lens in self.lenses], np.float32),
            "f_number": np.array([lens.f_number for lens in self.lenses], np.float32),
            "intrinsics": stack.intrinsics,
            "pose": self._motion.astype(np.float32),
        }
        if "stack_raw" in self.recipe.output.arrays:
            made["stack_raw"] = np.stack([raw for _, raw in slices])
        return made

    def _light_of_stack(self) -> FocalStack:
        section, reference, matrices = self.recipe.stack, self._reference, self._frames
        assert section is not None
        if self.recipe.render.method == "views":
            field = self.flat.light_field
            assert field is not None
            disparities = field.disparity([lens.focus_distance for lens in self.lenses])
            return FocalStack(refocus(self.views(), disparities), matrices.astype(np.float32))
        motion = self._motion if section.hand_rotation or section.hand_translation else None
        options = self.recipe.render.model_dump(exclude={"light"})
        if self.recipe.render.light == "linear":
            return shoot(self.scene, self.lenses, matrices, reference, self.bank_for, motion, options)
        encoded = self.scene.with_light(linear_to_srgb)
        stack = shoot(encoded, self.lenses, matrices, reference, self.bank_for, motion, options)
        return stack._replace(images=srgb_to_linear(stack.images))

    def _light_through(self, bank: PsfBank) -> Float32:
        if self.recipe.render.method == "taken":
            return self.flat.aif
        options = self.recipe.render.model_dump(exclude={"light"})
        if self.recipe.render.light == "linear":
            return render(self.scene, bank.lens, bank, **options)
        # Blurring encoded values is wrong, and what several papers did: the renderer is given them as if linear.
        return srgb_to_linear(render(self.scene.with_light(linear_to_srgb), bank.lens, bank, **options))

    def _pixels(self, light: Float32, frame: int) -> tuple[Pixels, Pixels]:
        """Return pixels as they are stored, and the raw mosaic; the pixels twice where there is no sensor."""
        if self.sensor is None:
            pixels = self.encoded(light)
            return pixels, pixels
        raw = expose(light, self.sensor, (self.recipe.seed, self.sample), frame=frame)
        return self.encoded(develop(raw, self.sensor)), raw


def frame_margin(recipe: Recipe, size: tuple[int, int]) -> int:
    """Return by how many pixels a stack's slices may look beyond the reference slice's picture of (height, width).

    Of principal points that are drawn, four standard deviations count. A scene that is not so much larger than its
    picture is continued by its mirror image there.
    """
    section = recipe.stack
    breathing = section.deviations(recipe.camera.phone) if section else None
    if section is None or breathing is None:
        return 0
    # Slices sweep between the ends of the focus range; a few in between do not see more.
    focus = section.focus or recipe.widest_focus
    reference = reference_slice(recipe, focus)
    widest = replace(breathing, shift_mean=(0.0, 0.0), shift_spread=(0.0, 0.0))
    matrices = slice_intrinsics(
        recipe.lens, np.array(focus), size, breathing=widest, reference=reference, intrinsics=None, seed=None
    )
    pixels = size[1] / breathing.shift_width if breathing.shift_width else 1.0
    shift = max(abs(m) + 4 * s for m, s in zip(breathing.shift_mean, breathing.shift_spread, strict=True)) * pixels
    margin = math.ceil(outside(size, matrices, reference) + shift)
    if margin > min(size):
        raise InputError(
            f"the slices of the stack would look up to {margin} pixels beyond pictures of {size[1]}x{size[0]}: lessen "
            "the deviations of the stack, or choose the slice with the widest field of view as the reference."
        )
    return margin
