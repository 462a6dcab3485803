-- The index on load_id and api_key is read from pair to pair, because reading every event for a few pairs takes longer.
with recursive company_loads as (

    (
        select
            load_id,
            api_key
        from {{ ref('int_events') }}
        order by load_id, api_key
        limit 1
    )
    union all
    select
        following.load_id,
        following.api_key
    from company_loads
    cross join lateral (
        select
            events.load_id,
            events.api_key
        from {{ ref('int_events') }} as events
        where (events.load_id, events.api_key) > (company_loads.load_id, company_loads.api_key)
        order by events.load_id, events.api_key
        limit 1
    ) as following

)

select
    load_id,
    api_key
from company_loads
