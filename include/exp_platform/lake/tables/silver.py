"""silver: the experiments and their arms, and the canonical facts about each user (J1, J2)."""

from __future__ import annotations

from exp_platform.lake.tables import names
from exp_platform.lake.tables.declare import UNITS, declare

TABLES = (
    declare(
        names.DIM_EXPERIMENT,
        "Governance view of the registry.",
        ("experiment_id",),
        """
        experiment_id      string!
        name               string!       A name that people use.
        owner              string!       The team that answers for the experiment.
        hypothesis         string!       What the team believes, and why.
        unit               string!       The unit of randomisation; always `user` in this version.
        status             string!       draft, running, stopped or concluded.
        design             string!       randomized, or rollout where users were not dealt to the arms by chance.
        start_ts           timestamptz!  First instant of the experiment window.
        end_ts             timestamptz!  First instant after the experiment window.
        analysis_mode      string!       itt (everyone assigned is analysed) or exposed (everyone exposed).
        assignment_source  string!       assignments, or exposures where no assignment log exists.
        primary_metric     string        The metric that decides; null: none, a person decides.
        config_hash        string!
        updated_at         timestamptz!
        """,
        engine="pyiceberg",
        shows_latest_dt=False,
    ),
    declare(
        names.DIM_EXPERIMENT_VARIANT,
        "The arms of each experiment; expected_allocation sums to 1, or is null in all arms of a rollout.",
        ("experiment_id", "variant_id"),
        """
        experiment_id        string!
        variant_id           string!
        is_control           boolean!      True for the arm that the others are compared with.
        expected_allocation  double        Promised share of the users, a fraction from 0 to 1; null: none is promised.
        updated_at           timestamptz!
        """,
        engine="pyiceberg",
        shows_latest_dt=False,
    ),
    declare(
        names.FACT_ASSIGNMENT,
        "J1: the one assignment of each user.",
        ("experiment_id", "user_id"),
        """
        experiment_id        string!
        user_id              string!
        variant_id           string!       The arm of the earliest assignment event; at equal times the smallest name.
        assignment_time_utc  timestamptz!  Time of the earliest assignment event.
        n_assignment_events  long!         Distinct assignment events of the user.
        n_variants           long!         Distinct arms among them.
        is_conflicted        boolean!      True where the events name more than one arm.
        is_outside_window    boolean!      True where the assignment is not in [start_ts, end_ts).
        is_valid             boolean!      True where it is neither conflicted nor outside the window.
        """,
        engine="spark",
        shows_latest_dt=True,
        partition=UNITS,
        sort=("user_id",),
    ),
    declare(
        names.FACT_EXPOSURE,
        "J2: every distinct exposure event, and why it does not count if it does not.",
        ("experiment_id", "user_id", "variant_id", "exposure_time_utc", "unit", "event_id"),
        """
        experiment_id      string!
        user_id            string!
        variant_id         string!       The arm that the user saw.
        exposure_time_utc  timestamptz!  When the user saw it.
        unit               string!       How the exposure was logged: user or session.
        event_id           string        The event's own id, where a source maps one.
        is_valid           boolean!      True where the exposure counts.
        invalid_reason     string        The first that applies: excluded_date, no_valid_assignment, variant_mismatch,
        |                                pre_assignment, outside_experiment, outside_exposure_window; null where the
        |                                exposure counts.
        """,
        engine="spark",
        shows_latest_dt=True,
        partition=UNITS,
        sort=("user_id",),
    ),
    declare(
        names.EXPOSURE_VALIDATION,
        "J2: the exposures of each assigned or exposed user, against the user's assignment.",
        ("experiment_id", "user_id"),
        """
        experiment_id              string!
        user_id                    string!
        variant_id                 string       The assigned arm; null without an assignment.
        assignment_time_utc        timestamptz  Time of the user's assignment; null without one.
        n_exposures                long!        Distinct exposure events.
        n_valid_exposures          long!        Those of them that count.
        first_exposure_utc         timestamptz  Time of the first exposure event, valid or not.
        first_exposure_variant_id  string       Its arm; at equal times the smallest name.
        first_valid_exposure_utc   timestamptz  Time of the first exposure that counts.
        is_valid_assignment        boolean!     True where the user has an assignment and it is valid.
        pre_assignment_exposure    boolean!     True where an exposure is older than the assignment.
        variant_mismatch           boolean!     True where an exposure shows another arm than the assigned one.
        multi_variation_exposure   boolean!     True where the exposures show more than one arm.
        exposure_outside_window    boolean!     True where an exposure is outside the experiment or the exposure window.
        unassigned_exposure        boolean!     True where there are exposures but no valid assignment.
        is_valid_exposed           boolean!     True with a valid exposure and without multi_variation_exposure.
        """,
        engine="spark",
        shows_latest_dt=True,
        partition=UNITS,
        sort=("user_id",),
    ),
)
