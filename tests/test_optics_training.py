"""Training through a learned mask: what it leaves, exact resumption, rates, gradients."""

import json
import shutil
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import torch
from learning import MASK, NOISY, OPTICS, recipe, same, settings
from PIL import Image

from defocal import InputError
from defocal.synth import load_mask, open_store
from defocal.synth.pupil.files import load_mask_for
from defocal.train import load_model, train
from defocal.train import trainer as module
from defocal.train.checkpoint import load_checkpoint
from defocal.train.config import load_config
from defocal.train.journal import read_log
from defocal.train.optics.module import Optics
from defocal.train.optics.pictures import _chosen, mask_picture, number_words
from defocal.train.optics.settings import OpticsSettings
from defocal.train.optimise import Group, OptimiserSection, ScheduleSection, Steps
from defocal.train.trainer import Training


def test_a_run_leaves_the_mask_beside_each_checkpoint(learned_run):
    out, _ = learned_run
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


def test_the_masks_file_names_the_camera_of_the_store(learned_run, helix_store):
    assert load_mask_for(learned_run[0] / "mask.json")[1] == open_store(helix_store).recipe.lens


def test_the_picture_of_a_mask_is_readable(learned_run):
    """Dark, ends and focus among its planes, and its parameters beside where they began."""
    optics = load_model(learned_run[0], device="cpu").optics
    picture = mask_picture(optics)
    assert picture.dtype == np.uint8
    assert min(picture.shape[:2]) > 400
    assert (picture[[0, 0, -1, -1], [0, -1, 0, -1]] == 16).all()
    assert picture.max() > 230
    numbers = optics.mask.numbers()
    assert optics.began == pytest.approx({"lobes": 1.4, "confinement": 0.6}, rel=1e-6)
    words = number_words(numbers, optics.began)
    assert words == (
        f"lobes {numbers['lobes']:.4g} (began at 1.4), confinement {numbers['confinement']:.4g} (began at 0.6)"
    )
    assert number_words({"rms": 1.0}, {"rms": 1.0}) == number_words({"rms": 1.0}) == "rms 1"


@pytest.mark.parametrize(
    "mask", [{"kind": "amplitude", "cells": 5}, {"kind": "height", "cells": 6}, {"kind": "zernike", "last": 12}]
)
@pytest.mark.parametrize("wavelengths", [[5.5e-7], [6.4e-7, 5.5e-7, 4.6e-7]])
def test_masks_of_all_kinds_have_a_picture(mask, wavelengths):
    data = {"mask": mask, "planes": 4, "size": 13, "samples": 48, "wavelengths": wavelengths}
    optics = Optics(OpticsSettings.model_validate_json(json.dumps(data)), recipe({"kind": "clear"}).lens, (0.8, 4.0))
    assert mask_picture(optics).ndim == 3
    assert "3 planes (of 4: evenly spaced, with one in focus, they reach both ends)" in optics.words


@pytest.mark.parametrize(
    ("psi", "drawn"),
    [(np.linspace(-10, 10, 21), [-10, 0, 10]), (np.linspace(-1, 10, 12), [-1, 0, 10]), (np.array([0.0, 1]), [0, 1])],
)
def test_ends_and_focus_are_drawn(psi, drawn):
    chosen = psi[_chosen(psi)]
    assert len(chosen) == min(7, len(psi))
    assert set(drawn) <= set(chosen.tolist())


def test_a_resumed_run_makes_the_very_steps_of_an_uninterrupted_one(learned_run, helix_store, tmp_path):
    whole, outcome = learned_run
    out = tmp_path / "run"
    chosen = settings(NOISY, run={"ema": 0.5})
    with module.join_team("cpu") as team:
        training = Training(chosen, [helix_store], out, team, resume=False)
        make = training._make_step

        def step(batch):
            if training.step + 1 == 4:
                training.stop.wished.set()
            return make(batch)

        training._make_step = step
        assert not training.run().complete
        training.close()
    assert train(chosen, [helix_store], out, resume=True) == outcome
    for name in ("last.pt", "best.pt"):
        one, other = load_checkpoint(whole / name), load_checkpoint(out / name)
        for part in ("model", "average"):
            assert same(one[part], other[part])
        for part in ("parameters", "average"):
            assert same(one["optics"][part], other["optics"][part])
    for name in ("mask.json", "mask-last.json"):
        assert (out / name).read_bytes() == (whole / name).read_bytes()
    assert read_log(out, "mask") == read_log(whole, "mask")


def test_a_mask_is_held_still_then_moves_and_never_decays(helix_store, tmp_path):
    """In the first steps it does not move at all, though weight decay would have it."""
    optics = {"hold": 3, "rate": 0.5}
    optimiser = {"kind": "adamw", "rate": 3e-3, "weight_decay": 0.5}
    train(settings(optics, optimiser=optimiser, run={"save_every": 3}), [helix_store], tmp_path / "run")
    rates = settings(optics).optics
    assert [rates.factor(step) for step in range(5)] == [0, 0, 0, 1, 1]
    assert load_mask(tmp_path / "run" / "mask-last.json").lobes != pytest.approx(MASK["lobes"], abs=1e-3)
    train(settings(optics, optimiser=optimiser, run={"steps": 3}), [helix_store], tmp_path / "held")
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


def test_a_mask_that_is_not_learned_stays_and_says_so_once(helix_store, tmp_path):
    train(settings({"learn": False}), [helix_store], tmp_path / "run")
    assert load_mask(tmp_path / "run" / "mask.json").lobes == pytest.approx(MASK["lobes"], rel=1e-6)
    assert not read_log(tmp_path / "run", "mask")
    kept = tmp_path / "kept.json"
    shutil.copy(tmp_path / "run" / "mask.json", kept)
    fixed = settings({"mask": {"kind": "file", "path": str(kept)}})
    train(fixed, [helix_store], tmp_path / "file")
    assert same(load_checkpoint(tmp_path / "run" / "last.pt")["model"],
                load_checkpoint(tmp_path / "file" / "last.pt")["model"])  # fmt: skip
    kept.write_text(kept.read_text().replace("1.4", "1.5"))
    with pytest.raises(InputError, match=r"made through another mask than optics\.mask says now"):
        train(fixed, [helix_store], tmp_path / "file", resume=True)


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


def test_parts_of_a_batch_and_half_precision_learn_a_mask_too(helix_store, tmp_path):
    """Noise is the samples' own, so what a batch is divided into does not alter it; optics compute in float32."""
    chosen = settings(NOISY, run={"steps": 2, "precision": "bf16", "accumulate": 3})
    assert train(chosen, [helix_store], tmp_path / "run").complete
    assert np.isfinite(read_log(tmp_path / "run", "train")[-1]["mask_gradient"])


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
    from learning import settings
    from defocal.train.devices import join_team
    from defocal.train.trainer import Training

    with join_team("cpu") as team:
        training = Training(settings(data={{"batch_size": 1}}, run={{"steps": 2}}), [{helix_store!r}],
                            Path({out!r}), team, resume=False)
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
def test_two_processes_learn_one_mask_of_both_batches(helix_store, tmp_path):
    """Each sees another sample: were the mask's gradients not averaged, each would have a mask of its own."""
    from pathlib import Path

    script = tmp_path / "team.py"
    script.write_text(
        textwrap.dedent(TEAM).format(
            tests=str(Path(__file__).parent), helix_store=str(helix_store), out=str(tmp_path / "run")
        )
    )  # fmt: skip
    team = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--rdzv-backend=c10d",
            "--rdzv-endpoint=127.0.0.1:0", str(script)]  # fmt: skip
    done = subprocess.run(team, capture_output=True, text=True, timeout=400, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("equal") == 2
