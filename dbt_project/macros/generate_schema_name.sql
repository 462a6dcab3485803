{# Every model is in the one schema of the profile; dbt's default would append a folder's schema to its name. #}
{% macro generate_schema_name(custom_schema_name, node) -%}
    {{ target.schema }}
{%- endmacro %}
