"""Emulated processors, and recipes of every kind reduced to seconds; as a program, generates them all in one process.

An emulated processor is a set of environment variables that take from numpy, numba, the C library, OpenCV and OpenBLAS
what an older processor lacks. They must be set before a process starts.
"""

import hashlib
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

_NUMPY_V4 = "X86_V4 AVX512_ICL AVX512_SPR"
_GLIBC_V4 = ",".join(f"-{name}" for name in ("AVX512F", "AVX512VL", "AVX512BW", "AVX512DQ", "AVX512CD"))
_OPENCV_V4 = "AVX512-SKX,AVX512-CNL,AVX512-CLX,AVX512-ICL"

PROCESSORS = {
    "this one": {},
    "x86-64-v3": {
        "NPY_DISABLE_CPU_FEATURES": _NUMPY_V4,
        "NUMBA_CPU_NAME": "haswell",
        "NUMBA_CPU_FEATURES": "",
        "GLIBC_TUNABLES": f"glibc.cpu.hwcaps={_GLIBC_V4}",
        "OPENCV_CPU_DISABLE": _OPENCV_V4,
        "OPENCV_IPP": "avx2",
        "OPENBLAS_CORETYPE": "Haswell",
        "NUMBA_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
    },
    "x86-64-v2": {
        "NPY_DISABLE_CPU_FEATURES": f"X86_V3 {_NUMPY_V4}",
        "NUMBA_CPU_NAME": "nehalem",
        "NUMBA_CPU_FEATURES": "",
        "GLIBC_TUNABLES": f"glibc.cpu.hwcaps={_GLIBC_V4},-AVX2,-AVX,-FMA,-FMA4,-F16C,-BMI1,-BMI2",
        "OPENCV_CPU_DISABLE": f"{_OPENCV_V4},AVX2,FMA3,AVX,FP16",
        "OPENCV_IPP": "sse42",
        "OPENBLAS_CORETYPE": "Nehalem",
        "NUMBA_NUM_THREADS": "2",
        "OPENBLAS_NUM_THREADS": "2",
    },
}
"""Levels of the x86-64 psABI, by the environment that emulates each on a newer one; numpy needs v2 at least."""

_SMALL, _TINY = "scenes.size=[96, 128]", "scenes.size=[48, 64]"
_FRAMES = ("--scenes", "folder:{inputs}/frames", _SMALL, "camera.f_number=1.4")
_NOISY = ("sensor.preset=dslr", "sensor.gain=16.0")

_LIGHT = (
    "2hded", "d3net-2m", "d3net-4m", "d3net-8m", "d3net-dslr", "dff-wild-mixed", "dff-wild-note10", "dff-wild-pixel4xl",
    "dff-wild-pixel6", "dff-wild-s8plus", "dual-pixel", "levin-coded", "macro-phone", "quickstart", "street-80m",
    "udfd-nyu",
)  # fmt: skip
_HEAVY = (
    "ddff-lightfield", "phasecam3d-fisher", "rpsf-double", "rpsf-noisy", "rpsf-nyu", "rpsf-single", "zedd-grid",
)  # fmt: skip

SHIPPED = {
    **{name: (name, _SMALL) for name in _LIGHT},
    **{name: (name, _TINY) for name in _HEAVY},
    "fossa": ("fossa", _SMALL, "camera.pixel_pitch=281.25e-6"),
    "rpsf-learned": ("rpsf-learned", "--mask", "{inputs}/mask.json", _TINY),
    "hci-refocused": ("hci-refocused", "--scenes", "hci:{inputs}/hci"),
}
"""Every recipe that ships, with changes that make it small; "{inputs}" is the folder of `write_inputs`."""
OTHERS = {
    "folder": ("d3net-2m", *_FRAMES, "scenes.align=2"),
    "photographs": ("quickstart", _SMALL, "scenes.textures={inputs}/photos", "scenes.lights=[2, 6]"),
    "exact": ("quickstart", _TINY, "render.method=exact", "render.samples=64"),
    "exact folder": ("d3net-2m", *_FRAMES, "render.method=exact", "render.samples=16"),
    "hasinoff": ("quickstart", _SMALL, "render.model=hasinoff", "render.planes=16"),
    "normalised-over": ("quickstart", _SMALL, "render.model=normalised-over", "render.planes=16"),
    "gather": ("quickstart", _SMALL, "render.model=gather", "render.planes=16"),
    "eq7": ("rpsf-nyu", _TINY, "render.model=eq7"),
    "encoded light": ("quickstart", _SMALL, "render.light=srgb"),
    "iris": ("quickstart", _SMALL, 'psf={{ kind = "aperture", blades = 6, roundness = 0.3, rotation = 0.2 }}'),
    "mura": ("quickstart", _SMALL, 'psf={{ kind = "aperture", pattern = "mura-13" }}'),
    "cat-eye": ("quickstart", _TINY, 'psf={{ kind = "cat-eye", clipping = 0.5 }}'),
    "measured": ("quickstart", _TINY, 'psf={{ kind = "measured", path = "{inputs}/psf.npz" }}'),
    "zernike": ("rpsf-single", _TINY, 'psf.mask={{ kind = "zernike", coefficients = [0, 0, 0, 0, 0.5, 0.3, 1] }}'),
    "small mask": ("rpsf-nyu", _TINY, "psf.size=17", "psf.samples=128"),
    "drawn mask": ("rpsf-nyu", _TINY, "camera.focus_distance={{ uniform = [4.0, 6.0] }}", "psf.samples=128"),
    "distorted": ("quickstart", _SMALL, "camera.distortion=[-0.2, 0.05]"),
    "hand": ("udfd-nyu", _SMALL, "stack.breathing=true", "stack.hand_rotation=0.002", "stack.hand_translation=0.001"),
    "edge-aware": ("quickstart", _SMALL, *_NOISY, "sensor.demosaic=edge-aware", "output.bits=16"),
    "bilinear": ("quickstart", _SMALL, *_NOISY, "sensor.demosaic=bilinear", "sensor.shot_noise=normal"),
    "raw stack": ("dff-wild-pixel6", _SMALL, "sensor.preset=phone", "sensor.prnu=0.01", "sensor.dsnu=2.0",
                  "output.encoding=linear", "output.bits=16", 'output.arrays=["depth", "stack", "stack_raw"]'),
    "drawn lens": ("d3net-2m", _SMALL, "camera.f_number={{ log-uniform = [1.4, 8.0] }}",
                   "camera.focus_distance={{ inverse-uniform = [1.0, 8.0] }}"),
}  # fmt: skip
"""What no shipped recipe does."""
KINDS = {**SHIPPED, **OTHERS}
SLOWLY = (
    "2hded", "d3net-2m", "dff-wild-pixel6", "macro-phone", "street-80m", "fossa", "hci-refocused", "folder",
    "photographs", "iris", "measured", "small mask", "distorted", "hand", "edge-aware", "raw stack", "drawn lens",
)  # fmt: skip
"""Kinds for processors without fused multiply-adds, which do them in software."""


def write_inputs(folder: Path) -> Path:
    """Write RGB-D frames, photographs and a light field for the kinds that read files; return the folder."""
    import cv2
    from datasets_a import hci

    from defocal.synth import SpiralMask, save_mask

    rng = np.random.default_rng(5)
    y, x = np.mgrid[:150, :200].astype(float)
    for name in ("frames/rgb", "frames/depth", "photos"):
        (folder / name).mkdir(parents=True)
    for i in range(2):
        steps = sum(
            np.where((x - cx) ** 2 + (y - cy) ** 2 < r * r, a, 0.0) for cx, cy, r, a in rng.random((6, 4)) * 100
        )
        depth = 1500 + 20 * steps + 4 * y + rng.normal(0, 4, y.shape)
        depth[rng.random(y.shape) < 0.05], depth[40:70, 20:40] = 0, 0
        colour = np.stack([steps + 60 + 40 * np.sin(x / (3 + k)) for k in range(3)], -1) + rng.normal(
            0, 8, (150, 200, 3)
        )
        cv2.imwrite(str(folder / f"frames/rgb/{i}.png"), colour.clip(0, 255).astype(np.uint8))
        cv2.imwrite(str(folder / f"frames/depth/{i}.png"), depth.clip(0, 9999).astype(np.uint16))
    squared = (x[:21, :21] - 10) ** 2 + (y[:21, :21] - 10) ** 2
    blob = (1 / (1 + squared / np.array([9.0, 5.0, 2.0, 6.0])[:, None, None])).astype(np.float32)
    depth = np.array([0.8, 1.2, 1.6, 8.0])
    np.savez(folder / "psf.npz", psf=blob * (1 + 0.2 * rng.random(blob.shape)), depth=depth, pixel_pitch=41e-6)
    for i in range(4):
        photo = rng.integers(0, 256, (75, 100, 3), dtype=np.uint8).repeat(4, axis=0).repeat(4, axis=1)
        cv2.imwrite(str(folder / f"photos/{i}.jpg"), cv2.GaussianBlur(photo, (9, 9), 0))
    save_mask(SpiralMask(lobes=1.3, confinement=0.62, form="rings"), folder / "mask.json")
    size = (48, 64)
    root = hci(folder / "hci", size=size, views=True)
    v, u = np.mgrid[: size[0], : size[1]].astype(float)
    for number in range(81):
        row, column = divmod(number, 9)
        at = (u + column) / 5 + (v + row) / 7
        view = np.rint(128 + 100 * np.sin(math.tau * at[..., None] / np.array([1, 2, 3]))).astype(np.uint8)
        for place in ("training/cotton", "additional/town", "stratified/dots"):
            cv2.imwrite(str(root / place / f"input_Cam{number:03d}.png"), view)
    return folder


def arguments(kind: str, inputs: Path, out: Path, limit: int = 2) -> list[str]:
    """Return the command line that generates a kind's dataset in `out`."""
    recipe, *changes = (word.format(inputs=inputs) for word in KINDS[kind])
    words = ["generate", recipe, str(out), "--limit", str(limit)]
    while changes:
        words += [changes.pop(0), changes.pop(0)] if changes[0].startswith("--") else ["--set", changes.pop(0)]
    return words


def probe() -> dict[str, str]:
    """Digests of what does differ between processors, so that an emulation can be seen to work."""
    values = np.linspace(0.01, 20.0, 20_001)
    matrix = np.random.default_rng(0).random((64, 64))
    found = {
        "exp": np.exp(values),
        "math.exp": np.array([math.exp(-value) for value in values]),
        "matmul": matrix @ matrix.T,
    }
    return {name: hashlib.sha256(result.tobytes()).hexdigest()[:8] for name, result in found.items()}


def generate_all(inputs: Path, out: Path, kinds: list[str]) -> dict[str, dict[str, str]]:
    """Generate kinds in this process; return the digest of each array of each sample, and of the PSF bank."""
    import csv
    import time

    from click.testing import CliRunner

    from defocal.pipelines.cli import cli
    from defocal.synth.store import split_facts, stored_folders

    found = {}
    for kind in kinds:
        folder = out / kind.replace(" ", "-")
        begun = time.monotonic()
        result = CliRunner().invoke(cli, arguments(kind, inputs, folder))
        if result.exit_code:
            raise SystemExit(f"{kind}: {result.output}")
        with (folder / "samples.csv").open() as table:
            rows = {
                f"{row['index']} {name.removeprefix('sha256_')}": digest
                for row in csv.DictReader(table)
                for name, digest in row.items()
                if name.startswith("sha256_")
            }
        found[kind] = rows | {"bank": split_facts(stored_folders(folder)[0])["psf"]["sha256"]}
        print(f"{kind}: {time.monotonic() - begun:.1f} s", file=sys.stderr, flush=True)
    return found


def digest_of(rows: dict[str, str]) -> str:
    """Digest of all digests of a kind."""
    return hashlib.sha256(json.dumps(rows, sort_keys=True).encode()).hexdigest()[:16]


def environment(processor: str) -> dict[str, str]:
    """Return the environment of a process on an emulated processor."""
    return {**os.environ, **PROCESSORS[processor], "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}


def generate_on(processor: str, inputs: Path, out: Path, kinds: list[str]) -> dict[str, dict[str, dict[str, str]]]:
    """Generate kinds on an emulated processor; return what `probe` and `generate_all` do there."""
    words = [sys.executable, __file__, str(inputs), str(out), *kinds]
    done = subprocess.run(words, env=environment(processor), capture_output=True, text=True)
    assert done.returncode == 0, f"{processor}: {done.stderr[-3000:]}"
    found: dict[str, dict[str, dict[str, str]]] = json.loads(done.stdout.splitlines()[-1])
    return found


if __name__ == "__main__":
    inputs, out, *kinds = sys.argv[1:]
    found = generate_all(Path(inputs), Path(out), kinds or list(KINDS))
    print(json.dumps({"probe": probe(), "kinds": found}))
