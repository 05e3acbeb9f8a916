"""Releases: complete, the same bytes every time, with nothing in them of the machine that made them."""

import json
import re
import shutil

import pytest
from click.testing import CliRunner
from conftest import recipe_data
from releases import OPTIONS, contents

from defocal import InputError
from defocal.pipelines.cli import cli
from defocal.pipelines.generate import create, run
from defocal.pipelines.release import Options, release
from defocal.pipelines.release_facts import Author, named_paths, portable
from defocal.pipelines.release_manifest import RELEASED, is_data
from defocal.pipelines.release_terms import LICENCES, terms_of
from defocal.pipelines.verify import verify
from defocal.synth import Recipe, open_store
from defocal.synth.readers import READERS
from defocal.synth.samples import SampleMaker


def test_a_release_has_everything_and_the_arrays_as_they_were(tiny_store, made):
    before, after = contents(tiny_store), contents(made)
    assert {name for name in after if not is_data(name)} == {
        "README.md", "CITATION.cff", "LICENSE", "croissant.json", "environment.txt", "pictures/contact.png",
        "data.sha256", "manifest.sha256",
    }  # fmt: skip
    assert {name.split("/")[0] for name in after} - {name.split("/")[0] for name in before} == set(RELEASED)
    assert {name: after[name] for name in before} == before
    assert verify(tiny_store).problems == []


def test_the_same_release_is_the_same_bytes(tiny_store, made, tmp_path, monkeypatch):
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    monkeypatch.setenv("LC_ALL", "C")
    place = shutil.copytree(tiny_store, tmp_path / "in place")
    assert release(place, None, OPTIONS).identity == release(tiny_store, tmp_path / "copy", OPTIONS).identity
    assert contents(place) == contents(tmp_path / "copy") == contents(made)
    release(place, None, OPTIONS)
    assert contents(place) == contents(made)
    release(made, tmp_path / "of a release", OPTIONS)
    assert contents(tmp_path / "of a release") == contents(made)


def test_another_title_changes_documents_and_not_the_id(tiny_store, made, tmp_path):
    outcome = release(tiny_store, tmp_path / "other", Options(title="Another"))
    assert outcome.identity == verify(made).release
    assert (tmp_path / "other/manifest.sha256").read_bytes() != (made / "manifest.sha256").read_bytes()
    assert len(outcome.notes) == 2


def test_nothing_is_left_of_an_interrupted_copy(tiny_store, tmp_path, monkeypatch):
    from defocal.pipelines import release as module

    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "draw_store", full)
    with pytest.raises(InputError, match=r"cannot write a release to .*No space left"):
        release(tiny_store, tmp_path / "out/r")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_release_that_was_interrupted_in_place_is_none_and_can_be_made_again(made, tiny_store, tmp_path, monkeypatch):
    from defocal.pipelines import release as module

    place = shutil.copytree(made, tmp_path / "place")

    def stop(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(module, "croissant", stop)
        with pytest.raises(KeyboardInterrupt):
            release(place, None, OPTIONS)
    assert "without its manifest.sha256: run `defocal release` again" in verify(place).problems[-1]
    release(place, None, OPTIONS)
    assert contents(place) == contents(made)


@pytest.mark.parametrize("name", ["train.zarr/aif/c/0/0/0/0", "train.zarr/zarr.json", "samples.csv", "recipe.toml"])
def test_damage_is_not_released(made, tiny_store, tmp_path, name):
    """A shard is found by its samples, metadata by the earlier release in the folder."""
    place = shutil.copytree(made, tmp_path / "place")
    data = bytearray((place / name).read_bytes())
    data[len(data) // 2] ^= 1
    (place / name).write_bytes(data)
    before = contents(place)
    try:
        outcome = release(place, None, OPTIONS)
        assert outcome.problems
        assert outcome.identity == ""
    except InputError:
        assert name.endswith("zarr.json")
    assert contents(place) == before


def test_a_reformatted_group_is_not_what_was_released(made, tmp_path):
    place = shutil.copytree(made, tmp_path / "place")
    path = place / "train.zarr/zarr.json"
    path.write_text(json.dumps(json.loads(path.read_text())))
    result = CliRunner().invoke(cli, ["release", str(place)])
    assert result.exit_code == 4
    assert "train.zarr/zarr.json is not what the earlier release holds" in result.stderr


def test_links_are_not_released(tiny_store, tmp_path):
    place = shutil.copytree(tiny_store, tmp_path / "place")
    shard = place / "train.zarr/aif/c/0/0/0/0"
    shard.rename(tmp_path / "shard")
    shard.symlink_to(tmp_path / "shard")
    assert any("is a link" in problem for problem in release(place, tmp_path / "out").problems)


def test_the_command_releases_and_says_what_to_do_next(tiny_store, tmp_path):
    out = tmp_path / "out"
    result = CliRunner().invoke(
        cli, ["release", str(tiny_store), "--out", str(out), "--zip", "--license", "cc-by-nc-4.0", "--author", "A B"]
    )
    assert result.exit_code == 0, result.output
    assert re.search(r"Released .*out, id [0-9a-f]{64}", result.output)
    assert "NOT FOR COMMERCIAL USE" in result.stderr
    assert sorted(path.name for path in (tmp_path / "out-zips").iterdir()) == [
        "tiny-test.zip", "tiny-train.zip", "tiny.zip", "zips.sha256",
    ]  # fmt: skip
    again = CliRunner().invoke(cli, ["release", str(tiny_store), "--out", str(out)])
    assert again.exit_code == 2
    assert "already exists" in again.stderr
    inside = CliRunner().invoke(cli, ["release", str(tiny_store), "--out", str(tiny_store / "r")])
    assert inside.exit_code == 2
    assert "lies in the dataset" in inside.stderr


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"title": "a\x1bb"}, "--title takes a line"),
        ({"title": " "}, "--title takes a line"),
        ({"title": "x" * 301}, "--title takes a line"),
        ({"authors": ["<a@b.cd>"]}, "--author takes a name"),
        ({"authors": ["A <not an address>"]}, "no e-mail address"),
        ({"authors": ["A <https://u:p@example.org>"]}, "user name or a password"),
        ({"authors": ["A B", "B, A"]}, "same author twice"),
        ({"licence": "CC-BY-5.0"}, "is none of"),
        ({"version": "1.0"}, "MAJOR.MINOR.PATCH"),
        ({"date": "yesterday"}, "--date takes a day"),
        ({"date": "2026-13-01"}, "--date takes a day"),
        ({"url": "ftp://x"}, "is no web address"),
        ({"url": "https://user:token@example.org/"}, "user name or a password"),
        ({"url": "https://example.org/a b"}, "is no web address"),
    ],
)
def test_what_cannot_be_said_is_refused_before_anything_is_read(tiny_store, tmp_path, options, words):
    with pytest.raises(InputError, match=re.escape(words)):
        release(tiny_store, tmp_path / "out", Options(**options), report=lambda done: pytest.fail("was read"))
    assert not (tmp_path / "out").exists()


def test_authors_are_persons_or_bodies():
    assert Author.parse("Ada Lovelace") == Author("Ada Lovelace", "Lovelace", "Ada")
    assert Author.parse("von Neumann, John <j@ias.edu>") == Author(
        "John von Neumann", "von Neumann", "John", "j@ias.edu"
    )
    assert Author.parse("Madonna") == Author("Madonna")
    orcid = "https://orcid.org/0000-0002-1825-0097"
    assert Author.parse(f" Josiah  Carberry < {orcid} >") == Author(
        "Josiah Carberry", "Carberry", "Josiah", orcid=orcid
    )
    assert Author.parse("Big Lab <https://lab.org>") == Author("Big Lab", website="https://lab.org")


# Paths


def test_a_copy_names_no_folder_of_this_machine(own, frames, tmp_path):
    outcome = release(own, tmp_path / "out")
    for name, content in contents(outcome.folder).items():
        assert str(tmp_path).encode() not in content, name
        assert b"home/ada" not in content, name
    assert open_store(outcome.folder).recipe.scenes.path == "frames"
    assert "`recipe.toml` names `frames`" in (outcome.folder / "README.md").read_text()
    assert verify(outcome.folder).problems == []
    assert str(frames) in (own / "recipe.toml").read_text()


def test_a_release_of_files_is_made_again_where_they_lie(own, frames, tmp_path, monkeypatch):
    folder = release(own, tmp_path / "out").folder
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="verify it where they lie"):
        verify(folder, rerender=1)
    monkeypatch.chdir(frames.parent)
    verdict = verify(folder, rerender=2)
    assert len(verdict.rerendered) == 2
    assert not verdict.problems


def test_a_release_in_place_asks_before_it_publishes_a_folder(own, frames):
    with pytest.raises(InputError, match=rf"scenes.path = {re.escape(str(frames))}.*--out.*--keep-paths"):
        release(own)
    assert not any((own / name).exists() for name in RELEASED)
    release(own, None, Options(keep_paths=True))
    for name in RELEASED:
        if (own / name).is_file():
            assert str(frames) not in (own / name).read_text(errors="replace"), name
    assert str(frames) in (own / "recipe.toml").read_text()
    assert verify(own, rerender=1).problems == []


def test_the_id_does_not_depend_on_where_the_files_lay(own, frames, tmp_path):
    moved = tmp_path / "elsewhere/frames"
    shutil.copytree(frames, moved)
    data = recipe_data() | {
        "scenes": {"kind": "folder", "path": str(moved), "depth": [0.8, 4.0]}, "output": {"splits": {"train": 1.0}},
    }  # fmt: skip
    maker = SampleMaker(Recipe.parse(data))
    run(tmp_path / "other", maker, create(tmp_path / "other", maker))
    assert release(own, tmp_path / "a").identity == release(tmp_path / "other", tmp_path / "b").identity
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def test_every_path_of_a_recipe_is_found():
    scenes = {"kind": "nyuv2", "path": "/home/a/nyu.mat", "listing": "~/list.txt", "depth": [0.8, 4.0]}
    psf = {"kind": "measured", "path": "C:\\Users\\a\\psf.npz"}
    recipe = Recipe.parse(recipe_data() | {"scenes": scenes, "psf": psf})
    assert set(named_paths(recipe)) == {"scenes.path", "scenes.listing", "psf.path"}
    clean = portable(recipe)
    assert (clean.scenes.path, clean.scenes.listing, clean.psf.path) == ("nyu.mat", "list.txt", "psf.npz")
    assert named_paths(clean) == {}
    mask = {"kind": "mask", "mask": {"kind": "height-map", "path": "../x/../heights.npy", "wavelength": "550 nm"}}
    mask |= {"wavelengths": ["550 nm"]}
    made = Recipe.parse(recipe_data(scenes={"textures": "/"}) | {"psf": mask})
    assert named_paths(made) == {"scenes.textures": "/", "psf.mask.path": "../x/../heights.npy"}
    assert portable(made).scenes.textures == "data"
    assert portable(made).psf.mask.path == "heights.npy"
    kept = Recipe.parse(recipe_data(scenes={"textures": "photos/all"}))
    assert named_paths(kept) == {}


# Terms


def recipe_of(kind):
    scenes = {"kind": kind, "path": "x", "depth": [0.8, 4.0]}
    return Recipe.parse(recipe_data() | {"scenes": scenes})


@pytest.mark.parametrize("kind", sorted(READERS))
def test_terms_of_every_source_are_carried_on(kind):
    reader = READERS[kind]
    terms = terms_of(recipe_of(kind), None)
    (source,) = terms.sources
    if kind == "folder":
        assert source.own
        assert terms_of(recipe_of(kind), "CC0-1.0").licence.spdx == "CC0-1.0"
        return
    assert (source.title, source.terms, source.commercial) == (reader.TITLE, reader.LICENCE, reader.COMMERCIAL)
    assert terms.commercial == reader.COMMERCIAL
    assert bool(terms.mark) == (not reader.COMMERCIAL)
    if terms.licence:
        assert terms_of(recipe_of(kind), terms.licence.spdx).licence == terms.licence
    if not reader.COMMERCIAL:
        for licence in LICENCES.values():
            if licence.commercial:
                with pytest.raises(InputError, match="allows commercial use"):
                    terms_of(recipe_of(kind), licence.spdx)
    with pytest.raises(InputError, match=rf"--licence CC0-1.0 .*{re.escape(reader.TITLE)}"):
        terms_of(recipe_of(kind), "CC0-1.0")


@pytest.mark.parametrize(
    ("kind", "licence", "allowed"),
    [
        ("ddff12", None, "CC-BY-4.0"),
        ("ddff12", "CC-BY-SA-4.0", "CC-BY-SA-4.0"),
        ("ddff12", "PDDL-1.0", None),
        ("hypersim", None, "CC-BY-SA-3.0"),
        ("hypersim", "CC-BY-SA-4.0", "CC-BY-SA-4.0"),
        ("hypersim", "CC-BY-4.0", None),
        ("hypersim", "CC-BY-NC-SA-4.0", None),
        ("hci", None, "CC-BY-NC-SA-4.0"),
        ("hci", "CC-BY-NC-4.0", None),
        ("hci", "CC-BY-NC-SA-3.0", None),
        ("diode", None, "MIT"),
        ("diode", "Apache-2.0", "Apache-2.0"),
        ("nyuv2", None, ""),
        ("nyuv2", "CC-BY-NC-4.0", "CC-BY-NC-4.0"),
        ("nyuv2", "MIT", None),
        ("scannet", "cc-by-4.0", None),
    ],
)
def test_a_licence_must_agree_with_the_source(kind, licence, allowed):
    if allowed is None:
        with pytest.raises(InputError, match=f"--licence .*{re.escape(READERS[kind].TITLE)}.*give another one"):
            terms_of(recipe_of(kind), licence)
        return
    terms = terms_of(recipe_of(kind), licence)
    assert (terms.licence.spdx if terms.licence else "") == allowed
    assert terms.hub["license"] == (allowed.lower() or "unknown")


def test_licences_of_readers_are_all_understood():
    """A reader with terms in new words must be looked at here: would a release inherit them?"""
    understood = {"", *(source.spdx for kind in READERS for source in terms_of(recipe_of(kind), None).sources)}
    assert understood - {""} == {"CC-BY-4.0", "CC-BY-SA-3.0", "CC-BY-NC-SA-4.0", "MIT", "BSD-3-Clause"}
    plain = {reader.LICENCE for kind, reader in READERS.items() if not terms_of(recipe_of(kind), None).licence}
    assert plain == {
        "unknown", "that of your files", "public domain (the object scans)",
        "GPLv3 and for non-commercial research only, by its repository",
        "ScanNet's terms of use: for non-commercial research and education only",
    }  # fmt: skip
