"""Who is judged in an evaluation: what runs and baselines are given of a sample, and what they tell of it."""

import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import InputError
from ..evaluate.defocus_errors import DefocusScores
from ..evaluate.metrics import DepthScores, ImageScores
from ..evaluate.silhouettes import SilhouetteScores
from ..evaluate.uncertainty import UncertaintyScores
from ..synth.camera import ThinLens
from ..synth.store import Store
from ..train.cameras import LensTable
from ..train.checkpoint import checkpoint_of
from ..train.journal import RUN
from ..train.optics.pictures import mask_picture, number_words
from ..train.prediction import Predictor, load_model
from .baselines import BASELINES
from .classical import Aligner, Depth, Picture, Told


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """What an evaluation looks at.

    Attributes
    ----------
    split
        Of the store; the validation split of the first run if left out.
    limit
        At most so many samples.
    protocol
        Which pixels count: see `metrics.PROTOCOLS`.
    samples
        Monte-Carlo predictions with dropout for each image, for uncertainty; 0 for none.
    baselines
        Classical methods to judge beside the runs: see `baselines.BASELINES`.
    pictures
        Images on the page.
    which
        "best" by validation, or "last".
    captures
        What runs that learned a mask look at: "rendered" from the store's sharp pictures and depths through that mask,
        or "stored", the store's own captures, which must be of that mask.
    device
        Where to compute.
    depth_from
        Run that tells the depth which those read that deblur, from the same captures; true depth if left out.
    """

    split: str | None = None
    limit: int | None = None
    protocol: str = "all"
    samples: int = 0
    baselines: tuple[str, ...] = ()
    pictures: int = 6
    which: str = "best"
    captures: str = "rendered"
    device: str = "auto"
    depth_from: Path | None = None


@dataclass(frozen=True, eq=False)
class Sample:
    """One sample of the store, in its row."""

    row: int
    name: str
    arrays: dict[str, npt.NDArray[Any]]

    @property
    def valid(self) -> npt.NDArray[np.bool_]:
        """Where depth is known, and is a distance, (h, w)."""
        depth = self.arrays["depth"]
        known: npt.NDArray[np.bool_] = np.isfinite(depth) & (depth > 0)
        return known & self.arrays["valid"] if "valid" in self.arrays else known


@dataclass(frozen=True, eq=False, kw_only=True)
class Seen:
    """What one is given of a sample.

    Attributes
    ----------
    picture
        (h, w, 3), or a stack (S, h, w, 3).
    focus
        Focus distances of its slices, (S,) metres; None of a single picture.
    capture
        (h, w, 3), the single picture beside a stack; None where it is not read.
    sample
        Where it is from.
    """

    picture: Picture
    focus: npt.NDArray[np.float32] | None = None
    capture: Picture | None = None
    sample: Sample


@dataclass(eq=False)
class Judged:
    """A run, or one of several depths that it tells, or a baseline, with what was found of it.

    Attributes
    ----------
    called
        The run's folder, or the baseline; with a number where several runs' folders have one name.
    run
        Name of the run's folder; "" of a baseline.
    label
        Which of several depths of a run is judged; "" of one.
    group
        What runs that differ in their seeds alone have in common.
    input
        Which array of the store it is given, or something rendered of.
    predict
        What it tells of what it sees, given with depth in metres, or with None where it does not read depth. Rows of
        one run share it, and what it told.
    tells
        Name of the depth that is judged.
    renders
        Whether it is given a capture that is rendered of the sharp picture, through the mask that it learned.
    reads_capture
        Whether it is given the single picture beside a stack.
    mask
        Picture of the mask that was learned with it, (h, w, 3) uint8.
    """

    called: str
    group: str
    input: str
    predict: Callable[[Seen, Depth | None], Told]
    facts: dict[str, str]
    run: str = ""
    label: str = ""
    tells: str = "depth"
    renders: bool = False
    reads_capture: bool = False
    mask: npt.NDArray[np.uint8] | None = None
    outputs: tuple[str, ...] = ("depth",)
    reads_depth: bool = False
    predictor: Predictor | None = None
    depth: DepthScores | None = None
    silhouettes: SilhouetteScores | None = None
    defocus: DefocusScores | None = None
    images: ImageScores | None = None
    uncertainty: UncertaintyScores | None = None

    @property
    def name(self) -> str:
        """What it is called in tables and pictures."""
        return f"{self.called} ({self.label})" if self.label else self.called

    def look(self, sample: Sample) -> Seen:
        """Return what it is given of a sample."""
        picture: Picture = sample.arrays[self.input]
        if self.renders and self.predictor is not None:
            picture = self.predictor.capture(picture, sample.arrays["depth"], sample.row)  # type: ignore[assignment]
        return Seen(
            picture=picture, sample=sample, focus=sample.arrays["focus"] if self.input == "stack" else None,
            capture=sample.arrays["capture"] if self.reads_capture else None,
        )  # fmt: skip


def judged_run(path: Path, options: Options, store: Store) -> list[Judged]:
    """Return a run that is to be judged: a row for each depth that it tells.

    Raises
    ------
    InputError
        If it is none, or drops nothing although uncertainty is asked for.
    """
    predictor = load_model(path, which=options.which, device=options.device)
    data = predictor.config.to_dict()
    del data["seed"]
    # The best of one seed and the last of another are no seeds of one row.
    data["checkpoint"] = checkpoint_of(path, options.which).name
    if options.samples:
        predictor.check_dropout()
    optics, outputs = predictor.optics, predictor.model.outputs
    depths = predictor.model.told_depths or {"": ""}
    called, teller, facts = path.stem if path.is_file() else path.name, _teller(predictor, store), _facts(path, options)
    facts = _about(predictor, options) | facts
    rows = []
    for place, (label, tells) in enumerate(depths.items()):
        images = ("aif",) if "aif" in outputs and not place else ()
        rows.append(
            Judged(
                called=called, run=(path.parent if path.is_file() else path).absolute().name,
                label=label if len(depths) > 1 else "", tells=tells,
                group=json.dumps([data, predictor.facts, label], sort_keys=True),
                input="capture" if optics is not None and options.captures == "stored" else _input(predictor),
                predict=teller, facts=facts | ({"judged": f"the depth of {label}"} if len(depths) > 1 else {}),
                renders=optics is not None and options.captures == "rendered", reads_capture=predictor.reads_capture,
                mask=mask_picture(optics) if optics is not None else None,
                outputs=(*(("depth",) if tells else ()), *images), reads_depth=predictor.reads_depth,
                predictor=predictor,
            )
        )  # fmt: skip
    return rows


def _input(predictor: Predictor) -> str:
    """Return the array that a run looks at: of data with stacks a model may read the single captures alone."""
    given = predictor.config.data.input
    return "capture" if given == "stack" and not predictor.reads_stacks else given


def _teller(predictor: Predictor, store: Store) -> Callable[[Seen, Depth | None], Told]:
    """Return what a run tells, with all that its model reads beside the pictures."""

    def tell(seen: Seen, depth: Depth | None) -> Told:
        return predictor.predict(seen.picture, depth=depth, anywhere=True, **beside(predictor, seen, store))

    return tell


def beside(predictor: Predictor, seen: Seen, store: Store) -> dict[str, Any]:
    """Return what a model reads beside pictures and depth, as `Predictor.predict` takes it."""
    reads, arrays = predictor.model.inputs, seen.sample.arrays
    found: dict[str, Any] = {"focus": seen.focus, "capture": seen.capture}
    if "intrinsics" in reads:
        found["intrinsics"] = arrays["intrinsics"]
    if "lens" in reads:
        table = LensTable(store.recipe)
        focal, f_number, focus, pitch = table.lens(arrays["drawn"].tolist() if table.drawn else ()).tolist()
        at = math.inf if math.isnan(focus) else focus
        found["lens"] = ThinLens(focal_length=focal, f_number=f_number, focus_distance=at, pixel_pitch=pitch)
    return found


def _about(predictor: Predictor, options: Options) -> dict[str, str]:
    """Return what a page says of a run."""
    config, optics = predictor.config, predictor.optics
    facts = {
        "config": config.name, "seed": str(config.seed),
        "input": _input(predictor) + (" and capture" if predictor.reads_capture else ""),
        "learns": predictor.target.words if predictor.model.told_depths else "sharp images",
        "weights of step": f"{predictor.step} of {predictor.steps}",
        "parameters": f"{sum(p.numel() for p in predictor.model.parameters()) / 1e6:.3f} M",
        "trained on": ", ".join(
            f"the split {config.data.train_split} of {one['recipe']} ({one['samples']} samples in all)"
            for one in predictor.facts
        ),
    }  # fmt: skip
    if config.data.slices:
        facts["slices in training"] = f"{config.data.slices[0]} to {config.data.slices[1]}"
    if predictor.reads_depth:
        facts["depth"] = depth_words(options)
    if optics is not None:
        facts |= {"input": f"{options.captures} captures", "optics": optics.words}
        facts |= {"mask": number_words(optics.mask.numbers())} if optics.mask.numbers() else {}
    return facts


def _facts(path: Path, options: Options) -> dict[str, str]:
    about = path / RUN if path.is_dir() else path.parent / RUN
    if not about.is_file():
        return {}
    return {"device": str(json.loads(about.read_text(encoding="utf-8")).get("device", "not told"))}


def depth_words(options: Options) -> str:
    """Say whose depth those read that deblur."""
    return f"told by {options.depth_from.name}" if options.depth_from else "true"


def judged_baseline(name: str, store: Store, options: Options, aligner: Aligner) -> Judged:
    """Return a baseline that is to be judged.

    Raises
    ------
    InputError
        If there is none of that name, or the store is nothing for it.
    """
    if name not in BASELINES:
        raise InputError(f"there is no baseline {name!r}: choose from {', '.join(BASELINES)}.")
    method = BASELINES[name](store)
    registered = method.aligned and aligner.needed
    facts = {"baseline": method.words + "; slices registered by their pictures" * registered}

    def tell(seen: Seen, depth: Depth | None) -> Told:
        picture = aligner(seen.picture, seen.focus) if registered and seen.focus is not None else seen.picture
        return method.tell(picture, seen.focus, depth)

    return Judged(
        called=name, group=name, input=method.input, predict=tell, outputs=method.outputs,
        facts=facts | ({"depth": depth_words(options)} if method.reads_depth else {}), reads_depth=method.reads_depth,
    )  # fmt: skip


def samples_of(store: Store, split: str, rows: int) -> Iterator[Sample]:
    """Yield the first so many samples of a split."""
    sources = store.sources(split)
    for row in range(rows):
        yield Sample(row, sources[row], store.sample(split, row))


def name_apart(judged: Sequence[Judged]) -> None:
    """Give runs whose folders have the same name different ones."""
    seen: dict[str, int] = {}
    for one in judged:
        called = one.name
        seen[called] = seen.get(called, 0) + 1
        if seen[called] > 1:
            one.called = f"{one.called} ({seen[called]})"
