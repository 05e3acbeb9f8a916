"""Training on stores: reads what `defocal.synth` wrote; imports no numba, dask or OpenCV."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .config import Config, load_config
    from .data import StoreDataset
    from .prediction import Predictor, load_model
    from .trainer import Outcome, train

_HOMES = {
    "Config": "config", "load_config": "config", "StoreDataset": "data", "Predictor": "prediction",
    "load_model": "prediction", "Outcome": "trainer", "train": "trainer",
}  # fmt: skip
__all__ = ["Config", "Outcome", "Predictor", "StoreDataset", "load_config", "load_model", "train"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    # Torch takes a second to import: only who needs it waits.
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)


def __dir__() -> list[str]:
    return __all__
