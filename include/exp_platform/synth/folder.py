"""A folder of the raw zone, on a disk or in an object store, without Spark."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pyarrow.fs as pafs

from exp_platform.config.load import Project
from exp_platform.lake.raw_zone import filesystem


@dataclass(frozen=True)
class Folder:
    """One folder: its path in a pyarrow file system, and the `url` that Spark writes to."""

    fs: pafs.FileSystem
    path: str
    url: str

    @classmethod
    def of_experiment(cls, project: Project, experiment_id: str) -> Folder:
        """The experiment's folder in the raw zone."""
        url = project.raw_folder(experiment_id)
        fs, path = filesystem(project, url)
        return cls(fs, path, url)

    @property
    def is_local(self) -> bool:
        """True on a local disk, where a rename is one step."""
        return isinstance(self.fs, pafs.LocalFileSystem)

    def sibling(self, prefix: str) -> Folder:
        """The folder `<parent>/<prefix><name>` beside this one."""
        path, _, name = self.path.rpartition("/")
        url = self.url.rpartition("/")[0]
        return Folder(self.fs, f"{path}/{prefix}{name}", f"{url}/{prefix}{name}")

    def files(self, under: str = "") -> list[str]:
        """Sorted paths of all files below the folder or below its subfolder `under`."""
        base = f"{self.path}/{under}".rstrip("/")
        selector = pafs.FileSelector(base, recursive=True, allow_not_found=True)
        return sorted(f.path for f in self.fs.get_file_info(selector) if f.type == pafs.FileType.File)

    def read_json(self, name: str) -> Any | None:
        """The content of a JSON file; None when the file is missing or cut off."""
        path = f"{self.path}/{name}"
        if self.fs.get_file_info(path).type != pafs.FileType.File:
            return None
        with self.fs.open_input_stream(path) as stream:
            try:
                return json.loads(stream.read())
            except ValueError:
                return None

    def write_json(self, name: str, content: Any) -> None:
        """Write a JSON file, indented for people."""
        path = f"{self.path}/{name}"
        self.fs.create_dir(path.rpartition("/")[0], recursive=True)
        with self.fs.open_output_stream(path) as stream:
            stream.write(json.dumps(content, indent=2, allow_nan=False).encode() + b"\n")

    def delete(self) -> None:
        """Remove the folder with all its files, if it exists."""
        if self.fs.get_file_info(self.path).type == pafs.FileType.Directory:
            self.fs.delete_dir(self.path)

    def replace_with(self, new: Folder, last: str) -> None:
        """Replace this folder by `new`.

        A disk takes two renames: a reader sees the old folder, for an instant none, then the new one. An object store
        has no rename: the old objects are deleted and the new ones copied, the file `last` as the last one.
        """
        if self.is_local:
            old = self.sibling("_old_")
            old.delete()
            if self.fs.get_file_info(self.path).type != pafs.FileType.NotFound:
                self.fs.move(self.path, old.path)
            self.fs.move(new.path, self.path)
            old.delete()
            return
        self.delete()
        for path in sorted(new.files(), key=lambda p: (p.endswith(f"/{last}"), p)):
            target = self.path + path.removeprefix(new.path)
            self.fs.create_dir(target.rpartition("/")[0], recursive=True)
            self.fs.copy_file(path, target)
        new.delete()
