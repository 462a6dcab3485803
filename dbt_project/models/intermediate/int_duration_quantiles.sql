{% set searched = ["half", "nine_tenths", "sampling_lower", "sampling_upper", "process_lower", "process_upper"] %}

{{ config(pre_hook='{{ set_planner_options() }}') }}

-- A quantile is exact, but needs few single durations: those of the classes in which it may lie. Every other class is
-- represented by its lowest and its highest duration.
with daily_durations as (

    select *
    from {{ ref('int_daily__durations') }}
    where up_to_seconds between 0 and 1800

),

-- `offset 0` makes the planner compute the class once for each duration, and hash the few classes instead of the
-- durations.
consent_durations as (

    select
        api_key,
        method,
        seconds,
        sampling_rate,
        shift_seconds <> 0 as is_placebo,
        {{ duration_class() }} as up_to_seconds
    from {{ ref('int_consent_durations') }}
    {{ planner_barrier() }} -- noqa: AM09

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

),

class_rates as (

    select
        api_key,
        method,
        up_to_seconds,
        is_placebo,
        sum(n) * {{ duration_weight() }} as weight,
        min(lowest_seconds) as lowest_seconds,
        max(highest_seconds) as highest_seconds
    from daily_durations
    group by api_key, method, up_to_seconds, is_placebo, sampling_rate

),

classes as (

    select
        api_key,
        method,
        up_to_seconds,
        min(lowest_seconds) as lowest_seconds,
        max(highest_seconds) as highest_seconds,
        sum(weight) as weight,
        -- Placebos have negative weights, so within a class the cumulative weight may leave the range of its ends.
        coalesce(sum(weight) filter (where weight < 0), 0) as weight_lost,
        coalesce(sum(weight) filter (where weight > 0), 0) as weight_gained
    from class_rates
    group by api_key, method, up_to_seconds

),

-- Sums of numeric weights are exact; comparisons are faster in double precision.
cumulated_classes as (

    select
        api_key,
        method,
        up_to_seconds,
        lowest_seconds,
        highest_seconds,
        sum(weight) over in_order - weight as exact_weight_before,
        (sum(weight) over in_order - weight)::double precision as weight_before,
        (sum(weight) over in_order)::double precision as weight_until,
        (sum(weight) over in_order - weight + weight_lost)::double precision as lowest_weight,
        (sum(weight) over in_order - weight + weight_gained)::double precision as highest_weight
    from classes
    window in_order as (partition by api_key, method order by up_to_seconds)

),

searched_classes as (

    select
        cumulated_classes.*,
        coalesce(
            {%- for target in searched %}
                targets.{{ target }} between cumulated_classes.lowest_weight and cumulated_classes.highest_weight
                {%- if not loop.last %} or{% endif %}
            {%- endfor %},
            false
        ) as is_searched
    from cumulated_classes
    inner join targets on cumulated_classes.api_key = targets.api_key and cumulated_classes.method = targets.method

),

searched_values as (

    select
        durations.api_key,
        durations.method,
        durations.seconds,
        searched_classes.up_to_seconds,
        searched_classes.exact_weight_before as class_weight_before,
        sum({{ duration_weight("durations.is_placebo", "durations.sampling_rate") }}) as weight
    from consent_durations as durations
    inner join searched_classes
        on
            durations.api_key = searched_classes.api_key
            and durations.method = searched_classes.method
            and durations.up_to_seconds = searched_classes.up_to_seconds
    where searched_classes.is_searched
    group by
        durations.api_key,
        durations.method,
        durations.seconds,
        searched_classes.up_to_seconds,
        searched_classes.exact_weight_before

),

cumulated as (

    select
        api_key,
        method,
        seconds,
        (class_weight_before + sum(weight) over in_order)::double precision as weight_until,
        (class_weight_before + sum(weight) over in_order - weight)::double precision as weight_before
    from searched_values
    window in_order as (partition by api_key, method, up_to_seconds order by seconds)
    union all
    -- No target lies between the cumulative weights of such a class, so any of them compares like all others.
    select
        searched_classes.api_key,
        searched_classes.method,
        ends.seconds,
        searched_classes.weight_until,
        searched_classes.weight_before
    from searched_classes
    cross join lateral (values (lowest_seconds), (highest_seconds)) as ends (seconds)
    where not searched_classes.is_searched

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
