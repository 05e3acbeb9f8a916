"""Zips of a release: the same bytes every time; and archives of strangers, unpacked inside their folder only."""

import os
import shutil
import stat
import struct
import subprocess
import zipfile

import pytest
from click.testing import CliRunner

from defocal import InputError
from defocal.pipelines.archive import unpack, write_zip, zip_release
from defocal.pipelines.cli import cli
from defocal.pipelines.release import release
from defocal.pipelines.release_manifest import files_of
from defocal.pipelines.verify import verify


@pytest.fixture(scope="module")
def zipped(tiny_store, tmp_path_factory):
    """Return a release of the tiny dataset and its zips; tests must not change them."""
    out = tmp_path_factory.mktemp("zipped") / "tiny"
    outcome = release(tiny_store, out, zips=True)
    return out, outcome.zips


def archive(path, *entries):
    """Write a zip of (name or ZipInfo, content) pairs."""
    with zipfile.ZipFile(path, "w") as file:
        for name, content in entries:
            file.writestr(name, content)
    return path


def entry(name, mode):
    info = zipfile.ZipInfo(name)
    info.create_system, info.external_attr = 3, mode << 16
    return info


def everything(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def test_there_is_a_zip_for_each_split_and_one_for_the_rest(zipped):
    out, zips = zipped
    assert [path.name for path in zips] == ["tiny-test.zip", "tiny-train.zip", "tiny.zip", "zips.sha256"]
    assert zips[0].parent == out.with_name("tiny-zips")
    names = []
    for path in zips[:3]:
        with zipfile.ZipFile(path) as file:
            inside = file.namelist()
            assert inside == sorted(inside)
            names += inside
            for info in file.infolist():
                assert info.date_time == (1980, 1, 1, 0, 0, 0)
                assert info.compress_type == zipfile.ZIP_STORED
                assert (info.create_system, info.external_attr >> 16) == (3, stat.S_IFREG | 0o644)
    assert sorted(names) == [f"tiny/{name}" for name in files_of(out)[0]]


def test_zips_are_the_same_bytes_wherever_and_whenever_they_are_made(zipped, tmp_path, monkeypatch):
    out, zips = zipped
    other = shutil.copytree(out, tmp_path / "of another name")
    for path in other.rglob("*"):
        os.utime(path, (1e9, 1e9))
        path.chmod(0o700)
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    again = zip_release(other, tmp_path / "again", "tiny")
    assert [path.read_bytes() for path in again] == [path.read_bytes() for path in zips]
    assert everything(tmp_path / "again") == sorted(path.name for path in zips)


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="no sha256sum here")
def test_the_list_of_zips_is_checked_by_sha256sum(zipped):
    out, _ = zipped
    folder = out.with_name("tiny-zips")
    subprocess.run(["sha256sum", "--check", "--strict", "zips.sha256"], cwd=folder, check=True, capture_output=True)


def test_unpacked_zips_are_the_release(zipped, tmp_path):
    out, zips = zipped
    result = CliRunner().invoke(cli, ["unpack", *map(str, zips[:3]), "--out", str(tmp_path / "in/here")])
    assert result.exit_code == 0, result.output
    assert "defocal verify" in result.output
    unpacked = tmp_path / "in/here/tiny"
    assert everything(unpacked) == everything(out)
    verdict = verify(unpacked)
    assert verdict.problems == []
    assert verdict.release == verify(out).release


def test_zips_can_come_one_by_one_and_overwrite_nothing(zipped, tmp_path):
    _, zips = zipped
    for path in zips[:3]:
        assert unpack([path], tmp_path) == [tmp_path / "tiny"]
    assert verify(tmp_path / "tiny").problems == []
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(InputError, match="there already"):
        unpack(zips[:1], tmp_path)
    assert before == {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}


def test_other_programs_unpack_them_too(zipped, tmp_path):
    out, zips = zipped
    for path in zips[:3]:
        shutil.unpack_archive(path, tmp_path)
    assert everything(tmp_path / "tiny") == everything(out)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("../out", "leads out"),
        ("a/../../out", "leads out"),
        ("a/./b", "leads out"),
        ("a//b", "leads out"),
        ("..", "leads out"),
        ("../", "leads out"),
        ("a/..", "leads out"),
        ("/etc/out", "absolute"),
        ("//host/out", "absolute"),
        ("C:/out", "absolute"),
        ("c:out", None),
        ("a\\..\\..\\out", "other characters"),
        ("line\nend", "other characters"),
        ("\x1b[2J", "other characters"),
        ("bidi\u202etxt", "other characters"),
    ],
)
def test_an_entry_that_leads_elsewhere_is_refused_before_anything_is_written(tmp_path, name, words):
    path = archive(tmp_path / "evil.zip", ("good", b"1"), (name, b"2"))
    out = tmp_path / "deep/er/out"
    before = everything(tmp_path)
    if words is None:
        unpack([path], out)
        return
    with pytest.raises(InputError, match=f"{words}.*nothing was unpacked"):
        unpack([path], out)
    assert everything(tmp_path) == before


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFSOCK, stat.S_IFDIR])
def test_links_and_devices_are_refused(tmp_path, kind):
    path = archive(tmp_path / "evil.zip", ("good", b"1"), (entry("link", kind | 0o777), b"/etc/passwd"))
    with pytest.raises(InputError, match="is a link, or no plain file"):
        unpack([path], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_link_on_the_way_is_not_followed(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out/a").symlink_to(tmp_path / "elsewhere")
    path = archive(tmp_path / "plain.zip", ("a/b", b"1"))
    with pytest.raises(InputError, match="is a link"):
        unpack([path], tmp_path / "out")
    assert everything(tmp_path / "elsewhere") == []


@pytest.mark.filterwarnings("ignore:Duplicate name:UserWarning")
def test_entries_that_collide_are_refused(tmp_path):
    path = archive(tmp_path / "twice.zip", ("a", b"1"), ("a", b"2"))
    with pytest.raises(InputError, match="too: nothing"):
        unpack([path], tmp_path / "out")
    one, two = archive(tmp_path / "1.zip", ("a", b"1")), archive(tmp_path / "2.zip", ("a/b", b"2"))
    with pytest.raises(InputError, match="a file and a folder at once"):
        unpack([one, two], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_empty_folders_in_an_archive_do_no_harm(tmp_path):
    path = archive(tmp_path / "a.zip", ("a/", b""), ("a/b", b"1"))
    assert unpack([path], tmp_path / "out") == [tmp_path / "out/a"]
    assert everything(tmp_path / "out") == ["a", "a/b"]


def test_damaged_archives_are_refused(tmp_path):
    good = archive(tmp_path / "good.zip", ("a", b"something longer")).read_bytes()
    bad = tmp_path / "bad.zip"
    for content in (b"", b"PK", good[:-5], good.replace(b"longer", b"lonGer"), good[20:]):
        bad.write_bytes(content)
        with pytest.raises(InputError, match="fetch a fresh copy"):
            unpack([bad], tmp_path / "out")
        assert not (tmp_path / "out/a").exists()
    with pytest.raises(InputError, match="cannot read"):
        unpack([tmp_path / "missing.zip"], tmp_path / "out")
    encrypted = bytearray(good)
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        encrypted[good.index(signature) + offset] |= 1
    bad.write_bytes(encrypted)
    with pytest.raises(InputError, match="is encrypted"):
        unpack([bad], tmp_path / "out")


def test_a_size_that_is_not_true_is_damage(tmp_path):
    path = archive(tmp_path / "huge.zip", ("a", b"1"))
    data = bytearray(path.read_bytes())
    place = data.index(b"PK\x01\x02")
    struct.pack_into("<I", data, place + 24, 1000)
    path.write_bytes(data)
    with pytest.raises(InputError, match="has 1 bytes, not 1000"):
        unpack([path], tmp_path / "out")
    assert not (tmp_path / "out/a").exists()


def test_too_little_room_is_said_before_anything_is_written(tmp_path, monkeypatch):
    path = archive(tmp_path / "a.zip", ("a", b"12345"))
    monkeypatch.setattr(shutil, "disk_usage", lambda place: shutil._ntuple_diskusage(10, 6, 4))
    with pytest.raises(InputError, match="free some space"):
        unpack([path], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_large_archives_take_the_64_bit_form(tmp_path, monkeypatch):
    (tmp_path / "in").mkdir()
    for name in ("a", "b", "c"):
        (tmp_path / "in" / name).write_bytes(name.encode() * 3000)
    small = tmp_path / "small.zip"
    write_zip(small, tmp_path / "in", ["b", "a", "c"], "root")
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 2000)
    monkeypatch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", 2)
    large = tmp_path / "large.zip"
    write_zip(large, tmp_path / "in", ["b", "a", "c"], "root")
    monkeypatch.undo()
    assert b"PK\x06\x06" in large.read_bytes()
    assert b"PK\x06\x06" not in small.read_bytes()
    assert unpack([large], tmp_path / "out") == [tmp_path / "out/root"]
    assert (tmp_path / "out/root/c").read_bytes() == b"c" * 3000
    assert not list(tmp_path.glob("*.partial"))
