with companies as (

    select * from {{ ref('int_companies') }}

),

daily_events as (

    select *
    from {{ ref('int_daily__events') }}
    where n > 0

),

populations as (

    select unnest(array['all_events', 'given']) as population

),

sums as (

    select
        daily_events.api_key,
        populations.population,
        daily_events.consent_status,
        sum(daily_events.n) as n,
        sum(daily_events.n) filter (where daily_events.sampling_rate < 1) as n_sampled,
        {{ estimate() }} as estimate
    from daily_events
    cross join populations
    where populations.population = 'all_events' or daily_events.event_type = 'consent.given'
    group by 1, 2, 3

),

-- Each company has a row for every status that there is, and for what else its events say.
statuses as (

    select
        companies.api_key,
        populations.population,
        known.consent_status
    from companies
    cross join populations
    cross join unnest(array['full opt-in', 'partial opt-in', 'opt-out', 'empty']) as known (consent_status)
    union
    select
        api_key,
        population,
        consent_status
    from sums

)

select
    companies.api_key,
    companies.industry,
    companies.industry_group,
    companies.hq_country,
    statuses.population,
    statuses.consent_status,
    coalesce(sums.n, 0)::bigint as n,
    coalesce(sums.n_sampled, 0)::bigint as n_sampled,
    sums.estimate::double precision as estimate,
    (
        coalesce(sums.estimate, 0)
        / sum(sums.estimate) over (partition by statuses.api_key, statuses.population)
    )::double precision as share
from statuses
inner join companies on statuses.api_key = companies.api_key
left join sums
    on
        statuses.api_key = sums.api_key
        and statuses.population = sums.population
        and statuses.consent_status = sums.consent_status
