{{
    config(
        materialized='incremental',
        incremental_strategy='append',
        on_schema_change='fail',
        indexes=[{'columns': ['load_id', 'api_key']}, {'columns': ['api_key', 'day']}, {'columns': ['event_id']}],
        pre_hook=[begin_repeatable_read(), '{{ delete_removed_loads() }}'],
        post_hook=[
            '{{ set_replica_identity() }}', '{{ record_new_loads() }}', '{{ update_is_current() }}', '{{ analyze_new_table() }}',
        ]
    )
}}

with events as (

    select * from {{ ref('stg_consent__events') }}

),

loads as (

    select * from {{ ref('stg_consent__loads') }}

),

applied_loads as (

    select * from {{ source('analytics_state', 'applied_load') }}

),

-- A full refresh has emptied applied_load, so every published load is new.
new_loads as (

    select load_id
    from loads
    where contract = 'event' and state = 'published'
    except
    select load_id
    from applied_loads

),

new_events as (

    select
        events.*,
        -- Exports have float32 noise (0.1000000015), so values are rounded before they are checked. The type numeric
        -- rounds decimal halves up. It is slow, so a rate that has at most six places skips it.
        case
            when events.reported_rate between 0 and 1 and round(events.reported_rate * 1e6) / 1e6 = events.reported_rate
                then events.reported_rate
            else round(events.reported_rate::numeric, 6)::double precision
        end as rounded_rate
    from events
    where
        events.load_id in (select new_loads.load_id from new_loads)
        {% if is_incremental() %}
            -- New loads have higher numbers than older ones, unless they were committed late. A range is one search in
            -- the BRIN index on load_id; a list would be one search for each load.
            and events.load_id >= (select min(new_loads.load_id) from new_loads)
            and events.load_id <= (select max(new_loads.load_id) from new_loads)
        {% endif %}
    -- `offset 0` keeps this query apart from the next ones, which would otherwise round each rate at every use of it.
    {{ planner_barrier() }} -- noqa: AM09

),

checked as (

    select
        *,
        coalesce(rounded_rate <= 0 or rounded_rate > 1, true) as is_rate_unknown,
        coalesce(reported_count < 1, true) as is_count_unknown
    from new_events

),

cleaned as (

    select
        *,
        case when is_rate_unknown then 1 else rounded_rate end as sampling_rate,
        case when is_count_unknown then 1 else reported_count end as event_count
    from checked

)

select
    load_id,
    row_number,
    event_id,
    api_key,
    event_at,
    (event_at at time zone 'UTC')::date as day,
    event_type,
    consent_status,
    action,
    -- Opening the preferences shows their purposes. Their list of vendors is not counted: apps send both events when
    -- they open the preferences.
    case
        when action is null then 'absent'
        when event_type = 'ui.action' and action = 'preferences.shownpurposes' then 'preferences'
        when action in ('external', 'webview') then action
        else 'notice'
    end as action_class,
    country,
    region,
    device_type,
    browser_family,
    sdk_type,
    domain,
    deployment_id,
    notice_position,
    user_id,
    token_created_at,
    token_updated_at,
    choice_set,
    sampling_rate,
    event_count,
    is_rate_unknown,
    is_count_unknown,
    -- Set in the post-hook, which sees the rows of all loads.
    true as is_current
from cleaned
