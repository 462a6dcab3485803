with headlines as (

    select * from {{ ref('time_to_consent') }}
    where is_headline

),

daily_durations as (

    select * from {{ ref('int_daily__durations') }}

),

-- The durations of each company by its headline method, summed by the columns of the weight, with the lowest limit that
-- includes them.
limited as (

    select
        durations.is_placebo,
        durations.sampling_rate,
        case
            when durations.up_to_seconds <= 300 then 5
            when durations.up_to_seconds <= 1800 then 30
            else 120
        end as lowest_limit,
        sum(durations.n) as n,
        sum(durations.n_rate_unknown) as n_rate_unknown,
        sum(durations.microseconds) as microseconds,
        sum(durations.microseconds_squared) as microseconds_squared
    from daily_durations as durations
    inner join headlines on durations.api_key = headlines.api_key and durations.method = headlines.method
    where durations.up_to_seconds between 0 and 7200
    group by durations.is_placebo, durations.sampling_rate, lowest_limit

),

counted as (

    select
        limits.within_minutes,
        limited.is_placebo,
        limited.sampling_rate::numeric as sampling_rate,
        {{ duration_weight("limited.is_placebo", "limited.sampling_rate") }} as weight,
        sum(limited.n) as n,
        sum(limited.n_rate_unknown) as n_rate_unknown,
        -- Event times have microseconds, so sums of whole microseconds are exact.
        sum(limited.microseconds) / 1e6 as seconds_sum,
        sum(limited.microseconds_squared) / 1e12 as seconds_squares
    from limited
    inner join unnest(array[5, 30, 120]) as limits (within_minutes) on limited.lowest_limit <= limits.within_minutes
    group by limits.within_minutes, limited.is_placebo, limited.sampling_rate

),

sums as (

    select
        within_minutes,
        sum(n) filter (where not is_placebo) as n,
        sum(n) filter (where not is_placebo and sampling_rate < 1) as n_sampled,
        sum(n_rate_unknown) filter (where not is_placebo) as n_rate_unknown,
        sum(weight * n) as weight_sum,
        sum(weight * seconds_sum) / nullif(sum(weight * n), 0) as mean
    from counted
    group by within_minutes

),

-- Σ f (seconds - mean)², from the sums of each rate.
residuals as (

    select
        counted.within_minutes,
        sums.weight_sum,
        1 - counted.sampling_rate as share_lost,
        counted.weight * counted.weight * (
            counted.seconds_squares - 2 * sums.mean * counted.seconds_sum + sums.mean * sums.mean * counted.n
        ) as residual
    from counted
    inner join sums on counted.within_minutes = sums.within_minutes

),

variances as (

    select
        within_minutes,
        sum(residual * share_lost) / power(max(weight_sum), 2) as sampling_variance,
        sum(residual) / power(max(weight_sum), 2) as process_variance
    from residuals
    group by within_minutes

),

-- If no company has a headline method, each limit still has a row, with the reason.
measured as (

    select
        limits.within_minutes,
        'inverse_rate' as extrapolation,
        null as weighting,
        coalesce(sums.n, 0)::bigint as n,
        coalesce(sums.n, 0)::bigint as n_least,
        coalesce(sums.n_sampled, 0)::bigint as n_sampled,
        coalesce(sums.n_rate_unknown, 0)::bigint as n_rate_unknown,
        sums.mean::double precision as mean_seconds,
        sums.mean::double precision as estimate,
        'no_durations' as missing,
        variances.sampling_variance::double precision as sampling_variance,
        variances.process_variance::double precision as process_variance,
        null::double precision as sampling_lower,
        null::double precision as sampling_upper,
        null::double precision as process_lower,
        null::double precision as process_upper,
        false as conservative
    from unnest(array[5, 30, 120]) as limits (within_minutes)
    left join sums on limits.within_minutes = sums.within_minutes
    left join variances on limits.within_minutes = variances.within_minutes

),

published as (

    {{ published("measured", ["within_minutes"], ["mean_seconds", "sampling_variance", "process_variance"]) | indent }}

),

-- Durations are so skewed that an interval of the mean from fewer rows is not reliable.
means as (

    select
        *,
        case when null_because is null and n < 1000 then 'few_durations' else null_because end as mean_null_because
    from published

),

companies as (

    select count(*) as n_companies from headlines

)

select
    means.within_minutes,
    companies.n_companies,
    means.n,
    means.n_sampled,
    means.mean_seconds,
    {{ mean_bounds("means") }},
    means.mean_null_because,
    means.is_low_sample,
    means.is_census
from means
cross join companies
