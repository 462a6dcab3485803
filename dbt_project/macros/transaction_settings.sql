{#
    A pooler such as PgBouncer does not accept settings at the start of a session, so each model applies the settings
    of the program's sessions in its own transaction. With transaction pooling, another client uses the session next,
    including the temporary tables left in it; therefore they are discarded first.
#}
{% macro transaction_settings() -%}
    {% set settings = fromjson(env_var("CONSENT_TRANSACTION_SETTINGS", "[]")) %}
    {% if settings %}
        discard temp;
        {% for name, value in settings %}
            set local {{ name }} = '{{ value }}';
        {% endfor %}
    {% endif %}
{%- endmacro %}
