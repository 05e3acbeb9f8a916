"""Pictures of a dataset or of what a recipe would make: a contact sheet and a one-file page."""

import os
import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import InputError
from ..evaluate.fields import stack_boxes
from ..evaluate.pictures import mosaic_picture, png_bytes
from ..evaluate.report import SampleView, html_page
from ..evaluate.sheet import contact_sheet
from ..evaluate.sweep import stack_sheet, sweep_webp
from ..synth.camera import ThinLens
from ..synth.commit import committed_samples, read_samples, spread
from ..synth.light import decode, encode
from ..synth.places import ObjectPath, Place, dataset_at
from ..synth.recipe import Recipe
from ..synth.samples import SampleMaker
from ..synth.slices import reference_slice
from ..synth.store import Store, finished, open_store
from .info import recipe_facts
from .shipped import find_recipe, refuse_mask

Arrays = dict[str, npt.NDArray[Any]]
ON_SHEET = 6


def write_preview(
    target: str, out: Path | None, count: int, mask: Path | None = None, changes: Sequence[str] = ()
) -> list[Path]:  # fmt: skip
    """Draw up to `count` samples, evenly spread.

    Parameters
    ----------
    target
        Folder of a dataset, or a recipe by name or path. Of a dataset that is not finished, what is on disk is drawn.
    out
        Folder for `contact.png` (a few of the samples) and `preview.html`, and where there are focal stacks
        `sweep.webp` and `stack.png` (the first of them); `<target>-preview` if None.
    count
        Samples on the page.
    mask
        A file whose mask stands in the pupil of the recipe, in place of its own.
    changes
        Of the recipe, see `find_recipe`.

    Returns
    -------
    The files written.

    Raises
    ------
    InputError
        If there is no such dataset or recipe, or the folder cannot be written.
    """
    if (path := dataset_at(target)) is None:
        recipe, samples, total = _from_recipe(find_recipe(target, mask=mask, changes=changes), count)
    else:
        refuse_mask(target, mask)
        if changes:
            raise InputError(
                f"{target} is a dataset, whose samples are made already: leave --set out, it is for recipes."
            )
        recipe, samples, total = _from_store(path, count)
    views = _views(recipe, samples)
    notes = _notes(views, total)
    if path is not None and not finished(path):
        notes.insert(0, f"This dataset is unfinished: `defocal resume {shlex.quote(target)}` goes on with it.")
    out = out or beside(target, "-preview")
    page = html_page(recipe.name, dict(recipe_facts(recipe)), views, _histograms(views), notes)
    pictures = _pictures(recipe, views, total)
    contents = {"contact.png": pictures.pop("contact.png"), "preview.html": page.encode(), **pictures}
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name, content in contents.items():
            (out / name).write_bytes(content)
    except OSError as error:
        raise InputError(
            f"cannot write pictures to {out} ({error.strerror}): choose another folder with --out."
        ) from None
    return [out / name for name in contents]


def beside(target: str, ending: str) -> Path:
    """Return the place for pictures of a dataset or recipe: beside it, or of what is remote in this folder."""
    path = dataset_at(target)
    if isinstance(path, ObjectPath):
        return Path(f"{path.name}{ending}")
    whole = Path(target)
    # A link has a name and a place of its own; what "." and ".." mean has them elsewhere.
    if whole.name in ("", ".."):
        whole = Path(target).resolve()
        return Path(os.path.relpath(whole.with_name(f"{whole.name}{ending}")))
    return whole.with_name(f"{whole.name.removesuffix('.toml')}{ending}")


def draw_store(path: Place, count: int = ON_SHEET) -> dict[str, bytes]:
    """Draw up to `count` samples of a dataset, evenly spread.

    Returns
    -------
    By their names the files `contact.png`, and where there are focal stacks `sweep.webp` and `stack.png`.
    """
    recipe, samples, total = _from_store(path, count)
    return _pictures(recipe, _views(recipe, samples), total)


def _pictures(recipe: Recipe, views: list[SampleView], total: int) -> dict[str, bytes]:
    near, far = recipe.scenes.depth
    shown = spread(views, ON_SHEET)
    title = f"{recipe.name}: {len(shown)} of {total} samples, evenly spread"
    sheet = contact_sheet(shown, title=title, near=near, far=far)
    return {"contact.png": png_bytes(sheet), **_of_stack(recipe, views, near, far)}


def _of_stack(recipe: Recipe, views: list[SampleView], near: float, far: float) -> dict[str, bytes]:
    """Draw the first focal stack as an animation and as a sheet."""
    view = next((view for view in views if view.stack is not None), None)
    if view is None or view.stack is None:
        return {}
    title = f"{recipe.name}: focal stack of sample {view.index}, {view.slices} slices"
    sheet = stack_sheet(view, title=title, near=near, far=far)
    return {
        "sweep.webp": sweep_webp(view.stack, view.labels, boxes=stack_boxes(view)),
        "stack.png": png_bytes(sheet),
    }


def _from_store(path: Place, count: int) -> tuple[Recipe, list[tuple[int, str, Arrays]], int]:
    store = open_store(path, unfinished=True)
    if not finished(path):
        return store.recipe, _made_so_far(store, count), len(store)
    rows = list(store.rows())
    chosen = spread(rows, count)
    sources = {row["index"]: row["source"] for row in read_samples(path)}
    samples = [
        (index, f"{sources.get(str(index), 'unknown source')} ({split})", store.sample(split, row))
        for split, row, index in sorted(chosen, key=lambda at: at[2])
    ]
    return store.recipe, samples, len(rows)


def _made_so_far(store: Store, count: int) -> list[tuple[int, str, Arrays]]:
    """Read samples of a dataset that is being made, or was interrupted."""
    rows = committed_samples(store.path, count)
    if not rows:
        raise InputError(
            f"no sample of {store.path} is finished yet: wait; after an interruption run "
            f"`defocal resume {shlex.quote(str(store.path))}`."
        )
    return [
        (row["index"], f"{row['source']} ({row['split']})", store.sample(row["split"], row["row"]))
        for row in sorted(rows, key=lambda row: row["index"])
    ]


def _from_recipe(recipe: Recipe, count: int) -> tuple[Recipe, list[tuple[int, str, Arrays]], int]:
    maker = SampleMaker(recipe)
    samples = [(i, maker.source(i), maker.make(i)) for i in spread(range(maker.count), count)]
    return maker.recipe, samples, maker.count


def _views(recipe: Recipe, samples: list[tuple[int, str, Arrays]]) -> list[SampleView]:
    near, far = recipe.scenes.depth
    views = []
    for index, source, arrays in samples:
        made = recipe.as_drawn(arrays["drawn"].tolist()) if recipe.draws else recipe
        shown: dict[str, Any] = {
            n: _shown(arrays[n], recipe.output.encoding) for n in ("capture", "aif", "dual", "stack") if n in arrays
        }
        shown |= {n: arrays[n].astype(np.float32) for n in ("depth", "coc") if n in arrays}
        shown |= {"valid": arrays["valid"]} if "valid" in arrays else {}
        if "raw" in arrays:
            shown["raw"] = _mosaic(made, arrays["raw"])
        if "stack_raw" in arrays:
            shown["raw" if "stack" in shown else "stack"] = _mosaic(made, arrays["stack_raw"])
        shown["lens"] = _optics(made.lens)
        if "stack" in shown:
            shown |= _slices(made, arrays)
        caption = _caption(made, arrays)
        if recipe.draws:
            caption.append(_drawn(recipe, arrays["drawn"].tolist()))
        views.append(SampleView(index=index, source=source, near=near, far=far, caption=caption, **shown))
    return views


def _slices(recipe: Recipe, arrays: Arrays) -> dict[str, Any]:
    """Return what tells the slices of a stack apart, as far as the sample has it."""
    found: dict[str, Any] = {}
    if "focus" in arrays and "f_number" in arrays:
        pairs = list(zip(arrays["focus"].tolist(), arrays["f_number"].tolist(), strict=True))
        found["labels"] = [f"focus {focus:.3g} m, f/{f_number:.3g}" for focus, f_number in pairs]
        lenses = [replace(recipe.lens, focus_distance=focus, f_number=f_number) for focus, f_number in pairs]
        found["slice_lenses"] = [_optics(lens) for lens in lenses]
    if "intrinsics" in arrays:
        found["intrinsics"] = arrays["intrinsics"]
    if "focus" in arrays:
        found["reference"] = reference_slice(recipe, arrays["focus"].tolist())
    return found


def _optics(lens: ThinLens) -> tuple[float, float]:
    """Return what the CoC of a depth is computed from, see `SampleView`."""
    return lens.coc_per_dioptre, 1 / lens.focus_distance


def _mosaic(recipe: Recipe, raw: npt.NDArray[Any]) -> npt.NDArray[Any]:
    assert recipe.sensor is not None
    sensor = recipe.sensor.sensor()
    return mosaic_picture(raw, sensor.black_level, sensor.white, sensor.cfa)


def _caption(recipe: Recipe, arrays: Arrays) -> list[str]:
    lens, lines = recipe.lens, []
    if "focus" not in arrays or {"capture", "raw", "dual"} & set(arrays):
        focus = f"f/{lens.f_number:g}, focused at {lens.focus_distance:g} m"
        lines.append(f"{lens.focal_length * 1e3:g} mm, {focus}, {recipe.psf.kind} PSF")
    if "focus" in arrays:
        first, last = (f"{arrays['focus'][k]:.3g} m" for k in (0, -1))
        sweep = f"{len(arrays['focus'])} slices, focused at {first} to {last}"
        lines.append(f"{lens.focal_length * 1e3:g} mm, {sweep}, {recipe.psf.kind} PSF")
    return lines


def _drawn(recipe: Recipe, numbers: list[float]) -> str:
    """Say what the recipe drew for a sample."""
    values = [draw.value(number) for draw, number in zip(recipe.draws.values(), numbers, strict=True)]
    pairs = zip(recipe.draws, values, strict=True)
    return "drawn: " + ", ".join(f"{name} {v:.4g}" if isinstance(v, float) else f"{name} {v}" for name, v in pairs)


def _shown(image: npt.NDArray[Any], encoding: str) -> npt.NDArray[Any]:
    return encode(decode(image, "linear"), "srgb") if encoding == "linear" else image


def _histograms(views: list[SampleView]) -> dict[str, tuple[npt.NDArray[Any], npt.NDArray[Any]]]:
    charts = {}
    depth = _known([view.depth for view in views])
    depth = depth[depth > 0]
    if depth.size:
        edges = np.geomspace(depth.min(), max(depth.max(), depth.min() * 1.01), 41)
        charts["depth in m"] = (edges, np.histogram(depth, edges)[0])
    coc = _known([view.coc for view in views])
    if coc.size:
        counts, edges = np.histogram(coc, 40)
        charts["CoC in px (+ is nearer than the focus)"] = (edges, counts)
    return charts


def _known(maps: list[npt.NDArray[Any] | None]) -> npt.NDArray[np.float32]:
    values = [m[np.isfinite(m)] for m in maps if m is not None]
    return np.concatenate(values) if values else np.empty(0, np.float32)


def _notes(views: list[SampleView], total: int) -> list[str]:
    notes = [f"{len(views)} of {total} samples, evenly spread; histograms are of these."]
    if any(view.depth is not None and np.isnan(view.depth).any() for view in views):
        notes.append("Pixels without known depth are hatched; they are NaN in the dataset.")
    if any(view.depth is not None and (view.depth <= 0).any() for view in views):
        notes.append("Some depths are 0 m or less, which the histogram leaves out: unknown depth should be NaN.")
    return notes
