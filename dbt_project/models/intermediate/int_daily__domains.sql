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
        is_current
        {% if is_incremental() %}
            and {{ is_on_days(touched_days()) }}
        {% endif %}

)

select
    api_key,
    day,
    coalesce(domain, 'unknown') as domain,
    count(*) as n
from events
group by 1, 2, 3
