with daily_events as (

    select *
    from {{ ref('int_daily__events') }}
    where n > 0

),

extent as (

    select
        min(day) as first_day,
        max(day) as last_day,
        max(last_event_at) as last_event_at
    from daily_events

),

-- An export may end within a day. The last day counts as complete if it has an event in its last hour.
complete as (

    select
        first_day,
        case
            when (last_event_at at time zone 'UTC')::time >= '23:00' then last_day
            else last_day - 1
        end as last_day
    from extent

),

lengths as (

    select
        complete.last_day,
        lengths.days
    from complete
    cross join unnest(array[7, 28]) as lengths (days)
    where lengths.days = 7 or complete.first_day <= complete.last_day - 2 * lengths.days + 1

)

select
    lengths.days,
    parts.is_previous,
    lengths.last_day - parts.days_ago - lengths.days + 1 as first_day,
    lengths.last_day - parts.days_ago as last_day
from lengths
cross join lateral (values (false, 0), (true, lengths.days)) as parts (is_previous, days_ago)
