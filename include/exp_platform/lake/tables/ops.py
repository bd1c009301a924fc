"""ops: the platform's own books: claims, manifests, findings, quarantine, files, alerts."""

from __future__ import annotations

from exp_platform.lake.tables import names
from exp_platform.lake.tables.declare import declare

TABLES = (
    declare(
        names.SEALED_PLAN,
        "The analysis plan of each experiment as it was when the data began, and every amendment of it.",
        ("experiment_id", "seal"),
        """
        experiment_id      string!
        seal               int!     0 for the plan at the start; its amendments count from 1.
        plan               string!  The plan as JSON.
        plan_hash          string!  Hash of the plan.
        sealed_at          timestamptz!  When the row was written.
        dt                 date!    As-of date of the run that sealed or amended the plan.
        run_id             string!  The run that sealed or amended the plan.
        started_by         string!  Who started that run, as its claim says: Airflow, run_end_to_end, a stage by hand.
        changes            list<string>!  For amendments each change since the seal before, as `key: from → to`.
        effect_on_verdict  string   For amendments the decisions by the sealed and the amended plan on the same results,
        |                           as of the first decision after it.
        """,
        engine="pyiceberg",
        shows_latest_dt=False,
    ),
    declare(
        names.RUN_CLAIM,
        "The run that may publish for each experiment.",
        ("experiment_id",),
        """
        experiment_id  string!
        run_id         string!       The run that holds the claim.
        dt             date!
        attempt        int!          How often that run has claimed in a row, from 1.
        claimed_at     timestamptz!  When it claimed.
        released_at    timestamptz   When it said that it was done; null while it may be at work.
        started_by     string!       What started it: job, run_end_to_end, Airflow or maintenance.
        """,
        engine="pyiceberg",
        shows_latest_dt=False,
    ),
    declare(
        names.RUN_MANIFEST,
        "The snapshot that each stage of each run read and published.",
        ("experiment_id", "run_id", "stage", "table", "role"),
        """
        experiment_id  string!
        run_id         string!  The run.
        dt             date!
        stage          string!
        table          string!  The table, or `*` where the stage failed before it came to one.
        role           string!  read or published.
        snapshot_id    long     Iceberg snapshot that was read or published.
        rows           long     Rows of the experiment in it.
        seconds        double   Seconds that the publication took.
        status         string!  ok, or the word for the error that ended the stage.
        error          string   The error's sentence.
        config_hash    string!
        code_version   string!
        at             timestamptz!  When the stage began.
        """,
        engine="pyiceberg",
        shows_latest_dt=False,
    ),
    declare(
        names.CONTRACT_RESULTS,
        "The outcome of every expectation on every table that a run wrote.",
        ("experiment_id", "run_id", "table", "expectation"),
        """
        experiment_id       string!
        run_id              string!  The run.
        dt                  date!
        stage               string!
        table               string!  The table that was audited.
        expectation         string!  The rule, as a sentence.
        success             boolean! True where the rule holds.
        severity            string!  critical (a failure blocks the publication) or warning (it is reported).
        unexpected_count    long     Rows that break the rule.
        unexpected_percent  double   Those rows in percent of all rows.
        sample              list<string>!  Some of the offending keys or values.
        detail              string!  What was found, as a sentence.
        at                  timestamptz!  When the stage began.
        """,
        engine="pyiceberg",
        shows_latest_dt=False,
    ),
    declare(
        names.QUARANTINE,
        "Every row that was refused, and the rule that it broke.",
        ("experiment_id", "dataset", "source_file", "row_hash", "rule"),
        """
        experiment_id  string!
        dataset        string!
        source_file    string!  The raw file that holds the row.
        row_hash       string!  SHA-256 of the row as JSON.
        rule           string!  The rule that the row broke, for example null_user_id.
        row            string!  The row as JSON, with what could not be parsed as it was written.
        first_run_id   string!  The run that saw it first.
        first_seen_at  timestamptz!  When that was.
        count          long!    How often the file holds the row.
        """,
        engine="spark",
        shows_latest_dt=False,
    ),
    declare(
        names.INGESTED_FILES,
        "Every raw file that has been read.",
        ("experiment_id", "dataset", "path"),
        """
        experiment_id  string!
        dataset        string!
        path           string!  The whole path or URL.
        size           long!    Bytes.
        fingerprint    string!  Time of modification in nanoseconds: it changes when the file is written again.
        rows           long!    Rows of the file.
        refused        long!    Those of them that went to quarantine.
        run_id         string!  The run that read it.
        ingested_at    timestamptz!  When it was read.
        """,
        engine="pyiceberg",
        shows_latest_dt=False,
    ),
    declare(
        names.ALERTS,
        "Every alert, sent or not.",
        ("experiment_id", "dt", "kind", "subject", "verdict_hash"),
        """
        experiment_id  string!
        dt             date!
        kind           string!  guardrail_failed, srm_failed, quality_failed, contract_broken, run_crashed,
        |                       config_refused or second_opinion_differs; digest for the daily message on healthy
        |                       experiments.
        subject        string!  Metric and arm, check, or stage.
        verdict_hash   string!  Hash of what the message says: one message, one alert.
        state          string!  pending, sent or lost.
        attempts       int!     How often it was tried.
        payload        string!  The message as JSON.
        last_error     string   Why it did not arrive at the last try.
        run_id         string!  The run that found it.
        at             timestamptz!  When it was written down.
        """,
        engine="pyiceberg",
        shows_latest_dt=False,
    ),
    declare(
        names.METRIC_VERSIONS,
        "The definition behind each version of a metric, as it was when the version was first used.",
        ("metric_name", "version"),
        """
        metric_name    string!
        version        int!     The version that the contract names.
        fingerprint    string!  Hash of the definition: another definition under the same version is refused.
        definition     string!  Keys of the contract that change results, as JSON; keys at their default are left out.
        first_used_at  timestamptz!  When a run first used the version.
        """,
        engine="pyiceberg",
        shows_latest_dt=False,
        partition=(),
    ),
    declare(
        names.CONFIGURATIONS,
        "The configuration behind each config_hash, as it was when a run first used it.",
        ("experiment_id", "config_hash"),
        """
        experiment_id  string!
        config_hash    string!
        configuration  string!  Experiment, metrics, policy, tolerances, thresholds and streams as JSON.
        first_run_id   string!  The run that used it first.
        first_used_at  timestamptz!  When that was.
        """,
        engine="pyiceberg",
        shows_latest_dt=False,
    ),
    declare(
        names.SECOND_OPINIONS,
        "Published numbers of a run against those of a second implementation, made from the raw files.",
        ("experiment_id", "run_id", "metric_name", "variant_id"),
        """
        experiment_id  string!
        run_id         string!  The run whose numbers were checked.
        dt             date!
        metric_name    string!  The metric, or `*` where no number of the run could be checked.
        variant_id     string!  The arm, or `*`.
        compared       long!    Numbers that were computed again.
        differ         long!    Those of them that came out otherwise.
        not_checked    long!    Published numbers of the metric and arm of which there is no second version.
        detail         string!  The first differences, or why nothing could be checked.
        code_version   string!  The code that checked.
        checked_at     timestamptz!  When the numbers were checked.
        """,
        engine="pyiceberg",
        shows_latest_dt=False,
    ),
)
