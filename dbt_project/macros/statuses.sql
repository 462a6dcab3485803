{# The statuses of an opt-in, an opt-out and any choice; "empty" is none of them. #}
{% macro is_opt_in() -%}
    consent_status in ('full opt-in', 'partial opt-in')
{%- endmacro %}

{% macro is_opt_out() -%}
    consent_status = 'opt-out'
{%- endmacro %}

{% macro is_choice() -%}
    consent_status in ('full opt-in', 'partial opt-in', 'opt-out')
{%- endmacro %}

{# Events in the notice, without actions taken elsewhere. An event without an action counts as in the notice. #}
{% macro is_notice() -%}
    action_class not in ('external', 'webview')
{%- endmacro %}

{# Events by which a visitor opened the preferences, where purposes are chosen one by one. #}
{% macro opens_preferences() -%}
    event_type = 'ui.action' and action_class = 'preferences'
{%- endmacro %}
