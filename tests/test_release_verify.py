"""A release proves itself: any flipped bit, missing, extra or truncated file is found, with the samples it concerns."""

import hashlib
import json
import os
import re
import shutil
import subprocess

import numpy as np
import pytest
from click.testing import CliRunner

from defocal import InputError
from defocal.pipelines.cli import cli
from defocal.pipelines.release import Options, release
from defocal.pipelines.release_manifest import (
    check_files,
    file_digest,
    files_of,
    is_data,
    listing,
    read_listing,
    release_id,
)
from defocal.pipelines.verify import verify
from defocal.synth.commit import read_samples


@pytest.fixture(scope="module")
def made(tiny_store, tmp_path_factory):
    """Return a release of the tiny dataset; tests must not change it."""
    out = tmp_path_factory.mktemp("release") / "tiny"
    assert not release(tiny_store, out, Options(licence="CC-BY-4.0")).problems
    return out


@pytest.fixture
def copy(made, tmp_path):
    return shutil.copytree(made, tmp_path / "copy")


def rows_of(out, split):
    return {int(row["row"]): int(row["index"]) for row in read_samples(out) if row["split"] == split}


def test_the_lists_are_those_of_sha256sum(made):
    text = (made / "manifest.sha256").read_text()
    lines = text.splitlines()
    names = [line.split("  ")[1] for line in lines]
    assert sorted([*names, "manifest.sha256"]) == files_of(made)[0]
    assert names == sorted(names)
    assert [hashlib.sha256((made / name).read_bytes()).hexdigest() for name in names] == [line[:64] for line in lines]
    data = [line for line, name in zip(lines, names, strict=True) if is_data(name)]
    assert (made / "data.sha256").read_text() == "\n".join(data) + "\n"
    assert len(data) > 40


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="no sha256sum here")
def test_sha256sum_alone_checks_a_release_and_tells_its_id(made, copy):
    for name in ("manifest.sha256", "data.sha256"):
        done = subprocess.run(
            ["sha256sum", "--check", "--strict", "--quiet", name], cwd=made, capture_output=True, text=True
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    told = subprocess.run(["sha256sum", "data.sha256"], cwd=made, capture_output=True, text=True, check=True).stdout
    identity = told.split()[0]
    assert identity == verify(made).release == release_id((made / "data.sha256").read_text())
    assert all(identity in (made / name).read_text() for name in ("README.md", "CITATION.cff", "croissant.json"))
    (copy / "samples.csv").write_bytes(b"x")
    assert subprocess.run(["sha256sum", "--check", "manifest.sha256"], cwd=copy, capture_output=True).returncode == 1


def test_an_intact_release_is_intact(made):
    verdict = verify(made, rerender=1)
    assert verdict.problems == []
    assert verdict.damage == []
    assert verdict.samples == 12


def test_every_flipped_bit_of_every_file_is_found(copy):
    rng = np.random.default_rng(0)
    files = files_of(copy)[0]
    assert len(files) > 60
    for name in files:
        path = copy / name
        whole = path.read_bytes()
        places = {0, len(whole) - 1, *rng.integers(0, len(whole), 3).tolist()}
        for place in sorted(places):
            damaged = bytearray(whole)
            damaged[place] ^= 1 << int(rng.integers(0, 8))
            path.write_bytes(damaged)
            found = check_files(copy)
            assert found, (name, place)
            if name != "manifest.sha256":
                assert [one.file for one in found] == [name]
        path.write_bytes(whole)
    assert check_files(copy) == []


def test_every_bit_of_the_manifest_matters(copy):
    path = copy / "manifest.sha256"
    whole = path.read_bytes()
    as_written = read_listing(path)
    assert as_written[1] is None
    for place in range(200):
        for bit in range(8):
            damaged = bytearray(whole)
            damaged[place] ^= 1 << bit
            path.write_bytes(damaged)
            assert read_listing(path) != as_written, (place, bit)


@pytest.mark.parametrize("how", ["missing", "truncated", "empty", "longer", "link"])
def test_every_missing_and_every_truncated_file_is_found(copy, how):
    for name in files_of(copy)[0]:
        path = copy / name
        whole = path.read_bytes()
        path.unlink()
        if how == "link":
            (copy.parent / "elsewhere").write_bytes(whole)
            path.symlink_to(copy.parent / "elsewhere")
        elif how != "missing":
            path.write_bytes({"truncated": whole[:-1], "empty": b"", "longer": whole + b"\n"}[how])
        if name == "manifest.sha256" and how in ("missing", "link"):
            assert how == "link" or any("without its manifest.sha256" in problem for problem in verify(copy).problems)
        else:
            assert name in [one.file for one in check_files(copy)], (name, how)
        path.unlink(missing_ok=True)
        path.write_bytes(whole)
    assert check_files(copy) == []


def test_full_verification_survives_whatever_file_is_damaged(copy):
    """The manifest is not all: the rest of the verification must bear damaged metadata, and blame no other file."""
    rng = np.random.default_rng(1)
    for name in files_of(copy)[0]:
        if name.count("/c/") and rng.random() < 0.7:
            continue
        path = copy / name
        whole = path.read_bytes()
        damaged = bytearray(whole)
        damaged[int(rng.integers(0, len(whole)))] ^= 1 << int(rng.integers(0, 7))
        path.write_bytes(damaged)
        verdict = verify(copy, rerender=1)
        assert verdict.problems, name
        assert verdict.damage, name
        assert verdict.rerendered == []
        path.write_bytes(whole)


@pytest.mark.parametrize(
    "name", ["notes.txt", "pictures/more.png", "train.zarr/psf/x", "train.zarr/aif/c/0/0/0/1", ".hidden", "empty/x"]
)
def test_an_extra_file_is_found(copy, name):
    (copy / name).parent.mkdir(exist_ok=True, parents=True)
    (copy / name).write_bytes(b"")
    assert [one.file for one in check_files(copy)] == [name]
    assert any("does not belong" in problem for problem in verify(copy).problems)


def test_what_a_host_adds_is_no_damage(copy, tmp_path):
    (copy / ".gitattributes").write_text("*.zarr lfs")
    (copy / ".cache/huggingface").mkdir(parents=True)
    (copy / ".cache/huggingface/x").write_text("x")
    assert verify(copy).problems == []
    assert files_of(release(copy, tmp_path / "again").folder)[0] == [
        name for name in files_of(copy)[0] if not name.startswith(".")
    ]
    (copy / "train.zarr/.cache").mkdir()
    (copy / "train.zarr/.cache/x").write_text("x")
    assert [one.file for one in check_files(copy)] == ["train.zarr/.cache/x"]


def test_the_samples_that_a_file_concerns_are_told(copy):
    rows = rows_of(copy, "train")
    for shard, name in {0: "train.zarr/capture/c/0/0/0/0", 3: "train.zarr/depth/c/3/0/0"}.items():
        path, index = copy / name, rows[shard]
        whole = path.read_bytes()
        path.write_bytes(whole[:-7])
        (damage,) = check_files(copy)
        assert (damage.rows, damage.samples) == ((shard, shard + 1), (index,))
        verdict = verify(copy)
        assert f"{name} differs from its digest: it concerns sample {index} (train, row {shard})." in verdict.problems
        assert any(problem.startswith(f"sample {index} (train, row {shard}): ") for problem in verdict.problems)
        assert len(verdict.problems) == 2
        path.write_bytes(whole)


@pytest.mark.parametrize(
    ("name", "split", "rows"),
    [
        ("train.zarr/zarr.json", "train", None),
        ("train.zarr/psf/main/kernel/zarr.json", "train", None),
        ("test.zarr/coc/zarr.json", "test", None),
        ("test.zarr/index/c/0", "test", None),
        ("README.md", "", None),
        ("samples.csv", "", None),
        ("train.zarr/aif/c/99/0/0/0", "train", (99, 100)),
    ],
)
def test_files_beside_the_shards_concern_a_split_or_nothing(copy, name, split, rows):
    path = copy / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(path.read_bytes()[1:] if path.exists() else b"")
    (damage,) = check_files(copy)
    assert (damage.split, damage.rows, damage.samples) == (split, rows, ())
    assert damage.file in str(damage)


def test_damage_is_mapped_even_where_the_table_and_the_metadata_are_damaged_too(copy):
    (copy / "train.zarr/aif/c/0/0/0/0").write_bytes(b"")
    (copy / "samples.csv").write_bytes(b"\xff\x00,\n")
    found = {one.file: one for one in check_files(copy)}
    assert found["train.zarr/aif/c/0/0/0/0"].rows == (0, 1)
    (copy / "train.zarr/aif/zarr.json").write_bytes(b"[" * 100_000)
    found = {one.file: one for one in check_files(copy)}
    assert found["train.zarr/aif/c/0/0/0/0"].rows is None
    assert found["train.zarr/aif/c/0/0/0/0"].split == "train"


def test_a_manifest_cannot_lead_out_of_the_release(copy):
    (copy.parent / "secret").write_text("x")
    text = (copy / "manifest.sha256").read_text()
    line = f"{file_digest(copy.parent / 'secret')}  ../secret\n"
    (copy / "manifest.sha256").write_text(line + text)
    assert [(one.file, one.what) for one in check_files(copy)] == [("../secret", "is missing")]


def test_lists_that_nobody_wrote_are_refused(tmp_path):
    path = tmp_path / "list"
    digest = "0" * 64
    good = listing({"b": digest, "a": digest})
    assert good == f"{digest}  a\n{digest}  b\n"
    path.write_text(good)
    assert read_listing(path) == ({"a": digest, "b": digest}, None)
    for text in (
        good[:-1], good + "\n", good.replace("  ", " *"), good.replace("0", "A"), f"{digest}  b\n{digest}  a\n",
        good + good.splitlines()[1] + "\n", good.replace("\n", "\r\n"), f"\ufeff{good}",
    ):  # fmt: skip
        path.write_text(text, newline="")
        assert read_listing(path)[1], text
    path.write_bytes(b"\xff")
    assert "cannot be read" in read_listing(path)[1]
    with pytest.raises(InputError, match="cannot be listed"):
        listing({"a\nb": digest})


def test_the_two_lists_must_agree(copy):
    lines = (copy / "data.sha256").read_text().splitlines(keepends=True)
    (copy / "data.sha256").write_text("".join(lines[1:]))
    manifest, _ = read_listing(copy / "manifest.sha256")
    manifest["data.sha256"] = file_digest(copy / "data.sha256")
    (copy / "manifest.sha256").write_text(listing(manifest))
    assert [one.file for one in check_files(copy)] == ["data.sha256"]


def run(*arguments):
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


def test_the_command_ends_with_4_whatever_is_damaged(copy):
    for name in ("README.md", "train.zarr/zarr.json", "samples.csv", "train.zarr/aif/zarr.json", "recipe.toml"):
        whole = (copy / name).read_bytes()
        for content in (None, whole[:-1], b"", b"{}"):
            (copy / name).unlink(missing_ok=True)
            if content is not None:
                (copy / name).write_bytes(content)
            result = run("verify", copy)
            assert result.exit_code == 4, (name, content, result.output)
            assert f"Mismatch: {name} " in result.stderr
        (copy / name).write_bytes(whole)
    result = run("verify", copy)
    assert result.exit_code == 0
    assert re.search(r"It is the release [0-9a-f]{64}", result.output)


def test_programs_are_told_of_damage_too(copy, tiny_store):
    (copy / "train.zarr/coc/c/2/0/0").unlink()
    result = run("verify", copy, "--json")
    assert result.exit_code == 4
    told = json.loads(result.stdout)
    assert told["intact"] is False
    assert told["damage"][0]["samples"] == [rows_of(copy, "train")[2]]
    result = run("verify", tiny_store, "--json", "--rerender", "2")
    assert result.exit_code == 0
    told = json.loads(result.stdout)
    assert told["rerendered"][0][1] == dict.fromkeys(("aif", "depth", "coc", "capture"), "bit-exact")
    assert told["release"] == ""


def test_the_command_says_how_each_array_compares(tiny_store):
    result = run("verify", tiny_store, "--rerender", "2")
    assert "2 samples made again: aif bit-exact, depth bit-exact, coc bit-exact, capture bit-exact" in result.output


def test_an_unreadable_file_is_damage(copy):
    if os.geteuid() == 0:
        pytest.skip("root reads everything")
    (copy / "README.md").chmod(0)
    assert [one.file for one in check_files(copy)] == ["README.md"]


def test_a_shard_of_several_samples_concerns_all_of_them(copy):
    metadata = copy / "train.zarr/aif/zarr.json"
    content = json.loads(metadata.read_text())
    content["chunk_grid"]["configuration"]["chunk_shape"][0] = 3
    metadata.write_text(json.dumps(content))
    (copy / "train.zarr/aif/c/2/0/0/0").unlink()
    found = next(one for one in check_files(copy) if one.what == "is missing")
    rows = rows_of(copy, "train")
    last = min(9, len(rows))
    assert (found.rows, found.samples) == ((6, last), tuple(rows[row] for row in range(6, last)))
    assert f"concerns samples {rows[6]}, " in str(found)
