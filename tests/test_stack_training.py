"""Focal stacks through batches, models, losses and the trainer: what arrives where, exactly, and what is refused."""

import numpy as np
import pytest
import torch
from stacking import Toy, ToySettings, registered, stack_store, toy_config
from training import objective

from defocal import InputError
from defocal.synth import open_store
from defocal.train import train
from defocal.train.batches import chosen_slices, prepare, slice_count, spread_slices
from defocal.train.checkpoint import load_checkpoint
from defocal.train.config import Config
from defocal.train.data import StoreDataset
from defocal.train.losses import LossBase
from defocal.train.models import build, by_focus
from defocal.train.settings import DataSettings
from defocal.train.targets import DepthTarget, InverseTarget, Target

pytestmark = pytest.mark.usefixtures("one_thread", "toys")


@pytest.fixture(scope="module")
def toys():
    with registered():
        yield


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return stack_store(tmp_path_factory.mktemp("stacks") / "four")


def parsed(**changes):
    return Config.parse(toy_config(**changes))


def settings(**data):
    return DataSettings.parse({"input": "stack", "augment": {"flips": []}, **data})


def first_batch(store, wanted, rows=(0, 1, 2, 3), **options):
    data = StoreDataset.of(store, wanted)
    return prepare(data.__getitems__(rows).batch, wanted, data.facts, **options)


# --- models ---------------------------------------------------------------------------------------------------------


def test_slices_in_any_order_give_the_very_same_result():
    torch.manual_seed(0)
    model = build(ToySettings(), seed=1).eval()
    batch = {"stack": torch.rand(2, 5, 3, 8, 12), "sharp_at": torch.rand(2, 5)}
    order = torch.tensor([3, 0, 4, 1, 2])
    moved = {name: value[:, order] for name, value in batch.items()}
    for name, value in model(batch).items():
        assert torch.equal(model(moved)[name], value)
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


def test_a_batch_holds_the_stack_its_distances_and_the_capture_beside_it(store):
    wanted = settings(targets=["depth", "aif"], extra=["capture", "intrinsics", "lens", "coc"])
    ready = first_batch(store, wanted)
    shapes = {name: tuple(value.shape) for name, value in ready.items()}
    assert shapes == {
        "stack": (4, 4, 3, 40, 56), "image": (4, 3, 40, 56), "focus": (4, 4), "depth": (4, 40, 56),
        "valid": (4, 40, 56), "aif": (4, 3, 40, 56), "intrinsics": (4, 4, 3, 3), "lens": (4, 4), "coc": (4, 4, 40, 56),
        "index": (4,), "store": (4,),
    }  # fmt: skip
    sample = open_store(store).sample("train", 0)
    np.testing.assert_allclose(ready["image"][0].permute(1, 2, 0) * 255, sample["capture"], atol=1e-4)
    np.testing.assert_allclose(ready["stack"][0].permute(0, 2, 3, 1) * 255, sample["stack"], atol=1e-4)
    assert set(shapes) - {"index", "store"} == set(wanted.gives) - {"sharp_at"}
