"""A server of objects, and small datasets there and in a folder."""

import os

import pytest
from conftest import recipe_data
from processes import digest_of_run

from defocal.pipelines.generate import create, run
from defocal.synth import Recipe, buckets
from defocal.synth.places import place
from defocal.synth.samples import SampleMaker


@pytest.fixture(scope="package")
def server():
    from buckets import KEYS, Server

    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            patch.delenv(name)
        made = Server()
        for name, value in {**KEYS, "AWS_ENDPOINT_URL": made.url, "DEFOCAL_OBJECT_PATIENCE": "20"}.items():
            patch.setenv(name, value)
        buckets.connect.cache_clear()
        yield made
        made.stop()
        buckets.connect.cache_clear()


@pytest.fixture
def patience(monkeypatch):
    """Set for how long requests are repeated, seconds."""

    def patient(seconds):
        monkeypatch.setenv("DEFOCAL_OBJECT_PATIENCE", str(seconds))
        buckets.connect.cache_clear()

    yield patient
    monkeypatch.undo()
    buckets.connect.cache_clear()


@pytest.fixture
def out(server, request):
    """An empty place."""
    from buckets import BUCKET

    return place(f"s3://{BUCKET}/{request.node.name.replace('[', '-').replace(']', '')}")


@pytest.fixture(scope="package")
def small():
    """A recipe of few objects: the server takes some milliseconds for each request."""
    arrays = {"arrays": ["depth", "capture"], "splits": {"train": 1.0}}
    return Recipe.parse(recipe_data(scenes={"count": 5, "size": [16, 20]}, output=arrays))


@pytest.fixture(scope="package")
def local(small, tmp_path_factory):
    """The small dataset in a folder."""
    folder, maker = tmp_path_factory.mktemp("local") / "small", SampleMaker(small)
    assert run(folder, maker, create(folder, maker)).complete
    return folder


@pytest.fixture(scope="package")
def remote(small, server):
    """The small dataset in an object store; tests must not change it."""
    from buckets import BUCKET

    where, maker = place(f"s3://{BUCKET}/remote/small"), SampleMaker(small)
    assert run(where, maker, create(where, maker)).complete
    return where


@pytest.fixture(scope="package")
def recipe_file(small, tmp_path_factory):
    path = tmp_path_factory.mktemp("recipe") / "tiny.toml"
    path.write_text(Recipe.parse(small.to_dict() | {"scenes": {**small.to_dict()["scenes"], "count": 8}}).to_toml())
    return path


@pytest.fixture(scope="package")
def undisturbed(recipe_file, tmp_path_factory):
    return digest_of_run(recipe_file, tmp_path_factory.mktemp("undisturbed") / "d")
