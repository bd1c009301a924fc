-- J1, J2, the daily measures and the cohort, written from the specification alone, for DuckDB.
-- Inputs: assignments, exposures, attributes (times as TIMESTAMP, UTC) and one row of settings:
-- start_ts, end_ts, cutoff, exposure_window_hours (null: none), assignment_source, analysis_mode, dimensions (list),
-- no_assignments and no_exposures (lists of UTC dates that can't be used).

-- Duplicates of an event count once, whatever the table holds.
CREATE OR REPLACE TEMP TABLE assignment_event AS
SELECT DISTINCT a.experiment_id, a.user_id, a.variant, a.assignment_ts AS ts, a.unit
FROM assignments a, settings s WHERE s.assignment_source = 'assignments' AND a.assignment_ts < s.cutoff
UNION ALL
SELECT DISTINCT e.experiment_id, e.user_id, e.variant, e.exposure_ts, e.unit
FROM exposures e, settings s WHERE s.assignment_source = 'exposures' AND e.exposure_ts < s.cutoff;

CREATE OR REPLACE TEMP TABLE canonical AS
WITH ranked AS (
    SELECT *, row_number() OVER (PARTITION BY experiment_id, user_id ORDER BY ts, variant, unit) AS place
    FROM assignment_event
), counted AS (
    SELECT experiment_id, user_id, count(*) AS n_events, count(DISTINCT variant) AS n_variants
    FROM assignment_event GROUP BY ALL
)
SELECT r.experiment_id, r.user_id, r.variant AS variant_id, r.ts AS assignment_time_utc,
    c.n_events AS n_assignment_events, c.n_variants, c.n_variants > 1 AS is_conflicted,
    NOT (r.ts >= s.start_ts AND r.ts < s.end_ts) AS is_outside_window,
    c.n_variants = 1 AND r.ts >= s.start_ts AND r.ts < s.end_ts AS is_valid
FROM ranked r JOIN counted c USING (experiment_id, user_id), settings s WHERE r.place = 1;

CREATE OR REPLACE TEMP TABLE seen AS
SELECT DISTINCT e.experiment_id, e.user_id, e.variant, e.exposure_ts, e.unit
FROM exposures e, settings s WHERE e.exposure_ts < s.cutoff;

CREATE OR REPLACE TEMP TABLE event AS
SELECT e.experiment_id, e.user_id, e.variant AS variant_id, e.exposure_ts AS exposure_time_utc, e.unit,
    CAST(NULL AS varchar) AS event_id,  -- these exposures come from a source that maps no id
    CASE
        WHEN list_contains(s.no_exposures, e.exposure_ts::date) THEN 'excluded_date'
        WHEN c.user_id IS NULL OR NOT c.is_valid THEN 'no_valid_assignment'
        WHEN e.variant <> c.variant_id THEN 'variant_mismatch'
        WHEN e.exposure_ts < c.assignment_time_utc THEN 'pre_assignment'
        WHEN e.exposure_ts < s.start_ts OR e.exposure_ts >= s.end_ts THEN 'outside_experiment'
        WHEN e.exposure_ts >= c.assignment_time_utc + to_hours(s.exposure_window_hours) THEN 'outside_exposure_window'
    END AS invalid_reason
FROM seen e LEFT JOIN canonical c USING (experiment_id, user_id), settings s;

-- What flags look at.
CREATE OR REPLACE TEMP TABLE usable AS
SELECT e.* FROM seen e, settings s WHERE NOT list_contains(s.no_exposures, e.exposure_ts::date);

CREATE OR REPLACE TEMP TABLE validated AS
WITH everyone AS (
    SELECT experiment_id, user_id FROM canonical UNION SELECT experiment_id, user_id FROM seen
)
SELECT w.experiment_id, w.user_id, c.variant_id, c.assignment_time_utc, coalesce(c.is_valid, false) AS is_valid_assignment,
    (SELECT count(*) FROM event e WHERE e.experiment_id = w.experiment_id AND e.user_id = w.user_id) AS n_exposures,
    (SELECT count(*) FROM event e WHERE e.experiment_id = w.experiment_id AND e.user_id = w.user_id
        AND invalid_reason IS NULL) AS n_valid_exposures,
    (SELECT min(exposure_time_utc) FROM event e WHERE e.experiment_id = w.experiment_id AND e.user_id = w.user_id)
        AS first_exposure_utc,
    (SELECT variant FROM seen e WHERE e.experiment_id = w.experiment_id AND e.user_id = w.user_id
        ORDER BY exposure_ts, variant LIMIT 1) AS first_exposure_variant_id,
    (SELECT min(exposure_time_utc) FROM event e WHERE e.experiment_id = w.experiment_id AND e.user_id = w.user_id
        AND invalid_reason IS NULL) AS first_valid_exposure_utc,
    EXISTS (FROM usable e WHERE e.experiment_id = w.experiment_id AND e.user_id = w.user_id
        AND e.exposure_ts < c.assignment_time_utc) AS pre_assignment_exposure,
    EXISTS (FROM usable e WHERE e.experiment_id = w.experiment_id AND e.user_id = w.user_id
        AND e.variant <> c.variant_id) AS variant_mismatch,
    (SELECT count(DISTINCT variant) FROM usable e WHERE e.experiment_id = w.experiment_id AND e.user_id = w.user_id) > 1
        AS multi_variation_exposure,
    EXISTS (FROM usable e WHERE e.experiment_id = w.experiment_id AND e.user_id = w.user_id
        AND (e.exposure_ts < s.start_ts OR e.exposure_ts >= s.end_ts
            OR coalesce(e.exposure_ts >= c.assignment_time_utc + to_hours(s.exposure_window_hours), false)))
        AS exposure_outside_window
FROM everyone w LEFT JOIN canonical c USING (experiment_id, user_id), settings s;

CREATE OR REPLACE TEMP TABLE users AS
SELECT *, n_exposures > 0 AND NOT is_valid_assignment AS unassigned_exposure,
    n_valid_exposures > 0 AND NOT multi_variation_exposure AS is_valid_exposed
FROM validated;

-- One row for each contribution of a user to a cell, so that the cells are plain sums.
CREATE OR REPLACE TEMP TABLE daily AS
WITH contribution AS (
    SELECT c.experiment_id, c.variant_id, c.assignment_time_utc::date AS date, 1 AS canonical_assignments,
        c.is_conflicted::int AS conflicted, c.is_valid::int AS assigned, 0 AS unassigned,
        (c.is_valid AND u.is_valid_exposed)::int AS exposed, (c.is_valid AND u.n_exposures > 0)::int AS any_exposure,
        (c.is_valid AND u.pre_assignment_exposure)::int AS pre, (c.is_valid AND u.variant_mismatch)::int AS mismatch,
        (c.is_valid AND u.multi_variation_exposure)::int AS multi,
        (c.is_valid AND u.exposure_outside_window)::int AS outside,
        (c.is_valid AND u.exposure_outside_window AND u.n_valid_exposures = 0)::int AS only_outside
    FROM canonical c JOIN users u USING (experiment_id, user_id)
    UNION ALL
    SELECT experiment_id, first_exposure_variant_id, first_exposure_utc::date, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0
    FROM users WHERE unassigned_exposure
)
SELECT experiment_id, variant_id, date, sum(assigned) AS assigned, sum(exposed) AS exposed,
    sum(any_exposure) AS any_exposure, sum(exposed) / nullif(sum(assigned), 0) AS exposure_rate,
    sum(canonical_assignments) AS canonical_assignments,
    sum(pre) AS pre_assignment_exposure_count, sum(pre) / nullif(sum(assigned), 0) AS pre_assignment_exposure_rate,
    sum(mismatch) AS variant_mismatch_count, sum(mismatch) / nullif(sum(assigned), 0) AS variant_mismatch_rate,
    sum(multi) AS multi_variation_exposure_count, sum(multi) / nullif(sum(assigned), 0) AS multi_variation_exposure_rate,
    sum(outside) AS exposure_outside_window_count, sum(outside) / nullif(sum(assigned), 0) AS exposure_outside_window_rate,
    sum(unassigned) AS unassigned_exposure_count, sum(unassigned) / nullif(sum(assigned), 0) AS unassigned_exposure_rate,
    sum(conflicted) AS conflicted_assignment_count,
    sum(conflicted) / nullif(sum(canonical_assignments), 0) AS conflicted_assignment_rate,
    sum(multi) AS judged_multi_variation_exposure,
    sum((multi = 0 AND mismatch = 1)::int) AS judged_variant_mismatch,
    sum((multi = 0 AND mismatch = 0 AND pre = 1)::int) AS judged_pre_assignment_exposure,
    sum((multi = 0 AND mismatch = 0 AND pre = 0 AND only_outside = 1)::int) AS judged_exposure_outside_window
FROM contribution GROUP BY ALL;

CREATE OR REPLACE TEMP TABLE known AS
SELECT c.experiment_id, c.user_id, a.dimension, a.value,
    row_number() OVER (
        PARTITION BY c.experiment_id, c.user_id, a.dimension ORDER BY a.attribute_ts DESC, a.value DESC
    ) AS place
FROM canonical c JOIN attributes a USING (experiment_id, user_id), settings s
WHERE a.attribute_ts <= c.assignment_time_utc AND list_contains(s.dimensions, a.dimension);

CREATE OR REPLACE TEMP TABLE cohort AS
WITH reasoned AS (
    SELECT c.*, u.first_valid_exposure_utc, s.analysis_mode,
        CASE
            WHEN c.is_conflicted THEN 'conflicted_assignment'
            WHEN c.is_outside_window THEN 'assignment_outside_window'
            WHEN list_contains(s.no_assignments, c.assignment_time_utc::date) THEN 'excluded_date'
            WHEN s.analysis_mode = 'exposed' AND EXISTS (
                SELECT 1 FROM (SELECT unnest(s.no_exposures)::timestamp AS day)
                WHERE day + INTERVAL 1 DAY > c.assignment_time_utc
                    AND day < least(s.end_ts, c.assignment_time_utc + to_hours(s.exposure_window_hours))
                    AND day < coalesce(u.first_valid_exposure_utc, 'infinity'::timestamp)
            ) THEN 'excluded_date'
            WHEN s.analysis_mode = 'exposed' AND u.multi_variation_exposure THEN 'multi_variation_exposure'
            WHEN s.analysis_mode = 'exposed' AND NOT u.is_valid_exposed THEN 'not_exposed'
        END AS exclusion_reason
    FROM canonical c JOIN users u USING (experiment_id, user_id), settings s
), anchored AS (
    SELECT *, CASE WHEN exclusion_reason IS NOT NULL THEN NULL
        WHEN analysis_mode = 'itt' THEN assignment_time_utc ELSE first_valid_exposure_utc END AS anchor_utc
    FROM reasoned
)
SELECT experiment_id, user_id, variant_id, assignment_time_utc, anchor_utc, anchor_utc::date AS cohort_date,
    exclusion_reason IS NULL AS included, exclusion_reason,
    coalesce((SELECT string_agg(dimension || '=' || value, ',' ORDER BY dimension) FROM known k
        WHERE k.place = 1 AND k.experiment_id = a.experiment_id AND k.user_id = a.user_id), '') AS dimensions
FROM anchored a;
