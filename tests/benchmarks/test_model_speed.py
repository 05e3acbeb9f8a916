"""How long networks take for a step of training and for a prediction: run with `make bench`."""

import pytest
import torch
from timing import seconds
from training import objective

from defocal.train.losses import HdedLossSettings, L1Settings, RpsfSettings
from defocal.train.models import build
from defocal.train.models.d3net import D3NetSettings
from defocal.train.models.hded import HdedSettings
from defocal.train.models.unet import UNetSettings

pytestmark = pytest.mark.bench
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
BATCH = 8 if DEVICE == "cuda" else 1
SIZE = 224


@pytest.mark.parametrize(
    ("settings", "loss"),
    [(UNetSettings(), RpsfSettings()), (D3NetSettings(), L1Settings()), (HdedSettings(), HdedLossSettings())],
    ids=["unet", "d3net", "2hded"],
)
def test_a_step_and_a_prediction(settings, loss):
    model = build(settings).to(DEVICE, memory_format=torch.channels_last)
    criterion = objective(loss)
    image = torch.rand(BATCH, 3, SIZE, SIZE, device=DEVICE).contiguous(memory_format=torch.channels_last)
    targets = {"depth": torch.rand(BATCH, SIZE, SIZE, device=DEVICE), "aif": image}
    valid = torch.rand(BATCH, SIZE, SIZE, device=DEVICE) < 0.9

    def wait():
        if DEVICE == "cuda":
            torch.cuda.synchronize()

    def step():
        model.zero_grad(set_to_none=True)
        with torch.autocast(DEVICE, dtype=torch.bfloat16, enabled=DEVICE == "cuda"):
            outputs = model({"image": image})
        criterion(outputs, targets, valid)["total"].backward()
        wait()

    def predict():
        model.predict({"image": image})
        wait()

    trained, predicted = seconds(step, 3), seconds(predict, 3)
    print(
        f"\n  {settings.kind}, {BATCH} x {SIZE} x {SIZE}, {DEVICE}, {torch.get_num_threads()} threads: "
        f"step {1e3 * trained:.0f} ms, prediction {1e3 * predicted:.0f} ms"
    )
