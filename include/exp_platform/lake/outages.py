"""Errors of a catalog or a store in one sentence: what does not answer is tried again, what is refused is not."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import requests
from pyiceberg.exceptions import (
    AuthorizationExpiredError,
    BadRequestError,
    CommitStateUnknownException,
    ForbiddenError,
    NoSuchNamespaceError,
    OAuthError,
    RESTError,
    UnauthorizedError,
)
from sqlalchemy.exc import OperationalError

from exp_platform.config.load import Project
from exp_platform.errors import ConfigError, ExpError

# Words of Postgres, of Arrow's S3 client and of s3fs.
_REFUSED_LOGIN = ("password authentication failed", "no pg_hba.conf entry", "permission denied", "no password supplied")
_NO_CONNECTION_LEFT = ("too many clients", "remaining connection slots", "too many connections")
_UNKNOWN_DATABASE = ('database "', "does not exist")
_REFUSED_KEYS = (
    "ACCESS_DENIED",
    "SIGNATURE_DOES_NOT_MATCH",
    "INVALID_ACCESS_KEY_ID",
    "INVALID_CLIENT_TOKEN_ID",
    "UNRECOGNIZED_CLIENT",
    "MISSING_AUTHENTICATION_TOKEN",
    "EXPIRED_TOKEN",
    "SignatureDoesNotMatch",
    "InvalidAccessKeyId",
    "AccessDenied",
    "HTTP response code 403",
)
_MISSING_BUCKET = ("NO_SUCH_BUCKET", "NoSuchBucket", "bucket does not exist")
_TLS = ("SSL", "certificate")


@contextmanager
def explained(project: Project) -> Iterator[None]:
    """Turn an error of the profile's catalog or store into one sentence; other errors pass."""
    try:
        yield
    except (ExpError, FileNotFoundError):
        raise
    except Exception as error:
        if (found := explanation(project, error)) is not None:
            raise found from error
        raise


def explanation(project: Project, error: Exception) -> ExpError | None:
    """The error of a catalog or store as the platform's own; None for any other.

    Wrong settings are a ConfigError (64, not tried again); what may be there again in a minute is an ExpError (1).
    """
    if isinstance(error, OperationalError):
        return _of_postgres(project, error)
    if isinstance(error, (requests.RequestException, RESTError, NoSuchNamespaceError)):
        return None if isinstance(error, CommitStateUnknownException) else _of_rest(project, error)
    if isinstance(error, OSError):
        return _of_the_store(project, error)
    return None


def is_refused_login(error: Exception) -> bool:
    """True when Postgres refuses the user or has no such database: waiting does not help."""
    said = str(error)
    return any(words in said for words in _REFUSED_LOGIN) or all(words in said for words in _UNKNOWN_DATABASE)


def _of_postgres(project: Project, error: OperationalError) -> ExpError | None:
    settings, said = project.profile.catalog, str(error.orig or error).strip()
    if settings.type != "postgres":
        return None
    first = said.splitlines()[0] if said else type(error).__name__
    last = re.split(r"FATAL:|failed:", said.splitlines()[-1] if "FATAL:" in said else first)[-1].strip()
    if all(words in said for words in _UNKNOWN_DATABASE):
        return ConfigError(f"the catalog postgres://{settings.uri} is not there ({last}): correct catalog.uri")
    if is_refused_login(error):
        return ConfigError(
            f"the catalog postgres://{settings.uri} refuses the user {settings.user!r} ({last}): correct catalog.user "
            "and catalog.password, or the rights of this user"
        )
    if any(words in said for words in _NO_CONNECTION_LEFT):
        return ExpError(
            f"the catalog postgres://{settings.uri} has no connection left ({last}): let fewer stages run at once, or "
            "raise max_connections of the server to six for each of them; then try again"
        )
    return ExpError(f"the catalog postgres://{settings.uri} does not answer ({last}); start it, then try again")


def _of_rest(project: Project, error: Exception) -> ExpError:
    settings, said = project.profile.catalog, _first_line(error)
    where = f"the REST catalog {settings.uri}"
    if isinstance(error, requests.exceptions.SSLError):
        return ConfigError(
            f"{where} has a certificate that this machine does not trust ({_innermost(error)}): name its authority in "
            "catalog.ca_file"
        )
    if isinstance(error, (OAuthError, UnauthorizedError, ForbiddenError, AuthorizationExpiredError)):
        keys = {
            "oauth2": "catalog.user and catalog.password",
            "bearer": "catalog.token",
            "sigv4": "the keys that sign its requests (catalog.user and catalog.password, else those of object_store)",
            "none": "catalog.auth, which is none",
        }[settings.signed_by]
        return ConfigError(f"{where} refuses this client ({said}): correct {keys}, or the rights of this client")
    if isinstance(error, (BadRequestError, NoSuchNamespaceError)) or said.startswith("NoSuch"):
        return ConfigError(
            f"{where} does not know the warehouse {settings.warehouse!r} ({said}): correct catalog.warehouse"
        )
    reason = _innermost(error) if isinstance(error, requests.RequestException) else said
    return ExpError(f"{where} does not answer ({reason}); start it, then try again")


def _of_the_store(project: Project, error: OSError) -> ExpError | None:
    store, said = project.profile.object_store, _first_line(error)
    if store is None or not _is_of_a_store(error):
        return None
    where = f"the object store {store.endpoint or 'AWS'}"
    text = str(error)
    if any(words in text for words in _MISSING_BUCKET):
        return ConfigError(
            f"a bucket is not in {where} ({said}): correct raw_root and catalog.warehouse, or create the buckets "
            "of the profile with `python -m exp_platform.lake.object_store`"
        )
    if any(words in text for words in _REFUSED_KEYS):
        keys = (
            "object_store.access_key and secret_key" if store.access_key else "the keys that AWS's default chain finds"
        )
        return ConfigError(f"{where} refuses this client ({said}): correct {keys}, or their rights")
    if any(words in text for words in _TLS):
        return ConfigError(
            f"{where} has a certificate that this machine does not trust ({said}): name its authority in "
            "object_store.ca_file"
        )
    return ExpError(f"{where} does not answer ({said}); start it, then try again")


def _is_of_a_store(error: OSError) -> bool:
    """True for errors of S3 clients; a full disk or a missing right of a local folder is something else."""
    return "AWS Error" in str(error) or type(error).__module__.startswith(("botocore", "s3fs", "aiohttp"))


def _innermost(error: BaseException) -> str:
    """The first cause of a connection's error: the outer ones repeat the address."""
    seen: BaseException = error
    while (inner := seen.__cause__ or seen.__context__) is not None:
        seen = inner
    return _first_line(seen)


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
