with companies as (

    select * from {{ ref('int_companies') }}

),

company_weighting as (

    select * from {{ ref('int_company_weighting') }}

),

daily_events as (

    select * from {{ ref('int_daily__events') }}

),

extrapolations as (

    select unnest(string_to_array('{{ mart_extrapolations() | join(" ") }}', ' ')) as extrapolation

),

populations as (

    select unnest(array['all_events', 'pageview', 'given', 'given_in_notice']) as population

),

company_strata as (

    {{ strata("daily_events", ["api_key", "consent_status", "action_class"], mart_extrapolations()) | indent }}

),

populated as (

    select
        populations.population,
        company_strata.*
    from company_strata
    cross join populations
    where
        case populations.population
            when 'all_events' then true
            when 'pageview' then event_type = 'pageview'
            when 'given' then event_type = 'consent.given'
            when 'given_in_notice' then event_type = 'consent.given' and {{ is_notice() }}
        end

),

-- Each company has a row for every known status and for every other value in its events.
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
    from populated

),

-- All rows of the population, once for each status.
shared as (

    select
        statuses.api_key,
        statuses.population,
        statuses.consent_status,
        populated.extrapolation,
        populated.event_type,
        populated.sampling_rate,
        populated.n,
        populated.n_rate_unknown,
        populated.weight,
        populated.squares,
        populated.squares_rate,
        populated.consent_status = statuses.consent_status as is_yes
    from statuses
    inner join populated on statuses.api_key = populated.api_key and statuses.population = populated.population

),

sums as (

    {{ share_moments("shared", ["api_key", "population", "consent_status"]) | indent }}

),

shares as (

    select
        statuses.api_key,
        statuses.population,
        statuses.consent_status,
        extrapolations.extrapolation,
        company_weighting.weighting,
        coalesce(sums.n, 0) as n,
        coalesce(sums.n, 0) as n_least,
        coalesce(sums.n_yes, 0) as n_yes,
        coalesce(sums.n_sampled, 0) as n_sampled,
        coalesce(sums.n_rate_unknown, 0) as n_rate_unknown,
        case when sums.n_yes > 0 then sums.total_yes end as total_yes,
        sums.share as estimate,
        'no_denominator' as missing,
        {{ share_bounds() | indent(4) }},
        coalesce(sums.conservative, false) as conservative
    from statuses
    inner join company_weighting on statuses.api_key = company_weighting.api_key
    cross join extrapolations
    left join sums
        on
            statuses.api_key = sums.api_key
            and statuses.population = sums.population
            and statuses.consent_status = sums.consent_status
            and extrapolations.extrapolation = sums.extrapolation

),

published as (

    {{ published("shares", ["api_key", "population", "consent_status"], ["n_yes", "total_yes"]) | indent }}

),

estimates as (

    {{ join_extrapolations("published", ["api_key", "population", "consent_status"]) | indent }}

)

select
    companies.api_key,
    companies.company_name,
    companies.industry,
    companies.industry_group,
    companies.hq_country,
    estimates.population,
    estimates.consent_status,
    estimates.n_yes as n,
    estimates.n as n_population,
    estimates.n_sampled as n_population_sampled,
    estimates.total_yes as estimate,
    {{ metric_columns("estimates", "share") }},
    estimates.recommended_extrapolation,
    {{ recommended_columns("estimates", "share") }}
from estimates
inner join companies on estimates.api_key = companies.api_key
