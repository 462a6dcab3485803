{{
    config(
        materialized='incremental',
        incremental_strategy='append',
        on_schema_change='fail',
        indexes=[{'columns': ['api_key', 'day']}],
        pre_hook=[one_snapshot(), '{{ take_out_touched_days() }}'],
        post_hook='{{ strike_off_touched_days() }}'
    )
}}

with events as (

    select *
    from {{ ref('int_events') }}
    where
        is_current
        and event_type = 'consent.given'
        {% if is_incremental() %}
            and (api_key, day) in ({{ touched_days() }})
        {% endif %}

),

-- The consent token says itself when it was created, as the notice appeared, and when the choice updated it.
embedded as (

    select
        *,
        'embedded' as method,
        extract(epoch from token_updated_at - token_created_at)::double precision as seconds,
        abs(extract(epoch from event_at - token_updated_at)) < 3600 as is_near_event
    from events
    where token_created_at is not null and token_updated_at is not null

)

select
    api_key,
    day,
    event_id,
    method,
    event_at as given_at,
    consent_status,
    action_class,
    sampling_rate,
    weight_inverse_rate as weight,
    seconds,
    is_near_event
from embedded
