"""Depth and an all-in-focus picture of a real focal stack, end to end: photographs in, a folder of pictures out."""

import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import InputError, __version__
from ..evaluate.fusion import fuse_by_depth, fuse_by_pyramid
from ..evaluate.pictures import as_codes, encoded, png_bytes
from ..evaluate.stack_depth import Aggregation, depth_from_stack, distance_words
from ..evaluate.stack_methods import METHODS, Method
from ..evaluate.stack_page import DepthScale, StackPage, depth_picture, stack_page
from ..synth.camera import ThinLens
from ..synth.files import write_atomically
from .aside import check_new, write_aside
from .photographs import find_photographs, focus_distances, read_photographs, shown_name
from .registration import Registration, by_lens, register

Float32 = npt.NDArray[np.float32]

_MILLIMETRES = 65535
_LEAST = 0.1
"""Confidence below which the depth of a photograph's pixel is that of its neighbours."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Ways:
    """How a stack is read and judged.

    Attributes
    ----------
    focus
        Focus distances, or the file that has them; None if they are not known.
    arbitrary
        Focus distances are known up to a scale: their unit is their own.
    method
        Of `depth_from_stack`.
    run
        A trained model in its place.
    align
        Register the slices.
    focal_length
        Bring them onto each other by this lens, in metres, and not by their pictures.
    size
        Most pixels of the longer edge.
    radius
        Of the windows that focus measures are averaged over; by the size of the pictures if left out.
    fill
        Give uncertain pixels the depth of neighbours; else they are unknown.
    fusion
        "pyramid" or "depth": how the all-in-focus picture is made.
    device
        Where a trained model computes.
    """

    focus: str | None = None
    arbitrary: bool = False
    method: Method = "sml"
    run: Path | None = None
    align: bool = False
    focal_length: float | None = None
    size: int = 1280
    radius: int | None = None
    fill: bool = True
    fusion: str = "pyramid"
    device: str = "auto"

    @property
    def unit(self) -> str | None:
        """Unit of depth: "m", "" if it is that of the focus distances, None if depth is in slices."""
        return None if self.focus is None else "" if self.arbitrary else "m"


@dataclass(frozen=True, eq=False, kw_only=True)
class Told:
    """What was found: depth in the unit of the focus distances, or in slices from 1; (H, W)."""

    depth: Float32
    aif: Float32
    confidence: Float32 | None
    words: str


def write_depth(
    folder: Path, out: Path, ways: Ways, report: Callable[[str], None] = lambda step: None
) -> tuple[list[tuple[str, str]], list[str], list[Path]]:
    """Tell depth of a folder of photographs, and write it into a new folder, which is whole or absent.

    Parameters
    ----------
    folder
        Holds the photographs of one stack.
    out
        A new or empty folder.
    ways
        How.
    report
        Is told what is under way.

    Returns
    -------
    Facts in words, notes, and the files.

    Raises
    ------
    InputError
        If photographs, distances or the model cannot be used.
    """
    check_new(out)
    _check(ways)
    paths = find_photographs(folder)
    focus = None if ways.focus is None else focus_distances(ways.focus, len(paths))
    report(f"reading {len(paths)} photographs")
    stack = read_photographs(paths, ways.size)
    registration = _registered(stack, focus, ways, report)
    slices = stack if registration is None else registration.slices
    report("telling depth")
    told = _told(slices, focus, ways)
    facts = _facts(paths, stack, focus, ways, registration, told)
    notes = _notes(stack, focus, ways, registration, told)
    labels = [""] * len(paths) if focus is None else distance_words(focus, ways.unit or "")
    page = StackPage(
        title=shown_name(folder.resolve()), facts=dict(facts), notes=notes, slices=slices, labels=labels,
        depth=told.depth, unit=ways.unit, aif=as_codes(told.aif), confidence=told.confidence,
    )  # fmt: skip
    record = _record(paths, focus, ways, registration)
    report("writing")
    write_aside(out, lambda aside: _fill(aside, page, told, record), "depth")
    return facts, notes, sorted(out.iterdir())


def _check(ways: Ways) -> None:
    if ways.run is not None and ways.focus is None:
        raise InputError("a trained model reads focus distances: give them with --focus.")
    if ways.arbitrary and ways.focus is None:
        raise InputError("--arbitrary is for the distances of --focus, and there are none.")
    if ways.arbitrary and ways.run is not None:
        raise InputError("a trained model knows metres: give --focus in metres, without --arbitrary.")
    classical = (ways.method, ways.radius, ways.fill, ways.fusion) != ("sml", None, True, "pyramid")
    if ways.run is not None and classical:
        raise InputError("--method, --radius, --no-fill and --fusion are not for a trained model: leave them out.")
    if ways.focal_length is not None and (not ways.align or ways.focus is None):
        raise InputError("--focal-length is for --align, and needs the focus distances of --focus.")


def _registered(
    stack: npt.NDArray[Any], focus: list[float] | None, ways: Ways, report: Callable[[str], None]
) -> Registration | None:
    if not ways.align or len(stack) < 2:
        return None
    report("registering the slices")
    if focus is not None and ways.focal_length is not None:
        return by_lens(stack, focus, ways.focal_length)
    return register(stack, focus)


def _told(slices: npt.NDArray[Any], focus: list[float] | None, ways: Ways) -> Told:
    if ways.run is not None and focus is not None:
        return _predicted(slices, focus, ways, ways.run)
    aggregation = _aggregation(ways, max(slices.shape[1:3]))
    found = depth_from_stack(slices, focus, method=ways.method, aggregation=aggregation, fill=ways.fill)
    by_pyramid = ways.fusion == "pyramid"
    aif = fuse_by_pyramid(slices) if by_pyramid else fuse_by_depth(slices[found.slices], found.index)
    depth = found.depth if focus is not None else found.depth + np.float32(1)
    return Told(depth=depth, aif=aif, confidence=found.confidence, words=_method_words(ways, aggregation.radius))


def _aggregation(ways: Ways, longest: int) -> Aggregation:
    """Return windows and smoothing for photographs, which are noisier and larger than rendered stacks.

    They grow with the picture, so that a photograph reduced to another size gives the same depth.
    """
    radius = max(2, round(longest / 160)) if ways.radius is None else ways.radius
    return Aggregation(radius=radius, guided=True, strength=(longest / 16) ** 2, contrast=0.015, least=_LEAST)


def _predicted(slices: npt.NDArray[Any], focus: list[float], ways: Ways, run: Path) -> Told:
    from ..train.prediction import load_model

    predictor = load_model(run, device=ways.device)
    if predictor.reads_capture and "depth" in predictor.model.outputs:
        # Of several depths the stack's own: nothing is photographed beside it.
        predictor = load_model(run, device=ways.device, heads=["depth"])
    reads = predictor.model.inputs
    if "stack" not in reads:
        raise InputError(f"{run} reads single captures, not focal stacks: give a run of a stack model.")
    lens = _lens(predictor) if "lens" in reads else None
    if "lens" in reads and lens is None:
        raise InputError(f"{run} reads the lens, and was trained for several: give a run of one camera.")
    for name, what in {"image": "a single capture", "intrinsics": "camera matrices"}.items():
        if name in reads:
            raise InputError(f"{run} reads {what} beside the stack, which photographs do not have: give another run.")
    said: dict[str, Any] = predictor.predict(slices, lens, focus=np.asarray(focus, np.float32))
    if "depth" not in said:
        raise InputError(f"{run} tells no depth: give a run that does.")
    aif = np.clip(said["aif"], 0, 1) if "aif" in said else fuse_by_pyramid(slices)
    return Told(depth=said["depth"], aif=aif, confidence=None, words=f"the model of {run.name}")


def _lens(predictor: Any) -> ThinLens | None:
    """Return the lens that a model of stacks was trained for; None if there were several."""
    from ..train.cameras import common_numbers

    numbers = common_numbers(predictor.cameras)
    if not {"focal_length", "f_number", "pixel_pitch"} <= numbers.keys():
        return None
    # Where it is focused is told slice by slice.
    return ThinLens(**{"focus_distance": math.inf, **numbers})


def _method_words(ways: Ways, radius: int) -> str:
    side = 2 * radius + 1
    return f"{METHODS[ways.method]}, windows of {side}x{side} px"


def _facts(
    paths: list[Path], stack: npt.NDArray[Any], focus: list[float] | None, ways: Ways,
    registration: Registration | None, told: Told,
) -> list[tuple[str, str]]:  # fmt: skip
    height, width = told.depth.shape
    facts = [
        ("photographs", f"{len(paths)}, {shown_name(paths[0])} to {shown_name(paths[-1])}"),
        ("size", f"{width}x{height} px"),
        ("focus", "not known" if focus is None else ", ".join(distance_words(focus, ways.unit or ""))),
        ("depth", f"{_range(told.depth, ways.unit)}, by {told.words}"),
        ("all in focus", "by the model" if ways.run else f"by {ways.fusion}"),
    ]
    if registration is not None:
        how = "the lens" if ways.focal_length is not None else "the pictures"
        scale = registration.moves[:, 0]
        shift = float(np.abs(registration.moves[:, 1:]).max())
        facts.append((
            "registered",
            f"by {how} onto {shown_name(paths[registration.reference])}: {100 * (1 - scale.min()):.2f} % of breathing, "
            f"shifts of up to {shift:.1f} px; neighbouring slices differ by {registration.after:.2f} codes of 255 rms, "
            f"{registration.before:.2f} before",
        ))  # fmt: skip
    return facts


def _range(depth: Float32, unit: str | None) -> str:
    """Say between what all but a hundredth of the known depth lies; infinity is a depth like others."""
    known = np.sort(depth[~np.isnan(depth)])
    if not known.size:
        return "nowhere known"
    near, far = (known[round(share * (known.size - 1))] for share in (0.005, 0.995))
    return f"{near:.4g} to {far:.4g} {'(slices)' if unit is None else unit or '(the unit of the focus)'}"


def _notes(
    stack: npt.NDArray[Any], focus: list[float] | None, ways: Ways, registration: Registration | None, told: Told
) -> list[str]:
    notes = []
    if focus is None:
        notes.append(
            "Focus distances are not known: depth is told in slices, the first is 1, with fractions between them."
        )
    elif ways.arbitrary:
        notes.append("Focus distances are in a unit of their own: so is depth, and there is no depth-mm.png.")
    elif (told.depth > _MILLIMETRES / 1000).any():
        notes.append("Depths beyond 65.535 m are 65535 in depth-mm.png; depth.npy has them as they are.")
    if len(stack) == 1:
        notes.append("One slice tells no depth: all of it is that slice's distance.")
    elif focus is not None and len(set(focus)) == 1:
        notes.append("Slices at one distance tell no depth: all of it is that distance.")
    elif told.confidence is not None and not (told.confidence >= _LEAST).any():
        notes.append(
            "Nowhere is one slice clearly sharper than the others: the depth means nothing. Are they focused at "
            "different distances, and does the view have texture?"
        )
    if registration is not None and registration.slices.shape != stack.shape:
        top, bottom, left, right = registration.box
        notes.append(
            f"Cut to what all slices see: rows {top} to {bottom - 1} and columns {left} to {right - 1} of the "
            "reference."
        )
    return notes


def _record(
    paths: list[Path], focus: list[float] | None, ways: Ways, registration: Registration | None
) -> dict[str, Any]:
    found: dict[str, Any] = {
        "defocal": __version__, "photographs": [shown_name(path) for path in paths],
        "focus" if ways.arbitrary else "focus_m": (
            None if focus is None else [d if np.isfinite(d) else "infinity" for d in focus]
        ),
        "depth_unit": "slice, the first is 1" if ways.unit is None else ways.unit or "that of the focus distances",
        "options": {k: str(v) if isinstance(v, Path) else v for k, v in asdict(ways).items() if k != "device"},
    }  # fmt: skip
    if registration is not None:
        found["registration"] = {
            "reference": registration.reference, "scale": registration.moves[:, 0].tolist(),
            "shift_px": registration.moves[:, 1:].tolist(), "box_px": list(registration.box),
            "rms_before": registration.before, "rms_after": registration.after,
        }  # fmt: skip
    return found


def _fill(folder: Path, page: StackPage, told: Told, record: dict[str, Any]) -> None:
    with (folder / "depth.npy").open("wb") as file:
        np.save(file, told.depth.astype(np.float32))
    scale = DepthScale.of(told.depth, unit=page.unit, slices=len(page.slices))
    write_atomically(folder / "depth.png", png_bytes(depth_picture(told.depth, scale)))
    if page.unit == "m":
        write_atomically(folder / "depth-mm.png", encoded(_millimetres(told.depth), ".png"))
    write_atomically(folder / "all-in-focus.png", png_bytes(page.aif))
    if told.confidence is not None:
        write_atomically(folder / "confidence.png", encoded(as_codes(told.confidence), ".png"))
    write_atomically(folder / "depth.json", json.dumps(record, indent=1, allow_nan=False) + "\n")
    write_atomically(folder / "depth.html", stack_page(page))


def _millimetres(depth: Float32) -> npt.NDArray[np.uint16]:
    """Return whole millimetres, 0 where depth is unknown."""
    metres = np.nan_to_num(depth.astype(np.float64), nan=0.0, posinf=_MILLIMETRES)
    return np.rint(np.clip(1000 * metres, 0, _MILLIMETRES)).astype(np.uint16)
