"""Slow, obvious twins of the compiled code: whole images, one kernel at a time, float64."""

import numpy as np
from naive_surfaces import split
from scipy.signal import convolve2d

from defocal.synth.psf_shapes import disk_kernel


def disk_by_supersampling(diameter, samples=400):
    """Count the sub-pixel samples of each pixel that lie in the disk."""
    half = int(np.ceil(max(diameter / 2 - 0.5, 0)))
    size = 2 * half + 1
    at = (np.arange(size * samples) + 0.5) / samples - size / 2
    inside = at[:, None] ** 2 + at[None, :] ** 2 <= (diameter / 2) ** 2
    area = inside.reshape(size, samples, size, samples).mean(axis=(1, 3))
    return area / area.sum()


def blur(image, kernel):
    """Convolve each channel of (H, W, C); nothing comes in from outside."""
    return np.stack([convolve2d(image[..., c], kernel, mode="same") for c in range(image.shape[-1])], axis=-1)


def blur_by_slot(rgba, slots, bank, channel=0):
    """Spread each pixel by the kernel that its own slot has for a channel."""
    out = np.zeros(rgba.shape)
    for slot in np.unique(slots):
        out += blur(np.where((slots == slot)[..., None], rgba, 0.0), bank.slot_kernels(slot)[channel])
    return out


def blur_by_field(rgba, slots, bank, channel=0, *, edge):
    """Spread each pixel by its own kernel, interpolated between the nodes of a field; `edge` is around the picture."""
    size = np.array(slots.shape) - 2 * edge
    half, reach = np.hypot(*size) / 2, max(slots.shape)
    y_weights, x_weights = (
        np.array([np.interp((np.arange(n) - (n - 1) / 2) / half, nodes, hat) for hat in np.eye(len(nodes))])
        for n, nodes in zip(slots.shape, (bank.field_y, bank.field_x), strict=True)
    )
    out = np.zeros(np.add(rgba.shape, (2 * reach, 2 * reach, 0)))
    for y, x in zip(*np.nonzero(rgba.any(axis=-1)), strict=True):
        weights = np.outer(y_weights[:, y], x_weights[:, x]).ravel()
        for node in np.flatnonzero(weights):
            kernel = weights[node] * bank.slot_kernels(int(slots[y, x] + node))[channel]
            r = len(kernel) // 2
            at = np.s_[y + reach - r : y + reach + r + 1, x + reach - r : x + reach + r + 1]
            out[at] += kernel[..., None] * rgba[y, x]
    return out[reach : reach + rgba.shape[0], reach : reach + rgba.shape[1]]


def composite(groups, gap, fill, coc=None):
    """Composite blurred groups [(plane, rgba)], far to near: surfaces add up, and cover what lies behind them.

    With the `coc` of each plane, whether a lens point sees past the nearest surface and what it sees there are taken
    to vary together over the aperture, to first order.
    """
    shape = groups[0][1].shape
    near, far, last = np.zeros(shape), np.zeros(shape), np.full(shape[:2], -(10**9))
    behind = last.copy()
    for plane, rgba in groups:
        rgba = rgba / np.maximum(rgba[..., 3:], 1.0)
        alpha = rgba[..., 3]
        there = alpha > 1e-6
        new = there & (plane - last > gap)
        far = np.where(new[..., None], near + far * (1 - near[..., 3:]), far)
        near = np.where(new[..., None], 0.0, near)
        behind = np.where(new, last, behind)
        last = np.where(there, plane, last)
        over = there & (near[..., 3] + alpha > 1)
        kept = np.where(over, (1 - alpha) / np.where(over, near[..., 3], 1), 1.0)
        near = np.where(there[..., None], rgba + near * kept[..., None], near)
    out = near + far * (1 - near[..., 3:])
    if coc is not None:
        out = np.maximum(out - slopes(near, far, last, behind, gap, coc), 0)
    return out[..., :3] / out[..., 3:] if fill else out[..., :3]


def slopes(near, far, last, behind, gap, coc):
    """``c c' / 16 grad(a) . grad(far)``, c and c' the CoCs of the nearest surface and of what it covers in part."""
    out, shape = np.zeros(near.shape), last.shape
    for y, x in np.argwhere((near[..., 3] > 1e-6) & (near[..., 3] < 1 - 1e-4) & (far[..., 3] > 0.1)):
        c, c2 = coc(last[y, x]), coc(behind[y, x])
        if abs(c * c2) < 1:
            continue

        def beside(dy, dx, y=y, x=x):
            v, u = min(max(y + dy, 0), shape[0] - 1), min(max(x + dx, 0), shape[1] - 1)
            if last[y, x] - last[v, u] > gap and last[v, u] >= 0:
                mixed = near[v, u] + far[v, u] * (1 - near[v, u, 3])
                if mixed[3] > 0.1:
                    return mixed[:3] / mixed[3], 0.0
                v, u = y, x
            elif last[v, u] - last[y, x] > gap or last[v, u] < 0 or far[v, u, 3] <= 0.1:
                v, u = y, x
            return far[v, u, :3] / far[v, u, 3], near[v, u, 3]

        for d in ((1, 0), (0, 1)):
            (more, a), (less, b) = beside(*d), beside(-d[0], -d[1])
            steepest = 4 / np.pi / max(abs(c), 1), 4 / np.pi / max(abs(c2), 1) * np.maximum(more, less)
            slope = np.clip((a - b) / 2, -steepest[0], steepest[0])
            change = np.clip((more - less) / 2, -steepest[1], steepest[1])
            out[y, x, :3] += far[y, x, 3] * c * c2 / 16 * slope * change
    return out


def by_channel(bank, render):
    """Take R, G and B from the pictures of the bank's channels, or all from the only one."""
    pictures = [render(channel) for channel in range(bank.channels)]
    return np.stack([pictures[k % bank.channels][..., k] for k in range(3)], axis=-1)


def render_surfaces(rgba, coc, planes, gap, bank, reach=(0.5, 1.5), plane_coc=None):
    """Render an image (H, W, 4) with a CoC and a plane per pixel; each channel of the bank by itself."""
    sheets = split(rgba[..., :3], planes, coc, gap, reach)

    def picture(channel):
        groups = []
        for plane in np.unique(planes):
            parts = [(np.where((at == plane)[..., None], c, 0.0), bank.slots(blur)) for c, at, blur in sheets]
            groups.append((plane, sum(blur_by_slot(light, slots, bank, channel) for light, slots in parts)))
        return composite(groups, gap, fill=True, coc=plane_coc)

    return by_channel(bank, picture)


def render_layers(layers, bank, lens):
    """Over-composite of whole layers [(rgba, depth)], each blurred by one kernel (D3-Net Eqs. 1-2).

    Disks have the layer's very CoC, other kernels the nearest that the bank has.
    """

    def picture(channel):
        out = np.zeros((*layers[0][0].shape[:2], 3))
        for rgba, depth in layers:
            slot = int(bank.slots(np.array(lens.coc(depth), np.float32)))
            disk = bank.by_differences
            kernel = disk_kernel(abs(lens.coc(depth))) if disk else bank.slot_kernels(slot)[channel]
            spread = blur(rgba.astype(np.float64), kernel)
            out = out * (1 - spread[..., 3:]) + spread[..., :3]
        return out

    return by_channel(bank, picture)


def render_varied_layers(layers, bank, lens):
    """Over-composite of layers [(rgba, depth map)], each made whole by what a layer of ones would sum to."""

    def picture(channel):
        out = np.zeros((*layers[0][0].shape[:2], 3))
        for rgba, depth in layers:
            slots = bank.slots(lens.coc(depth).astype(np.float32))
            spread = blur_by_slot(rgba.astype(np.float64), slots, bank, channel)
            ones = blur_by_slot(np.ones((*slots.shape, 1)), slots, bank, channel)
            spread /= np.maximum(spread[..., 3:], ones)
            out = out * (1 - spread[..., 3:]) + spread[..., :3]
        return out

    return by_channel(bank, picture)


def slices(depth, lens, bank, planes):
    """Cut a depth map at bins uniform in 1/z: [(where, the bank's kernels of the bin's centre)], far to near."""
    inverse = 1 / depth.astype(np.float64)
    step = (inverse.max() - inverse.min()) / planes
    number = np.minimum((inverse - inverse.min()) // step, planes - 1)
    found = []
    for k in np.unique(number):
        coc = lens.coc_per_dioptre * (inverse.min() + (k + 0.5) * step - 1 / lens.focus_distance)
        found.append((number == k, bank.slot_kernels(int(bank.slots(np.array(coc))))))
    return found


def in_colours(kernels, light):
    """Blur (H, W, 3), each colour by its own kernel or all by the only one."""
    return np.dstack([blur(light[..., k : k + 1], kernels[k % len(kernels)]) for k in range(3)])


def render_sum(aif, depth, lens, bank, planes):
    """RPSF paper, Eq. 7: the sum of the blurred slices."""
    return sum(in_colours(h, aif * mask[..., None]) for mask, h in slices(depth, lens, bank, planes))


def render_gathered(aif, depth, lens, bank, planes):
    """FOSSA's rule, pixel by pixel: the mean of neighbours by what their kernels spread here; sharp ones apart."""
    kernel_of, number = {}, np.zeros(depth.shape, int)
    for k, (mask, h) in enumerate(slices(depth, lens, bank, planes)):
        number[mask], kernel_of[k] = k, h
    inverse = 1 / depth.astype(float)
    step = (inverse.max() - inverse.min()) / planes
    place = np.minimum(((inverse - inverse.min()) / step).astype(int), planes - 1)
    coc_of = np.abs(lens.coc_per_dioptre * (inverse.min() + (place + 0.5) * step - 1 / lens.focus_distance))
    out, (height, width) = aif.copy(), depth.shape
    for y, x in zip(*np.nonzero(coc_of > 2), strict=True):
        light, weight = np.zeros(3), np.zeros(3)
        for v in range(max(y - 7, 0), min(y + 8, height)):
            for u in range(max(x - 7, 0), min(x + 8, width)):
                kernels = kernel_of[number[v, u]]
                r = kernels.shape[-1] // 2
                if coc_of[v, u] > 2 and max(abs(y - v), abs(x - u)) <= r:
                    w = kernels[:, y - v + r, x - u + r]
                    light, weight = light + w * aif[v, u], weight + w
        out[y, x] = light / weight
    return out


def render_normalised(aif, depth, lens, bank, planes):
    """Ikoma et al. 2021: slices laid over each other, each divided by the blurred mask of itself and those behind."""
    out, seen = np.zeros(aif.shape), np.zeros(aif.shape)
    for mask, h in slices(depth, lens, bank, planes):
        mask = np.repeat(mask[..., None], 3, axis=2)
        seen = seen + mask
        light, cover, whole = (in_colours(h, a) for a in (aif * mask, mask * 1.0, seen))
        there = whole > 1e-3
        out = np.where(there, out * (1 - cover / np.where(there, whole, 1)) + light / np.where(there, whole, 1), out)
    return out
