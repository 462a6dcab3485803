-- Loads to test whose number of rows in int_events differs from the ledger.
with events as (

    select * from {{ ref('int_events') }}

),

loads as (

    select * from {{ ref('stg_consent__loads') }}

),

-- A load that is superseded during the build is removed by the next build; until then its rows are expected.
loads_to_test as (

    select
        load_id,
        n_rows
    from loads
    where load_id = any({{ loads_to_test() }})

),

counts as (

    select
        load_id,
        count(*) as n_rows
    from events
    where load_id = any({{ loads_to_test() }})
    group by 1

)

select
    loads_to_test.load_id,
    loads_to_test.n_rows as n_rows_loaded,
    counts.n_rows as n_rows_in_events
from loads_to_test
left join counts on loads_to_test.load_id = counts.load_id
where loads_to_test.n_rows <> coalesce(counts.n_rows, 0)
