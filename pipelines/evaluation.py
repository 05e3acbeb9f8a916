"""Evaluation: trained models and classical baselines on a store, judged by the field's metrics."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from .. import InputError
from ..evaluate.defocus_errors import DefocusScores
from ..evaluate.metrics import PROTOCOLS, DepthScores, ImageScores
from ..evaluate.pictures import as_codes
from ..evaluate.silhouettes import SilhouetteScores
from ..evaluate.uncertainty import UncertaintyScores, monte_carlo
from ..synth.pupil.masks import DESIGN_WAVELENGTH
from ..synth.store import Store, open_store
from ..train.cameras import Camera, check_cameras, common_lens
from ..train.checkpoint import checkpoint_of
from .captures import check_captures
from .classical import Aligner, Depth, Picture, Told
from .judged import (
    Judged,
    Options,
    Sample,
    Seen,
    beside,
    judged_baseline,
    judged_run,
    name_apart,
    samples_of,
)

__all__ = ["Evaluation", "Options", "Shown", "evaluate"]

CURVE_BINS = 12
SLICES_SHOWN = 3
"""Slices of a stack on the page: the nearest, the farthest, and what lies between."""


@dataclass(frozen=True, eq=False)
class Shown:
    """A sample as the page shows it, with what each judged one said, by name.

    `pictures` are the single pictures that some were given, `given` the slices of a stack and what lies beside them,
    by their captions.
    """

    sample: Sample
    given: dict[str, Picture] = field(default_factory=dict)
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
    unregistered
        Stacks whose slices baselines saw as they are, as they could not be registered.
    """

    store: Store
    split: str
    samples: int
    options: Options
    judged: list[Judged]
    shown: list[Shown]
    unregistered: int = 0


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
    _check_once(runs, options)
    judged = [one for path in runs for one in judged_run(path, options, store)]
    aligner = Aligner(store)
    judged += [judged_baseline(name, store, options, aligner) for name in options.baselines]
    if not judged:
        raise InputError("nothing to evaluate: give the folder of a run, or --baseline.")
    if options.captures not in ("rendered", "stored"):
        raise InputError(f"captures are rendered or stored, not {options.captures!r}.")
    name_apart(judged)
    split = options.split or _split(judged, store)
    source = _depth_source(judged, store, split, options)
    for one in judged:
        _check(one, store, split)
        _begin(one, store, options)
    rows = _rows(store, split, options)
    if begin is not None:
        begin(rows)
    shown = []
    wanted = set(np.linspace(0, rows - 1, min(options.pictures, rows)).round().astype(int).tolist())
    for row, sample in enumerate(samples_of(store, split, rows)):
        found = Shown(sample)
        depth = source(sample) if source is not None else None
        told: dict[Callable[..., Told], tuple[Seen, Told]] = {}
        for one in judged:
            if one.predict not in told:
                seen = one.look(sample)
                told[one.predict] = seen, one.predict(seen, depth if one.reads_depth else None)
            _judge(one, *told[one.predict], store, options, found)
        if row in wanted:
            shown.append(found)
        if report is not None:
            report(1)
    return Evaluation(store, split, rows, options, judged, shown, aligner.failed)


def _check_once(runs: Sequence[Path], options: Options) -> None:
    given = [*(str(checkpoint_of(run, options.which).resolve()) for run in runs), *options.baselines]
    names = [*map(str, runs), *options.baselines]
    if twice := next((name for name, one in zip(names, given, strict=True) if given.count(one) > 1), None):
        raise InputError(f"{twice} is given twice, which would look like two seeds: give each run and baseline once.")


def _depth_source(judged: list[Judged], store: Store, split: str, options: Options) -> Callable[[Sample], Depth] | None:
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
    teller = judged_run(options.depth_from, replace(options, samples=0), store)[0]
    if teller.renders and "depth" in teller.outputs:
        raise InputError(
            f"{options.depth_from} learned a mask and looks at captures that are rendered through it, which "
            "--depth-from has none of: let it look at the store's own with --captures stored, or give another run."
        )
    if "depth" not in teller.outputs or teller.reads_depth or teller.input != "capture":
        raise InputError(f"{options.depth_from} does not tell depth of captures: give another run as --depth-from.")
    _check(teller, store, split)
    return lambda sample: teller.predict(teller.look(sample), None)[teller.tells]


def _split(judged: list[Judged], store: Store) -> str:
    for one in judged:
        if one.predictor is not None:
            return one.predictor.config.data.validation_split
    return "test" if "test" in store.splits else next(iter(store.splits))


def _check(one: Judged, store: Store, split: str) -> None:
    needed = [one.input, *one.outputs, *(["depth"] if one.renders or one.reads_depth else [])]
    needed += ["capture"] if one.reads_capture else []
    for name in needed:
        if name not in store.recipe.arrays:
            raise InputError(
                f"{store.path} has no array {name!r}, which {one.name} needs; it has {', '.join(store.recipe.arrays)}: "
                f"{_instead(one, name)}."
            )
    if one.predictor is None:
        return
    settings = one.predictor.config.data
    cameras = {f"the training data of {one.name}": camera for camera in one.predictor.cameras}
    cameras[str(store.path)] = Camera.of(store.recipe)
    check_cameras(
        cameras, settings.camera, mixed=settings.mixed_cameras, psf=bool(settings.through_lens),
        captures="capture" in settings.extra, allow="",
    )  # fmt: skip
    if one.input == "stack":
        one.predictor.model.check_slices(int(store.array(split, "stack").shape[1]))
    if one.predictor.optics is not None and not one.renders:
        check_captures(one.predictor, store, one.name)


def _instead(one: Judged, name: str) -> str:
    if name == "capture" and one.predictor is not None and one.predictor.optics is not None:
        return "leave --captures stored out, and captures are rendered"
    return "give another dataset, or generate it with that name in output.arrays"


def _begin(one: Judged, store: Store, options: Options) -> None:
    protocol = PROTOCOLS[options.protocol]
    near, far = store.recipe.scenes.depth
    edges = np.geomspace(near, far, CURVE_BINS + 1) if np.isfinite(far) else None
    if "depth" in one.outputs:
        one.depth = DepthScores(protocol, depth_edges=edges)
        one.silhouettes = SilhouetteScores(protocol)
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


def _judge(one: Judged, seen: Seen, said: Told, store: Store, options: Options, found: Shown) -> None:
    sample = seen.sample
    if seen.focus is None:
        found.pictures[one.name] = seen.picture
    else:
        found.given.update(_slices(seen))
    if one.depth is not None:
        found.predictions[one.name] = said[one.tells]
        one.depth.add(said[one.tells], sample.arrays["depth"], sample.valid)
    if one.silhouettes is not None:
        one.silhouettes.add(said[one.tells], sample.arrays["depth"], sample.valid)
    if one.defocus is not None:
        one.defocus.add(said[one.tells], sample.arrays["depth"], sample.valid)
    if one.images is not None:
        aif = sample.arrays["aif"]
        found.restored[one.name] = as_codes(said["aif"])
        one.images.add(said["aif"], aif.astype(np.float32) / np.iinfo(aif.dtype).max)
    if one.uncertainty is not None and one.predictor is not None:
        predictor, more = one.predictor, beside(one.predictor, seen, store)

        def sampled_depth(picture: Picture, number: int) -> npt.NDArray[np.float32]:
            return predictor.sampled(picture, number, **more)[one.tells]

        with predictor.sampling():
            sampled = monte_carlo(sampled_depth, seen.picture, options.samples)
        one.uncertainty.add(sampled.mean, sampled.std, sample.arrays["depth"], sample.valid)
        found.spread[one.name] = sampled.std


def _slices(seen: Seen) -> dict[str, Picture]:
    """Return some slices of a stack by their captions, the nearest first, and the capture beside them."""
    assert seen.focus is not None
    order = np.argsort(seen.focus, kind="stable")
    places = order[np.unique(np.linspace(0, len(order) - 1, SLICES_SHOWN).round().astype(int))]
    found: dict[str, Picture] = {f"Slice focused at {seen.focus[k]:.3g} m": seen.picture[k] for k in places.tolist()}
    return found if seen.capture is None else {**found, "Capture": seen.capture}
