-- Long form: one row per experiment, dt, metric, method, arm, segment and measure, with the measure's intervals.
{%- set measures = [
    ("control_mean", "control_mean", none, none),
    ("treatment_mean", "treatment_mean", none, none),
    ("effect_abs", "effect_abs", "effect_abs_ci", "anytime_ci"),
    ("effect_rel", "effect_rel", "effect_rel_ci", "anytime_rel_ci"),
] %}
with measured as (
{%- for measure, column, fixed, anytime in measures %}
    select
        experiment_id, dt, metric_name, method, variant_id, segment,
        '{{ measure }}' as measure,
        {{ column }} as value,
        {{ fixed ~ "_low" if fixed else "cast(null as double)" }} as ci_low,
        {{ fixed ~ "_high" if fixed else "cast(null as double)" }} as ci_high,
        {{ anytime ~ "_low" if anytime else "cast(null as double)" }} as anytime_ci_low,
        {{ anytime ~ "_high" if anytime else "cast(null as double)" }} as anytime_ci_high,
        {{ {"effect_abs": "p_value", "effect_rel": "p_value_rel"}.get(measure, "cast(null as double)") }} as p_value,
        control_n + treatment_n as users,
        is_deciding, status, reason, run_id, computed_at
    from {{ source("exp", "analysis_results") }}
    {%- if not loop.last %}
    union all
    {%- endif %}
{%- endfor %}
)

select * from measured
