-- Events of the loads to test that do not have exactly one current row, from the latest load.
with events as not materialized (

    select * from {{ ref('int_events') }}

)

select
    api_key,
    event_id
from events -- noqa: AL04
{% if tests_check_all_rows() %}
    -- A single row that is current is correct.
    where {{ is_possibly_repeated("events") }} -- noqa: PRS
{% else %}
    -- An array makes the planner use the index on event_id.
    where event_id = any(array(
        select event_id from events
        where load_id = any({{ loads_to_test() }})
    ))
{% endif %}
group by api_key, event_id
having
    count(*) filter (where is_current) <> 1
    or max(load_id) filter (where is_current) <> max(load_id)
