with companies as (

    select * from {{ ref('int_companies') }}

),

daily_events as (

    select * from {{ ref('int_daily__events') }}

),

daily_countries as (

    select *
    from {{ ref('int_daily__countries') }}
    where country <> 'unknown'

),

volumes as (

    select
        api_key,
        sum(n) as n_events,
        sum(n) filter (where sampling_rate < 1) as n_sampled,
        sum(n_rate_unknown) as n_rate_unknown,
        sum(n_count_unknown) as n_count_unknown,
        sum(n_duplicates) as n_duplicates,
        {{ estimate() }} as volume,
        min(first_event_at) as first_event_at,
        max(last_event_at) as last_event_at
    from daily_events
    group by 1

),

reach as (

    select
        api_key,
        count(distinct country) as countries_observed
    from daily_countries
    group by 1

)

select
    companies.api_key,
    companies.industry,
    companies.industry_group,
    companies.hq_country,
    companies.is_known,
    coalesce(volumes.n_events, 0)::bigint as n_events,
    coalesce(volumes.n_sampled, 0)::bigint as n_sampled,
    coalesce(volumes.n_rate_unknown, 0)::bigint as n_rate_unknown,
    coalesce(volumes.n_count_unknown, 0)::bigint as n_count_unknown,
    coalesce(volumes.n_duplicates, 0)::bigint as n_duplicates,
    volumes.volume::double precision as volume,
    case when volumes.n_events > 0 then coalesce(reach.countries_observed, 0) end::bigint as countries_observed,
    volumes.first_event_at,
    volumes.last_event_at,
    (extract(epoch from volumes.last_event_at - volumes.first_event_at) / 3600)::double precision as hours_observed
from companies
left join volumes on companies.api_key = volumes.api_key
left join reach on companies.api_key = reach.api_key
