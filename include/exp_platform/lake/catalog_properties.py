"""The catalog of a profile as properties: those that both Iceberg libraries read, and PyIceberg's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import quote

from exp_platform.config.load import Project
from exp_platform.config.models import CatalogSettings
from exp_platform.errors import ConfigError
from exp_platform.lake.s3 import own_properties, store_properties

BUSY_SECONDS = 30


def pyiceberg_properties(project: Project) -> dict[str, Any]:
    """Properties with which PyIceberg opens the catalog."""
    settings = project.profile.catalog
    properties: dict[str, Any] = {"warehouse": warehouse_of(project)}
    properties |= store_properties(project) | own_properties(project)
    if settings.type == "sqlite":
        path = Path(project.resolve(settings.uri))
        return properties | {"type": "sql", "uri": f"sqlite:///{path}?timeout={BUSY_SECONDS}"}
    if settings.type == "postgres":
        uri = f"postgresql+psycopg2://{_userinfo(settings)}{settings.uri}"
        return properties | {"type": "sql", "uri": uri}
    properties |= {"type": "rest", **rest_properties(project)}
    if settings.signed_by in ("none", "sigv4"):
        properties["auth"] = {"type": "noop"}  # else each request says `Bearer None`
    if settings.signed_by == "sigv4":
        properties["rest.sigv4-enabled"] = "true"
        properties |= {key.replace("rest.", "client."): value for key, value in _signing_keys(project).items()}
        properties["client.region"] = properties["rest.signing-region"]
    if settings.ca_file:
        properties["ssl"] = {"cabundle": catalog_ca_file(project)}
    return properties


def rest_properties(project: Project) -> dict[str, str]:
    """Address and identity for a REST catalog, as both libraries read them.

    The address of the tokens is always named: a library that has to guess it warns with each session.
    """
    settings = project.profile.catalog
    uri = settings.uri.rstrip("/")
    own = {"uri": uri}
    token_uri = settings.token_uri or f"{uri}/v1/oauth/tokens"
    if settings.signed_by == "oauth2":
        own |= {"credential": f"{settings.user}:{settings.password}", "oauth2-server-uri": token_uri}
        own |= {"scope": settings.scope} if settings.scope else {}
    elif settings.signed_by == "bearer":
        own |= {"token": settings.token or "", "oauth2-server-uri": token_uri}
    elif settings.signed_by == "sigv4":
        own |= {"rest.signing-name": settings.signing_name, "rest.signing-region": _signing_region(project)}
    return own | ({"view-endpoints-supported": "true"} if settings.views else {})


def java_rest_properties(project: Project) -> dict[str, str]:
    """`rest_properties` with what Iceberg's Java library wants to be told beside them."""
    signed_by = project.profile.catalog.signed_by
    own = rest_properties(project) | {"rest-metrics-reporting-enabled": "false"}  # one request less for each scan
    if signed_by == "sigv4":
        own |= {"rest.auth.type": "sigv4", "rest.auth.sigv4.delegate-auth-type": "none"} | _signing_keys(project)
    elif signed_by == "bearer":
        own |= {"rest.auth.type": "oauth2", "token-refresh-enabled": "false"}
    else:
        own["rest.auth.type"] = signed_by
    return own


def warehouse_of(project: Project) -> str:
    """The warehouse as a URL, since Iceberg stores absolute locations; its name where the catalog chooses them."""
    settings = project.profile.catalog
    if settings.names_its_warehouse:
        return settings.warehouse
    place = project.resolve(settings.warehouse).rstrip("/")
    return place if "://" in place else f"file://{place}"


def on_the_store(project: Project) -> bool:
    """True when tables lie on the profile's object store, and not in local folders."""
    if project.profile.object_store is None:
        return False
    return project.profile.catalog.names_its_warehouse or warehouse_of(project).startswith(("s3://", "s3a://"))


def location_of(project: Project, name: str) -> str | None:
    """The location of a declared table in the warehouse; None where the catalog chooses it."""
    if project.profile.catalog.names_its_warehouse:
        return None
    return f"{warehouse_of(project)}/{name.replace('.', '/')}"


def catalog_ca_file(project: Project) -> str:
    """The path of the file with the catalog's certificate authority; a missing one is refused."""
    path = project.resolve(project.profile.catalog.ca_file or "")
    if not Path(path).is_file():
        raise ConfigError(f"catalog.ca_file: {path} is not there: it is to hold the catalog's certificate authority")
    return path


def _signing_region(project: Project) -> str:
    store = project.profile.object_store
    return project.profile.catalog.signing_region or (store.region if store else "us-east-1")


def _signing_keys(project: Project) -> dict[str, str]:
    """The keys that sign requests to the catalog; empty where AWS's default chain finds them."""
    settings, store = project.profile.catalog, project.profile.object_store
    if settings.user and settings.password:
        return {"rest.access-key-id": settings.user, "rest.secret-access-key": settings.password}
    if store is None or not store.access_key:
        return {}
    keys = {"rest.access-key-id": store.access_key, "rest.secret-access-key": store.secret_key or ""}
    return keys | ({"rest.session-token": store.session_token} if store.session_token else {})


def _userinfo(settings: CatalogSettings) -> str:
    if not settings.user:
        return ""
    password = f":{quote(settings.password, safe='')}" if settings.password else ""
    return f"{quote(settings.user, safe='')}{password}@"
