"""Datasets and recipes in words."""

import shlex
from pathlib import Path
from typing import Any

import numpy.typing as npt

from ..synth.camera import ThinLens
from ..synth.commit import dataset_digest, markers, read_samples
from ..synth.draws import Draw
from ..synth.places import dataset_at, total_size
from ..synth.recipe import Recipe
from ..synth.recipe_capture import StackSection
from ..synth.recipe_psf import MaskFileSection, MaskPsf, Section
from ..synth.recipe_scenes import DatasetScenes, ProceduralScenes, ReadScenes
from ..synth.sensor import Sensor
from ..synth.store import Store, finished, open_store
from .shipped import find_recipe, refuse_mask

UNSAID = (
    "obstruction", "form", "gain", "roundness", "rotation", "wrapped", "square", "energy", "rim", "side", "nodes",
    "any_camera",
)  # fmt: skip
"""Keys of a `psf` section that go without saying at their defaults."""
LIGHT_ENOUGH = 0.8
"""Share of a PSF's light in its window, from which on nothing is said."""
Facts = list[tuple[str, str]]


def recipe_facts(recipe: Recipe) -> Facts:
    """Describe a recipe as (heading, text) lines."""
    near, far = recipe.scenes.depth
    return [
        ("recipe", f"{recipe.name}, seed {recipe.seed}, hash {recipe.hash()[:12]}"),
        ("description", _described(recipe)),
        ("scenes", f"{scenes_words(recipe)}{_place(recipe)}, {near:g} to {far:g} m"),
        *_terms(recipe),
        ("camera", camera_words(recipe)),
        ("CoC", _coc_words(recipe)),
        ("PSF", psf_words(recipe.psf) + _typical(recipe, "psf")),
        *capture_facts(recipe),
        ("arrays", f"{', '.join(recipe.arrays)}; images {recipe.output.encoding}, {recipe.output.bits} bits"),
    ]


def _typical(recipe: Recipe, section: str) -> str:
    """Note that values of a section are drawn, and those shown are from the middle of what may be."""
    return " (typical: see drawn)" if any(name.startswith(f"{section}.") for name in recipe.draws) else ""


def _coc_words(recipe: Recipe) -> str:
    lens, (near, far) = recipe.lens, recipe.scenes.depth
    if recipe.stack or recipe.draws:
        lenses = [lens for extreme in recipe.extremes for lens in extreme.widest_lenses]
        cocs = [lens.coc(z) for lens in lenses for z in (near, far)]
        return f"{min(cocs):+.2f} to {max(cocs):+.2f} px at most (+ is nearer than the focus)"
    sharp_near, sharp_far = lens.depth_of_field()
    return (
        f"{lens.coc(far):+.2f} px at {far:g} m to {lens.coc(near):+.2f} px at {near:g} m; "
        f"within 1 px from {sharp_near:.3g} to {sharp_far:.3g} m"
    )


def capture_facts(recipe: Recipe) -> Facts:
    """Describe the stack, the sensor and the distributions of a recipe, as far as it has them."""
    facts = []
    if recipe.stack:
        facts.append(("stack", stack_words(recipe.stack) + _typical(recipe, "stack")))
    if recipe.sensor:
        facts.append(("sensor", sensor_words(recipe.sensor.sensor()) + _typical(recipe, "sensor")))
    facts += [("drawn", f"{name}: {_draw_words(draw)}") for name, draw in recipe.draws.items()]
    return facts


def stack_words(stack: StackSection) -> str:
    """Describe a recipe's `stack` section in a line."""
    if stack.focus:
        words = [f"{stack.count} slices focused at {', '.join(f'{d:g}' for d in stack.focus)} m"]
    elif stack.range:
        near, far = stack.range
        how = {"inverse": "uniform in 1/distance", "distance": "uniform in distance", "random": "drawn"}
        words = [f"{stack.count} slices from {near:.4g} to {far:.4g} m, {how.get(stack.spacing, stack.spacing)}"]
    else:
        low, high = stack.quantiles
        words = [f"{stack.count} slices between the {low:g} and {high:g} quantiles of the scene's depth"]
    if stack.f_numbers:
        words.append(f"each at f/{', '.join(f'{n:g}' for n in stack.f_numbers)}")
    words.append("field of view changes with focus" if stack.breathing else "aligned")
    if stack.hand_rotation or stack.hand_translation:
        words.append(f"hand motion of {stack.hand_rotation:g} rad and {stack.hand_translation:g} m")
    return ", ".join(words)


def sensor_words(sensor: Sensor) -> str:
    """Describe a sensor in a line."""
    mosaic = "three full channels" if sensor.cfa == "none" else f"{sensor.cfa}, {sensor.demosaic} demosaicing"
    return (
        f"{sensor.bits} bits, full well {sensor.full_well:g} e-, read noise {sensor.read_noise:g} e-, "
        f"gain {sensor.gain:g}, {sensor.shot_noise} shot noise, {mosaic}"
    )


def _draw_words(draw: Draw) -> str:
    if draw.kind == "depth":
        return f"between quantiles {draw.values[0]:g} and {draw.values[1]:g} of the depth"
    if draw.of_scene:
        return f"from the scene's {draw.kind}"
    if draw.kind == "original":
        return f"{draw.values[0]:g} in the files' images"
    values = [f"{v:g}" if isinstance(v, float) else str(v) for v in draw.values]
    return f"one of {', '.join(values)}" if draw.kind == "choice" else f"{draw.kind} from {values[0]} to {values[1]}"


def camera_words(recipe: Recipe) -> str:
    """Describe the camera of a recipe in a line; of a stack the focus is said elsewhere."""
    swept = recipe.stack is not None and recipe.camera.focus_distance is None
    return lens_words(recipe.lens, focused=not swept) + _typical(recipe, "camera")


def lens_words(lens: ThinLens, *, focused: bool = True) -> str:
    """Describe a lens in a line."""
    focus = f" focused at {lens.focus_distance:.4g} m" if focused else ""
    return f"{lens.focal_length * 1e3:g} mm f/{lens.f_number:.4g}{focus}, pixel pitch {lens.pixel_pitch * 1e6:g} um"


def psf_words(section: Section) -> str:
    """Describe a recipe's `psf` section, or its mask, in a line."""
    words = []
    fields = type(section).model_fields
    for key, value in section.model_dump(exclude_none=True).items():
        inner = getattr(section, key)
        if key in UNSAID and value == fields[key].default:
            continue
        if isinstance(inner, Section):
            words.append(psf_words(inner))
        elif key == "kind":
            words.append(str(value))
        elif key == "path" and "sha256" in fields:
            words.append(file_words(value))
        elif key == "sha256":
            words.append(f"sha256 {value[:12]}")
        elif key in ("wavelength", "wavelengths"):
            metres = value if isinstance(value, tuple | list) else [value]
            words.append(
                f"{'designed for' if key == 'wavelength' else 'at'} {' '.join(f'{w * 1e9:g}' for w in metres)} nm"
            )
        elif isinstance(value, tuple | list):
            words.append(f"{key} {' '.join(f'{v:g}' for v in value)}")
        else:
            words.append(f"{key} {value:g}" if isinstance(value, float) else f"{key} {value}")
    return ", ".join(words)


def _described(recipe: Recipe) -> str:
    words, psf = recipe.description or "none", recipe.psf
    # What a recipe says of itself is of its own mask.
    from_file = isinstance(psf, MaskPsf) and isinstance(psf.mask, MaskFileSection)
    return f"{words} The mask is that of a file, see PSF." if from_file else words


def light_advice(energy: npt.NDArray[Any]) -> str:
    """Say what to do if windows of kernels cut off much of the light; "" if they do not. `energy` are shares."""
    return "" if energy.min() >= LIGHT_ENOUGH else "; the rest is cut off: raise psf.size"


def file_words(path: str) -> str:
    """Name a file by the folder that it lies in, which of masks is that of the run: `my-run/mask.json`."""
    return "/".join(Path(path).parts[-2:])


def scenes_words(recipe: Recipe) -> str:
    """Say which scenes a recipe has; what goes without saying is left out."""
    scenes = recipe.scenes
    if not isinstance(scenes, ProceduralScenes):
        return scenes.kind
    words = ["procedural", scenes.world]
    if scenes.lights[1]:
        words.append(f"{scenes.lights[0]} to {scenes.lights[1]} lamps")
    if scenes.textures is not None:
        words.append(f"textures from {scenes.textures}")
    return ", ".join(words)


def _terms(recipe: Recipe) -> Facts:
    """Say under which terms a dataset's scenes are."""
    if not isinstance(recipe.scenes, DatasetScenes):
        return []
    from ..synth.readers import READERS

    reader = READERS[recipe.scenes.kind]
    return [
        (
            "terms",
            f"of {reader.TITLE}: {reader.LICENCE}"
            + ("" if reader.COMMERCIAL else "; commercial use not known to be allowed"),
        )
    ]


def _place(recipe: Recipe) -> str:
    return f" {recipe.scenes.path}" if isinstance(recipe.scenes, ReadScenes) else ""


def store_facts(store: Store) -> Facts:
    """Describe a dataset as (heading, text) lines."""
    size = total_size(store.path)
    facts = [("dataset", f"{store.path}, {len(store)} samples, {size / 1e6:.1f} MB on disk")]
    for split in store.splits:
        shapes = [f"{name} {store.array(split, name).shape[1:]}" for name in store.recipe.arrays]
        facts.append((split, f"{store.array(split, 'index').shape[0]} samples: {', '.join(shapes)}"))
    if not finished(store.path):
        resume = f"`defocal resume {shlex.quote(str(store.path))}`"
        facts.append(("state", f"unfinished, {markers(store.path)} shards done: run {resume}"))
    else:
        facts.append(("digest", dataset_digest(read_samples(store.path))))
    made_with = next(iter(store.facts.values()))["versions"]
    facts.append(("made with", ", ".join(f"{name} {version}" for name, version in made_with.items())))
    return facts


def describe_target(target: str, mask: Path | None = None) -> Facts:
    """Describe the dataset in the folder `target`, or the recipe of that name or path with the mask of a file in it.

    Raises
    ------
    InputError
        If it is neither.
    """
    if (where := dataset_at(target)) is not None:
        refuse_mask(target, mask)
        store = open_store(where, unfinished=True)
        return store_facts(store) + recipe_facts(store.recipe)
    return recipe_facts(find_recipe(target, mask=mask))
