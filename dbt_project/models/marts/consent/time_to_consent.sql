with companies as (

    select * from {{ ref('int_companies') }}

),

daily_events as (

    select *
    from {{ ref('int_daily__events') }}
    where n > 0

),

sums as (

    select * from {{ ref('int_duration_sums') }}

),

quantiles as (

    select * from {{ ref('int_duration_quantiles') }}

),

-- The methods in order of preference for the headline.
methods as (

    select *
    from unnest(array['user_id', 'token_update', 'matched']) with ordinality as methods (method, preference)

),

choices as (

    select
        api_key,
        sum(n) as n_choices
    from daily_events
    where event_type = 'consent.given' and {{ is_choice() }} and {{ is_notice() }}
    group by api_key

),

measured as (

    select
        companies.api_key,
        methods.method,
        methods.preference,
        coalesce(sums.n, 0)::bigint as n,
        coalesce(sums.n_sampled, 0)::bigint as n_sampled,
        coalesce(sums.n_rate_unknown, 0)::bigint as n_rate_unknown,
        coalesce(sums.n_over_30min, 0)::bigint as n_over_30min,
        coalesce(sums.n_reversed, 0)::bigint as n_reversed,
        case when methods.method = 'matched' then coalesce(sums.n_placebo, 0) end as n_placebo,
        case when methods.method = 'matched' then coalesce(sums.n - sums.n_placebo, 0) end as excess,
        choices.n_choices,
        case when methods.method <> 'matched' then sums.share_over_30min end as share_over_30min,
        case when methods.method = 'token_update' then sums.share_near_event end as share_near_event,
        case when methods.method = 'user_id' then sums.share_reversed end as share_reversed,
        sums.mean,
        sums.sampling_variance,
        sums.process_variance,
        coalesce(sums.n_within_5min, 0)::bigint as n_within_5min,
        coalesce(sums.n_within_120min, 0)::bigint as n_within_120min,
        sums.mean_within_5min,
        sums.mean_within_120min,
        quantiles.median,
        quantiles.p90,
        case when sums.n_sampled > 0 then quantiles.sampling_lower else quantiles.median end as sampling_lower,
        case when sums.n_sampled > 0 then quantiles.sampling_upper else quantiles.median end as sampling_upper,
        quantiles.process_lower,
        quantiles.process_upper
    from companies
    cross join methods
    left join sums on companies.api_key = sums.api_key and methods.method = sums.method
    left join quantiles on companies.api_key = quantiles.api_key and methods.method = quantiles.method
    left join choices on companies.api_key = choices.api_key

),

covered as (

    select
        *,
        coalesce(excess, n) / n_choices as coverage
    from measured

),

checked as (

    select
        *,
        case
            when n = 0 then 'no_durations'
            when share_reversed > 0.2 then 'reversed_pairs'
            when share_near_event < 0.9 then 'token_far_from_event'
            when excess < 20 then 'small_excess'
            when n_placebo > 0.2 * n then 'large_placebo'
        end as withheld_because
    from covered

),

-- A headline must represent the company, so it needs enough rows and coverage.
ranked as (

    select
        *,
        case
            when withheld_because is not null then 'withheld'
            when n < 20 then 'few_durations'
            when coalesce(coverage, 0) < 0.2 then 'low_coverage'
        end as unfit_because
    from checked

),

-- The weight is always 1 / p, because COUNT does not apply to durations.
bounded as (

    select
        *,
        'inverse_rate' as extrapolation,
        null as weighting,
        n as n_least,
        'withheld' as missing,
        false as conservative,
        case when withheld_because is null then median end as estimate,
        case when withheld_because is null then p90 end as p90_seconds,
        case when withheld_because is null then mean end as mean_seconds,
        case when withheld_because is null then mean_within_5min end as mean_within_5min_seconds,
        case when withheld_because is null then mean_within_120min end as mean_within_120min_seconds,
        case
            when unfit_because is not null then unfit_because
            when preference > min(preference) filter (where unfit_because is null) over (partition by api_key)
                then 'better_method'
        end as not_headline_because
    from ranked

),

published as (

    {{ published(
        "bounded",
        ["api_key", "method"],
        [
            "not_headline_because",
            "withheld_because",
            "n_over_30min",
            "n_reversed",
            "n_placebo",
            "excess",
            "coverage",
            "share_over_30min",
            "share_near_event",
            "share_reversed",
            "p90_seconds",
            "mean_seconds",
            "n_within_5min",
            "mean_within_5min_seconds",
            "n_within_120min",
            "mean_within_120min_seconds",
            "sampling_variance",
            "process_variance",
        ]
    ) | indent }}

),

-- Durations are so skewed that an interval of the mean from fewer rows is not reliable.
means as (

    select
        *,
        case when null_because is null and n < 1000 then 'few_durations' else null_because end as mean_null_because
    from published

)

select
    companies.api_key,
    companies.company_name,
    companies.industry,
    companies.industry_group,
    companies.hq_country,
    means.method,
    means.not_headline_because is null as is_headline,
    means.not_headline_because,
    means.withheld_because,
    means.n,
    means.n_sampled,
    means.n_over_30min,
    means.n_reversed,
    means.n_placebo,
    means.excess,
    means.coverage,
    means.share_over_30min,
    means.share_near_event,
    means.share_reversed,
    means.estimate as median_seconds,
    means.sampling_lower as median_sampling_lower,
    means.sampling_upper as median_sampling_upper,
    means.process_lower as median_process_lower,
    means.process_upper as median_process_upper,
    means.null_because,
    means.is_low_sample,
    means.is_census,
    means.p90_seconds,
    means.mean_seconds,
    {{ mean_bounds("means") }},
    means.mean_null_because,
    means.n_within_5min,
    means.mean_within_5min_seconds,
    means.n_within_120min,
    means.mean_within_120min_seconds
from means
inner join companies on means.api_key = companies.api_key
