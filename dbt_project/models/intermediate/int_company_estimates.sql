{{ config(pre_hook='{{ set_planner_options() }}') }}

with companies as (

    select * from {{ ref('int_companies') }}

),

company_weighting as (

    select * from {{ ref('int_company_weighting') }}

),

daily_events as (

    select * from {{ ref('int_daily__events') }}

),

scopes as (

    select unnest(array['all', 'notice']) as scope

),

-- The estimates of each company under each extrapolation, and of all companies together, with the extrapolation
-- recommended for each of them.
subjects as (

    select
        companies.api_key,
        scopes.scope,
        company_weighting.weighting,
        extrapolations.extrapolation
    from companies
    cross join scopes
    inner join company_weighting on companies.api_key = company_weighting.api_key
    cross join unnest(string_to_array('{{ all_extrapolations() | join(" ") }}', ' ')) as extrapolations (extrapolation)
    union all
    select
        {{ all_companies() }} as api_key,
        scope,
        'by_company' as weighting,
        'recommended' as extrapolation
    from scopes

),

company_strata as (

    {{ strata("daily_events", ["api_key", "consent_status", "action_class"], all_extrapolations()) | indent }}

),

subject_strata as (

    select * from company_strata
    union all
    select
        {{ all_companies() }} as api_key,
        company_strata.consent_status,
        company_strata.action_class,
        company_strata.event_type,
        company_strata.sampling_rate,
        company_strata.n,
        company_strata.n_rate_unknown,
        'recommended' as extrapolation,
        company_strata.weight,
        company_strata.squares,
        company_strata.squares_rate
    from company_strata
    inner join company_weighting on company_strata.api_key = company_weighting.api_key
    where company_strata.extrapolation = {{ recommended_extrapolation("company_weighting.weighting") }}

),

scoped as (

    {{ in_scopes("subject_strata") | indent }}

),

estimates as (

    {{ metric_estimates("scoped", "subjects", ["api_key", "scope"], metrics_of_events() | list) | indent }}

),

published as (

    {{ published(
        "estimates",
        ["api_key", "scope", "metric"],
        [
            "form",
            "numerator",
            "denominator",
            "n_numerator",
            "n_denominator",
            "n_numerator_sampled",
            "n_denominator_sampled",
        ]
    ) | indent }}

)

select
    *,
    form = 'ratio' and coalesce(estimate > 1, false) as is_above_one
from published
