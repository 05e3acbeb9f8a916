"""Evaluation: trained models and classical baselines on a store, judged by the field's metrics."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import InputError
from ..evaluate.defocus_errors import DefocusScores
from ..evaluate.metrics import PROTOCOLS, DepthScores, ImageScores
from ..evaluate.uncertainty import UncertaintyScores, monte_carlo
from ..synth.pupil.masks import DESIGN_WAVELENGTH
from ..synth.store import Store, open_store
from ..train.cameras import Camera, check_cameras, common_lens
from ..train.journal import RUN
from ..train.optics.pictures import mask_picture, number_words
from ..train.prediction import Predictor, load_model
from .baselines import BASELINES
from .captures import check_captures
from .restoration import Restorer

CURVE_BINS = 12
Picture = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]
Depth = npt.NDArray[np.floating[Any]]


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
        """Where depth is known, (h, w)."""
        known: npt.NDArray[np.bool_] = np.isfinite(self.arrays["depth"])
        return known & self.arrays["valid"] if "valid" in self.arrays else known


@dataclass(eq=False)
class Judged:
    """A run, or a baseline, with what was found of it.

    Attributes
    ----------
    name
        What it is called.
    group
        What runs that differ in their seeds alone have in common.
    input
        Which array of the store it is given, or something rendered of.
    predict
        What it tells of a picture, given with depth in metres, or with None where it does not read depth.
    renders
        Whether it is given a capture that is rendered of the sharp picture, through the mask that it learned.
    mask
        Picture of the mask that was learned with it, (h, w, 3) uint8.
    """

    name: str
    group: str
    input: str
    predict: Callable[[Picture, Depth | None], dict[str, npt.NDArray[np.float32]]]
    facts: dict[str, str]
    renders: bool = False
    mask: npt.NDArray[np.uint8] | None = None
    outputs: tuple[str, ...] = ("depth",)
    reads_depth: bool = False
    predictor: Predictor | None = None
    depth: DepthScores | None = None
    defocus: DefocusScores | None = None
    images: ImageScores | None = None
    uncertainty: UncertaintyScores | None = None

    def look(self, sample: Sample) -> Picture:
        """Return what it is given of a sample."""
        picture: Picture = sample.arrays[self.input]
        if self.renders and self.predictor is not None:
            picture = self.predictor.capture(picture, sample.arrays["depth"], sample.row)  # type: ignore[assignment]
        return picture


@dataclass(frozen=True, eq=False)
class Shown:
    """A sample as the page shows it, with what each judged one said, by name."""

    sample: Sample
    predictions: dict[str, Depth] = field(default_factory=dict)
    spread: dict[str, Depth] = field(default_factory=dict)
    pictures: dict[str, Picture] = field(default_factory=dict)
    restored: dict[str, npt.NDArray[np.uint8]] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What was found.

    Attributes
    ----------
    store, split
        What was looked at.
    samples
        How many samples.
    judged
        Runs and baselines in the order given.
    shown
        Samples for the page.
    """

    store: Store
    split: str
    samples: int
    options: Options
    judged: list[Judged]
    shown: list[Shown]


def evaluate(
    runs: Sequence[Path], data: str | Path, options: Options, *, begin: Callable[[int], None] | None = None,
    report: Callable[[int], None] | None = None,
) -> Evaluation:  # fmt: skip
    """Judge runs and baselines on a split of a store, image by image; memory does not grow with their number.

    Parameters
    ----------
    runs
        Folders of runs, or checkpoints.
    data
        The store.
    begin, report
        Are told how many samples there are, and how many more are done.

    Raises
    ------
    InputError
        If a run, the store or an option cannot be used, or the store's camera is not that of a run.
    """
    store = open_store(data)
    if options.protocol not in PROTOCOLS:
        raise InputError(f"there is no protocol {options.protocol!r}: choose from {', '.join(PROTOCOLS)}.")
    judged = [_run(path, options) for path in runs] + [_baseline(name, store, options) for name in options.baselines]
    if not judged:
        raise InputError("nothing to evaluate: give the folder of a run, or --baseline.")
    if options.captures not in ("rendered", "stored"):
        raise InputError(f"captures are rendered or stored, not {options.captures!r}.")
    _check_names(judged)
    split = options.split or _split(judged, store)
    source = _depth_source(judged, store, options)
    for one in judged:
        _check(one, store)
        _begin(one, store, options)
    rows = _rows(store, split, options)
    if begin is not None:
        begin(rows)
    shown = []
    wanted = set(np.linspace(0, rows - 1, min(options.pictures, rows)).round().astype(int).tolist())
    for row, sample in enumerate(_samples(store, split, rows)):
        found = Shown(sample)
        depth = source(sample) if source is not None else None
        for one in judged:
            _judge(one, sample, depth, options, found)
        if row in wanted:
            shown.append(found)
        if report is not None:
            report(1)
    return Evaluation(store, split, rows, options, judged, shown)


def _run(path: Path, options: Options) -> Judged:
    predictor = load_model(path, which=options.which, device=options.device)
    config = predictor.config
    data = config.to_dict()
    del data["seed"]
    facts = {
        "config": config.name, "seed": str(config.seed), "input": config.data.input,
        "learns": predictor.target.words if "depth" in predictor.model.outputs else "sharp images",
        "weights of step": f"{predictor.step} of {predictor.steps}",
        "parameters": f"{sum(p.numel() for p in predictor.model.parameters()) / 1e6:.3f} M",
        "trained on": ", ".join(
            f"the split {config.data.train_split} of {one['recipe']} ({one['samples']} samples in all)"
            for one in predictor.facts
        ),
    }  # fmt: skip
    about = path / RUN if path.is_dir() else path.parent / RUN
    if about.is_file():
        facts["device"] = str(json.loads(about.read_text(encoding="utf-8")).get("device", "not told"))
    if options.samples:
        predictor.check_dropout()
    if predictor.reads_depth:
        facts["depth"] = _depth_words(options)
    optics = predictor.optics
    if optics is not None:
        facts |= {"input": f"{options.captures} captures", "optics": optics.words}
        facts |= {"mask": number_words(optics.mask.numbers())} if optics.mask.numbers() else {}
    return Judged(
        name=path.stem if path.is_file() else path.name, group=json.dumps(data, sort_keys=True),
        input="capture" if optics is not None and options.captures == "stored" else config.data.input,
        predict=lambda image, depth: predictor.predict(image, depth=depth, anywhere=True), facts=facts,
        renders=optics is not None and options.captures == "rendered",
        mask=mask_picture(optics) if optics is not None else None, outputs=predictor.model.outputs,
        reads_depth=predictor.reads_depth, predictor=predictor,
    )  # fmt: skip


def _depth_words(options: Options) -> str:
    return f"told by {options.depth_from.name}" if options.depth_from else "true"


def _depth_source(judged: list[Judged], store: Store, options: Options) -> Callable[[Sample], Depth] | None:
    """Return what tells the depth that those read who deblur; None if nobody does.

    Raises
    ------
    InputError
        If a run is to tell it and cannot, or nobody would read it.
    """
    readers = [one.name for one in judged if one.reads_depth]
    if options.depth_from is None:
        return (lambda sample: sample.arrays["depth"]) if readers else None
    if not readers:
        raise InputError("--depth-from tells depth to what deblurs, and nothing here does: leave it out.")
    teller = _run(options.depth_from, replace(options, samples=0))
    if teller.renders and "depth" in teller.outputs:
        raise InputError(
            f"{options.depth_from} learned a mask and looks at captures that are rendered through it, which "
            "--depth-from has none of: let it look at the store's own with --captures stored, or give another run."
        )
    if "depth" not in teller.outputs or teller.reads_depth or teller.input != "capture":
        raise InputError(f"{options.depth_from} does not tell depth of captures: give another run as --depth-from.")
    _check(teller, store)
    return lambda sample: teller.predict(sample.arrays[teller.input], None)["depth"]


def _baseline(name: str, store: Store, options: Options) -> Judged:
    if name not in BASELINES:
        raise InputError(f"there is no baseline {name!r}: choose from {', '.join(BASELINES)}.")
    method = BASELINES[name](store)
    if isinstance(method, Restorer):
        facts = {"baseline": method.words} | ({"depth": _depth_words(options)} if method.reads_depth else {})
        return Judged(
            name=name, group=name, input="capture", predict=lambda image, depth: {"aif": method.restore(image, depth)},
            facts=facts, outputs=("aif",), reads_depth=method.reads_depth,
        )  # fmt: skip
    return Judged(
        name=name, group=name, input="capture", predict=lambda image, depth: {"depth": method.predict(image)},
        facts={"baseline": method.words},
    )  # fmt: skip


def _check_names(judged: list[Judged]) -> None:
    """Give runs whose folders have the same name different ones."""
    seen: dict[str, int] = {}
    for one in judged:
        seen[one.name] = seen.get(one.name, 0) + 1
        if seen[one.name] > 1:
            one.name = f"{one.name} ({seen[one.name]})"


def _split(judged: list[Judged], store: Store) -> str:
    for one in judged:
        if one.predictor is not None:
            return one.predictor.config.data.validation_split
    return "test" if "test" in store.splits else next(iter(store.splits))


def _check(one: Judged, store: Store) -> None:
    needed = [one.input, *one.outputs, *(["depth"] if one.renders or one.reads_depth else [])]
    for name in needed:
        if name not in store.recipe.arrays:
            raise InputError(
                f"{store.path} has no array {name!r}, which {one.name} needs; it has {', '.join(store.recipe.arrays)}."
            )
    if one.predictor is None:
        return
    settings = one.predictor.config.data
    cameras = {f"the training data of {one.name}": camera for camera in one.predictor.cameras}
    cameras[str(store.path)] = Camera.of(store.recipe)
    check_cameras(cameras, settings.camera, mixed=settings.mixed_cameras, psf=bool(settings.through_lens))
    if one.predictor.optics is not None and not one.renders:
        check_captures(one.predictor, store, one.name)


def _begin(one: Judged, store: Store, options: Options) -> None:
    protocol = PROTOCOLS[options.protocol]
    near, far = store.recipe.scenes.depth
    edges = np.geomspace(near, far, CURVE_BINS + 1) if np.isfinite(far) else None
    if "depth" in one.outputs:
        one.depth = DepthScores(protocol, depth_edges=edges)
        if (camera := common_lens([Camera.of(store.recipe)])) is not None and np.isfinite(far):
            # The phase is counted where masks are designed, if not said otherwise: at 550 nm.
            scale = camera.coc_per_dioptre * camera.defocus_per_coc(DESIGN_WAVELENGTH)
            one.defocus = DefocusScores(scale=scale, depth=(near, far), protocol=protocol)
        if options.samples and one.predictor is not None:
            one.uncertainty = UncertaintyScores(protocol, edges)
    if "aif" in one.outputs:
        one.images = ImageScores()


def _rows(store: Store, split: str, options: Options) -> int:
    rows = int(store.array(split, "index").shape[0])
    return rows if options.limit is None else min(rows, options.limit)


def _samples(store: Store, split: str, rows: int) -> Iterator[Sample]:
    sources = store.sources(split)
    for row in range(rows):
        yield Sample(row, sources[row], store.sample(split, row))


def _judge(one: Judged, sample: Sample, depth: Depth | None, options: Options, found: Shown) -> None:
    picture = one.look(sample)
    said = one.predict(picture, depth if one.reads_depth else None)
    found.pictures[one.name] = picture
    if one.depth is not None:
        found.predictions[one.name] = said["depth"]
        one.depth.add(said["depth"], sample.arrays["depth"], sample.valid)
    if one.defocus is not None:
        one.defocus.add(said["depth"], sample.arrays["depth"], sample.valid)
    if one.images is not None:
        aif = sample.arrays["aif"]
        found.restored[one.name] = np.rint(np.clip(said["aif"], 0, 1) * 255).astype(np.uint8)
        one.images.add(said["aif"], aif.astype(np.float32) / np.iinfo(aif.dtype).max)
    if one.uncertainty is not None and one.predictor is not None:
        with one.predictor.sampling():
            sampled = monte_carlo(one.predictor.sampled_depth, picture, options.samples)
        one.uncertainty.add(sampled.mean, sampled.std, sample.arrays["depth"], sample.valid)
        found.spread[one.name] = sampled.std
