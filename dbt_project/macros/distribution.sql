{#
    On a Citus cluster raw.event is distributed over the workers by api_key (`consent migrate --distribute`). The tables
    with a row for each event or company day are then distributed in the same way, so that each worker computes
    them from its own rows. All other tables are as small as the marts and stay on the coordinator. On any other server
    these macros change nothing.
#}

{# Whether raw.event is distributed by api_key. #}
{% macro is_distributed() %}
    {% if not execute %}{{ return(false) }}{% endif %}
    {# The catalog of Citus cannot be named on a server without it. #}
    {% if not run_query("select exists (select from pg_extension where extname = 'citus')").rows[0][0] %}
        {{ return(false) }}
    {% endif %}
    {{ return(run_query(
        "select exists (
            select from pg_dist_partition
            where logicalrelid = to_regclass('raw.event') and partmethod = 'h'
                and column_to_column_name(logicalrelid, partkey) = 'api_key'
        )"
    ).rows[0][0]) }}
{% endmacro %}

{# The models whose tables are distributed. #}
{% macro distributed_models() %}
    {{ return(["int_events"] + consumers_of_events()) }}
{% endmacro %}

{# The statement that distributes a table in the same way as raw.event: a company's rows are on one worker. #}
{% macro distribute_as_events(table) -%}
    select create_distributed_table('{{ table.include(database=False) | replace("'", "''") }}', 'api_key', colocate_with => 'raw.event')
{%- endmacro %}

{#
    Distributes the tables that were built before raw.event was distributed. The coordinator's copy of their rows is
    deleted.
#}
{% macro distribute_existing_tables() -%}
    {% if is_distributed() %}
        {% for model in distributed_models() %}
            {% set table = in_target_schema(model) %}
            do $distribute$
            begin
                if exists (
                    select from pg_class
                    where oid = to_regclass('{{ table.include(database=False) | replace("'", "''") }}') and relkind = 'r'
                        and oid not in (select logicalrelid from pg_dist_partition)
                ) then
                    perform create_distributed_table(
                        '{{ table.include(database=False) | replace("'", "''") }}', 'api_key', colocate_with => 'raw.event'
                    );
                    perform truncate_local_data_after_distributing_table(
                        '{{ table.include(database=False) | replace("'", "''") }}'
                    );
                end if;
            end
            $distribute$;
        {% endfor %}
    {% endif %}
{%- endmacro %}

{#
    A distributed table is created empty and then filled by the workers; `create table as` would first collect the rows
    on the coordinator. The rows of an incremental build are inserted directly from its query, behind a view: a
    temporary table would be on the coordinator.
#}
{% macro postgres__create_table_as(temporary, relation, sql) -%}
    {% if this.identifier not in distributed_models() or not is_distributed() %}
        {{- dbt.postgres__create_table_as(temporary, relation, sql) -}}
    {% elif temporary %}
        create temporary view {{ relation }} as (
            {{ sql }}
        );
    {% else %}
        create table {{ relation }} as (
            {{ sql }}
        ) with no data;
        {{ distribute_as_events(relation) }};
        insert into {{ relation }} (
            {{ sql }}
        );
    {% endif %}
{%- endmacro %}

{#
    Keeps a subquery apart from the query around it. Citus would compute such a subquery on the coordinator.
#}
{% macro planner_barrier() -%}
    {% if not is_distributed() %}offset 0{% endif %}
{%- endmacro %}

{# A condition that a join already implies: it tells Citus that both rows are on one worker. #}
{% macro and_same_company(left, right) -%}
    {% if is_distributed() %} and {{ left }}.api_key = {{ right }}.api_key{% endif %}
{%- endmacro %}

{#
    The workers of Citus get the settings that follow in the transaction, if each statement is sent on its own: Citus
    passes the whole text on.
#}
{% macro pass_settings_to_workers() -%}
    {% if is_distributed() %}set local citus.propagate_set_commands = 'local'{% endif %}
{%- endmacro %}
