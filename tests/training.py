"""A tiny training that several tests share."""

from defocal.train.config import Config
from defocal.train.losses import LossContext, build_loss
from defocal.train.targets import DepthTarget, Target


def config_data(**changes):
    """A training of a narrow U-Net on crops of the tiny dataset, with sections or keys replaced."""
    data = {
        "version": 1,
        "name": "tiny",
        "seed": 5,
        "data": {"crop": [32, 32], "batch_size": 3, "workers": 0},
        "model": {"kind": "unet", "levels": 3, "width": 4, "output": "linear", "dropout": 0.2},
        "target": {"kind": "inverse-depth"},
        "loss": {"kind": "l1"},
        "optimiser": {"rate": 3e-3},
        "schedule": {"kind": "cosine", "warm_up": 2},
        "run": {"steps": 6, "validate_every": 3, "pictures": 2, "device": "cpu"},
    }
    for key, value in changes.items():
        joins = isinstance(data.get(key), dict) and isinstance(value, dict) and "kind" not in value
        data[key] = {**data[key], **value} if joins else value
    return data


def config(**changes):
    """The same, checked."""
    return Config.parse(config_data(**changes))


def objective(settings, context=None):
    """A loss as training makes it: by default of metres, without a camera."""
    return build_loss(settings, context or LossContext(Target(DepthTarget(), None, (0.5, 5.0)), None, (0.5, 5.0)))
