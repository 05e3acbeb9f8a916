"""What an installation without extras can do: it trains, reads datasets, and says what else to install."""

import os
import subprocess
import sys
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest
from click.testing import CliRunner
from stores import noise_store

from defocal.pipelines.cli import cli
from defocal.pipelines.commands import EXTRAS, _needs
from defocal.pipelines.release_environment import installed_closure

ROOT = Path(__file__).resolve().parents[1]
READS = """
import sys
from defocal.synth import open_store
from defocal.train.batches import prepare
from defocal.train.data import StoreDataset
from defocal.train.loader import make_loader
from defocal.train.order import ShardShuffle
from defocal.train.settings import DataSettings
settings = DataSettings()
data = StoreDataset.of(sys.argv[1], settings)
batch = next(iter(make_loader(data, ShardShuffle(data.shards, 4), workers=1)))
print(tuple(prepare(batch, settings, data.facts)["image"].shape), len(open_store(sys.argv[1])))
print(sorted({"numba", "dask", "distributed", "cv2", "scipy", "h5py", "PIL"} & set(sys.modules)))
"""


def blocked(*words):
    """Run a command where the extra `synth` is not installed."""
    paths = [str(ROOT / "tests"), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    code = "import blocked, sys; from defocal.pipelines.cli import cli; cli(sys.argv[1:], prog_name='defocal')"
    return subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, env=environment)


def test_commands_that_make_datasets_say_what_to_install(tmp_path):
    for words in (["plan", "quickstart"], ["generate", "quickstart", str(tmp_path / "x")]):
        done = blocked(*words)
        assert done.returncode == 2
        assert done.stderr.startswith(f"Error: `defocal {words[0]}` needs ")
        assert done.stderr.endswith(": pip install 'defocal[synth]'.\n")
        assert done.stderr.count("\n") == 1
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("words", [["recipes"], ["init", "quickstart", "-o", "mine.toml"], ["--help"]])
def test_commands_that_need_nothing_work(words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = blocked(*words)
    assert done.returncode == 0, done.stderr


def test_every_extra_that_is_named_exists():
    import configparser

    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    extras = config["options.extras_require"]
    for module, extra in EXTRAS.items():
        assert _needs_name(module) in extras[extra], module


def _needs_name(module):
    import click

    return _needs(click.Context(cli, info_name="defocal"), module).split(" needs ")[1].split(":")[0]


def test_a_module_that_no_extra_brings_is_a_defect(monkeypatch):
    import defocal.pipelines.shipped

    def broken():
        raise ModuleNotFoundError("No module named 'defocal.nonsense'", name="defocal.nonsense")

    monkeypatch.setattr(defocal.pipelines.shipped, "shipped", broken)
    assert isinstance(CliRunner().invoke(cli, ["recipes"]).exception, ModuleNotFoundError)


def test_the_lock_file_of_a_release_has_what_makes_datasets():
    assert {"numba", "numpy", "opencv-python-headless", "llvmlite"} <= installed_closure().keys()
    assert "pytest" not in installed_closure()


@pytest.mark.slow
def test_the_wheel_with_the_extra_train_alone_reads_and_trains(tmp_path):
    """Installed in an environment of its own, beside torch, with none of what makes datasets."""
    sources = tmp_path / "source"
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file() and not (ROOT / name).is_symlink():
            (sources / name).parent.mkdir(parents=True, exist_ok=True)
            (sources / name).write_bytes((ROOT / name).read_bytes())
    pip = [sys.executable, "-m", "pip"]
    build = [*pip, "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", str(tmp_path), str(sources)]
    subprocess.run(build, check=True)
    (wheel,) = tmp_path.glob("*.whl")
    environment = tmp_path / "environment"
    subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True)
    python = environment / "bin" / "python"
    install = [
        str(python),
        "-m",
        "pip",
        "install",
        "--quiet",
        "--constraint",
        str(ROOT / "constraints.txt"),
        str(wheel),
    ]
    subprocess.run(install, check=True)
    (packages,) = environment.glob("lib/python*/site-packages")
    _link_torch(packages)
    assert _extra(wheel, "train") == ["torch"]
    store = noise_store(tmp_path / "data", count=20)
    clean = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    run = {"capture_output": True, "text": True, "cwd": tmp_path, "env": clean}
    done = subprocess.run([python, "-W", "error", "-c", READS, str(store)], **run)
    assert done.stdout.splitlines() == ["(4, 3, 40, 56) 20", "[]"], done.stderr
    absent = "import importlib.util as u; print([n for n in ('numba', 'dask', 'cv2', 'scipy') if u.find_spec(n)])"
    assert subprocess.run([python, "-c", absent], **run).stdout.strip() == "[]"
    done = subprocess.run([environment / "bin" / "defocal", "plan", "quickstart"], **run)
    assert (done.returncode, done.stderr.count("pip install 'defocal[synth]'")) == (2, 1)


def _extra(wheel, extra):
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith("METADATA"))
        lines = Parser().parsestr(archive.read(name).decode()).get_all("Requires-Dist")
    return [line.split(">")[0].strip() for line in lines if f'extra == "{extra}"' in line]


def _link_torch(packages):
    """Lend torch and what it needs, too large to be installed for a test."""
    import torch

    here = Path(torch.__file__).parents[1]
    names = "torch torchgen functorch sympy mpmath networkx jinja2 markupsafe filelock fsspec typing_extensions.py"
    for name in names.split():
        if (here / name).exists() and not (packages / name).exists():
            (packages / name).symlink_to(here / name)
