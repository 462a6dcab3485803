{#
    The least number of effective rows with which a segment is published. With fewer, an interval covers half of the
    scale and its coverage is below 94% (docs/statistics.md); in a list of many segments the extreme ones would be those
    with the fewest rows.
#}
{% macro least_effective_rows() -%}
    10
{%- endmacro %}

{# The number of unweighted rows whose sum has the same relative variance (Kish 1965). #}
{% macro kish_rows(weight, squares) -%}
    power({{ weight }}, 2) / {{ squares }}
{%- endmacro %}
