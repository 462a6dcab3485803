-- Rows of the loads to test that int_events contains more than once. Of two such rows at most one is current
-- (assert_one_current_row_per_event), so only the numbers of other rows can be repeated.
select
    load_id,
    row_number,
    count(*) as n_rows
from {{ ref('int_events') }}
where
    load_id = any({{ loads_to_test() }})
    and (load_id, row_number) in (
        select
            repeated.load_id,
            repeated.row_number
        from {{ ref('int_events') }} as repeated
        where not repeated.is_current and repeated.load_id = any({{ loads_to_test() }})
    )
group by 1, 2
having count(*) > 1
