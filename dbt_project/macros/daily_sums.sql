{#
    The additive columns of the daily models. Within one sampling rate every sum of weights follows from three
    numbers: the number of rows n, the sum of COUNT and the sum of its squares (strata() in estimates.sql). The type
    numeric makes sums independent of the order of addition, so an incremental build equals a full refresh to the last
    digit.
#}
{% macro daily_counts() -%}
    count(*) filter (where is_current) as n,
    coalesce(sum(event_count) filter (where is_current), 0)::numeric as count_sum,
    {{ sum_of_squares("event_count", "is_current") }} as count_sum_squares,
    count(*) filter (where is_current and is_rate_unknown) as n_rate_unknown,
    count(*) filter (where is_current and is_count_unknown) as n_count_unknown,
    count(*) filter (where is_current and event_count = floor(1 / sampling_rate + 0.5)) as n_count_inverse_of_rate
{%- endmacro %}

{#
    The exact sum of the squares of a nonnegative bigint; 0 without rows. Squares that fit a bigint are multiplied as
    such, which is several times as fast as numeric.
#}
{% macro sum_of_squares(value, condition="true") -%}
    (
        coalesce(sum({{ value }} * {{ value }}) filter (where {{ condition }} and {{ value }} < 3000000000), 0)
        + coalesce(sum({{ value }}::numeric * {{ value }}) filter (where {{ condition }} and {{ value }} >= 3000000000), 0)
    )
{%- endmacro %}
