"""Small recipes and datasets that several tests share."""

import os
from pathlib import Path

import numpy as np
import pytest

from defocal.synth import Recipe


def recipe_data(**changes):
    """A recipe of twelve tiny procedural scenes, with sections or keys replaced."""
    data = {
        "version": 1,
        "name": "tiny",
        "seed": 3,
        "scenes": {
            "kind": "procedural",
            "count": 12,
            "size": [40, 56],
            "depth": ["0.8 m", "4 m"],
            "objects": [3, 5],
        },
        "camera": {
            "focal_length": "50 mm",
            "f_number": 2.0,
            "focus_distance": "1.6 m",
            "pixel_pitch": "200 um",
        },
        "output": {"splits": {"train": 0.7, "test": 0.3}},
    }
    for key, value in changes.items():
        data[key] = {**data[key], **value} if isinstance(data.get(key), dict) and isinstance(value, dict) else value
    return data


@pytest.fixture(scope="session")
def tiny():
    """Return the tiny recipe."""
    return Recipe.parse(recipe_data())


@pytest.fixture(scope="session")
def tiny_store(tiny, tmp_path_factory):
    """Return a finished dataset of the tiny recipe; tests must not change it."""
    from defocal.pipelines.generate import create, run
    from defocal.synth.samples import SampleMaker

    out = tmp_path_factory.mktemp("store") / "tiny"
    maker = SampleMaker(tiny)
    outcome = run(out, maker, create(out, maker))
    assert not outcome.failed
    return out


@pytest.fixture(scope="module")
def one_thread():
    """Let torch compute on one thread: tests share the processors."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def toys():
    """Let configs name the toy model of focal stacks."""
    from stacking import registered

    with registered():
        yield


@pytest.fixture(scope="session")
def toy_stacks(tmp_path_factory):
    """Return a dataset of noise in stacks of four slices; tests must not change it."""
    from stacking import stack_store

    return stack_store(tmp_path_factory.mktemp("stacks") / "four")


@pytest.fixture(scope="session")
def helix_store(tmp_path_factory):
    """Return captures through a double helix, not its own mirror image, and scenes; tests must not change it."""
    from learning import made

    return made(tmp_path_factory.mktemp("stores") / "double", {"kind": "spiral", "zones": 3, "lobes": 2.0})


@pytest.fixture(scope="session")
def learned_run(helix_store, tmp_path_factory):
    """Return the folder of a run that learned a mask, and how it ended; tests must not change it."""
    from learning import NOISY, settings

    from defocal.train import train

    out = tmp_path_factory.mktemp("runs") / "learned"
    outcome = train(settings(NOISY, run={"ema": 0.5}), [helix_store], out)
    assert outcome.complete
    return out, outcome


@pytest.fixture(scope="session")
def recipe_file(tmp_path_factory):
    """File of a recipe of forty tiny scenes, for runs in processes of their own."""
    path = tmp_path_factory.mktemp("recipe") / "tiny.toml"
    path.write_text(Recipe.parse(recipe_data(scenes={"count": 40})).to_toml())
    return path


@pytest.fixture(scope="session")
def undisturbed(recipe_file, tmp_path_factory):
    """Digest of a run of it in which nothing happens."""
    from processes import digest_of_run

    return digest_of_run(recipe_file, tmp_path_factory.mktemp("undisturbed") / "d")


@pytest.fixture(scope="session")
def real_data():
    """Folder of real RGB-D files, where there is one on this machine."""
    folder = Path(os.environ.get("DEFOCAL_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip("no real data on this machine (set DEFOCAL_TEST_DATA)")
    return folder


@pytest.fixture(scope="session")
def real_rpsf(real_data):
    """Rotating PSFs of a spiral mask (7 zones, 1 lobe, epsilon 0.5) by independent code, beside the real data."""
    path = real_data.parent / "oracles" / "rpsf" / "rpsf_L7_N1_eps0.5.npz"
    if not path.is_file():
        pytest.skip("no reference stack of rotating PSFs on this machine")
    with np.load(path) as stack:
        return {name: stack[name] for name in stack.files}


@pytest.fixture(scope="session")
def made(tiny_store, tmp_path_factory):
    """Return a release of the tiny dataset; tests must not change it."""
    from releases import OPTIONS

    from defocal.pipelines.release import release

    out = tmp_path_factory.mktemp("release") / "tiny"
    assert not release(tiny_store, out, OPTIONS).problems
    return out


@pytest.fixture
def frames(tmp_path):
    """A folder of two colour images with depth in millimetres."""
    import cv2

    rng = np.random.default_rng(0)
    for i in range(2):
        for name in ("rgb", "depth"):
            (tmp_path / "home/ada/frames" / name).mkdir(parents=True, exist_ok=True)
        image = rng.integers(0, 255, (32, 40, 3), dtype=np.uint8)
        depth = np.linspace(900, 3900, 1280).reshape(32, 40).astype(np.uint16)
        depth[rng.random(depth.shape) < 0.1] = 0
        cv2.imwrite(str(tmp_path / f"home/ada/frames/rgb/{i}.png"), image)
        cv2.imwrite(str(tmp_path / f"home/ada/frames/depth/{i}.png"), depth)
    return tmp_path / "home/ada/frames"


@pytest.fixture
def own(frames, tmp_path):
    """A dataset from files, whose recipe names a folder of this machine."""
    from defocal.pipelines.generate import create, run
    from defocal.synth.samples import SampleMaker

    scenes = {"kind": "folder", "path": str(frames), "depth": [0.8, 4.0]}
    data = recipe_data() | {"scenes": scenes, "output": {"splits": {"train": 1.0}}}
    maker = SampleMaker(Recipe.parse(data))
    assert not run(tmp_path / "own", maker, create(tmp_path / "own", maker)).failed
    return tmp_path / "own"
