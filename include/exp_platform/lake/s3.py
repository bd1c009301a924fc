"""The S3-compatible store of a profile: its properties for both Iceberg libraries, and its file system."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pyarrow import fs

from exp_platform.config.load import Project
from exp_platform.errors import ConfigError

# Properties of the platform's own, for what PyIceberg's reader of files does not know.
CA_FILE = "exp.ca-file"
KMS_KEY = "s3.sse-kms-key-id"
FILE_IO = "exp_platform.lake.file_io.StoreFileIO"


def store_properties(project: Project) -> dict[str, str]:
    """S3 properties that both libraries read; without keys both look for them in AWS's default chain."""
    store = project.profile.object_store
    if store is None:
        return {}
    given = {
        "s3.endpoint": store.endpoint,
        "s3.region": store.region,
        "s3.access-key-id": store.access_key,
        "s3.secret-access-key": store.secret_key,
        "s3.session-token": store.session_token,
        "s3.force-virtual-addressing": str(not store.by_path).lower(),
    }
    return {key: value for key, value in given.items() if value is not None}


def own_properties(project: Project) -> dict[str, str]:
    """Properties for PyIceberg alone where the store has a certificate authority or a key of its own."""
    store = project.profile.object_store
    if store is None or not (store.ca_file or store.kms_key):
        return {}
    own = {"py-io-impl": FILE_IO}
    if store.ca_file:
        own[CA_FILE] = ca_file(project)
    if store.kms_key:
        own |= {"s3.server-side-encryption": "aws:kms", KMS_KEY: store.kms_key}
    return own


def ca_file(project: Project) -> str:
    """The path of the file with the store's certificate authority; a missing one is refused."""
    store = project.profile.object_store
    assert store is not None and store.ca_file
    path = project.resolve(store.ca_file)
    if not Path(path).is_file():
        raise ConfigError(f"object_store.ca_file: {path} is not there: it is to hold the store's certificate authority")
    return path


def s3_filesystem(properties: Mapping[str, str], new_buckets: bool = False) -> fs.FileSystem:
    """The file system that the properties describe; one that encrypts with a key of its own goes through s3fs."""
    if properties.get(KMS_KEY):
        return _encrypting(properties)
    return fs.S3FileSystem(
        access_key=properties.get("s3.access-key-id"),
        secret_key=properties.get("s3.secret-access-key"),
        session_token=properties.get("s3.session-token"),
        region=properties.get("s3.region"),
        endpoint_override=properties.get("s3.endpoint"),
        force_virtual_addressing=properties.get("s3.force-virtual-addressing") == "true",
        allow_bucket_creation=new_buckets,
        tls_ca_file_path=_here(properties.get(CA_FILE)),
    )


def _here(file: str | None) -> str | None:
    """A file's path on this machine: Spark puts it into an executor's working directory under its bare name."""
    return file if file is None or Path(file).exists() else Path(file).name


def _encrypting(properties: Mapping[str, str]) -> fs.FileSystem:
    """Arrow's own S3 client sends no header that names a KMS key."""
    from s3fs import S3FileSystem

    virtual = properties.get("s3.force-virtual-addressing") == "true"
    client = {
        "endpoint_url": properties.get("s3.endpoint"),
        "region_name": properties.get("s3.region"),
        "verify": _here(properties.get(CA_FILE)),
    }
    files = S3FileSystem(
        key=properties.get("s3.access-key-id"),
        secret=properties.get("s3.secret-access-key"),
        token=properties.get("s3.session-token"),
        client_kwargs={key: value for key, value in client.items() if value is not None},
        config_kwargs={"s3": {"addressing_style": "virtual" if virtual else "path"}},
        s3_additional_kwargs={"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": properties[KMS_KEY]},
        use_listings_cache=False,
    )
    return fs.PyFileSystem(fs.FSSpecHandler(files))
