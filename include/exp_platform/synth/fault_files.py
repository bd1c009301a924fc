"""Faults of written files: each function damages a share of a dataset's files, or of those of some days."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pyarrow as pa
import pyarrow.parquet as pq

from exp_platform.synth.folder import Folder
from exp_platform.synth.generation import SynthPlan

Days = tuple[int, ...]
FileFault = Callable[[Folder, float, Days, SynthPlan], None]


def _hit(folder: Folder, dataset: str, size: float, days: Days, plan: SynthPlan) -> list[str]:
    """Paths of the files to damage: the dataset's last ones, at least one; with days, the last ones of these days."""
    files = [path for path in folder.files(dataset) if path.endswith(".parquet")]
    if days:
        labels = {f"dt={(plan.experiment.start_ts + timedelta(days=day)).date()}" for day in days}
        files = [path for path in files if labels & set(path.split("/"))]
    return files[len(files) - max(1, round(size * len(files))) :] if files else []


def _rewrite(folder: Folder, paths: list[str], change: Callable[[pa.Table], pa.Table]) -> None:
    for path in paths:
        with folder.fs.open_input_file(path) as source:
            table = pq.ParquetFile(source).read()
        with folder.fs.open_output_stream(path) as target:
            pq.write_table(change(table), target)


def schema_drift(folder: Folder, size: float, days: Days, plan: SynthPlan) -> None:
    """The outcomes have lost their column `value`."""
    _rewrite(folder, _hit(folder, "outcomes", size, days, plan), lambda table: table.drop_columns(["value"]))


def schema_drift_type(folder: Folder, size: float, days: Days, plan: SynthPlan) -> None:
    """The outcomes' column `value` has become text."""

    def change(table: pa.Table) -> pa.Table:
        index = table.column_names.index("value")
        text = pa.array([f"{value} EUR" for value in table["value"].to_pylist()], pa.string())
        return table.set_column(index, "value", text)

    _rewrite(folder, _hit(folder, "outcomes", size, days, plan), change)


def schema_drift_extra(folder: Folder, size: float, days: Days, plan: SynthPlan) -> None:
    """The outcomes have one more column, which the contract allows."""

    def change(table: pa.Table) -> pa.Table:
        return table.append_column("app_version", pa.array(["5.2.0"] * table.num_rows, pa.string()))

    _rewrite(folder, _hit(folder, "outcomes", size, days, plan), change)


def empty_dataset(folder: Folder, size: float, days: Days, plan: SynthPlan) -> None:
    """The exposure files are there, with their columns, and hold no row."""
    _rewrite(folder, _hit(folder, "exposures", size, days, plan), lambda table: table.slice(0, 0))


def corrupt_parquet(folder: Folder, size: float, days: Days, plan: SynthPlan) -> None:
    """Outcome files were cut off in the middle of the upload."""
    for path in _hit(folder, "outcomes", size, days, plan):
        with folder.fs.open_input_file(path) as source:
            content = source.read()
        with folder.fs.open_output_stream(path) as target:
            target.write(content[: len(content) // 2])
