"""Connections to object stores, by obstore: options, credentials, and what goes wrong in a sentence.

Credentials come from the environment, from the files of the AWS tools, or from the machine itself (a role); nothing of
them is kept here. obstore reads the variables and the roles, but not the files.
"""

import configparser
import functools
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from .. import InputError

SCHEMES = ("s3", "gs", "az")
PATIENCE = 60.0
"""Seconds for which a request is repeated with growing pauses; DEFOCAL_OBJECT_PATIENCE is another number of them."""
_ANSWERS = ("AlreadyExistsError", "PreconditionError", "NotSupportedError")
"""What tells that a condition did not hold, or is not known: no failure."""
_ELSEWHERE = ("role_arn", "sso_session", "sso_start_url", "credential_process", "web_identity_token_file")


class ObjectStoreError(Exception):
    """An object store did not do what was asked, although it was asked for long; a sentence says why."""


class UnusableStoreError(ObjectStoreError):
    """Whatever is asked next would fail in the same way: no connection, no permission, no such bucket."""


def patience() -> float:
    """Seconds for which a request is repeated.

    Raises
    ------
    InputError
        If DEFOCAL_OBJECT_PATIENCE is no number of seconds.
    """
    text = os.environ.get("DEFOCAL_OBJECT_PATIENCE", str(PATIENCE))
    if not re.fullmatch(r"\d{1,6}(\.\d{1,6})?", text):
        raise InputError(
            f"DEFOCAL_OBJECT_PATIENCE={text[:20]!r} is no number of seconds: write for example "
            "DEFOCAL_OBJECT_PATIENCE=60."
        )
    return float(text)


def library(scheme: str) -> Any:
    """Return the module obstore.

    Raises
    ------
    InputError
        If it is not installed.
    """
    try:
        import obstore
        import obstore.exceptions
    except ImportError:
        raise InputError(
            f"{scheme}:// needs the library obstore: pip install 'defocal[s3]', or choose a local folder."
        ) from None
    return obstore


@functools.cache
def connect(scheme: str, bucket: str, prefix: str = "") -> Any:
    """Return the obstore store of a bucket, or of all names in it below a prefix.

    There is one for all of this process, so that its connections are shared.

    Raises
    ------
    InputError
        If obstore is not installed, or the credentials of a profile cannot be used.
    """
    library(scheme)
    from obstore.store import S3Store, from_url

    options: dict[str, Any] = {
        "client_options": {"timeout": timedelta(minutes=2), "connect_timeout": timedelta(seconds=10)},
        "retry_config": {"max_retries": 1000, "retry_timeout": timedelta(seconds=patience())},
    }
    if scheme != "s3":
        return from_url(f"{scheme}://{bucket}/{prefix}", **options)
    options |= _from_profile(os.environ)
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or options.get("endpoint")
    if endpoint:
        if "@" in urlsplit(endpoint).netloc:
            raise InputError("AWS_ENDPOINT_URL holds a user name or a password: leave them out of it.")
        options["endpoint"] = endpoint
        # Whoever names an endpoint without TLS wants it.
        options["client_options"]["allow_http"] = endpoint.lower().startswith("http://")
    return S3Store(bucket, prefix=prefix or None, **options)


def _from_profile(environment: Mapping[str, str]) -> dict[str, Any]:
    """Return what the files of the AWS tools say about credentials, region and endpoint where the environment does not.

    Keys are read whenever they are wanted, so that no copy of a connection holds any.
    """
    name = environment.get("AWS_PROFILE") or environment.get("AWS_DEFAULT_PROFILE") or "default"
    found = profile(name)
    if name != "default" and not found:
        raise InputError(f"there is no profile {name!r} in the files of the AWS tools: correct AWS_PROFILE.")
    options: dict[str, Any] = {}
    if "endpoint_url" in found:
        options["endpoint"] = found["endpoint_url"]
    if "region" in found and not any(environment.get(v) for v in ("AWS_REGION", "AWS_DEFAULT_REGION")):
        options["region"] = found["region"]
    if any(environment.get(v) for v in ("AWS_ACCESS_KEY_ID", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_SKIP_SIGNATURE")):
        return options
    if "aws_access_key_id" in found:
        options["credential_provider"] = ProfileKeys(name)
    elif kind := next((key for key in _ELSEWHERE if key in found), None):
        options["credential_provider"] = _boto_provider(name, kind)
    return options


def profile(name: str) -> dict[str, str]:
    """Return what the files of the AWS tools say of a profile.

    Raises
    ------
    InputError
        If one cannot be read.
    """
    found: dict[str, str] = {}
    for variable, file, section in (
        ("AWS_CONFIG_FILE", "config", name if name == "default" else f"profile {name}"),
        ("AWS_SHARED_CREDENTIALS_FILE", "credentials", name),
    ):
        path = Path(os.environ.get(variable) or Path.home() / ".aws" / file)
        parser = configparser.RawConfigParser()
        try:
            parser.read_string(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            continue
        except (OSError, UnicodeDecodeError, configparser.Error) as error:
            # What the parser complains of is a line of the file.
            raise InputError(f"cannot read {path} ({type(error).__name__}): mend it.") from None
        if parser.has_section(section):
            found |= dict(parser.items(section))
    return found


@dataclass(frozen=True)
class ProfileKeys:
    """Gives obstore the keys that a profile holds; holds none itself."""

    name: str

    def __call__(self) -> dict[str, Any]:
        """Return the keys."""
        found = profile(self.name)
        return {
            "access_key_id": found.get("aws_access_key_id", ""),
            "secret_access_key": found.get("aws_secret_access_key", ""),
            "token": found.get("aws_session_token"),
            "expires_at": None,
        }


def _boto_provider(name: str, kind: str) -> Any:
    try:
        import boto3
        from obstore.auth.boto3 import Boto3CredentialProvider
    except ImportError:
        raise InputError(
            f"the profile {name!r} takes its credentials from elsewhere ({kind}): pip install boto3, or put them into "
            "the environment, for example by `aws configure export-credentials`."
        ) from None
    return Boto3CredentialProvider(boto3.session.Session(profile_name=name))


def described(error: BaseException, where: object) -> ObjectStoreError | None:
    """Say what went wrong if it was at an object store; None if the error is another one.

    What a server answers is not repeated but for its code: the answer to a wrong signature holds the key's id.
    """
    text = str(error)
    bucket = "<Code>NoSuchBucket</Code>" in text
    if type(error).__name__ in _ANSWERS or not (bucket or type(error).__module__.startswith("obstore")):
        return None
    if bucket:
        return UnusableStoreError(f"there is no bucket for {where}: create it, or correct its name.")
    status = re.search(r"status code: (\d+)", text)
    code = re.search(r"<Code>(\w{1,40})</Code>", text)
    answer = " ".join(found[1] for found in (status, code) if found)
    if "169.254.169.254" in text or "169.254.170.2" in text:
        return UnusableStoreError(
            f"there are no credentials for {where}: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE."
        )
    if type(error).__name__ in ("PermissionDeniedError", "UnauthenticatedError") or answer[:3] in ("401", "403"):
        return UnusableStoreError(
            f"no permission for {where} ({answer or type(error).__name__}): check the credentials in the environment "
            "(AWS_ACCESS_KEY_ID, AWS_PROFILE, ...), and what they allow."
        )
    if answer:
        return ObjectStoreError(f"the object store answered {answer} for {where}.")
    return UnusableStoreError(f"no connection to the object store of {where} for {patience():g} s.")


@contextmanager
def speaking(where: object) -> Iterator[None]:
    """Turn obstore's errors into sentences; that there is no such object stays a `FileNotFoundError`.

    Raises
    ------
    ObjectStoreError
        If the store did not do what was asked.
    """
    try:
        yield
    except Exception as error:
        if (said := described(error, where)) is not None:
            raise said from None
        raise


def pass_on(error: BaseException, where: object) -> None:
    """Raise what went wrong at an object store, so that it is not taken for damage; return if the error is another.

    Raises
    ------
    ObjectStoreError
        If it was.
    """
    if isinstance(error, ObjectStoreError):
        raise error
    if (said := described(error, where)) is not None:
        raise said from None
