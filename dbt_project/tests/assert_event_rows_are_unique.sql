-- Rows of the loads to test that int_events contains more than once. Of two such rows at most one is current
-- (assert_one_current_row_per_event), so only the numbers of other rows can be repeated.
with events as not materialized (

    select * from {{ ref('int_events') }}
    where load_id = any({{ loads_to_test() }})

),

superseded as (

    select
        load_id,
        row_number
    from events
    where not is_current

)

select
    load_id,
    row_number,
    count(*) as n_rows
from events
where (load_id, row_number) in (
    select
        superseded.load_id,
        superseded.row_number
    from superseded
)
group by 1, 2
having count(*) > 1
