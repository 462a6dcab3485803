with companies as (

    select * from {{ ref('int_companies') }}

),

company_weighting as (

    select * from {{ ref('int_company_weighting') }}

),

daily_dimensions as (

    select *
    from {{ ref('int_daily__dimensions') }}
    where {{ is_dimension_of("event_breakdown") }}

),

country_names as (

    select * from {{ ref('int_country_names') }}

),

extrapolations as (

    select unnest(string_to_array('{{ mart_extrapolations() | join(" ") }}', ' ')) as extrapolation

),

strata as (

    {{ strata("daily_dimensions", ["api_key", "dimension", "value"], mart_extrapolations()) | indent }}

),

moments as (

    {{ total_moments("strata", ["api_key", "dimension", "value"]) | indent }}

),

-- Each company has a row for every known event type, and for the values of the other dimensions in its events.
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

    {{ join_extrapolations("published", ["api_key", "dimension", "value"]) | indent }}

),

-- The denominator of the shares: every event has one type. numeric keeps the sum independent of its order.
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
    coalesce(country_names.country_name, estimates.value) as value_name,
    estimates.n,
    {{ estimate_columns("estimates") }},
    {{ other_estimate_columns("estimates") }},
    coalesce(estimates.estimate, 0) / volumes.volume as share,
    coalesce(estimates.estimate_inverse_rate, 0) / volumes.volume_inverse_rate as share_inverse_rate,
    coalesce(estimates.recommended_estimate, 0) / volumes.recommended_volume as recommended_share
from estimates
inner join companies on estimates.api_key = companies.api_key
inner join volumes on estimates.api_key = volumes.api_key
left join country_names on estimates.dimension = 'country' and estimates.value = country_names.country_code
