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

{# Those that a mart needs: the chosen one, and the two that the recommended estimate is one of. #}
{% macro mart_extrapolations() %}
    {{ return(["count_over_rate", "inverse_rate", chosen_extrapolation()] | unique | list) }}
{% endmacro %}

{#
    The extrapolation of the recommended estimate of a company: the brief's COUNT / RATE, or 1 / RATE where COUNT is
    extrapolated already and the rule would weight a sampled row twice. It follows from the data alone, whatever
    extrapolation is chosen.
#}
{% macro recommended_extrapolation(weighting="weighting") -%}
    case when {{ weighting }} = 'count_already_extrapolated' then 'inverse_rate' else 'count_over_rate' end
{%- endmacro %}

{# The daily column that holds the sum of the chosen weights. #}
{% macro weight_sum() -%}
    weight_sum_{{ chosen_extrapolation() }}
{%- endmacro %}

{# A sum over the daily rows that match a condition; null, never 0, where there is no event. #}
{% macro estimate(condition=none) -%}
    sum({{ weight_sum() }}){% if condition %} filter (where {{ condition }}){% endif %}
{%- endmacro %}

{#
    The key under which all companies together stand beside the single ones, where both are computed the same way. No
    export has it: its version and variant are those of a UUID of one's own making.
#}
{% macro all_companies() -%}
    'a11c0000-0000-8000-8000-000000000000'::uuid
{%- endmacro %}
