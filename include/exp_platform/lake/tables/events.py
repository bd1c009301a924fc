"""exp: the data that comes in. Columns and meanings are those of the JSON schemas in `exp_platform/schemas`."""

from __future__ import annotations

from exp_platform.lake.tables import names
from exp_platform.lake.tables.declare import COMMON, UNITS, Table
from exp_platform.schemas import contract_columns, load_schema, required_columns


def _contract(dataset: str) -> dict[str, str]:
    required = set(required_columns(dataset))
    return {
        column: f"{kind}!" if column in required else kind
        for column, kind in contract_columns(dataset, optional=True).items()
    }


def _descriptions(dataset: str) -> dict[str, str]:
    return {column: spec["description"] for column, spec in load_schema(dataset)["properties"].items()}


def _events(name: str, kind: str) -> Table:
    dataset = name.removeprefix("exp.")
    contract = _contract(dataset)
    more = {"source_file": "string!", "ingested_at": "timestamptz!"}
    return Table(
        name=name,
        doc=f"Every distinct valid {kind} event of the raw files now present.",
        grain=tuple(contract),
        columns=contract | more,
        descriptions=_descriptions(dataset) | {column: COMMON[column] for column in more},
        engine="spark",
        shows_latest_dt=False,
        partition=UNITS,
        sort=("user_id",),
    )


TABLES = (
    Table(
        name=names.EXPERIMENT_REGISTRY,
        doc="The configuration of each experiment, as it was at the latest run.",
        grain=("experiment_id",),
        columns=_contract("experiment_registry"),
        descriptions=_descriptions("experiment_registry"),
        engine="pyiceberg",
        shows_latest_dt=False,
    ),
    _events(names.ASSIGNMENTS, "assignment"),
    _events(names.EXPOSURES, "exposure"),
    _events(names.OUTCOMES, "outcome"),
    _events(names.ATTRIBUTES, "attribute"),
)
