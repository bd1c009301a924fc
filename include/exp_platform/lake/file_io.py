"""PyIceberg's reader and writer of files for a store with a certificate authority or a KMS key of its own."""

from __future__ import annotations

from pyarrow.fs import FileSystem
from pyiceberg.io.pyarrow import PyArrowFileIO

from exp_platform.lake.s3 import s3_filesystem


class StoreFileIO(PyArrowFileIO):  # type: ignore[misc]  # PyIceberg has no types for it
    """PyArrow's file IO, on the file system that the rest of the platform uses for the store."""

    def _initialize_s3_fs(self, netloc: str | None) -> FileSystem:
        return s3_filesystem(self.properties)
