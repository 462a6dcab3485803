{{
    config(
        day_column='event_date',
        pre_hook=[begin_repeatable_read(), '{{ find_stale_days() }}'],
        post_hook='{{ clear_touched_days() }}'
    )
}}

with companies as (

    select * from {{ ref('int_companies') }}

),

company_weighting as (

    select * from {{ ref('int_company_weighting') }}

),

daily_events as (

    select *
    from {{ ref('int_daily__events') }}
    {% if is_partial_refresh() %}
        where {{ is_on_days("select api_key, day from stale_day") }}
    {% endif %}

),

daily_strata as (

    {{ strata("daily_events", ["api_key", "day", "consent_status", "action_class"], mart_extrapolations()) | indent }}

),

scoped as (

    {{ in_scopes("daily_strata") | indent }}

),

-- A day with events has a row for every metric.
days as (

    select distinct
        daily_strata.api_key,
        daily_strata.day,
        scopes.scope,
        daily_strata.extrapolation,
        company_weighting.weighting
    from daily_strata
    inner join company_weighting on daily_strata.api_key = company_weighting.api_key
    cross join unnest(array['all', 'notice']) as scopes (scope)

),

estimated as (

    {{ metric_estimates(
        "scoped",
        "days",
        ["api_key", "day", "scope"],
        ["volume", "asked", "given", "choices", "opt_ins", "preferences_opened", "conversion", "consent_rate"]
    ) | indent }}

),

published as (

    {{ published("estimated", ["api_key", "day", "scope", "metric"], ["form"]) | indent }}

),

estimates as (

    {{ join_extrapolations("published", ["api_key", "day", "scope", "metric"]) | indent }}

)

select
    companies.api_key,
    companies.company_name,
    companies.industry,
    companies.industry_group,
    companies.hq_country,
    estimates.day as event_date,
    estimates.scope,
    estimates.metric,
    estimates.n,
    {{ estimate_columns("estimates") }},
    {{ other_estimate_columns("estimates") }},
    estimates.form = 'ratio' and coalesce(estimates.estimate > 1, false) as is_above_one,
    estimates.extrapolation
from estimates
inner join companies on estimates.api_key = companies.api_key
