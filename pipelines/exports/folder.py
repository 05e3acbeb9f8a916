"""Plain folders of pictures and depth maps: `folder`, and D3-Net's, which are the same but for their names."""

import json
from typing import Any, ClassVar

from ...evaluate.pictures import eight_bits
from ...synth.files import flush_to_disk
from .base import Files, Layout, Sample
from .kinds import KINDS, Kind
from .pictures import depth_codes, jpeg, png

VIEWS = ("left", "right")


class Folder(Layout):
    """Pictures by what they are, depth maps beside them, and a list of names for each split.

    ``rgb/NAME.png`` (all-in-focus) and ``depth/NAME.png`` (16 bits) pair by name, as the reader `folder` expects;
    ``capture``, ``raw``, ``dual/NAME-left.png``, ``stack/NAME/00.png`` and ``stack_raw`` lie beside them as far as the
    store has them. ``SPLIT.txt`` lists the names of a split, as `scenes.listing` takes them.
    """

    KIND: ClassVar[Kind] = KINDS["folder"]

    def encode(self, sample: Sample) -> Files:
        """Return the pictures of a sample."""
        arrays, name = sample.arrays, sample.name
        files = [(f"rgb/{name}.png", png(arrays["aif"])), (f"depth/{name}.png", png(depth_codes(self.job, sample)))]
        files += [(f"{one}/{name}.png", png(arrays[one])) for one in ("capture", "raw") if one in arrays]
        if "dual" in arrays:
            files += [(f"dual/{name}-{view}.png", png(arrays["dual"][k])) for k, view in enumerate(VIEWS)]
        for one in ("stack", "stack_raw"):
            files += [
                (f"{one}/{name}/{self.job.numbered(k)}.png", png(image)) for k, image in enumerate(arrays.get(one, ()))
            ]
        return files

    def finish(self) -> None:
        """Write the list of each split."""
        lists = {split: (self.folder / f"{split}.txt").open("w", newline="\n") for split in self.job.splits.values()}
        try:
            with (self.folder / "samples.jsonl").open() as table:
                for line in table:
                    facts = json.loads(line)
                    lists[facts["split"]].write(f"rgb/{facts['name']}\n")
        finally:
            for file in lists.values():
                file.close()
        for split in lists:
            flush_to_disk(self.folder / f"{split}.txt")

    def facts(self) -> dict[str, Any]:
        """Return the unit of depth."""
        return {"depth_unit": self.job.options.depth_unit}

    def reading(self) -> list[str]:
        """Return the options of the reader `folder`."""
        unit, split = self.job.options.depth_unit, next(iter(self.job.splits.values()))
        recipe = self.job.recipe
        options = [f"--set scenes.listing=OUT/{split}.txt", f"--set 'output.splits={{{split}=1.0}}'"]
        options += [] if unit == 0.001 else [f"--set scenes.depth_unit={unit:g}"]
        if recipe.output.encoding != "srgb":
            options.append(f"--set scenes.encoding={recipe.output.encoding}")
        return [
            "defocal reads it again as scenes, one split at a time:",
            f"    defocal generate RECIPE NEW --scenes folder:OUT {' '.join(options)}",
            "`samples.jsonl` has the cameras: focal length and pixel pitch in metres, f-number, focus distances in "
            "metres, "
            "camera matrices in pixels, of each slice where there are several.",
        ]  # fmt: skip


class D3Net(Layout):
    """D3-Net's folders: ``rgb/SPLIT/NAME.png``, ``depth/SPLIT/NAME.png`` and, for 2HDED, ``aif/SPLIT/NAME.png``.

    Its loader pairs the sorted files of ``rgb`` (*.png in one of its versions, *.jpg in another) with those of each
    task's folder (*.png); depth is an image of 16 bits, divided by `--scale_to_mm` to metres. 2HDED's reads rgb and
    aif as *.jpg and depth as *.png.
    """

    KIND: ClassVar[Kind] = KINDS["d3net"]

    def label(self, sample: Sample) -> str:
        """Return the sample's files without what they are of."""
        return f"{sample.split}/{sample.name}"

    def encode(self, sample: Sample) -> Files:
        """Return the pictures of a sample."""
        extension = self.job.options.images
        encode = jpeg if extension == "jpg" else lambda image: png(eight_bits(image))
        place = self.label(sample)
        files = [(f"rgb/{place}.{extension}", encode(sample.arrays["capture"]))]
        if "aif" in sample.arrays:
            files.append((f"aif/{place}.{extension}", encode(sample.arrays["aif"])))
        return [*files, (f"depth/{place}.png", png(depth_codes(self.job, sample)))]

    def facts(self) -> dict[str, Any]:
        """Return the unit of depth, and how its loader is told of it."""
        return {"depth_unit": self.job.options.depth_unit, "scale_to_mm": f"{1 / self.job.options.depth_unit:.12g}"}

    def reading(self) -> list[str]:
        """Return the options of its training script."""
        names = [name for name in self.job.splits.values() if name in ("train", "val", "test")]
        named = " ".join(f"--{name}_split {name}" for name in names)
        scale, images = self.facts()["scale_to_mm"], self.job.options.images
        lines = [
            f"    python main.py --dataroot OUT --tasks depth --scale_to_mm {scale} {named}".rstrip(),
            f"The version of its loader (`dataset_std` in dataloader/dataset_bank.py) must list *.{images} in rgb/.",
        ]
        if "aif" in self.job.arrays:
            lines.append(
                "Again as scenes, one split at a time: `--scenes folder:OUT --set 'scenes.rgb=aif/SPLIT/*'"
                f" --set 'scenes.depth_map=depth/SPLIT/*' --set scenes.depth_unit={self.job.options.depth_unit:g}"
                " --set 'output.splits={SPLIT=1.0}'`."
            )
        return lines
