with companies as (

    select * from {{ ref('int_companies') }}

),

company_weighting as (

    select * from {{ ref('int_company_weighting') }}

),

daily_events as (

    select * from {{ ref('int_daily__events') }}

),

metrics as (

    select *
    from (
        values
        ('volume', 'total'),
        ('asked', 'total'),
        ('given', 'total'),
        ('choices', 'total'),
        ('opt_ins', 'total'),
        ('conversion', 'ratio'),
        ('consent_rate', 'share')
    ) as metrics (metric, form)

),

daily_strata as (

    {{ strata("daily_events", ["api_key", "day", "consent_status"], chosen_and_inverse_rate()) | indent }}

),

-- A row of events counts for each total that it is part of.
totalled as (

    select
        totals.total as metric,
        daily_strata.*
    from daily_strata
    inner join lateral (
        values
        ('volume', true),
        ('asked', event_type = 'consent.asked'),
        ('given', event_type = 'consent.given'),
        ('choices', event_type = 'consent.given' and {{ is_choice() }}),
        ('opt_ins', event_type = 'consent.given' and {{ is_opt_in() }})
    ) as totals (total, is_part) on totals.is_part

),

moments as (

    {{ total_moments("totalled", ["api_key", "day", "metric"]) | indent }}

),

shared as (

    select
        *,
        {{ is_opt_in() }} as is_yes
    from daily_strata
    where event_type = 'consent.given' and {{ is_choice() }}

),

share_sums as (

    {{ share_moments("shared", ["api_key", "day"]) | indent }}

),

bounded as (

    select
        api_key,
        day,
        metric,
        extrapolation,
        n,
        n as n_least,
        n_sampled,
        n_rate_unknown,
        total as estimate,
        {{ total_bounds() | indent(4) }},
        conservative
    from moments
    union all
    select
        api_key,
        day,
        'consent_rate' as metric,
        extrapolation,
        n,
        n as n_least,
        n_sampled,
        n_rate_unknown,
        share as estimate,
        {{ share_bounds() | indent(4) }},
        conservative
    from share_sums
    union all
    select
        denominator.api_key,
        denominator.day,
        'conversion' as metric,
        denominator.extrapolation,
        coalesce(numerator.n, 0) + denominator.n as n,
        least(numerator.n, denominator.n) as n_least,
        coalesce(least(nullif(numerator.n_sampled, 0), nullif(denominator.n_sampled, 0)), 0) as n_sampled,
        coalesce(numerator.n_rate_unknown, 0) + denominator.n_rate_unknown as n_rate_unknown,
        coalesce(numerator.total, 0) / denominator.total as estimate,
        {{ ratio_bounds() | indent(4) }},
        coalesce(numerator.n_sampled, 0) > 0 and denominator.n_sampled > 0 as conservative
    from moments as denominator
    left join moments as numerator
        on
            numerator.metric = 'given'
            and denominator.api_key = numerator.api_key
            and denominator.day = numerator.day
            and denominator.extrapolation = numerator.extrapolation
    where denominator.metric = 'asked'

),

-- A day with events has a row for every metric.
days as (

    select
        moments.api_key,
        moments.day,
        moments.extrapolation,
        metrics.metric,
        metrics.form
    from moments
    cross join metrics
    where moments.metric = 'volume'

),

judged as (

    select
        days.api_key,
        days.day,
        days.metric,
        days.form,
        days.extrapolation,
        company_weighting.weighting,
        coalesce(bounded.n, 0) as n,
        coalesce(bounded.n_least, 0) as n_least,
        coalesce(bounded.n_sampled, 0) as n_sampled,
        coalesce(bounded.n_rate_unknown, 0) as n_rate_unknown,
        case when days.form = 'total' then 'no_events' else 'no_denominator' end as missing,
        bounded.estimate,
        bounded.sampling_lower,
        bounded.sampling_upper,
        bounded.process_lower,
        bounded.process_upper,
        coalesce(bounded.conservative, false) as conservative
    from days
    inner join company_weighting on days.api_key = company_weighting.api_key
    left join bounded
        on
            days.api_key = bounded.api_key
            and days.day = bounded.day
            and days.metric = bounded.metric
            and days.extrapolation = bounded.extrapolation

),

published as (

    {{ published("judged", ["api_key", "day", "metric"], ["form"]) | indent }}

),

estimates as (

    {{ beside_inverse_rate("published", ["api_key", "day", "metric"]) | indent }}

)

select
    companies.api_key,
    companies.industry,
    companies.industry_group,
    companies.hq_country,
    estimates.day,
    estimates.metric,
    estimates.n,
    {{ estimate_columns("estimates") }},
    {{ inverse_rate_columns("estimates") }},
    estimates.form = 'ratio' and coalesce(estimates.estimate > 1, false) as above_one
from estimates
inner join companies on estimates.api_key = companies.api_key
