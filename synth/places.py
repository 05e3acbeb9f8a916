"""Where a dataset lies: a folder, as a `pathlib.Path`, or a prefix of an object store, in the same shape.

`ObjectPath` has of a path's methods those that datasets need, under the same names, so that most code need not know
which of the two it has. Its folders are what the names of objects make them: they exist while anything is in them. An
object is written in one step; it is whole or absent, and lasts once the call has returned.
"""

import io
import re
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any, NamedTuple

from .. import InputError
from .buckets import SCHEMES, ObjectStoreError, connect, library, speaking

AT_ONCE = 16
"""Requests that are under way at the same time where several objects are asked for."""


class ObjectStat(NamedTuple):
    """Size in bytes of an object, and when it was last written by the clock of the store, seconds since 1970."""

    st_size: int
    st_mtime: float


@dataclass(frozen=True, slots=True, order=True)
class ObjectPath:
    """A place in an object store: an object, or all objects whose names begin with it and a slash.

    Nothing here holds a connection or a credential; copies in other processes make connections of their own.

    Attributes
    ----------
    scheme, bucket
        As in `s3://bucket`.
    key
        Name within the bucket, without slashes at its ends; empty for the bucket itself.
    """

    scheme: str
    bucket: str
    key: str

    def __str__(self) -> str:
        return f"{self.scheme}://{self.bucket}/{self.key}".rstrip("/")

    def __truediv__(self, name: str) -> "ObjectPath":
        return ObjectPath(self.scheme, self.bucket, f"{self.key}/{name}".strip("/"))

    def joinpath(self, *names: str) -> "ObjectPath":
        """Return the place of that name below this one."""
        return self / "/".join(names)

    @property
    def name(self) -> str:
        """Last part of the name."""
        return PurePosixPath(self.key).name or self.bucket

    @property
    def stem(self) -> str:
        """Last part of the name without its suffix."""
        return PurePosixPath(self.name).stem

    @property
    def suffix(self) -> str:
        """Suffix of the last part of the name."""
        return PurePosixPath(self.name).suffix

    def absolute(self) -> "ObjectPath":
        """Return the same."""
        return self

    def __fspath__(self) -> str:
        raise InputError(f"{self} is in an object store, where a local file is needed: copy it first.")

    @property
    def store(self) -> Any:
        """The obstore store of the bucket."""
        return connect(self.scheme, self.bucket)

    @property
    def zarr_store(self) -> Any:
        """What Zarr opens for this place."""
        from .object_zarr import Objects

        # Of a part of a store Zarr would make all that lies above it a group too.
        return Objects(connect(self.scheme, self.bucket, self.key))

    def read_bytes(self) -> bytes:
        """Read the object.

        Raises
        ------
        FileNotFoundError
            If there is none.
        """
        obstore = library(self.scheme)

        with speaking(self):
            return bytes(obstore.get(self.store, self.key).bytes())

    def read_text(self, encoding: str = "utf-8") -> str:
        """Read the object as text."""
        return self.read_bytes().decode(encoding)

    def open(self, mode: str = "rb") -> io.BytesIO:
        """Return the object's content as a file for reading, in memory."""
        assert mode == "rb"
        return io.BytesIO(self.read_bytes())

    def write_bytes(self, content: "bytes | IO[bytes]") -> None:
        """Write the object, from memory or from a file, in one step."""
        obstore = library(self.scheme)

        with speaking(self):
            obstore.put(self.store, self.key, content)

    def write_if(self, content: bytes, tag: str | None) -> str | None:
        """Write the object if it is absent, or if it still has a tag.

        Returns
        -------
        The tag that it has now; None if the condition did not hold.

        Raises
        ------
        NotImplementedError
            If the store knows no conditions.
        """
        obstore = library(self.scheme)
        errors = obstore.exceptions
        try:
            with speaking(self):
                mode: Any = "create" if tag is None else {"e_tag": tag}
                # Only whole puts can have conditions.
                return str(obstore.put(self.store, self.key, content, mode=mode, use_multipart=False)["e_tag"])
        except (errors.AlreadyExistsError, errors.PreconditionError, FileNotFoundError):
            return None
        except (errors.NotSupportedError, NotImplementedError):
            raise NotImplementedError from None
        except ObjectStoreError as error:
            if "answered 501" in str(error):
                raise NotImplementedError from None
            raise

    def stat(self) -> ObjectStat:
        """Return size and time of the object.

        Raises
        ------
        FileNotFoundError
            If there is none.
        """
        obstore = library(self.scheme)

        with speaking(self):
            found = obstore.head(self.store, self.key)
        return ObjectStat(found["size"], found["last_modified"].timestamp())

    def tagged(self) -> tuple[bytes, str, float]:
        """Read the object, its tag, and when it was last written by the clock of the store."""
        obstore = library(self.scheme)

        with speaking(self):
            found = obstore.get(self.store, self.key)
            return bytes(found.bytes()), str(found.meta["e_tag"]), found.meta["last_modified"].timestamp()

    def is_file(self) -> bool:
        """Tell whether there is an object of that very name."""
        if not self.key:
            return False
        try:
            self.stat()
        except FileNotFoundError:
            return False
        return True

    def is_symlink(self) -> bool:
        """Return False: there are none."""
        return False

    def is_dir(self) -> bool:
        """Tell whether there are objects below."""
        return next(self._list(chunk=1), None) is not None

    def exists(self) -> bool:
        """Tell whether there is an object of that name, or any below."""
        return self.is_dir() or self.is_file()

    def _list(self, chunk: int = 1000) -> Iterator[Any]:
        obstore = library(self.scheme)

        with speaking(self):
            for page in obstore.list(self.store, f"{self.key}/" if self.key else None, chunk_size=chunk):
                yield from page

    def files(self) -> Iterator[tuple[str, int]]:
        """Yield the names of all objects below, relative to here, and their sizes in bytes."""
        start = len(self.key) + 1 if self.key else 0
        for found in self._list():
            yield found["path"][start:], found["size"]

    def iterdir(self) -> Iterator["ObjectPath"]:
        """Yield what lies directly below, objects and folders."""
        obstore = library(self.scheme)

        with speaking(self):
            found = obstore.list_with_delimiter(self.store, f"{self.key}/" if self.key else None)
        yield from (ObjectPath(self.scheme, self.bucket, one.strip("/")) for one in found["common_prefixes"])
        yield from (ObjectPath(self.scheme, self.bucket, one["path"]) for one in found["objects"])

    def glob(self, pattern: str) -> Iterator["ObjectPath"]:
        """Yield those of what lies directly below whose names match."""
        return (found for found in self.iterdir() if PurePosixPath(found.name).match(pattern))

    def unlink(self, missing_ok: bool = False) -> None:
        """Delete the object; that there is none is no error in an object store."""
        obstore = library(self.scheme)

        with speaking(self):
            try:
                obstore.delete(self.store, self.key)
            except FileNotFoundError as error:
                # Some stores do tell, whatever was asked.
                if not missing_ok or "NoSuchBucket" in str(error):
                    raise

    def remove(self) -> None:
        """Delete all objects below."""
        obstore = library(self.scheme)

        names = [f"{self.key}/{name}".strip("/") for name, _ in self.files()]
        with speaking(self):
            if names:
                obstore.delete(self.store, names)


Place = Path | ObjectPath


def is_remote(text: str) -> bool:
    """Tell whether a text is a URL, whatever of."""
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", text) is not None


def place(where: str | Path | ObjectPath) -> Place:
    """Return the place that a text names: `s3://bucket/prefix`, or a local path.

    Raises
    ------
    InputError
        If it is a URL that cannot be used: of another scheme, with a user name or a password, without a bucket.
    """
    if not isinstance(where, str) or not is_remote(where):
        return Path(where) if isinstance(where, str) else where
    if any(ord(letter) < 32 or ord(letter) == 127 for letter in where):
        raise InputError(f"the address {where!r} holds a control character: leave it out.")
    scheme, _, rest = where.partition("://")
    scheme = scheme.lower()
    if "@" in rest.partition("/")[0]:
        raise InputError(
            f"the {scheme}:// address holds a user name or a password: leave them out of it, and give them in the "
            "environment (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY)."
        )
    if scheme not in SCHEMES:
        raise InputError(
            f"{scheme}:// is no place for a dataset: give a folder, or {', '.join(SCHEMES)}://BUCKET/NAME."
        )
    bucket, _, key = rest.partition("/")
    parts = key.strip("/").split("/")
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", bucket) or "?" in key or "#" in key:
        raise InputError(f"the {scheme}:// address is not of the form {scheme}://BUCKET/NAME.")
    if key.strip("/") and not all(part and part not in (".", "..") for part in parts):
        raise InputError(f"{where} has an empty part, or one of dots: give {scheme}://{bucket}/NAME.")
    return ObjectPath(scheme, bucket, key.strip("/"))


def dataset_at(target: str) -> Place | None:
    """Return the place of the dataset that a text names, or None if it may be a recipe."""
    where = place(target)
    return where if isinstance(where, ObjectPath) or where.is_dir() else None


def local_place(where: Place, what: str) -> Path:
    """Return a local path.

    Raises
    ------
    InputError
        If it is in an object store, saying what must be local.
    """
    if isinstance(where, ObjectPath):
        raise InputError(f"{what} must be local, and {where} is in an object store: copy it first.")
    return where


def as_zarr(where: Place) -> Any:
    """Return what Zarr opens for a place."""
    return where.zarr_store if isinstance(where, ObjectPath) else where


def folders_of(where: Place, pattern: str) -> list[Any]:
    """Return what lies directly in a place under names that match, by name."""
    found: list[Any] = [*where.glob(pattern)]
    return sorted(found)


def file_sizes(files: Mapping[str, Place]) -> dict[str, int]:
    """Return the sizes of files in bytes, by the same names.

    Raises
    ------
    FileNotFoundError
        If one is missing.
    """
    if any(isinstance(path, ObjectPath) for path in files.values()):
        with ThreadPoolExecutor(AT_ONCE) as pool:
            return dict(zip(files, pool.map(lambda path: path.stat().st_size, files.values()), strict=True))
    return {name: path.stat().st_size for name, path in files.items()}


def total_size(where: Place) -> int:
    """Return the size of all files in a place, bytes."""
    if isinstance(where, ObjectPath):
        return sum(size for _, size in where.files())
    return sum(f.stat().st_size for f in where.rglob("*") if f.is_file())
