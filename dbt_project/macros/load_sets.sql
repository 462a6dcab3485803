{#
    int_events follows the set of published loads, not a watermark, because load 5 may commit after load 6. It records
    the company days that it changes in analytics.touched, once for each model that aggregates them. Each of these
    models aggregates its days again and deletes them from touched, all within the model's own transaction.

    With --empty the models of a build see no rows: an existing incremental model stays unchanged, and a new one is empty.
    The state records this, and the next build without --empty adds the missing rows.
#}

{#
    A state table. It is read in full even with --empty, which replaces ref() and source() by a subquery without rows.
#}
{% macro state_table(table) %}
    {{ return(source("analytics_state", table).render()) }}
{% endmacro %}

{#
    Every statement in a model's transaction must see the same loads: under READ COMMITTED a load published while the
    body runs would be recorded as applied, and its rows would never be added. dbt ends its own transaction before a
    hook with transaction false and does not begin another, so the hook must begin it.
#}
{% macro begin_repeatable_read() %}
    {{ return({"sql": "begin isolation level repeatable read", "transaction": false}) }}
{% endmacro %}

{# Fails the model if it would record its changes outside that transaction. #}
{% macro require_repeatable_read() -%}
    do $$
    begin
        if current_setting('transaction_isolation') <> 'repeatable read' then
            raise exception '{{ this.identifier }} must run in one repeatable read transaction: add begin_repeatable_read() as its first pre_hook.';
        end if;
    end
    $$
{%- endmacro %}

{# The models that aggregate int_events by company day. #}
{% macro consumers_of_events() %}
    {{ return(["int_daily__events", "int_daily__dimensions", "int_daily__domains", "int_consent_durations"]) }}
{% endmacro %}

{# Records the company days of a relation with columns api_key and day as touched. #}
{% macro record_touched_days(relation) -%}
    insert into {{ state_table("touched") }} (model, api_key, day)
    select
        consumer.model,
        changed.api_key,
        changed.day
    from (select distinct api_key, day from {{ relation }}) as changed
    cross join unnest(array['{{ consumers_of_events() | join("', '") }}']) as consumer (model)
    on conflict do nothing
{%- endmacro %}

{# The company days that a model still has to aggregate again, with `neighbours` days before and after each of them. #}
{% macro touched_days(neighbours=0) -%}
    select touched.api_key, touched.day {% if neighbours %}+ neighbour.days{% endif %}
    from {{ state_table("touched") }} as touched
    {% if neighbours %}
        cross join generate_series(-{{ neighbours }}, {{ neighbours }}) as neighbour (days)
    {% endif %}
    where touched.model = '{{ this.identifier }}'
{%- endmacro %}

{#
    Whether a row belongs to one of the company days. The arrays are redundant, but make the planner use the index on
    api_key and day, regardless of its row estimate.
#}
{% macro is_on_days(days) -%}
    api_key = any(array(select distinct on_days.api_key from ({{ days }}) as on_days (api_key, day)))
    and day = any(array(select distinct on_days.day from ({{ days }}) as on_days (api_key, day)))
    and (api_key, day) in ({{ days }})
{%- endmacro %}

{# Before the body of a model that aggregates int_events: deletes the days that it aggregates again. #}
{% macro delete_touched_days(neighbours=0) -%}
    {% if is_incremental() and ref("int_events").schema != this.schema %}
        {{ exceptions.raise_compiler_error(
            this.identifier ~ " is built incrementally from int_events of its own schema, " ~ this.schema
            ~ ", but --defer resolves int_events to schema " ~ ref("int_events").schema
            ~ ". Select int_events too, or add --full-refresh."
        ) }}
    {% elif is_incremental() and not flags.EMPTY %}
        delete from {{ this }} where {{ is_on_days(touched_days(neighbours)) }}
    {% endif %}
{%- endmacro %}

{# After that body: deletes the model's days from touched. The body has seen every day that is in the snapshot. #}
{% macro clear_touched_days() -%}
    {{ require_repeatable_read() }};
    {% if not flags.EMPTY %}
        delete from {{ state_table("touched") }} where model = '{{ this.identifier }}'
    {% elif not is_incremental() %}
        insert into {{ state_table("touched") }} (model, api_key, day)
        select distinct '{{ this.identifier }}', api_key, day from {{ ref("int_events").render() }}
        on conflict do nothing
    {% endif %}
{%- endmacro %}

{# The loads whose rows int_events should hold. #}
{% macro published_event_loads() -%}
    select load_id from {{ ref("stg_consent__loads") }} where contract = 'event' and state = 'published'
{%- endmacro %}

{# Before the body of int_events: deletes the rows of removed loads. A full refresh starts with an empty state. #}
{% macro delete_removed_loads() -%}
    create temporary table affected_event (api_key uuid, event_id uuid, day date) on commit drop;
    {% if not is_incremental() %}
        {% if load_relation(this) is not none %}
            {{ record_touched_days(this) }};
        {% endif %}
        -- Models that are no longer in the project never delete their days.
        delete from {{ state_table("touched") }} where model <> all(array['{{ consumers_of_events() | join("', '") }}']);
        delete from {{ state_table("applied_load") }};
    {% elif not flags.EMPTY and is_distributed() %}
        {{ delete_removed_loads_on_workers() }};
    {% elif not flags.EMPTY %}
        with deleted as (
            delete from {{ this }}
            where load_id = any(array(
                select load_id from {{ state_table("applied_load") }}
                except
                {{ published_event_loads() }}
            ))
            returning api_key, event_id, day
        )

        insert into affected_event (api_key, event_id, day) select api_key, event_id, day from deleted;

        delete from {{ state_table("applied_load") }}
        where load_id not in ({{ published_event_loads() }});
    {% endif %}
{%- endmacro %}

{# Before the body of int_company_loads: deletes the rows of removed loads. #}
{% macro delete_removed_company_loads() -%}
    {% if is_incremental() and not flags.EMPTY %}
        delete from {{ this }} where load_id not in ({{ published_event_loads() }})
    {% endif %}
{%- endmacro %}

{# After the body of int_events: records the loads that it added, and the company days with added or deleted rows. #}
{% macro record_new_loads() -%}
    {{ require_repeatable_read() }};
    {% if not flags.EMPTY %}
    create temporary table new_load (load_id bigint) on commit drop;
    insert into new_load (load_id)
    {{ published_event_loads() }}
    and load_id not in (select load_id from {{ state_table("applied_load") }});

    {% if is_incremental() and is_distributed() %}
        {{ record_new_events_on_workers() }};
    {% elif is_incremental() %}
        insert into affected_event (api_key, event_id, day)
        select api_key, event_id, day from {{ this }} where load_id = any(array(select load_id from new_load));
        analyze affected_event;
        {{ record_touched_days("affected_event") }};
    {% else %}
        {{ record_touched_days(this) }};
    {% endif %}

    insert into {{ state_table("applied_load") }} (load_id) select load_id from new_load;
    {%- if is_distributed() %}{{ require_all_new_rows() }}{% endif %}
    {% endif %}
{%- endmacro %}

{#
    Of several rows with the same event id, only one is current: the row from the latest load, and within that load the
    row with the highest number. Only the ids of added or deleted rows are checked again; a deleted row may have
    superseded a row that stays.
#}
{% macro update_is_current() -%}
    create temporary table changed_event on commit drop as
    with repeated as (
        select events.api_key, events.event_id
        from {{ this }} as events
        {% if is_incremental() %}
            inner join (select distinct api_key, event_id from affected_event) as affected
                on events.event_id = affected.event_id and events.api_key = affected.api_key
            -- The array is redundant, but makes the planner use the index on event_id.
            where events.event_id = any(array(select event_id from affected_event))
        {% endif %}
        group by 1, 2
        having count(*) > 1 or not bool_or(events.is_current)
    ),

    ranked as (
        select
            events.load_id,
            events.row_number,
            events.api_key,
            events.event_id,
            events.day,
            events.is_current as was_current,
            row_number() over (
                partition by events.api_key, events.event_id order by events.load_id desc, events.row_number desc
            ) = 1 as is_current
        from {{ this }} as events
        inner join repeated on events.event_id = repeated.event_id and events.api_key = repeated.api_key
    )

    select * from ranked where was_current <> is_current;

    update {{ this }} as events
    set is_current = changed.is_current
    from changed_event as changed
    where
        events.event_id = changed.event_id
        and events.api_key = changed.api_key
        and events.load_id = changed.load_id
        and events.row_number = changed.row_number;

    {{ record_touched_days("changed_event") }};
{%- endmacro %}

{# A table that has just been created has no statistics yet; for a table that grows, autovacuum updates them. #}
{% macro analyze_new_table() -%}
    {% if not is_incremental() %}
        analyze {{ this }}
    {% endif %}
{%- endmacro %}

{# Whether tests of single rows check every row. A full refresh has just added all of them. #}
{% macro tests_check_all_rows() %}
    {{ return(var("test_all_rows") or flags.FULL_REFRESH) }}
{% endmacro %}

{#
    For tests of single rows: the loads that the latest build added, or all loads. Use it as = any(…), because an
    array makes the planner use the index on load_id.
#}
{% macro loads_to_test() -%}
    array(
        select load_id
        from {{ state_table("applied_load") }}
        {% if not tests_check_all_rows() %}
            where applied = (select max(applied) from {{ state_table("applied_load") }})
        {% endif %}
    )
{%- endmacro %}

{# For tests of company days: the days of the loads to test. #}
{% macro days_to_test() -%}
    select distinct api_key, day from {{ ref("int_events") }} where load_id = any({{ loads_to_test() }})
{%- endmacro %}

{# For tests of company days: whether a row belongs to one of these days. #}
{% macro is_on_day_to_test(days) -%}
    {% if tests_check_all_rows() %}true{% else %}{{ is_on_days(days) }}{% endif %}
{%- endmacro %}
