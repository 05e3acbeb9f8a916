"""Samples of a dataset one by one, checked against their digests, with what was their camera."""

import csv
import io
import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from ... import InputError
from ...synth.camera import Intrinsics
from ...synth.commit import SAMPLES
from ...synth.draws import PROCEDURAL_FOV
from ...synth.places import Place
from ...synth.recipe import Recipe
from ...synth.recipe_scenes import ProceduralScenes
from ...synth.store import array_digest
from .base import Arrays, Job, Sample, spoken

TABLE = "samples.jsonl"
"""The table of an export: a JSON object a line, one for each sample."""


def rows_of(job: Job) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield the split and the line of `samples.csv` of every sample of an export, split by split, by their rows.

    Raises
    ------
    InputError
        If the table is not that of the dataset.
    """
    for split, count in job.counts.items():
        found = 0
        for row in table_rows(job.store.path):
            if row["split"] != split:
                continue
            if row["row"] != str(found):
                break
            found += 1
            yield split, row
            if found == count:
                break
        if found != count:
            raise InputError(
                f"{job.store.path / SAMPLES} is damaged: it lists other rows of {split} than there are. Fetch a "
                "fresh copy."
            )


def table_rows(path: Place) -> Iterator[dict[str, str]]:
    """Yield the lines of a dataset's table of samples, one at a time.

    Raises
    ------
    InputError
        If it cannot be read.
    """
    try:
        with io.TextIOWrapper((path / SAMPLES).open("rb"), encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file, strict=True):
                if None in row or None in row.values() or not {"index", "split", "row", "source", "digest"} <= set(row):
                    raise InputError(
                        f"{path / SAMPLES} is not the sample table of a defocal dataset: give the folder that "
                        "`defocal generate` made."
                    )
                yield row
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"cannot read {path / SAMPLES}: {error}.") from None


def read_sample(job: Job, stored: Mapping[str, Any], place: int, split: str, row: dict[str, str]) -> Sample:
    """Read what an export takes of a sample.

    Parameters
    ----------
    stored
        Arrays of the split, opened.
    place
        Number of the sample in the export.
    row
        Its line in `samples.csv`.

    Raises
    ------
    InputError
        If an array is not what its digest says.
    """
    number, index = int(row["row"]), int(row["index"])
    arrays: Arrays = {}
    for name, array in stored.items():
        try:
            arrays[name] = np.asarray(array[number])
        except Exception as error:  # whatever can be wrong with a shard: zarr and the codecs raise many kinds of error
            raise InputError(
                f"sample {index} of {job.store.path} is damaged ({name}: {type(error).__name__}): `defocal verify` "
                f"says "
                "more; generate it again, or fetch a fresh copy."
            ) from None
        if array_digest(arrays[name]) != row.get(f"sha256_{name}"):
            raise InputError(
                f"{name} of sample {index} of {job.store.path} is not what samples.csv says: `defocal verify` says "
                f"more; "
                "generate it again, or fetch a fresh copy."
            )
    there = job.splits[split]
    facts = {"split": there, "index": index, "source": row["source"], "digest": row["digest"]}
    return Sample(place, number, there, index, arrays, facts | camera_facts(job, arrays))


def camera_facts(job: Job, arrays: Arrays) -> dict[str, Any]:
    """Return what was the camera of a sample, JSON data: metres and pixels.

    Returns
    -------
    `focal_length`, `pixel_pitch`, metres; `f_number`, `focus_distance` (metres) and `intrinsics` (3x3, pixels), of each
    slice where there are several, as far as they are known; `reference` (the slice whose frame the maps are in);
    `drawn` by the names of the recipe's keys.
    """
    recipe = job.recipe
    facts: dict[str, Any] = {}
    if "drawn" in arrays:
        numbers = arrays["drawn"].tolist()
        drawn = {name: draw.value(number) for (name, draw), number in zip(recipe.draws.items(), numbers, strict=True)}
        recipe, facts = recipe.as_drawn(numbers), {"drawn": drawn}
    lens = recipe.lens
    facts |= {"focal_length": lens.focal_length, "pixel_pitch": lens.pixel_pitch}
    if recipe.stack is None:
        intrinsics = _made_intrinsics(job, recipe)
        known = {"intrinsics": intrinsics.matrix.tolist()} if intrinsics else {}
        return facts | {"f_number": lens.f_number, "focus_distance": lens.focus_distance, **known}
    named = {"f_number": "f_number", "focus_distance": "focus"}
    facts |= {name: [float(spoken(x)) for x in arrays[array]] for name, array in named.items() if array in arrays}
    if "intrinsics" in arrays:
        facts["intrinsics"] = arrays["intrinsics"].astype(np.float64).tolist()
    if "focus" in arrays:
        from ...synth.slices import reference_slice

        facts["reference"] = reference_slice(recipe, arrays["focus"].tolist())
    return facts


def _made_intrinsics(job: Job, recipe: Recipe) -> Intrinsics | None:
    """Return the camera of a procedural scene, which is so wide whatever the lens; None for scenes from files."""
    if not isinstance(recipe.scenes, ProceduralScenes):
        return None
    height, width = job.size
    focal = 0.5 * width / math.tan(0.5 * PROCEDURAL_FOV)
    return Intrinsics(fx=focal, fy=focal, cx=(width - 1) / 2, cy=(height - 1) / 2)
