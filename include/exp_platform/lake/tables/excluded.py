"""gold: the users whom days that can't be used take out of the analysis (J5)."""

from __future__ import annotations

from exp_platform.lake.tables import names
from exp_platform.lake.tables.declare import declare

TABLES = (
    declare(
        names.EXCLUDED_DAYS,
        "J5: how many users each entry of `exclude` in the registry takes out; no row without such an entry.",
        ("experiment_id", "entry", "metric_name"),
        """
        experiment_id  string!
        entry          int!           The entry's place in the list, from 1.
        what           string!        assignments, exposures or outcomes.
        dates          list<string>!  The UTC dates of the entry.
        reason         string!        Why they can't be used.
        decided_by     string!        Who decided so.
        metric_name    string!        The metric that the users leave; `all` for assignments and exposures.
        users          long!          Users that the entry by itself takes out, also where another reason does too.
        of_users       long!          Users from whom it takes them: the validly assigned, for outcomes the included.
        """,
        engine="pyiceberg",
        shows_latest_dt=True,
    ),
)
