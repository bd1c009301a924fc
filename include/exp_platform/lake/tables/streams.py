"""exp: the events of streams, which belong to no single experiment. Columns are those of the JSON schemas."""

from __future__ import annotations

from exp_platform.lake.tables import names
from exp_platform.lake.tables.declare import COMMON, Table
from exp_platform.schemas import load_schema, stream_columns

OWN = {
    "stream": "The stream, by the name of its contract in configs/streams/.",
    "experiment_id": "The experiment, as the log says; events of one that is in no registry wait for it here.",
}
PARTITION = ("stream", "bucket(4, user_id)")


def _events(name: str, dataset: str, sort: tuple[str, ...]) -> Table:
    schema = load_schema(dataset)
    types = stream_columns(dataset, optional=True)
    contract = {column: f"{kind}!" if column in schema["required"] else kind for column, kind in types.items()}
    more = {"source_file": "string!", "ingested_at": "timestamptz!"}
    return Table(
        name=name,
        doc=f"Every distinct valid event of the streams of {dataset}; the experiments that name a stream read it here.",
        grain=("stream", *contract),
        columns={"stream": "string!"} | contract | more,
        descriptions={"stream": OWN["stream"]}
        | {column: OWN.get(column, schema["properties"][column]["description"]) for column in contract}
        | {column: COMMON[column] for column in more},
        engine="spark",
        shows_latest_dt=False,
        partition=PARTITION,
        sort=sort,
    )


# Sorted by what an experiment reads of a stream: its own rows of a log, the names that its metrics or dimensions need.
TABLES = (
    _events(names.STREAM_ASSIGNMENTS, "assignments", ("experiment_id", "user_id")),
    _events(names.STREAM_EXPOSURES, "exposures", ("experiment_id", "user_id")),
    _events(names.STREAM_OUTCOMES, "outcomes", ("metric_name", "user_id")),
    _events(names.STREAM_ATTRIBUTES, "attributes", ("dimension", "user_id")),
)

STREAM_TABLES = tuple(table.name for table in TABLES)
