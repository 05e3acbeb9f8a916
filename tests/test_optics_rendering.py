"""The differentiable renderer: against `defocal.synth`, by gradcheck, and however it is cut into tiles."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from defocal import InputError
from defocal.synth import Scene, ThinLens, models, procedural_scene
from defocal.synth.psf_sampled import SampledBank
from defocal.train.optics import rendering, tiles
from defocal.train.optics.continuation import continued
from defocal.train.optics.planes import planes_of
from defocal.train.optics.rendering import MODELS, render
from defocal.train.transforms import fast_size

LENS = ThinLens(focal_length=0.05, f_number=2.0, focus_distance=2.0, pixel_pitch=2e-4)
NEAR, FAR = 0.8, 6.0
TWINS = {"layered": models.extended_layers, "eq7": models.masked_sum, "normalised-over": models.normalised_over}
# Where little of a slice is seen, "normalised-over" divides by numbers as small as 1e-3.
TOLERANCE = {"layered": 1e-5, "eq7": 1e-5, "normalised-over": 1e-4}
every_model = pytest.mark.parametrize("model", MODELS)


def kernels_of(planes, channels, size, seed=0, dtype=torch.float32):
    """Kernels of no symmetry, unit sum."""
    kernels = np.random.default_rng(seed).random((planes, channels, size, size)) ** 4
    return torch.from_numpy(kernels / kernels.sum(axis=(2, 3), keepdims=True)).to(dtype)


def inverse_depths(planes):
    """Bin centres of the numpy models, that cut depth evenly in 1/z."""
    step = (1 / NEAR - 1 / FAR) / planes
    return 1 / FAR + (np.arange(planes) + 0.5) * step


def depth_of(plane, planes):
    """A depth map that the numpy models cut into just these planes: the ends of the range must both occur."""
    assert plane.min() == 0
    assert plane.max() == planes - 1
    inverse = inverse_depths(planes)[plane]
    inverse[plane == 0], inverse[plane == planes - 1] = 1 / FAR, 1 / NEAR
    return (1 / inverse).astype(np.float32)


def patches(height, width, planes, seed):
    """A picture and planes: slopes with cards before them; some planes may be empty."""
    rng = np.random.default_rng(seed)
    slope = rng.integers(0, planes, (height // 8 + 2, width // 8 + 2))
    plane = np.kron(np.minimum(slope, planes // 2), np.ones((8, 8), int))[:height, :width]
    for _ in range(4):
        y, x, k = rng.integers(0, height), rng.integers(0, width), rng.integers(0, planes)
        plane[y : y + height // 3, x : x + width // 3] = k
    plane[0, 0], plane[-1, -1] = 0, planes - 1
    return rng.random((height, width, 3), np.float32), plane


def by_numpy(model, aif, plane, kernels):
    """Render by `defocal.synth`: (3, H, W)."""
    planes = len(kernels)
    bank = SampledBank("test", LENS, kernels.numpy(), LENS.coc(1 / inverse_depths(planes)))
    return TWINS[model](Scene(aif, depth_of(plane, planes)), LENS, bank, planes).transpose(2, 0, 1)


def tensors(aifs, planes):
    return torch.from_numpy(np.stack(aifs).transpose(0, 3, 1, 2).copy()), torch.from_numpy(np.stack(planes))


@pytest.fixture
def cut(monkeypatch):
    """Force the number of tiles along each axis."""

    def force(*counts):
        monkeypatch.setattr(tiles, "DIVISIONS", counts)
        monkeypatch.setattr(tiles, "BLOCK", 4)

    return force


# --- the same pictures as numpy's ----------------------------------------------------------------------------------


@every_model
@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize(("channels", "size"), [(3, 7), (1, 6), (1, 1)])
def test_equals_the_numpy_renderer(model, channels, size, count, cut):
    cut(count)
    scenes = [patches(43, 38, 6, seed) for seed in range(3)]
    kernels = kernels_of(6, channels, size)
    got = render(*tensors(*zip(*scenes, strict=True)), kernels, model)
    for image, scene in zip(got, scenes, strict=True):
        np.testing.assert_allclose(image, by_numpy(model, *scene, kernels), atol=TOLERANCE[model])


@every_model
def test_a_procedural_scene_to_60_db(model):
    """Twelve planes of a room, kernels of 15 pixels."""
    scene = procedural_scene(3, 0, (96, 128), (NEAR, FAR)).flatten()
    step = (1 / NEAR - 1 / FAR) / 12
    plane = np.clip(((1 / scene.depth - 1 / FAR) / step).astype(np.int64), 0, 11)
    plane[0, 0], plane[-1, -1] = 0, 11
    kernels = kernels_of(12, 3, 15)
    expected = by_numpy(model, scene.aif, plane, kernels)
    got = render(*tensors([scene.aif], [plane]), kernels, model)[0].numpy()
    np.testing.assert_allclose(got, expected, atol=1e-4)
    assert 10 * np.log10(1 / np.mean((got - expected) ** 2)) > 60


@every_model
def test_float64_and_autocast(model):
    aif, plane = tensors(*zip(*[patches(30, 33, 4, seed) for seed in range(2)], strict=True))
    kernels = kernels_of(4, 3, 5, dtype=torch.float64)
    exact = render(aif, plane, kernels, model)
    single = render(aif.double(), plane.int(), kernels.float(), model)
    assert exact.dtype == torch.float64
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), exact, atol=TOLERANCE[model], rtol=0)
    with torch.autocast("cpu", torch.bfloat16):
        half = kernels.to(torch.bfloat16).float().requires_grad_()
        out = render(aif.to(torch.bfloat16), plane, half, model)
        out.sum().backward()
    assert out.dtype == torch.float32
    assert torch.isfinite(half.grad).all()


def test_with_whole_layers_a_constant_image_stays_constant():
    _, plane = tensors(*zip(*[patches(40, 50, 5, seed) for seed in range(2)], strict=True))
    out = render(torch.full((2, 3, 40, 50), 0.6), plane, kernels_of(5, 3, 9), "layered")
    torch.testing.assert_close(out, torch.full_like(out, 0.6), atol=1e-5, rtol=0)


@pytest.mark.parametrize("size", [(9, 16), (16, 9), (2, 7), (1, 4), (33, 31)])
def test_layers_are_continued_as_in_numpy(size):
    rng = np.random.default_rng(0)
    image, known = rng.random((3, *size, 3), np.float32), (rng.random((3, *size)) < 0.2).astype(np.float32)
    known[:, 0, 0] = 1
    known[2] = 1
    got = continued(torch.from_numpy(image.transpose(0, 3, 1, 2).copy()), torch.from_numpy(known[:, None]))
    for one, i, k in zip(got, image, known, strict=True):
        np.testing.assert_allclose(one, models._continued(i, k).transpose(2, 0, 1), atol=1e-5)


# --- gradients -------------------------------------------------------------------------------------------------------


@every_model
@pytest.mark.parametrize(("channels", "size", "fast"), [(1, 4, False), (3, 3, False), (1, 3, True), (3, 4, True)])
def test_gradcheck(model, channels, size, fast):
    """Two images with other planes; one plane is empty in both."""
    plane = torch.randint(0, 2, (2, 5, 5), generator=torch.Generator().manual_seed(0))
    plane[1] += 1
    plane[0, 0, 0] = 3
    aif = torch.rand(2, 3, 5, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    kernels = kernels_of(5, channels, size, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(lambda k: render(aif, plane, k, model), (kernels,), fast_mode=fast)
    render(aif, plane, kernels, model).sum().backward()
    assert (kernels.grad[4] == 0).all(), "no pixel has this plane"
    assert (kernels.grad[3] != 0).any()


@every_model
@pytest.mark.parametrize("channels", [1, 3])
def test_gradcheck_of_tiles(model, channels, cut):
    """With kernels that keep their unit sum, as those of masks do."""
    cut(3)
    _, plane = tensors(*zip(*[patches(17, 14, 4, seed) for seed in range(2)], strict=True))
    aif = torch.rand(2, 3, 17, 14, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    raw = kernels_of(4, channels, 3, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda k: render(aif, plane, k / k.sum((2, 3), keepdim=True), model), (raw,), fast_mode=True
    )


@every_model
def test_gradients_do_not_depend_on_tiles_and_parts(model, cut, monkeypatch):
    aif, plane = tensors(*zip(*[patches(61, 70, 6, seed) for seed in range(3)], strict=True))
    weight = torch.rand(aif.shape, generator=torch.Generator().manual_seed(2))

    def gradient(count, at_once):
        cut(count)
        monkeypatch.setattr(tiles, "AT_ONCE", at_once)
        raw = kernels_of(6, 3, 7, dtype=torch.float64).requires_grad_()
        out = render(aif, plane, raw / raw.sum((2, 3), keepdim=True), model)
        (out * weight).sum().backward()
        return out.detach(), raw.grad

    whole = gradient(1, 2**24)
    for count, at_once in ((1, 1), (2, 2**14), (4, 2**18)):
        for got, expected in zip(gradient(count, at_once), whole, strict=True):
            torch.testing.assert_close(got, expected, atol=1e-9 * float(expected.abs().max()), rtol=0)


@every_model
def test_the_same_bits_each_time_and_inputs_untouched(model):
    aif, plane = tensors(*zip(*[patches(40, 50, 6, seed) for seed in range(3)], strict=True))
    given_ = aif.clone(), plane.clone()

    def once():
        kernels = kernels_of(6, 3, 7).requires_grad_()
        out = render(aif, plane, kernels, model)
        loss = (out - 0.5).square().sum()
        loss.backward()
        return out.detach(), kernels.grad

    first, second = once(), once()
    assert torch.equal(first[0], second[0])
    assert torch.equal(first[1], second[1])
    assert torch.equal(aif, given_[0])
    assert torch.equal(plane, given_[1])
    assert not render(aif, plane, kernels_of(6, 3, 7), model).requires_grad


@every_model
def test_only_inputs_are_kept_for_the_way_back(model):
    """What autograd holds: kernels, images, planes, and layers continued at half resolution."""
    aif, plane = tensors(*zip(*[patches(64, 64, 8, seed) for seed in range(2)], strict=True))
    kernels = kernels_of(8, 3, 9).requires_grad_()
    kept = []

    def pack(tensor):
        kept.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        render(aif, plane, kernels, model)
    layers = 2 * 8 * 3 * 32 * 32 if model == "layered" else 0
    assert sum(kept) <= kernels.numel() + aif.numel() + plane.numel() + layers


# --- tiles -----------------------------------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(st.integers(5, 90), st.integers(5, 90), st.integers(1, 4), st.booleans(), st.integers(0, 10**6))
def test_every_pixel_is_made_once_and_sees_its_planes(height, width, size, between, seed):
    plane = torch.from_numpy(np.random.default_rng(seed).integers(0, 5, (2, 1, 1))) + torch.zeros(2, height, width)
    plane[0, : height // 2] = 6
    plan = tiles.plan_tiles(plane.long(), 8, size, between=between, pairs=False, at_once=2**12)
    made = torch.zeros(2, height, width)
    for part in plan.parts:
        assert part.made(made).numel()
        for image in part.images:
            part.made(made)[image] += 1
            mine = {k for i, k in zip(part.owners(), part.planes, strict=True) if i == image}
            assert set(part.taken(plane)[image].unique().tolist()) <= mine
        window = torch.zeros(1, *plan.shape)
        part.inner(window).copy_(part.taken(plane)[:1])
        part.mirror(window)
        assert part.valid(window, size).shape[1:] == part.size
        before, after = size - 1 - size // 2, size // 2
        around = np.pad(plane[:1], [(0, 0), (before, after), (before, after)], mode="symmetric")
        rows, columns = (slice(s.start, s.stop + size - 1) for s in (part.rows, part.columns))
        expected = around[:, rows, columns]
        np.testing.assert_array_equal(window[:, : expected.shape[1], : expected.shape[2]], expected)
        assert list(part.counts) == sorted(part.counts, reverse=True)
    assert (made == 1).all()


def test_layers_that_a_tile_cannot_see_are_not_computed():
    plane = torch.arange(256).div(32, rounding_mode="floor").expand(1, 256, 256).contiguous()
    plan = tiles.plan_tiles(plane, 8, 9, between=True, pairs=False)
    layers = sum(len(part.planes) for part in plan.parts) * plan.shape[0] * plan.shape[1]
    assert layers < 0.6 * 8 * 264 * 264


def test_transforms_are_of_lengths_without_large_prime_factors():
    assert [fast_size(n) for n in (1, 7, 11, 128, 161, 326)] == [1, 8, 12, 128, 162, 360]
    assert [fast_size(n, multiple=2) for n in (1, 2, 17, 97, 263)] == [2, 2, 18, 100, 270]


# --- planes of depths ------------------------------------------------------------------------------------------------


def test_planes_are_the_nearest_in_coc_and_ascend_towards_the_camera():
    coc = torch.tensor(np.linspace(LENS.coc(FAR), LENS.coc(NEAR), 9))
    depth = 1 / torch.linspace(1 / FAR, 1 / NEAR, 400)
    plane = planes_of(depth.view(1, 20, 20), lens=LENS, coc=coc)
    bank = SampledBank("test", LENS, kernels_of(9, 1, 3).numpy(), coc.numpy())
    blur = LENS.coc(depth.double().numpy())
    # Numpy's bank finds planes by a table of steps of 1/64 of their distance.
    off = np.abs(np.abs(blur[:, None] - coc.numpy()).argmin(1) - plane.view(-1).numpy())
    assert (off == 0).all()
    assert np.mean(bank.slots(blur) == plane.view(-1).numpy()) > 0.95
    assert (plane.view(-1).diff() >= 0).all(), "from far to near"
    ends = planes_of(torch.tensor([[[torch.inf, 1e9, 0.1, NEAR]]]), LENS, coc)
    assert ends.tolist() == [[[0, 0, 8, 8]]]


def test_unknown_depths_take_the_nearest_known_plane():
    rng = np.random.default_rng(0)
    coc = torch.linspace(float(LENS.coc(FAR)), float(LENS.coc(NEAR)), 7)
    depth = rng.uniform(NEAR, FAR, (2, 19, 23)).astype(np.float32)
    valid = rng.random(depth.shape) < 0.08
    known = planes_of(torch.from_numpy(depth), LENS, coc).numpy()
    y, x = np.mgrid[:19, :23]
    for unknown in (np.nan, 0.0, -1.0, 3.0):
        damaged = torch.from_numpy(np.where(valid, depth, np.float32(unknown)))
        got = planes_of(damaged, LENS, coc, torch.from_numpy(valid))
        for b in range(2):
            places = np.argwhere(valid[b])
            away = np.abs(y[..., None] - places[:, 0]) + np.abs(x[..., None] - places[:, 1])
            planes = known[b][tuple(places.T)]
            expected = planes[(away * 7 + planes).argmin(-1)]
            np.testing.assert_array_equal(got[b], expected)
        if unknown != 3.0:
            assert torch.equal(planes_of(damaged, LENS, coc), got), "NaN and what is not positive are unknown"
    assert (planes_of(torch.full((1, 4, 4), torch.nan), LENS, coc) == 0).all()


# --- refusals --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"model": "hasinoff"}, "no rendering model 'hasinoff'; there are eq7, layered, normalised-over"),
        ({"aif": torch.zeros(2, 1, 8, 8)}, r"\(2, 1, 8, 8\) and \(2, 8, 8\)"),
        ({"plane": torch.zeros(2, 8, 7, dtype=torch.long)}, r"planes \(B, H, W\)"),
        ({"plane": torch.zeros(2, 8, 8)}, "whole numbers, not torch.float32"),
        ({"plane": torch.full((2, 8, 8), 3)}, "planes are 3 to 3, and there are kernels of 3 planes"),
        ({"plane": torch.full((2, 8, 8), -1)}, "planes are -1 to -1"),
        ({"kernels": torch.ones(3, 2, 3, 3)}, r"kernels \(K, 1 or 3, n, n\), not \(3, 2, 3, 3\)"),
        ({"kernels": torch.ones(3, 1, 3, 5)}, r"not \(3, 1, 3, 5\)"),
        ({"kernels": torch.ones(3, 1, 9, 9)}, "up to 9 pixels wide, and the images 8x8"),
        ({"kernels": torch.ones(0, 1, 3, 3)}, "nothing to render"),
    ],
)
def test_what_cannot_be_rendered_is_refused_in_one_sentence(changes, told):
    fine = {
        "aif": torch.zeros(2, 3, 8, 8),
        "plane": torch.zeros(2, 8, 8, dtype=torch.long),
        "kernels": torch.ones(3, 1, 3, 3) / 9,
        "model": "layered",
    }
    with pytest.raises(InputError, match=told):
        render(**{**fine, **changes})


def test_planes_refuse_what_does_not_fit():
    with pytest.raises(InputError, match=r"depth must be \(B, H, W\)"):
        planes_of(torch.ones(4, 4), LENS, torch.tensor([0.0, 1.0]))
    with pytest.raises(InputError, match="and valid"):
        planes_of(torch.ones(1, 4, 4), LENS, torch.tensor([0.0, 1.0]), torch.ones(1, 4, 5, dtype=torch.bool))
    with pytest.raises(InputError, match="ascending order"):
        planes_of(torch.ones(1, 4, 4), LENS, torch.tensor([1.0, 0.0]))
    assert rendering.planes_of is planes_of
