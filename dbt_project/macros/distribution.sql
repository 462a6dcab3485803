{#
    On a Citus cluster raw.event is distributed over the workers by api_key (`consent migrate --distribute`). The tables
    with a row for each event or company day are then distributed in the same way, so that each worker computes
    them from its own rows. All other tables are as small as the marts and stay on the coordinator. On any other server
    these macros change nothing.
#}

{# Whether the database has the extension. #}
{% macro has_citus() %}
    {% if not execute %}{{ return(false) }}{% endif %}
    {{ return(run_query("select exists (select from pg_extension where extname = 'citus')").rows[0][0]) }}
{% endmacro %}

{# Whether raw.event is distributed by api_key. #}
{% macro is_distributed() %}
    {# The catalog of Citus cannot be named on a server without it. #}
    {% if not has_citus() %}{{ return(false) }}{% endif %}
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
    {{ return(["int_events"] + consumers()["int_events"] + consumers()["int_consent_durations"]) }}
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
    PARAMETERS of a row of raw.event as json. raw.parameters_json() leaves the type of the column free, but takes only rows of
    raw.event itself. On Citus each shard has a row type of its own, and undistribute_table() drops the function.
#}
{% macro parameters_json(event) -%}
    {% if has_citus() %}{{ event }}.parameters::text::json{% else %}raw.parameters_json({{ event }}){% endif %}
{%- endmacro %}

{#
    The workers of Citus get the settings that follow in the transaction, if each statement is sent on its own: Citus
    passes the whole text on.
#}
{% macro pass_settings_to_workers() -%}
    {% if is_distributed() %}set local citus.propagate_set_commands = 'local'{% endif %}
{%- endmacro %}

{#
    Citus commits a transaction on the coordinator first, and then on the workers. If a worker fails in between, it commits
    up to a minute later. A model waits for such commits, because it would not see their rows: its coordinator's snapshot
    is taken here, and those of the workers afterwards.
#}
{% macro await_workers() -%}
    {% if is_distributed() %}
        do $await$
        declare
            unfinished text[];
            remaining text[];
        begin
            for attempt in 1..1200 loop
                select array_agg(gid) into remaining
                from run_command_on_workers($command$
                    select string_agg(gid, ' ') from pg_prepared_xacts where gid like 'citus\_%' and database = current_database()
                $command$) as worker
                cross join unnest(string_to_array(worker.result, ' ')) as prepared (gid)
                where worker.success and (unfinished is null or gid = any(unfinished));
                unfinished := coalesce(unfinished, remaining, '{}');
                if remaining is null then
                    return;
                end if;
                perform pg_sleep(0.1);
            end loop;
            raise exception 'could not serialize access: the workers have not committed these transactions: %', remaining
                using hint = 'Citus commits them once the workers can be reached. Then run dbt again.';
        end
        $await$
    {% endif %}
{%- endmacro %}

{#
    Fails int_events if the workers do not have exactly the rows of the new loads: a load was replaced or retracted
    between the snapshot of the coordinator and those of the workers. The next build sees its successor.
#}
{% macro require_all_new_rows() -%}
    do $require$
    declare
        differing text;
    begin
        select string_agg(format('load %s: %s rows of %s', loads.load_id, coalesce(found.n, 0), loads.n_rows), '; ')
        into differing
        from {{ ref("stg_consent__loads") }} as loads
        left join (
            select load_id, count(*) as n from {{ this }} where load_id = any(array(select load_id from new_load)) group by load_id
        ) as found on loads.load_id = found.load_id
        where loads.load_id in (select load_id from new_load) and loads.n_rows <> coalesce(found.n, 0);
        if differing is not null then
            raise exception 'could not serialize access: loads changed while int_events was built: %', differing
                using hint = 'Nothing was changed. Run dbt again.';
        end if;
    end
    $require$
{%- endmacro %}

{#
    delete_removed_loads() and record_new_loads() without a copy of the events on the coordinator. affected_event then has
    only events of which another row exists.
#}
{% macro delete_removed_loads_on_workers() -%}
    create temporary table removed_load on commit drop as
    select load_id from {{ state_table("applied_load") }}
    except
    {{ published_event_loads() }};

    {{ record_touched_days("(select api_key, day from " ~ this ~ " where load_id = any(array(select load_id from removed_load))) as removed") }};

    insert into affected_event (api_key, event_id, day)
    select distinct remaining.api_key, remaining.event_id, remaining.day
    from {{ this }} as removed
    inner join {{ this }} as remaining
        on removed.api_key = remaining.api_key and removed.event_id = remaining.event_id
    where
        removed.load_id = any(array(select load_id from removed_load))
        and remaining.load_id <> all(array(select load_id from removed_load));

    delete from {{ this }} where load_id = any(array(select load_id from removed_load));
    delete from {{ state_table("applied_load") }} where load_id in (select load_id from removed_load)
{%- endmacro %}

{% macro record_new_events_on_workers() -%}
    {{ record_touched_days("(select api_key, day from " ~ this ~ " where load_id = any(array(select load_id from new_load))) as added") }};

    insert into affected_event (api_key, event_id, day)
    select distinct added.api_key, added.event_id, added.day
    from {{ this }} as added
    inner join {{ this }} as other
        on added.api_key = other.api_key and added.event_id = other.event_id
    where
        added.load_id = any(array(select load_id from new_load))
        and (added.load_id, added.row_number) <> (other.load_id, other.row_number);
    analyze affected_event
{%- endmacro %}
