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
    where
        is_current and choice_set is not null
        {% if is_incremental() %}
            and {{ is_on_days(touched_days()) }}
        {% endif %}

)

select
    api_key,
    day,
    event_type,
    choice_set,
    action_class,
    sampling_rate,
    -- A row with this set, from which int_choice_sets reads it.
    min(array[load_id, row_number]) as example,
    {{ daily_counts() }}
from events
group by 1, 2, 3, 4, 5, 6
