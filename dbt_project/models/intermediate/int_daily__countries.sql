{{
    config(
        materialized='incremental',
        incremental_strategy='append',
        on_schema_change='fail',
        indexes=[{'columns': ['api_key', 'day']}],
        pre_hook=[one_snapshot(), '{{ take_out_touched_days() }}'],
        post_hook=['{{ identify_rows() }}', '{{ strike_off_touched_days() }}']
    )
}}

with events as (

    select *
    from {{ ref('int_events') }}
    where
        is_current
        {% if is_incremental() %}
            and {{ is_of_days(touched_days()) }}
        {% endif %}

),

counted as (

    select
        api_key,
        day,
        event_type,
        coalesce(country, 'unknown') as country,
        sampling_rate,
        sampling_rate::numeric as rate,
        {{ daily_counts() }}
    from events
    group by 1, 2, 3, 4, 5

)

select
    api_key,
    day,
    event_type,
    country,
    sampling_rate,
    n,
    n_rate_unknown,
    {{ daily_weights() }}
from counted
