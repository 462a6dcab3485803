{{
    config(
        materialized='incremental',
        incremental_strategy='append',
        on_schema_change='fail',
        indexes=[{'columns': ['api_key', 'day']}],
        pre_hook=[begin_repeatable_read(), '{{ set_planner_options() }}', '{{ delete_touched_days(neighbours=1) }}'],
        post_hook=['{{ set_replica_identity() }}', '{{ clear_touched_days(neighbours=1) }}', '{{ analyze_new_table() }}']
    )
}}

-- The two events of a pair are at most 24 hours apart. So an event changes durations of its day and of the days before
-- and after it, and the durations of a day need the events of these days. These are found once; a full refresh reads
-- the table for each method instead of copying it.
with events as {{ 'materialized' if is_incremental() and not is_distributed() else 'not materialized' }} (

    select *
    from {{ ref('int_events') }}
    where
        is_current
        and (event_type = 'consent.asked' or (event_type = 'consent.given' and {{ is_choice() }} and {{ is_notice() }}))
        {% if is_incremental() %}
            and {{ is_on_days(touched_days(neighbours=2)) }}
        {% endif %}

),

-- The consent token contains the time when it was created, as the notice appeared, and when the choice updated it.
by_token as (

    select
        api_key,
        day,
        event_id,
        'token_update' as method,
        0 as shift_seconds,
        sampling_rate,
        is_rate_unknown,
        date_part('epoch', token_updated_at - token_created_at) as seconds,
        abs(date_part('epoch', event_at - token_updated_at)) < 3600 as is_near_event
    from events
    where event_type = 'consent.given' and token_created_at is not null and token_updated_at is not null

),

-- The event before and after each event of a user. At the same instant, the notice comes before the choice. The hash
-- of the user id is redundant, but numbers are sorted faster than texts and UUIDs of which many are equal.
user_events as (

    select
        api_key,
        day,
        event_id,
        event_at,
        event_type,
        sampling_rate,
        is_rate_unknown,
        lag(event_type) over user_in_time as previous_type,
        lag(event_at) over user_in_time as previous_at,
        lag(sampling_rate) over user_in_time as previous_rate,
        lag(is_rate_unknown) over user_in_time as is_previous_rate_unknown,
        lead(event_type) over user_in_time as next_type,
        lead(event_at) over user_in_time as next_at,
        lead(sampling_rate) over user_in_time as next_rate,
        lead(is_rate_unknown) over user_in_time as is_next_rate_unknown,
        lead(event_type, 2) over user_in_time as after_next_type,
        lead(event_at, 2) over user_in_time as after_next_at
    from events
    where user_id is not null
    window user_in_time as (
        partition by hashtextextended(user_id, 0), api_key, user_id
        order by event_at, event_type, event_id
    )

),

-- A choice follows the notice that is the user's last event before it; earlier notices do not matter. A
-- pair is reversed if the user has no event before the choice, and a notice after it that no later choice answers.
user_pairs as (

    select
        *,
        case
            when previous_at >= event_at - interval '24 hours'
                then case when previous_type = 'consent.asked' then 'forward' end
            when
                next_type = 'consent.asked'
                and next_at <= event_at + interval '24 hours'
                and not coalesce(
                    after_next_type = 'consent.given' and after_next_at <= event_at + interval '24 hours', false
                )
                then 'reversed'
        end as direction
    from user_events
    where event_type = 'consent.given'

),

-- Sampling keeps or drops a page's events together, so the pair is kept with the lower of their two rates.
by_user as (

    select
        api_key,
        day,
        event_id,
        'user_id' as method,
        0 as shift_seconds,
        least(sampling_rate, case when direction = 'forward' then previous_rate else next_rate end) as sampling_rate,
        is_rate_unknown or case
            when direction = 'forward' then is_previous_rate_unknown
            else is_next_rate_unknown
        end as is_rate_unknown,
        date_part('epoch', event_at - case when direction = 'forward' then previous_at else next_at end) as seconds,
        null::boolean as is_near_event
    from user_pairs
    where direction is not null

),

-- Without a user id, two events of the same place and kind of device within 20 seconds may belong to one visit or to
-- two. Notices shifted by 10 to 20 minutes match only by chance, which estimates the number of chance matches.
shifts as (

    select unnest(array[0, -1200, -900, -600, 600, 900, 1200]) as shift_seconds

),

-- A 64-bit hash identifies a company's place as reliably as its columns, and is faster to join.
places as not materialized (

    select
        api_key,
        day,
        event_id,
        event_at,
        event_type,
        sampling_rate,
        is_rate_unknown,
        hash_record_extended(
            row(api_key, domain, deployment_id, country, region, browser_family, device_type, sdk_type), 0
        ) as place,
        floor(date_part('epoch', event_at) / 60)::bigint as clock_minute,
        floor(date_part('epoch', event_at + interval '20 seconds') / 60)::bigint as last_clock_minute
    from events

),

-- Each notice with each shift, in its own minute of the clock, and in the next one if the 20 seconds after it reach
-- that. This makes an equality join possible; otherwise every notice of a place would be joined with every choice. The
-- shifts are whole minutes. `offset 0` makes the planner compute these rows before the join; it would otherwise join
-- notices and choices by place alone.
notices as (

    select
        places.api_key,
        places.event_id,
        places.event_at,
        places.sampling_rate,
        places.is_rate_unknown,
        places.place,
        shifts.shift_seconds,
        places.clock_minute + shifts.shift_seconds / 60 + following.step as clock_minute
    from places
    cross join shifts
    cross join generate_series(0, 1) as following (step)
    where places.event_type = 'consent.asked' and places.clock_minute + following.step <= places.last_clock_minute
    {{ planner_barrier() }} -- noqa: AM09

),

choices as (

    select * from places
    where event_type = 'consent.given'
    {{ planner_barrier() }} -- noqa: AM09

),

nearby as (

    select distinct on (notices.api_key, notices.event_id, notices.shift_seconds)
        choices.api_key,
        choices.day,
        choices.event_id,
        choices.event_at,
        notices.shift_seconds,
        notices.event_at + notices.shift_seconds * interval '1 second' as asked_at,
        notices.event_id as asked_event_id,
        least(choices.sampling_rate, notices.sampling_rate) as sampling_rate,
        choices.is_rate_unknown or notices.is_rate_unknown as is_rate_unknown
    from notices
    inner join choices
        on
            notices.place = choices.place
            and notices.clock_minute = choices.clock_minute{{ and_same_company('notices', 'choices') }}
    where
        choices.event_at > notices.event_at + notices.shift_seconds * interval '1 second'
        and choices.event_at <= notices.event_at + (notices.shift_seconds + 20) * interval '1 second'
    order by
        notices.api_key asc, notices.event_id asc, notices.shift_seconds asc,
        choices.event_at asc, choices.event_id asc

),

-- If several notices precede a choice, the choice answers the last one.
matched as (

    select distinct on (api_key, event_id, shift_seconds)
        api_key,
        day,
        event_id,
        'matched' as method,
        shift_seconds,
        sampling_rate,
        is_rate_unknown,
        date_part('epoch', event_at - asked_at) as seconds,
        null::boolean as is_near_event
    from nearby
    order by api_key asc, event_id asc, shift_seconds asc, asked_at desc, asked_event_id asc

),

durations as (

    select * from by_token
    union all
    select * from by_user
    union all
    select * from matched

)

select * from durations
{% if is_incremental() %}
    where {{ is_on_days(touched_days(neighbours=1)) }}
{% endif %}
