{{ config(pre_hook='{{ plan_for_sums() }}') }}

-- A quantile needs the durations in order, and sorting all of them takes longer than all else. So they are added up by
-- class of size first (1 to 400, of equal ratio), which tells in which class each quantile lies; only the durations of
-- those few classes are put in order.
with sums as (

    select * from {{ ref('int_duration_sums') }}

),

durations as not materialized (

    select
        *,
        shift_seconds <> 0 as is_placebo
    from {{ ref('int_consent_durations') }}
    where {{ is_choice() }} and {{ is_notice() }} and seconds between 0 and 1800

),

sized as (

    select
        api_key,
        method,
        is_placebo,
        sampling_rate,
        size,
        count(*) as n
    from durations
    group by api_key, method, is_placebo, sampling_rate, size

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

)

select * from quantiles
