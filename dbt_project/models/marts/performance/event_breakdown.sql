with companies as (

    select * from {{ ref('int_companies') }}

),

daily_events as (

    select *
    from {{ ref('int_daily__events') }}
    where n > 0

),

daily_countries as (

    select * from {{ ref('int_daily__countries') }}

),

values_of_events as (

    select
        daily_events.api_key,
        daily_events.sampling_rate,
        daily_events.n,
        daily_events.{{ weight_sum() }},
        dimensions.dimension,
        dimensions.value
    from daily_events
    cross join lateral (
        values
        ('type', event_type),
        ('device', device_type),
        ('sdk', sdk_type)
    ) as dimensions (dimension, value)

),

values_and_countries as (

    select
        api_key,
        sampling_rate,
        n,
        {{ weight_sum() }},
        dimension,
        value
    from values_of_events
    union all
    select
        api_key,
        sampling_rate,
        n,
        {{ weight_sum() }},
        'country' as dimension,
        country as value
    from daily_countries

),

sums as (

    select
        api_key,
        dimension,
        value,
        sum(n) as n,
        sum(n) filter (where sampling_rate < 1) as n_sampled,
        {{ estimate() }} as estimate
    from values_and_countries
    group by 1, 2, 3

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
    from sums

)

select
    companies.api_key,
    companies.industry,
    companies.industry_group,
    companies.hq_country,
    breakdowns.dimension,
    breakdowns.value,
    coalesce(sums.n, 0)::bigint as n,
    coalesce(sums.n_sampled, 0)::bigint as n_sampled,
    sums.estimate::double precision as estimate,
    (
        coalesce(sums.estimate, 0)
        / sum(sums.estimate) over (partition by breakdowns.api_key, breakdowns.dimension)
    )::double precision as share
from breakdowns
inner join companies on breakdowns.api_key = companies.api_key
left join sums
    on
        breakdowns.api_key = sums.api_key
        and breakdowns.dimension = sums.dimension
        and breakdowns.value = sums.value
