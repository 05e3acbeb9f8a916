"""Defocused captures of scenes: `render`, which checks what it is given and chooses between ways to render.

Light stays linear throughout, and values over 1 stay.
"""

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from .. import InputError
from .camera import ThinLens
from .layered import render_layers, render_surfaces
from .models import extended_layers, gathered, masked_sum, normalised_over
from .psf import PsfBank
from .scene import LayeredScene, Scene, block_mean

Float32 = npt.NDArray[np.float32]
Model = Literal["surfaces", "hasinoff", "normalised-over", "eq7", "gather"]
_OF_PAPERS = {"hasinoff": extended_layers, "normalised-over": normalised_over, "eq7": masked_sum, "gather": gathered}


def render(
    scene: Scene | LayeredScene,
    lens: ThinLens,
    bank: PsfBank | None = None,
    *,
    planes: int = 64,
    method: Literal["layered", "exact"] = "layered",
    samples: int = 256,
    model: Model = "surfaces",
) -> Float32:
    """Render what the lens makes of a scene.

    Parameters
    ----------
    scene
        A `Scene` is split at depth edges into surfaces, which are continued behind their occluders; a `LayeredScene`
        has all that already. Oversampled layers are rendered texel by texel and averaged to pixels; with kernels that
        are known on pixels alone (masks, measured ones), averaged before. Beyond the scene's margin the world is its
        mirror image, so borders do not darken.
    lens
        Gives the circle of confusion of each depth.
    bank
        PSFs; disks if left out.
    planes
        Depth planes that a `Scene` is sorted into. They only order: blur follows each pixel's own depth.
    method
        "layered" blurs each surface and lays it over what lies behind: fast, for any bank, and exact unless both
        sides of an edge are blurred. "exact" renders what each cell of the aperture sees, and adds it up: for disks
        and other apertures of geometric optics.
    samples
        Cells that "exact" cuts the aperture into, at most.
    model
        "surfaces" composites surfaces with what they hide. The others are papers' models, for comparison and to make
        their data again: the image cut into `planes` slices, each with one blur; a `LayeredScene` is flattened first.
        "hasinoff" lays whole layers over each other (D3-Net Eqs. 1-2), "normalised-over" visible ones (Ikoma et al.
        2021), and "eq7" adds them up (RPSF paper, Eq. 7), so that light is lost and gained at depth edges; "gather"
        is FOSSA's mean of blurred neighbours, without an order of depth. See `synth.models`.

    Returns
    -------
    (H, W, 3) float32, linear radiance.

    Raises
    ------
    InputError
        If the bank was made for another lens, does not cover the scene's depths or has kernels wider than the scene
        (disks may be), if a method does not serve a bank or a model, or if
        `planes`, `method`, `samples` or `model` are out of range.
    """
    bank = bank or PsfBank.disk(lens)
    if bank.lens != lens:
        raise InputError("the PSF bank was made for another lens than the one to render with.")
    return render_sweep(scene, [bank], planes=planes, method=method, samples=samples, model=model)[0]


def render_sweep(
    scene: Scene | LayeredScene,
    banks: Sequence[PsfBank],
    *,
    planes: int = 64,
    method: Literal["layered", "exact"] = "layered",
    samples: int = 256,
    model: Model = "surfaces",
) -> list[Float32]:
    """Render what several lenses, those of the banks, make of one scene; see `render`.

    A `Scene` is split into surfaces once for all of them. What lies behind an edge is then continued as far as the
    widest blur of the sweep needs it, so that pictures differ a little from those of single captures: see
    docs/stacks.md for how much.
    """
    if method not in ("layered", "exact"):
        raise InputError(f"render.method must be 'layered' or 'exact', not {method!r}.")
    if not isinstance(planes, int | np.integer):
        raise InputError(f"render.planes must be a whole number, not {planes!r}.")
    if model not in get_args(Model):
        raise InputError(f"render.model must be one of {', '.join(get_args(Model))}, not {model!r}.")
    if method == "exact" and model != "surfaces":
        raise InputError(f"render.method 'exact' has no model {model!r}: use render.method 'layered' for it.")
    if model == "surfaces" and method == "layered" and isinstance(scene, Scene):
        return render_surfaces(scene, banks, planes)
    if model == "surfaces" and isinstance(scene, LayeredScene) and scene.oversampling > 1:
        return [_render_texels(scene, bank, planes, method, samples) for bank in banks]
    return [_render_one(scene, bank, planes, method, samples, model) for bank in banks]


def _render_texels(
    scene: LayeredScene, bank: PsfBank, planes: int, method: Literal["layered", "exact"], samples: int
) -> Float32:
    finer = bank.finer(scene.oversampling)
    if finer is None:
        return _render_one(scene.averaged(), bank, planes, method, samples, "surfaces")
    picture = _render_one(scene.texels_as_pixels(), finer, planes, method, samples, "surfaces")
    return block_mean(picture, scene.oversampling)


def _render_one(
    scene: Scene | LayeredScene,
    bank: PsfBank,
    planes: int,
    method: Literal["layered", "exact"],
    samples: int,
    model: Model,
) -> Float32:
    if model != "surfaces":
        return _OF_PAPERS[model](scene, bank.lens, bank, planes)
    if method == "exact":
        from .exact import render_exact

        return render_exact(scene, bank.lens, bank, samples, planes)
    if isinstance(scene, LayeredScene):
        return render_layers(scene, bank.lens, bank)
    return render_surfaces(scene, [bank], planes)[0]
