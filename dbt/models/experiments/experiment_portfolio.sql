-- One row per experiment: its latest decision and trust, the primary effect with the interval in force, and the days.
with decided as (
    select *
    from {{ source("gold", "fct_experiment_decision") }}
    where variant_id = 'all'
    qualify row_number() over (partition by experiment_id order by dt desc) = 1
),

-- The arm that stands for the experiment: one with the experiment's decision, of several that with the smallest p.
arm as (
    select latest.*
    from {{ source("gold", "latest_results") }} as latest
    left join decided on decided.experiment_id = latest.experiment_id
    where latest.role = 'primary'
    qualify row_number() over (
        partition by latest.experiment_id
        order by latest.decision = decided.decision desc, latest.p_value_in_force nulls last, latest.variant_id
    ) = 1
),

users as (
    select experiment_id, count(*) filter (where included) as users
    from {{ source("gold", "fct_experiment_cohort") }}
    group by experiment_id
)

select
    experiment.experiment_id,
    experiment.name,
    experiment.owner,
    experiment.status,
    experiment.design,
    cast(experiment.start_ts as date) as first_day,
    decided.dt,
    greatest(
        date_diff('day', experiment.start_ts, least(decided.dt + interval 1 day, experiment.end_ts)), 0
    ) as days,
    cast(date_diff('day', experiment.start_ts, experiment.end_ts) as bigint) as planned_days,
    coalesce(users.users, 0) as users,
    decided.decision,
    decided.trust,
    decided.reasons,
    decided.interval_in_force,
    experiment.primary_metric,
    arm.variant_id,
    arm.status as result_status,
    arm.decision_scale,
    -- An effect that is not to be trusted is not shown where somebody could read it as a win.
    case when decided.trust <> 'not_trusted' then arm.effect end as effect,
    case when decided.trust <> 'not_trusted' then arm.ci_low end as ci_low,
    case when decided.trust <> 'not_trusted' then arm.ci_high end as ci_high,
    arm.mde,
    decided.run_id,
    decided.computed_at
from {{ source("silver", "dim_experiment") }} as experiment
left join decided on decided.experiment_id = experiment.experiment_id
left join arm on arm.experiment_id = experiment.experiment_id
left join users on users.experiment_id = experiment.experiment_id
