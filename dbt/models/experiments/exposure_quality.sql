-- One row per experiment and assignment date: how many users were assigned and exposed, and the day's worst verdict.
with measured as (
    select
        experiment_id,
        date,
        sum(assigned) as assigned,
        sum(exposed) as exposed,
        sum(any_exposure) as any_exposure,
        sum(pre_assignment_exposure_count) as pre_assignment_exposure,
        sum(variant_mismatch_count) as variant_mismatch,
        sum(multi_variation_exposure_count) as multi_variation_exposure,
        sum(unassigned_exposure_count) as unassigned_exposure,
        sum(conflicted_assignment_count) as conflicted_assignment
    from {{ source("gold", "fct_experiment_quality_metrics_daily") }}
    group by experiment_id, date
),

judged as (
    select
        experiment_id,
        date,
        count(*) as checks,
        case
            when bool_or(status = 'fail') then 'fail'
            when bool_or(status = 'warn') then 'warn'
            else 'ok'
        end as status,
        coalesce(list(check_name order by check_name) filter (where status <> 'ok'), []) as not_ok
    from {{ source("gold", "fct_experiment_exposure_quality_daily") }}
    group by experiment_id, date
)

select
    measured.experiment_id,
    measured.date,
    cast(measured.assigned as bigint) as assigned,
    cast(measured.exposed as bigint) as exposed,
    cast(measured.any_exposure as bigint) as any_exposure,
    measured.exposed / nullif(measured.assigned, 0) as exposure_rate,
    cast(measured.pre_assignment_exposure as bigint) as pre_assignment_exposure,
    cast(measured.variant_mismatch as bigint) as variant_mismatch,
    cast(measured.multi_variation_exposure as bigint) as multi_variation_exposure,
    cast(measured.unassigned_exposure as bigint) as unassigned_exposure,
    cast(measured.conflicted_assignment as bigint) as conflicted_assignment,
    coalesce(judged.checks, 0) as checks,
    coalesce(judged.status, 'not_judged') as status,
    coalesce(judged.not_ok, []) as not_ok
from measured
left join judged on judged.experiment_id = measured.experiment_id and judged.date = measured.date
