"""The documents of releases: card, citation, licence, versions, Croissant; and what must never be in them."""

import hashlib
import json
import re
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import yaml
from click.testing import CliRunner
from conftest import recipe_data
from releases import contents

from defocal.pipelines.card import bibtex_text, markdown_text, yaml_text
from defocal.pipelines.cli import cli
from defocal.pipelines.generate import create, run
from defocal.pipelines.release import Options, release
from defocal.pipelines.release_environment import environment_text, installed_closure
from defocal.pipelines.release_statistics import QUANTILES, Statistics
from defocal.pipelines.verify import verify
from defocal.synth import Recipe, open_store
from defocal.synth.commit import read_samples
from defocal.synth.samples import SampleMaker

NASTY = 'A "quoted" <script>alert(1)</script> | `code` & *stars* [link](http://x) \\ #1: {x} \u00e9\U0001f600 $m$'


def generate(out, **changes):
    maker = SampleMaker(Recipe.parse(recipe_data(**changes)))
    assert not run(out, maker, create(out, maker)).failed
    return out


def head(folder):
    """Return the YAML head and the body of a card."""
    match = re.fullmatch(r"---\n(.*?)\n---\n(.*)", (folder / "README.md").read_text(), re.S)
    return yaml.safe_load(match[1]), match[2]


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
