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

metrics as (

    select
        scopes.scope,
        metrics.metric,
        metrics.form
    from unnest(array['all', 'notice']) as scopes (scope)
    cross join (
        values
        ('volume', 'total'),
        ('asked', 'total'),
        ('given', 'total'),
        ('choices', 'total'),
        ('opt_ins', 'total'),
        ('conversion', 'ratio'),
        ('consent_rate', 'share')
    ) as metrics (metric, form)
    where scopes.scope = 'all' or metrics.metric <> 'volume'

),

daily_strata as (

    {{ strata("daily_events", ["api_key", "day", "consent_status", "action_class"], mart_extrapolations()) | indent }}

),

scoped as (

    select
        scopes.scope,
        daily_strata.*
    from daily_strata
    cross join unnest(array['all', 'notice']) as scopes (scope)
    where scopes.scope = 'all' or {{ is_notice() }}

),

-- A row of events counts for each total that it is part of.
totalled as (

    select
        totals.total as metric,
        scoped.*
    from scoped
    inner join lateral (
        values
        ('volume', scope = 'all'),
        ('asked', event_type = 'consent.asked'),
        ('given', event_type = 'consent.given'),
        ('choices', event_type = 'consent.given' and {{ is_choice() }}),
        ('opt_ins', event_type = 'consent.given' and {{ is_opt_in() }})
    ) as totals (total, is_part) on totals.is_part

),

moments as (

    {{ total_moments("totalled", ["api_key", "day", "scope", "metric"]) | indent }}

),

shared as (

    select
        *,
        {{ is_opt_in() }} as is_yes
    from scoped
    where event_type = 'consent.given' and {{ is_choice() }}

),

share_sums as (

    {{ share_moments("shared", ["api_key", "day", "scope"]) | indent }}

),

totals as (

    select
        api_key,
        day,
        scope,
        metric,
        extrapolation,
        n,
        n_sampled,
        n_rate_unknown,
        total as estimate,
        {{ total_bounds() | indent(4) }},
        conservative
    from moments

),

-- A day with events has a row for every metric. n counts the rows of both parts of a ratio.
days as (

    select
        totals.api_key,
        totals.day,
        totals.extrapolation,
        company_weighting.weighting
    from totals
    inner join company_weighting on totals.api_key = company_weighting.api_key
    where totals.metric = 'volume'

),

day_totals as (

    select
        days.*,
        metrics.scope,
        metrics.metric,
        metrics.form,
        'no_events' as missing,
        coalesce(totals.n, 0) as n,
        coalesce(totals.n, 0) as n_least,
        coalesce(totals.n_sampled, 0) as n_sampled,
        coalesce(totals.n_rate_unknown, 0) as n_rate_unknown,
        totals.estimate,
        totals.sampling_lower,
        totals.sampling_upper,
        totals.process_lower,
        totals.process_upper,
        coalesce(totals.conservative, false) as conservative
    from days
    inner join metrics on metrics.form = 'total'
    left join totals
        on
            days.api_key = totals.api_key
            and days.day = totals.day
            and days.extrapolation = totals.extrapolation
            and metrics.scope = totals.scope
            and metrics.metric = totals.metric

),

day_shares as (

    select
        days.*,
        metrics.scope,
        metrics.metric,
        metrics.form,
        'no_denominator' as missing,
        coalesce(share_sums.n, 0) as n,
        coalesce(share_sums.n, 0) as n_least,
        coalesce(share_sums.n_sampled, 0) as n_sampled,
        coalesce(share_sums.n_rate_unknown, 0) as n_rate_unknown,
        share_sums.share as estimate,
        {{ share_bounds() | indent(4) }},
        coalesce(share_sums.conservative, false) as conservative
    from days
    inner join metrics on metrics.form = 'share'
    left join share_sums
        on
            days.api_key = share_sums.api_key
            and days.day = share_sums.day
            and days.extrapolation = share_sums.extrapolation
            and metrics.scope = share_sums.scope

),

day_ratios as (

    select
        days.*,
        metrics.scope,
        metrics.metric,
        metrics.form,
        'no_denominator' as missing,
        coalesce(numerator.n, 0) + coalesce(denominator.n, 0) as n,
        least(numerator.n, denominator.n) as n_least,
        coalesce(least(nullif(numerator.n_sampled, 0), nullif(denominator.n_sampled, 0)), 0) as n_sampled,
        coalesce(numerator.n_rate_unknown, 0) + coalesce(denominator.n_rate_unknown, 0) as n_rate_unknown,
        coalesce(numerator.estimate, 0) / denominator.estimate as estimate,
        {{ ratio_bounds() | indent(4) }},
        coalesce(numerator.n_sampled > 0 and denominator.n_sampled > 0, false) as conservative
    from days
    inner join metrics on metrics.form = 'ratio'
    left join totals as denominator
        on
            days.api_key = denominator.api_key
            and days.day = denominator.day
            and days.extrapolation = denominator.extrapolation
            and metrics.scope = denominator.scope
            and denominator.metric = 'asked'
    left join totals as numerator
        on
            days.api_key = numerator.api_key
            and days.day = numerator.day
            and days.extrapolation = numerator.extrapolation
            and metrics.scope = numerator.scope
            and numerator.metric = 'given'

),

estimated as (

    select * from day_totals
    union all
    select * from day_shares
    union all
    select * from day_ratios

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
