"""Pictures of a dataset or of what a recipe would make: a contact sheet and a one-file page."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import InputError
from ..evaluate.pictures import png_bytes
from ..evaluate.report import SampleView, html_page
from ..evaluate.sheet import contact_sheet
from ..synth.commit import read_samples
from ..synth.light import decode, encode
from ..synth.recipe import Recipe
from ..synth.samples import SampleMaker
from ..synth.store import open_store
from .info import recipe_facts
from .shipped import find_recipe

Arrays = dict[str, npt.NDArray[Any]]
ON_SHEET = 6


def write_preview(target: str, out: Path | None, count: int) -> list[Path]:
    """Draw up to `count` samples, evenly spread.

    Parameters
    ----------
    target
        Folder of a finished dataset, or a recipe by name or path.
    out
        Folder for `contact.png` (the first few of the samples) and `preview.html`; `<target>-preview` if None.

    Returns
    -------
    The files written.

    Raises
    ------
    InputError
        If there is no such dataset or recipe, or the folder cannot be written.
    """
    path = Path(target)
    recipe, samples, total = _from_store(path, count) if path.is_dir() else _from_recipe(target, count)
    views = _views(recipe, samples)
    whole = path.resolve()
    out = out or Path(os.path.relpath(whole.with_name(f"{whole.name.removesuffix('.toml')}-preview")))
    near, far = recipe.scenes.depth
    title = f"{recipe.name}: {len(views[:ON_SHEET])} of {total} samples"
    sheet = contact_sheet(views[:ON_SHEET], title=title, near=near, far=far)
    page = html_page(recipe.name, dict(recipe_facts(recipe)), views, _histograms(views), _notes(views, total))
    try:
        out.mkdir(parents=True, exist_ok=True)
        (out / "contact.png").write_bytes(png_bytes(sheet))
        (out / "preview.html").write_text(page, encoding="utf-8")
    except OSError as error:
        raise InputError(f"cannot write pictures to {out}: {error.strerror}.") from None
    return [out / "contact.png", out / "preview.html"]


def _spread(total: int, count: int) -> list[int]:
    return [int(i) for i in np.unique(np.linspace(0, total - 1, min(count, total)).round())]


def _from_store(path: Path, count: int) -> tuple[Recipe, list[tuple[int, str, Arrays]], int]:
    store = open_store(path)
    rows = list(store.rows())
    chosen = [rows[i] for i in _spread(len(rows), count)]
    sources = {row["index"]: row["source"] for row in read_samples(path)}
    samples = [
        (index, f"{sources.get(str(index), 'unknown source')} ({split})", store.sample(split, row))
        for split, row, index in sorted(chosen, key=lambda at: at[2])
    ]
    return store.recipe, samples, len(rows)


def _from_recipe(target: str, count: int) -> tuple[Recipe, list[tuple[int, str, Arrays]], int]:
    maker = SampleMaker(find_recipe(target))
    samples = [(i, maker.source(i), maker.make(i)) for i in _spread(maker.count, count)]
    return maker.recipe, samples, maker.count


def _views(recipe: Recipe, samples: list[tuple[int, str, Arrays]]) -> list[SampleView]:
    lens, (near, far) = recipe.lens, recipe.scenes.depth
    caption = (
        f"{lens.focal_length * 1e3:g} mm, f/{lens.f_number:g}, focused at {lens.focus_distance:g} m, "
        f"{recipe.psf.kind} PSF",
    )
    views = []
    for index, source, arrays in samples:
        pictures = {n: _shown(arrays[n], recipe.output.encoding) for n in ("capture", "aif") if n in arrays}
        maps = {n: arrays[n].astype(np.float32) for n in ("depth", "coc") if n in arrays}
        views.append(SampleView(index=index, source=source, near=near, far=far, caption=caption, **pictures, **maps))
    return views


def _shown(image: npt.NDArray[Any], encoding: str) -> npt.NDArray[Any]:
    return encode(decode(image, "linear"), "srgb") if encoding == "linear" else image


def _histograms(views: list[SampleView]) -> dict[str, tuple[npt.NDArray[Any], npt.NDArray[Any]]]:
    charts = {}
    depth = _known([view.depth for view in views])
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
    return notes
