with headlines as (

    select * from {{ ref('time_to_consent') }}
    where is_headline

),

-- Each company's durations by its headline method, within the longest of the limits.
durations as (

    select
        durations.seconds,
        durations.sampling_rate::numeric as sampling_rate,
        durations.is_rate_unknown,
        durations.is_placebo,
        {{ duration_weight() }} as weight
    from (
        select
            *,
            shift_seconds <> 0 as is_placebo
        from {{ ref('int_consent_durations') }}
        where {{ is_choice() }} and {{ is_notice() }}
    ) as durations
    inner join headlines on durations.api_key = headlines.api_key and durations.method = headlines.method
    where durations.seconds between 0 and 7200

),

limited as (

    select
        limits.within_minutes,
        durations.*
    from durations
    inner join unnest(array[5, 30, 120]) as limits (within_minutes) on durations.seconds <= 60 * limits.within_minutes

),

sums as (

    select
        within_minutes,
        count(*) filter (where not is_placebo) as n,
        count(*) filter (where not is_placebo and sampling_rate < 1) as n_sampled,
        count(*) filter (where not is_placebo and is_rate_unknown) as n_rate_unknown,
        sum(weight) as weight_sum,
        sum(weight * seconds::numeric) / nullif(sum(weight), 0) as mean
    from limited
    group by within_minutes

),

variances as (

    select
        limited.within_minutes,
        sum(power(weight * (seconds::numeric - mean), 2) * (1 - sampling_rate))
        / power(max(weight_sum), 2) as sampling_variance,
        sum(power(weight * (seconds::numeric - mean), 2)) / power(max(weight_sum), 2) as process_variance
    from limited
    inner join sums on limited.within_minutes = sums.within_minutes
    group by limited.within_minutes

),

-- Without any headline there is still a row for each limit, which says so.
measured as (

    select
        limits.within_minutes,
        'inverse_rate' as extrapolation,
        null as weighting,
        coalesce(sums.n, 0) as n,
        coalesce(sums.n, 0) as n_least,
        coalesce(sums.n_sampled, 0) as n_sampled,
        coalesce(sums.n_rate_unknown, 0) as n_rate_unknown,
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

-- Durations are so skewed that fewer rows do not tell how far their mean may be from the true one.
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
