-- Companies whose volume differs between marts, under the chosen extrapolation.
with performance as (

    select * from {{ ref('company_performance') }}

),

sensitivity as (

    select *
    from {{ ref('extrapolation_sensitivity') }}
    where is_chosen and metric = 'volume'

),

by_type as (

    select
        api_key,
        sum(estimate) as volume
    from {{ ref('event_breakdown') }}
    where dimension = 'type'
    group by 1

),

by_country as (

    select
        api_key,
        sum(estimate) as volume
    from {{ ref('event_breakdown') }}
    where dimension = 'country'
    group by 1

),

by_day as (

    select
        api_key,
        sum(estimate) as volume
    from {{ ref('consent_daily') }}
    where metric = 'volume'
    group by 1

)

select
    performance.api_key,
    performance.volume,
    sensitivity.estimate as sensitivity_volume,
    by_type.volume as type_volume,
    by_country.volume as country_volume,
    by_day.volume as day_volume
from performance
left join sensitivity on performance.api_key = sensitivity.api_key
left join by_type on performance.api_key = by_type.api_key
left join by_country on performance.api_key = by_country.api_key
left join by_day on performance.api_key = by_day.api_key
where
    performance.volume is not null
    and not coalesce(
        abs(sensitivity.estimate / performance.volume - 1) < 1e-9
        and abs(by_type.volume / performance.volume - 1) < 1e-9
        and abs(by_country.volume / performance.volume - 1) < 1e-9
        and abs(by_day.volume / performance.volume - 1) < 1e-9,
        false
    )
