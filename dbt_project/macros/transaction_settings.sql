{#
    Behind a pooler such as PgBouncer, which does not take settings at the start of a session, each model makes those of
    the program's sessions in its own transaction. In transaction pooling the session is another client's next, and so are
    the temporary tables that are left in it.
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
