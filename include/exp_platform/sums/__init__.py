"""The kernels of J5: from the rows of units to sums that are exact in any order. NumPy and Arrow, no session needed.

A row of units passes through this room in this order:

1. `numbers`: the maps of a unit row become one column for each number: `y3` is the value of metric 3, `y3_1` its
   denominator, `x3` its covariate, `c3_0` one that its contract names, `p3` its pre-period.
2. `unit_scales`, `scales`: the cap of each number, and the power of two that brings it within ±1.
3. `unit_groups`: the cells that a row counts in (arm × cohort date × bucket, arm × segment × cohort date), and the
   groups of the statistics that each cell belongs to.
4. `exact_sums`: a number is cut into limbs, multiples of one power of two that add up without rounding.
5. `unit_sums`, `unit_bins`, `histograms`: counts, limbs of each product, and the bins of quantiles, by group.
6. `group_sums`, `statistics_table`: limbs become doubles again, and rows of the statistics and their roll-ups.
`panels`, `panel_sums` do the same for a unit's daily values before assignment, in pairs of days.

Events pass through this room once, each with what its unit is (`event_columns`); each of four kernels takes those that
count in its table. `panel_events` adds them up to the daily values of `panel_sums`, `event_days` to those of
`series_sums`, `calendar_sums` adds them up by day, and `event_bins` counts them by value.

Letters of a product (`metrics/families.py` lists the products): y value, x covariate, p pre-period value; d, w, q are
value, covariate and pre-period value of a ratio's denominator; g is 1 for units in difference-in-differences (p and q
are 0 elsewhere); z is 1 where the covariate is missing. So `xy` is the sum of covariate × value, `v_yp` that of value ×
pre-period value over the units in difference-in-differences.
Counts of a group: n units with a value, n_null without, n_mature whose window has closed, n_x with a covariate, did_n
in difference-in-differences, n_d with a denominator other than 0.
Capitals are the covariates that a contract names beside its metric's own: A to P values, 0 where one is missing, Q to X
1 where one is missing.
"""
