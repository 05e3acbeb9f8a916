"""Focal stacks through batches, models, losses and the trainer: what arrives where, exactly, and what is refused."""

import numpy as np
import pytest
import torch
from conftest import recipe_data
from PIL import Image
from stacking import STACK, Toy, ToySettings, stack_store, toy_config
from training import objective

from defocal import InputError
from defocal.synth import Recipe, open_store
from defocal.synth.slices import reference_slice
from defocal.train import train
from defocal.train.batches import prepare
from defocal.train.checkpoint import load_checkpoint
from defocal.train.config import Config
from defocal.train.data import StoreDataset
from defocal.train.losses import LossBase
from defocal.train.models import build, by_focus
from defocal.train.models.aifdepthnet import AifDepthNetSettings
from defocal.train.models.dff import DffSettings
from defocal.train.settings import DataSettings
from defocal.train.slices import Stacks, chosen_slices, slice_count, spread_slices
from defocal.train.targets import DepthTarget, InverseTarget, Target
from defocal.train.trainer import Training

pytestmark = pytest.mark.usefixtures("one_thread", "toys")


def parsed(**changes):
    return Config.parse(toy_config(**changes))


def settings(**data):
    return DataSettings.parse({"input": "stack", "augment": {"flips": []}, **data})


def first_batch(store, wanted, rows=(0, 1, 2, 3), **options):
    data = StoreDataset.of(store, wanted)
    return prepare(data.__getitems__(rows).batch, wanted, data.facts, **options)


# --- models ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "section",
    [ToySettings(), DffSettings(width=1, heads=("depth", "aif")), AifDepthNetSettings(width=1 / 32)],
    ids=lambda section: section.kind,
)
def test_slices_in_any_order_give_the_very_same_result(section):
    torch.manual_seed(0)
    model = build(section, seed=1).eval()
    batch = {"stack": torch.rand(2, 5, 3, 32, 64), "sharp_at": torch.rand(2, 5)}
    order = torch.tensor([3, 0, 4, 1, 2])
    moved = {name: value[:, order] for name, value in batch.items()}
    for name, value in model(batch).items():
        assert torch.equal(model(moved)[name], value), name


def test_slices_are_brought_into_the_order_of_their_distances():
    torch.manual_seed(0)
    batch = {"stack": torch.rand(2, 5, 3, 8, 12), "sharp_at": torch.rand(2, 5)}
    sharp_at, stack = by_focus(batch["sharp_at"], batch["stack"])
    assert (sharp_at.diff(dim=1) > 0).all()
    assert torch.equal(stack[1, 0], batch["stack"][1, batch["sharp_at"][1].argmin()])


def test_stacks_are_padded_and_their_camera_matrices_follow():
    class Reads(Toy):
        def __init__(self, settings):
            super().__init__(settings)
            self.inputs = ("stack", "sharp_at", "intrinsics", "image")
            self.seen = {}

        def compute(self, *tensors):
            self.seen = dict(zip(self.inputs, tensors, strict=True))
            return super().compute(*tensors)

    model = Reads(ToySettings())
    batch = {"stack": torch.rand(1, 2, 3, 5, 7), "sharp_at": torch.rand(1, 2), "image": torch.rand(1, 3, 5, 7),
             "intrinsics": torch.eye(3).repeat(1, 2, 1, 1)}  # fmt: skip
    assert model.predict(batch)["depth"].shape == (1, 5, 7)
    assert model.seen["stack"].shape == (1, 2, 3, 8, 8)
    assert model.seen["image"].shape == (1, 3, 8, 8)
    assert model.seen["intrinsics"][0, 0].tolist() == [[1, 0, 0], [0, 1, 1], [0, 0, 1]]
    assert batch["intrinsics"][0, 0, 1, 2] == 0


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"stack": torch.rand(2, 4, 4, 8, 12)}, r"'stack' as \(batch, slices, 3, height, width\), not \(2, 4, 4, 8"),
        ({"stack": torch.rand(2, 3, 8, 12)}, r"'stack' as \(batch, slices, 3, height, width\)"),
        ({"stack": torch.rand(2, 4, 3, 9, 12)}, "multiples of 4, not 9 x 12"),
        ({"stack": torch.zeros(2, 4, 3, 8, 12, dtype=torch.uint8)}, r"'stack' as floating-point numbers in \[0, 1\]"),
        ({"sharp_at": torch.rand(2, 3)}, r"'sharp_at' as \(batch, slices\), not \(2, 3\) beside a stack of \(2, 4"),
        ({"sharp_at": torch.rand(4)}, r"'sharp_at' as \(batch, slices\)"),
        ({"sharp_at": torch.ones(2, 4, dtype=torch.int64)}, "'sharp_at' as floating-point numbers, not as torch.int64"),
        ({"image": torch.rand(3, 3, 8, 12)}, r"'image' as \(batch, 3, height, width\), not \(3, 3, 8, 12\) beside"),
        ({"image": None}, r"reads 'image', and the batch has only \['sharp_at', 'stack'\]"),
    ],
)
def test_a_model_refuses_what_is_no_stack(change, says):
    model = build(ToySettings(reads_image=True))
    batch = {"stack": torch.rand(2, 4, 3, 8, 12), "sharp_at": torch.rand(2, 4), "image": torch.rand(2, 3, 8, 12)}
    batch = {name: value for name, value in {**batch, **change}.items() if value is not None}
    with pytest.raises(InputError, match=says):
        model(batch)


@pytest.mark.parametrize(("takes", "says"), [((3, 3), "of 3 slices"), ((5, 7), "of 5 to 7 slices")])
def test_a_model_may_take_some_numbers_of_slices_only(takes, says):
    model = build(ToySettings(takes=takes))
    with pytest.raises(InputError, match=f"Toy takes stacks {says}, not of 4"):
        model({"stack": torch.rand(2, 4, 3, 8, 12), "sharp_at": torch.rand(2, 4)})


# --- targets and losses ---------------------------------------------------------------------------------------------


def test_where_slices_are_sharp_is_told_in_units_of_the_target():
    focus = torch.tensor([[0.5, 2.0, torch.inf]])
    inverse = Target(InverseTarget(kind="inverse-depth", span=(0.0, 2.0)), None, (0.5, 4.0))
    torch.testing.assert_close(inverse.sharp_at(focus), torch.tensor([[1.0, 0.25, 0.0]]))
    torch.testing.assert_close(Target(DepthTarget(), None, (0.5, 4.0)).sharp_at(focus), torch.tensor([[0.5, 2.0, 8.0]]))


def test_a_loss_of_no_terms_of_its_own_says_so():
    with pytest.raises(TypeError, match="does not say what it adds up"):
        objective(LossBase())
    assert LossBase().needs == ()


# --- batches --------------------------------------------------------------------------------------------------------


def test_a_batch_holds_the_stack_its_distances_and_the_capture_beside_it(toy_stacks):
    wanted = settings(targets=["depth", "aif"], extra=["capture", "intrinsics", "lens", "coc"])
    ready = first_batch(toy_stacks, wanted)
    shapes = {name: tuple(value.shape) for name, value in ready.items()}
    assert shapes == {
        "stack": (4, 4, 3, 40, 56), "image": (4, 3, 40, 56), "focus": (4, 4), "depth": (4, 40, 56),
        "valid": (4, 40, 56), "aif": (4, 3, 40, 56), "intrinsics": (4, 4, 3, 3), "lens": (4, 4), "coc": (4, 4, 40, 56),
        "index": (4,), "store": (4,),
    }  # fmt: skip
    sample = open_store(toy_stacks).sample("train", 0)
    np.testing.assert_allclose(ready["image"][0].permute(1, 2, 0) * 255, sample["capture"], atol=1e-4)
    np.testing.assert_allclose(ready["stack"][0].permute(0, 2, 3, 1) * 255, sample["stack"], atol=1e-4)
    assert set(shapes) - {"index", "store"} == set(wanted.gives) - {"sharp_at"}


def test_as_many_slices_as_a_step_draws_in_their_order_with_the_reference(toy_stacks):
    wanted = settings(slices=[2, 3], extra=["coc", "intrinsics"])
    whole = first_batch(toy_stacks, settings(extra=["coc", "intrinsics"]))
    counts = set()
    for step in range(8):
        ready = first_batch(toy_stacks, wanted, seed=3, epoch=step, step=step)
        counts.add(ready["stack"].shape[1])
        for i in range(4):
            places = [whole["focus"][i].tolist().index(one) for one in ready["focus"][i].tolist()]
            assert places == sorted(places)
            # Of 0.9, 3, 1.6 and 2 m the second is farthest.
            assert 1 in places
            for name in ("stack", "coc", "intrinsics"):
                assert torch.equal(ready[name][i], whole[name][i, places])
    assert counts == {2, 3}


def test_slices_depend_on_seed_step_epoch_and_sample_alone(toy_stacks):
    wanted = settings(slices=[1, 4])
    counts = [slice_count(5, step, (1, 4)) for step in range(40)]
    assert set(counts) == {1, 2, 3, 4}
    assert counts != [slice_count(6, step, (1, 4)) for step in range(40)]
    alone = first_batch(toy_stacks, wanted, rows=[2], seed=5, epoch=1, step=4)["focus"][0]
    assert torch.equal(first_batch(toy_stacks, wanted, seed=5, epoch=1, step=4)["focus"][2], alone)
    # Part of the reproducibility contract: what old runs saw must not change.
    assert counts[:6] == [4, 4, 4, 3, 4, 2]
    assert chosen_slices(3, 8, 7, 5, 1, 2) == [0, 6, 7]
    assert chosen_slices(8, 8, 7, 5, 1, 2) == list(range(8))
    assert chosen_slices(1, 8, 3, 5, 1, 2) == [3]


@pytest.mark.parametrize("wrong", [0.0, -1.0, float("nan")])
def test_a_slice_that_is_focused_nowhere_is_refused(toy_stacks, wrong):
    wanted = settings()
    data = StoreDataset.of(toy_stacks, wanted)
    batch = data.__getitems__([0, 1]).batch
    batch["focus"][1, 2] = wrong
    with pytest.raises(InputError, match="the store's array focus holds what is no distance above 0"):
        prepare(batch, wanted, data.facts)


@pytest.mark.parametrize(
    ("count", "of", "reference", "found"),
    [(3, 5, 4, [0, 2, 4]), (3, 5, 1, [1, 2, 4]), (1, 4, 3, [3]), (4, 4, 2, [0, 1, 2, 3]), (2, 10, 0, [0, 9])],
)
def test_slices_of_validation_are_spread_evenly(count, of, reference, found):
    assert spread_slices(count, of, reference) == found


@pytest.mark.parametrize("rule", ["farthest", "nearest", "first", "last"])
def test_the_reference_slice_is_that_of_generation(rule):
    recipe = Recipe.parse(recipe_data(stack={**STACK, "reference": rule}))
    for focus in ([0.9, 3.0, 1.6, 2.0], [2.0, 1.0, 2.0, 1.0], [1.5, np.inf, np.inf], [1.5]):
        assert Stacks(len(focus), rule).reference(focus) == reference_slice(recipe, focus), focus


def test_stores_of_different_numbers_of_slices_are_one_dataset(toy_stacks, tmp_path):
    other = stack_store(
        tmp_path / "six", stack={"slices": 6, "near": "0.9 m", "far": "3 m", "order": "far-first"}, output={"bits": 8}
    )
    wanted = settings(slices=[2, 4], targets=["depth", "aif"], extra=["coc"])
    data = StoreDataset.of([toy_stacks, other], wanted)
    rows = [0, len(data) - 1]
    read = data.__getitems__(rows).batch
    assert read["stack"].shape == (2, 6, 40, 56, 3)
    assert not read["stack"][0, 4:].any()
    assert torch.equal(read["stack"][1], torch.from_numpy(open_store(other).sample("train", 7)["stack"]))
    seen = prepare(read, wanted, data.facts, training=False)
    assert seen["stack"].shape[1] == seen["coc"].shape[1] == 4
    assert seen["focus"][1, 0] == 3.0
    torch.testing.assert_close(seen["focus"][0], torch.tensor([0.9, 3, 1.6, 2]))
    assert prepare(read, wanted, data.facts, step=1)["stack"].shape[1] == slice_count(0, 1, (2, 4))
    with pytest.raises(InputError, match=r"number of slices, or set data\.slices where the number alone differs"):
        StoreDataset.of([toy_stacks, other], settings())
    with pytest.raises(InputError, match=r"have 4 slices, and data\.slices asks for up to 5: lower it"):
        StoreDataset.of([other, toy_stacks], settings(slices=[2, 5]))


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"slices": [3, 2]}, r"slices must be \[fewest, most\]"),
        ({"slices": [0, 2]}, "slices"),
        ({"input": "capture", "slices": [1, 2]}, "slices needs input = 'stack'"),
        ({"input": "capture", "extra": ["capture"]}, r"extra = \['capture'\] needs input = 'stack'"),
    ],
)
def test_settings_of_stacks_that_make_no_sense_are_refused(wrong, says):
    with pytest.raises(InputError, match=says):
        settings(**wrong)


def test_stacks_of_other_ranges_breathing_or_captures_are_another_camera(toy_stacks, tmp_path):
    near = stack_store(tmp_path / "near", count=2, stack={"focus": ["0.9 m", "2.5 m"]}, output={"splits": {"train": 1}})
    with pytest.raises(InputError, match=r"stack.range is 0.9 to 3 m in .* and 0.9 to 2.5 m in "):
        StoreDataset.of([toy_stacks, near], settings(slices=[1, 2]))
    breathing = stack_store(tmp_path / "breathing", count=2, stack={"focus": ["0.9 m", "3 m"], "breathing": True},
                            output={"splits": {"train": 1}})  # fmt: skip
    with pytest.raises(InputError, match=r"stack.breathing is False in .* and True in "):
        StoreDataset.of([toy_stacks, breathing], settings(slices=[1, 2]))
    assert StoreDataset.of([toy_stacks, breathing], settings(slices=[1, 2], mixed_cameras=True))
    moved = stack_store(tmp_path / "moved", count=2, camera={"focus_distance": "2 m"}, output={"splits": {"train": 1}})
    assert StoreDataset.of([toy_stacks, moved], settings())
    with pytest.raises(InputError, match=r"focus_distance of captures is 1.6 m in .* and 2 m in "):
        StoreDataset.of([toy_stacks, moved], settings(extra=["capture"]))


# --- training -------------------------------------------------------------------------------------------------------


def test_a_resumed_run_is_the_uninterrupted_one_with_any_number_of_slices_and_workers(toy_stacks, tmp_path):
    drawn = {"slices": [2, 4], "extra": ["capture"], "targets": ["depth", "aif"]}
    whole = parsed(data=drawn, model={"reads_image": True}, run={"accumulate": 2})
    train(whole, [toy_stacks], tmp_path / "whole")
    half = parsed(data=drawn, model={"reads_image": True}, run={"accumulate": 2, "steps": 4, "save_every": 1})

    def stop(self, batch, old=Training._make_step):
        if self.step == 2:
            raise KeyError(self.step)
        return old(self, batch)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Training, "_make_step", stop)
        with pytest.raises(KeyError):
            train(half, [toy_stacks], tmp_path / "half")
    resumed = parsed(data={**drawn, "workers": 1}, model={"reads_image": True}, run={"accumulate": 2, "save_every": 1})
    assert train(resumed, [toy_stacks], tmp_path / "half", resume=True).complete
    one, two = (load_checkpoint(tmp_path / name / "last.pt")["model"] for name in ("whole", "half"))
    assert one.keys() == two.keys()
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_a_model_of_two_depths_is_validated_for_each(toy_stacks, tmp_path):
    config = parsed(model={"heads": ["depth", "depth_defocus"]}, data={"extra": ["capture", "lens"]},
                    loss={"lens": True}, run={"best": "rmse"})  # fmt: skip
    outcome = train(config, [toy_stacks], tmp_path / "run")
    assert {"depth/mse", "depth_defocus/mse", "rmse", "DefocusNet/rmse", "DefocusNet/delta1"} <= set(outcome.numbers)
    with Image.open(tmp_path / "run" / "pictures" / "step-000004.png") as sheet:
        # Two slices, the capture, true depth, two predictions with their errors, sharp images true and restored.
        # All are enlarged to six times their size, for the longest title.
        assert sheet.size == (10 * (6 * 24 + 4) - 4, 18 + 2 * (6 * 16 + 4) - 4)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"data": {"input": "capture"}}, "the model toy reads 'stack', which these data do not give: set data.input"),
        ({"model": {"reads_image": True}}, "the model toy reads 'image', .*: add 'capture' to data.extra"),
        ({"loss": {"lens": True}}, "the loss toy reads 'lens', .*: add 'lens' to data.extra"),
        ({"data": {"targets": ["aif"]}}, "the loss toy reads 'depth', .*: add 'depth' to data.targets"),
        ({"model": {"takes": [5, 6]}}, "Toy takes stacks of 5 to 6 slices, not of 4"),
        ({"model": {"takes": [4, 4]}, "data": {"slices": [3, 4]}}, "Toy takes stacks of 4 slices, not of 3"),
        ({"data": {"slices": [2, 7]}}, "have 4 slices, and data.slices asks for up to 7"),
        ({"target": {"kind": "coc"}}, "counts blur by the camera"),
    ],
)
def test_what_cannot_be_trained_is_refused_before_anything_is_written(toy_stacks, tmp_path, changes, says):
    with pytest.raises(InputError, match=says):
        train(parsed(**changes), [toy_stacks], tmp_path / "run")
    assert not (tmp_path / "run").exists()
