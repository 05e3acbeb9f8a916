"""What an evaluation leaves: one HTML page, tables in Markdown and LaTeX, and all numbers as JSON."""

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy as np

from .. import InputError, __version__
from ..evaluate.evaluation_page import EvaluatedImage, EvaluatedRun, evaluation_page
from ..evaluate.metrics import PROTOCOLS, Scores
from ..evaluate.tables import Table, TableRow, heading, table_latex, table_markdown
from ..evaluate.uncertainty import Calibration
from ..synth.commit import dataset_digest, read_samples
from ..synth.files import write_atomically
from ..train.journal import machine
from .aside import check_place
from .evaluation import Evaluation, Shown
from .judged import Judged

DEPTH_COLUMNS = ("rmse", "mae", "abs_rel", "sq_rel", "rmse_log", "log10", "silog", "delta1", "delta2", "delta3")
FIRST_COLUMNS = ("rmse", "mae", "abs_rel", "delta1", "psnr", "ssim", "ause")
STACK_COLUMNS = ("mae", "mse", "rmse", "abs_rel", "delta1", "bumpiness", "bad_pixels", "psnr", "ssim", "ause")
"""What papers on focal stacks look at."""
MORE_COLUMNS = ("mse", "bad_pixels", "bumpiness")
PAGE, NUMBERS, MARKDOWN, LATEX = "report.html", "scores.json", "tables.md", "tables.tex"


def check_out(out: Path) -> None:
    """Refuse a folder that holds something else, or cannot be made or written to.

    Raises
    ------
    InputError
        If it does.
    """
    if out.exists() and not out.is_dir():
        raise InputError(f"{out} is a file: give a folder for the report.")
    foreign = (
        sorted(p.name for p in out.iterdir() if p.name not in (PAGE, NUMBERS, MARKDOWN, LATEX)) if out.exists() else []
    )
    if foreign:
        raise InputError(f"{out} holds {foreign[0]}, which is no report of ours: give a new folder.")
    check_place(out)


def write_report(found: Evaluation, out: Path) -> list[Path]:
    """Write the report of an evaluation; return its files, the page first."""
    tables = report_tables(found)
    page = evaluation_page(
        f"Evaluation on {found.store.recipe.name}",
        _facts(found),
        tables,
        [_run(one) for one in found.judged],
        [_image(one) for one in found.shown],
        _notes(found),
    )
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot make the folder {out} ({error.strerror}): give another for the report.") from None
    texts = {
        PAGE: page,
        NUMBERS: json.dumps(report_numbers(found), indent=2) + "\n",
        MARKDOWN: "\n\n".join(map(table_markdown, tables)) + "\n",
        LATEX: "\n\n".join(map(table_latex, tables)) + "\n",
    }
    for name, text in texts.items():
        write_atomically(out / name, text)
    return [out / name for name in texts]


def report_tables(found: Evaluation) -> list[Table]:
    """Return the tables of an evaluation: runs that differ in their seeds alone are one row."""
    tables = []
    for caption, key in (("mean over images", "per_image"), ("over all pixels together", "per_pixel")):
        rows = _rows(found, lambda one, key=key: _numbers(one, key))
        if any(row.values for row in rows):
            tables.append(Table(rows=rows, caption=f"Each metric, {caption}; {found.samples} images."))
    return tables


def _numbers(one: Judged, key: str) -> dict[str, float]:
    numbers: dict[str, float] = {}
    if one.depth is not None:
        scores: Scores = one.depth.result()
        values = getattr(scores, key)
        numbers |= {name: values[name] for name in (*DEPTH_COLUMNS, *MORE_COLUMNS) if name in values}
    if one.defocus is not None:
        numbers["rmse_defocus"] = getattr(one.defocus, key)
    if one.images is not None:
        numbers |= getattr(one.images.result(), key)
    if one.uncertainty is not None and key == "per_image":
        result: Calibration = one.uncertainty.result()
        numbers["ause"] = result.sparsification.ause
    return numbers


def _rows(found: Evaluation, numbers: Any) -> list[TableRow]:
    groups: dict[tuple[str, int], list[Judged]] = {}
    times: Counter[tuple[str, str]] = Counter()
    for one in found.judged:
        # A copy of a run is no other seed.
        seed = one.group, one.facts.get("seed", "")
        groups.setdefault((one.group, times[seed]), []).append(one)
        times[seed] += 1
    rows = []
    for members in groups.values():
        each = [numbers(one) for one in members]
        columns = dict.fromkeys(metric for values in each for metric in values)
        if _of_stacks(found):
            columns = dict.fromkeys([*(metric for metric in STACK_COLUMNS if metric in columns), *columns])
        rows.append(
            TableRow(
                name=_group_name(members), values={m: [values.get(m, math.nan) for values in each] for m in columns}
            )
        )
    return rows


def _of_stacks(found: Evaluation) -> bool:
    return any(one.input == "stack" for one in found.judged)


def _group_name(members: Sequence[Judged]) -> str:
    """Name a row of the tables: a run by its folder, several seeds by what their folders' names have in common."""
    if len(members) == 1:
        return members[0].name
    names = [one.called for one in members]
    label = f" ({members[0].label})" if members[0].label else ""
    same = (letters[0] for letters in takewhile(lambda letters: len(set(letters)) == 1, zip(*names, strict=False)))
    common = "".join(same).rstrip("-_. 0123456789").removesuffix("seed").rstrip("-_. ")
    return f"{common or members[0].facts['config']} ({len(names)} seeds){label}"


def summary(found: Evaluation) -> str:
    """Return the metrics that one looks at first as plain text, aligned: those over images."""
    table = next(iter(report_tables(found)))
    first = STACK_COLUMNS if _of_stacks(found) else FIRST_COLUMNS
    columns = [name for name in first if name in table.columns()]
    lines = [["", *map(heading, columns)]]
    lines += [[row.name, *(table.cell(row, name) for name in columns)] for row in table.rows]
    widths = [max(len(line[k]) for line in lines) for k in range(len(columns) + 1)]
    return "\n".join(
        "  ".join([line[0].ljust(widths[0]), *(text.rjust(w) for text, w in zip(line[1:], widths[1:], strict=True))])
        for line in lines
    )


def report_numbers(found: Evaluation) -> dict[str, Any]:
    """Return everything as JSON data."""
    judged = []
    for one in found.judged:
        entry: dict[str, Any] = {"name": one.name, "facts": one.facts}
        if one.run:
            entry["run"] = one.run
        if one.predictor is not None and one.predictor.optics is not None:
            entry["mask"] = one.predictor.optics.mask.numbers()
        if one.depth is not None:
            entry["depth"] = one.depth.result().as_dict()
        if one.silhouettes is not None:
            entry["depth"] |= {
                part: {name: _plain(value) for name, value in numbers.items()}
                for part, numbers in one.silhouettes.result().items()
            }
        if one.defocus is not None:
            entry["depth"]["mean over images"]["rmse_defocus"] = _plain(one.defocus.per_image)
            entry["depth"]["over all pixels"]["rmse_defocus"] = _plain(one.defocus.per_pixel)
        if one.images is not None:
            entry["aif"] = one.images.result().as_dict()
        if one.uncertainty is not None:
            result = one.uncertainty.result()
            entry["uncertainty"] = {
                "ause": _plain(result.sparsification.ause),
                "aurg": _plain(result.sparsification.aurg),
                "calibration error": _plain(result.calibration_error),
                "root mean square": _plain(result.size),
                "samples": found.options.samples,
            }
        judged.append(entry)
    return {
        "defocal": __version__,
        "dataset": found.store.recipe.name,
        "digest": dataset_digest(read_samples(found.store.path)),
        "split": found.split,
        "samples": found.samples,
        "protocol": found.options.protocol,
        "judged": judged,
    }


def _plain(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _facts(found: Evaluation) -> dict[str, str]:
    about = machine()
    return {
        "dataset": f"{found.store.recipe.name}, split {found.split}, {found.samples} images",
        "content digest": dataset_digest(read_samples(found.store.path)),
        "protocol": _protocol_words(found.options.protocol),
        "evaluated with": f"defocal {about['defocal']}, torch {about['torch']}, {about['cores']} cores",
    }


def _protocol_words(name: str) -> str:
    protocol = PROTOCOLS[name]
    words = "all known pixels" if math.isinf(protocol.max_depth) else f"true depth up to {protocol.max_depth:g} m"
    crop = ", Eigen's crop" if protocol.crop == "eigen" else ""
    return f"{name}: {words}{crop}{', predictions clamped to that range' if protocol.clamp else ''}"


def cautions(found: Evaluation) -> list[str]:
    """Return a sentence for each run that was not trained to its end, and one of stacks that were not registered."""
    said = [
        f"{one.name} has made {one.predictor.last} of its {one.predictor.steps} steps: its training is unfinished."
        for one in found.judged
        if one.predictor is not None and one.predictor.last < one.predictor.steps
    ]
    if found.unregistered:
        said.append(
            f"The slices of {found.unregistered} of {found.samples} stacks could not be registered: the baselines saw "
            "them as they are."
        )
    return said


def _notes(found: Evaluation) -> list[str]:
    notes = ["Runs that differ in their seeds alone are one row of a table.", *cautions(found)]
    if any(one.uncertainty for one in found.judged):
        notes.append(f"Uncertainty: standard deviation of {found.options.samples} predictions with dropout.")
    if any(one.renders for one in found.judged):
        notes.append(
            "A rendered capture is what a run's own mask and sensor make of the dataset's sharp image and depth."
        )
    readers = ", ".join(one.name for one in found.judged if one.reads_depth)
    if readers:
        source = found.options.depth_from
        depth = (
            f"depth that {source.name} told of the same captures, and not the true one" if source else "the true depth"
        )
        notes.append(f"To choose the PSF of each pixel, {readers} read {depth}.")
    return notes


def _run(one: Judged) -> EvaluatedRun:
    scores = one.depth.result() if one.depth is not None else None
    return EvaluatedRun(
        name=one.name,
        depth_curve=scores.depth_curve if scores else None,
        calibration=one.uncertainty.result() if one.uncertainty is not None else None,
        mask=one.mask,
        facts=one.facts,
    )


def _image(shown: Shown) -> EvaluatedImage:
    pictures: Mapping[str, Any] = shown.pictures
    names: Sequence[str] = list(pictures)
    same = all(pictures[name] is pictures[names[0]] for name in names) and not shown.given
    return EvaluatedImage(
        name=shown.sample.name,
        target=np.asarray(shown.sample.arrays["depth"], np.float32),
        predictions=shown.predictions,
        picture=(pictures[names[0]] if same else pictures) if names else None,
        given=shown.given,
        restored=shown.restored,
        sharp=shown.sample.arrays["aif"] if shown.restored else None,
        uncertainty=shown.spread,
        valid=shown.sample.valid,
    )
