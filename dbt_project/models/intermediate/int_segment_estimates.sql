{{ config(pre_hook='{{ set_planner_options() }}') }}

with segment_strata as (

    select * from {{ ref('int_segment_strata') }}

),

scopes as (

    select unnest(array['all', 'notice']) as scope

),

rates as (

    select *
    from (
        values
        ('conversion', 'given', 'asked', 'ratio'),
        ('choice_rate', 'choices', 'asked', 'ratio'),
        ('opt_in_rate', 'opt_ins', 'asked', 'ratio'),
        ('consent_rate', 'opt_ins', 'choices', 'share'),
        ('opt_out_rate', 'opt_outs', 'choices', 'share')
    ) as rates (rate, numerator, denominator, form)

),

-- Each company, and all companies together.
subject_strata as (

    select
        api_key,
        dimension,
        value,
        event_type,
        consent_status,
        action_class,
        sampling_rate,
        n,
        n_rate_unknown,
        extrapolation,
        weight,
        squares,
        squares_rate
    from segment_strata
    union all
    select
        {{ all_companies() }} as api_key,
        dimension,
        value,
        event_type,
        consent_status,
        action_class,
        sampling_rate,
        n,
        n_rate_unknown,
        'recommended' as extrapolation,
        weight,
        squares,
        squares_rate
    from segment_strata

),

scoped as (

    select
        scopes.scope,
        subject_strata.*
    from subject_strata
    cross join scopes
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
        ('asked', event_type = 'consent.asked'),
        ('given', event_type = 'consent.given'),
        ('choices', event_type = 'consent.given' and {{ is_choice() }}),
        ('opt_ins', event_type = 'consent.given' and {{ is_opt_in() }}),
        ('opt_outs', event_type = 'consent.given' and {{ is_opt_out() }})
    ) as totals (total, is_part) on totals.is_part

),

moments as (

    {{ total_moments("totalled", ["api_key", "scope", "dimension", "value", "metric"]) | indent }}

),

totals as (

    select
        api_key,
        scope,
        dimension,
        value,
        metric,
        extrapolation,
        n,
        n_sampled,
        n_rate_unknown,
        total as estimate,
        {{ kish_rows("total", "(process_variance_sampled + process_variance_unsampled)") }} as n_effective,
        {{ total_bounds() | indent(4) }}
    from moments

),

-- Opt-ins and opt-outs are parts of the choices; is_yes is true for the rows in the numerator.
shared as (

    select
        shares.rate,
        shares.is_yes,
        scoped.*
    from scoped
    inner join lateral (
        values
        ('consent_rate', {{ is_opt_in() }}),
        ('opt_out_rate', {{ is_opt_out() }})
    ) as shares (rate, is_yes) on scoped.event_type = 'consent.given' and {{ is_choice() }}

),

share_sums as (

    {{ share_moments("shared", ["api_key", "scope", "dimension", "value", "rate"]) | indent }}

),

bounded as (

    select
        api_key,
        scope,
        dimension,
        value,
        rate,
        share as estimate,
        {{ share_bounds() | indent(4) }},
        conservative
    from share_sums
    union all
    select
        denominator.api_key,
        denominator.scope,
        denominator.dimension,
        denominator.value,
        rates.rate,
        coalesce(numerator.estimate, 0) / denominator.estimate as estimate,
        {{ ratio_bounds() | indent(4) }},
        coalesce(numerator.n_sampled, 0) > 0 and denominator.n_sampled > 0 as conservative
    from rates
    inner join totals as denominator on rates.denominator = denominator.metric
    left join totals as numerator
        on
            rates.numerator = numerator.metric
            and denominator.api_key = numerator.api_key
            and denominator.scope = numerator.scope
            and denominator.dimension = numerator.dimension
            and denominator.value = numerator.value
    where rates.form = 'ratio'

),

segments as (

    select distinct
        api_key,
        scope,
        dimension,
        value,
        extrapolation
    from scoped

),

counted as (

    select
        segments.*,
        rates.rate,
        rates.form,
        numerator.estimate as numerator,
        denominator.estimate as denominator,
        coalesce(denominator.n_effective, 0) as n_effective,
        coalesce(numerator.n, 0) as n_numerator,
        coalesce(denominator.n, 0) as n_denominator,
        coalesce(numerator.n_sampled, 0) as n_numerator_sampled,
        coalesce(denominator.n_sampled, 0) as n_denominator_sampled,
        coalesce(numerator.n_rate_unknown, 0) as n_numerator_rate_unknown,
        coalesce(denominator.n_rate_unknown, 0) as n_denominator_rate_unknown
    from segments
    cross join rates
    left join totals as numerator
        on
            segments.api_key = numerator.api_key
            and segments.scope = numerator.scope
            and segments.dimension = numerator.dimension
            and segments.value = numerator.value
            and rates.numerator = numerator.metric
    left join totals as denominator
        on
            segments.api_key = denominator.api_key
            and segments.scope = denominator.scope
            and segments.dimension = denominator.dimension
            and segments.value = denominator.value
            and rates.denominator = denominator.metric

),

-- For a ratio, n counts the rows of numerator and denominator; for a share those of the denominator, which include the
-- numerator's. The recommended extrapolation of a company never squares its weights, so weighting needs no check.
estimates as (

    select
        counted.*,
        'recommended' as weighting,
        case when form = 'share' then n_denominator else n_numerator + n_denominator end as n,
        case when form = 'share' then n_denominator else least(nullif(n_numerator, 0), n_denominator) end as n_least,
        case
            when form = 'share' then n_denominator_sampled
            else coalesce(least(nullif(n_numerator_sampled, 0), nullif(n_denominator_sampled, 0)), 0)
        end as n_sampled,
        case
            when form = 'share' then n_denominator_rate_unknown
            else n_numerator_rate_unknown + n_denominator_rate_unknown
        end as n_rate_unknown,
        case when denominator is null then 'no_denominator' else 'few_effective_rows' end as missing,
        case when n_effective >= {{ least_effective_rows() }} then bounded.estimate end as estimate,
        bounded.sampling_lower,
        bounded.sampling_upper,
        bounded.process_lower,
        bounded.process_upper,
        coalesce(bounded.conservative, false) as conservative
    from counted
    left join bounded
        on
            counted.api_key = bounded.api_key
            and counted.scope = bounded.scope
            and counted.dimension = bounded.dimension
            and counted.value = bounded.value
            and counted.rate = bounded.rate

),

published as (

    {{ published(
        "estimates",
        ["api_key", "scope", "dimension", "value", "rate"],
        ["form", "numerator", "denominator", "n_numerator", "n_denominator", "n_effective"]
    ) | indent }}

)

select
    *,
    form = 'ratio' and coalesce(estimate > 1, false) as is_above_one
from published
