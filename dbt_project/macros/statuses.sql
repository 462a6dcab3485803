{# The statuses by which a user consents, and those by which he chooses at all: "empty" is neither. #}
{% macro is_opt_in() -%}
    consent_status in ('full opt-in', 'partial opt-in')
{%- endmacro %}

{% macro is_opt_out() -%}
    consent_status = 'opt-out'
{%- endmacro %}

{% macro is_choice() -%}
    consent_status in ('full opt-in', 'partial opt-in', 'opt-out')
{%- endmacro %}

{# Choices made elsewhere than in a notice. An absent action counts as one made in the notice. #}
{% macro is_notice() -%}
    action_class not in ('external', 'webview')
{%- endmacro %}
