"""Using a trained model: from the folder of a run, or its checkpoint alone, to depth in metres."""

import contextlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from .. import InputError
from ..synth.camera import ThinLens
from ..synth.pupil import mask_from
from .batches import linear_to_srgb, srgb_to_linear
from .cameras import Camera, common_depth, common_lens, common_numbers
from .checkpoint import BEST, LAST, checkpoint_of, load_checkpoint
from .config import Config
from .devices import pick_device
from .given import Images, Numbers, as_batch, check_numbers, focus_beside, intrinsics_beside, lens_beside, native
from .models import Model, enable_dropout, restore
from .optics.module import FinishedMask, Optics, check_camera
from .seeds import key
from .targets import Target

__all__ = ["Images", "Predictor", "as_batch", "load_model"]

BEYOND = 2.0
"""Times farther or nearer than any of a bank's PSFs: depth of which all is so is no depth in metres."""


class Predictor:
    """A trained model and the camera that it was trained for. Make one with `load_model`.

    Attributes
    ----------
    config
        What it was trained with.
    facts
        The stores that it was trained on: names, digests, cameras.
    step
        Steps after which these weights were kept.
    steps, last
        Steps of the whole training, and those that it has made.
    optics
        The mask that was learned with the model, and the camera around it; None of a run on captures.
    """

    def __init__(
        self, state: Mapping[str, Any], origin: str, device: torch.device, heads: Sequence[str] | None = None
    ) -> None:
        self.config = Config.parse(json.loads(state["config"]), origin=f"the config in {origin}")
        self.facts: list[dict[str, Any]] = json.loads(state["data"])
        self.step: int = state["step"]
        self.steps: int = state["steps"]
        self.last = self.step
        self.device = device
        self.model: Model = restore(self.config.model, state["average"] or state["model"], heads).to(device)
        self.target = Target(self.config.target, self.lens, common_depth(self.cameras))
        self.optics = self._optics(state, origin)

    def _optics(self, state: Mapping[str, Any], origin: str) -> Optics | None:
        if self.config.optics is None:
            return None
        try:
            kept = state["optics"]
            mask = FinishedMask(mask_from(json.loads(kept["mask"])), kept["numbers"])
        except (ValueError, LookupError, TypeError, AttributeError, OverflowError, RecursionError) as error:
            raise InputError(f"{origin} holds no usable mask ({str(error).rstrip('.')}): fetch a fresh copy.") from None
        lens = check_camera(self.lens)
        encoded = self.facts[0]["encoding"] == "srgb"
        optics = Optics(self.config.optics, lens, common_depth(self.cameras), encoded=encoded, mask=mask)
        return optics.to(self.device)

    @property
    def decodes(self) -> bool:
        """Whether the model works in linear light on images that are stored in sRGB."""
        return self.config.data.light == "linear" and self.facts[0]["encoding"] == "srgb"

    @property
    def cameras(self) -> list[Camera]:
        """Camera of each store that it was trained on."""
        return [Camera.of_dict(fact["camera"]) for fact in self.facts]

    @property
    def lens(self) -> ThinLens | None:
        """The camera of the training data; None where samples had cameras of their own."""
        return common_lens(self.cameras)

    def check_lens(self, lens: ThinLens) -> None:
        """Refuse images of another camera: depth from them would be wrong, and nothing would tell.

        Raises
        ------
        InputError
            Naming what differs.
        """
        if not isinstance(lens, ThinLens):
            raise InputError(f"lens must be a ThinLens of defocal.synth, not of type {type(lens).__name__}.")
        for name, mine in common_numbers(self.cameras).items():
            theirs = getattr(lens, name)
            if not np.isclose(theirs, mine, rtol=1e-3):
                raise InputError(
                    f"these images have {name} {theirs:g}, and the model was trained for {mine:g}: depth would be "
                    "wrong. Train on a store of this camera."
                )

    @torch.no_grad()
    def predict(
        self, images: Images, lens: ThinLens | None = None, *, focus: Numbers | None = None,
        depth: npt.NDArray[np.floating[Any]] | None = None, capture: Images | None = None,
        intrinsics: npt.NDArray[np.floating[Any]] | None = None, anywhere: bool = False,
    ) -> dict[str, npt.NDArray[np.float32]]:  # fmt: skip
        """Tell depth, or an all-in-focus image, or both, of images or of focal stacks.

        Parameters
        ----------
        images
            (h, w, 3) or (n, h, w, 3), uint8, uint16, or float in [0, 1], encoded as in the store trained on; any size.
            Of a model of stacks (S, h, w, 3) or (n, S, h, w, 3).
        lens
            The camera of the images, which must be that of the training data; not checked if left out.
        focus
            (S,) or (n, S) metres, in any order: where each slice of a stack is focused.
        depth
            (h, w) or (n, h, w) metres, NaN unknown: what a model that deblurs reads beside the images; measured, or
            told by another model.
        capture
            (h, w, 3) or (n, h, w, 3), as images: the single picture that some models read beside a stack.
        intrinsics
            (S, 3, 3) or (n, S, 3, 3) pixels: camera matrices of the slices, where a model reads them.
        anywhere
            Take depth or focus of which nothing is known, or all is far from what the model has seen; else it is
            refused, as it is hardly in metres.

        Returns
        -------
        "depth" (h, w) or (n, h, w) float32, metres; "aif" (..., h, w, 3) float32: what the model tells, by the names of
        its outputs.

        Raises
        ------
        InputError
            If the images are not such, or of another camera, or what the model reads beside them is missing or does
            not fit.
        """
        if lens is not None:
            self.check_lens(lens)
        self._check_wanted(focus=focus, capture=capture, intrinsics=intrinsics, depth=depth)
        given = self._pictures(images, capture)
        if self.reads_stacks:
            given["focus"] = focus_beside(given["stack"], focus, common_depth(self.cameras), anywhere=anywhere)
            given["sharp_at"] = self.target.sharp_at(given["focus"])
        if self.reads_depth:
            given["depth"] = self._depth_beside(images, depth, anywhere)
        if "intrinsics" in self.model.inputs:
            given["intrinsics"] = intrinsics_beside(given["stack"], intrinsics)
        if "lens" in self.model.inputs:
            given["lens"] = lens_beside(len(next(iter(given.values()))), lens, given.get("focus"))
        said = self.tensors({name: value.to(self.device) for name, value in given.items()})
        found = {}
        for name, value in said.items():
            if value.ndim == 3:
                found[name] = value.cpu().numpy()
            else:
                shown = linear_to_srgb(value) if self.decodes else value
                found[name] = shown.permute(0, 2, 3, 1).cpu().numpy()
        single = images.ndim == (4 if self.reads_stacks else 3)
        return {name: array[0] if single else array for name, array in found.items()}

    def _pictures(self, images: Images, capture: Images | None) -> dict[str, torch.Tensor]:
        """Return what the model sees: `image`, or `stack`, or both."""
        found = {"stack" if self.reads_stacks else "image": as_batch(images, stacks=self.reads_stacks)}
        if self.reads_capture:
            if capture is None:
                raise InputError(
                    "the model reads a single picture beside the stack: give predict(images, capture=...)."
                )
            found["image"] = as_batch(capture, "capture")
            if (len(found["image"]), *found["image"].shape[2:]) != (len(found["stack"]), *found["stack"].shape[3:]):
                raise InputError(f"the capture is {capture.shape} and the stack {images.shape}: give both in one size.")
        return {name: srgb_to_linear(one) if self.decodes else one for name, one in found.items()}

    def _check_wanted(self, **given: object) -> None:
        """Refuse what is given and not read: who gives it takes the model for another."""
        reads = {"focus": self.reads_stacks, "capture": self.reads_capture}
        for name, value in given.items():
            if value is not None and not reads.get(name, name in self.model.inputs):
                what = "focal stacks" if self.reads_stacks else "single pictures"
                raise InputError(f"the model reads {what} and no {name}: leave {name} out.")

    @property
    def reads_stacks(self) -> bool:
        """Whether the model reads focal stacks."""
        return "stack" in self.model.inputs

    @property
    def reads_capture(self) -> bool:
        """Whether the model reads a single picture beside a stack."""
        return self.reads_stacks and "image" in self.model.inputs

    @property
    def reads_depth(self) -> bool:
        """Whether the model reads depth beside the image."""
        return "depth" in self.model.inputs

    def _depth_beside(
        self, images: Images, depth: npt.NDArray[np.floating[Any]] | None, anywhere: bool
    ) -> torch.Tensor:
        if depth is None:
            raise InputError(
                f"the model {self.config.model.kind} deblurs by depth: give predict(images, depth=...) in metres, "
                "measured or as another model tells it."
            )
        check_numbers(depth, "depth")
        if depth.shape != images.shape[:-1]:
            raise InputError(f"depth must have shape {images.shape[:-1]} as the images have, not {depth.shape}.")
        metres = np.asarray(depth, np.float32)
        if not anywhere:
            self._check_metres(metres)
        return torch.from_numpy(metres if images.ndim == 4 else metres[None])

    def _check_metres(self, depth: npt.NDArray[np.float32]) -> None:
        """Refuse depth of which nothing is near what the bank covers: millimetres, or numbers that mean another thing.

        Where only some of it lies beyond, the PSF of the nearest plane is taken.
        """
        bank = dict(self.model.named_buffers())
        coc, (per_dioptre, focus) = bank["bank_coc"].cpu(), bank["bank_optics"].tolist()
        dioptres = [float(end) / per_dioptre + focus for end in (coc[-1], coc[0])]
        nearest, farthest = (1 / one if one > 0 else np.inf for one in dioptres)
        known = depth[depth > 0]
        far = known.size and (known.max() < nearest / BEYOND or known.min() > farthest * BEYOND)
        if known.size and not far:
            return
        what = f"is from {known.min():g} to {known.max():g}" if known.size else "is nowhere above 0"
        raise InputError(
            f"depth {what}, and the PSFs of the model are of {nearest:.3g} to {farthest:.3g} m: give depth in metres."
        )

    @torch.no_grad()
    def capture(self, aif: Images, depth: npt.NDArray[np.floating[Any]], sample: int = 0) -> Images:
        """Make of a sharp picture what the camera behind the learned mask sees, as a store would hold it.

        Parameters
        ----------
        aif
            (h, w, 3), uint8 or uint16, encoded as in the store trained on.
        depth
            (h, w) metres; NaN, or 0 and less, is unknown.
        sample
            A number on which the sensor's noise depends, beside the run's seed.

        Returns
        -------
        (h, w, 3) of the type of `aif`, which `predict` takes.

        Raises
        ------
        InputError
            If the run learned no mask, or these are no such arrays.
        """
        if self.optics is None:
            raise InputError("this run was trained on captures: it has no mask to render with.")
        check_numbers(aif, "aif")
        check_numbers(depth, "depth")
        if not isinstance(sample, int | np.integer) or abs(int(sample)) >= 2**63:
            raise InputError(f"sample must be a whole number below 2**63, not {str(sample)[:40]!r}.")
        if aif.ndim != 3 or depth.shape != aif.shape[:2] or native(aif.dtype) not in (np.uint8, np.uint16):
            raise InputError(
                f"a capture is made of (h, w, 3) uint8 or uint16 and (h, w) metres, not {aif.shape} {aif.dtype} and "
                f"{depth.shape}."
            )
        known = np.isfinite(depth) & (depth > 0)
        if not known.any():
            raise InputError("a capture needs some known depth, in metres above 0: there is none.")
        batch = {
            "aif": as_batch(aif), "depth": torch.from_numpy(np.where(known, depth, 1.0).astype(np.float32))[None],
            "valid": torch.from_numpy(known)[None], "index": torch.tensor([sample]),
        }  # fmt: skip
        moved = {name: tensor.to(self.device) for name, tensor in batch.items()}
        image = self.optics(moved, key(self.config.seed, "capture"))["image"][0]
        most = 255 if aif.dtype == np.uint8 else 65535
        found: Images = np.rint(image.permute(1, 2, 0).cpu().numpy() * most).astype(aif.dtype)
        return found

    @torch.no_grad()
    def tensors(self, batch: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Return depths (b, h, w) in metres and "aif" (b, 3, h, w) of a batch on the model's device, of any size."""
        outputs = {name: value.float() for name, value in self.model.predict(dict(batch)).items()}
        return outputs | {name: self.target.decode(outputs[name]) for name in self.model.told_depths.values()}

    def check_dropout(self) -> None:
        """Refuse a model that drops nothing.

        Raises
        ------
        InputError
            If it does.
        """
        with self.sampling():
            pass

    @contextlib.contextmanager
    def sampling(self) -> Iterator[None]:
        """Have dropout draw anew at each prediction: samples of a Bayesian posterior (D3-Net section 3.4).

        Raises
        ------
        InputError
            If the model drops nothing.
        """
        try:
            enable_dropout(self.model)
            yield
        finally:
            self.model.eval()

    def sampled(self, image: Images, sample: int, **beside: Any) -> dict[str, npt.NDArray[np.float32]]:
        """Return what `predict` does of one image; what dropout leaves out depends on the number of the sample."""
        torch.manual_seed(key(self.config.seed, "dropout", sample))
        return self.predict(image, **beside)


def _check_call(run: object, heads: object) -> None:
    if not isinstance(run, str | os.PathLike):
        raise InputError(f"the run must be the path of its folder or checkpoint, not of type {type(run).__name__}.")
    if heads is not None and not (isinstance(heads, Sequence) and all(isinstance(one, str) for one in heads)):
        raise InputError(f'heads must be a list of names, for example ["depth"], not {str(heads)[:40]!r}.')


def load_model(
    run: str | Path, *, which: str = "best", device: str = "auto", heads: str | Sequence[str] | None = None
) -> Predictor:
    """Load a trained model.

    Parameters
    ----------
    run
        Folder of a run, or a checkpoint.
    which
        "best" by validation, or "last".
    device
        "auto", "cpu", "cuda", "cuda:1" or "mps".
    heads
        What to tell, of the model's outputs, such as "depth" and "aif": the other heads of a model of several are not
        built. All by default.

    Raises
    ------
    InputError
        If there is no such run, or its checkpoint cannot be used, or the model has no such head.
    """
    _check_call(run, heads)
    heads = (heads,) if isinstance(heads, str) else heads
    path = checkpoint_of(run, which)
    predictor = Predictor(load_checkpoint(path), str(path), pick_device(device), heads)
    if path.name == BEST and (path.parent / LAST).is_file():
        predictor.last = load_checkpoint(path.parent / LAST)["step"]
    return predictor
