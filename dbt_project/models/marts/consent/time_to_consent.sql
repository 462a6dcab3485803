with companies as (

    select * from {{ ref('int_companies') }}

),

daily_events as (

    select *
    from {{ ref('int_daily__events') }}
    where n > 0

),

durations as (

    select
        *,
        shift_seconds <> 0 as is_placebo
    from {{ ref('int_consent_durations') }}
    where {{ is_choice() }} and {{ is_notice() }}

),

-- In the order in which they are trusted.
methods as (

    select *
    from unnest(array['user_id', 'embedded', 'matched']) with ordinality as methods (method, preference)

),

-- Few values repeat often, so that what follows is cheap. A row of the placebo takes away what one of its shifts, of
-- which there are six, finds by chance. numeric keeps the sums independent of their order.
counted as (

    select
        api_key,
        method,
        is_placebo,
        seconds::numeric as seconds,
        sampling_rate::numeric as sampling_rate,
        case when is_placebo then -1.0 / 6 else 1 end / sampling_rate::numeric as weight,
        count(*) as n,
        count(*) filter (where is_near_event) as n_near_event,
        count(*) filter (where is_rate_unknown) as n_rate_unknown
    from durations
    group by api_key, method, is_placebo, seconds, sampling_rate

),

-- A first choice is made while the notice is open. What took longer is a later change of mind, and a token that is
-- updated before it was created has a clock that cannot be trusted.
first_choices as (

    select
        *,
        sum(weight * n) over (partition by api_key, method order by seconds asc) as weight_until,
        sum(weight * n) over (partition by api_key, method) as weight_of_all,
        sum(weight * n * seconds) over (partition by api_key, method)
        / nullif(sum(weight * n) over (partition by api_key, method), 0) as mean
    from counted
    where seconds between 0 and 1800

),

averages as (

    select
        api_key,
        method,
        coalesce(sum(n) filter (where not is_placebo), 0) as n,
        coalesce(sum(n) filter (where not is_placebo and sampling_rate < 1), 0) as n_sampled,
        coalesce(sum(n_rate_unknown) filter (where not is_placebo), 0) as n_rate_unknown,
        (coalesce(sum(n) filter (where is_placebo), 0) / 6)::double precision as n_placebo,
        max(mean)::double precision as mean,
        (
            sum(n * power(weight * (seconds - mean), 2) * (1 - sampling_rate))
            / nullif(power(max(weight_of_all), 2), 0)
        )::double precision as sampling_variance,
        (
            sum(n * power(weight * (seconds - mean), 2)) / nullif(power(max(weight_of_all), 2), 0)
        )::double precision as process_variance,
        ({{ weighted_quantile('seconds', 0.5) }})::double precision as median,
        ({{ weighted_quantile('seconds', 0.9) }})::double precision as p90
    from first_choices
    group by api_key, method

),

quality as (

    select
        api_key,
        method,
        sum(n) filter (where seconds > 1800) as n_over_30min,
        sum(n) filter (where seconds < 0) as n_reversed,
        (
            coalesce(sum(weight * n) filter (where seconds > 1800), 0) / sum(weight * n)
        )::double precision as share_over_30min,
        (coalesce(sum(n) filter (where seconds < 0), 0) / sum(n))::double precision as share_reversed,
        (sum(n_near_event) / sum(n))::double precision as share_near_event
    from counted
    where not is_placebo
    group by api_key, method

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
        coalesce(averages.n, 0)::bigint as n,
        coalesce(averages.n_sampled, 0)::bigint as n_sampled,
        coalesce(averages.n_rate_unknown, 0)::bigint as n_rate_unknown,
        coalesce(quality.n_over_30min, 0)::bigint as n_over_30min,
        coalesce(quality.n_reversed, 0)::bigint as n_reversed,
        case when methods.method = 'matched' then coalesce(averages.n_placebo, 0) end as n_placebo,
        case when methods.method = 'matched' then coalesce(averages.n - averages.n_placebo, 0) end as excess,
        choices.n_choices,
        case when methods.method <> 'matched' then quality.share_over_30min end as share_over_30min,
        case when methods.method = 'embedded' then quality.share_near_event end as share_near_event,
        case when methods.method = 'user_id' then quality.share_reversed end as share_reversed,
        averages.mean,
        averages.sampling_variance,
        averages.process_variance,
        averages.median,
        averages.p90
    from companies
    cross join methods
    left join averages on companies.api_key = averages.api_key and methods.method = averages.method
    left join quality on companies.api_key = quality.api_key and methods.method = quality.method
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
        case when withheld_because is null then mean end as estimate,
        case when withheld_because is null then median end as median_seconds,
        case when withheld_because is null then p90 end as p90_seconds,
        preference = min(preference) filter (where withheld_because is null) over (partition by api_key) as is_headline,
        {{ mean_bound("lower", "mean", "sampling_variance") }} as sampling_lower,
        {{ mean_bound("upper", "mean", "sampling_variance") }} as sampling_upper,
        {{ mean_bound("lower", "mean", "process_variance") }} as process_lower,
        {{ mean_bound("upper", "mean", "process_variance") }} as process_upper
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
            "median_seconds",
            "p90_seconds",
        ]
    ) | indent }}

)

select
    companies.api_key,
    companies.industry,
    companies.industry_group,
    companies.hq_country,
    published.method,
    coalesce(published.is_headline, false) as is_headline,
    published.withheld_because,
    published.n,
    published.n_sampled,
    published.n_over_30min,
    published.n_reversed,
    published.n_placebo,
    published.excess,
    published.coverage,
    published.share_over_30min,
    published.share_near_event,
    published.share_reversed,
    published.estimate as mean_seconds,
    published.sampling_lower as mean_sampling_lower,
    published.sampling_upper as mean_sampling_upper,
    published.process_lower as mean_process_lower,
    published.process_upper as mean_process_upper,
    published.null_because,
    published.low_sample,
    published.census,
    published.median_seconds,
    published.p90_seconds
from published
inner join companies on published.api_key = companies.api_key
