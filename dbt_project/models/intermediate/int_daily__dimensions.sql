{% set dimensions = event_dimensions() %}

{{
    config(
        materialized='incremental',
        incremental_strategy='append',
        on_schema_change='fail',
        indexes=[{'columns': ['api_key', 'day']}, {'columns': ['dimension', 'value']}],
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

-- Grouping by all columns first leaves fewer rows to repeat for each dimension. Only prompts and consents have the
-- columns of consent_segments; in other events they are null. Values are cut off, because the marts' primary keys
-- cannot have values of any length.
counted as (

    select
        api_key,
        day,
        event_type,
        sampling_rate,
        case when {{ is_prompt_or_consent() }} then coalesce(consent_status, 'unknown') end as consent_status,
        case when {{ is_prompt_or_consent() }} then action_class end as action_class,
        notice_position,
        {%- for name, dimension in dimensions.items() %}
            {%- if "event_breakdown" in dimension.marts %}
                left(coalesce({{ dimension.column }}, 'unknown'), 200) as {{ name }}_value,
            {%- else %}
                case
                    when {{ is_prompt_or_consent() }} then left(coalesce({{ dimension.column }}, 'unknown'), 200)
                end as {{ name }}_value,
            {%- endif %}
        {%- endfor %}
        {{ daily_counts() }}
    from events
    group by {{ range(1, 8 + dimensions | length) | join(", ") }}

),

dimensioned as (

    select
        counted.api_key,
        counted.day,
        counted.event_type,
        counted.consent_status,
        counted.action_class,
        dimensions.dimension,
        dimensions.value,
        -- int_segment_strata needs the positions of each deployment.
        case when dimensions.dimension = 'deployment' then counted.notice_position end as notice_position,
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
    where dimensions.value is not null
    group by 1, 2, 3, 4, 5, 6, 7, 8, 9

)

select
    api_key,
    day,
    event_type,
    consent_status,
    action_class,
    dimension,
    value,
    notice_position,
    sampling_rate,
    n,
    n_rate_unknown,
    count_sum,
    count_sum_squares
from dimensioned
