with companies as (

    select * from {{ ref('int_companies') }}

),

company_weighting as (

    select * from {{ ref('int_company_weighting') }}

),

published as (

    select *
    from {{ ref('int_company_estimates') }}
    where metric = 'volume'

),

daily_events as (

    select * from {{ ref('int_daily__events') }}

),

daily_countries as (

    select *
    from {{ ref('int_daily__dimensions') }}
    where dimension = 'country' and value <> 'unknown' and n > 0

),

loads as (

    select * from {{ ref('int_loads') }}

),

company_loads as (

    select * from {{ ref('int_company_loads') }}

),

volumes as (

    {{ join_extrapolations("published", ["api_key"]) | indent }}

),

counts as (

    select
        api_key,
        sum(n_rate_unknown) as n_rate_unknown,
        sum(n_count_unknown) as n_count_unknown,
        sum(n_duplicates) as n_duplicates,
        min(sampling_rate) filter (where n > 0) as lowest_sampling_rate,
        min(first_event_at) as first_event_at,
        max(last_event_at) as last_event_at
    from daily_events
    group by 1

),

countries as (

    select
        api_key,
        value as country,
        sum(n) as n,
        bool_or(sampling_rate = 1) as has_unsampled
    from daily_countries
    group by 1, 2

),

-- A single sampled row may be an error.
reach as (

    select
        api_key,
        count(*) as countries_observed,
        count(*) filter (where has_unsampled or n >= 2) as countries_certain
    from countries
    group by 1

),

truncations as (

    select company_loads.api_key
    from company_loads
    inner join loads on company_loads.load_id = loads.load_id
    where loads.is_likely_truncated
    group by 1

),

observed as (

    select
        *,
        (extract(epoch from last_event_at - first_event_at) / 3600)::double precision as hours_observed
    from counts

)

select
    companies.api_key,
    companies.company_name,
    companies.industry,
    companies.industry_group,
    companies.hq_country,
    companies.is_known,
    volumes.extrapolation,
    company_weighting.weighting,
    volumes.n as n_events,
    volumes.n_sampled,
    coalesce(observed.n_rate_unknown, 0)::bigint as n_rate_unknown,
    coalesce(observed.n_count_unknown, 0)::bigint as n_count_unknown,
    coalesce(observed.n_duplicates, 0)::bigint as n_duplicates,
    {{ metric_columns("volumes", "volume") }},
    volumes.recommended_extrapolation,
    {{ recommended_columns("volumes", "volume") }},
    case when volumes.n > 0 then coalesce(reach.countries_observed, 0) end as countries_observed,
    case when volumes.n > 0 then coalesce(reach.countries_certain, 0) end as countries_certain,
    observed.lowest_sampling_rate,
    {{ detectable_at_95("observed.lowest_sampling_rate") }} as detectable_at_95,
    observed.first_event_at,
    observed.last_event_at,
    observed.hours_observed,
    volumes.estimate / nullif(observed.hours_observed, 0) as volume_per_hour,
    volumes.estimate_inverse_rate / nullif(observed.hours_observed, 0) as volume_per_hour_inverse_rate,
    volumes.recommended_estimate / nullif(observed.hours_observed, 0) as recommended_volume_per_hour,
    truncations.api_key is not null as is_likely_truncated
from companies
inner join company_weighting on companies.api_key = company_weighting.api_key
inner join volumes on companies.api_key = volumes.api_key
left join observed on companies.api_key = observed.api_key
left join reach on companies.api_key = reach.api_key
left join truncations on companies.api_key = truncations.api_key
