with companies as (

    select * from {{ ref('int_companies') }}

),

company_weighting as (

    select * from {{ ref('int_company_weighting') }}

),

daily_events as (

    select * from {{ ref('int_daily__events') }}

),

daily_countries as (

    select * from {{ ref('int_daily__countries') }}

),

extrapolations as (

    select unnest(string_to_array('{{ mart_extrapolations() | join(" ") }}', ' ')) as extrapolation

),

event_strata as (

    {{ strata("daily_events", ["api_key", "device_type", "sdk_type"], mart_extrapolations()) | indent }}

),

country_strata as (

    {{ strata("daily_countries", ["api_key", "country"], mart_extrapolations()) | indent }}

),

event_dimensions as (

    select
        event_strata.api_key,
        dimensions.dimension,
        dimensions.value,
        event_strata.extrapolation,
        event_strata.event_type,
        event_strata.sampling_rate,
        event_strata.n,
        event_strata.n_rate_unknown,
        event_strata.weight,
        event_strata.squares,
        event_strata.squares_rate
    from event_strata
    cross join lateral (
        values
        ('type', event_type),
        ('device', device_type),
        ('sdk', sdk_type)
    ) as dimensions (dimension, value)

),

dimensioned as (

    select
        api_key,
        dimension,
        value,
        extrapolation,
        event_type,
        sampling_rate,
        n,
        n_rate_unknown,
        weight,
        squares,
        squares_rate
    from event_dimensions
    union all
    select
        api_key,
        'country' as dimension,
        country as value,
        extrapolation,
        event_type,
        sampling_rate,
        n,
        n_rate_unknown,
        weight,
        squares,
        squares_rate
    from country_strata

),

moments as (

    {{ total_moments("dimensioned", ["api_key", "dimension", "value"]) | indent }}

),

-- Each company has a row for every type of event that there is; of the other dimensions, for what its events say.
breakdowns as (

    select
        companies.api_key,
        'type' as dimension,
        known.event_type as value
    from companies
    cross join unnest(array['pageview', 'consent.asked', 'consent.given', 'ui.action']) as known (event_type)
    union
    select
        api_key,
        dimension,
        value
    from moments

),

totals as (

    select
        breakdowns.api_key,
        breakdowns.dimension,
        breakdowns.value,
        extrapolations.extrapolation,
        company_weighting.weighting,
        coalesce(moments.n, 0) as n,
        coalesce(moments.n, 0) as n_least,
        coalesce(moments.n_sampled, 0) as n_sampled,
        coalesce(moments.n_rate_unknown, 0) as n_rate_unknown,
        moments.total as estimate,
        'no_events' as missing,
        {{ total_bounds() | indent(4) }},
        coalesce(moments.conservative, false) as conservative
    from breakdowns
    inner join company_weighting on breakdowns.api_key = company_weighting.api_key
    cross join extrapolations
    left join moments
        on
            breakdowns.api_key = moments.api_key
            and breakdowns.dimension = moments.dimension
            and breakdowns.value = moments.value
            and extrapolations.extrapolation = moments.extrapolation

),

published as (

    {{ published("totals", ["api_key", "dimension", "value"]) | indent }}

),

estimates as (

    {{ side_by_side("published", ["api_key", "dimension", "value"]) | indent }}

),

-- What the shares are of: every event of the company has one type. numeric keeps the sum independent of its order.
volumes as (

    select
        api_key,
        sum(estimate::numeric)::double precision as volume,
        sum(estimate_inverse_rate::numeric)::double precision as volume_inverse_rate,
        sum(recommended_estimate::numeric)::double precision as recommended_volume
    from estimates
    where dimension = 'type'
    group by api_key

)

select
    companies.api_key,
    companies.company_name,
    companies.industry,
    companies.industry_group,
    companies.hq_country,
    estimates.dimension,
    estimates.value,
    estimates.n,
    {{ estimate_columns("estimates") }},
    {{ other_estimate_columns("estimates") }},
    coalesce(estimates.estimate, 0) / volumes.volume as share,
    coalesce(estimates.estimate_inverse_rate, 0) / volumes.volume_inverse_rate as share_inverse_rate,
    coalesce(estimates.recommended_estimate, 0) / volumes.recommended_volume as recommended_share
from estimates
inner join companies on estimates.api_key = companies.api_key
inner join volumes on estimates.api_key = volumes.api_key
