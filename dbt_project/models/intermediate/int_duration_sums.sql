with daily_durations as (

    select * from {{ ref('int_daily__durations') }}

),

-- A first choice is made while the notice is open. A longer duration is a later change of the choice; a token that was
-- updated before it was created comes from a wrong clock.
counted as (

    select
        api_key,
        method,
        is_placebo,
        sampling_rate::numeric as sampling_rate,
        {{ duration_weight() }} as weight,
        sum(n) as n_all,
        coalesce(sum(n) filter (where up_to_seconds > 1800), 0) as n_over_30min,
        coalesce(sum(n) filter (where up_to_seconds < 0), 0) as n_reversed,
        sum(n_near_event) as n_near_event,
        coalesce(sum(n) filter (where up_to_seconds between 0 and 1800), 0) as n,
        coalesce(sum(n_rate_unknown) filter (where up_to_seconds between 0 and 1800), 0) as n_rate_unknown,
        coalesce(sum(microseconds) filter (where up_to_seconds between 0 and 1800), 0) / 1e6 as seconds_sum,
        {%- for minutes in [5, 120] %}
            coalesce(
                sum(n) filter (where up_to_seconds between 0 and {{ 60 * minutes }}), 0
            ) as n_within_{{ minutes }}min,
            coalesce(
                sum(microseconds) filter (where up_to_seconds between 0 and {{ 60 * minutes }}), 0
            ) / 1e6 as seconds_sum_within_{{ minutes }}min,
        {%- endfor %}
        coalesce(
            sum(microseconds_squared) filter (where up_to_seconds between 0 and 1800), 0
        ) / 1e12 as seconds_squares
    from daily_durations
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
        {%- for minutes in [5, 120] %}
            coalesce(sum(n_within_{{ minutes }}min) filter (where not is_placebo), 0) as n_within_{{ minutes }}min,
            sum(weight * seconds_sum_within_{{ minutes }}min)
            / nullif(sum(weight * n_within_{{ minutes }}min), 0) as mean_within_{{ minutes }}min,
        {%- endfor %}
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

)

select
    sums.api_key,
    sums.method,
    sums.n,
    sums.n_sampled,
    sums.n_rate_unknown,
    sums.n_placebo,
    sums.weight_sum,
    sums.mean::double precision as mean,
    sums.sampling_n_effective,
    sums.process_n_effective,
    sums.n_within_5min,
    sums.mean_within_5min::double precision as mean_within_5min,
    sums.n_within_120min,
    sums.mean_within_120min::double precision as mean_within_120min,
    sums.n_over_30min,
    sums.n_reversed,
    sums.share_over_30min,
    sums.share_reversed,
    sums.share_near_event,
    (variances.sampling_residuals / power(sums.weight_sum, 2))::double precision as sampling_variance,
    (variances.process_residuals / power(sums.weight_sum, 2))::double precision as process_variance
from sums
inner join variances on sums.api_key = variances.api_key and sums.method = variances.method
