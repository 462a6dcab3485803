{{
    config(
        materialized='incremental',
        incremental_strategy='append',
        on_schema_change='fail',
        indexes=[{'columns': ['api_key', 'day']}],
        pre_hook=[begin_repeatable_read(), '{{ delete_touched_days() }}'],
        post_hook=['{{ set_replica_identity() }}', '{{ clear_touched_days() }}']
    )
}}

with durations as (

    select
        *,
        shift_seconds <> 0 as is_placebo,
        {{ duration_class() }} as up_to_seconds,
        -- Event times have microseconds. Sums of whole microseconds are as exact as numeric, and much faster.
        (seconds * 1e6)::bigint as microseconds
    from {{ ref('int_consent_durations') }}
    {% if is_incremental() %}
        where {{ is_on_days(touched_days()) }}
    {% endif %}

)

select
    api_key,
    day,
    method,
    is_placebo,
    sampling_rate,
    up_to_seconds,
    count(*) as n,
    count(*) filter (where is_rate_unknown) as n_rate_unknown,
    count(*) filter (where is_near_event) as n_near_event,
    min(seconds) as lowest_seconds,
    max(seconds) as highest_seconds,
    sum(microseconds) as microseconds,
    -- Only for means, whose limits are 0 and two hours. The square of an absurd duration would not fit.
    {{ sum_of_squares("microseconds", "up_to_seconds between 0 and 7200") }} as microseconds_squared
from durations
group by api_key, day, method, is_placebo, sampling_rate, up_to_seconds
