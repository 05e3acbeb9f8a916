"""Other programs that read Zarr see what zarr-python wrote: pixels, types, names of axes, NaN, attributes."""

import base64
import contextlib
import functools
import http.server
import json
import os
import re
import shutil
import subprocess
import threading
from pathlib import Path

import numpy as np
import pytest
import zarr
from conftest import recipe_data
from rgbd import save

from defocal.pipelines.generate import create, run
from defocal.synth import Recipe
from defocal.synth.arrays import REGISTRY, array_dims
from defocal.synth.samples import SampleMaker
from defocal.synth.store import open_store

HERE = Path(__file__).parent
FRAMES, SIZE = 17, (24, 32)
"""17 samples make eight shards of two, and one that is not full."""
BANK = ("psf/main/kernel", "psf/main/coc", "psf/main/depth")


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A dataset with every array that there is, and unknown depth."""
    folder = tmp_path_factory.mktemp("clients")
    rng = np.random.default_rng(1)
    for i in range(FRAMES):
        depth = np.linspace(900, 3900, SIZE[0] * SIZE[1]).reshape(SIZE).astype(np.uint16)
        depth[rng.random(SIZE) < 0.1] = 0
        save(folder / f"frames/rgb/{i:02d}.png", rng.integers(0, 256, (*SIZE, 3), dtype=np.uint8))
        save(folder / f"frames/depth/{i:02d}.png", depth)
    arrays = [n for n in REGISTRY if n not in ("index", "focus", "f_number", "intrinsics", "pose", "drawn")]
    data = recipe_data(
        scenes={},
        camera={"f_number": {"uniform": [2.0, 4.0]}},
        stack={"focus": [1.0, 2.0], "breathing": True, "hand_rotation": 1e-3},
        sensor={"preset": "dslr"},
        output={"arrays": arrays, "splits": {"train": 1.0}},
    )
    data["scenes"] = {"kind": "folder", "path": str(folder / "frames"), "depth": [0.8, 4.0]}
    maker = SampleMaker(Recipe.parse(data))
    assert not run(folder / "d", maker, create(folder / "d", maker)).failed
    opened = open_store(folder / "d")
    assert set(opened.recipe.arrays) | {"index"} == set(REGISTRY)
    assert opened.array("train", "depth").shards == (2, *SIZE)
    assert np.isnan(opened.array("train", "depth")[...]).any()
    return opened


@pytest.fixture(scope="module")
def split(store):
    """The split's folder."""
    return store.path / "train.zarr"


FILL = {"b": "false"}
"""What JavaScript writes for the fill value, where it is not 0 or NaN."""


def expected(split, name):
    """What zarr-python reads."""
    array = zarr.open_array(split / name, mode="r")
    return np.asarray(array[...]), array


def test_tensorstore_reads_every_array(store, split):
    tensorstore = pytest.importorskip("tensorstore")
    for name in (*store.recipe.arrays, "index", *BANK):
        values, array = expected(split, name)
        spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": str(split / name)}}
        found = tensorstore.open(spec, read=True).result()
        read = found.read().result()
        assert found.dtype.numpy_dtype == values.dtype == read.dtype
        np.testing.assert_array_equal(read, values)
        np.testing.assert_array_equal(found[len(values) - 1].read().result(), values[-1])
        assert found.domain.labels == tuple(array.metadata.dimension_names)
        assert np.isnan(found.fill_value) if values.dtype.kind == "f" and "psf" not in name else found.fill_value == 0
        assert found.spec().to_json()["metadata"]["attributes"] == dict(array.attrs)


def test_xarray_reads_every_array(store, split):
    xarray = pytest.importorskip("xarray")
    whole = xarray.open_zarr(split, consolidated=False, chunks=None)
    bank = xarray.open_zarr(split, group="psf/main", consolidated=False, chunks=None)
    assert set(whole.data_vars) == {*store.recipe.arrays, "index"}
    assert whole.attrs["defocal"]["recipe_hash"] == store.recipe.hash()
    for name in (*store.recipe.arrays, "index", *BANK):
        values, array = expected(split, name)
        found = bank[name.rpartition("/")[2]] if name in BANK else whole[name]
        assert found.dtype == values.dtype
        assert found.dims == tuple(array.metadata.dimension_names)
        assert found.attrs == dict(array.attrs)
        np.testing.assert_array_equal(found.values, values)
        if name in REGISTRY:
            assert found.dims == array_dims(store.recipe, name)
            assert found.attrs["units"] == REGISTRY[name].unit
    assert float(whole["depth"].mean()) == pytest.approx(np.nanmean(expected(split, "depth")[0]), rel=1e-5)


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    """Return a function that runs a script in a folder beside zarrita; `make clients` installs that."""
    asked = os.environ.get("DEFOCAL_NODE_MODULES")
    modules = Path(asked or HERE / "clients" / "node_modules").absolute()
    if shutil.which("node") is None or not (modules / "zarrita").is_dir():
        reason = f"needs node, and zarrita in {modules}: run `make clients`"
        if asked:
            pytest.fail(reason)
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("node")
    (folder / "node_modules").symlink_to(modules)

    def start(script, *words):
        (folder / "script.mjs").write_text(script)
        command = ["node", "script.mjs", *map(str, words)]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        return done.stdout

    start.folder = folder
    return start


class Ranges(http.server.BaseHTTPRequestHandler):
    """Answers for parts of files, which Python's own handler does not."""

    def __init__(self, *arguments, directory):
        self.directory = directory
        super().__init__(*arguments)

    def log_message(self, *arguments):
        pass

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        path = self.directory / self.path.lstrip("/")
        if not path.is_file():
            self.send_error(404)
            return
        content = path.read_bytes()
        asked = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", ""))
        if asked:
            first, last = asked.groups()
            content = content[int(first) : int(last) + 1 if last else None] if first else content[-int(last) :]
        self.send_response(206 if asked else 200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)


@contextlib.contextmanager
def served(folder):
    """Serve a folder on loopback."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Ranges, directory=folder))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize("how", ["files", "web"])
def test_zarrita_reads_every_array(store, split, node, how):
    names = (*store.recipe.arrays, "index", *BANK)
    script = (HERE / "clients" / "read.mjs").read_text()
    with served(split) if how == "web" else contextlib.nullcontext(split) as where:
        found = json.loads(node(script, where, *names))
    assert found["attributes"]["defocal"]["recipe_hash"] == store.recipe.hash()
    for name in names:
        values, array = expected(split, name)
        there = found["arrays"][name]
        assert there["dtype"] == values.dtype.name
        assert there["dims"] == list(array.metadata.dimension_names)
        assert there["attributes"] == dict(array.attrs)
        assert there["chunks"] == list(array.chunks)
        assert there["fill"] == ("NaN" if np.isnan(float(array.fill_value)) else FILL.get(values.dtype.kind, "0"))
        assert there["last"] == list(values.shape[1:])
        assert base64.b64decode(there["data"]) == np.ascontiguousarray(values).tobytes()


def test_what_the_documents_say_of_javascript_runs(split, node):
    (code,) = re.findall(r"```js\n(.*?)```", (HERE.parent / "docs" / "store.md").read_text(), re.S)
    (node.folder / "my-data").symlink_to(split.parent)
    assert "m" in node(code)
