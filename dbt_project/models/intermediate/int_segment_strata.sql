with company_weighting as (

    select * from {{ ref('int_company_weighting') }}

),

-- Added up over the days first, which Citus does on the workers.
dimension_sums as (

    select
        api_key,
        dimension,
        value,
        notice_position,
        event_type,
        consent_status,
        action_class,
        sampling_rate,
        sum(n) as n,
        sum(n_rate_unknown) as n_rate_unknown,
        sum(count_sum) as count_sum,
        sum(count_sum_squares) as count_sum_squares
    from {{ ref('int_daily__dimensions') }}
    where
        {{ is_prompt_or_consent() }} and {{ is_dimension_of("consent_segments") }}
    group by api_key, dimension, value, notice_position, event_type, consent_status, action_class, sampling_rate

),

prompts as (

    select *
    from dimension_sums
    where dimension = 'deployment' and event_type = 'consent.asked' and n > 0

),

-- A consent has no position of its own, so prompts and consents both take that of their deployment: a rate with the
-- prompts of one position and the consents of another would be wrong. A deployment has a position if all of its prompts
-- have it.
deployment_positions as (

    select
        api_key,
        value,
        {{ common_value("notice_position") }} as position
    from prompts
    group by api_key, value

),

-- Sampling may lose every prompt of a small deployment. It then has the position of the company, if there is only one:
-- without its consents the company's conversion would be too low.
company_positions as (

    select
        api_key,
        {{ common_value("notice_position") }} as position
    from prompts
    group by api_key

),

segmented as (

    select
        api_key,
        dimension,
        value,
        event_type,
        consent_status,
        action_class,
        sampling_rate,
        n,
        n_rate_unknown,
        count_sum,
        count_sum_squares
    from dimension_sums
    union all
    select
        deployments.api_key,
        'position' as dimension,
        coalesce(
            case
                when deployment_positions.value is null then company_positions.position
                else deployment_positions.position
            end,
            'unknown'
        ) as value,
        deployments.event_type,
        deployments.consent_status,
        deployments.action_class,
        deployments.sampling_rate,
        deployments.n,
        deployments.n_rate_unknown,
        deployments.count_sum,
        deployments.count_sum_squares
    from dimension_sums as deployments
    left join deployment_positions
        on deployments.api_key = deployment_positions.api_key and deployments.value = deployment_positions.value
    left join company_positions on deployments.api_key = company_positions.api_key
    where deployments.dimension = 'deployment'

),

strata as (

    {{ strata(
        "segmented",
        ["api_key", "dimension", "value", "consent_status", "action_class"],
        ["count_over_rate", "inverse_rate"]
    ) | indent }}

)

select
    strata.api_key,
    strata.dimension,
    strata.value,
    strata.event_type,
    strata.consent_status,
    strata.action_class,
    strata.sampling_rate,
    strata.n,
    strata.n_rate_unknown,
    strata.extrapolation,
    company_weighting.weighting,
    strata.weight,
    strata.squares,
    strata.squares_rate
from strata
inner join company_weighting on strata.api_key = company_weighting.api_key
where strata.extrapolation = {{ recommended_extrapolation("company_weighting.weighting") }}
