{{
    config(
        materialized='incremental',
        incremental_strategy='append',
        on_schema_change='fail',
        indexes=[{'columns': ['api_key', 'day']}],
        pre_hook=[one_snapshot(), '{{ take_out_touched_days() }}'],
        post_hook=['{{ identify_rows() }}', '{{ strike_off_touched_days() }}']
    )
}}

with events as (

    select *
    from {{ ref('int_events') }}
    where
        is_current
        {% if is_incremental() %}
            and {{ is_of_days(touched_days()) }}
        {% endif %}

)

select
    api_key,
    day,
    coalesce(domain, 'unknown') as domain,
    count(*) as n
from events
group by 1, 2, 3
