"""Put on PYTHONPATH: samples become cheap noise, and fail as TOY_FAULTS says, in whatever process they are made.

What is tested with it is the way from samples to a dataset: who makes which, what is lost, what is made again.
"""

import importlib.abc
import importlib.metadata
import importlib.util
import json
import os
import pathlib
import shutil
import signal
import sys
import time
from types import SimpleNamespace

FAULTS = json.loads(os.environ.get("TOY_FAULTS", "{}"))


class Hook(importlib.abc.MetaPathFinder):
    """Changes one module right after it is loaded."""

    def find_spec(self, name, path=None, target=None):
        if name != "defocal.synth.samples":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        load = spec.loader.exec_module
        spec.loader.exec_module = lambda module: (load(module), change(module.SampleMaker))
        return spec


def change(maker):
    """Let a `SampleMaker` make noise."""
    import numpy as np

    from defocal import InputError
    from defocal.synth.arrays import array_layout

    def make(self, sample):
        time.sleep(FAULTS.get("sleep", 0.0))
        if sample in FAULTS.get("fail", ()):
            raise InputError(f"scene {sample} cannot be read.")
        if sample in FAULTS.get("defect", ()):
            raise ZeroDivisionError("division by zero")
        if sample in FAULTS.get("eat", ()):
            eaten = np.ones(FAULTS["bytes"], np.uint8)
            time.sleep(10)
            del eaten
        if sample in FAULTS.get("kill", ()):
            os.kill(os.getpid(), signal.SIGKILL)
        rng, layout = np.random.default_rng([self.recipe.seed, sample]), array_layout(self.recipe, self.size)
        return {name: (rng.random(layout[name][0]) * 200 + 1).astype(layout[name][1]) for name in self.recipe.arrays}

    def shot(self, sample):
        return SimpleNamespace(flat=SimpleNamespace(depth=np.linspace(0.8, 4, 99)), lenses=[self.recipe.lens])

    maker.make, maker.shot = make, shot


sys.meta_path.insert(0, Hook())
if "clock" in FAULTS:
    # The clock is set back some time after the start.
    real, begun = time.time, time.monotonic()
    time.time = lambda: real() - (FAULTS["clock"] if time.monotonic() - begun > FAULTS["after"] else 0.0)
if "versions" in FAULTS:
    version = importlib.metadata.version
    importlib.metadata.version = lambda name: FAULTS["versions"].get(name) or version(name)
if "blind" in FAULTS:
    is_dir = pathlib.Path.is_dir
    pathlib.Path.is_dir = lambda path: path.name != "_commit" and is_dir(path)
if "disk" in FAULTS:
    shutil.disk_usage = lambda path: SimpleNamespace(free=FAULTS["disk"])
