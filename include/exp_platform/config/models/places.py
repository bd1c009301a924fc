"""Where the tables are: the Iceberg catalog, and the S3-compatible store."""

from __future__ import annotations

import re
from typing import Any, Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from exp_platform.config.models.base import Model

Auth = Literal["none", "oauth2", "bearer", "sigv4"]
_NAME = re.compile(r"arn:[\w:/.-]+|[\w.-]+")


class Places(Model):
    """Settings in which an empty text is a key that was left out: a variable that is not set leaves one."""

    @model_validator(mode="before")
    @classmethod
    def _empty_is_left_out(cls, content: Any) -> Any:
        if not isinstance(content, dict):
            return content
        return {key: value for key, value in content.items() if value != ""}


class CatalogSettings(Places):
    """The Iceberg catalog, shared by Spark and PyIceberg under one name."""

    type: Literal["sqlite", "postgres", "rest"] = Field(description="The kind of catalog.")
    uri: str = Field(description="sqlite: a path; postgres: host:port/database; rest: the URL.")
    warehouse: str = Field(
        description="Where the tables are: a folder, s3://bucket or s3://bucket/prefix. rest: or the name or ARN of a "
        "warehouse, whose catalog then chooses the place of each table."
    )
    user: str | None = Field(
        default=None,
        description="User of the catalog; oauth2: the client's id; sigv4: the access key; left out: none. sigv4 then "
        "takes the object store's keys, or AWS's default chain.",
    )
    password: str | None = Field(
        default=None,
        repr=False,
        description="Password; oauth2: the client's secret; sigv4: the secret key; from the environment only.",
    )
    auth: Auth | None = Field(
        default=None,
        description="rest: how requests are signed; left out: bearer with a token, else oauth2 with a user, else none.",
    )
    token: str | None = Field(
        default=None, repr=False, description="rest, bearer: the token; from the environment only."
    )
    token_uri: str | None = Field(
        default=None, description="rest, oauth2: the URL that gives tokens; left out: v1/oauth/tokens of the catalog."
    )
    scope: str | None = Field(default=None, description="rest, oauth2: the scope asked for; left out: catalog.")
    signing_name: str = Field(
        default="execute-api", description="rest, sigv4: the service that is signed for, such as s3tables or glue."
    )
    signing_region: str | None = Field(
        default=None, description="rest, sigv4: the region that is signed for; left out: the object store's."
    )
    ca_file: str | None = Field(
        default=None,
        description="rest: PEM file with the certificate authority of the catalog; left out: those of the machine.",
    )
    views: bool = Field(default=False, description="rest: true where the catalog has views and does not tell so.")
    scratch: str | None = Field(
        default=None,
        description="Where `exp reproduce` computes on a store, s3://bucket/prefix; left out: beside the warehouse. A "
        "named warehouse, and one that takes no other files, needs it.",
    )

    @model_validator(mode="after")
    def _of_its_type(self) -> CatalogSettings:
        own = ("auth", "token", "token_uri", "scope", "signing_region", "ca_file")
        given = [key for key in own if getattr(self, key) is not None]
        if self.type != "rest" and given:
            raise PydanticCustomError("catalog", f"{given[0]} is for a REST catalog, and the type is {self.type}")
        if self.type == "rest":
            self._refuse_half_an_identity()
        if self.type != "rest" and self.warehouse.startswith("arn:"):
            raise PydanticCustomError("catalog", "warehouse is an ARN, which only a REST catalog knows: give s3://…")
        if self.warehouse.startswith(("s3://arn:", "s3a://arn:")):
            raise PydanticCustomError("catalog", "warehouse names an ARN as a bucket: give the access point's alias")
        return self

    def _refuse_half_an_identity(self) -> None:
        both = {"oauth2": ("user", "password"), "bearer": ("token",)}.get(self.signed_by, ())
        missing = [key for key in both if not getattr(self, key)]
        if missing:
            raise PydanticCustomError("catalog", f"auth {self.signed_by} needs {' and '.join(missing)}")
        if bool(self.user) != bool(self.password):
            raise PydanticCustomError("catalog", "user and password go together: give both or neither")

    @property
    def signed_by(self) -> Auth:
        """How requests to a REST catalog are signed."""
        if self.auth is not None:
            return self.auth
        if self.token:
            return "bearer"
        return "oauth2" if self.user else "none"

    @property
    def names_its_warehouse(self) -> bool:
        """True when the warehouse is a name in a REST catalog, so that the catalog chooses where tables lie."""
        return self.type == "rest" and _NAME.fullmatch(self.warehouse) is not None


class ObjectStoreSettings(Places):
    """An S3-compatible store; its secrets come from the environment."""

    endpoint: str | None = Field(default=None, description="URL of the store; left out: AWS.")
    region: str = Field(default="us-east-1", description="Region that requests are signed for.")
    access_key: str | None = Field(
        default=None,
        repr=False,
        description="Access key; from the environment only. Left out: AWS's default chain (AWS_* variables, a profile, "
        "the role of the machine).",
    )
    secret_key: str | None = Field(default=None, repr=False, description="Secret key; from the environment only.")
    session_token: str | None = Field(
        default=None, repr=False, description="Session token of temporary keys; from the environment only."
    )
    path_style: bool | None = Field(
        default=None,
        description="True: the bucket is part of the path, not of the host's name; left out: true with an endpoint.",
    )
    ca_file: str | None = Field(
        default=None,
        description="PEM file with the certificate authority of the store's TLS; left out: those of the machine.",
    )
    kms_key: str | None = Field(
        default=None, description="Id or ARN of the KMS key that encrypts what is written; left out: the bucket's own."
    )

    @model_validator(mode="after")
    def _whole_keys(self) -> ObjectStoreSettings:
        if bool(self.access_key) != bool(self.secret_key):
            raise PydanticCustomError("keys", "access_key and secret_key go together: give both or neither")
        if self.session_token and not self.access_key:
            raise PydanticCustomError("keys", "session_token needs access_key and secret_key")
        if self.ca_file and self.endpoint and not self.endpoint.startswith("https://"):
            raise PydanticCustomError("keys", f"ca_file needs an endpoint with https, found {self.endpoint}")
        return self

    @property
    def by_path(self) -> bool:
        """True when the bucket is part of the path."""
        return bool(self.endpoint) if self.path_style is None else self.path_style
