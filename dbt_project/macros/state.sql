{#
    The tables with the progress of the incremental models of a schema (load_sets.sql). Each schema has its own, so
    builds in two schemas do not affect each other. `consent migrate` creates those of analytics; this macro creates
    missing ones, with the same columns.
#}
{% macro create_state_tables() -%}
    {%- set applied_load = in_target_schema("applied_load") %}
    {%- set touched = in_target_schema("touched") %}
    do $create$
    begin
        if {{ exists_in_database(applied_load) }} and {{ exists_in_database(touched) }} then
            return;
        end if;
        {% if not flags.FULL_REFRESH %}
        if {{ exists_in_database(in_target_schema("int_events")) }} then
            raise exception 'Schema {{ target.schema | replace("'", "''") | replace("%", "%%") }} has int_events, but not both state tables, applied_load and touched, so it is unknown which loads int_events contains.'
                using hint = 'Rebuild everything: dbt build --full-refresh. Nothing was changed.';
        end if;
        {% endif %}
        create table if not exists {{ applied_load }} (
            load_id bigint primary key,
            applied timestamptz not null default now()
        );
        create table if not exists {{ touched }} (
            model text not null,
            api_key uuid not null,
            day date not null,
            primary key (model, api_key, day)
        );
    end
    $create$
{%- endmacro %}

{% macro in_target_schema(identifier) %}
    {{ return(api.Relation.create(database=target.database, schema=target.schema, identifier=identifier)) }}
{% endmacro %}

{% macro exists_in_database(relation) -%}
    to_regclass('{{ relation.include(database=False) | replace("'", "''") }}') is not null
{%- endmacro %}
