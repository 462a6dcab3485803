with daily_events as (

    select * from {{ ref('int_daily__events') }}

)

select distinct day
from daily_events
where n > 0
