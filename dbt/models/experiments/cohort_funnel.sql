-- One row per experiment and arm: from the assigned users, by the reasons that leave some out, to the analysed ones.
with cohort as (
    select
        experiment_id,
        variant_id,
        count(*) as assigned,
        count(*) filter (where exclusion_reason = 'conflicted_assignment') as excluded_conflicted_assignment,
        count(*) filter (where exclusion_reason = 'assignment_outside_window') as excluded_assignment_outside_window,
        count(*) filter (where exclusion_reason = 'multi_variation_exposure') as excluded_multi_variation_exposure,
        count(*) filter (where exclusion_reason = 'not_exposed') as excluded_not_exposed,
        count(*) filter (where included) as analysed
    from {{ source("gold", "fct_experiment_cohort") }}
    group by experiment_id, variant_id
),

mature as (
    select units.experiment_id, units.variant_id, count(*) filter (where units.mature[experiment.primary_metric]) as users
    from {{ source("gold", "fct_experiment_unit_outcomes") }} as units
    join {{ source("silver", "dim_experiment") }} as experiment on experiment.experiment_id = units.experiment_id
    group by units.experiment_id, units.variant_id
)

select
    cohort.experiment_id,
    cohort.variant_id,
    arm.is_control,
    cohort.assigned,
    cohort.excluded_conflicted_assignment,
    cohort.excluded_assignment_outside_window,
    cohort.excluded_multi_variation_exposure,
    cohort.excluded_not_exposed,
    cohort.assigned - cohort.analysed - cohort.excluded_conflicted_assignment
    - cohort.excluded_assignment_outside_window - cohort.excluded_multi_variation_exposure
    - cohort.excluded_not_exposed as excluded_otherwise,
    cohort.analysed,
    coalesce(mature.users, 0) as mature,
    cohort.analysed / cohort.assigned as analysed_share
from cohort
left join {{ source("silver", "dim_experiment_variant") }} as arm
    on arm.experiment_id = cohort.experiment_id and arm.variant_id = cohort.variant_id
left join mature on mature.experiment_id = cohort.experiment_id and mature.variant_id = cohort.variant_id
