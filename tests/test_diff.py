"""Differences of two datasets: what differs is told, key by key and array by array; the same is the same."""

import json
import shutil

import numpy as np
import pytest
import zarr
from click.testing import CliRunner
from conftest import recipe_data

from defocal.pipelines.cli import cli
from defocal.pipelines.diff import diff, difference_lines
from defocal.pipelines.generate import create, run
from defocal.pipelines.release import release
from defocal.synth import Recipe
from defocal.synth.samples import SampleMaker


def made(out, **changes):
    """Make the tiny dataset with changes."""
    maker = SampleMaker(Recipe.parse(recipe_data(**changes)))
    assert not run(out, maker, create(out, maker)).failed
    return out


def command(*arguments):
    return CliRunner().invoke(cli, ["diff", *map(str, arguments)])


def test_a_dataset_is_the_same_as_itself_and_its_release(tiny_store, tmp_path):
    release(tiny_store, tmp_path / "released")
    for other in (tiny_store, tmp_path / "released"):
        found = diff(tiny_store, other)
        assert found.same
        assert difference_lines(found) == []
    assert found.release[0] == ""
    assert len(found.release[1]) == 64
    result = command(tiny_store, tmp_path / "released")
    assert result.exit_code == 0
    assert "hold the same content, 12 samples" in result.output


def test_what_changes_no_sample_is_told_and_is_no_difference(tiny_store, tmp_path):
    output = {"compression": "fast", "shard_bytes": 20000}
    other = made(tmp_path / "b", name="other", output=output)
    found = diff(tiny_store, other)
    assert found.same
    assert set(found.recipe) == {"name", "output.compression", "output.shard_bytes"}
    assert found.recipe["name"] == ("tiny", "other")
    result = command(tiny_store, other)
    assert result.exit_code == 0
    assert "recipe output.compression: release -> fast" in result.output


def test_another_lens_changes_what_it_blurs_and_nothing_else(tiny_store, tmp_path):
    other = made(tmp_path / "b", camera={"f_number": 2.8})
    found = diff(tiny_store, other, looked_at=3)
    assert found.recipe == {"camera.f_number": (2.0, 2.8)}
    assert "psf.sha256" in found.facts
    assert (found.added, found.removed, found.moved) == ([], [], {})
    assert len(found.changed) == 12
    by_name = {one.name: one for one in found.arrays}
    assert set(by_name) == {"coc", "capture"}
    coc = by_name["coc"]
    assert (coc.samples, coc.looked_at) == (12, 3)
    a, b = (zarr.open_group(path / "train.zarr", mode="r") for path in (tiny_store, other))
    sizes = [np.abs(a["coc"][i].astype(float) - b["coc"][i].astype(float)).max() for i in range(a["index"].shape[0])]
    assert 0 < coc.most <= max(sizes)
    assert 0.5 < coc.share <= 1
    result = command(tiny_store, other)
    assert result.exit_code == 4
    assert "array coc: differs in 12 samples; by up to" in result.output
    assert "hold different content" in result.output


def test_more_samples_and_other_shares_are_added_and_moved_ones(tiny_store, tmp_path):
    other = made(tmp_path / "b", scenes={"count": 14}, output={"splits": {"train": 0.5, "test": 0.5}})
    found = diff(tiny_store, other)
    assert found.added == ["procedural/000012", "procedural/000013"]
    assert found.removed == []
    # The things that procedural scenes are made of belong to a split.
    assert found.changed == list(found.moved) != []
    assert set(found.moved.values()) == {("train", "test")}
    assert not found.same
    back = diff(other, tiny_store)
    assert back.removed == found.added
    text = command(tiny_store, other).output
    assert "samples added: 2 (procedural/000012, procedural/000013)" in text
    assert f"samples moved: {len(found.moved)} (" in text


def test_arrays_of_other_kinds_are_told(tiny_store, tmp_path):
    other = made(
        tmp_path / "b", scenes={"count": 3}, output={"arrays": ["aif", "depth"], "bits": 16, "encoding": "linear"}
    )
    found = diff(tiny_store, other)
    by_name = {one.name: one for one in found.arrays}
    assert by_name["coc"].only == by_name["capture"].only == "a"
    assert by_name["aif"].metadata["dtype"] == ("uint8", "uint16")
    assert by_name["aif"].metadata["attributes.encoding"] == ("srgb", "linear")
    assert "depth" not in by_name
    lines = difference_lines(found)
    assert "array coc: only in a" in lines
    assert "array aif, dtype: uint8 -> uint16" in lines
    # Other shapes cannot be subtracted, and are told as that.
    small = made(tmp_path / "c", scenes={"count": 2, "size": [16, 16]})
    assert any(line.endswith("whose shapes differ") for line in difference_lines(diff(tiny_store, small)))


def test_types_alone_are_a_difference(tiny_store, tmp_path):
    copy = shutil.copytree(tiny_store, tmp_path / "copy")
    path = copy / "train.zarr/aif/zarr.json"
    content = json.loads(path.read_text())
    content["attributes"]["description"] = "something else"
    path.write_text(json.dumps(content))
    found = diff(tiny_store, copy)
    assert not found.same
    assert found.arrays[0].metadata == {
        "attributes.description": ("all-in-focus image, RGB, encoded", "something else")
    }


def test_versions_are_compared(tiny_store, tmp_path):
    copy = shutil.copytree(tiny_store, tmp_path / "copy")
    for path in copy.glob("*.zarr/zarr.json"):
        content = json.loads(path.read_text())
        content["attributes"]["defocal"]["versions"] |= {"numpy": "1.0", "more": "2"}
        path.write_text(json.dumps(content))
    found = diff(tiny_store, copy)
    assert found.same
    assert found.versions["numpy"][1] == "1.0"
    assert found.versions["more"] == ("absent", "2")


def test_programs_get_json(tiny_store, tmp_path):
    other = made(tmp_path / "b", scenes={"count": 2}, camera={"f_number": 4.0})
    result = command(tiny_store, other, "--json", "--samples", "0")
    assert result.exit_code == 4
    told = json.loads(result.stdout)
    assert told["same"] is False
    assert told["recipe"]["camera.f_number"] == [2.0, 4.0]
    assert told["arrays"][0]["looked_at"] == 0
    assert json.loads(command(other, other, "--json").stdout)["same"] is True


def test_what_is_no_dataset_is_refused(tiny_store, tmp_path):
    result = command(tiny_store, tmp_path)
    assert result.exit_code == 2
    assert "is not a defocal dataset" in result.stderr


def test_samples_whose_sources_are_not_unique_go_by_number(tiny_store, tmp_path):
    copy = shutil.copytree(tiny_store, tmp_path / "copy")
    path = copy / "samples.csv"
    path.write_text(path.read_text().replace("procedural/000003", "procedural/000004"))
    found = diff(tiny_store, copy)
    assert not found.same
    assert found.changed == []
    assert difference_lines(found)[-1].startswith("samples have other")


@pytest.mark.parametrize("unknown", [True, False])
def test_unknown_values_differ_from_known_ones(tiny_store, tmp_path, unknown):
    copy = shutil.copytree(tiny_store, tmp_path / "copy")
    group = zarr.open_group(copy / "train.zarr", mode="r+")
    block = group["depth"][0:1]
    digest = (copy / "samples.csv").read_text()
    block[0, 0, 0] = np.nan if unknown else block[0, 0, 0] + 1
    group["depth"][0:1] = block
    row = next(line for line in digest.splitlines() if ",train,0," in line)
    cells = row.split(",")
    head = digest.splitlines()[0].split(",")
    cells[head.index("digest")] = cells[head.index("sha256_depth")] = "0" * 64
    (copy / "samples.csv").write_text(digest.replace(row, ",".join(cells)))
    (one,) = diff(tiny_store, copy).arrays
    assert (one.name, one.samples, one.looked_at) == ("depth", 1, 1)
    assert one.share == 1 / block.size
    assert one.most == (None if unknown else 1.0)
    assert ("unknown values alone" in difference_lines(diff(tiny_store, copy))[-1]) == unknown
