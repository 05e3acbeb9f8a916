"""IMAGE-DNN: DWDN's layers and count, what it reads, its loss of two sizes; training, prediction, evaluation whole."""

import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from click.testing import CliRunner
from conftest import recipe_data
from stores import noise_store
from training import config, objective

from defocal import InputError
from defocal.pipelines.cli import cli
from defocal.pipelines.evaluation import Options, evaluate
from defocal.pipelines.restoration import RATIOS, Wiener
from defocal.synth import Recipe, ThinLens, open_store
from defocal.train import load_config, load_model, train
from defocal.train.banks import Bank
from defocal.train.cameras import Camera
from defocal.train.checkpoint import load_checkpoint, save_checkpoint
from defocal.train.journal import read_log
from defocal.train.losses import DwdnLossSettings
from defocal.train.models import MODELS, build, restore
from defocal.train.models.dwdn import DwdnSettings

pytestmark = pytest.mark.usefixtures("one_thread")

LENS = ThinLens(focal_length=0.05, f_number=2.0, focus_distance=1.6, pixel_pitch=2e-4)
SMALL = DwdnSettings(features=3, width=2, blocks=1)
PSF = {
    "kind": "mask", "mask": {"kind": "spiral", "zones": 3, "lobes": 2, "confinement": 0.8}, "planes": 4, "size": 15,
    "samples": 96,
}  # fmt: skip
CAMERA = {"f_number": 17.6, "focus_distance": "1.6 m", "pixel_pitch": "40 um"}


def bank():
    rng = np.random.default_rng(0)
    taps = rng.random((3, 3, 5, 5))
    return Bank.of(taps / taps.sum((-2, -1), keepdims=True), [-2.0, 0.0, 2.0], LENS)


def batch(height=16, width=24, count=2):
    generator = torch.Generator().manual_seed(1)
    image = torch.rand(count, 3, height, width, generator=generator)
    return {"image": image, "depth": 0.8 + 3 * torch.rand(count, height, width, generator=generator)}


def small(seed=0):
    model = build(SMALL, seed)
    model.attach(bank())
    return model


def settings(**changes):
    model = {"kind": "dwdn", "features": 4, "width": 4, "blocks": 1}
    data = {"targets": ["depth", "aif"], "crop": [32, 32], "augment": {"flips": []}}
    return config(model=model, loss={"kind": "dwdn"}, data=data, **changes)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A dataset of a tiny camera with rotating PSFs and a noisy Bayer sensor."""
    from defocal.pipelines.generate import create, run
    from defocal.synth.samples import SampleMaker

    data = recipe_data(
        camera=CAMERA, psf=PSF, sensor={"preset": "rpsf"}, scenes={"count": 8, "size": [48, 56]}, accept=["all-sharp"]
    )
    maker = SampleMaker(Recipe.parse(data))
    out = tmp_path_factory.mktemp("rpsf") / "store"
    assert not run(out, maker, create(out, maker)).failed
    return out


@pytest.fixture(scope="module")
def trained(store, tmp_path_factory):
    """A few steps on it."""
    out = tmp_path_factory.mktemp("runs") / "deblur"
    changes = {"run": {"steps": 40, "validate_every": 20, "best": "psnr", "ema": 0.9}, "optimiser": {"rate": 5e-3}}
    return out, train(settings(**changes), [store], out)


# --- the network ----------------------------------------------------------------------------------------------------


def counted(features, width, blocks):
    """Weights and biases, layer by layer."""

    def conv(before, after, size=5):
        return before * after * size**2 + after

    def residual(channels):
        return blocks * 2 * conv(channels, channels)

    extract = conv(3, features) + residual(features)
    enter = conv(features, width) + conv(features + width, width) + 2 * residual(width)
    down = conv(width, 2 * width) + residual(2 * width) + conv(2 * width, 4 * width) + residual(4 * width)
    up = residual(4 * width) + conv(4 * width, 2 * width, 3) + residual(2 * width) + conv(2 * width, width, 3)
    return extract + enter + down + up + residual(width) + conv(width, 3)


def test_parameters_are_as_many_as_in_the_public_code():
    with torch.device("meta"):
        model = MODELS["dwdn"].construct(DwdnSettings())
    assert sum(p.numel() for p in model.parameters()) == counted(16, 32, 3) == 7_049_507
    assert sum(p.numel() for p in build(SMALL).parameters()) == counted(3, 2, 1)


def test_it_returns_the_image_at_two_sizes_and_half_of_them_for_the_loss_alone():
    model = small()
    found = model(batch())
    assert {name: tuple(value.shape) for name, value in found.items()} == {
        "aif": (2, 3, 16, 24),
        "aif_half": (2, 3, 8, 12),
    }
    whole = model.predict(batch(19, 29))
    assert {name: tuple(value.shape) for name, value in whole.items()} == {"aif": (2, 3, 19, 29)}


def test_a_residual_network_adds_to_the_capture():
    model = build(SMALL.model_copy(update={"residual": True}))
    model.attach(bank())
    for tensor in model.picture.parameters():
        torch.nn.init.zeros_(tensor)
    found, image = model(batch()), batch()["image"]
    assert torch.equal(found["aif"], image)
    torch.testing.assert_close(found["aif_half"], F.avg_pool2d(image, 2))


def test_every_parameter_gets_a_gradient_and_the_bank_is_none():
    model = build(SMALL.model_copy(update={"features": 6, "width": 8}))
    model.attach(bank())
    found = model(batch())
    (found["aif"].square().mean() + found["aif_half"].square().mean()).backward()
    assert [name for name, p in model.named_parameters() if not p.grad.abs().sum() > 0] == []
    assert not any("bank" in name for name, _ in model.named_parameters())


def test_the_depth_says_which_psf():
    model = small().eval()
    given = batch(16, 16, 1)
    near = model({**given, "depth": torch.full((1, 16, 16), 0.9)})["aif"]
    far = model({**given, "depth": torch.full((1, 16, 16), 4.0)})["aif"]
    assert (near - far).abs().max() > 1e-3
    unknown = model({**given, "depth": torch.full((1, 16, 16), torch.nan)})["aif"]
    focus = model({**given, "depth": torch.full((1, 16, 16), 1.6)})["aif"]
    assert torch.equal(unknown, focus)


def test_features_are_deconvolved_with_the_mean_of_the_colours():
    model = build(SMALL)
    model.attach(bank())
    torch.testing.assert_close(model.bank_kernels[:, 0], bank().kernels.mean(1))
    model = build(SMALL.model_copy(update={"planes": 2}))
    model.attach(bank())
    assert model.bank_coc.tolist() == [-2, 2]


def test_it_survives_its_checkpoint_with_the_bank():
    model = small(seed=4).eval()
    again = restore(SMALL, model.state_dict())
    assert torch.equal(again(batch())["aif"], model(batch())["aif"])
    assert again.outputs == ("aif",)
    with pytest.raises(InputError, match="holds no PSF bank"):
        restore(SMALL, build(SMALL).state_dict())
    with pytest.raises(InputError, match="returns aif, so it cannot return depth"):
        restore(SMALL, model.state_dict(), heads=["depth"])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"depth": None}, "reads 'depth', and the batch has only"),
        ({"depth": torch.ones(2, 8, 24)}, "metres of every pixel"),
        ({"depth": torch.ones(2, 16, 24, dtype=torch.int64)}, "floating-point"),
    ],
)
def test_depth_that_does_not_fit_is_refused(change, words):
    given = {name: value for name, value in {**batch(), **change}.items() if value is not None}
    with pytest.raises(InputError, match=words):
        small()(given)


def test_without_a_bank_it_does_nothing():
    with pytest.raises(InputError, match="give it a bank"):
        build(SMALL)(batch())
    with pytest.raises(TypeError, match="reads no PSFs"):
        build(MODELS["unet"].settings(width=2, levels=2)).attach(bank())


def test_half_precision_gives_nearly_the_same():
    model = small().eval()
    with torch.no_grad():
        whole = model(batch())["aif"]
        with torch.autocast("cpu", dtype=torch.bfloat16):
            half = model(batch())["aif"]
    assert half.dtype == torch.float32
    assert (half - whole).abs().mean() < 0.05 * whole.std()


# --- the loss -------------------------------------------------------------------------------------------------------


def test_the_loss_is_the_sum_of_both_sizes():
    generator = torch.Generator().manual_seed(2)
    outputs = {name: torch.rand(2, 3, *size, generator=generator) for name, size in
               {"aif": (8, 12), "aif_half": (4, 6)}.items()}  # fmt: skip
    truth = torch.rand(2, 3, 8, 12, generator=generator)
    found = objective(DwdnLossSettings(half_weight=0.5))(outputs, {"aif": truth})
    small_truth = truth.reshape(2, 3, 4, 2, 6, 2).mean((3, 5))
    assert float(found["aif/l1"]) == pytest.approx(float((outputs["aif"] - truth).abs().mean()), rel=1e-5)
    half = float((outputs["aif_half"] - small_truth).abs().mean())
    assert float(found["aif_half/l1"]) == pytest.approx(half, rel=1e-5)
    assert float(found["total"]) == pytest.approx(float(found["aif/l1"]) + 0.5 * half, rel=1e-5)
    # Of a network of one size, the other size is left out.
    assert "aif_half/l1" not in objective(DwdnLossSettings())({"aif": truth}, {"aif": truth})


def test_where_depth_is_unknown_both_sizes_may_be_left_out():
    outputs = {"aif": torch.zeros(1, 3, 4, 4), "aif_half": torch.zeros(1, 3, 2, 2)}
    truth, valid = torch.ones(1, 3, 4, 4), torch.ones(1, 4, 4, dtype=torch.bool)
    truth[..., 0, 0], valid[..., 0, 0] = 1e6, False
    found = objective(DwdnLossSettings(aif_valid="depth"))(outputs, {"aif": truth}, valid)
    assert float(found["aif/l1"]) == pytest.approx(1)
    assert float(found["aif_half/l1"]) == pytest.approx(1)


# --- whole ----------------------------------------------------------------------------------------------------------


def test_training_lowers_the_loss_and_keeps_the_bank(trained, store):
    out, outcome = trained
    losses = [line["loss"] for line in read_log(out, "train")]
    assert losses[-1] < 0.7 * losses[0]
    assert outcome.numbers.keys() >= {"psnr", "aif/l1", "aif_half/l1"}
    state = load_checkpoint(out / "best.pt")["average"]
    assert state["bank_kernels"].shape[0] == 4
    assert torch.isfinite(state["bank_optics"]).all()
    again = train(settings(run={"steps": 40, "validate_every": 20, "best": "psnr", "ema": 0.9},
                           optimiser={"rate": 5e-3}), [store], out, resume=True)  # fmt: skip
    assert again.step == 40


def test_prediction_needs_depth_and_no_store(trained, store):
    model = load_model(trained[0], device="cpu")
    sample = open_store(store).sample("test", 0)
    with pytest.raises(InputError, match=r"give predict\(images, depth=\.\.\.\) in metres"):
        model.predict(sample["capture"])
    with pytest.raises(InputError, match=r"depth must have shape \(48, 56\)"):
        model.predict(sample["capture"], depth=np.ones((3, 3)))
    found = model.predict(sample["capture"], depth=sample["depth"])
    assert list(found) == ["aif"]
    assert found["aif"].shape == (48, 56, 3)
    both = model.predict(np.stack([sample["capture"]] * 2), depth=np.stack([sample["depth"]] * 2))["aif"]
    np.testing.assert_allclose(both[1], found["aif"], atol=1e-5)


@pytest.fixture(scope="module")
def untrained(tmp_path_factory):
    """A checkpoint of a network as it begins, and the network in use."""
    one = settings()
    model = build(one.model)
    model.attach(bank())
    facts = [{"camera": Camera.of(Recipe.parse(recipe_data())).to_dict(), "encoding": "srgb"}]
    folder = tmp_path_factory.mktemp("untrained")
    state = {
        "config": json.dumps(one.to_dict()), "data": json.dumps(facts), "model": model.state_dict(), "average": None,
        "optics": None, "optimiser": {}, "step": 1, "steps": 1, "numbers": {}, "best": {},
    }  # fmt: skip
    save_checkpoint(folder / "last.pt", state)
    return folder, load_model(folder, device="cpu")


BLACK = np.zeros((16, 24, 3), np.uint8)
ONES = np.ones((16, 24))


@pytest.mark.parametrize(
    ("depth", "words"),
    [
        (ONES.tolist(), "depth must be a numpy array, not of type list"), ("far", "not of type str"),
        (ONES.astype(bool), "array of real numbers, not of type bool"), (ONES * 1j, "not of type complex128"),
        (ONES * np.nan, "depth is nowhere above 0"), (-ONES, "depth is nowhere above 0"),
        (1000 * ONES, r"depth is from 1000 to 1000, and the PSFs of the model are of .* m: give depth in metres"),
        (ONES / 1000, r"depth is from 0\.001 to 0\.001"),
    ],
)  # fmt: skip
def test_what_is_no_depth_is_refused(untrained, depth, words):
    with pytest.raises(InputError, match=words):
        untrained[1].predict(BLACK, depth=depth)


def test_depth_partly_beyond_the_bank_is_taken(untrained):
    model = untrained[1]
    some = np.where(np.arange(24) < 20, 1000.0, 1.6) * ONES
    assert model.predict(BLACK, depth=some)["aif"].shape == BLACK.shape
    whole = model.predict(BLACK, depth=1000 * ONES, anywhere=True)["aif"]
    assert model.predict(BLACK, depth=np.full((16, 24), 2))["aif"].shape == whole.shape


def test_calls_with_other_things_are_refused(untrained):
    folder, model = untrained
    with pytest.raises(InputError, match="which must be best or last, not 'foo'"):
        load_model(folder, which="foo")
    with pytest.raises(InputError, match="the run must be the path"):
        load_model(3)
    with pytest.raises(InputError, match="heads must be a list of names"):
        load_model(folder, heads=3)
    with pytest.raises(InputError, match="returns aif, so it cannot return depth"):
        load_model(folder, device="cpu", heads="depth")
    assert load_model(folder, device="cpu", heads="aif").model.outputs == ("aif",)
    with pytest.raises(InputError, match="lens must be a ThinLens"):
        model.predict(BLACK, lens="50 mm", depth=ONES)


def test_images_of_the_other_order_of_bytes_are_taken(untrained):
    image = np.random.default_rng(0).integers(0, 65536, (16, 24, 3)).astype(np.uint16)
    for other in (">u2", "<u2"):
        found = untrained[1].predict(image.astype(other), depth=ONES)["aif"]
        np.testing.assert_array_equal(found, untrained[1].predict(image, depth=ONES)["aif"])


def test_depth_must_be_among_the_data(store, tmp_path):
    data = {"targets": ["aif"], "crop": [32, 32], "augment": {"flips": []}}
    one = settings().model_copy(update={"data": config(data=data).data})
    with pytest.raises(InputError, match=r"add 'depth' to data\.targets"):
        train(one, [store], tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_report_has_the_rows_of_the_papers_table(trained, store, tmp_path):
    depth_run = tmp_path / "depth"
    train(config(data={"augment": {"flips": []}}, run={"steps": 2}), [store], depth_run)
    arguments = [trained[0], "--data", store, "--out", tmp_path / "report", "--baseline", "as-captured",
                 "--baseline", "wiener", "--device", "cpu", "--pictures", 1]  # fmt: skip
    done = CliRunner().invoke(cli, ["evaluate", *map(str, arguments)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert "PSNR" in done.output
    found = json.loads((tmp_path / "report" / "scores.json").read_text())["judged"]
    assert [one["name"] for one in found] == ["deblur", "as-captured", "wiener"]
    assert all({"psnr", "ssim"} <= one["aif"]["mean over images"].keys() for one in found)
    assert found[0]["facts"]["depth"] == found[2]["facts"]["depth"] == "true"
    page = (tmp_path / "report" / "report.html").read_text()
    assert page.count("<b>Restored</b>") == 3
    assert "<b>Truth</b>" in page

    told = evaluate([trained[0]], store, Options(device="cpu", depth_from=depth_run, limit=1))
    assert told.judged[0].facts["depth"] == "told by depth"
    sample = open_store(store).sample("test", 0)
    depth = load_model(depth_run, device="cpu").predict(sample["capture"])["depth"]
    aif = load_model(trained[0], device="cpu").predict(sample["capture"], depth=depth, anywhere=True)["aif"]
    np.testing.assert_array_equal(told.shown[0].restored["deblur"], np.rint(np.clip(aif, 0, 1) * 255))
    for arguments, words in (
        ({"runs": [depth_run], "depth_from": depth_run}, "nothing here does"),
        ({"runs": [trained[0]], "depth_from": trained[0]}, "does not tell depth"),
    ):
        with pytest.raises(InputError, match=words):
            evaluate(arguments.pop("runs"), store, Options(device="cpu", **arguments))


def test_the_classical_filter_takes_the_best_ratio_of_a_few(store, tmp_path):
    opened = open_store(store)
    method = Wiener(opened)
    assert method.ratio in RATIOS
    sample = opened.sample("train", 0)

    def error(ratio):
        method.ratio = ratio
        return np.mean((method.tell(sample["capture"], None, sample["depth"])["aif"] - sample["aif"] / 255) ** 2)

    best = method.ratio
    errors = {ratio: error(ratio) for ratio in (RATIOS[0], best, RATIOS[-1])}
    assert errors[best] <= 1.1 * min(errors.values())
    restored = method.tell(sample["capture"], None, sample["depth"])["aif"]
    assert restored.dtype == np.float32
    assert 0 <= restored.min() <= restored.max() <= 1


def test_the_classical_filter_says_what_it_lacks(store, tmp_path):
    for name, output, words in (
        ("test", {"splits": {"test": 1.0}}, "needs a split 'train'"),
        ("flat", {"arrays": ["capture", "aif"], "splits": {"train": 1.0}}, "needs the array 'depth'"),
    ):
        other = noise_store(tmp_path / name, count=2, output=output)
        with pytest.raises(InputError, match=words):
            evaluate([], other, Options(baselines=("wiener",)))


def test_flips_that_the_psfs_do_not_have_are_refused(store, tmp_path):
    data = {"targets": ["depth", "aif"], "crop": [32, 32]}
    one = settings().model_copy(update={"data": config(data=data).data})
    with pytest.raises(InputError, match="their own mirror images"):
        train(one, [store], tmp_path / "run")


def test_shipped_configs_are_the_papers():
    paper = load_config("dwdn")
    assert paper.model == DwdnSettings()
    assert (paper.run.epochs, paper.data.batch_size, paper.data.crop) == (500, 8, (256, 256))
    assert [paper.schedule.at(step, 1000) for step in (0, 499, 500, 999)] == [1, 1, 0.5, 0.5]
    assert load_config("dwdn-smoke").model.kind == "dwdn"


def test_reduction_is_by_means_of_four():
    image = torch.arange(24.0).reshape(1, 1, 4, 6)
    assert torch.equal(F.interpolate(image, scale_factor=0.5, mode="bilinear"), F.avg_pool2d(image, 2))
