"""Training, prediction and evaluation as a user meets them: the commands, the Python API, and what both refuse."""

import json
import shutil

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from conftest import recipe_data
from training import config, config_data

from defocal import InputError
from defocal.evaluate.metrics import depth_metrics
from defocal.pipelines import generate
from defocal.pipelines.cli import cli
from defocal.pipelines.evaluation import Options, evaluate
from defocal.pipelines.evaluation_report import report_tables, write_report
from defocal.synth import Recipe, ThinLens, open_store
from defocal.synth.samples import SampleMaker
from defocal.train import load_model, train
from defocal.train.prediction import as_batch


def run_command(*arguments):
    return CliRunner().invoke(cli, [str(argument) for argument in arguments], catch_exceptions=False)


def as_toml(data):
    lines = [f"{key} = {json.dumps(value)}" for key, value in data.items() if not isinstance(value, dict)]
    for name, section in data.items():
        if isinstance(section, dict):
            lines += [f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in section.items())]
    return "\n".join(lines)


@pytest.fixture(scope="module")
def runs(tiny_store, tmp_path_factory):
    """Two seeds of one training, and one on sharp images."""
    folder = tmp_path_factory.mktemp("runs")
    train(config(), [tiny_store], folder / "unet-seed0")
    train(config(seed=6), [tiny_store], folder / "unet-seed1")
    train(config(data={"input": "aif"}), [tiny_store], folder / "sharp")
    return [folder / "unet-seed0", folder / "unet-seed1", folder / "sharp"]


def test_the_commands_lead_from_a_store_to_a_report(tiny_store, tmp_path):
    (tmp_path / "mine.toml").write_text(as_toml(config_data()))
    out = tmp_path / "run"
    done = run_command("train", tmp_path / "mine.toml", "--data", tiny_store, "--out", out, "--set", "run.steps=2")
    assert done.exit_code == 0, done.output
    assert "Best validation at step" in done.output
    assert f"defocal evaluate {out}" in done.output
    done = run_command("evaluate", out, "--data", tiny_store, "--out", tmp_path / "report", "--baseline", "mean-depth",
                       "--dropout-samples", 3, "--device", "cpu")  # fmt: skip
    assert done.exit_code == 0, done.output
    assert "RMSE" in done.output
    page = (tmp_path / "report" / "report.html").read_text()
    assert "mean-depth" in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    found = json.loads((tmp_path / "report" / "scores.json").read_text())
    assert [one["name"] for one in found["judged"]] == ["run", "mean-depth"]
    assert found["judged"][0]["uncertainty"]["samples"] == 3
    assert (tmp_path / "report" / "tables.tex").read_text().count(r"\toprule") == 2


def test_scores_are_those_of_the_predictions(runs, tiny_store):
    found = evaluate([runs[0]], tiny_store, Options(device="cpu"))
    store = open_store(tiny_store)
    model = load_model(runs[0], device="cpu")
    each = []
    for row in range(found.samples):
        sample = store.sample("test", row)
        each.append(depth_metrics(model.predict(sample["capture"])["depth"], sample["depth"]))
    scores = found.judged[0].depth.result()
    for name in ("rmse", "abs_rel", "delta1"):
        assert scores.per_image[name] == pytest.approx(np.mean([one[name] for one in each]), rel=1e-6)


def test_seeds_share_a_row_and_other_configs_do_not(runs, tiny_store, tmp_path):
    found = evaluate(runs, tiny_store, Options(device="cpu", limit=2, pictures=1))
    rows = report_tables(found)[0].rows
    assert [row.name for row in rows] == ["unet (2 seeds)", "sharp"]
    assert len(rows[0].seeds("rmse")) == 2
    paths = write_report(found, tmp_path / "report")
    again = [path.read_bytes() for path in paths]
    assert [path.read_bytes() for path in write_report(found, tmp_path / "report")] == again


def test_one_seed_is_no_two_seeds(runs, tiny_store, tmp_path):
    (tmp_path / "link").symlink_to(runs[0])
    shutil.copytree(runs[0], tmp_path / "copy")
    for again in (runs[0], tmp_path / "link", runs[0] / "best.pt"):
        with pytest.raises(InputError, match="is given twice"):
            evaluate([runs[0], again], tiny_store, Options(device="cpu"))
    with pytest.raises(InputError, match="mean-depth is given twice"):
        evaluate([], tiny_store, Options(baselines=("mean-depth", "mean-depth")))
    given = [runs[0], tmp_path / "copy", runs[0] / "last.pt", runs[1]]
    rows = report_tables(evaluate(given, tiny_store, Options(device="cpu", limit=2)))[0].rows
    assert [row.name for row in rows] == ["unet (2 seeds)", "copy", "last"]
    given = [runs[0] / "best.pt", runs[1] / "last.pt"]
    rows = report_tables(evaluate(given, tiny_store, Options(device="cpu", limit=2)))[0].rows
    assert [row.name for row in rows] == ["best", "last"]


def test_runs_of_other_data_are_no_seeds_of_one_row(runs, tiny, tiny_store, tmp_path):
    maker = SampleMaker(tiny.model_copy(update={"seed": tiny.seed + 1}))
    generate.run(tmp_path / "other", maker, generate.create(tmp_path / "other", maker))
    train(config(seed=6), [tmp_path / "other"], tmp_path / "unet-seed2")
    found = evaluate([*runs[:2], tmp_path / "unet-seed2"], tiny_store, Options(device="cpu", limit=2, pictures=1))
    assert [row.name for row in report_tables(found)[0].rows] == ["unet (2 seeds)", "unet-seed2"]


def test_uncertainty_does_not_depend_on_what_was_predicted_before(runs, tiny_store):
    options = Options(device="cpu", samples=2, limit=1, pictures=1)
    one = evaluate([runs[0]], tiny_store, options)
    torch.manual_seed(99)
    two = evaluate([runs[2], runs[0]], tiny_store, options)
    np.testing.assert_array_equal(one.shown[0].spread["unet-seed0"], two.shown[0].spread["unet-seed0"])
    assert one.shown[0].spread["unet-seed0"].max() > 0


def test_images_of_any_size_and_type_are_predicted(runs):
    model = load_model(runs[0], device="cpu")
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (37, 51, 3), dtype=np.uint8)
    one = model.predict(image)["depth"]
    assert one.shape == (37, 51)
    assert one.dtype == np.float32
    np.testing.assert_allclose(model.predict((image / 255).astype(np.float32))["depth"], one, rtol=1e-4)
    np.testing.assert_allclose(model.predict(image.astype(np.uint16) * 257)["depth"], one, rtol=1e-4)
    both = model.predict(np.stack([image, image[::-1]]))["depth"]
    np.testing.assert_allclose(both[0], one, rtol=1e-3)


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((8, 8)), np.zeros((8, 8, 4), np.uint8), np.zeros((0, 8, 3), np.uint8), np.zeros((8, 8, 3), np.int32),
        np.full((8, 8, 3), 2.0), np.full((8, 8, 3), np.nan), np.zeros((1, 1, 8, 8, 3), np.uint8), [[[0.5, 0.5, 0.5]]],
    ],
)  # fmt: skip
def test_what_is_no_image_is_refused(image):
    with pytest.raises(InputError, match="images"):
        as_batch(image)


def test_images_of_another_camera_are_refused(runs):
    model = load_model(runs[0], device="cpu")
    image = np.zeros((16, 16, 3), np.uint8)
    model.predict(image, lens=model.lens)
    other = ThinLens(focal_length=0.05, f_number=4.0, focus_distance=1.6, pixel_pitch=2e-4)
    with pytest.raises(InputError, match="these images have f_number 4, and the model was trained for 2"):
        model.predict(image, lens=other)


def test_a_store_of_another_camera_is_refused(runs, tmp_path):
    from defocal.pipelines.generate import create, run
    from defocal.synth.samples import SampleMaker

    data = recipe_data(camera={"f_number": 4.0}, scenes={"count": 4}, output={"splits": {"test": 1.0}})
    maker = SampleMaker(Recipe.parse(data))
    assert not run(tmp_path / "other", maker, create(tmp_path / "other", maker)).failed
    done = run_command("evaluate", runs[0], "--data", tmp_path / "other", "--out", tmp_path / "report")
    assert done.exit_code == 2
    assert "f_number is 2" in done.output
    assert not (tmp_path / "report").exists()


def test_bad_input_gets_a_sentence(runs, tiny_store, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("")
    cases = [
        (("evaluate", "--data", tiny_store, "--out", tmp_path / "r"), "nothing to evaluate"),
        (("evaluate", tmp_path / "none", "--data", tiny_store, "--out", tmp_path / "r"), "there is no run at"),
        (("evaluate", tmp_path / "full", "--data", tiny_store, "--out", tmp_path / "r"), "is not the folder of a run"),
        (("evaluate", runs[0], "--data", tmp_path / "none", "--out", tmp_path / "r"), "there is no dataset"),
        (("evaluate", runs[0], "--data", tiny_store, "--out", tmp_path / "full"), "holds mine.txt"),
        (("evaluate", runs[0], "--data", tiny_store, "--out", tmp_path / "r", "--protocol", "x"), "no protocol 'x'"),
        (("evaluate", runs[0], "--data", tiny_store, "--out", tmp_path / "r", "--baseline", "x"), "no baseline 'x'"),
        (("evaluate", runs[0], "--data", tiny_store, "--out", tmp_path / "r", "--split", "x"), "no split 'x'"),
        (("evaluate", runs[0], "--data", tiny_store, "--out", tmp_path / "full" / "mine.txt" / "r"), "is no folder"),
        (("evaluate", runs[0], "--data", tmp_path / "full" / "mine.txt", "--out", tmp_path / "r"), "is no folder"),
        (("train", tmp_path, "--data", tiny_store, "--out", tmp_path / "r"), "there is no config"),
        (("train", tmp_path / "no.toml", "--data", tiny_store, "--out", tmp_path / "r"), "no.toml: No such file"),
        (("train", "nothing", "--data", tiny_store, "--out", tmp_path / "r"), "there is no config 'nothing'"),
        (("train", "unet-smoke", "--data", tmp_path / "none", "--out", tmp_path / "r"), "there is no dataset"),
        (("train", "2hded", "--data", tiny_store, "--out", tmp_path / "r"), "larger than the pictures"),
    ]
    for arguments, words in cases:
        done = run_command(*arguments)
        assert done.exit_code == 2, (arguments, done.output)
        assert words in done.output
        assert "Traceback" not in done.output
        assert not (tmp_path / "r").exists()


def test_an_array_that_a_store_lacks_is_named(runs, tiny_store, tmp_path):
    from defocal.pipelines.generate import create, run
    from defocal.synth.samples import SampleMaker

    output = {"arrays": ["aif", "depth"], "splits": {"train": 0.5, "test": 0.5}}
    maker = SampleMaker(Recipe.parse(recipe_data(scenes={"count": 6}, output=output)))
    assert not run(tmp_path / "some", maker, create(tmp_path / "some", maker)).failed
    with pytest.raises(InputError, match="has no array 'capture'"):
        train(config(), [tmp_path / "some"], tmp_path / "run")
    with pytest.raises(InputError, match="has no array 'capture', which unet-seed0 needs"):
        evaluate([runs[0]], tmp_path / "some", Options(device="cpu"))


def test_a_store_that_is_unfinished_is_refused(tiny_store, tmp_path):
    copy = shutil.copytree(tiny_store, tmp_path / "copy")
    (copy / "samples.csv").unlink()
    with pytest.raises(InputError, match="is unfinished: run `defocal resume"):
        train(config(), [copy], tmp_path / "run")


def test_two_heads_train_and_either_may_be_left_out(tiny_store, tmp_path):
    model = {"kind": "2hded", "width": 0.0625, "blocks": [1, 1, 1, 1]}
    settings = config(model=model, loss={"kind": "2hded"}, data={"targets": ["depth", "aif"]}, run={"steps": 2})
    outcome = train(settings, [tiny_store], tmp_path / "run")
    assert {"rmse", "psnr"} <= outcome.numbers.keys()
    image = open_store(tiny_store).array("test", "capture")[0]
    both = load_model(tmp_path / "run", device="cpu").predict(image)
    assert both["aif"].shape == (40, 56, 3)
    for head in ("depth", "aif"):
        alone = load_model(tmp_path / "run", device="cpu", heads=[head]).predict(image)
        assert list(alone) == [head]
        np.testing.assert_allclose(alone[head], both[head], rtol=1e-5)
    found = evaluate([tmp_path / "run"], tiny_store, Options(device="cpu", limit=2))
    assert {"psnr", "ssim", "rmse"} <= {m for row in report_tables(found)[0].rows for m in row.values}


@pytest.mark.slow
def test_sigterm_saves_and_ends_well_and_two_processes_agree(tiny_store, tmp_path):
    """The same through real processes: a signal from outside, and a team of two."""
    import signal
    import subprocess
    import sys
    import time

    (tmp_path / "mine.toml").write_text(as_toml(config_data(run={"steps": 4000, "validate_every": 5000})))
    arguments = ["train", tmp_path / "mine.toml", "--data", tiny_store, "--out", tmp_path / "run"]
    command = [sys.executable, "-m", "defocal.pipelines.cli", *map(str, arguments)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 120
        while not (tmp_path / "run" / "log.jsonl").exists() and time.monotonic() < deadline:
            time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        said, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    assert "Go on with --resume" in said
    assert (tmp_path / "run" / "last.pt").is_file()

    (tmp_path / "short.toml").write_text(as_toml(config_data(data={"batch_size": 1}, run={"steps": 4})))
    team = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--rdzv-backend=c10d",
            "--rdzv-endpoint=127.0.0.1:0", "-m", "defocal.pipelines.cli", "train", str(tmp_path / "short.toml"),
            "--data", str(tiny_store), "--out", str(tmp_path / "team")]  # fmt: skip
    done = subprocess.run(team, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    facts = json.loads((tmp_path / "team" / "run.json").read_text())
    assert facts["processes"] == 2
    assert "Best validation" in done.stdout
