"""A past run's users and sums once more: J1, J2 and the cohort by SQL, each metric's sums by `math.fsum`."""

from __future__ import annotations

import math
import string
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, time
from importlib import resources
from itertools import pairwise

import duckdb
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from exp_platform.config.models import Experiment, Metric
from exp_platform.second_opinion.cells import Group
from exp_platform.second_opinion.spine import DAY, Oracle, rows, text

Sums = dict[str, float | list[float]]
# Column -> the letters that are multiplied; y value, x covariate, p pre-period; d, w, q those of a denominator.
REACH = 70  # bits
NAMED = string.ascii_uppercase + string.digits  # covariates that a contract names, and flags of those that are missing
_PLAIN = {"y": "y", "yy": "yy", "yyy": "yyy"}
_RATIO = _PLAIN | {"d": "d", "dd": "dd", "yd": "yd"}


@dataclass(frozen=True)
class Recomputed:
    """One metric's sums by group, and the letters whose sums can differ in their last bits.

    A quantile cap is interpolated, and a missing covariate is filled with a mean: both round. The pipeline adds a
    user's events up to the 70th bit below the largest of all: where some have smaller bits, these are lost. `largest`
    is then the largest number, of which a sum may differ by 2^-60 for each user.
    """

    sums: dict[Group, Sums]
    inexact: frozenset[str]
    largest: float = 0.0

    def slack(self, factors: int, users: float) -> float:
        """The difference that lost bits allow in a sum of products of so many factors."""
        return float(users * self.largest**factors * 2.0**-60) if self.largest else 0.0


def rules_of_users() -> str:
    """The SQL of J1, J2 and the cohort."""
    return resources.files(__package__).joinpath("assignment_exposure.sql").read_text(encoding="utf-8")


def make_users(db: duckdb.DuckDBPyConnection, experiment: Experiment, cutoff: datetime) -> Oracle:
    """Work out the cohort from the events in the connection, and name it as the spine expects it."""
    db.execute(
        """CREATE OR REPLACE TABLE settings AS SELECT make_timestamp($1) AS start_ts, make_timestamp($2) AS end_ts,
        make_timestamp($3) AS cutoff, $4::bigint AS exposure_window_hours, $5 AS assignment_source,
        $6 AS analysis_mode, $7::varchar[] AS dimensions, $8::date[] AS no_assignments,
        $9::date[] AS no_exposures""",
        [
            *map(micros, (experiment.start_ts, experiment.end_ts, cutoff)),
            *(experiment.exposure_window_hours, experiment.assignment_source, experiment.analysis_mode),
            list(experiment.attributes_read),
            *(list(experiment.excluded(what)) for what in ("assignments", "exposures")),
        ],
    )
    db.execute(rules_of_users())
    db.execute(
        """CREATE TABLE dims AS SELECT user_id, dimension || '=' || value AS segment FROM known WHERE place = 1;
        CREATE TABLE events_of_outcomes AS
            SELECT user_id, metric_name, value, epoch_us(outcome_ts) AS t FROM outcomes;
        DROP TABLE outcomes;
        ALTER TABLE events_of_outcomes RENAME TO outcomes;
        CREATE TEMP TABLE people AS SELECT user_id, variant_id, cohort_date, included,
            epoch_us(assignment_time_utc) AS a, epoch_us(anchor_utc) AS c, 0 AS unit_bucket FROM cohort;
        DROP TABLE cohort;
        ALTER TABLE people RENAME TO cohort"""
    )
    lost = tuple(micros(datetime.combine(day, time(), UTC)) for day in experiment.excluded("outcomes"))
    for day in lost:
        db.execute(f"DELETE FROM outcomes WHERE t >= {day} AND t < {day + DAY}")
    return Oracle(db, micros(experiment.end_ts), micros(cutoff), lost, exact=True)


def recompute(oracle: Oracle, metric: Metric) -> Recomputed:
    """The sums of one metric by arm, segment and cohort date, each rounded once."""
    if metric.of_events:
        return Recomputed(_counts(oracle, metric), frozenset())
    base = oracle.analysed(metric)
    fill = _mean_covariate(oracle.db, base)
    joins, columns = _named_covariates(oracle, metric)
    table: pa.Table = oracle.db.sql(
        f"""WITH base AS MATERIALIZED (SELECT * FROM ({base}) {joins}),
        grouped AS (SELECT 'all' AS segment, * FROM base
            UNION ALL SELECT segment, base.* FROM base JOIN dims USING (user_id))
        SELECT variant_id, segment, cohort_date, has, did, mature, y, coalesce(x, {fill!r}) AS x, p, d, w, q
            {"".join(f", {sql} AS {_column(letter)}" for letter, sql in columns.items())}
        FROM grouped ORDER BY ALL"""
    ).to_arrow_table()
    letters = "yxpdwq" + "".join(columns)
    inexact = set("yxpdwq") if metric.cap is not None and metric.cap.quantile is not None else set()
    if any(other.cap is not None and other.cap.quantile is not None for other in metric.covariate_metrics):
        inexact |= {"x"}
    missing = oracle.db.sql(f"SELECT count(*) FROM ({base}) WHERE has AND x IS NULL").fetchall()[0][0]
    inexact |= {"x"} if missing else set()
    found = dict(_sums(table, letters, metric.is_ratio))
    if all(_within_reach(oracle, one) for one in (metric, *metric.covariate_metrics)):
        return Recomputed(found, frozenset(inexact))
    largest = max(float(np.abs(_numbers(table, letter)).max(initial=0.0)) for letter in letters)
    return Recomputed(found, frozenset("yxpdwq"), max(largest, 1e-300))


def _counts(oracle: Oracle, metric: Metric) -> dict[Group, Sums]:
    """The users of an event-level quantile, of whom none has a value of their own: every sum is 0."""
    found = rows(
        oracle.db,
        f"""WITH base AS MATERIALIZED ({oracle.counted(metric)}),
        grouped AS (SELECT 'all' AS segment, * FROM base
            UNION ALL SELECT segment, base.* FROM base JOIN dims USING (user_id))
        SELECT variant_id, segment, cohort_date, count(*) FILTER (has) AS n,
            count(*) - n AS n_null, count(*) FILTER (mature) AS n_mature FROM grouped GROUP BY 1, 2, 3""",
    )
    empty = _Rows({letter: np.zeros(0) for letter in "yxp"}, np.zeros(0, dtype=bool), np.zeros(0, dtype=bool), "x")
    zeros = empty.sums(ratio=False)
    return {
        (row["variant_id"], row["segment"], row["cohort_date"]): {n: row[n] for n in ("n", "n_null", "n_mature")}
        | zeros
        for row in found
    }


def _named_covariates(oracle: Oracle, metric: Metric) -> tuple[str, dict[str, str]]:
    """SQL that joins the values before the assignment that the contract names, and the SQL of each letter's column.

    A missing value counts as 0; where users may have none, a second letter is 1 for those.
    """
    parts = [
        (oracle.capped(other, source, aggregation), aggregation)
        for other in metric.covariate_metrics
        for _, source, aggregation in oracle.parts(other)
    ]
    joins = " ".join(
        f"LEFT JOIN (SELECT user_id, x AS named_{i} FROM ({frame})) USING (user_id)"
        for i, (frame, _) in enumerate(parts)
    )
    columns: dict[str, str] = {}
    for i, (_, aggregation) in enumerate(parts):
        columns[NAMED[len(columns)]] = f"coalesce(named_{i}, 0.0)"
        if aggregation not in ("sum", "count", "any"):
            columns[NAMED[len(columns)]] = f"(named_{i} IS NULL)::double"
    return joins, columns


def _column(letter: str) -> str:
    """The column of a letter; DuckDB takes a capital for a small one."""
    return f"named_letter_{NAMED.index(letter)}" if letter in NAMED else letter


def _within_reach(oracle: Oracle, metric: Metric) -> bool:
    """True when no event value of the metric's sources has a bit below the 70th of the largest."""
    sources = [source for _, source, aggregation in oracle.parts(metric) if aggregation not in ("count", "any")]
    for source in sources:
        query = f"SELECT DISTINCT abs(value) AS v FROM outcomes WHERE metric_name = {text(source)}"
        values = np.asarray(oracle.db.sql(query).fetchnumpy()["v"], dtype=float)
        if len(values) and values.max() > 0:
            lowest = np.ldexp(values, REACH - int(np.frexp(values.max())[1]))
            if (lowest != np.rint(lowest)).any():
                return False
    return True


def _mean_covariate(db: duckdb.DuckDBPyConnection, base: str) -> float:
    known = db.execute(f"SELECT x FROM ({base}) WHERE has AND x IS NOT NULL").fetchnumpy()["x"]
    return math.fsum(known.tolist()) / len(known) if len(known) else 0.0


def _sums(table: pa.Table, letters: str, ratio: bool) -> Iterator[tuple[Group, Sums]]:
    """The counts and sums of each group of rows; the rows of a group stand together."""
    numbers = {letter: _numbers(table, letter) for letter in letters}
    x = ("xw" if ratio else "x") + "".join(letter for letter in letters if letter in NAMED)
    has, did, mature = (table[name].to_numpy() for name in ("has", "did", "mature"))
    keys = list(zip(*(table[name].to_pylist() for name in ("variant_id", "segment", "cohort_date")), strict=True))
    starts = [i for i, key in enumerate(keys) if i == 0 or key != keys[i - 1]]
    for first, last in pairwise([*starts, len(keys)]):
        part = slice(first, last)
        group = _Rows({letter: column[part] for letter, column in numbers.items()}, has[part], did[part], x)
        counts = {"n": int(has[part].sum()), "n_null": int((~has[part]).sum()), "n_mature": int(mature[part].sum())}
        yield keys[first], counts | group.sums(ratio)


def _numbers(table: pa.Table, letter: str) -> NDArray[np.float64]:
    found: NDArray[np.float64] = table[_column(letter)].cast(pa.float64()).fill_null(0.0).to_numpy()
    return found


@dataclass(frozen=True)
class _Rows:
    """The users of one group."""

    numbers: dict[str, NDArray[np.float64]]
    has: NDArray[np.bool_]
    did: NDArray[np.bool_]
    x: str  # letters of the covariates

    def sums(self, ratio: bool) -> Sums:
        """The sums of the products, by the name of their column."""
        x, v = self.x, "ydpq" if ratio else "yp"
        found: Sums = {name: self._sum(letters) for name, letters in (_RATIO if ratio else _PLAIN).items()}
        if ratio:
            found["with_denominator"] = int((self.has & (self.numbers["d"] != 0)).sum())
            found["dx"] = [self._sum(a + "d") for a in x]
        found["x"] = [self._sum(a) for a in x]
        found["xx"] = [self._sum(a + b) for a in x for b in x]
        found["xy"] = [self._sum(a + "y") for a in x]
        found["did_n"] = int(self.did.sum())
        found["did_v"] = [self._sum(a, self.did) for a in v]
        found["did_vv"] = [self._sum(a + b, self.did) for a in v for b in v]
        return found

    def _sum(self, letters: str, who: NDArray[np.bool_] | None = None) -> float:
        product = self.numbers[letters[0]]
        for letter in letters[1:]:
            product = product * self.numbers[letter]
        return math.fsum(product[self.has if who is None else who].tolist())


def micros(moment: datetime) -> int:
    """A moment as whole microseconds since 1970."""
    delta = moment.astimezone(UTC) - datetime(1970, 1, 1, tzinfo=UTC)
    return (delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds
