{# The possible weights of a row: COUNT / RATE, 1 / RATE and COUNT. #}
{% macro all_extrapolations() %}
    {{ return(["count_over_rate", "inverse_rate", "count"]) }}
{% endmacro %}

{# The extrapolation of the marts' column estimate. #}
{% macro chosen_extrapolation() %}
    {% set chosen = var("extrapolation") %}
    {% if chosen not in all_extrapolations() %}
        {{ exceptions.raise_compiler_error(
            "Variable extrapolation is \"" ~ chosen ~ "\"; it must be one of " ~ all_extrapolations() | join(", ") ~ "."
        ) }}
    {% endif %}
    {{ return(chosen) }}
{% endmacro %}

{# The extrapolations that a mart needs: the chosen one and the two candidates for the recommended one. #}
{% macro mart_extrapolations() %}
    {{ return(["count_over_rate", "inverse_rate", chosen_extrapolation()] | unique | list) }}
{% endmacro %}

{#
    The extrapolation of the recommended estimate of a company: the brief's COUNT / RATE, or 1 / RATE if COUNT is
    already extrapolated and COUNT / RATE would weight a sampled row twice. It depends only on the data, not on the
    chosen extrapolation.
#}
{% macro recommended_extrapolation(weighting="weighting") -%}
    case when {{ weighting }} = 'count_already_extrapolated' then 'inverse_rate' else 'count_over_rate' end
{%- endmacro %}

{# The sum of the chosen weights over the daily rows that match a condition; null, never 0, if there is no event. #}
{% macro estimate(condition=none) -%}
    sum({{ {
        "count_over_rate": "count_sum / sampling_rate::numeric",
        "inverse_rate": "n / sampling_rate::numeric",
        "count": "count_sum",
    }[chosen_extrapolation()] }}){% if condition %} filter (where {{ condition }}){% endif %}
{%- endmacro %}

{#
    The key of all companies together, in relations that compute them like single companies. No export contains it:
    its version (8) and variant are those of custom UUIDs.
#}
{% macro all_companies() -%}
    'a11c0000-0000-8000-8000-000000000000'::uuid
{%- endmacro %}
