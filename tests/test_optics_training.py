"""Training through a learned mask: what it leaves, exact resumption, rates, the camera that it looks through."""

import json
import shutil
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import torch
from conftest import recipe_data
from PIL import Image
from training import config, config_data

from defocal import InputError
from defocal.pipelines.evaluation import Options, evaluate
from defocal.pipelines.evaluation_report import report_numbers, write_report
from defocal.synth import HeightMap, Recipe, load_mask, open_store, save_mask
from defocal.train import load_model, train
from defocal.train import trainer as module
from defocal.train.batches import prepare
from defocal.train.checkpoint import load_checkpoint, save_checkpoint
from defocal.train.config import Config, load_config
from defocal.train.data import StoreDataset
from defocal.train.journal import read_log
from defocal.train.optics.module import Optics
from defocal.train.optics.settings import OpticsSettings
from defocal.train.optimise import Group, OptimiserSection, ScheduleSection, Steps
from defocal.train.pipeline import world
from defocal.train.settings import DataSettings
from defocal.train.trainer import DivergedError, Training

CAMERA = {"focal_length": "50 mm", "pixel_pitch": "24 um", "defocus": [-6, 6]}
MASK = {"kind": "spiral", "zones": 3, "lobes": 1.4, "confinement": 0.6}
OPTICS = {"mask": MASK, "planes": 5, "size": 13, "samples": 48, "rate": 0.05}


def recipe(mask, **changes):
    """A dataset of tiny scenes through a mask of a recipe."""
    psf = {"kind": "mask", "mask": mask, "planes": 9, "size": 13, "samples": 64}
    data = recipe_data(psf=psf, **{"scenes": {"count": 10, "objects": [2, 3]}, **changes})
    data["camera"] = CAMERA
    return Recipe.parse(data)


def made(out, mask, **changes):
    from defocal.pipelines.generate import create, run
    from defocal.synth.samples import SampleMaker

    maker = SampleMaker(recipe(mask, **changes))
    assert not run(out, maker, create(out, maker)).failed
    return out


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Scenes, and captures through a double helix, which is not its own mirror image."""
    return made(tmp_path_factory.mktemp("stores") / "double", {"kind": "spiral", "zones": 3, "lobes": 2.0})


def settings(optics=None, **changes):
    """The tiny training, through a mask."""
    data = {"data": {"input": "aif", **changes.pop("data", {})}, "optics": {**OPTICS, **(optics or {})}, **changes}
    return config(**data)


NOISY = {"sensor": {"preset": "rpsf", "read_noise": 40.0}}


@pytest.fixture(scope="module")
def finished(store, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "learned"
    outcome = train(settings(NOISY, run={"ema": 0.5}), [store], out)
    assert outcome.complete
    return out, outcome


def parameters(run, name="last.pt"):
    return load_checkpoint(run / name)["optics"]["parameters"]


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_a_run_leaves_the_mask_beside_each_checkpoint(finished):
    out, _ = finished
    for name, mask in (("best.pt", "mask.json"), ("last.pt", "mask-last.json")):
        kept = load_checkpoint(out / name)["optics"]
        assert json.loads(kept["mask"]) == load_mask(out / mask).to_dict()
    lines = read_log(out, "mask")
    assert [line["step"] for line in lines] == [3, 6]
    assert load_mask(out / "mask-last.json").lobes == pytest.approx(lines[-1]["lobes"], rel=1e-6)
    # The mask that is kept is an average of the steps', but has moved.
    assert lines[-1]["lobes"] != pytest.approx(MASK["lobes"], abs=1e-4)
    steps = read_log(out, "train")
    assert {"rate", "mask_rate", "gradient", "mask_gradient"} <= steps[-1].keys()
    with Image.open(out / "pictures" / "mask-step-000006.png") as sheet:
        assert min(sheet.size) > 200
    assert not list(out.rglob("*.partial"))


def test_a_resumed_run_makes_the_very_steps_of_an_uninterrupted_one(finished, store, tmp_path):
    whole, outcome = finished
    out = tmp_path / "run"
    chosen = settings(NOISY, run={"ema": 0.5})
    with module.join_team("cpu") as team:
        training = Training(chosen, [store], out, team, resume=False)
        make = training._make_step

        def step(batch):
            if training.step + 1 == 4:
                training.stop.wished.set()
            return make(batch)

        training._make_step = step
        assert not training.run().complete
        training.close()
    assert train(chosen, [store], out, resume=True) == outcome
    for name in ("last.pt", "best.pt"):
        one, other = load_checkpoint(whole / name), load_checkpoint(out / name)
        for part in ("model", "average"):
            assert same(one[part], other[part])
        for part in ("parameters", "average"):
            assert same(one["optics"][part], other["optics"][part])
    for name in ("mask.json", "mask-last.json"):
        assert (out / name).read_bytes() == (whole / name).read_bytes()
    assert read_log(out, "mask") == read_log(whole, "mask")


def test_a_mask_is_held_still_then_moves_and_never_decays(store, tmp_path):
    """In the first steps it does not move at all, though weight decay would have it."""
    optics = {"hold": 3, "rate": 0.5}
    optimiser = {"kind": "adamw", "rate": 3e-3, "weight_decay": 0.5}
    train(settings(optics, optimiser=optimiser, run={"save_every": 3}), [store], tmp_path / "run")
    rates = settings(optics).optics
    assert [rates.factor(step) for step in range(5)] == [0, 0, 0, 1, 1]
    assert load_mask(tmp_path / "run" / "mask-last.json").lobes != pytest.approx(MASK["lobes"], abs=1e-3)
    train(settings(optics, optimiser=optimiser, run={"steps": 3}), [store], tmp_path / "held")
    assert load_mask(tmp_path / "held" / "mask-last.json").lobes == pytest.approx(MASK["lobes"], abs=1e-6)


def test_rates_and_clips_are_each_groups_own():
    one, other = (torch.nn.Parameter(torch.ones(4)) for _ in range(2))
    section = OptimiserSection(kind="sgd", rate=0.1, weight_decay=0.5)
    optics = OpticsSettings.model_validate_json(json.dumps({**OPTICS, "hold": 2, "warm_up": 3}))
    groups = [
        Group("", [one], 0.1, None),
        Group("mask_", [other], 0.2, 1.0, decays=False, factor=optics.factor),
        Group("empty_", [], 1.0, None),
    ]
    steps = Steps(section, ScheduleSection(kind="linear"), groups)
    found = [steps.begin(step, 10)["mask_rate"] for step in range(10)]
    wanted = [0, 0, 0.25, 0.5, 0.75, 1, 1, 1, 1, 1]
    assert found == pytest.approx([0.2 * w * (1 - step / 10) for step, w in enumerate(wanted)])
    rates = steps.begin(9, 10)
    (3 * one.sum() + 3 * other.sum()).backward()
    assert steps.norms() == {"gradient": pytest.approx(6.0), "mask_gradient": pytest.approx(6.0)}
    steps.step()
    torch.testing.assert_close(one.detach(), torch.full((4,), 1 - rates["rate"] * (3 + 0.5)))
    torch.testing.assert_close(other.detach(), torch.full((4,), 1 - rates["mask_rate"] * 0.5))


def test_a_mask_that_is_not_learned_stays_and_says_so_once(store, tmp_path):
    train(settings({"learn": False}), [store], tmp_path / "run")
    assert load_mask(tmp_path / "run" / "mask.json").lobes == pytest.approx(MASK["lobes"], rel=1e-6)
    assert not read_log(tmp_path / "run", "mask")
    kept = tmp_path / "kept.json"
    shutil.copy(tmp_path / "run" / "mask.json", kept)
    fixed = settings({"mask": {"kind": "file", "path": str(kept)}})
    train(fixed, [store], tmp_path / "file")
    assert same(load_checkpoint(tmp_path / "run" / "last.pt")["model"],
                load_checkpoint(tmp_path / "file" / "last.pt")["model"])  # fmt: skip
    kept.write_text(kept.read_text().replace("1.4", "1.5"))
    with pytest.raises(InputError, match=r"made through another mask than optics\.mask says now"):
        train(fixed, [store], tmp_path / "file", resume=True)


@pytest.mark.parametrize("cells", [4, 6])
def test_a_mask_is_not_learned_on_from_a_file_that_has_changed(store, tmp_path, cells):
    """Its range comes from the file: the same parameters would be another mask."""
    kept = tmp_path / "kept.json"
    save_mask(HeightMap(heights=np.full((4, 4), 2e-7)), kept)
    chosen = settings({"mask": {"kind": "file", "path": str(kept), "learn": True}, "hold": 0})
    train(chosen, [store], tmp_path / "run")
    save_mask(HeightMap(heights=np.full((cells, cells), 9e-7)), kept)
    with pytest.raises(InputError, match=r"made through another mask than optics\.mask says now"):
        train(chosen, [store], tmp_path / "run", resume=True)


def test_gradients_reach_the_mask_through_bank_renderer_and_sensor(monkeypatch):
    """Gradcheck of all optics together in float64, but for rounding; encoded pictures, noise held."""
    monkeypatch.setattr("defocal.train.optics.sensor.straight_round", lambda values: values)
    sensor = {"preset": "rpsf", "bits": 12, "black_level": 300.0, "read_noise": 20.0, "demosaic": "bilinear"}
    data = {**OPTICS, "size": 5, "samples": 32, "planes": 3, "mask": {**MASK, "gain": 20.0}, "sensor": sensor}
    chosen = OpticsSettings.model_validate_json(json.dumps(data))
    lens = recipe({"kind": "clear"}).lens
    optics = Optics(chosen, lens, (0.8, 4.0), dtype=torch.float64).double()
    rng = torch.Generator().manual_seed(0)
    batch = {
        "aif": 0.3 + 0.4 * torch.rand(2, 3, 9, 10, generator=rng, dtype=torch.float64),
        "depth": 0.8 + 3.2 * torch.rand(2, 9, 10, generator=rng, dtype=torch.float64),
        "valid": torch.ones(2, 9, 10, dtype=torch.bool), "index": torch.tensor([3, 8]),
    }  # fmt: skip
    learned = tuple(optics.mask.parameters())
    assert len(learned) == 2

    def images(*values):
        return torch.func.functional_call(optics, dict(zip(names, values, strict=True)), (batch, 7))["image"]

    names = [name for name, _ in optics.named_parameters()]
    assert torch.autograd.gradcheck(images, learned, eps=1e-6, atol=1e-4, rtol=1e-3, fast_mode=True)


def test_what_a_model_sees_is_what_a_store_of_the_mask_holds(finished, tmp_path):
    """The run's mask.json in a recipe: synth's captures beside those of the trainer, and evaluation takes either."""
    out, _ = finished
    noisy = made(tmp_path / "noiseless", {"kind": "file", "path": str(out / "mask.json"), "wavelength": "550 nm"})
    store = open_store(noisy)
    model = load_model(out, device="cpu")
    model.optics.sensor = None
    for row in range(2):
        sample = store.sample("test", row)
        ours = model.capture(sample["aif"], sample["depth"]).astype(float)
        error = np.mean((ours - sample["capture"]) ** 2)
        # Nine planes there, five here: the same light, more coarsely in depth.
        assert 10 * np.log10(255**2 / error) > 30
        assert np.mean((sample["aif"] - sample["capture"].astype(float)) ** 2) > 4 * error
    stored = evaluate([out], noisy, Options(device="cpu", captures="stored"))
    rendered = evaluate([out], noisy, Options(device="cpu"))
    numbers = [report_numbers(one)["judged"][0] for one in (stored, rendered)]
    assert [one["facts"]["input"] for one in numbers] == ["stored captures", "rendered captures"]
    assert numbers[0]["mask"].keys() == {"lobes", "confinement"}
    page = write_report(rendered, tmp_path / "report")[0].read_text()
    assert "Learned masks" in page
    assert "lobes" in page


def test_captures_through_another_mask_are_not_taken_for_the_runs_own(finished, store, tiny_store):
    with pytest.raises(InputError, match="made through another mask than learned's"):
        evaluate([finished[0]], store, Options(device="cpu", captures="stored"))
    asked = {"baselines": ("wiener",), "depth_from": finished[0], "device": "cpu"}
    with pytest.raises(InputError, match="let it look at the store's own with --captures stored"):
        evaluate([], store, Options(**asked))
    with pytest.raises(InputError, match="made through another mask than learned's"):
        evaluate([], store, Options(**asked, captures="stored"))
    with pytest.raises(InputError, match="captures are rendered or stored"):
        evaluate([finished[0]], store, Options(device="cpu", captures="drawn"))
    with pytest.raises(InputError, match=r"focal_length|f_number|focus_distance|pixel_pitch"):
        evaluate([finished[0]], tiny_store, Options(device="cpu"))


def test_noise_of_a_rendered_capture_is_the_samples_own(finished, store):
    model = load_model(finished[0], device="cpu")
    sample = open_store(store).sample("test", 0)
    one, again, other = (model.capture(sample["aif"], sample["depth"], k) for k in (0, 0, 1))
    np.testing.assert_array_equal(one, again)
    assert (one != other).mean() > 0.3
    assert model.predict(one)["depth"].shape == sample["depth"].shape
    with pytest.raises(InputError, match="needs some known depth"):
        model.capture(sample["aif"], np.full_like(sample["depth"], np.nan))
    for aif, depth in ((sample["aif"].tolist(), sample["depth"]), (sample["aif"], "far"), (sample["aif"], [1.0])):
        with pytest.raises(InputError, match="must be a numpy array"):
            model.capture(aif, depth)
    with pytest.raises(InputError, match="sample must be a whole number"):
        model.capture(sample["aif"], sample["depth"], "0")
    with pytest.raises(InputError, match="a capture is made of"):
        model.capture(sample["aif"][..., 0], sample["depth"])


def test_scenes_are_flipped_and_cropped_before_the_lens(store):
    """Flips of scenes are right whatever the PSFs; of captures through asymmetric ones they are refused."""
    flips = {"crop": [32, 32], "augment": {"flips": ["left-right", "up-down", "transpose"]}}
    with pytest.raises(InputError, match="not their own mirror images"):
        StoreDataset.of([store], DataSettings.parse(flips))
    chosen = DataSettings.parse({**flips, "input": "aif"})
    data = StoreDataset.of([store], chosen)
    batch = data[0] | {}
    raw = {name: tensor[None] for name, tensor in batch.items()}
    ready = prepare(raw, chosen, data.facts, surface=True)
    seen = world(ready)
    assert seen["aif"].shape == (1, 3, 32, 32)
    assert seen["depth"].shape == (1, 32, 32)
    torch.testing.assert_close(torch.where(seen["valid"], seen["depth"], 0.0), ready["depth"])


def test_depths_that_are_not_asked_for_are_rendered_all_the_same(store):
    chosen = DataSettings.parse({"input": "aif", "depth": [0.8, 1.2], "augment": {"flips": []}})
    data = StoreDataset.of([store], chosen)
    raw = {name: tensor[None] for name, tensor in data[0].items()}
    ready = prepare(raw, chosen, data.facts, surface=True)
    assert ready["surface"].nan_to_num(0).max() > 2
    assert ready["depth"].max() <= 1.2
    assert "surface" not in prepare(raw, chosen, data.facts)


def test_parts_of_a_batch_and_half_precision_learn_a_mask_too(store, tmp_path):
    """Noise is the samples' own, so what a batch is divided into does not alter it; optics compute in float32."""
    chosen = settings(NOISY, run={"steps": 2, "precision": "bf16", "accumulate": 3})
    assert train(chosen, [store], tmp_path / "run").complete
    assert np.isfinite(read_log(tmp_path / "run", "train")[-1]["mask_gradient"])


def test_masks_numbers_that_are_none_stop_a_run(store, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "defocal.train.optics.module.render", lambda aif, plane, kernels, model: aif * kernels.sum() / 0
    )
    with pytest.raises(DivergedError, match=r"no finite number.*optics\.rate"):
        train(settings(), [store], tmp_path / "run")
    assert next((tmp_path / "run").glob("refused-*.npz"))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"data": {"input": "capture"}}, r"set data\.input = 'aif'"),
        ({"data": {"targets": ["aif"]}}, r"'depth' among data\.targets"),
        ({"data": {"extra": ["raw"], "augment": {"flips": []}}}, r"data\.extra holds raw"),
        ({"data": {"augment": {"noise": 0.1, "allow_blur_changes": True}}}, "before the lens"),
        ({"optics": {"mask": {"kind": "prism"}}}, r"optics\.mask: kind must be one of"),
        ({"optics": {"wavelengths": ["640 nm", "550 nm"]}}, "wavelengths must be three"),
        ({"optics": {"sensor": {"shot_noise": "poisson"}}}, r"optics\.sensor\.shot_noise"),
        ({"optics": {"rates": 1.0}}, r"optics\.rates: unknown key"),
    ],
)
def test_what_cannot_be_is_named_by_its_key(changes, words):
    data = config_data(data={"input": "aif", **changes.get("data", {})}, optics={**OPTICS, **changes.get("optics", {})})
    with pytest.raises(InputError, match=words):
        Config.parse(data)


def test_samples_with_cameras_of_their_own_have_no_pupil_for_a_mask(tmp_path):
    camera = {
        "focal_length": "50 mm",
        "f_number": {"uniform": [1.8, 2.4]},
        "focus_distance": "1.6 m",
        "pixel_pitch": "200 um",
    }
    data = recipe_data(camera=camera, scenes={"count": 4}, output={"splits": {"train": 0.5, "test": 0.5}})
    from defocal.pipelines.generate import create, run
    from defocal.synth.samples import SampleMaker

    maker = SampleMaker(Recipe.parse(data))
    assert not run(tmp_path / "drawn", maker, create(tmp_path / "drawn", maker)).failed
    with pytest.raises(InputError, match="the mask stands in one lens"):
        train(settings(data={"batch_size": 2}), [tmp_path / "drawn"], tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_kernels_that_cannot_be_are_refused_before_anything_is_written(store, tmp_path):
    with pytest.raises(InputError, match=r"optics\.size|optics\.samples"):
        train(settings({"size": 3}), [store], tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_fine_tuning_begins_with_a_runs_weights_and_nothing_else(finished, store, tmp_path, capsys):
    """Third stage: captures of a store, the mask as good as given, the optimiser new."""
    source = shutil.copytree(finished[0], tmp_path / "source")
    begun = config(run={"steps": 2, "start_from": str(source)}, data={"augment": {"flips": []}})
    with module.join_team("cpu") as team:
        training = Training(begun, [store], tmp_path / "tuned", team, resume=False)
        assert same(training.model.state_dict(), load_checkpoint(source / "best.pt")["average"])
        assert not training.optimiser.state_dict()["state"]
        training.close()
    shutil.rmtree(tmp_path / "tuned")
    assert train(begun, [store], tmp_path / "tuned").complete
    assert "all weights are those of step" in capsys.readouterr().err
    facts = json.loads((tmp_path / "tuned" / "run.json").read_text())
    assert "trained on tiny through the mask of that run" in facts["weights"]
    for path in (tmp_path / "tuned").rglob("*.json*"):
        assert str(tmp_path) not in path.read_text()
    assert str(tmp_path).encode() not in (tmp_path / "tuned" / "last.pt").read_bytes()
    # The run that it began with may be gone when it is resumed.
    shutil.rmtree(source)
    assert train(begun, [store], tmp_path / "tuned", resume=True).complete
    assert json.loads((tmp_path / "tuned" / "run.json").read_text())["weights"] == facts["weights"]


def test_fine_tuning_of_another_architecture_is_refused(finished, store, tmp_path):
    wider = {"kind": "unet", "levels": 3, "width": 5, "output": "linear"}
    augment = {"augment": {"flips": []}}
    with pytest.raises(InputError, match="holds the weights of another model"):
        train(config(model=wider, data=augment, run={"start_from": str(finished[0])}), [store], tmp_path / "run")
    with pytest.raises(InputError, match="there is no run at"):
        train(config(data=augment, run={"start_from": str(tmp_path / "none")}), [store], tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_checkpoint_without_its_mask_is_refused(finished, tmp_path):
    run = shutil.copytree(finished[0], tmp_path / "run")
    state = load_checkpoint(run / "best.pt")
    del state["format"]
    for text in ("{}", "[]", '{"kind": ["clear"]}', f'{{"kind": "spiral", "zones": 1{400 * "0"}}}', 9999 * "["):
        broken = {**state["optics"], "mask": text}
        save_checkpoint(run / "best.pt", {**state, "optics": broken})
        with pytest.raises(InputError, match="holds no usable mask"):
            load_model(run, device="cpu")
    del state["optics"]
    save_checkpoint(run / "best.pt", state)
    with pytest.raises(InputError, match="holds no usable mask"):
        load_model(run, device="cpu")


@pytest.mark.parametrize("name", ["unet-rpsf-learned", "unet-rpsf-learned-smoke"])
def test_shipped_configs_learn_a_mask(name):
    chosen = load_config(name)
    assert chosen.optics is not None
    assert chosen.optics.learn
    assert chosen.target.kind == "defocus"


TEAM = """
    import sys, torch, torch.distributed as dist
    sys.path.insert(0, {tests!r})
    from pathlib import Path
    from test_optics_training import settings
    from defocal.train.devices import join_team
    from defocal.train.trainer import Training

    with join_team("cpu") as team:
        training = Training(settings(data={{"batch_size": 1}}, run={{"steps": 2}}), [{store!r}], Path({out!r}), team,
                            resume=False)
        seen = [int(next(training.feed.batches(0))["index"])]
        training.run()
        training.close()
        mine = torch.cat([p.detach().reshape(-1) for p in training.pipeline.optics.parameters()])
        every = [torch.empty_like(mine) for _ in range(2)]
        dist.all_gather(every, mine)
        others = [None, None]
        dist.all_gather_object(others, seen)
        assert others[0] != others[1], others
        assert torch.equal(*every), every
        print("equal", mine.tolist())
"""


@pytest.mark.slow
def test_two_processes_learn_one_mask_of_both_batches(store, tmp_path):
    """Each sees another sample: were the mask's gradients not averaged, each would have a mask of its own."""
    from pathlib import Path

    script = tmp_path / "team.py"
    script.write_text(
        textwrap.dedent(TEAM).format(
            tests=str(Path(__file__).parent), store=str(store), out=str(tmp_path / "run")
        )
    )  # fmt: skip
    team = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--rdzv-backend=c10d",
            "--rdzv-endpoint=127.0.0.1:0", str(script)]  # fmt: skip
    done = subprocess.run(team, capture_output=True, text=True, timeout=400, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("equal") == 2
