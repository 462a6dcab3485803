{# The ways to say how many events a row stands for: COUNT / RATE, 1 / RATE and COUNT. #}
{% macro all_extrapolations() %}
    {{ return(["count_over_rate", "inverse_rate", "count"]) }}
{% endmacro %}

{# The one that the marts' estimates follow. #}
{% macro chosen_extrapolation() %}
    {% set chosen = var("extrapolation") %}
    {% if chosen not in all_extrapolations() %}
        {{ exceptions.raise_compiler_error(
            "Variable extrapolation is \"" ~ chosen ~ "\"; it must be one of " ~ all_extrapolations() | join(", ") ~ "."
        ) }}
    {% endif %}
    {{ return(chosen) }}
{% endmacro %}

{# Those that a mart needs. #}
{% macro chosen_and_inverse_rate() %}
    {{ return(["inverse_rate", chosen_extrapolation()] | unique | list) }}
{% endmacro %}

{# The daily column that holds the sum of the chosen weights. #}
{% macro weight_sum() -%}
    weight_sum_{{ chosen_extrapolation() }}
{%- endmacro %}

{# A sum over the daily rows that match a condition; null, never 0, where there is no event. #}
{% macro estimate(condition=none) -%}
    sum({{ weight_sum() }}){% if condition %} filter (where {{ condition }}){% endif %}
{%- endmacro %}
