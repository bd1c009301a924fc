"""Files that are broken after they were written."""

from pathlib import Path

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq
import pytest

from exp_platform.config.load import Project
from exp_platform.synth import fault_files
from exp_platform.synth.folder import Folder
from exp_platform.synth.generate import plan_of
from exp_platform.synth.generation import SynthPlan


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """Four days of two outcomes and two exposures each."""
    for day in ("05", "06", "07", "08"):
        for dataset in ("outcomes", "exposures"):
            path = tmp_path / "raw" / dataset / f"dt=2026-01-{day}"
            path.mkdir(parents=True)
            pq.write_table(pa.table({"user_id": ["a", "b"], "value": [1.0, 2.0]}), path / "part.parquet")
    return Folder(pafs.LocalFileSystem(), str(tmp_path / "raw"), str(tmp_path / "raw"))


@pytest.fixture
def plan(project: Project) -> SynthPlan:
    """Starts on 5 January 2026."""
    return plan_of(project, "exp_checkout_button_001")


def _tables(folder: Folder, dataset: str) -> list[pa.Table]:
    return [pq.ParquetFile(path).read() for path in folder.files(dataset)]


def test_a_column_disappears_from_the_last_files_on(folder: Folder, plan: SynthPlan) -> None:
    fault_files.schema_drift(folder, 0.5, (), plan)
    assert [t.column_names for t in _tables(folder, "outcomes")] == [["user_id", "value"]] * 2 + [["user_id"]] * 2


def test_a_number_becomes_text_on_the_days_that_are_named(folder: Folder, plan: SynthPlan) -> None:
    fault_files.schema_drift_type(folder, 1.0, (1,), plan)
    assert [str(t.schema.field("value").type) for t in _tables(folder, "outcomes")] == [
        "double",
        "string",
        "double",
        "double",
    ]


def test_a_column_too_many_leaves_the_others_alone(folder: Folder, plan: SynthPlan) -> None:
    fault_files.schema_drift_extra(folder, 1.0, (), plan)
    assert all(t.column_names == ["user_id", "value", "app_version"] for t in _tables(folder, "outcomes"))


def test_an_empty_dataset_has_files_with_columns_and_no_rows(folder: Folder, plan: SynthPlan) -> None:
    fault_files.empty_dataset(folder, 1.0, (), plan)
    assert [(t.num_rows, t.num_columns) for t in _tables(folder, "exposures")] == [(0, 2)] * 4


def test_at_least_one_file_is_corrupt_and_the_others_can_be_read(folder: Folder, plan: SynthPlan) -> None:
    fault_files.corrupt_parquet(folder, 0.01, (), plan)
    *whole, broken = folder.files("outcomes")
    assert [pq.ParquetFile(path).metadata.num_rows for path in whole] == [2, 2, 2]
    with pytest.raises(pa.ArrowInvalid):
        pq.ParquetFile(broken)
