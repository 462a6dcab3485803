{# The way to say how many events a row stands for that the marts' estimates follow. #}
{% macro chosen_extrapolation() %}
    {% set extrapolations = ["count_over_rate", "inverse_rate", "count"] %}
    {% set chosen = var("extrapolation") %}
    {% if chosen not in extrapolations %}
        {{ exceptions.raise_compiler_error(
            "Variable extrapolation is \"" ~ chosen ~ "\"; it must be one of " ~ extrapolations | join(", ") ~ "."
        ) }}
    {% endif %}
    {{ return(chosen) }}
{% endmacro %}

{# The daily column that holds the sum of the chosen weights. #}
{% macro weight_sum() -%}
    weight_sum_{{ chosen_extrapolation() }}
{%- endmacro %}

{# A sum over the daily rows that match a condition; null, never 0, where there is no event. #}
{% macro estimate(condition=none) -%}
    sum({{ weight_sum() }}){% if condition %} filter (where {{ condition }}){% endif %}
{%- endmacro %}
