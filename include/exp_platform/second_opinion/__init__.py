"""The second opinion: published numbers computed once more from the raw files, by other code.

Nothing here is shared with the stages J1 to J5: the rules are written again, in SQL for DuckDB, from their description
alone. `spine` and `assignment_exposure.sql` are those rules, which the tests compare with the pipeline on awkward data;
`events` reads the raw files, `recompute` makes the sums of a metric, `compare` sets them beside what was published,
`check` does so for an experiment's latest run, and `verdict` keeps and reads the outcome.
"""
