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

with events as (

    select *
    from {{ ref('int_events') }}
    {% if is_incremental() %}
        where {{ is_on_days(touched_days()) }}
    {% endif %}

),

counted as (

    select
        api_key,
        day,
        event_type,
        coalesce(consent_status, 'unknown') as consent_status,
        coalesce(sdk_type, 'unknown') as sdk_type,
        action_class,
        sampling_rate,
        min(event_at) filter (where is_current) as first_event_at,
        max(event_at) filter (where is_current) as last_event_at,
        count(*) filter (where not is_current) as n_duplicates,
        {{ daily_counts() }}
    from events
    group by 1, 2, 3, 4, 5, 6, 7

)

select
    api_key,
    day,
    event_type,
    consent_status,
    sdk_type,
    action_class,
    sampling_rate,
    first_event_at,
    last_event_at,
    n_duplicates,
    n,
    n_rate_unknown,
    n_count_unknown,
    n_count_inverse_of_rate,
    count_sum,
    count_sum_squares
from counted
