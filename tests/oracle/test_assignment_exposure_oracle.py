"""J1, J2, the daily measures and the cohort against the same rules written apart, in DuckDB SQL, row for row."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from exp_platform.lake.tables import TABLES
from exp_platform.second_opinion.recompute import rules_of_users

pytestmark = pytest.mark.spark

SQL = rules_of_users()
HOUR = 3_600_000_000
DAY = 24 * HOUR


def micros(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1_000_000


@dataclass(frozen=True)
class Settings:
    """The settings that both implementations get; times are in epoch microseconds."""

    start: int = micros("2026-01-05")
    end: int = micros("2026-01-09")
    cutoff: int = micros("2026-01-11")
    hours: int | None = 24
    source: str = "assignments"
    mode: str = "exposed"
    dimensions: tuple[str, ...] = ("platform", "country")
    no_assignments: tuple[date, ...] = ()
    no_exposures: tuple[date, ...] = ()


COMPARED = {
    "canonical": "silver.fact_assignment_canonical",
    "event": "silver.fact_exposure",
    "users": "silver.int_experiment_exposure_validation",
    "daily": "gold.fct_experiment_quality_metrics_daily",
    "cohort": "gold.fct_experiment_cohort",
}
TIMES = {"assignments": "assignment_ts", "exposures": "exposure_ts", "attributes": "attribute_ts"}
Events = dict[str, pa.Table]


# --- both implementations ------------------------------------------------------------------------------------------


def by_duckdb(events: Events, rules: Settings) -> dict[str, set[tuple[Any, ...]]]:
    with duckdb.connect() as db:
        db.execute("SET TimeZone = 'UTC'; SET threads = 1")
        for name, table in events.items():
            db.register(f"raw_{name}", table)
            time = TIMES[name]
            db.execute(f"CREATE TABLE {name} AS SELECT * REPLACE (make_timestamp({time}) AS {time}) FROM raw_{name}")
        db.execute(
            """CREATE TABLE settings AS SELECT make_timestamp($1) AS start_ts, make_timestamp($2) AS end_ts,
            make_timestamp($3) AS cutoff, $4::bigint AS exposure_window_hours, $5 AS assignment_source,
            $6 AS analysis_mode, $7::varchar[] AS dimensions, $8::date[] AS no_assignments,
            $9::date[] AS no_exposures""",
            [
                *(rules.start, rules.end, rules.cutoff, rules.hours, rules.source, rules.mode, list(rules.dimensions)),
                *(list(rules.no_assignments), list(rules.no_exposures)),
            ],
        )
        db.execute(SQL)
        found = {}
        for name, table in COMPARED.items():
            columns = ", ".join(_duckdb_column(name, c, kind) for c, kind in TABLES[table].types.items())
            found[name] = _rows(db.execute(f"SELECT {columns} FROM {name}").fetchall())
        return found


def _duckdb_column(name: str, column: str, kind: str) -> str:
    if (name, column) == ("event", "is_valid"):
        return "invalid_reason IS NULL"
    return f"epoch_us({column})" if kind == "timestamptz" else column


def by_spark(spark: Any, events: Events, rules: Settings) -> dict[str, set[tuple[Any, ...]]]:
    from pyspark.sql import functions as F

    from exp_platform.transforms.assignments import canonical_assignments
    from exp_platform.transforms.cohort import Unusable, experiment_cohort
    from exp_platform.transforms.exposures import exposure_events, judge_exposures, validate_users
    from exp_platform.transforms.quality_daily import daily_quality

    frames = {
        name: spark.createDataFrame(table.to_pylist(), _spark_schema(table)).withColumn(
            TIMES[name], F.timestamp_micros(TIMES[name])
        )
        for name, table in events.items()
    }
    # The lake holds distinct events; these frames stand in for it.
    assignments, exposures = (frames[name].distinct().persist() for name in ("assignments", "exposures"))
    window = {
        "start_ts": _time(rules.start),
        "end_ts": _time(rules.end),
        "cutoff": _time(rules.cutoff),
    }
    derived = rules.source == "exposures"
    canonical = canonical_assignments(
        exposures if derived else assignments, **window, time_column=TIMES[rules.source]
    ).persist()
    judged = judge_exposures(
        exposures, canonical, **window, exposure_window_hours=rules.hours, excluded=rules.no_exposures
    )
    users = validate_users(judged, canonical).persist()
    cohort = experiment_cohort(
        canonical,
        users,
        analysis_mode=rules.mode,
        attributes=frames["attributes"],
        dimensions=rules.dimensions,
        unusable=Unusable(window["end_ts"], rules.hours, rules.no_assignments, rules.no_exposures),
    )
    results = (canonical, exposure_events(judged), users, daily_quality(canonical, users), cohort)
    found = {}
    for (name, table), frame in zip(COMPARED.items(), results, strict=True):
        columns = [_spark_column(c, kind) for c, kind in TABLES[table].types.items()]
        found[name] = _rows([tuple(row) for row in frame.select(*columns).collect()])
    for frame in (assignments, exposures, canonical, users):
        frame.unpersist()
    return found


def _spark_column(column: str, kind: str) -> Any:
    from pyspark.sql import functions as F

    if kind == "timestamptz":
        return F.unix_micros(column)
    if kind == "map<string,string>":
        entries = F.array_sort(F.map_entries(column))
        return F.array_join(F.transform(entries, lambda e: F.concat(e["key"], F.lit("="), e["value"])), ",")
    return F.col(column)


def _spark_schema(table: pa.Table) -> str:
    return ", ".join(f"{f.name} {'bigint' if pa.types.is_int64(f.type) else 'string'}" for f in table.schema)


def _time(us: int) -> datetime:
    return datetime.fromtimestamp(us / 1e6, UTC)


def _rows(rows: list[tuple[Any, ...]]) -> set[tuple[Any, ...]]:
    found = set(rows)
    assert len(found) == len(rows), "the grain is not unique"
    return found


def assert_agree(spark: Any, events: Events, rules: Settings) -> dict[str, set[tuple[Any, ...]]]:
    expected, found = by_duckdb(events, rules), by_spark(spark, events, rules)
    for name, rows in expected.items():
        missing, extra = rows - found[name], found[name] - rows
        assert not missing, (
            f"{name} under {rules}: oracle has {sorted(map(str, missing))[:3]}, Spark {sorted(map(str, extra))[:3]}"
        )
        assert not extra, f"{name} under {rules}: Spark alone has {sorted(map(str, extra))[:3]}"
    return expected


RULES = [
    Settings(),
    Settings(hours=None, mode="itt", dimensions=()),
    Settings(source="exposures"),
    Settings(cutoff=micros("2026-01-07"), hours=36, mode="itt"),
    Settings(no_exposures=(date(2026, 1, 6),)),
    Settings(hours=None, no_assignments=(date(2026, 1, 5),), no_exposures=(date(2026, 1, 7), date(2026, 1, 8))),
    Settings(mode="itt", no_assignments=(date(2026, 1, 6),), no_exposures=(date(2026, 1, 5),)),
]


# --- small tables around every border ------------------------------------------------------------------------------

BASE = Settings()
# Borders of every rule, a microsecond to either side, and midnights; few instants, so that ties are common.
INSTANTS = sorted(
    {
        border + shift
        for border in (
            BASE.start,
            BASE.end,
            BASE.cutoff,
            BASE.start + DAY,
            BASE.start + 12 * HOUR,
            BASE.start + 2 * DAY,
        )
        for shift in (0, -1, 1, 24 * HOUR, 24 * HOUR - 1, 36 * HOUR)
    }
)
USERS = ("u1", "u2", "u3")
VARIANTS = ("control", "treatment", "Treatment")
_instant = st.sampled_from(INSTANTS)
_assignment = st.tuples(st.sampled_from(USERS), st.sampled_from(VARIANTS), _instant, st.just("user"))
_exposure = st.tuples(st.sampled_from(USERS), st.sampled_from(VARIANTS), _instant, st.sampled_from(("user", "session")))
_attribute = st.tuples(
    st.sampled_from(USERS), st.sampled_from(("country", "platform", "secret")), st.sampled_from("abc"), _instant
)
_experiment = st.tuples(
    st.lists(_assignment, max_size=5), st.lists(_exposure, max_size=6), st.lists(_attribute, max_size=6)
)
COLUMNS = {
    "assignments": ("user_id", "variant", "assignment_ts", "unit"),
    "exposures": ("user_id", "variant", "exposure_ts", "unit"),
    "attributes": ("user_id", "dimension", "value", "attribute_ts"),
}


def to_tables(experiments: list[Any]) -> Events:
    """Many tiny experiments side by side: each is a case of its own, one job works out all."""
    tables = {}
    for place, (name, columns) in enumerate(COLUMNS.items()):
        rows = [(f"exp_{i}", *row) for i, case in enumerate(experiments) for row in case[place]]
        names = ("experiment_id", *columns)
        types = [pa.int64() if c == TIMES[name] else pa.string() for c in names]
        cells = list(zip(*rows, strict=True)) or [()] * len(names)
        tables[name] = pa.table({c: pa.array(v, t) for c, v, t in zip(names, cells, types, strict=True)})
    return tables


@settings(max_examples=4, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(experiments=st.lists(_experiment, min_size=60, max_size=90), rules=st.sampled_from(RULES[:4]))
def test_small_tables_around_every_border_agree(spark: Any, experiments: list[Any], rules: Settings) -> None:
    assert_agree(spark, to_tables(experiments), rules)


@pytest.mark.parametrize("rules", RULES[4:], ids=["exposures, exposed", "both, exposed", "both, itt"])
@settings(max_examples=3, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(experiments=st.lists(_experiment, min_size=60, max_size=90))
def test_small_tables_with_excluded_days_agree(spark: Any, experiments: list[Any], rules: Settings) -> None:
    assert_agree(spark, to_tables(experiments), rules)


def test_nothing_at_all_agrees(spark: Any) -> None:
    expected = assert_agree(spark, to_tables([((), (), ())]), BASE)
    assert expected == {name: set() for name in COMPARED}


# --- generated data with every fault of the rows -------------------------------------------------------------------

FAULTS = (
    "broken_exposure_logging",
    "pre_assignment_exposure",
    "variant_mismatch",
    "multi_variation_exposure",
    "late_exposure",
    "duplicate_events",
    "timezone_shift",
    "out_of_order_timestamps",
)


@pytest.fixture(scope="module")
def generated(spark: Any, session_project: Any) -> Events:
    """600 users with all faults at once; some assigned twice."""
    from exp_platform.config.models import Fault
    from exp_platform.schemas import contract_columns
    from exp_platform.synth.frames import draw
    from exp_platform.synth.generate import plan_of
    from exp_platform.synth.planted_faults import apply_to_rows

    plan = plan_of(session_project, "exp_add_cart_002", faults=[Fault(name=name) for name in FAULTS])
    plan = replace(plan, scenario=plan.scenario.model_copy(update={"n_users": 600}))
    frames = apply_to_rows(draw(spark, plan).frames, plan).present()
    again = frames["assignments"].where("hash(user_id) % 20 = 0")
    switched = again.selectExpr("* except (variant)", "if(variant = 'control', 'treatment', 'control') as variant")
    frames["assignments"] = frames["assignments"].unionByName(switched)
    tables = {}
    for name, time in TIMES.items():
        columns = [c if c != time else f"unix_micros({c}) as {c}" for c in contract_columns(name)]
        tables[name] = frames[name].selectExpr(*columns).toArrow()
    return tables


@pytest.mark.parametrize(
    "rules",
    [
        Settings(start=micros("2026-01-12"), end=micros("2026-02-02"), cutoff=micros("2026-02-03"), hours=48),
        Settings(
            start=micros("2026-01-12"), end=micros("2026-01-30"), cutoff=micros("2026-01-26"), hours=None, mode="itt"
        ),
    ],
    ids=["whole experiment, exposed", "cut short, itt"],
)
def test_generated_data_with_faults_agree(spark: Any, generated: Events, rules: Settings) -> None:
    expected = assert_agree(spark, generated, rules)
    assert {row[-1] for row in expected["event"]} >= {None, "no_valid_assignment", "variant_mismatch", "pre_assignment"}
