"""ZEDD's folders: photographs by focus distance and aperture, with scanned depth."""

from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from ... import InputError
from ...synth.files import write_atomically
from ...synth.slices import reference_slice
from .base import Files, Layout, Sample, common, same, spoken
from .kinds import KINDS, Kind
from .pictures import jpeg, npy

MOTOR = ("6D3E", "4EA8", "3B39", "2D09", "2371", "1DB4", "183F", "1657", "1113")
"""Codes of the benchmark's nine runs: its loader has that of the fifth in the name of the all-in-focus file."""
MIDDLE, SHARP = 5, 16.0
"""Run and f-number of the photograph that the benchmark takes as all-in-focus."""


class Zedd(Layout):
    """ZEDD: ``SPLIT/SCENE/focus_stack/img_run_1_motor_6D3E_aperture_F1.4.jpg``, ``gt/depth.npy``, ``gt/K.txt``.

    Run 1 is the nearest focus; ``metadata.txt`` gives run, motor code and focus distance, once for all scenes. Depth is
    float32, metres, NaN unknown. The all-in-focus picture is ``img_run_5_motor_2371_aperture_F16.0.jpg``: the slice at
    f/16 and the fifth distance where there is one, as in ZEDD, otherwise `aif`. Photographs are JPEG of quality 100
    without subsampling of colour. Depth and intrinsics are in the frame of the stack's reference slice.

    Sources: the dataset's card and the authors' reader (princeton-vl/FOSSA).
    """

    KIND: ClassVar[Kind] = KINDS["zedd"]

    def check(self) -> list[str]:
        """Check that focus distances are those of all samples, and that file names tell apertures apart."""
        self.focus = common(self.job, "focus", "focus distances")
        self.runs = np.unique(self.focus)
        f_numbers = np.unique(np.concatenate(list(self.job.first_rows("f_number")))).tolist()
        if len({f"{f_number:.1f}" for f_number in f_numbers}) < len(f_numbers):
            raise InputError(
                f"zedd has f-numbers with one decimal in the names of files, which do not tell those of "
                f"{self.job.store.path} apart ({', '.join(f'{f:g}' for f in f_numbers)}): generate it with others."
            )
        if "aif" not in self.job.recipe.arrays and not (SHARP in f_numbers and len(self.runs) >= MIDDLE):
            raise InputError(
                f"zedd needs an all-in-focus picture: {self.job.store.path} has neither aif nor slices at f/16 of at "
                f"least "
                f"{MIDDLE} distances; add aif to output.arrays and generate it again."
            )  # fmt: skip
        return [
            f"f/{f_number:g} is F{f_number:.1f} in the names of files."
            for f_number in f_numbers
            if not np.isclose(f_number, float(f"{f_number:.1f}"), rtol=1e-6)
        ]

    def label(self, sample: Sample) -> str:
        """Return the sample's folder."""
        return f"{sample.split}/{sample.split}_{sample.name}"

    def encode(self, sample: Sample) -> Files:
        """Return photographs, depth and intrinsics of a sample."""
        arrays = sample.arrays
        same(self.job, self.focus, arrays["focus"], "focus distances")
        home = self.label(sample)
        photographs: dict[str, npt.NDArray[Any]] = {}
        for image, focus, f_number in zip(arrays["stack"], arrays["focus"], arrays["f_number"], strict=True):
            run = int(np.searchsorted(self.runs, focus)) + 1
            photographs[_name(run, float(f_number))] = image
        if "aif" in arrays:
            photographs.setdefault(_name(MIDDLE, SHARP), arrays["aif"])
        matrix = arrays["intrinsics"][reference_slice(self.job.recipe, arrays["focus"].tolist())]
        lines = [" ".join(map(spoken, row)) for row in matrix]
        return [
            *((f"{home}/focus_stack/{name}", jpeg(photographs[name])) for name in sorted(photographs)),
            (f"{home}/gt/depth.npy", npy(arrays["depth"])),
            (f"{home}/gt/K.txt", ("\n".join(lines) + "\n").encode()),
        ]

    def finish(self) -> None:
        """Write the focus distance of each run."""
        rows = [f"run_{run}\t{motor(run)}\t{spoken(distance)}\n" for run, distance in enumerate(self.runs, 1)]
        write_atomically(self.folder / "metadata.txt", "".join(rows))

    def facts(self) -> dict[str, Any]:
        """Return the focus distance of each run, metres."""
        return {"focus": {f"run_{run}": float(spoken(distance)) for run, distance in enumerate(self.runs, 1)}}

    def reading(self) -> list[str]:
        """Return where its loader looks."""
        return [
            "    ln -s OUT dataset/datasets/ZEDD    # in a checkout of princeton-vl/FOSSA",
            f"`fd_list` counts runs from 0, here 0 to {len(self.runs) - 1}. Again as scenes, from the all-in-focus "
            f"pictures: "
            "`--scenes zedd:OUT`.",
        ]  # fmt: skip


def motor(run: int) -> str:
    """Return the motor code of a run, four digits of hexadecimal: ZEDD's own for its nine."""
    return MOTOR[run - 1] if run <= len(MOTOR) else f"{run:04X}"


def _name(run: int, f_number: float) -> str:
    return f"img_run_{run}_motor_{motor(run)}_aperture_F{f_number:.1f}.jpg"
