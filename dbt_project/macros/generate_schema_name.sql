{# Every model is in the schema of the profile; by default dbt would append a folder's schema to its name. #}
{% macro generate_schema_name(custom_schema_name, node) -%}
    {{ target.schema }}
{%- endmacro %}
