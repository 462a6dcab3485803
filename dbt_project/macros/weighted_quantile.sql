{#
    The quantile of a value whose rows carry a weight, from rows that have weight_until, the sum of weights up to and
    including the row, and weight_of_all. Where two values share the place, the middle between them, so that with equal
    weights the median is the usual one.
#}
{% macro weighted_quantile(value, quantile) -%}
    (
        min({{ value }}) filter (where weight_until >= {{ quantile }} * weight_of_all)
        + min({{ value }}) filter (where weight_until > {{ quantile }} * weight_of_all)
    ) / 2
{%- endmacro %}
