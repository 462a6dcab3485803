with companies as (

    select * from {{ ref('int_companies') }}

),

daily_events as (

    select *
    from {{ ref('int_daily__events') }}
    where n > 0

),

durations as not materialized (

    select
        *,
        shift_seconds <> 0 as is_placebo,
        seconds between 0 and 1800 as is_first_choice,
        (seconds * 1e6)::bigint as microseconds
    from {{ ref('int_consent_durations') }}
    where {{ is_choice() }} and {{ is_notice() }}

),

-- In the order in which they are trusted.
methods as (

    select *
    from unnest(array['user_id', 'embedded', 'matched']) with ordinality as methods (method, preference)

),

-- A first choice is made while the notice is open. What took longer is a later change of mind, and a token that is
-- updated before it was created has a clock that cannot be trusted.
sized as (

    select
        api_key,
        method,
        is_placebo,
        sampling_rate,
        size,
        count(*) as n_all,
        count(*) filter (where seconds > 1800) as n_over_30min,
        count(*) filter (where seconds < 0) as n_reversed,
        count(*) filter (where is_near_event) as n_near_event,
        count(*) filter (where is_first_choice) as n,
        count(*) filter (where is_first_choice and is_rate_unknown) as n_rate_unknown,
        -- In whole microseconds, in which events are dated: exact like numeric, and much faster.
        coalesce(sum(microseconds) filter (where is_first_choice), 0) as microseconds_sum,
        coalesce(sum(microseconds * microseconds) filter (where is_first_choice), 0) as microseconds_squares
    from durations
    group by api_key, method, is_placebo, sampling_rate, size

),

counted as (

    select
        api_key,
        method,
        is_placebo,
        sampling_rate::numeric as sampling_rate,
        {{ duration_weight() }} as weight,
        sum(n_all) as n_all,
        sum(n_over_30min) as n_over_30min,
        sum(n_reversed) as n_reversed,
        sum(n_near_event) as n_near_event,
        sum(n) as n,
        sum(n_rate_unknown) as n_rate_unknown,
        sum(microseconds_sum) / 1e6 as seconds_sum,
        sum(microseconds_squares) / 1e12 as seconds_squares
    from sized
    group by api_key, method, is_placebo, sampling_rate

),

sums as (

    select
        api_key,
        method,
        coalesce(sum(n) filter (where not is_placebo), 0) as n,
        coalesce(sum(n) filter (where not is_placebo and sampling_rate < 1), 0) as n_sampled,
        coalesce(sum(n_rate_unknown) filter (where not is_placebo), 0) as n_rate_unknown,
        (coalesce(sum(n) filter (where is_placebo), 0) / 6)::double precision as n_placebo,
        nullif(sum(weight * n), 0) as weight_sum,
        sum(weight * seconds_sum) / nullif(sum(weight * n), 0) as mean,
        (
            power(sum(weight * n), 2) / nullif(sum(weight * weight * n * (1 - sampling_rate)), 0)
        )::double precision as sampling_n_effective,
        (power(sum(weight * n), 2) / nullif(sum(weight * weight * n), 0))::double precision as process_n_effective,
        sum(n_over_30min) filter (where not is_placebo) as n_over_30min,
        sum(n_reversed) filter (where not is_placebo) as n_reversed,
        (
            sum(weight * n_over_30min) filter (where not is_placebo)
            / sum(weight * n_all) filter (where not is_placebo)
        )::double precision as share_over_30min,
        (
            sum(n_reversed) filter (where not is_placebo) / sum(n_all) filter (where not is_placebo)
        )::double precision as share_reversed,
        (
            sum(n_near_event) filter (where not is_placebo) / sum(n_all) filter (where not is_placebo)
        )::double precision as share_near_event
    from counted
    group by api_key, method

),

-- Σ f (seconds - mean)², from the sums of each rate.
residuals as (

    select
        counted.api_key,
        counted.method,
        counted.weight * counted.weight * (
            counted.seconds_squares - 2 * sums.mean * counted.seconds_sum + sums.mean * sums.mean * counted.n
        ) as process_residual,
        1 - counted.sampling_rate as share_lost
    from counted
    inner join sums on counted.api_key = sums.api_key and counted.method = sums.method

),

variances as (

    select
        api_key,
        method,
        sum(process_residual * share_lost) as sampling_residuals,
        sum(process_residual) as process_residuals
    from residuals
    group by api_key, method

),

-- Up to which weight of values the quantiles and the bounds of the median reach.
targets as (

    select
        api_key,
        method,
        (0.5 * weight_sum)::double precision as half,
        (0.9 * weight_sum)::double precision as nine_tenths,
        {{ share_bound("lower", "0.5", "sampling_n_effective") }} * weight_sum as sampling_lower,
        {{ share_bound("upper", "0.5", "sampling_n_effective") }} * weight_sum as sampling_upper,
        {{ share_bound("lower", "0.5", "process_n_effective") }} * weight_sum as process_lower,
        {{ share_bound("upper", "0.5", "process_n_effective") }} * weight_sum as process_upper
    from sums

),

sizes as (

    select
        api_key,
        method,
        size,
        sum({{ duration_weight() }} * n) as weight
    from sized
    where n > 0
    group by api_key, method, size

),

cumulated as (

    select
        *,
        sum(weight) over sizes_in_order as weight_until,
        sum(weight) over sizes_in_order - weight as weight_before
    from sizes
    window sizes_in_order as (partition by api_key, method order by size)

),

reaching as (

    select
        *,
        lag(weight_before, 1, 0) over sizes_in_order as reach_from,
        lead(weight_until, 1, weight_until) over sizes_in_order as reach_to
    from cumulated
    window sizes_in_order as (partition by api_key, method order by size)

),

-- Only the few sizes at the targets, and those beside them, have values that need to be put in order.
wanted as (

    select
        reaching.api_key,
        reaching.method,
        reaching.size,
        reaching.weight_before::double precision as weight_before
    from reaching
    inner join targets on reaching.api_key = targets.api_key and reaching.method = targets.method
    where
        targets.half between reaching.reach_from and reaching.reach_to
        or targets.nine_tenths between reaching.reach_from and reaching.reach_to
        or targets.sampling_lower between reaching.reach_from and reaching.reach_to
        or targets.sampling_upper between reaching.reach_from and reaching.reach_to
        or targets.process_lower between reaching.reach_from and reaching.reach_to
        or targets.process_upper between reaching.reach_from and reaching.reach_to

),

-- Few rows of many are wanted; their order keeps this a look-up of each size by the index.
wanted_durations as (

    select
        wanted.api_key,
        wanted.method,
        wanted.size,
        wanted.weight_before,
        of_size.seconds,
        {{ duration_weight() }} as weight
    from wanted
    cross join lateral (
        select
            durations.seconds,
            durations.sampling_rate,
            durations.is_placebo
        from durations
        where
            durations.api_key = wanted.api_key
            and durations.method = wanted.method
            and durations.size = wanted.size
        order by durations.seconds asc
    ) as of_size

),

-- The weights are no longer numeric, for speed. They add up in the order of values.
ordered as (

    select
        api_key,
        method,
        seconds,
        weight_before + sum(weight::double precision) over size_in_order as weight_until,
        weight_before + coalesce(sum(weight::double precision) over (
            size_in_order groups between unbounded preceding and 1 preceding
        ), 0) as weight_before
    from wanted_durations
    window size_in_order as (partition by api_key, method, size order by seconds)

),

quantiles as (

    select
        ordered.api_key,
        ordered.method,
        {{ weighted_quantile("seconds", "targets.half") }} as median,
        {{ weighted_quantile("seconds", "targets.nine_tenths") }} as p90,
        {{ median_bound("lower", "seconds", "targets.sampling_lower") }} as sampling_lower,
        {{ median_bound("upper", "seconds", "targets.sampling_upper") }} as sampling_upper,
        {{ median_bound("lower", "seconds", "targets.process_lower") }} as process_lower,
        {{ median_bound("upper", "seconds", "targets.process_upper") }} as process_upper
    from ordered
    inner join targets on ordered.api_key = targets.api_key and ordered.method = targets.method
    group by ordered.api_key, ordered.method

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
        case when methods.method = 'embedded' then sums.share_near_event end as share_near_event,
        case when methods.method = 'user_id' then sums.share_reversed end as share_reversed,
        sums.mean::double precision as mean,
        (variances.sampling_residuals / power(sums.weight_sum, 2))::double precision as sampling_variance,
        (variances.process_residuals / power(sums.weight_sum, 2))::double precision as process_variance,
        quantiles.median,
        quantiles.p90,
        case when sums.n_sampled > 0 then quantiles.sampling_lower else quantiles.median end as sampling_lower,
        case when sums.n_sampled > 0 then quantiles.sampling_upper else quantiles.median end as sampling_upper,
        quantiles.process_lower,
        quantiles.process_upper
    from companies
    cross join methods
    left join sums on companies.api_key = sums.api_key and methods.method = sums.method
    left join variances on companies.api_key = variances.api_key and methods.method = variances.method
    left join quantiles on companies.api_key = quantiles.api_key and methods.method = quantiles.method
    left join choices on companies.api_key = choices.api_key

),

judged as (

    select
        *,
        coalesce(excess, n) / n_choices as coverage,
        case
            when n = 0 then 'no_durations'
            when share_reversed > 0.2 then 'reversed_pairs'
            when share_near_event < 0.9 then 'token_far_from_event'
            when excess < 20 then 'small_excess'
            when n_placebo > 0.2 * n then 'large_placebo'
        end as withheld_because
    from measured

),

-- The weight is 1 / p whatever the extrapolation, for COUNT says nothing of durations.
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
        preference = min(preference) filter (where withheld_because is null) over (partition by api_key) as is_headline
    from judged

),

published as (

    {{ published(
        "bounded",
        ["api_key", "method"],
        [
            "is_headline",
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
            "sampling_variance",
            "process_variance",
        ]
    ) | indent }}

),

-- Durations are so skewed that fewer rows do not tell how far their mean may be from the true one.
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
    coalesce(means.is_headline, false) as is_headline,
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
    means.mean_null_because
from means
inner join companies on means.api_key = companies.api_key
