"""Time and memory of the differentiable renderer, beside a peer's formulation in plain torch: run with `make bench`.

The peer is Ikoma et al. 2021: every layer's light, mask and sum of masks are blurred by Fourier transforms of the whole
volume (B, C, D, H, W) at once, and autograd keeps what it needs of them. Borders are mirrors, as ours. Each way runs in
a process of its own, on a GPU if there is one; nothing asserts a time, only that both make the same picture.
"""

import json
import os
import re
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812

pytestmark = pytest.mark.bench
BATCH, SIZE, PLANES = 8, 256, 16
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
THREADS = int(os.environ.get("OMP_NUM_THREADS", "1"))
WAYS = ("ikoma", "normalised-over", "layered", "eq7")


def ikoma(aif, plane, kernels):
    """Normalised-over as the paper has it, by real transforms of all layers at once; layer 0 is the farthest."""
    n, (height, width) = kernels.shape[-1], aif.shape[-2:]
    before, after = n - 1 - n // 2, n // 2

    def mirrored(image):
        for axis in (-2, -1):
            size = image.shape[axis]
            ends = image.narrow(axis, 0, before).flip(axis), image.narrow(axis, size - after, after).flip(axis)
            image = torch.cat([ends[0], image, ends[1]], axis)
        return F.pad(image, (0, wide[1] - image.shape[-1], 0, wide[0] - image.shape[-2]))

    wide = [even_fast(side + n - 1) for side in (height, width)]
    numbers = torch.arange(len(kernels), device=plane.device)[:, None, None]
    masks = mirrored((plane[:, None] == numbers).to(aif.dtype))[:, None]  # (B, 1, D, H, W)
    volume = masks * mirrored(aif)[:, :, None]
    psf = torch.fft.rfft2(kernels.transpose(0, 1), s=wide)[None]  # (1, C, D, H, W)

    def blur(layers):
        spread = torch.fft.irfft2(torch.fft.rfft2(layers) * psf, s=wide)
        return spread[..., n - 1 : n - 1 + height, n - 1 : n - 1 + width]

    light, alpha, whole = blur(volume), blur(masks), blur(masks.cumsum(2))
    light, alpha = light / (whole + 1e-3), alpha / (whole + 1e-3)
    seen = torch.cumprod(1 - alpha.flip(2), 2).flip(2)
    seen = torch.cat([seen[:, :, 1:], torch.ones_like(seen[:, :, :1])], 2)
    return (seen * light).sum(2)


def even_fast(least):
    """Next length from `least` on that is even and has no prime factor beyond 5."""
    size = least + least % 2
    while any(size % p == 0 and p > 5 for p in range(2, size + 1) if all(p % q for q in range(2, p))):
        size += 2
    return size


def scenes(path):
    """Write a batch of procedural rooms, cut into planes evenly in 1/z."""
    from defocal.synth import procedural_scene

    found = [procedural_scene(7, sample, (SIZE, SIZE), (0.8, 6.0)).flatten() for sample in range(BATCH)]
    inverse = np.stack([1 / scene.depth for scene in found])
    plane = np.clip((inverse - 1 / 6) / (1 / 0.8 - 1 / 6) * PLANES, 0, PLANES - 1).astype(np.int64)
    np.savez(path, aif=np.stack([scene.aif for scene in found]).transpose(0, 3, 1, 2), plane=plane)


def measure(way, size, path):
    """Print seconds, seconds of processors, and MB above the start, of forward and backward; write the picture."""
    from defocal.train.optics.rendering import render

    torch.set_num_threads(THREADS)
    with np.load(path) as data:
        aif, plane = (torch.from_numpy(data[name].copy()).to(DEVICE) for name in ("aif", "plane"))
    axis = torch.linspace(-1, 1, size)
    radius, angle = torch.hypot(axis[:, None], axis), torch.atan2(axis[:, None], axis)
    turn = torch.linspace(-1.5, 1.5, PLANES)[:, None, None, None] + torch.tensor([-0.1, 0, 0.1])[:, None, None]
    # Lobes that turn with depth, as rotating PSFs have them.
    kernels = torch.exp(-8 * radius**2) * (1.05 + torch.cos(angle - turn))
    kernels = (kernels / kernels.sum((2, 3), keepdim=True)).to(DEVICE)

    def step():
        leaf = kernels.clone().requires_grad_()
        out = ikoma(aif, plane, leaf) if way == "ikoma" else render(aif, plane, leaf, way)
        (out * aif).sum().backward()
        if DEVICE == "cuda":
            torch.cuda.synchronize()
        return out.detach()

    def peak():
        if DEVICE == "cuda":
            return torch.cuda.max_memory_allocated() / 1e6
        # Of this program alone: `getrusage` counts what the one that started it held.
        status = Path("/proc/self/status")
        if status.exists():
            return int(re.search(r"VmHWM:\s+(\d+)", status.read_text())[1]) / 1e3
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3

    render(aif[:1, :, :64, :64], plane[:1, :64, :64].clamp_max(1), kernels[:2, :, :31, :31], "layered")
    start = peak()
    np.save(path.replace(".npz", f"-{way}-{size}.npy"), step().cpu().numpy())
    memory = peak() - start
    times = []
    for _ in range(int(os.environ.get("REPEATS", "3"))):
        begun, worked = time.perf_counter(), time.process_time()
        step()
        times.append((time.perf_counter() - begun, time.process_time() - worked))
    print(json.dumps({"seconds": min(t for t, _ in times), "cpu": min(t for _, t in times), "memory": memory}))


@pytest.mark.parametrize("size", [31, 63])
def test_against_a_volume_at_once(size, tmp_path):
    path = str(tmp_path / "scenes.npz")
    scenes(path)
    found = {}
    for way in WAYS:
        command = [sys.executable, __file__, way, str(size), path]
        found[way] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    peer, ours = (np.load(path.replace(".npz", f"-{way}-{size}.npy")) for way in ("ikoma", "normalised-over"))
    # The paper adds 1e-3 to what it divides by.
    assert np.abs(peer - ours).mean() < 1e-3
    where = f"{THREADS} thread(s)" if DEVICE == "cpu" else torch.cuda.get_device_name()
    print(f"\n  {BATCH} x {SIZE}x{SIZE}, {PLANES} planes, kernels of {size} px, forward and backward, {where}")
    for way, told in found.items():
        faster, smaller = found["ikoma"]["cpu"] / told["cpu"], found["ikoma"]["memory"] / max(told["memory"], 1)
        print(
            f"    {way:<16} {told['seconds']:7.2f} s ({told['cpu']:.2f} s of processors, {faster:4.1f} x as fast), "
            f"{told['memory']:6.0f} MB ({1 / smaller:4.2f} of the peer's)"
        )


if __name__ == "__main__":
    measure(sys.argv[1], int(sys.argv[2]), sys.argv[3])
