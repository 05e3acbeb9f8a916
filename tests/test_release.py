"""Releases: complete, the same bytes every time, with nothing in them of the machine that made them."""

import hashlib
import json
import re
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from click.testing import CliRunner
from conftest import recipe_data

from defocal import InputError
from defocal.pipelines.card import bibtex_text, markdown_text, yaml_text
from defocal.pipelines.cli import cli
from defocal.pipelines.generate import create, run
from defocal.pipelines.release import Options, release
from defocal.pipelines.release_environment import environment_text, installed_closure
from defocal.pipelines.release_facts import Author, named_paths, portable
from defocal.pipelines.release_manifest import RELEASED, files_of, is_data
from defocal.pipelines.release_statistics import QUANTILES, Statistics
from defocal.pipelines.release_terms import LICENCES, terms_of
from defocal.pipelines.verify import verify
from defocal.synth import Recipe, open_store
from defocal.synth.commit import read_samples
from defocal.synth.readers import READERS
from defocal.synth.samples import SampleMaker

NASTY = 'A "quoted" <script>alert(1)</script> | `code` & *stars* [link](http://x) \\ #1: {x} \u00e9\U0001f600 $m$'
OPTIONS = Options(
    title="Tiny captures", authors=("Ada Lovelace <ada@example.org>", "Institute <https://example.org/i>"),
    licence="CC-BY-4.0", version="2.1.0", date="2026-11-30", url="https://example.org/tiny",
)  # fmt: skip


@pytest.fixture(scope="module")
def made(tiny_store, tmp_path_factory):
    """Return a release of the tiny dataset; tests must not change it."""
    out = tmp_path_factory.mktemp("release") / "tiny"
    assert not release(tiny_store, out, OPTIONS).problems
    return out


def generate(out, **changes):
    maker = SampleMaker(Recipe.parse(recipe_data(**changes)))
    assert not run(out, maker, create(out, maker)).failed
    return out


@pytest.fixture
def frames(tmp_path):
    """A folder of two colour images with depth in millimetres."""
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
    scenes = {"kind": "folder", "path": str(frames), "depth": [0.8, 4.0]}
    data = recipe_data() | {"scenes": scenes, "output": {"splits": {"train": 1.0}}}
    maker = SampleMaker(Recipe.parse(data))
    assert not run(tmp_path / "own", maker, create(tmp_path / "own", maker)).failed
    return tmp_path / "own"


def contents(folder):
    return {name: (folder / name).read_bytes() for name in files_of(folder)[0]}


def head(folder):
    """Return the YAML head and the body of a card."""
    match = re.fullmatch(r"---\n(.*?)\n---\n(.*)", (folder / "README.md").read_text(), re.S)
    return yaml.safe_load(match[1]), match[2]


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


# Documents


def test_the_card_is_what_the_hub_reads(made):
    facts, body = head(made)
    assert facts["license"] == "cc-by-4.0"
    assert facts["pretty_name"] == "Tiny captures"
    assert facts["size_categories"] == ["n<1K"]
    assert facts["configs"] == [{"config_name": "samples", "data_files": "samples.csv"}]
    assert "non-commercial" not in facts["tags"]
    assert body.count("\n## ") == 8
    for target in re.findall(r"\]\(([^)]+)\)", body):
        assert (made / target).is_file(), target
    assert "0.8 to 4 m" in body


def test_a_card_of_unknown_terms_is_marked(own, tmp_path, monkeypatch):
    from defocal.pipelines import release_terms

    monkeypatch.setattr(
        release_terms, "sources", lambda recipe: (release_terms.Source("NYU", "unknown", commercial=False),)
    )
    folder = release(own, tmp_path / "out").folder
    facts, _ = head(folder)
    assert facts["license"] == "unknown"
    assert "non-commercial" in facts["tags"]
    for name in ("README.md", "LICENSE", "croissant.json"):
        assert "NOT FOR COMMERCIAL USE as far as is known: the terms of NYU are unknown." in (folder / name).read_text()


def test_the_example_of_the_card_runs(made, monkeypatch, capsys):
    _, body = head(made)
    (code,) = re.findall(r"```python\n(.*?)```", body, re.S)
    assert len(code.strip().splitlines()) <= 6
    monkeypatch.chdir(made)
    exec(compile(code, "card", "exec"), {})
    assert "(40, 56, 3) uint8 (40, 56)" in capsys.readouterr().out


def test_texts_from_data_stay_texts(tmp_path):
    description = f"{NASTY}\n---\nlicense: mit\n# Heading\x00\x85 \u202e </table>"
    store = generate(tmp_path / "s", scenes={"count": 1}, description=description)
    authors = ('{Brace} \\ O\'Neil & "Co" <https://example.org/%7E?a=1&b=2>', "Yes, No")
    folder = release(store, tmp_path / "r", Options(title=NASTY, authors=authors)).folder
    facts, body = head(folder)
    assert facts["pretty_name"] == NASTY
    assert facts["license"] == "unknown"
    prose = re.sub(r"```.*?```", "", body, flags=re.S)
    assert "<" not in prose.replace("> **", "")
    assert "http://x" not in prose
    assert "\x00" not in body
    assert "\u202e" not in body
    assert body.count("\n# ") == 1
    table = [line for line in prose.splitlines() if line.startswith("| **")]
    assert all(len(re.findall(r"(?<!\\)\|", line)) == 3 for line in table)
    citation = yaml.safe_load((folder / "CITATION.cff").read_text())
    assert citation["title"] == NASTY
    assert citation["authors"][1] == {"family-names": "Yes", "given-names": "No"}
    assert citation["abstract"].endswith(description.strip())
    croissant = json.loads((folder / "croissant.json").read_text())
    assert croissant["name"] == NASTY
    assert croissant["creator"][0]["url"].endswith("?a=1&b=2")
    assert verify(folder).problems == []


def test_escapes():
    for text in (NASTY, "yes", "- x", "1e3", "a: b # c", "\u2028\x85\x07\ufeff", "'", "\\u0041", "\U0001f600", ""):
        assert yaml.safe_load(f"k: {yaml_text(text)}") == {"k": text}
        assert json.loads(yaml_text(text)) == text
    assert markdown_text("a|b`c`<d>&*e*_f_") == r"a\|b\`c\`&lt;d&gt;&amp;\*e\*\_f\_"
    assert markdown_text("- x") == "&#45; x"
    assert markdown_text("12. x") == "12&#46; x"
    assert markdown_text("-10.75 px +3") == "-10.75 px +3"
    assert markdown_text("a\n\nb\x00c") == "a b c"
    assert "http" not in markdown_text("see https://x.org")
    assert markdown_text("ada@example.org") == "ada&#64;example.org"
    assert bibtex_text("50% {x} \\y & z_1") == r"50\%  x   y \& z\_1"


CFF_KEYS = {
    "abstract", "authors", "cff-version", "commit", "contact", "date-released", "doi", "identifiers", "keywords",
    "license", "license-url", "message", "preferred-citation", "references", "repository", "repository-artifact",
    "repository-code", "title", "type", "url", "version",
}  # fmt: skip


def check_citation(folder):
    """Check a citation by the rules of the schema of the Citation File Format 1.2.0, as far as we use it."""
    data = yaml.safe_load((folder / "CITATION.cff").read_text())
    assert {"authors", "cff-version", "message", "title"} <= set(data) <= CFF_KEYS
    assert data["cff-version"] == "1.2.0"
    assert data["type"] == "dataset"
    assert data["authors"]
    for author in data["authors"]:
        person = {"family-names", "given-names", "email", "orcid", "website"}
        assert set(author) <= (person if "family-names" in author else {"name", "email", "orcid", "website"})
        assert all(isinstance(value, str) and value for value in author.values())
        assert re.fullmatch(r"[\S]+@[\S]+\.[\S]{2,}", author.get("email", "a@b.cd"))
        assert re.match(r"(https|http|ftp|sftp)://.+", author.get("website", "https://x"))
    for key in ("title", "abstract", "message", "version"):
        assert isinstance(data[key], str)
        assert data[key]
    if "date-released" in data:
        assert re.fullmatch(r"[0-9]{4}-(0[1-9]|1[012])-(0[1-9]|[12][0-9]|3[01])", data["date-released"])
    for identifier in data["identifiers"]:
        assert set(identifier) == {"type", "value", "description"}
        assert identifier["type"] == "other"
    assert len(set(data["keywords"])) == len(data["keywords"])
    return data


def test_the_citation_follows_its_schema(made, tiny_store, tmp_path):
    data = check_citation(made)
    assert data["license"] == "CC-BY-4.0"
    assert data["date-released"] == "2026-11-30"
    assert data["authors"] == [
        {"family-names": "Lovelace", "given-names": "Ada", "email": "ada@example.org"},
        {"name": "Institute", "website": "https://example.org/i"},
    ]
    bare = release(tiny_store, tmp_path / "bare", Options(licence="CDLA-Permissive-2.0")).folder
    data = check_citation(bare)
    assert data["authors"] == [{"name": "anonymous"}]
    assert "license" not in data
    assert data["license-url"].startswith("https://spdx.org/")


def test_the_licence_names_its_terms_and_makers(made, tiny_store, tmp_path):
    text = (made / "LICENSE").read_text()
    assert "SPDX-License-Identifier: CC-BY-4.0" in text
    assert "https://creativecommons.org/licenses/by/4.0/legalcode" in text
    assert "Ada Lovelace, Institute" in text
    bare = release(tiny_store, tmp_path / "bare").folder
    assert "have stated no licence" in (bare / "LICENSE").read_text()


def test_the_lock_file_holds_what_made_the_dataset(made):
    text = (made / "environment.txt").read_text()
    versions = next(iter(open_store(made).facts.values()))["versions"]
    assert f"numpy=={versions['numpy']}\n" in text
    assert "click==" in text
    pins = [line for line in text.splitlines() if not line.startswith("#")]
    assert all(re.fullmatch(r"[a-z0-9-]+==[0-9][A-Za-z0-9.+!]*", line) for line in pins)
    assert len({line.split("==")[0] for line in pins}) == len(pins)
    assert "pytest==" not in text
    other = environment_text({"defocal": "9", "python": "3.99", "numpy": "1.0"}, {"numpy": "2.0", "zarr": "3"})
    assert "numpy==1.0\n" in other
    assert "# numpy 2.0 was installed there, not 1.0." in other
    assert installed_closure("no-such-distribution") == {}


def test_statistics_are_of_every_pixel(made, tiny_store):
    store, counted = open_store(tiny_store), Statistics()
    pixels = {"depth in m": [], "CoC in px": []}
    for split, row, _ in store.rows():
        arrays = store.sample(split, row)
        arrays["depth"][0, : row % 3] = np.nan
        arrays["depth"][1, 0] = np.inf
        counted.add(split, arrays)
        pixels["depth in m"].append(arrays["depth"].ravel())
        pixels["CoC in px"].append(arrays["coc"].ravel())
    summaries = {(one.quantity, one.split): one for one in counted.summaries()}
    assert len(summaries) == 6
    for quantity, parts in pixels.items():
        whole = np.concatenate(parts)
        known = whole[np.isfinite(whole)].astype(np.float64)
        one = summaries[quantity, "all"]
        np.testing.assert_array_equal(one.quantiles, np.quantile(known, QUANTILES, method="inverted_cdf"))
        assert one.unknown == np.isnan(whole).mean()
        assert one.infinite == np.isinf(whole).mean()
    assert summaries["CoC in px", "all"].sharp == (np.abs(known) <= 1).mean()
    assert summaries["depth in m", "all"].sharp is None
    counted = Statistics()
    counted.add("train", {"depth": np.full((2, 2), np.nan, np.float32)})
    assert counted.summaries()[0].quantiles == ()
    assert Statistics().summaries() == []


def test_croissant_describes_what_there_is(made):
    document = json.loads((made / "croissant.json").read_text())
    assert document["conformsTo"][0] == "http://mlcommons.org/croissant/1.1"
    assert document["datePublished"] == "2026-11-30"
    assert document["license"] == "https://creativecommons.org/licenses/by/4.0/legalcode"
    files = {item["@id"]: item for item in document["distribution"]}
    for name in ("samples.csv", "recipe.toml", "data.sha256"):
        assert files[name]["sha256"] == hashlib.sha256((made / name).read_bytes()).hexdigest()
    assert files["data.sha256"]["sha256"] == document["identifier"].removeprefix("sha256:")
    assert {"train.zarr", "test.zarr", "manifest.sha256"} < set(files)
    records = {item["@id"]: item for item in document["recordSet"]}
    header = (made / "samples.csv").read_text().splitlines()[0].split(",")
    assert [field["source"]["extract"]["column"] for field in records["samples"]["field"]] == header
    store = open_store(made)
    for row in records["arrays"]["data"]:
        array = store.array(row["arrays/split"], row["arrays/array"])
        assert row["arrays/shape"] == ",".join(map(str, array.shape))
        assert row["arrays/dtype"] == str(array.dtype)
        assert row["arrays/units"] == array.attrs["units"]
    assert document["rai:hasSyntheticData"] is True


def test_mlcroissant_accepts_it_and_iterates_the_records(made):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mlc = pytest.importorskip("mlcroissant")
        dataset = mlc.Dataset(made / "croissant.json")
        issues = dataset.metadata.ctx.issues
        assert (issues.errors, issues.warnings) == (set(), set())
        records = {one.uuid: list(dataset.records(one.uuid)) for one in dataset.metadata.record_sets}
    assert [len(records[name]) for name in ("samples", "splits", "arrays")] == [12, 2, 10]
    rows = read_samples(made)
    for record, row in zip(records["samples"], rows, strict=True):
        assert record["samples/index"] == int(row["index"])
        assert record["samples/digest"].decode() == row["digest"]


def test_a_stack_is_released_with_its_sweep(tmp_path):
    stack = {"focus": ["1 m", "1.6 m", "3 m"]}
    output = {"arrays": ["depth", "coc", "stack"]}
    store = generate(tmp_path / "s", scenes={"count": 2}, stack=stack, output=output)
    folder = release(store, tmp_path / "r").folder
    assert {"pictures/contact.png", "pictures/stack.png", "pictures/sweep.webp"} < set(contents(folder))
    facts, body = head(folder)
    assert "focal-stack" in facts["tags"]
    assert "![A focal stack as it sweeps](pictures/sweep.webp)" in body
    assert '["stack"]' in body
    assert verify(folder, rerender=1).problems == []


@pytest.mark.parametrize("arrays", [["coc"], ["aif"]])
def test_any_choice_of_arrays_can_be_released(tmp_path, arrays, monkeypatch, capsys):
    store = generate(tmp_path / "s", scenes={"count": 1}, output={"arrays": arrays, "splits": {"all": 1.0}})
    folder = release(store, tmp_path / "r").folder
    (code,) = re.findall(r"```python\n(.*?)```", head(folder)[1], re.S)
    monkeypatch.chdir(folder)
    exec(compile(code, "card", "exec"), {})
    assert capsys.readouterr().out


# Trust


SECRETS = {
    "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI-K7MDENG-bPxRfiCYEXAMPLEKEY",
    "AWS_SESSION_TOKEN": "FwoGZXIvYXdzEXAMPLETOKEN",
    "HF_TOKEN": "hf_EXAMPLEexampleEXAMPLEexample",
    "GITHUB_TOKEN": "ghp_EXAMPLEexampleEXAMPLEexample",
    "ZENODO_TOKEN": "zenodoEXAMPLEtoken",
    "USER": "adalovelaceuser",
    "HOSTNAME": "adas-private-machine",
}


STEPS = (
    ("generate", "tiny.toml", "store"),
    ("release", "store", "--out", "released", "--zip"),
    ("verify", "released", "--rerender", "1"),
    ("preview", "store"),
)


@pytest.fixture
def planted(tmp_path, monkeypatch):
    """A folder with a recipe, in an environment full of secrets."""
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("HOME", str(tmp_path / "home-of-ada"))
    recipe = Recipe.parse(recipe_data(scenes={"count": 2, "size": [16, 16]}))
    (tmp_path / "tiny.toml").write_text(recipe.to_toml())
    monkeypatch.chdir(tmp_path)
    return tmp_path


def search(folder, *said):
    """Look for secrets in all that was written and said."""
    values = [value.encode() for value in (*SECRETS.values(), str(folder), "home-of-ada")]
    for text in said:
        assert not [value for value in values[:-2] if value in text]
    found = [
        path for name in ("store", "released", "released-zips", "store-preview") for path in (folder / name).rglob("*")
    ]
    files = [path for path in found if path.is_file()]
    assert len(files) > 60
    for path in files:
        content = path.read_bytes()
        assert not [value for value in values if value in content], path


def test_credentials_never_enter_a_store_or_a_release(planted):
    said = []
    for step in STEPS:
        result = CliRunner().invoke(cli, step)
        assert result.exit_code == 0, result.output
        said.append(result.output.encode())
    search(planted, *said)


@pytest.mark.slow
def test_credentials_never_enter_what_workers_write(planted):
    """In processes of their own, so that the secrets are there from the start."""
    said = []
    for step in (STEPS[0] + ("--workers", "2"), *STEPS[1:]):
        command = [sys.executable, "-m", "defocal.pipelines.cli", *step]
        done = subprocess.run(command, capture_output=True)
        assert done.returncode == 0, done.stderr
        said += [done.stdout, done.stderr]
    search(planted, *said)


def test_no_pickle_is_written_or_read():
    """Neither in code, where only the cluster's own transport uses it, nor by array files that could hold objects."""
    root = Path(__file__).resolve().parents[1]
    for room in ("synth", "train", "evaluate", "pipelines"):
        for path in (root / room).rglob("*.py"):
            text = path.read_text(encoding="utf-8")
            assert not re.search(r"^\s*(?:import|from)\s+(?:\w*pickle|marshal|shelve|dill|joblib)\b", text, re.M), path
            assert "allow_pickle=True" not in text, path
            assert not re.search(r"\byaml\.(?:unsafe_)?load\(|(?<![\w.])(?:eval|exec)\(", text), path


def test_a_release_holds_no_objects(made):
    for path in made.rglob("zarr.json"):
        content = json.loads(path.read_text())
        if content["node_type"] == "array":
            assert content["data_type"] in ("uint8", "uint16", "uint64", "float16", "float32", "float64", "bool")
            named = json.dumps(content["codecs"])
            assert "pickle" not in named
            assert "numcodecs." not in named


def test_real_frames_are_released_without_their_place(real_data, tmp_path):
    frames = real_data / "open3d_testdata"
    if not frames.is_dir():
        pytest.skip("no real frames on this machine")
    scenes = {
        "kind": "folder", "path": str(frames), "rgb": "redwood_color/*", "depth_map": "redwood_depth/*", "count": 2,
        "size": [60, 80], "depth": [0.7, 10.0],
    }  # fmt: skip
    maker = SampleMaker(Recipe.parse(recipe_data() | {"scenes": scenes}))
    run(tmp_path / "s", maker, create(tmp_path / "s", maker))
    outcome = release(tmp_path / "s", tmp_path / "r", zips=True)
    for path in [*outcome.folder.rglob("*"), *outcome.zips]:
        assert not path.is_file() or str(real_data).encode() not in path.read_bytes()
    assert verify(outcome.folder).problems == []
