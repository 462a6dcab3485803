{#
    The dimensions of events, each with its column in int_events and the marts that have it. To add a dimension, add a
    line. Dimensions of event_breakdown contain every event; the others only prompts and consents, because page views
    have too many different combinations of domain, browser and deployment.
#}
{% macro event_dimensions() %}
    {{ return({
        "type": {"column": "event_type", "marts": ["event_breakdown"]},
        "device": {"column": "device_type", "marts": ["event_breakdown", "consent_segments"]},
        "sdk": {"column": "sdk_type", "marts": ["event_breakdown", "consent_segments"]},
        "country": {"column": "country", "marts": ["event_breakdown", "consent_segments"]},
        "browser": {"column": "browser_family", "marts": ["consent_segments"]},
        "domain": {"column": "domain", "marts": ["consent_segments"]},
        "deployment": {"column": "deployment_id", "marts": ["consent_segments"]},
    }) }}
{% endmacro %}

{# The names of the dimensions of a mart. #}
{% macro dimensions_of(mart) %}
    {% set names = [] %}
    {% for name, dimension in event_dimensions().items() if mart in dimension.marts %}
        {% do names.append(name) %}
    {% endfor %}
    {{ return(names) }}
{% endmacro %}

{# The dimensions of consent_segments: int_segment_strata derives the position of a notice from its deployment. #}
{% macro segment_dimensions() %}
    {{ return(dimensions_of("consent_segments") + ["position"]) }}
{% endmacro %}

{# Whether a row's dimension is one of a mart. #}
{% macro is_dimension_of(mart) -%}
    dimension = any(string_to_array('{{ dimensions_of(mart) | join(" ") }}', ' '))
{%- endmacro %}

{# The types of events that have every dimension. #}
{% macro is_prompt_or_consent() -%}
    event_type in ('consent.asked', 'consent.given')
{%- endmacro %}
