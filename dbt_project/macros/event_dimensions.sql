{# The dimensions of event_breakdown, each with its column in int_events. To add a dimension, add a line. #}
{% macro event_dimensions() %}
    {{ return({
        "type": "event_type",
        "device": "device_type",
        "sdk": "sdk_type",
        "country": "country",
    }) }}
{% endmacro %}
