-- Rows of the loads to test that int_events contains more than once, or without event id, company or day.
select
    load_id,
    row_number,
    count(*) as n_rows
from {{ ref('int_events') }}
where load_id = any({{ loads_to_test() }})
group by 1, 2
having count(*) > 1 or count(event_id) + count(api_key) + count(day) < 3 * count(*)
