"""WebDataset: tar files of samples, with nothing but the standard library."""

import io
import json
import os
import tarfile
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ...synth.arrays import sample_bytes
from .base import Files, Layout, Sample
from .kinds import KINDS, Kind
from .pictures import npy, png

MOST_SAMPLES = 10000
"""In one tar file."""
PARTIAL = ".partial"


class WebDataset(Layout):
    """WebDataset: ``SPLIT-000000.tar``, in which the files of a sample follow one another and share its name.

    Pictures of 8 bits are ``NAME.capture.png``, slices ``NAME.stack.00.png``; all else is ``NAME.depth.npy``, pictures
    of 16 bits too, as the usual decoders would silently make 8 of them. ``NAME.json`` holds the sample's facts.
    Headers are plain ustar without times and owners.

    Source: the WebDataset format as its own documents describe it: the key ends at the first dot.
    """

    KIND: ClassVar[Kind] = KINDS["webdataset"]

    def __init__(self, job: Any, folder: Path) -> None:
        super().__init__(job, folder)
        sizes = sample_bytes(job.recipe, job.size)
        raw = sum(sizes[name] for name in job.arrays)
        self.per_tar = int(max(1, min(MOST_SAMPLES, job.options.shard_bytes // raw)))
        self._tar: tarfile.TarFile | None = None

    def encode(self, sample: Sample) -> Files:
        """Return the members of a sample, its JSON last."""
        files: Files = []
        for name, array in sample.arrays.items():
            picture = array.dtype == np.uint8 and array.shape[-1:] == (3,)
            if picture and array.ndim == 4:
                files += [
                    (f"{sample.name}.{name}.{self.job.numbered(k)}.png", png(image)) for k, image in enumerate(array)
                ]
            elif picture:
                files.append((f"{sample.name}.{name}.png", png(array)))
            else:
                files.append((f"{sample.name}.{name}.npy", npy(array)))
        text = json.dumps(sample.facts, separators=(",", ":"))
        return [*files, (f"{sample.name}.json", text.encode())]

    def put(self, sample: Sample, files: Files) -> list[Path]:
        """Add a sample to its tar file, and finish that when it is full or the split's last."""
        number, within = divmod(sample.place_in_split, self.per_tar)
        path = self.folder / f"{sample.split}-{number:06d}.tar"
        beside = path.with_name(path.name + PARTIAL)
        if self._tar is None:
            self._tar = tarfile.open(beside, "w", format=tarfile.USTAR_FORMAT)  # noqa: SIM115
        for name, content in files:
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), 0o644
            self._tar.addfile(member, io.BytesIO(content))
        if within + 1 < self.per_tar and sample.place_in_split + 1 < self.job.count_of(sample.split):
            return []
        self._tar.close()
        self._tar = None
        os.replace(beside, path)
        return [path]

    @property
    def at_rest(self) -> bool:
        """Whether the last tar file is complete."""
        return self._tar is None

    def close(self) -> None:
        """Let go of a tar file that is not complete."""
        if self._tar is not None:
            self._tar.fileobj.close()

    def facts(self) -> dict[str, Any]:
        """Return the tar files of each split, in the notation that loaders expand."""
        shards = {}
        for split, there in self.job.splits.items():
            last = -(-self.job.counts[split] // self.per_tar) - 1
            shards[there] = f"{there}-{{000000..{last:06d}}}.tar"
        return {"samples_per_tar": self.per_tar, "shards": shards}

    def reading(self) -> list[str]:
        """Return how loaders open the tar files."""
        shards = self.facts()["shards"]
        return [
            *(f'    webdataset.WebDataset("OUT/{names}").decode("rgb8")' for names in shards.values()),
            "Depth is NaN where unknown. Arrays that are no pictures of 8 bits are .npy, which `decode` reads as "
            "they are.",
        ]
