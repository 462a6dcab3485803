{% set dimensions = event_dimensions() %}

{{
    config(
        materialized='incremental',
        incremental_strategy='append',
        on_schema_change='fail',
        indexes=[{'columns': ['api_key', 'day']}],
        pre_hook=[begin_repeatable_read(), '{{ delete_touched_days() }}'],
        post_hook=['{{ set_replica_identity() }}', '{{ clear_touched_days() }}']
    )
}}

with events as (

    select *
    from {{ ref('int_events') }}
    where
        is_current
        {% if is_incremental() %}
            and {{ is_on_days(touched_days()) }}
        {% endif %}

),

-- Grouping by all columns first leaves fewer rows to repeat for each dimension.
counted as (

    select
        api_key,
        day,
        event_type,
        sampling_rate,
        {%- for dimension, column in dimensions.items() %}
            coalesce({{ column }}, 'unknown') as {{ dimension }}_value,
        {%- endfor %}
        {{ daily_counts() }}
    from events
    group by {{ range(1, 5 + dimensions | length) | join(", ") }}

),

dimensioned as (

    select
        counted.api_key,
        counted.day,
        counted.event_type,
        dimensions.dimension,
        dimensions.value,
        counted.sampling_rate,
        sum(counted.n)::bigint as n,
        sum(counted.n_rate_unknown)::bigint as n_rate_unknown,
        sum(counted.count_sum) as count_sum,
        sum(counted.count_sum_squares) as count_sum_squares
    from counted
    cross join
        unnest(
            array['{{ dimensions | join("', '") }}'],
            array[{{ dimensions | join("_value, ") }}_value]
        ) as dimensions (dimension, value)
    group by 1, 2, 3, 4, 5, 6

)

select
    api_key,
    day,
    event_type,
    dimension,
    value,
    sampling_rate,
    n,
    n_rate_unknown,
    count_sum,
    count_sum_squares
from dimensioned
