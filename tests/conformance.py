"""How near each way of rendering comes to the light: `make conformance` measures it and writes docs/conformance.md.

Always against half-planes whose image has a closed form (`halfplanes`); and against path-traced scenes (`references`)
where the environment variable DEFOCAL_ORACLES names a folder of them.
"""

import datetime
import inspect
import math
import os
import subprocess
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, get_args, get_type_hints

import numpy as np
from halfplanes import HalfPlanes, Ramp
from references import Reference, read_references

import defocal
from defocal.synth import LayeredScene, Patch, Scene, ThinLens, render

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "conformance.md"
EDGE = 20
"""Pixels on each side of a picture that are not scored, and of the margin of layers and half-planes."""

FOLDER = "DEFOCAL_ORACLES"
"""Environment variable that names the folder of path-traced scenes."""

PLANES = 64
SAMPLES = (256, 4096)
METHODS = get_args(get_type_hints(render)["method"])
MODELS = get_args(get_type_hints(render)["model"])
TEXELS = (1, 2) if "oversampling" in inspect.signature(LayeredScene).parameters else (1,)
ABOUT = {
    "eq7": "sum of masked convolutions, nothing hides anything (the RPSF paper's Eq. 7)",
    "gather": "each blurred pixel a mean of its blurred neighbours, without an order of depth (FOSSA 2026)",
    "normalised-over": "blurred slices over each other, each normalised by its masks, nothing behind them (Ikoma 2021)",
    "hasinoff": "slices continued behind their occluders and laid over each other (Hasinoff and Kutulakos 2007)",
    "surfaces": "what `render` does unless told otherwise",
}


@dataclass(frozen=True)
class Case:
    """A scene with its true image.

    Attributes
    ----------
    heading
        What it is, in a few words.
    lens
        The camera.
    truth
        (H, W, 3), linear radiance.
    scene
        Image and depth.
    layers
        The true layers, by texels along a pixel.
    """

    heading: str
    lens: ThinLens
    truth: Any
    scene: Scene
    layers: dict[int, LayeredScene]


@dataclass(frozen=True)
class Row:
    """A way to render: its name, what it is given, what it is, and the picture that it makes of a case."""

    name: str
    given: str
    about: str
    picture: Callable[[Case], Any]


class Score(NamedTuple):
    """How near a picture is to the truth."""

    psnr: float
    """Decibels."""
    energy: float
    """Mean radiance over that of the truth."""
    seconds: float
    """Of processor time."""


def rows() -> list[Row]:
    """Return every way to render that `render` offers, the simplest first."""
    rgbd = "image and depth"
    known = [model for model in ABOUT if model in MODELS] + [model for model in MODELS if model not in ABOUT]
    table = [Row("no blur", rgbd, "the image as it is", lambda case: case.scene.flatten().aif)]
    table += [Row(model, rgbd, ABOUT[model], partial(from_image, model=model, planes=PLANES)) for model in known]
    for texels in TEXELS:
        given = f"true layers, {texels} x"
        about = f"layers laid over each other, {texels} texel{'s' * (texels > 1)} along a pixel"
        table.append(Row(f"layered, {texels} x", given, about, partial(from_layers, texels=texels)))
    if "exact" in METHODS:
        for samples in SAMPLES:
            for given, how in ((rgbd, from_image), (f"true layers, {TEXELS[-1]} x", from_layers)):
                about = f"the aperture in {samples} parts"
                picture = partial(how, method="exact", samples=samples)
                table.append(Row(f"exact {samples}, {given.split(',')[0]}", given, about, picture))
    return table


def from_image(case: Case, **how: Any) -> Any:
    """Render image and depth."""
    return render(case.scene, case.lens, **how)


def from_layers(case: Case, texels: int = TEXELS[-1], **how: Any) -> Any:
    """Render true layers."""
    return render(case.layers[texels], case.lens, **how)


def layered_scenes(patches: Callable[[int, int], tuple[tuple[int, int], list[Patch]]]) -> dict[int, LayeredScene]:
    """Make layered scenes, by texels along a pixel, of what gives patches for a margin and texels."""
    extra = {texels: {"oversampling": texels} if texels > 1 else {} for texels in TEXELS}
    return {n: LayeredScene.from_patches(*patches(EDGE, n), margin=EDGE, **extra[n]) for n in TEXELS}


def half_planes(size: tuple[int, int] = (120, 160)) -> dict[str, HalfPlanes]:
    """Return the cases that have a closed form: each way to focus, and edges along the pixels."""
    lens = ThinLens(focal_length=0.05, f_number=1.0, focus_distance=1.5, pixel_pitch=1e-4)
    turned = math.radians(25)
    return {
        "near edge in focus": HalfPlanes(lens.refocused(1.0), size, turned),
        "wall in focus": HalfPlanes(lens.refocused(3.0), size, turned),
        "both blurred": HalfPlanes(lens, size, turned),
        "both blurred, upright": HalfPlanes(lens, size, near=Ramp((0.05, 0.1, 0.9)), before=Ramp((0.9, 0.5, 0.1))),
    }


def analytic_case(heading: str, pair: HalfPlanes) -> Case:
    """Return half-planes with the closed form of their image."""
    return Case(heading, pair.lens, pair.truth(), pair.scene(EDGE), layered_scenes(pair.patches))


def traced_case(reference: Reference) -> Case:
    """Return a path-traced scene."""
    layers = layered_scenes(reference.patches)
    return Case(reference.heading, reference.lens, reference.truth, reference.scene, layers)


def score(picture: Any, truth: Any, seconds: float) -> Score:
    """Compare the inner frames: PSNR as the sensor clips them to [0, 1], energy as it is."""
    inner = np.s_[EDGE:-EDGE, EDGE:-EDGE]
    got, true = picture[inner].astype(np.float64), truth[inner].astype(np.float64)
    error = np.mean((np.clip(got, 0, 1) - np.clip(true, 0, 1)) ** 2)
    return Score(-10 * math.log10(error), float(got.mean() / true.mean()), seconds)


def measure(table: list[Row], cases: Iterable[Case]) -> dict[str, list[Score]]:
    """Score every row on every case: by case, in the order of the rows."""
    small = analytic_case("", next(iter(half_planes((60, 64)).values())))
    for row in table:
        row.picture(small)  # compiles
    scores = {}
    for case in cases:
        print(f"\n{case.heading}\n{'':32}{'PSNR dB':>9}{'energy':>9}{'seconds':>9}")
        scores[case.heading] = []
        for row in table:
            begun = time.process_time()
            picture = row.picture(case)
            one = score(picture, case.truth, time.process_time() - begun)
            scores[case.heading].append(one)
            print(f"{row.name:32}{one.psnr:9.2f}{one.energy:9.4f}{one.seconds:9.2f}", flush=True)
    return scores


CLOSED = "## Half-planes with a closed form"
TRACED = "## Path-traced scenes"
MEASURED = "Measured on"
NOT_MEASURED = "Not measured yet: the references are not part of the project, and none were at hand."
INTRODUCTION = f"""# Conformance

How near each way of rendering comes to the light. `make conformance` measures it and writes this page.

PSNR is in decibels, in linear light clipped to [0, 1], {EDGE} px at each border left out. Energy is the mean radiance
over that of the truth, not clipped. Seconds are processor time on one core of the machine that measured, compiling
left out.

## The rows
"""
ABOUT_CLOSED = f"""{CLOSED}

A near half-plane before a wall with a step 2.7 px beside its edge. Each edge cuts the aperture along a straight line,
so that the image is a sum of areas and moments of circular segments: exact to 1e-8 after averaging over the pixel.
With one surface in focus, the blur of the other is 17 px across; between them, that of both is 8.6 px. The edges are
turned by 25 degrees against the pixels, or upright. Where both surfaces are blurred, what the edge hides and which
side of the step is seen depend on the same point of the aperture: layered models take the two for independent.
"""
ABOUT_TRACED = f"""{TRACED}

Thin-lens path tracing by Mitsuba 3, 16,384 samples a pixel or more, 320x240. The references are not part of the
project: where the environment variable `{FOLDER}` names a folder of them, `make conformance` measures these tables
too, and otherwise leaves them as they are, with their date.
"""


def table(heading: list[str], lines: Iterable[list[str]], ruler: str = "---") -> str:
    """Lay out a table in Markdown."""
    ruled = [heading, ["---", *[ruler] * (len(heading) - 1)], *lines]
    return "\n".join("| " + " | ".join(line) + " |" for line in ruled) + "\n"


def measured() -> str:
    """Say when and with which version."""
    git = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True)
    commit = f" (commit {git.stdout.strip()})" if git.returncode == 0 else ""
    return f"{MEASURED} {datetime.date.today():%Y-%m-%d} with defocal {defocal.__version__}{commit}.\n"


def results(names: list[str], scores: dict[str, list[Score]]) -> str:
    """Lay out the scores of every row on every case."""
    parts = [measured()]
    for what, field, digits in (("PSNR, dB", "psnr", 1), ("Energy", "energy", 4), ("Seconds", "seconds", 2)):
        lines = [
            [name, *(f"{getattr(case[i], field):.{digits}f}" for case in scores.values())]
            for i, name in enumerate(names)
        ]
        parts.append(table([what, *scores], lines, "--:"))
    return "\n".join(parts)


def page(ways: list[Row], closed: str, traced: str) -> str:
    """Put the page together."""
    about = table(["row", "given", "what it is"], ([row.name, row.given, row.about] for row in ways))
    return "\n".join([INTRODUCTION, about, ABOUT_CLOSED, closed, ABOUT_TRACED, traced])


def kept(old: str) -> str:
    """Return what an older page says was measured on path-traced scenes, date included, or that nothing was."""
    _, _, traced = old.partition(TRACED)
    _, begun, figures = traced.partition(MEASURED)
    return begun + figures if begun else f"{NOT_MEASURED}\n"


def main() -> None:
    """Measure, print and write the page."""
    ways = rows()
    names = [row.name for row in ways]
    cases = (analytic_case(heading, pair) for heading, pair in half_planes().items())
    closed = results(names, measure(ways, cases))
    folder = os.environ.get(FOLDER)
    if folder:
        traced = results(names, measure(ways, map(traced_case, read_references(Path(folder)))))
    else:
        traced = kept(PAGE.read_text() if PAGE.exists() else "")
        print(f"\n{FOLDER} names no folder: the tables of path-traced scenes stay as they are.")
    PAGE.write_text(page(ways, closed, traced))


if __name__ == "__main__":
    main()
