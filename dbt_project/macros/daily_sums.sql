{#
    The additive columns of the daily models. Within one sampling rate p every sum of weights follows from three
    integers: the number of rows n, the sum of COUNT and the sum of its squares. The type numeric makes sums
    independent of the order of addition, so an incremental build equals a full refresh to the last digit.
#}
{% macro daily_counts() -%}
    count(*) filter (where is_current) as n,
    coalesce(sum(event_count) filter (where is_current), 0)::numeric as count_sum,
    coalesce(sum(event_count::numeric * event_count) filter (where is_current), 0)::numeric as count_sum_squares,
    count(*) filter (where is_current and is_rate_unknown) as n_rate_unknown,
    count(*) filter (where is_current and is_count_unknown) as n_count_unknown,
    count(*) filter (where is_current and event_count = floor(1 / sampling_rate + 0.5)) as n_count_inverse_of_rate
{%- endmacro %}

{# For each extrapolation: the sums of w, w² and w² p over the weights w. #}
{% macro daily_weights() -%}
    trim_scale(count_sum / rate) as weight_sum_count_over_rate,
    trim_scale(count_sum_squares / (rate * rate)) as weight_squares_count_over_rate,
    trim_scale(count_sum_squares / rate) as weight_squares_rate_count_over_rate,
    trim_scale(n / rate) as weight_sum_inverse_rate,
    trim_scale(n / (rate * rate)) as weight_squares_inverse_rate,
    trim_scale(n / rate) as weight_squares_rate_inverse_rate,
    count_sum as weight_sum_count,
    count_sum_squares as weight_squares_count,
    count_sum_squares * rate as weight_squares_rate_count
{%- endmacro %}
