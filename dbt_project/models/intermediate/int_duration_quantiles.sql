{{ config(pre_hook='{{ set_planner_options() }}') }}

with weighted as (

    select
        api_key,
        method,
        seconds,
        sum({{ duration_weight() }}) as weight
    from (
        select
            *,
            shift_seconds <> 0 as is_placebo
        from {{ ref('int_consent_durations') }}
        where seconds between 0 and 1800
    ) as durations
    group by api_key, method, seconds

),

-- Sums of numeric weights are exact; comparisons are faster in double precision.
cumulated as (

    select
        api_key,
        method,
        seconds,
        (sum(weight) over in_order)::double precision as weight_until,
        (sum(weight) over in_order - weight)::double precision as weight_before
    from weighted
    window in_order as (partition by api_key, method order by seconds)

),

-- The cumulative weight at which each quantile and each bound of the median lies.
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
    from {{ ref('int_duration_sums') }}

)

select
    cumulated.api_key,
    cumulated.method,
    {{ weighted_quantile("seconds", "targets.half") }} as median,
    {{ weighted_quantile("seconds", "targets.nine_tenths") }} as p90,
    {{ median_bound("lower", "seconds", "targets.sampling_lower") }} as sampling_lower,
    {{ median_bound("upper", "seconds", "targets.sampling_upper") }} as sampling_upper,
    {{ median_bound("lower", "seconds", "targets.process_lower") }} as process_lower,
    {{ median_bound("upper", "seconds", "targets.process_upper") }} as process_upper
from cumulated
inner join targets on cumulated.api_key = targets.api_key and cumulated.method = targets.method
group by cumulated.api_key, cumulated.method
