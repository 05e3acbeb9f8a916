"""What a dataset can be exported as: names, what each layout needs and holds, what is lost. Light to import."""

from dataclasses import dataclass

ALL = (
    "aif", "depth", "valid", "coc", "capture", "raw", "dual", "stack", "stack_raw",
    "focus", "f_number", "intrinsics", "pose", "drawn",
)  # fmt: skip
"""Arrays of a store, see `arrays.REGISTRY`."""
OF_STACKS = ("focus", "f_number", "intrinsics")


@dataclass(frozen=True, slots=True)
class Kind:
    """A layout that other programs read.

    Attributes
    ----------
    name
        What `--as` calls it.
    title
        Whose layout it is.
    needs
        Arrays without which there is none of it.
    takes
        Arrays that it holds if the store has them.
    holds
        What is in it, in a few words.
    loss
        What the store has and it has not.
    depth
        What its numbers of depth are.
    unknown
        What stands for unknown depth.
    splits
        Names that splits may have in it; empty if any.
    options
        Those of `base.Options` that concern it.
    back
        How defocal reads it again.
    """

    name: str
    title: str
    needs: tuple[str, ...]
    takes: tuple[str, ...]
    holds: str
    loss: str
    depth: str
    unknown: str
    splits: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    back: str = ""

    @property
    def arrays(self) -> tuple[str, ...]:
        """All arrays that are read for it, in the order of the registry."""
        return tuple(name for name in ALL if name in {*self.needs, *self.takes})


KINDS = {
    kind.name: kind
    for kind in (
        Kind(
            "folder",
            "pictures and depth maps, as `--scenes folder:` reads them",
            ("aif", "depth"),
            ("capture", "dual", "stack", "raw", "stack_raw", *OF_STACKS, "pose", "drawn"),
            "PNG of 8 or 16 bits, depth as 16-bit PNG, cameras as JSON",
            "depth beyond whole units (1 mm); CoC",
            "whole numbers of 16 bits",
            "0",
            options=("depth_unit", "beyond"),
            back="--scenes folder:OUT",
        ),
        Kind(
            "ddff-hdf5",
            "DDFF 12-Scene's HDF5 files",
            ("stack", "depth"),
            (*OF_STACKS, "drawn"),
            "focal stacks and disparity, a file for train and val and one for test",
            "all-in-focus images; CoC; focus distances, which loaders do not look at",
            "disparity in pixels, float32",
            "0",
            splits=("train", "val", "test"),
            back="read_scenes('ddff12', FILE).stack(i)",
        ),
        Kind(
            "defocusnet",
            "DefocusNet's fs_6 (Maximov et al. 2020)",
            ("stack", "depth"),
            ("aif", *OF_STACKS, "drawn"),
            "TIFF slices and half-float OpenEXR depth in one folder, training samples first",
            "bits beyond 8; focus distances and lens, which are constants of the loader",
            "metres, half floats",
            "0",
            back="--scenes folder:OUT, with aif",
        ),
        Kind(
            "dff-wild",
            "Depth from Focus in the Wild (Won and Jeon 2022): simulator and end-to-end loader",
            ("stack", "depth"),
            ("coc", *OF_STACKS, "drawn"),
            "ten PNG slices, focus_distance.txt, focal_length.txt and two .mat files for each sample",
            "bits beyond 8; all-in-focus images",
            "metres, float64",
            "0",
        ),
        Kind(
            "d3net",
            "D3-Net's and 2HDED's training folders",
            ("capture", "depth"),
            ("aif", "drawn"),
            "rgb/SPLIT, depth/SPLIT (16-bit PNG) and aif/SPLIT, paired by order",
            "bits beyond 8; depth beyond whole units (1 mm); focus distances",
            "whole numbers of 16 bits",
            "0",
            options=("depth_unit", "beyond", "images"),
            back="--scenes folder:OUT, with aif",
        ),
        Kind(
            "zedd",
            "ZEDD (Zero-Shot Depth from Defocus, 2026)",
            ("stack", "depth", *OF_STACKS),
            ("aif", "drawn"),
            "JPEG photographs by focus distance and aperture, depth.npy, K.txt, metadata.txt",
            "exact pixels, as photographs are JPEG; bits beyond 8; CoC",
            "metres, float32",
            "NaN",
            splits=("val", "test"),
            back="--scenes zedd:OUT",
        ),
        Kind(
            "webdataset",
            "WebDataset tar shards",
            (),
            ALL,
            "all arrays: PNG where they are pictures of 8 bits, .npy otherwise; JSON",
            "nothing",
            "metres, float32",
            "NaN",
            options=("shard_bytes",),
        ),
    )
}
