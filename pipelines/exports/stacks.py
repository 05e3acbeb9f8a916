"""Folders of focal stacks as two networks' loaders read them: DefocusNet's, and Depth from Focus in the Wild's."""

import io
from typing import Any, ClassVar

import numpy as np

from ... import InputError
from ...evaluate.pictures import eight_bits
from .base import Files, Layout, Sample, common, one_aperture, same, spoken
from .kinds import KINDS, Kind
from .pictures import check_range, exr, png, tiff

SIDE = 256
"""Pixels of the side of DefocusNet's pictures: a constant of its loader."""
LENS = 0.0029
"""Metres: the focal length in DefocusNet's loader."""
SLICES = 10
"""Slices that the loaders of Depth from Focus in the Wild read."""
MAT_HEADER = b"MATLAB 5.0 MAT-file"
HALF = float(np.finfo(np.float16).max)


class DefocusNet(Layout):
    """DefocusNet's folder: ``000000_00All.tif`` (slices, nearest focus first) and ``000000Dpt.exr``, all in one.

    Its loader sorts what ends in ``All.tif`` and in ``Dpt.exr``, takes as many slices for each depth map as it is told,
    and 256x256 pixels. Depth is the channel R of half floats, metres; 0 is unknown to the loaders that mask at all. The
    first part of the samples, in the order of their names, is for training: so the split "train" comes first.
    ``000000Aif.png`` is read by none of them; it is no TIFF because AiFDepthNet's list counts those.
    """

    KIND: ClassVar[Kind] = KINDS["defocusnet"]

    def check(self) -> list[str]:
        """Check size and aperture, and that focus distances are those of all samples."""
        one_aperture(self.job)
        if self.job.size != (SIDE, SIDE):
            raise InputError(
                f"the loader of defocusnet takes {SIDE}x{SIDE} pixels, and {self.job.store.path} has "
                f"{self.job.size[1]}x{self.job.size[0]}: generate it with scenes.size = [{SIDE}, {SIDE}]."
            )
        if list(self.job.splits.values()) != sorted(self.job.splits.values(), key=lambda name: name != "train"):
            raise InputError("in defocusnet the split train comes first: name it first with --split.")
        self.focus = common(self.job, "focus", "focus distances")
        self.f_number = common(self.job, "f_number", "f-number")
        focal = self.job.recipe.lens.focal_length
        if np.isclose(focal, LENS):
            return []
        return [
            f"the loader computes circles of confusion for a lens of {LENS * 1e3:g} mm: put {focal:g} in its place, in "
            "`CameraLens(2.9 * 1e-3, ...)`, if you train with them."
        ]

    def label(self, sample: Sample) -> str:
        """Return what the names of the sample's files begin with."""
        return f"{sample.place:06d}"

    def encode(self, sample: Sample) -> Files:
        """Return slices and depth of a sample."""
        same(self.job, self.focus, sample.arrays["focus"], "focus distances")
        same(self.job, self.f_number, sample.arrays["f_number"], "f-number")
        name, stack, depth = self.label(sample), sample.arrays["stack"], sample.arrays["depth"]
        check_range(self.job, sample, (depth > HALF) & np.isfinite(depth), f"half floats hold up to {HALF:g} m")
        order = enumerate(sample.near_first())
        files = [(f"{name}_{self.job.numbered(k)}All.tif", tiff(stack[slice_])) for k, slice_ in order]
        if "aif" in sample.arrays:
            files.append((f"{name}Aif.png", png(sample.arrays["aif"])))
        return [*files, (f"{name}Dpt.exr", exr(np.where(np.isnan(depth), 0, depth).astype(np.float16)))]

    def facts(self) -> dict[str, Any]:
        """Return the loader's parameters."""
        train, total = self.job.count_of("train") or self.job.total, self.job.total
        return {
            "FOCUS_DIST": [float(spoken(distance)) for distance in np.sort(self.focus)],
            "F_NUMBER": float(spoken(self.f_number[0])),
            "INP_IMG_NUM": self.job.slices,
            # The loader takes the whole number below the product.
            "TRAIN_SPLIT": 1.0 if train == total else (train + 0.5) / total,
            "MAX_DPT": self.job.recipe.scenes.depth[1],
        }

    def reading(self) -> list[str]:
        """Return the loader's parameters as its configuration has them."""
        rows = [f"    {name} = {value}" for name, value in self.facts().items()]
        again = [
            "Again as scenes: `--scenes folder:OUT --set 'scenes.rgb=*Aif.png' --set 'scenes.depth_map=*Dpt.exr' --set "
            "scenes.depth_unit=1`."
        ] * ("aif" in self.job.arrays)
        return [
            "Name the folder PATH/fs_6, and give the loader DATA_PATH 'PATH/', DATA_SET 'fs_', DATA_NUM 6, and",
            *rows,
            *again,
            "Depth from Focus in the Wild reads the same files, of five slices, in Datasets/fs_6/train and "
            "Datasets/fs_6/test: export one split into each. Its constants are the focus distances of the published "
            "set.",
        ]  # fmt: skip


class DffWild(Layout):
    """Depth from Focus in the Wild: one folder for each sample in a folder for each split.

    ``img0.png`` to ``img9.png``, farthest focus first; ``focus_distance.txt`` (metres, a line for each) and
    ``focal_length.txt`` (metres), as the end-to-end network's loader reads them; ``depth.mat`` with `depth` (H, W),
    metres, 0 unknown, and `defocus` (H, W, 10), diameter of the circle of confusion in pixels; ``camera_param.mat``
    with the keys of the authors' simulator, lengths in pixels. Depth is in the frame of the stack's reference slice.
    """

    KIND: ClassVar[Kind] = KINDS["dff-wild"]

    def check(self) -> list[str]:
        """Check the number of slices."""
        one_aperture(self.job)
        if self.job.slices != SLICES:
            raise InputError(
                f"the loaders of dff-wild read {SLICES} slices, and {self.job.store.path} has {self.job.slices}: "
                f"generate it with stack.slices = {SLICES}."
            )
        missing = [] if "coc" in self.job.recipe.arrays else ["depth.mat has no `defocus`, as the store has no coc."]
        stack = self.job.recipe.stack
        return missing + ([] if stack and stack.breathing else ["its slices are aligned: stack.breathing is false."])

    def label(self, sample: Sample) -> str:
        """Return the sample's folder."""
        return f"{sample.split}/{sample.name}"

    def encode(self, sample: Sample) -> Files:
        """Return slices, focus distances and depth of a sample."""
        arrays, home = sample.arrays, self.label(sample)
        order = sample.near_first()[::-1]
        depth = arrays["depth"].astype(np.float64)
        maps = {"depth": np.where(np.isnan(depth), 0, depth)}
        if "coc" in arrays:
            diameter = np.abs(arrays["coc"][order]).astype(np.float64)
            maps["defocus"] = np.moveaxis(np.nan_to_num(diameter, nan=0.0), 0, -1)
        focal, pitch = sample.facts["focal_length"], sample.facts["pixel_pitch"]
        camera = {
            "focal_length": focal / pitch,
            "aperture_size": focal / pitch / float(arrays["f_number"][0]),
            "pixel_mm": 1 / pitch,
            "max_focus_dist": float(np.max(depth, where=~np.isnan(depth), initial=0.0)),
            "min_focus_dist": float(np.min(depth, where=~np.isnan(depth), initial=np.inf)),
        }
        focus = "".join(f"{float(spoken(arrays['focus'][k]))}\n" for k in order)
        return [
            *((f"{home}/img{k}.png", png(eight_bits(arrays["stack"][slice_]))) for k, slice_ in enumerate(order)),
            (f"{home}/focus_distance.txt", focus.encode()),
            (f"{home}/focal_length.txt", f"{focal!r}\n".encode()),
            (f"{home}/depth.mat", mat(maps)),
            (f"{home}/camera_param.mat", mat(camera)),
        ]

    def reading(self) -> list[str]:
        """Return where its loaders look."""
        split = next(iter(self.job.splits.values()))
        return [
            f"    ln -s OUT/{split} Datasets    # beside End_to_End/test_real_scenes.py",
            "`scipy.io.loadmat` reads depth.mat and camera_param.mat; the keys of the latter mean what the "
            "simulator's do: "
            "lengths in pixels, `pixel_mm` pixels in a metre, `max_focus_dist` and `min_focus_dist` the scene's "
            "farthest and "
            "nearest depth in metres.",
        ]  # fmt: skip


def mat(values: dict[str, Any]) -> bytes:
    """Write a MATLAB 5 file that does not tell when and where it was written."""
    import scipy.io

    file = io.BytesIO()
    scipy.io.savemat(file, values, do_compression=True)
    content = file.getvalue()
    return MAT_HEADER.ljust(116) + content[116:]
