"""Slow, obvious twins of the compiled code: whole images, one kernel at a time, float64."""

import numpy as np
from scipy.signal import convolve2d

TOWARDS = ((0, -1), (0, 1), (-1, 0), (1, 0))


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


def steps_to_hidden(plane, coc, gap, reach):
    """For each pixel and direction, how far away the surface that goes on behind it was last seen; 0 for none."""
    height, width = plane.shape
    steps = np.zeros((4, height, width), int)
    for k, (dy, dx) in enumerate(TOWARDS):
        for y in range(height):
            for x in range(width):
                path = []
                v, u = y, x
                while 0 <= v < height and 0 <= u < width:
                    path.append((v, u))
                    v, u = v + dy, u + dx
                edges = [i for i in range(len(path) - 1) if plane[path[i]] - plane[path[i + 1]] > gap]
                if not edges:
                    continue
                last = edges[0] + 1
                if any(plane[path[i]] - plane[path[last]] <= gap for i in range(last)):
                    continue
                if last <= (abs(coc[y, x]) + abs(coc[path[last]])) * reach[0] + reach[1]:
                    steps[k, y, x] = last
    return steps


def hidden(rgba, plane, coc, gap, reach=(0.5, 1.5)):
    """What lies behind each pixel: (rgba, plane, coc), plane -1 where nothing does."""
    steps = steps_to_hidden(plane, coc, gap, reach)
    out, at, blur_there = np.zeros_like(rgba), np.full(plane.shape, -1), np.zeros_like(coc)
    for y, x in zip(*np.nonzero(steps.any(axis=0)), strict=True):
        found = [(s, k) for k, s in enumerate(steps[:, y, x]) if s]
        s, k = min(found)
        nearest = y + s * TOWARDS[k][0], x + s * TOWARDS[k][1]
        surface = at[y, x] = plane[nearest]
        blur_there[y, x] = coc[nearest]
        parts = []
        for s, k in found:
            v, u = y + s * TOWARDS[k][0], x + s * TOWARDS[k][1]
            if abs(plane[v, u] - surface) > gap:
                continue
            v2, u2 = v + TOWARDS[k][0], u + TOWARDS[k][1]
            inside = 0 <= v2 < plane.shape[0] and 0 <= u2 < plane.shape[1]
            if not inside or abs(plane[v2, u2] - plane[v, u]) > gap:
                v2, u2 = v, u
            parts.append((1 / s, (rgba[v, u] + rgba[v2, u2]) / 2))
        total = sum(p[0] for p in parts)
        out[y, x] = sum(p[0] * p[1] for p in parts) / total
    return out, at, blur_there


def composite(groups, gap, fill):
    """Composite blurred groups [(plane, rgba)], far to near: surfaces add up, and cover what lies behind them."""
    shape = groups[0][1].shape
    near, far, last = np.zeros(shape), np.zeros(shape), np.full(shape[:2], -(10**9))
    for plane, rgba in groups:
        rgba = rgba / np.maximum(rgba[..., 3:], 1.0)
        alpha = rgba[..., 3]
        there = alpha > 1e-6
        new = there & (plane - last > gap)
        far = np.where(new[..., None], near + far * (1 - near[..., 3:]), far)
        near = np.where(new[..., None], 0.0, near)
        last = np.where(there, plane, last)
        over = there & (near[..., 3] + alpha > 1)
        kept = np.where(over, (1 - alpha) / np.where(over, near[..., 3], 1), 1.0)
        near = np.where(there[..., None], rgba + near * kept[..., None], near)
    out = near + far * (1 - near[..., 3:])
    return out[..., :3] / out[..., 3:] if fill else out[..., :3]


def by_channel(bank, render):
    """Take R, G and B from the pictures of the bank's channels, or all from the only one."""
    pictures = [render(channel) for channel in range(bank.channels)]
    return np.stack([pictures[k % bank.channels][..., k] for k in range(3)], axis=-1)


def render_surfaces(rgba, coc, planes, gap, bank, reach=(0.5, 1.5)):
    """Render an image (H, W, 4) with a CoC and a plane per pixel; each channel of the bank by itself."""
    behind, behind_plane, behind_coc = hidden(rgba.astype(np.float64), planes, coc, gap, reach)
    slots, behind_slots = bank.slots(coc), bank.slots(behind_coc)

    def picture(channel):
        groups = []
        for plane in np.unique(planes):
            light = np.where((planes == plane)[..., None], rgba, 0.0)
            covered = np.where((behind_plane == plane)[..., None], behind, 0.0)
            both = blur_by_slot(light, slots, bank, channel) + blur_by_slot(covered, behind_slots, bank, channel)
            groups.append((plane, both))
        return composite(groups, gap, fill=True)

    return by_channel(bank, picture)


def render_layers(layers, bank, lens):
    """Over-composite of whole layers [(rgba, depth)], each blurred by one kernel (D3-Net Eqs. 1-2)."""

    def picture(channel):
        out = np.zeros((*layers[0][0].shape[:2], 3))
        for rgba, depth in layers:
            slot = int(bank.slots(np.array(lens.coc(depth), np.float32)))
            spread = blur(rgba.astype(np.float64), bank.slot_kernels(slot)[channel])
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


def render_sum(aif, depth, lens, bank, planes):
    """RPSF paper, Eq. 7: the sum over planes, uniform in 1/z with one at the focus, of their masked images blurred."""
    inverse = 1 / depth.astype(np.float64)
    step = (inverse.max() - inverse.min()) / (planes - 1)
    focus = 1 / lens.focus_distance
    anchor = focus if inverse.min() <= focus <= inverse.max() else inverse.min()
    at = anchor + np.floor((inverse - anchor) / step + 0.5) * step
    out = np.zeros(aif.shape)
    for one in np.unique(at):
        slot = int(bank.slots(np.array(lens.coc_per_dioptre * (one - focus))))
        for k in range(3):
            kernel = bank.slot_kernels(slot)[k % bank.channels]
            out[..., k] += blur(np.where(at == one, aif[..., k], 0.0)[..., None], kernel)[..., 0]
    return out
