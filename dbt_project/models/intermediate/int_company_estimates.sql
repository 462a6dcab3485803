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

-- The estimates of each company under each extrapolation, and of all companies together, with the extrapolation
-- recommended for each of them.
subjects as (

    select
        companies.api_key,
        company_weighting.weighting,
        extrapolations.extrapolation
    from companies
    inner join company_weighting on companies.api_key = company_weighting.api_key
    cross join unnest(string_to_array('{{ all_extrapolations() | join(" ") }}', ' ')) as extrapolations (extrapolation)
    union all
    select
        {{ all_companies() }} as api_key,
        'by_company' as weighting,
        'recommended' as extrapolation

),

scopes as (

    select unnest(array['all', 'notice']) as scope

),

metrics as (

    select
        scopes.scope,
        metrics.metric,
        metrics.numerator,
        metrics.denominator,
        metrics.form
    from scopes
    cross join (
        values
        ('volume', 'volume', null, 'total'),
        ('asked', 'asked', null, 'total'),
        ('given', 'given', null, 'total'),
        ('choices', 'choices', null, 'total'),
        ('opt_ins', 'opt_ins', null, 'total'),
        ('opt_outs', 'opt_outs', null, 'total'),
        ('conversion', 'given', 'asked', 'ratio'),
        ('choice_rate', 'choices', 'asked', 'ratio'),
        ('opt_in_rate', 'opt_ins', 'asked', 'ratio'),
        ('no_choice_rate', 'choices', 'asked', 'complement'),
        ('consent_rate', 'opt_ins', 'choices', 'share'),
        ('opt_out_rate', 'opt_outs', 'choices', 'share'),
        ('full_opt_in_share', 'full_opt_ins', 'given', 'share'),
        ('partial_opt_in_share', 'partial_opt_ins', 'given', 'share'),
        ('opt_out_share', 'opt_outs', 'given', 'share'),
        ('empty_share', 'empty', 'given', 'share')
    ) as metrics (metric, numerator, denominator, form)
    where scopes.scope = 'all' or metrics.metric <> 'volume'

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
        ('volume', scope = 'all'),
        ('asked', event_type = 'consent.asked'),
        ('given', event_type = 'consent.given'),
        ('choices', event_type = 'consent.given' and {{ is_choice() }}),
        ('opt_ins', event_type = 'consent.given' and {{ is_opt_in() }}),
        ('opt_outs', event_type = 'consent.given' and {{ is_opt_out() }}),
        ('full_opt_ins', event_type = 'consent.given' and consent_status = 'full opt-in'),
        ('partial_opt_ins', event_type = 'consent.given' and consent_status = 'partial opt-in'),
        ('empty', event_type = 'consent.given' and consent_status = 'empty')
    ) as totals (total, is_part) on totals.is_part

),

moments as (

    {{ total_moments("totalled", ["api_key", "scope", "metric"]) | indent }}

),

-- It also counts for each share whose denominator contains it; is_yes is true if the numerator does, too.
shared as (

    select
        shares.metric,
        shares.is_yes,
        scoped.*
    from scoped
    inner join lateral (
        values
        ('consent_rate', {{ is_choice() }}, {{ is_opt_in() }}),
        ('opt_out_rate', {{ is_choice() }}, {{ is_opt_out() }}),
        ('full_opt_in_share', true, consent_status = 'full opt-in'),
        ('partial_opt_in_share', true, consent_status = 'partial opt-in'),
        ('opt_out_share', true, consent_status = 'opt-out'),
        ('empty_share', true, consent_status = 'empty')
    ) as shares (metric, is_part, is_yes) on event_type = 'consent.given' and shares.is_part

),

share_sums as (

    {{ share_moments("shared", ["api_key", "scope", "metric"]) | indent }}

),

totals as (

    select
        api_key,
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

shares as (

    select
        api_key,
        scope,
        metric,
        extrapolation,
        share as estimate,
        {{ share_bounds() | indent(4) }},
        conservative
    from share_sums

),

ratios as (

    select
        denominator.api_key,
        denominator.scope,
        metrics.metric,
        metrics.form,
        denominator.extrapolation,
        coalesce(numerator.estimate, 0) / denominator.estimate as estimate,
        {{ ratio_bounds() | indent(4) }},
        coalesce(numerator.n_sampled, 0) > 0 and denominator.n_sampled > 0 as conservative
    from metrics
    inner join totals as denominator
        on metrics.denominator = denominator.metric and metrics.scope = denominator.scope
    left join totals as numerator
        on
            metrics.numerator = numerator.metric
            and denominator.api_key = numerator.api_key
            and denominator.scope = numerator.scope
            and denominator.extrapolation = numerator.extrapolation
    where metrics.form in ('ratio', 'complement')

),

-- no_choice_rate is null if there are more choices than notices; other rates are published even above 1.
bounded as (

    select
        api_key,
        scope,
        metric,
        extrapolation,
        estimate,
        sampling_lower,
        sampling_upper,
        process_lower,
        process_upper,
        conservative
    from totals
    union all
    select
        api_key,
        scope,
        metric,
        extrapolation,
        estimate,
        sampling_lower,
        sampling_upper,
        process_lower,
        process_upper,
        conservative
    from shares
    union all
    select
        api_key,
        scope,
        metric,
        extrapolation,
        estimate,
        sampling_lower,
        sampling_upper,
        process_lower,
        process_upper,
        conservative
    from ratios
    where form = 'ratio'
    union all
    select
        api_key,
        scope,
        metric,
        extrapolation,
        case when estimate <= 1 then 1 - estimate end as estimate,
        greatest(1 - sampling_upper, 0) as sampling_lower,
        1 - sampling_lower as sampling_upper,
        greatest(1 - process_upper, 0) as process_lower,
        1 - process_lower as process_upper,
        conservative
    from ratios
    where form = 'complement'

),

-- A company without events has its rows too, with null estimates. For a ratio, n counts the rows of numerator and
-- denominator; for a share those of the denominator, which include the numerator's.
counted as (

    select
        subjects.api_key,
        metrics.scope,
        metrics.metric,
        metrics.form,
        subjects.extrapolation,
        subjects.weighting,
        numerator.estimate as numerator,
        denominator.estimate as denominator,
        coalesce(numerator.n, 0) as n_numerator,
        coalesce(denominator.n, 0) as n_denominator,
        coalesce(numerator.n_sampled, 0) as n_numerator_sampled,
        coalesce(denominator.n_sampled, 0) as n_denominator_sampled,
        coalesce(numerator.n_rate_unknown, 0) as n_numerator_rate_unknown,
        coalesce(denominator.n_rate_unknown, 0) as n_denominator_rate_unknown
    from subjects
    cross join metrics
    left join totals as numerator
        on
            subjects.api_key = numerator.api_key
            and metrics.scope = numerator.scope
            and metrics.numerator = numerator.metric
            and subjects.extrapolation = numerator.extrapolation
    left join totals as denominator
        on
            subjects.api_key = denominator.api_key
            and metrics.scope = denominator.scope
            and metrics.denominator = denominator.metric
            and subjects.extrapolation = denominator.extrapolation

),

estimates as (

    select
        counted.*,
        case
            when form = 'total' then n_numerator
            when form = 'share' then n_denominator
            else n_numerator + n_denominator
        end as n,
        case
            when form = 'total' then n_numerator
            when form = 'share' then n_denominator
            else least(nullif(n_numerator, 0), n_denominator)
        end as n_least,
        case
            when form = 'total' then n_numerator_sampled
            when form = 'share' then n_denominator_sampled
            else coalesce(least(nullif(n_numerator_sampled, 0), nullif(n_denominator_sampled, 0)), 0)
        end as n_sampled,
        case
            when form = 'total' then n_numerator_rate_unknown
            when form = 'share' then n_denominator_rate_unknown
            else n_numerator_rate_unknown + n_denominator_rate_unknown
        end as n_rate_unknown,
        case
            when form = 'total' then 'no_events'
            when denominator is null then 'no_denominator'
            else 'more_choices_than_asked'
        end as missing,
        bounded.estimate,
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
            and counted.metric = bounded.metric
            and counted.extrapolation = bounded.extrapolation

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
