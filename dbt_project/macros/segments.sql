{#
    The least number of effective rows with which a segment is published. With fewer, an interval covers half of the
    scale and its coverage is below 94% (docs/statistics.md); in a list of many segments the extreme ones would be those
    with the fewest rows.
#}
{% macro least_effective_rows() -%}
    10
{%- endmacro %}

{#
    The number of unweighted rows whose sum has the same relative variance (Kish 1965). Rounded, so that ten equal rows
    are not fewer than ten.
#}
{% macro kish_rows(weight, squares) -%}
    round((power({{ weight }}, 2) / {{ squares }})::numeric, 6)::double precision
{%- endmacro %}

{# The value that all rows have; null if they differ or one has none. #}
{% macro common_value(column) -%}
    case when min({{ column }}) = max({{ column }}) and count(*) = count({{ column }}) then min({{ column }}) end
{%- endmacro %}
