"""The house: who may import whom, where compiled code lives, and that packaging forgets nothing."""

import ast
import configparser
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("synth", "train", "evaluate", "pipelines")
MODULES = sorted(p for room in ROOMS for p in (ROOT / room).rglob("*.py"))
BANNED = {
    "synth": {"torch", "dask", "distributed", "click"},
    "train": {"numba", "dask", "distributed", "cv2", "scipy", "h5py", "OpenEXR"},
    "evaluate": {"torch", "zarr", "dask", "distributed", "click"},
    "pipelines": set(),
}
# What each room may take from the others; "" is the package's root.
ALLOWED = {
    "synth": {"", "synth"},
    "evaluate": {"", "evaluate"},
    "train": {
        "",
        "train",
        "synth.camera",
        "synth.pupil",
        "synth.store",
        "synth.recipe",
        "synth.recipe_errors",
        "synth.units",
        "synth.sensor_presets",
        "evaluate.metrics",
    },
    "pipelines": {"", "pipelines", "synth", "evaluate", "train"},
}


def imports(path):
    """Yield (level, dotted name) of every import in a file."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((0, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.level, node.module or ""


def inside(path, level, name):
    """Dotted path, from the package's root, that a relative import refers to."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join((*parts[:-level], *([name] if name else [])))


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_run_one_way(path):
    room = path.relative_to(ROOT).parts[0]
    for level, name in imports(path):
        if level == 0:
            top = name.split(".")[0]
            assert top != "defocal", f"{path}: import our own modules by explicit relative imports"
            assert top not in BANNED[room], f"{path}: {room} must not import {top}"
        else:
            target = inside(path, level, name)
            allowed = any(target == a or (a and target.startswith(a + ".")) for a in ALLOWED[room])
            assert allowed, f"{path}: {room} must not import {target}"


@pytest.mark.parametrize("path", [p for p in MODULES if p.name.endswith("_kernels.py")], ids=lambda p: p.name)
def test_kernel_files_hold_kernels_and_nothing_else(path):
    for level, name in imports(path):
        assert name.split(".")[0] in {"typing", "collections", "math", "numpy", "jit"} or level, (
            f"{path} imports {name}"
        )
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            assert [d.id for d in node.decorator_list if isinstance(d, ast.Name)] == ["jit"], f"{path}: {node.name}"
        assert not isinstance(node, ast.ClassDef), path


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_only_one_module_says_how_kernels_are_compiled(path):
    text = path.read_text(encoding="utf-8")
    assert path.name == "jit.py" or not any(word in text for word in ("njit", "fastmath", "numba.jit"))


def test_every_package_is_listed():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    listed = set(config["options"]["packages"].split())
    found = {"defocal"} | {
        ".".join(("defocal", *init.parent.relative_to(ROOT).parts))
        for room in ROOMS
        for init in (ROOT / room).rglob("__init__.py")
    }
    assert listed == found


def test_every_requirement_is_pinned_and_documented():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    wanted = config["options"]["install_requires"] + "".join(config["options.extras_require"].values())
    lines = [line.strip() for line in wanted.split("\n") if line.strip() and not line.startswith("defocal[")]
    names = {re.split(r"[\[<>=]", line)[0].strip().lower() for line in lines}
    pinned = {
        line.split("==")[0].lower()
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if "==" in line and not line.startswith("#")
    }
    assert names <= pinned
    documented = (ROOT / "docs" / "dependencies.md").read_text().lower()
    assert all(re.search(rf"`{name}[`\[]", documented) for name in names)


@pytest.mark.parametrize("module", ["defocal.pipelines.cli", "defocal.synth.camera", "defocal.synth.recipe"])
def test_light_modules_import_nothing_heavy(module):
    """`defocal --help` and the trainer must not wait for compilers, clusters or image libraries."""
    heavy = {"numba", "dask", "distributed", "cv2", "scipy", "zarr", "obstore"}
    code = f"import sys, {module}; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_public_names_exist():
    import defocal.synth as synth

    for name in synth.__all__:
        assert callable(getattr(synth, name)) or name.isupper(), name
    assert sorted(synth.__all__) == synth.__dir__()
    with pytest.raises(AttributeError, match="nonsense"):
        _ = synth.nonsense
