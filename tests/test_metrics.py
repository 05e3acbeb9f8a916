"""Metrics: by hand, beside slow twins and other people's code, their invariances, and streams of images."""

import json
import math
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rgbd import refusal

from defocal.evaluate.metrics import (
    DEPTH,
    MAKE3D_C1,
    MAKE3D_C2,
    MEASURES,
    NYU_EIGEN,
    DepthProtocol,
    DepthScores,
    ImageScores,
    bumpiness,
    counted_pixels,
    depth_metrics,
    eigen_crop,
)
from defocal.evaluate.running import Running

LN2 = math.log(2)
SEEDS = st.integers(0, 2**32 - 1)


def maps(seed=0, size=(24, 32), noise=0.3):
    """A true depth map with unknown pixels, and a prediction of it."""
    rng = np.random.default_rng(seed)
    target = rng.uniform(0.7, 10, size)
    prediction = target * np.exp(noise * rng.standard_normal(size))
    target[rng.random(size) < 0.1] = np.nan
    return prediction, target


def naive(prediction, target):
    """Every metric by loops over the known pixels of two maps."""
    pairs = [(p, t) for p, t in zip(prediction.ravel().tolist(), target.ravel().tolist(), strict=True) if t == t]
    n = len(pairs)
    logs = [math.log(p) - math.log(t) for p, t in pairs]
    mean = sum(logs) / n
    return {
        "rmse": math.sqrt(sum((p - t) ** 2 for p, t in pairs) / n),
        "mae": sum(abs(p - t) for p, t in pairs) / n,
        "mse": sum((p - t) ** 2 for p, t in pairs) / n,
        "rmse_log": math.sqrt(sum(d * d for d in logs) / n),
        "log10": sum(abs(math.log10(p) - math.log10(t)) for p, t in pairs) / n,
        "silog": 100 * math.sqrt(sum(d * d for d in logs) / n - mean**2),
        "abs_rel": sum(abs(p - t) / t for p, t in pairs) / n,
        "sq_rel": sum((p - t) ** 2 / t for p, t in pairs) / n,
        **{f"delta{k}": sum(max(p / t, t / p) < 1.25**k for p, t in pairs) / n for k in (1, 2, 3)},
        "bad_pixels": sum(abs(p - t) > 0.07 for p, t in pairs) / n,
    }


def test_by_hand():
    """Four pixels: exact, twice as deep, half as deep, unknown."""
    found = depth_metrics([[2.0, 4.0, 2.0, 9.0]], [[2.0, 2.0, 4.0, np.nan]])
    assert found["pixels"] == 3
    assert found["mse"] == pytest.approx(8 / 3)
    assert found["rmse"] == pytest.approx(math.sqrt(8 / 3))
    assert found["mae"] == pytest.approx(4 / 3)
    assert found["abs_rel"] == pytest.approx((0 + 1 + 0.5) / 3)
    assert found["sq_rel"] == pytest.approx((0 + 2 + 1) / 3)
    assert found["log10"] == pytest.approx(2 * math.log10(2) / 3)
    assert found["rmse_log"] == found["silog"] / 100 == pytest.approx(LN2 * math.sqrt(2 / 3))
    assert found["delta1"] == found["delta2"] == found["delta3"] == pytest.approx(1 / 3)
    assert found["bad_pixels"] == pytest.approx(2 / 3)


def test_the_thresholds_are_strict_and_powers_of_five_quarters():
    target = np.full((1, 6), 4.0)
    prediction = 4 * np.array([[1.25, 1.2499, 1.5625, 1.5624, 1.953125, 1 / 1.95]])
    found = depth_metrics(prediction, target)
    assert [found[f"delta{k}"] for k in (1, 2, 3)] == pytest.approx([1 / 6, 3 / 6, 5 / 6])


def test_a_bad_pixel_is_worse_than_seven_hundredths():
    target = np.array([[1.0, 1.0, 1.0]])
    assert depth_metrics([[1.0625, 1.125, 0.875]], target)["bad_pixels"] == pytest.approx(2 / 3)
    strict = DepthProtocol(bad_pixel=0.125)
    assert depth_metrics([[1.0625, 1.125, 0.5]], target, protocol=strict)["bad_pixels"] == pytest.approx(1 / 3)


@given(SEEDS)
@settings(max_examples=30, deadline=None)
def test_equal_to_loops(seed):
    prediction, target = maps(seed, (7, 9))
    assert depth_metrics(prediction, target) | naive(prediction, target) == pytest.approx(
        depth_metrics(prediction, target), rel=1e-9, nan_ok=True
    )


@given(SEEDS, st.floats(0.01, 100))
@settings(max_examples=30, deadline=None)
def test_what_a_common_scale_changes(seed, scale):
    """Relative and logarithmic metrics ignore a scale of both maps; lengths follow it; SILog ignores that of one."""
    prediction, target = maps(seed)
    protocol = DepthProtocol(floor=1e-9)
    one, both = (depth_metrics(s * prediction, s * target, protocol=protocol) for s in (1, scale))
    for name in ("abs_rel", "log10", "rmse_log", "silog", "delta1", "delta2", "delta3"):
        assert both[name] == pytest.approx(one[name], rel=1e-9), name
    for name, power in (("rmse", 1), ("mae", 1), ("sq_rel", 1), ("mse", 2)):
        assert both[name] == pytest.approx(one[name] * scale**power, rel=1e-9), name
    alone = depth_metrics(scale * prediction, target, protocol=protocol)
    assert alone["silog"] == pytest.approx(one["silog"], rel=1e-9)


@given(SEEDS)
@settings(max_examples=20, deadline=None)
def test_pixels_that_do_not_count_change_nothing(seed):
    rng = np.random.default_rng(seed)
    prediction, target = maps(seed)
    valid = rng.random(target.shape) < 0.7
    other = np.where(valid, prediction, np.nan)
    found = depth_metrics(prediction, target, valid)
    assert depth_metrics(other, target, valid) == pytest.approx(found, nan_ok=True)
    assert depth_metrics(prediction, np.where(valid, target, np.nan)) == pytest.approx(found, nan_ok=True)
    assert found["pixels"] == (valid & ~np.isnan(target)).sum()


def test_a_perfect_prediction():
    _, target = maps()
    found = depth_metrics(np.where(np.isnan(target), -1, target), target)
    assert [found[f"delta{k}"] for k in (1, 2, 3)] == [1, 1, 1]
    assert all(found[name] == 0 for name in DEPTH if not name.startswith("delta") and name != "bumpiness")


def test_silog_of_a_nearly_constant_ratio_is_not_lost_to_rounding():
    target = np.ones((1, 2))
    prediction = 1000 * np.exp([[1e-7, -1e-7]])
    assert depth_metrics(prediction, target)["silog"] == pytest.approx(1e-5, rel=1e-6)


def test_bumpiness_of_a_parabola_is_eight_times_its_curvature():
    x = np.tile(np.arange(40.0), (30, 1))
    inner = np.zeros((30, 40), bool)
    inner[2:-2, 2:-2] = True
    for c in (5e-4, 1e-3):
        assert bumpiness(c * x**2, 0 * x, inner) == pytest.approx(100 * 8 * c)
    assert bumpiness(x**2, 0 * x, inner) == pytest.approx(5)
    assert bumpiness(3 * x + 7, 0 * x, inner) == pytest.approx(0, abs=1e-9)


def test_bumpiness_beside_scikit_image():
    filters = pytest.importorskip("skimage.filters")
    rng = np.random.default_rng(3)
    f = 0.01 * rng.standard_normal((20, 30))

    ways = filters.scharr_v, filters.scharr_h
    # What a slope of 1 a pixel gives has changed with its versions; 2 in those that the benchmark used.
    unit = 2 / ways[0](np.tile(np.arange(9.0), (9, 1)))[4, 4]
    squares = sum((unit**2 * b(a(f))) ** 2 for a in ways for b in ways)
    assert bumpiness(f, 0 * f) == pytest.approx(100 * np.minimum(np.sqrt(squares), 0.05).mean())


def test_bumpiness_never_looks_at_unknown_pixels():
    rng = np.random.default_rng(0)
    f, valid = 1e-3 * rng.standard_normal((30, 30)), np.ones((30, 30), bool)
    valid[10, 10] = False
    broken = np.where(valid, f, 1e9)
    assert bumpiness(broken, 0 * f, valid) == bumpiness(f, 0 * f, valid) < 5
    assert bumpiness(f, 0 * f, valid) != bumpiness(f, 0 * f)
    assert math.isnan(bumpiness(f[:4], 0 * f[:4], valid[:4] & (np.arange(30) % 3 > 0)))


def test_bumpiness_of_disparity():
    prediction, target = maps(noise=0.01)
    found = depth_metrics(prediction, target, protocol=DepthProtocol(bumpiness="disparity"))
    assert found["bumpiness"] == pytest.approx(bumpiness(1 / prediction, 1 / target))
    assert depth_metrics(prediction, target)["bumpiness"] == pytest.approx(bumpiness(prediction, target))


def test_nothing_valid_is_unknown_and_counts_no_pixel():
    prediction, target = maps()
    found = depth_metrics(prediction, target, np.zeros(target.shape, bool))
    assert found.pop("pixels") == 0
    assert all(math.isnan(value) for value in found.values())
    assert set(found) == set(DEPTH)


def test_predictions_that_are_not_positive_meet_the_floor_under_a_logarithm_only():
    found = depth_metrics([[-1.0, 1.0]], [[1.0, 1.0]])
    assert found["mae"] == 1
    assert found["log10"] == pytest.approx(3 / 2)
    assert found["delta3"] == 0.5
    lower = depth_metrics([[-1.0, 1.0]], [[1.0, 1.0]], protocol=DepthProtocol(floor=1e-2))
    assert lower["log10"] == pytest.approx(1)
    clamped = depth_metrics([[-1.0, 99.0]], [[1.0, 1.0]], protocol=DepthProtocol(max_depth=10, clamp=True))
    assert clamped["mae"] == pytest.approx((1 + 9) / 2)


def test_caps_of_depth():
    target = np.array([[69.0, 70.0, 70.1, 80.0, 81.0, 0.0, -1.0, np.inf]])
    assert counted_pixels(target, None, MAKE3D_C1).sum() == 2
    assert counted_pixels(target, None, MAKE3D_C2).sum() == 4
    assert counted_pixels(target, None, DepthProtocol()).sum() == 5
    assert counted_pixels(target, None, DepthProtocol(min_depth=70)).sum() == 3


def test_the_eigen_crop():
    rows, columns = eigen_crop(480, 640)
    assert (rows.start, rows.stop, columns.start, columns.stop) == (45, 471, 41, 601)
    rows, columns = eigen_crop(240, 320)
    assert (rows.start, rows.stop, columns.start, columns.stop) == (22, 236, 20, 300)
    target = np.ones((480, 640))
    assert depth_metrics(target, target, protocol=NYU_EIGEN)["pixels"] == 426 * 560
    refusal(lambda: depth_metrics(np.ones((224, 224)), np.ones((224, 224)), protocol=NYU_EIGEN), "4:3")


@pytest.mark.parametrize(
    ("words", "arguments"),
    [
        ("share one shape", ([[1.0]], [[1.0, 2.0]])),
        ("share one shape", ([1.0], [1.0])),
        ("1 of 2 predictions", ([[np.nan, 1.0]], [[1.0, 1.0]])),
        ("NaN or infinite", ([[np.inf]], [[1.0]])),
        ("booleans", ([[1.0]], [[1.0]], [[1]])),
        ("booleans", ([[1.0]], [[1.0]], [True])),
        ("real numbers", ([[1j]], [[1.0]])),
    ],
)
def test_what_cannot_be_judged_is_refused(words, arguments):
    refusal(lambda: depth_metrics(*arguments), words)


@pytest.mark.parametrize(
    "keys",
    [{"min_depth": -1}, {"max_depth": 0}, {"floor": 0}, {"bad_pixel": 0}, {"crop": "garg"}, {"bumpiness": "coc"}],
)
def test_protocols_that_cannot_be_used_are_refused(keys):
    refusal(lambda: DepthProtocol(**keys))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.uint16])
def test_sums_are_exact_whatever_the_type_of_the_maps(dtype):
    target = np.full((200, 300), 60000 if dtype == np.uint16 else 8, dtype)
    prediction = (target // 2).astype(dtype)
    found = depth_metrics(prediction, target)
    assert found["abs_rel"] == found["mae"] / float(target[0, 0]) == 0.5


def test_running_means_merge():
    values = np.random.default_rng(0).standard_normal(50) + 1e6
    whole, first, second = Running(), Running(), Running()
    for k, value in enumerate(values):
        whole.add(value)
        (first if k < 17 else second).add(value)
    first.merge(second)
    for found in (whole, first):
        assert found.average == pytest.approx(values.mean(), rel=1e-15)
        assert found.deviation == pytest.approx(values.std(ddof=1), rel=1e-9)
        assert found.variance == pytest.approx(values.var(), rel=1e-9)
    whole.add(math.inf)
    assert whole.average == math.inf
    assert math.isnan(whole.deviation)
    assert math.isnan(Running().average)


def test_both_averages_of_two_images_by_hand():
    """Errors of 1 m in one pixel, and of 3 m in three pixels."""
    scores = DepthScores()
    scores.add([[2.0]], [[1.0]])
    scores.add([[4.0, 4.0, 4.0]], [[1.0, 1.0, 1.0]])
    scores.add([[4.0]], [[np.nan]])
    found = scores.result()
    assert (found.images, found.empty, found.pixels) == (2, 1, 4)
    assert found.per_image["mae"] == found.per_image["rmse"] == 2
    assert found.per_pixel["mae"] == 2.5
    assert found.per_pixel["rmse"] == pytest.approx(math.sqrt(28 / 4))
    assert found.deviation["mae"] == pytest.approx(math.sqrt(2))
    assert found.per_pixel["bumpiness"] == 0


def test_a_stream_is_its_images_and_merges():
    pairs = [maps(seed, (12 + seed, 20)) for seed in range(5)]
    edges = [0.5, 2, 5, 10]
    whole, parts = DepthScores(depth_edges=edges), [DepthScores(depth_edges=edges) for _ in range(2)]
    own = [whole.add(*pair) for pair in pairs]
    for k, pair in enumerate(pairs):
        parts[k % 2].add(*pair)
    parts[0].merge(parts[1])
    a, b = whole.result(), parts[0].result()
    for name in DEPTH:
        assert a.per_image[name] == pytest.approx(np.mean([one[name] for one in own]))
        assert a.deviation[name] == pytest.approx(np.std([one[name] for one in own], ddof=1))
        assert b.per_image[name] == pytest.approx(a.per_image[name])
        assert b.per_pixel[name] == pytest.approx(a.per_pixel[name])
    pooled = naive(np.concatenate([p.ravel() for p, _ in pairs]), np.concatenate([t.ravel() for _, t in pairs]))
    assert {name: a.per_pixel[name] for name in pooled} == pytest.approx(pooled)
    np.testing.assert_array_equal(a.depth_curve.pixels, b.depth_curve.pixels)
    np.testing.assert_allclose(a.depth_curve.rmse, b.depth_curve.rmse)


def test_memory_does_not_grow_with_images():
    import pickle

    scores = DepthScores(depth_edges=[0, 5, 10])
    sizes = set()
    for _ in range(3):
        for seed in range(4):
            scores.add(*maps(seed))
        sizes.add(len(pickle.dumps(scores)) // 64)
    assert len(sizes) == 1


def test_error_over_depth_and_over_blur():
    target = np.array([[1.0, 1.5, 2.0, 3.0, 4.0, 9.0]])
    error = np.array([[0.1, -0.3, 0.2, 0.2, -0.4, 5.0]])
    coc = np.array([[5.0, 3.0, 0.0, -1.0, -4.0, np.nan]])
    scores = DepthScores(depth_edges=[1, 2, 3.5, 4, 5, 6], coc_edges=[-4, 0, 5])
    scores.add(target + error, target, coc=coc)
    found = scores.result()
    depth, blur = found.depth_curve, found.coc_curve
    assert depth.pixels.tolist() == [2, 2, 0, 1, 0]
    assert depth.outside == blur.outside == 1
    assert depth.bias[[0, 1, 3]] == pytest.approx([-0.1, 0.2, -0.4])
    assert depth.mae[[0, 1, 3]] == pytest.approx([0.2, 0.2, 0.4])
    assert depth.rmse[[0, 1, 3]] == pytest.approx([math.sqrt(0.05), 0.2, 0.4])
    assert np.isnan(depth.rmse[[2, 4]]).all()
    assert depth.share.sum() == pytest.approx(1)
    assert blur.pixels.tolist() == [2, 3]
    assert blur.bias == pytest.approx([-0.1, 0])
    json.dumps(found.as_dict(), allow_nan=False)
    assert found.as_dict()["error over depth"]["rmse"][2] is None


def test_streams_that_do_not_fit_are_refused():
    refusal(lambda: DepthScores(depth_edges=[1, 1]), "ascend")
    refusal(lambda: DepthScores(depth_edges=[1]), "two or more")
    refusal(lambda: DepthScores(coc_edges=[0, 1]).add([[1.0]], [[1.0]]), "CoC of an image")
    refusal(lambda: DepthScores().merge(DepthScores(MAKE3D_C1)), "protocols")
    refusal(lambda: DepthScores().merge(DepthScores(depth_edges=[0, 1])), "curves")
    refusal(lambda: DepthScores(depth_edges=[0, 2]).merge(DepthScores(depth_edges=[0, 1])), "bins")


def test_nothing_added_gives_unknown_metrics():
    found = DepthScores().result()
    assert found.images == found.pixels == 0
    assert all(math.isnan(found.per_image[name]) and math.isnan(found.per_pixel[name]) for name in DEPTH)
    assert set(ImageScores().result().per_image) == {"psnr", "ssim"}


@pytest.mark.filterwarnings("ignore")
def test_agreement_with_torchmetrics(monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "matplotlib"]:
        # Where it is not installed colour-science puts a dummy in its place, which others stumble over.
        monkeypatch.delitem(sys.modules, name)
    pytest.importorskip("torchmetrics")
    import torch
    from torchmetrics import MeanAbsoluteError, MeanSquaredError, MeanSquaredLogError

    p, t = (torch.from_numpy(m) for m in maps(noise=0.1))
    known = ~torch.isnan(t)
    depth = depth_metrics(p.numpy(), t.numpy())
    p, t = p[known], t[known]
    assert depth["mae"] == pytest.approx(float(MeanAbsoluteError()(p, t)), rel=1e-5)
    assert depth["rmse"] == pytest.approx(float(MeanSquaredError(squared=False)(p, t)), rel=1e-5)
    # Its logarithm is of 1 + x.
    assert depth["rmse_log"] ** 2 == pytest.approx(float(MeanSquaredLogError()(p - 1, t - 1)), rel=1e-5)


def test_the_trainer_gets_metrics_with_numpy_alone():
    code = (
        "import sys\n"
        "for name in ('cv2', 'scipy', 'PIL', 'numba', 'zarr', 'torch'): sys.modules[name] = None\n"
        "import defocal.evaluate.metrics as m, defocal.evaluate as e, numpy as np\n"
        "assert e.depth_metrics is m.depth_metrics\n"
        "print(m.depth_metrics(np.ones((2, 2)), np.ones((2, 2)))['rmse'])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "0.0\n"


def test_public_names_of_the_room():
    import defocal.evaluate as evaluate

    assert sorted(evaluate.__all__) == evaluate.__dir__()
    assert all(callable(getattr(evaluate, name)) for name in evaluate.__all__)
    with pytest.raises(AttributeError, match="nonsense"):
        _ = evaluate.nonsense


def test_every_number_has_a_name():
    assert set(depth_metrics([[1.0]], [[1.0]])) - {"pixels"} == set(DEPTH)
    assert all(MEASURES[name].title for name in (*DEPTH, "psnr", "ssim"))
    assert {name for name in MEASURES if MEASURES[name].higher} == {
        "delta1",
        "delta2",
        "delta3",
        "psnr",
        "ssim",
        "aurg",
    }


def test_every_number_is_documented():
    from pathlib import Path

    page = (Path(__file__).parents[1] / "docs" / "metrics.md").read_text()
    for name, kind in MEASURES.items():
        assert f"`{name}`" in page, name
        assert kind.title.split(" <")[0].lower() in page.lower(), name
