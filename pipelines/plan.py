"""What a recipe will do, before it is done: how sharp, how large, how long; and what cannot be right."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .. import InputError
from ..synth.arrays import sample_bytes
from ..synth.places import Place
from ..synth.psf_field import FieldBank
from ..synth.psf_sampled import SampledBank
from ..synth.recipe import Recipe
from ..synth.recipe_psf import MaskPsf
from ..synth.samples import SampleMaker
from ..synth.shards import Shards
from ..synth.sources import MadeScenes
from .generate import free_bytes
from .info import camera_words, capture_facts, light_advice, psf_words, scenes_words
from .memory import peak_bytes, shard_bytes, worker_bytes
from .progress import amount, duration

SHARP = 1.0
"""A CoC of at most this many pixels counts as in focus: it stays within one pixel."""
SURVEYED = 8
COMPRESSED = 0.47
"""Size on disk over raw size, measured on d3net-2m; photographs with their depth compress better."""


@dataclass(frozen=True)
class Survey:
    """Circles of confusion of some of a recipe's scenes.

    Attributes
    ----------
    scenes
        How many were looked at.
    coc
        (m,) float32, signed pixels, all known pixels of those scenes, in all slices of a stack.
    sharpest
        (n,) float32, signed pixels, of each known pixel in the slice that shows it sharpest.
    depth
        (n,) float32, metres, of the same pixels.
    unknown
        Share of pixels without depth.
    """

    scenes: int
    coc: npt.NDArray[np.float32]
    sharpest: npt.NDArray[np.float32]
    depth: npt.NDArray[np.float32]
    unknown: float

    @property
    def sharp(self) -> float:
        """Share of the known pixels that are in focus."""
        return float((np.abs(self.sharpest) <= SHARP).mean())

    @property
    def nearer(self) -> float:
        """Share of the known pixels that are blurred for being nearer than the focus plane."""
        return float((self.sharpest > SHARP).mean())


def survey(maker: SampleMaker) -> Survey:
    """Look at up to `SURVEYED` scenes of a recipe, evenly spread over its samples."""
    chosen = np.unique(np.linspace(0, maker.count - 1, min(SURVEYED, maker.count)).round().astype(int))
    cocs, sharpest, depths, pixels = [], [], [], 0
    for sample in chosen:
        shot = maker.shot(int(sample))
        pixels += shot.flat.depth.size
        known = shot.flat.depth[~np.isnan(shot.flat.depth)]
        coc = np.stack([lens.coc(known) for lens in shot.lenses])
        cocs.append(coc.ravel())
        sharpest.append(np.take_along_axis(coc, np.abs(coc).argmin(axis=0)[None], axis=0)[0])
        depths.append(known)
    depth = np.concatenate(depths)
    return Survey(len(chosen), np.concatenate(cocs), np.concatenate(sharpest), depth, 1 - len(depth) / pixels)


def check_blur(recipe: Recipe, seen: Survey) -> None:
    """Refuse a recipe in which nothing would be sharp, or nothing blurred, unless its `accept` says so.

    With a mask in the pupil nothing is sharp anywhere, and depth is in the PSF's shape: there only the latter counts.

    Raises
    ------
    InputError
        Saying which, with the numbers, and what to change.
    """
    lens = recipe.lens
    span = f"CoC {seen.coc.min():+.1f} to {seen.coc.max():+.1f} px over depths {_span(seen.depth)}"
    near, far = lens.depth_of_field(SHARP)
    shaped = isinstance(recipe.psf, MaskPsf)
    moved = "the focus of the stack" if recipe.stack else "camera.focus_distance"
    if seen.sharp == 0 and not shaped and "all-blurred" not in recipe.accept:
        raise InputError(
            f"nothing would be in focus ({span}): the lens is focused at {lens.focus_distance:g} m and sharp from "
            f"{near:.3g} to {far:.3g} m. Move {moved} into the scene, or set "
            'accept = ["all-blurred"] if this is what you want.'
        )
    if np.abs(seen.coc).max() <= SHARP and "all-sharp" not in recipe.accept:
        raise InputError(
            f"nothing would be blurred ({span}): open the aperture (camera.f_number), lengthen camera.focal_length or "
            'shrink camera.pixel_pitch, or set accept = ["all-sharp"] if this is what you want.'
        )


def _span(depth: npt.NDArray[np.float32]) -> str:
    return f"{depth.min():.3g} to {depth.max():.3g} m"


def check_scenes(maker: SampleMaker, report: Callable[[int], None] = lambda done: None) -> None:
    """Read every scene and photograph that comes from files once: what is broken is found before anything is written.

    Raises
    ------
    InputError
        Naming the first broken scene and how many there are.
    """
    if isinstance(maker.scenes, MadeScenes):
        maker.scenes.check()
        return
    broken: list[str] = []
    for sample in range(maker.count):
        try:
            maker.shot(sample).check()
        except InputError as error:
            broken.append(str(error))
        report(1)
    if len(broken) == 1:
        raise InputError(broken[0])
    if broken:
        raise InputError(f"{len(broken)} of {maker.count} scenes cannot be used; the first: {broken[0]}")


@dataclass(frozen=True)
class Cost:
    """What a sample costs: seconds on one core, and the bytes that a process has at most in memory meanwhile."""

    seconds: float
    memory: float


def cost(maker: SampleMaker) -> Cost:
    """Measure what a sample costs on this machine: the faster of two, after one that compiles."""
    maker.make(0)
    times = []
    for sample in range(1, 3):
        begun = time.perf_counter()
        maker.make(min(sample, maker.count - 1))
        times.append(time.perf_counter() - begun)
    return Cost(min(times), peak_bytes())


def describe(recipe: Recipe, maker: SampleMaker, seen: Survey, out: Place, costs: Cost) -> list[tuple[str, str]]:
    """Return the plan as (heading, text) lines."""
    lens, scenes = recipe.lens, recipe.scenes
    near, far = scenes.depth
    raw = sum(sample_bytes(recipe, maker.size).values()) * maker.count
    shards = Shards(maker)
    sharp_near, sharp_far = lens.depth_of_field(SHARP)
    sharp = f"within {SHARP:g} px from {sharp_near:.3g} to {sharp_far:.3g} m"
    height, width = maker.size
    sweeps = bool(recipe.stack or recipe.draws)
    anywhere = " in some slice" if recipe.stack else ""
    splits = dict.fromkeys(recipe.output.splits, 0) | shards.lengths
    free = free_bytes(out)
    room = f"; {amount(free)} free" if free is not None else ""
    worker, arrays = worker_bytes(maker, costs.memory), shard_bytes(maker)
    return [
        ("recipe", f"{recipe.name} (seed {recipe.seed}, hash {recipe.hash()[:12]})"),
        ("scenes", f"{maker.count} x {width}x{height} px, {scenes_words(recipe)}, {near:g} to {far:g} m"),
        ("camera", camera_words(recipe) + ("" if sweeps else f", {sharp}")),
        *capture_facts(recipe),
        ("PSF", f"{psf_words(recipe.psf)}; {_kernels(maker)}"),
        ("CoC", f"{seen.coc.min():+.2f} to {seen.coc.max():+.2f} px (+ is nearer than the focus)" if sweeps else
                f"{lens.coc(far):+.2f} px at {far:g} m to {lens.coc(near):+.2f} px at {near:g} m (+ is nearer)"),
        ("in focus", f"{seen.sharp:.1%} of pixels within {SHARP:g} px{anywhere}; {seen.nearer:.1%} blurred nearer, "
                     f"{abs(1 - seen.sharp - seen.nearer):.1%} farther ({seen.scenes} scenes looked at)"),
        ("unknown", f"{seen.unknown:.1%} of pixels have no depth"),
        ("size", f"{amount(raw)} raw, about {amount(raw * COMPRESSED)} on disk{room}"),
        ("splits", ", ".join(f"{split} {count}" for split, count in splits.items())),
        ("shards", f"{len(shards)} of up to {shards.per_shard} samples"),
        ("memory", f"up to {amount(worker)} a worker, {amount(arrays)} of it for a shard; "
                   "the run itself takes no more for more samples"),
        ("time", f"about {duration(costs.seconds * maker.count)} on one core "
                 f"({1 / costs.seconds:.1f} samples a second)"),
    ]  # fmt: skip


def _kernels(maker: SampleMaker) -> str:
    words = f"kernels up to {2 * maker.reach + 1} px wide"
    if isinstance(maker.bank, FieldBank):
        words += f" at {len(maker.bank.field_y)} x {len(maker.bank.field_x)} positions of the picture"
    if isinstance(maker.bank, SampledBank):
        words += f" in {len(maker.bank.coc)} planes"
        if maker.bank.energy is not None:
            words += f" with {maker.bank.energy.min():.0%} or more of the light{light_advice(maker.bank.energy)}"
    return words


def histogram_lines(values: npt.NDArray[np.float32], unit: str, bins: int = 12, bar: int = 40) -> list[str]:
    """Draw a histogram in text, one line a bin."""
    counts, edges = np.histogram(values, bins=bins)
    longest = max(int(counts.max()), 1)
    return [
        f"{edges[i]:+8.2f} to {edges[i + 1]:+8.2f} {unit}  "
        f"{'#' * round(bar * n / longest):<{bar}} {n / len(values):5.1%}"
        for i, n in enumerate(counts)
    ]
