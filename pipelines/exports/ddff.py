"""DDFF 12-Scene's HDF5 files: focal stacks and disparity."""

from pathlib import Path
from typing import Any, ClassVar

import h5py
import numpy as np

from ...synth.files import flush_to_disk
from ...synth.readers.ddff import FAR, FIELD, NEAR
from ...synth.slices import reference_slice
from .base import Files, Job, Layout, Sample, one_aperture
from .kinds import KINDS, Kind

TRAINVAL, TEST = "ddff-dataset-trainval.h5", "ddff-dataset-test.h5"
CLIPPED = (0.0202, 0.2825)
"""Pixels of disparity that ddff-pytorch trains with; all else it takes for unknown."""


class Ddff(Layout):
    """DDFF 12-Scene's HDF5 files: ``stack_SPLIT`` (N, S, H, W, 3), 0 to 255, and ``disp_SPLIT`` (N, H, W) float32.

    Slices are in the order of focus, nearest first. Disparity is that of DDFF's light field, whatever the camera was:
    z = 521.4052 px x 0.27088 mm / disparity; 0 is unknown. Stacks of 8 bits are uint8; of 16 bits float32 in the same
    range, as the loaders convert to floats anyway. ``focus_SPLIT`` (N, S), metres, is ours: loaders do not look at it.

    Sources: ddff-pytorch and Depth from Focus in the Wild, their readers of these files.
    """

    KIND: ClassVar[Kind] = KINDS["ddff-hdf5"]

    def __init__(self, job: Job, folder: Path) -> None:
        super().__init__(job, folder)
        self._files: dict[str, h5py.File] = {}

    def check(self) -> list[str]:
        """Check the aperture; say whether focus is where the loaders take it to be."""
        one_aperture(self.job)
        notes = []
        disparity = np.linspace(float(FIELD.disparity(NEAR)), float(FIELD.disparity(FAR)), self.job.slices)
        rows = [np.sort(row) for row in self.job.first_rows("focus")]
        if not all(np.allclose(row, FIELD.depth(disparity), rtol=1e-3) for row in rows):
            notes.append(
                f"the readers of DDFF take slices for focused from {NEAR:g} to {FAR:g} m, uniform in disparity, "
                f"which these "
                "are not: their own distances are in focus_SPLIT."
            )  # fmt: skip
        near, far = self.job.recipe.scenes.depth
        first, last = FIELD.depth(np.array(CLIPPED[::-1]))
        if near < 0.99 * first or far > 1.01 * last:
            notes.append(f"ddff-pytorch takes depth outside of {first:.2g} to {last:.2g} m for unknown.")
        if {"train", "val"} - set(self.job.splits.values()) and "train" in self.job.splits.values():
            notes.append("ddff-pytorch trains with a split val too: name one, as in --split train --split test=val.")
        return notes

    def begin(self, done: int) -> None:
        """Open the files and make room for all samples."""
        stack = self.job.recipe.stack
        assert stack is not None
        shape = (self.job.slices, *self.job.size)
        pixels = "u1" if self.job.recipe.output.bits == 8 else "f4"
        for split, there in self.job.splits.items():
            name = TEST if there == "test" else TRAINVAL
            if name not in self._files:
                # libver fixes the version of the file's structures, whatever version of HDF5 writes them.
                self._files[name] = h5py.File(self.folder / name, "w", libver=("earliest", "v108"))
            file, count = self._files[name], self.job.counts[split]
            for array, dims, dtype in (
                ("stack", (*shape, 3), pixels), ("disp", shape[1:], "f4"), ("focus", shape[:1], "f4"),
            ):  # fmt: skip
                file.create_dataset(
                    f"{array}_{there}", (count, *dims), dtype, chunks=(1, *dims), compression="gzip",
                    compression_opts=4, shuffle=dtype == "f4", track_times=False,
                )  # fmt: skip

    def label(self, sample: Sample) -> str:
        """Return where the sample's stack is in its file."""
        return f"stack_{sample.split}/{sample.place_in_split}"

    def encode(self, sample: Sample) -> Files:
        """Return nothing: the file holds all samples."""
        return []

    def put(self, sample: Sample, files: Files) -> list[Path]:
        """Write a sample into its place."""
        file = self._files[TEST if sample.split == "test" else TRAINVAL]
        order, stack = sample.near_first(), sample.arrays["stack"]
        if stack.dtype != np.uint8:
            stack = stack.astype(np.float32) / np.float32(257)
        with np.errstate(divide="ignore"):
            disparity = FIELD.disparity(sample.arrays["depth"].astype(np.float64))
        row = sample.place_in_split
        file[f"stack_{sample.split}"][row] = stack[order]
        file[f"disp_{sample.split}"][row] = np.nan_to_num(disparity, nan=0.0).astype(np.float32)
        file[f"focus_{sample.split}"][row] = sample.arrays["focus"][order]
        return []

    @property
    def at_rest(self) -> bool:
        """A file that is written in half is of no use: an interrupted export begins again."""
        return False

    def finish(self) -> None:
        """Bring the files to the disk."""
        self.close()
        for name in self._files:
            flush_to_disk(self.folder / name)

    def close(self) -> None:
        """Close the files."""
        for file in self._files.values():
            file.close()

    def facts(self) -> dict[str, Any]:
        """Return what disparity means."""
        return {"focal_px": FIELD.focal, "baseline": FIELD.baseline, "depth": "focal_px * baseline / disparity, metres"}

    def reading(self) -> list[str]:
        """Return how the files are opened."""
        recipe = self.job.recipe
        assert recipe.stack is not None
        names = sorted({TEST if there == "test" else TRAINVAL for there in self.job.splits.values()})
        there = next(iter(self.job.splits.values()))
        reference = reference_slice(recipe, np.sort(next(self.job.first_rows("focus"))).tolist())
        return [
            f'    FocalStackDDFFH5Reader("OUT/{names[0]}", stack_key="stack_{there}", disp_key="disp_{there}")',
            f"z = {FIELD.focal:g} px x {FIELD.baseline:.10g} m / disparity. Disparity is in the frame of slice "
            f"{reference}.",
            f"    read_scenes('ddff12', 'OUT/{names[0]}').stack(0)    # defocal: stack, focus distances, depth",
        ]
