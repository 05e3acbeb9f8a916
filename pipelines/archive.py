"""Archives of a release for places that know no folders: stored zips, the same bytes every time, and unpacking."""

import shutil
import stat
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

from .. import InputError
from .release_manifest import file_digest, files_of, listing

EPOCH = (1980, 1, 1, 0, 0, 0)
"""The date of every entry: zip knows no earlier one."""
ZIPS = "zips.sha256"
_MODE = stat.S_IFREG | 0o644
_BLOCK = 1 << 22


def write_zip(path: Path, folder: Path, names: Iterable[str], root: str) -> None:
    """Write files into a stored zip, byte for byte the same whenever and wherever it is written.

    Parameters
    ----------
    path
        The zip; what is there is replaced.
    folder
        Where the files lie.
    names
        Their paths in it.
    root
        Folder inside the zip that they are put into.
    """
    aside = path.with_name(path.name + ".partial")
    try:
        with zipfile.ZipFile(aside, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
            for name in sorted(names):
                entry = zipfile.ZipInfo(f"{root}/{name}", EPOCH)
                entry.compress_type, entry.create_system, entry.external_attr = zipfile.ZIP_STORED, 3, _MODE << 16
                entry.file_size = (folder / name).stat().st_size
                with (folder / name).open("rb") as source, archive.open(entry, "w") as target:
                    shutil.copyfileobj(source, target, _BLOCK)
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def zip_release(folder: Path, out: Path, root: str) -> list[Path]:
    """Write a release as one zip for each split and one for the rest, and the list of their digests.

    Unpacked in one place they are the release again, in the folder `root`.

    Returns
    -------
    The files written: the zips, then `zips.sha256`.
    """
    groups: dict[str, list[str]] = {f"{root}.zip": []}
    for name in files_of(folder)[0]:
        first = PurePosixPath(name).parts[0]
        part = f"{root}-{first.removesuffix('.zarr')}.zip" if first.endswith(".zarr") else f"{root}.zip"
        groups.setdefault(part, []).append(name)
    out.mkdir(parents=True, exist_ok=True)
    for part, names in groups.items():
        write_zip(out / part, folder, names, root)
    digests = {part: file_digest(out / part) for part in groups}
    (out / ZIPS).write_text(listing(digests), encoding="utf-8", newline="\n")
    return [*(out / part for part in sorted(groups)), out / ZIPS]


def unpack(archives: Sequence[Path], out: Path) -> list[Path]:
    """Unpack zips into a folder, and into nothing else; what is there already is kept.

    All entries of all archives are looked at before the first byte is written.

    Returns
    -------
    The folders at the top of what was unpacked.

    Raises
    ------
    InputError
        If an archive is damaged, holds anything but plain files inside the folder, or would overwrite something.
    """
    planned: dict[str, Path] = {}
    size = 0
    for path in archives:
        for entry in _entries(path):
            problem = _unsafe(entry)
            if problem is None and entry.filename in planned:
                problem = f"is in {planned[entry.filename]} too"
            if problem:
                raise InputError(f"{path}: the entry {entry.filename[:80]!r} {problem}: nothing was unpacked.")
            planned[entry.filename] = path
            size += entry.file_size
    _check_room(out, planned, size)
    for path in archives:
        with zipfile.ZipFile(path) as archive:
            for entry in _files(archive):
                try:
                    _extract(archive, entry, out)
                except (zipfile.BadZipFile, EOFError, RuntimeError, NotImplementedError) as error:
                    raise InputError(f"{path} is damaged ({error}): fetch a fresh copy.") from None
    return sorted({out / PurePosixPath(name).parts[0] for name in planned})


def _entries(path: Path) -> list[zipfile.ZipInfo]:
    try:
        with zipfile.ZipFile(path) as archive:
            if any(entry.header_offset < 0 for entry in archive.infolist()):
                raise zipfile.BadZipFile("its beginning is missing")
            return _files(archive)
    except OSError as error:
        raise InputError(f"cannot read {path} ({error.strerror}): check the path and who may read it.") from None
    except (zipfile.BadZipFile, ValueError, NotImplementedError, EOFError) as error:
        raise InputError(f"{path} is no zip, or damaged ({error}): fetch a fresh copy.") from None


def _files(archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    """Return the entries of an archive; those of folders only as far as they hide something."""
    return [entry for entry in archive.infolist() if not entry.is_dir() or _unsafe(entry)]


def _unsafe(entry: zipfile.ZipInfo) -> str | None:
    """Say why an entry cannot be unpacked as a plain file inside a folder."""
    name = entry.filename.removesuffix("/")
    parts = name.split("/")
    if "\\" in entry.orig_filename or "\0" in entry.orig_filename or not all(char.isprintable() for char in name):
        return "has a name of other characters than paths have"
    if name.startswith("/") or (len(parts[0]) == 2 and parts[0][1] == ":"):
        return "names an absolute path"
    if any(part in ("", ".", "..") for part in parts):
        return "leads out of its folder"
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if kind not in (0, stat.S_IFDIR if entry.is_dir() else stat.S_IFREG):
        return "is a link, or no plain file"
    if entry.flag_bits & 1:
        return "is encrypted"
    return None


def _check_room(out: Path, planned: dict[str, Path], size: int) -> None:
    names = set(planned)
    for name in planned:
        folders = PurePosixPath(name).parents
        if clash := next((str(folder) for folder in folders if str(folder) in names), None):
            raise InputError(f"{planned[name]}: {clash!r} is a file and a folder at once: nothing was unpacked.")
        path = out
        for part in PurePosixPath(name).parts:
            path = path / part
            if path.is_symlink():
                raise InputError(f"{path} is a link, which may lead elsewhere: unpack into a folder without links.")
        if path.exists():
            raise InputError(f"{path} is there already: unpack into another folder, or delete it first.")
    place = out.absolute()
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    if size > free:
        raise InputError(f"{out} has {free / 1e9:.2f} GB free where {size / 1e9:.2f} GB are needed: free some space.")


def _extract(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, out: Path) -> None:
    target = out.joinpath(*PurePosixPath(entry.filename).parts)
    target.parent.mkdir(parents=True, exist_ok=True)
    with archive.open(entry) as source, target.open("xb") as file:
        try:
            shutil.copyfileobj(source, file, _BLOCK)
            if file.tell() != entry.file_size:
                raise zipfile.BadZipFile(f"{entry.filename} has {file.tell()} bytes, not {entry.file_size}")
        except BaseException:
            target.unlink()
            raise
