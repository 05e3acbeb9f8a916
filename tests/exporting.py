"""Datasets to export, and what the loaders of other programs read, in a few lines each.

The functions named after programs do what the code of those programs does to a file: which names they look for, in
which order, with which types and scales.
"""

import glob
import json
import os
import tarfile
from pathlib import Path

import cv2
import h5py
import numpy as np
from PIL import Image

from defocal.pipelines.generate import create, run
from defocal.synth import Recipe
from defocal.synth.samples import SampleMaker

FOCAL, BASELINE = 521.4052, 1982.0250823695178 / 7317.020641763665 * 1e-3  # of DDFF 12-Scene's light fields
CAMERA = {"focal_length": "10 mm", "f_number": 2.0, "focus_distance": "1.6 m", "pixel_pitch": "40 um"}


def frames(folder, count, size=(40, 56)):
    """Colour images with depth in quarters of a millimetre, a tenth of it unknown."""
    rng = np.random.default_rng(7)
    for name in ("rgb", "depth"):
        (folder / name).mkdir(parents=True)
    for i in range(count):
        image = cv2.resize(rng.integers(0, 255, (8, 8, 3), dtype=np.uint8), size[::-1], interpolation=cv2.INTER_CUBIC)
        depth = np.broadcast_to(np.linspace(3800 + 400 * i, 12000, size[1]), size).astype(np.uint16).copy()
        depth[rng.random(size) < 0.1] = 0
        cv2.imwrite(str(folder / f"rgb/{i}.png"), image)
        cv2.imwrite(str(folder / f"depth/{i}.png"), depth)
    return folder


def dataset(out, count=5, size=(40, 56), **changes):
    """A dataset of such frames."""
    scenes = {
        "kind": "folder", "path": str(frames(out.with_name(out.name + "-frames"), count, size)),
        "depth": [0.5, 7.0], "depth_unit": "0.25 mm",
    }  # fmt: skip
    data = {"version": 1, "name": out.name, "seed": 13, "scenes": scenes, "camera": CAMERA}
    data["output"] = {"splits": {"train": 0.6, "test": 0.4}} | changes.pop("output", {})
    maker = SampleMaker(Recipe.parse(data | changes))
    assert not run(out, maker, create(out, maker)).failed
    return out


def contents(folder):
    """Bytes of every file, by its path."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def table(folder):
    return [json.loads(line) for line in (folder / "samples.jsonl").read_text().splitlines()]


def ddff_pytorch(path, stack_key, disp_key, i):
    file = h5py.File(path, "r")
    assert len(file[stack_key]) == file[stack_key].shape[0]
    return file[stack_key][i].astype(float), file[disp_key][i]


def half_exr(path):
    import OpenEXR

    image = OpenEXR.InputFile(path)
    window = image.header()["dataWindow"]
    size = (window.max.y - window.min.y + 1, window.max.x - window.min.x + 1)
    red, _, _ = image.channels("RGB")
    return np.frombuffer(red, np.float16).reshape(size)


def defocus_net(root, slices, max_depth):
    """All samples: (256, 256, 3 x slices) in 0 to 1, and depth in parts of `max_depth`."""
    files = [f for f in os.listdir(root) if os.path.isfile(os.path.join(root, f))]
    images, depths = sorted(f for f in files if f[-7:] == "All.tif"), sorted(f for f in files if f[-7:] == "Dpt.exr")
    samples = []
    for i, name in enumerate(depths):
        depth = np.clip(half_exr(root + name), 0.0, max_depth) / max_depth
        stack = np.zeros((256, 256, 0))
        for k in range(slices):
            picture = np.array(Image.open(root + images[i * slices + k])) / 255.0
            stack = np.concatenate((stack, picture), axis=2)
        samples.append((stack, depth))
    return samples


def dff_in_the_wild(path):
    """Slices (BGR, cropped by a twelfth), focus distances and relative fields of view of a scene's folder."""
    files = sorted(f for f in os.listdir(path) if f.endswith(".png") or f.endswith("jpg"))
    height, width, _ = cv2.imread(path + files[0]).shape
    y, x = height // 12, width // 12
    with open(path + "focus_distance.txt") as file:
        lines = file.readlines()
        focus = np.asarray([float(lines[i]) for i in range(10)])
    with open(path + "focal_length.txt") as file:
        focal = float(file.readline())
    view = 1 / focal - 1 / focus
    stack = np.stack([cv2.imread(path + files[i]).astype(np.float32)[y:-y, x:-x] for i in range(10)], axis=3)
    return stack, focus, view / view.min()


def d3net(root, split, tasks, extension):
    images = sorted(glob.glob(os.path.join(root, "rgb", split, f"*.{extension}")))
    targets = [sorted(glob.glob(os.path.join(root, task, split, "*.png"))) for task in tasks]
    return images, targets


def fossa(root, split, runs, f_number):
    """Of each scene of ZEDD: all-in-focus picture, depth, intrinsics, stack and focus distances."""
    root, metadata, scenes = Path(root), {}, []
    for line in (root / "metadata.txt").read_text().splitlines():
        run, code, distance = line.strip().split("\t")
        metadata[run] = (code, float(distance))
    for scene in sorted((root / split).iterdir()):
        folder = scene / "focus_stack"
        sharp = np.array(Image.open(folder / "img_run_5_motor_2371_aperture_F16.0.jpg").convert("RGB"))
        depth = np.asarray(np.load(scene / "gt" / "depth.npy")).astype(np.float32)
        names = [f"img_run_{k + 1}_motor_{metadata[f'run_{k + 1}'][0]}_aperture_F{f_number:.1f}.jpg" for k in runs]
        stack = np.stack([np.array(Image.open(folder / name).convert("RGB")) for name in names])
        focus = [metadata[f"run_{k + 1}"][1] for k in runs]
        scenes.append((sharp, depth, np.loadtxt(scene / "gt" / "K.txt"), stack, focus))
    return scenes


def web_dataset(path):
    """Samples of a tar file: members by what follows the first dot of their names."""
    samples = {}
    with tarfile.open(path) as tar:
        for member in tar:
            key, _, extension = member.name.partition(".")
            samples.setdefault(key, {})[extension] = tar.extractfile(member).read()
            assert (member.mtime, member.uid, member.gid, member.uname, member.gname) == (0, 0, 0, "", "")
    return samples
