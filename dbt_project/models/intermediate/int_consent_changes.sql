{{ config(pre_hook='{{ set_planner_options() }}') }}

{% set rates = ["conversion", "choice_rate", "opt_in_rate", "consent_rate", "opt_out_rate"] %}

with companies as (

    select
        api_key,
        weighting
    from {{ ref('int_company_weighting') }}

),

daily_events as (

    select * from {{ ref('int_daily__events') }}

),

compared_periods as (

    select * from {{ ref('int_compared_periods') }}

),

period_events as (

    select
        periods.days,
        periods.is_previous,
        daily_events.*
    from daily_events
    inner join compared_periods as periods on daily_events.day between periods.first_day and periods.last_day

),

days_with_events as (

    select
        coalesce(api_key, {{ all_companies() }}) as api_key,
        days,
        is_previous,
        count(distinct day) as n_days
    from period_events
    where n > 0
    group by grouping sets ((api_key, days, is_previous), (days, is_previous))

),

estimates as (

    {{ recommended_estimates(
        "period_events", "companies", rates, periods="compared_periods", keys=["days", "is_previous"]
    ) | indent }}

),

dated as (

    select
        estimates.*,
        periods.first_day,
        periods.last_day,
        coalesce(days_with_events.n_days, 0) as n_days
    from estimates
    inner join compared_periods as periods
        on estimates.days = periods.days and estimates.is_previous = periods.is_previous
    left join days_with_events
        on
            estimates.api_key = days_with_events.api_key
            and estimates.days = days_with_events.days
            and estimates.is_previous = days_with_events.is_previous

),

paired as (

    select
        latest.api_key,
        latest.scope,
        latest.metric,
        latest.days,
        latest.extrapolation,
        {%- for column in ["first_day", "last_day", "n_days", "n", "estimate", "process_lower", "process_upper"] %}
            latest.{{ column }},
            previous.{{ column }} as previous_{{ column }},
        {%- endfor %}
        -- Weekdays differ, so periods with other days do not compare.
        case
            when latest.n_days < latest.days or previous.n_days < previous.days then 'incomplete_days'
            when latest.is_above_one or previous.is_above_one then 'above_one'
            else coalesce(latest.null_because, previous.null_because)
        end as null_because
    from dated as latest
    inner join dated as previous
        on
            latest.api_key = previous.api_key
            and latest.scope = previous.scope
            and latest.metric = previous.metric
            and latest.days = previous.days
    where not latest.is_previous and previous.is_previous

),

differences as (

    select
        *,
        estimate - previous_estimate as difference,
        {%- for bound in ["lower", "upper"] %}
            {{ difference_bound(
                bound,
                ["estimate", "process_lower", "process_upper"],
                ["previous_estimate", "previous_process_lower", "previous_process_upper"]
            ) | indent(8) }} as difference_{{ bound }},
        {%- endfor %}
        {{ difference_deviations(
            ["estimate", "process_lower", "process_upper"],
            ["previous_estimate", "previous_process_lower", "previous_process_upper"]
        ) | indent(8) }} as deviations
    from paired
    where null_because is null

),

tested as (

    select
        *,
        -- With more deviations the p-value is 0 to the last digit.
        {{ erfc("(least(deviations, 20) / sqrt(2))") }} as p_value
    from differences

)

select
    paired.api_key,
    paired.scope,
    paired.metric,
    paired.days,
    paired.first_day,
    paired.last_day,
    paired.previous_first_day,
    paired.previous_last_day,
    paired.n_days,
    paired.previous_n_days,
    paired.extrapolation,
    paired.n,
    paired.estimate,
    paired.process_lower,
    paired.process_upper,
    paired.previous_n,
    paired.previous_estimate,
    paired.previous_process_lower,
    paired.previous_process_upper,
    tested.difference,
    tested.difference_lower,
    tested.difference_upper,
    tested.p_value,
    paired.null_because,
    count(tested.difference) over (
        partition by paired.scope, paired.days, paired.api_key = {{ all_companies() }}
    ) as n_comparisons
from paired
left join tested
    on
        paired.api_key = tested.api_key
        and paired.scope = tested.scope
        and paired.metric = tested.metric
        and paired.days = tested.days
