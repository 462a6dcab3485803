-- Events of the loads to test that do not have exactly one current row, from the latest load.
with events as not materialized (

    select * from {{ ref('int_events') }}

)

select
    events.api_key,
    events.event_id
from events -- noqa: AL04
{% if not tests_check_all_rows() %}
    inner join ( -- noqa: ST05
        select distinct
            api_key,
            event_id
        from events
        where load_id = any({{ loads_to_test() }})
    ) as events_to_test
        on events.event_id = events_to_test.event_id and events.api_key = events_to_test.api_key
{% endif %}
group by 1, 2
having
    count(*) filter (where events.is_current) <> 1
    or max(events.load_id) filter (where events.is_current) <> max(events.load_id)
