"""No credentials anywhere, and one sentence for what cannot be used."""

import pickle
import subprocess
import sys

import pytest
from click.testing import CliRunner
from processes import digest, ended, toy

pytest.importorskip("obstore")
pytest.importorskip("moto")

from buckets import BUCKET, KEYS, contents

from defocal import InputError
from defocal.pipelines.cli import cli
from defocal.synth import buckets, open_store
from defocal.synth.buckets import ObjectStoreError, UnusableStoreError
from defocal.synth.places import ObjectPath, place


def test_credentials_enter_nothing(small, out, tmp_path):
    (tmp_path / "r.toml").write_text(small.to_toml())
    result = CliRunner().invoke(cli, ["generate", str(tmp_path / "r.toml"), str(out), "--json"])
    assert result.exit_code == 0, result.output
    search(out, result.output)


@pytest.mark.slow
def test_credentials_enter_nothing_of_what_workers_write(recipe_file, out):
    process = toy("generate", recipe_file, out, "--workers", 2, "--json", env={"DEFOCAL_DEBUG": "1"})
    status, output, errors = ended(process)
    assert status == 0, errors
    search(out, output, errors)


def search(out, *said):
    """Look for secrets in what was said, written, and is sent to other processes."""
    store = open_store(out)
    shown = [*said, repr(store), str(pickle.dumps(store)), str(pickle.dumps(out)), repr(out), str(out)]
    for value in KEYS.values():
        assert not [text for text in shown if value in text]
        assert not [name for name, content in contents(out).items() if value.encode() in content]


def test_errors_tell_nothing_of_what_a_server_answers():
    """The answer to a wrong signature holds the key's id."""

    class GenericError(Exception):
        __module__ = "obstore.exceptions"

    body = "<Error><Code>SignatureDoesNotMatch</Code><AWSAccessKeyId>AKIA</AWSAccessKeyId></Error>"
    text = f"Server returned non-2xx status code: 403 Forbidden: {body}"
    said = buckets.described(GenericError(text), "s3://b/x")
    assert isinstance(said, UnusableStoreError)
    assert "403 SignatureDoesNotMatch" in str(said)
    assert "AKIA" not in str(said)


def test_keys_come_from_the_files_of_the_aws_tools(remote, tmp_path, monkeypatch):
    for name in KEYS:
        monkeypatch.delenv(name)
    (tmp_path / "credentials").write_text(
        "[default]\naws_access_key_id = AKIAINAFILE\naws_secret_access_key = SECRETINAFILE\n[work]\nsso_session = x\n"
    )
    (tmp_path / "config").write_text("[default]\nregion = eu-central-1\n[profile role]\nrole_arn = x\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    buckets.connect.cache_clear()
    assert digest(remote)
    assert "SECRETINAFILE" not in str(pickle.dumps(open_store(remote)))
    assert buckets._from_profile({})["region"] == "eu-central-1"
    assert "region" not in buckets._from_profile({"AWS_REGION": "us-west-2"})
    assert "credential_provider" not in buckets._from_profile({"AWS_ACCESS_KEY_ID": "x"})
    with pytest.raises(InputError, match="no profile 'nobody'"):
        buckets._from_profile({"AWS_PROFILE": "nobody"})
    monkeypatch.setitem(sys.modules, "boto3", None)
    for name in ("work", "role"):
        with pytest.raises(InputError, match=f"profile '{name}' takes its credentials from elsewhere"):
            buckets._from_profile({"AWS_PROFILE": name})
    (tmp_path / "config").write_text("secret without a heading")
    with pytest.raises(InputError, match=r"cannot read .*config \(MissingSectionHeaderError\)"):
        buckets._from_profile({})
    buckets.connect.cache_clear()


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("s3://key:secret@bucket/x", "holds a user name or a password"),
        ("https://key:secret@host/x", "holds a user name or a password"),
        ("http://host/x", "is no place for a dataset"),
        ("s3:///x", "not of the form s3://BUCKET/NAME"),
        ("s3://bucket/x?token=secret", "not of the form"),
        ("s3://bucket/a/../b", "an empty part, or one of dots"),
        ("s3://bucket/a//b", "an empty part, or one of dots"),
    ],
)
def test_addresses_that_are_refused(address, words):
    with pytest.raises(InputError, match=words) as refusal:
        place(address)
    assert "secret" not in str(refusal.value)


def test_what_must_be_local_is(remote, tmp_path):
    for command, words in (
        (["preview", str(remote), "--out", f"{remote}-preview"], "this command's output must be local"),
        (["release", str(remote)], "release a copy in a local folder with --out"),
        (["info", f"s3://{BUCKET}/nothing"], f"there is no dataset at s3://{BUCKET}/nothing"),
        (["info", "s3://no-such-bucket/x"], ""),
    ):
        result = CliRunner().invoke(cli, command)
        assert result.exit_code == (2 if words else 1), result.output
        assert (words or "there is no bucket for s3://no-such-bucket/x") in result.output


def test_an_endpoint_with_a_password_is_refused(server, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://me:secret@127.0.0.1:1")
    buckets.connect.cache_clear()
    with pytest.raises(InputError, match="AWS_ENDPOINT_URL holds a user name or a password") as refusal:
        buckets.connect("s3", "bucket")
    assert "secret" not in str(refusal.value)
    monkeypatch.setenv("DEFOCAL_OBJECT_PATIENCE", "long")
    with pytest.raises(InputError, match="DEFOCAL_OBJECT_PATIENCE='long' is no number of seconds"):
        buckets.connect("s3", "bucket")


def test_without_the_library_there_is_a_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, "obstore", None)
    with pytest.raises(InputError, match=r"pip install 'defocal\[s3\]'"):
        open_store("s3://bucket/x")


def test_folders_do_not_load_the_library(local):
    code = f"import sys; from defocal.synth import open_store; open_store({str(local)!r}).sample('train', 0); "
    done = subprocess.run(
        [sys.executable, "-c", code + "print('obstore' in sys.modules)"], capture_output=True, text=True
    )
    assert done.stdout.strip() == "False", done.stderr


def test_an_unusable_store_is_a_kind_of_failure():
    assert issubclass(UnusableStoreError, ObjectStoreError)
    assert isinstance(place("gs://bucket/x"), ObjectPath)
