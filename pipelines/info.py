"""Datasets and recipes in words."""

from pathlib import Path

from ..synth.commit import FOLDER, dataset_digest, read_samples
from ..synth.recipe import FolderScenes, Recipe
from ..synth.store import Store, open_store
from .shipped import find_recipe

Facts = list[tuple[str, str]]


def recipe_facts(recipe: Recipe) -> Facts:
    """Describe a recipe as (heading, text) lines."""
    lens, (near, far) = recipe.lens, recipe.scenes.depth
    sharp_near, sharp_far = lens.depth_of_field()
    return [
        ("recipe", f"{recipe.name}, seed {recipe.seed}, hash {recipe.hash()[:12]}"),
        ("description", recipe.description or "none"),
        ("scenes", f"{recipe.scenes.kind}{_place(recipe)}, {near:g} to {far:g} m"),
        ("camera", f"{lens.focal_length * 1e3:g} mm f/{lens.f_number:g} focused at {lens.focus_distance:g} m, "
                   f"pixel pitch {lens.pixel_pitch * 1e6:g} um"),
        ("CoC", f"{lens.coc(far):+.2f} px at {far:g} m to {lens.coc(near):+.2f} px at {near:g} m; "
                f"within 1 px from {sharp_near:.3g} to {sharp_far:.3g} m"),
        ("PSF", ", ".join(f"{key} {value}" for key, value in recipe.psf.model_dump().items())),
        ("arrays", f"{', '.join(recipe.output.arrays)}; images {recipe.output.encoding}, {recipe.output.bits} bits"),
    ]  # fmt: skip


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
