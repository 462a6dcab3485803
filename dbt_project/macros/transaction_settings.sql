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

{#
    Sorting and hashing millions of rows in memory takes less time than on disk, and compiling these queries takes
    longer than running them.
#}
{% macro set_memory() -%}
    set local jit = off;
    set local work_mem = '64MB'
{%- endmacro %}

{# Tests have no hooks, so they get their memory here. #}
{% macro postgres__get_test_sql(main_sql, fail_calc, warn_if, error_if, limit) -%}
    {%- if is_distributed() %}
        {%- do run_query(await_workers()) %}
        {%- do run_query(pass_settings_to_workers()) %}
        {%- do run_query(set_memory()) %}
    {%- else -%}
    {{ set_memory() }};
    {%- endif %}
    {{ default__get_test_sql(main_sql, fail_calc, warn_if, error_if, limit) }}
{%- endmacro %}
