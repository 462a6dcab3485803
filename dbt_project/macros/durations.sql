{#
    The weight of a duration: 1 / p, and of a placebo the sixth part of it taken away, for there are six shifts. numeric
    keeps sums independent of their order.
#}
{% macro duration_weight() -%}
    case when is_placebo then -1.0 / 6 else 1.0 end / sampling_rate::numeric
{%- endmacro %}

{#
    The quantile of a value whose rows carry a weight, from rows that have weight_until, the sum of weights up to and
    including the row, and weight_sum, that of all. Where two values share the place, the middle between them, so that
    with equal weights the median is the usual one.
#}
{% macro weighted_quantile(value, quantile) -%}
    (
        min({{ value }}) filter (where weight_until >= {{ quantile }} * weight_sum)
        + min({{ value }}) filter (where weight_until > {{ quantile }} * weight_sum)
    ) / 2
{%- endmacro %}
