"""Datasets and recipes in words."""

from pathlib import Path

from ..synth.camera import ThinLens
from ..synth.commit import FOLDER, dataset_digest, read_samples
from ..synth.recipe import FolderScenes, Recipe
from ..synth.recipe_psf import Section
from ..synth.store import Store, open_store
from .shipped import find_recipe

UNSAID = (
    "obstruction", "form", "gain", "roundness", "rotation", "wrapped", "square", "energy", "rim", "side", "nodes",
)  # fmt: skip
"""Keys of a `psf` section that go without saying at their defaults."""
Facts = list[tuple[str, str]]


def recipe_facts(recipe: Recipe) -> Facts:
    """Describe a recipe as (heading, text) lines."""
    lens, (near, far) = recipe.lens, recipe.scenes.depth
    sharp_near, sharp_far = lens.depth_of_field()
    return [
        ("recipe", f"{recipe.name}, seed {recipe.seed}, hash {recipe.hash()[:12]}"),
        ("description", recipe.description or "none"),
        ("scenes", f"{recipe.scenes.kind}{_place(recipe)}, {near:g} to {far:g} m"),
        ("camera", camera_words(lens)),
        ("CoC", f"{lens.coc(far):+.2f} px at {far:g} m to {lens.coc(near):+.2f} px at {near:g} m; "
                f"within 1 px from {sharp_near:.3g} to {sharp_far:.3g} m"),
        ("PSF", psf_words(recipe.psf)),
        ("arrays", f"{', '.join(recipe.output.arrays)}; images {recipe.output.encoding}, {recipe.output.bits} bits"),
    ]  # fmt: skip


def camera_words(lens: ThinLens) -> str:
    """Describe a lens in a line."""
    return (
        f"{lens.focal_length * 1e3:g} mm f/{lens.f_number:.4g} focused at {lens.focus_distance:.4g} m, "
        f"pixel pitch {lens.pixel_pitch * 1e6:g} um"
    )


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


def _place(recipe: Recipe) -> str:
    return f" {recipe.scenes.path}" if isinstance(recipe.scenes, FolderScenes) else ""


def store_facts(store: Store) -> Facts:
    """Describe a dataset as (heading, text) lines."""
    size = sum(f.stat().st_size for f in store.path.rglob("*") if f.is_file())
    facts = [("dataset", f"{store.path}, {len(store)} samples, {size / 1e6:.1f} MB on disk")]
    for split in store.splits:
        shapes = [f"{name} {store.array(split, name).shape[1:]}" for name in store.recipe.output.arrays]
        facts.append((split, f"{store.array(split, 'index').shape[0]} samples: {', '.join(shapes)}"))
    if (store.path / FOLDER).exists():
        done = len(list((store.path / FOLDER).glob("*.json")))
        facts.append(("state", f"unfinished, {done} shards done: run `defocal resume {store.path}`"))
    else:
        facts.append(("digest", dataset_digest(read_samples(store.path))))
    made_with = next(iter(store.facts.values()))["versions"]
    facts.append(("made with", ", ".join(f"{name} {version}" for name, version in made_with.items())))
    return facts


def describe_target(target: str) -> Facts:
    """Describe the dataset in the folder `target`, or the recipe of that name or path.

    Raises
    ------
    InputError
        If it is neither.
    """
    if Path(target).is_dir():
        store = open_store(target, unfinished=True)
        return store_facts(store) + recipe_facts(store.recipe)
    return recipe_facts(find_recipe(target))
