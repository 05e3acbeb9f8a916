"""Slow, obvious twins of how an image with a depth map becomes surfaces: loops over pixels, float64."""

import itertools

import numpy as np

TOWARDS = ((0, -1), (0, 1), (-1, 0), (1, 0))
AROUND = [at for at in itertools.product((-1, 0, 1), repeat=2) if at != (0, 0)]


def inside(shape, v, u):
    return 0 <= v < shape[0] and 0 <= u < shape[1]


def edges(plane, gap):
    """For each pixel, whether it is in front of one of its eight neighbours, and whether behind one."""
    front, behind = np.zeros(plane.shape, bool), np.zeros(plane.shape, bool)
    for y, x in np.ndindex(plane.shape):
        for dy, dx in AROUND:
            if inside(plane.shape, y + dy, x + dx):
                step = plane[y + dy, x + dx] - plane[y, x]
                front[y, x] |= step < -gap
                behind[y, x] |= step > gap
    return front, behind


def other_surface(plane, gap, y, x, behind):
    """The nearest of the neighbours in front (or behind): side neighbours first, then the greatest step."""
    found = []
    for dy, dx in AROUND:
        if inside(plane.shape, y + dy, x + dx):
            step = (plane[y + dy, x + dx] - plane[y, x]) * (1 if behind else -1)
            if step > gap:
                found.append((abs(dy) + abs(dx), -step, y + dy, x + dx))
    return min(found, key=lambda f: f[:2])[2:]


def colour(rgb, plane, edge, gap, surface, y, x, reach=3):
    """Mean colour and variance of the pixels near (y, x) that show only the surface; None where there are none."""
    colours, weights = [], []
    for v, u in itertools.product(range(y - reach, y + reach + 1), range(x - reach, x + reach + 1)):
        if inside(plane.shape, v, u) and not edge[v, u] and abs(plane[v, u] - surface) <= gap:
            colours.append(rgb[v, u])
            weights.append(1 / ((v - y) ** 2 + (u - x) ** 2))
    if not colours:
        return None
    mean = np.average(colours, axis=0, weights=weights)
    return mean, np.average((np.array(colours) - mean) ** 2, axis=0, weights=weights).mean()


def expected_coverage(plane, gap, near, y, x, behind):
    """What the shape of the silhouette says: the binomial 3x3 mean of what is in front, drawn away from 1/2."""
    total, front = 0, 0
    for dy, dx in [*AROUND, (0, 0)]:
        if inside(plane.shape, y + dy, x + dx):
            weight = (2 - abs(dy)) * (2 - abs(dx))
            total += weight
            front += weight * (plane[y + dy, x + dx] >= near - gap)
    if behind:
        return max(0.9 * front / total - 0.1, 0)
    return 1 - max(0.9 * (1 - front / total) - 0.1, 0)


def soften(rgb, plane, gap):
    """Divide pixels at silhouettes: {(y, x): (behind, coverage, nearer part, farther colour, where the other is)}."""
    front, behind = edges(plane, gap)
    edge = front | behind
    divided = {}
    for y, x in zip(*np.nonzero(edge), strict=True):
        v, u = other_surface(plane, gap, y, x, behind[y, x])
        near, far = max(plane[y, x], plane[v, u]), min(plane[y, x], plane[v, u])
        guesses = [colour(rgb, plane, edge, gap, surface, y, x) for surface in (near, far)]
        if None in guesses:
            continue
        (f, vary_f), (b, vary_b) = guesses
        vary_f, vary_b = vary_f + 1e-3, vary_b + 1e-3
        expected = a = expected_coverage(plane, gap, near, y, x, behind[y, x])
        for _ in range(2):
            variance = a**2 * vary_f + (1 - a) ** 2 * vary_b
            a = (expected / 0.01 + (rgb[y, x] - b) @ (f - b) / variance) / (1 / 0.01 + (f - b) @ (f - b) / variance)
            a = min(max(a, 0), 1)
        if (a if behind[y, x] else 1 - a) < 0.03:
            continue
        share = a**2 * vary_f / (a**2 * vary_f + (1 - a) ** 2 * vary_b)
        part = np.clip(a * f + share * (rgb[y, x] - a * f - (1 - a) * b), 0, rgb[y, x])
        rest = (rgb[y, x] - part) / (1 - a) if 1 - a > 0.03 else b
        divided[y, x] = behind[y, x], a, part, rest, (v, u)
    return divided


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


def hidden(rgb, plane, coc, gap, reach):
    """First guess of what lies behind each pixel: (rgb, plane, coc), plane -1 where nothing does."""
    steps = steps_to_hidden(plane, coc, gap, reach)
    out, at, blur_there = np.zeros(rgb.shape), np.full(plane.shape, -1), np.zeros_like(coc)
    for y, x in zip(*np.nonzero(steps.any(axis=0)), strict=True):
        ends = [(s, (y + s * TOWARDS[k][0], x + s * TOWARDS[k][1])) for k, s in enumerate(steps[:, y, x]) if s]
        _, nearest = min(ends, key=lambda end: (end[0], coc[end[1]]))
        at[y, x], blur_there[y, x] = plane[nearest], coc[nearest]
        same = [(1 / s, rgb[end]) for s, end in ends if abs(plane[end] - plane[nearest]) <= gap]
        out[y, x] = sum(w * c for w, c in same) / sum(w for w, _ in same)
    return out, at, blur_there


def smooth(seen, whole, plane, behind, behind_plane, kept, gap, sweeps):
    """Draw hidden colours towards the means of their neighbours, by Chebyshev's acceleration of plain sweeps.

    `whole` are the pixels that wholly show what is seen, `kept` those whose hidden colour is known.
    """
    free = [(y, x) for y, x in zip(*np.nonzero(behind_plane >= 0), strict=True) if not kept[y, x]]
    before, now = behind.copy(), behind.copy()
    beyond = 1.0
    for sweep in range(sweeps):
        after = now.copy()
        for y, x in free:
            around = []
            for dy, dx in TOWARDS:
                v, u = y + dy, x + dx
                surface = behind_plane[y, x]
                if inside(plane.shape, v, u) and abs(plane[v, u] - surface) <= gap and whole[v, u]:
                    around.append(seen[v, u])
                elif inside(plane.shape, v, u) and behind_plane[v, u] >= 0 and abs(behind_plane[v, u] - surface) <= gap:
                    around.append(now[v, u])
                else:
                    around.append(now[y, x])
            after[y, x] = before[y, x] + beyond * (np.mean(around, axis=0) - before[y, x])
        before, now = now, after
        beyond = 2 / (2 - 0.97**2) if sweep == 0 else 4 / (4 - 0.97**2 * beyond)
    return now


def split(rgb, plane, coc, gap, reach=(0.5, 1.5), sweeps=8):
    """What is seen, what is hidden, and the fringes: three of (rgba, plane, coc), plane -1 where nothing is."""
    rgb = np.asarray(rgb, np.float64)
    divided = soften(rgb, plane, gap)
    seen, whole = rgb.copy(), np.ones(plane.shape)
    fringe, fringe_plane, fringe_coc = np.zeros((*plane.shape, 4)), np.full(plane.shape, -1), np.zeros_like(coc)
    for at, (behind, a, part, rest, other) in divided.items():
        if behind:
            seen[at] = rest
            fringe[at], fringe_plane[at], fringe_coc[at] = [*part, a], plane[other], coc[other]
        else:
            seen[at], whole[at] = part, a
    back, back_plane, back_coc = hidden(seen, plane, coc, gap, reach)
    kept = (whole <= 0.5) & (back_plane >= 0)
    for at in zip(*np.nonzero(kept), strict=True):
        back[at] = divided[at][3]
    back = smooth(seen, whole == 1, plane, back, back_plane, kept, gap, sweeps)
    for at, (behind, a, part, rest, _) in divided.items():
        if not behind:
            through = back[at] if back_plane[at] >= 0 else 0
            seen[at] = np.maximum(part + (1 - a) * rest - (1 - a) * through, 0)
            whole[at] = a if back_plane[at] >= 0 else 1
    there = (back_plane >= 0).astype(float)
    return [
        (np.dstack([seen, whole]), plane, coc),
        (np.dstack([back * there[..., None], there]), back_plane, back_coc),
        (fringe, fringe_plane, fringe_coc),
    ]
