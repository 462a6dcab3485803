{#
    int_events follows the set of published loads, not a watermark, because load 5 may commit after load 6. It records
    the company days that it changes in analytics.touched, once for each model that aggregates them. Each of these
    models aggregates its days again, deletes them from touched and records them for the models that aggregate its own
    rows, all within the model's own transaction.

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

{# The models that aggregate another model by company day. #}
{% macro consumers() %}
    {{ return({
        "int_events": ["int_daily__events", "int_daily__dimensions", "int_daily__domains", "int_daily__choices", "int_consent_durations"],
        "int_daily__events": ["consent_daily"],
        "int_consent_durations": ["int_daily__durations"],
    }) }}
{% endmacro %}

{# The model that a model aggregates by company day. #}
{% macro consumed_model() %}
    {% for source, models in consumers().items() if this.identifier in models %}
        {{ return(source) }}
    {% endfor %}
{% endmacro %}

{# Records the company days of a relation with columns api_key and day as touched, for the consumers of this model. #}
{% macro record_touched_days(relation) -%}
    insert into {{ state_table("touched") }} (model, api_key, day)
    select
        consumer.model,
        changed.api_key,
        changed.day
    from (select distinct api_key, day from {{ relation }}) as changed
    cross join unnest(array['{{ consumers()[this.identifier] | join("', '") }}']) as consumer (model)
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

{# Fails a model that follows the changes of another one if that is read from another schema. #}
{% macro require_own_schema(source) %}
    {% if ref(source).schema != this.schema %}
        {{ exceptions.raise_compiler_error(
            this.identifier ~ " is built incrementally from " ~ source ~ " of its own schema, " ~ this.schema
            ~ ", but --defer resolves " ~ source ~ " to schema " ~ ref(source).schema
            ~ ". Select " ~ source ~ " too, or add --full-refresh."
        ) }}
    {% endif %}
{% endmacro %}

{#
    Before the body of a model that aggregates another one by company day: deletes the days that it aggregates again. A
    full refresh replaces the table, so the consumers of the model must aggregate all days of the old table again.
#}
{% macro delete_touched_days(neighbours=0) -%}
    {% if is_incremental() %}{{ require_own_schema(consumed_model()) }}{% endif %}
    {% if is_incremental() and not flags.EMPTY %}
        delete from {{ this }} where {{ is_on_days(touched_days(neighbours)) }}
    {% elif not is_incremental() and this.identifier in consumers() and load_relation(this) is not none %}
        {{ record_touched_days(this) }}
    {% endif %}
{%- endmacro %}

{#
    After that body: deletes the model's days from touched, and records them for its own consumers. The body has seen
    every day that is in the snapshot.
#}
{% macro clear_touched_days(neighbours=0) -%}
    {{ require_repeatable_read() }};
    {% set is_incremental = is_incremental() or is_partial_refresh() %}
    {% if this.identifier in consumers() and is_incremental and not flags.EMPTY %}
        {{ record_touched_days("(" ~ touched_days(neighbours) ~ ") as aggregated (api_key, day)") }};
    {% elif this.identifier in consumers() and not is_incremental %}
        {{ record_touched_days(this) }};
    {% endif %}
    {% if not flags.EMPTY %}
        delete from {{ state_table("touched") }} where model = '{{ this.identifier }}'
    {% elif not is_incremental %}
        insert into {{ state_table("touched") }} (model, api_key, day)
        select distinct '{{ this.identifier }}', api_key, day from {{ ref(consumed_model()).render() }}
        on conflict do nothing
    {% endif %}
{%- endmacro %}

{#
    Before the body of a mart that is_partial_refresh(): lists its stale days in the table stale_day. A company without any row in the mart
    differs, too: a build of the mart alone leaves out a company that int_companies does not have yet.
#}
{% macro find_stale_days() -%}
    {% if is_partial_refresh() %}
        {% set columns = ["company_name", "industry", "industry_group", "hq_country", "extrapolation", "recommended_extrapolation"] %}
        {{ require_own_schema(consumed_model()) }}
        create temporary table stale_day on commit drop as
        {% if flags.EMPTY %}
            {{ touched_days() }}
            limit 0
        {% else %}
            with present as (
                select distinct api_key, {{ columns | join(", ") }} from {{ this }}
            ),

            fresh as (
                select
                    companies.*,
                    '{{ chosen_extrapolation() }}' as extrapolation,
                    {{ recommended_extrapolation("company_weighting.weighting") }} as recommended_extrapolation
                from {{ ref("int_companies") }} as companies
                inner join {{ ref("int_company_weighting") }} as company_weighting on companies.api_key = company_weighting.api_key
            ),

            changed as (
                select coalesce(present.api_key, fresh.api_key) as api_key
                from present
                full join fresh on present.api_key = fresh.api_key
                where
                    (present.{{ columns | join(", present.") }})
                    is distinct from (fresh.{{ columns | join(", fresh.") }})
            )

            {{ touched_days() }}
            union
            select api_key, {{ config.get("day_column") }} from {{ this }} where api_key in (select api_key from changed)
            union
            select api_key, day from {{ ref(consumed_model()) }} where api_key in (select api_key from changed)
        {% endif %};
        analyze stale_day
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
        delete from {{ state_table("touched") }} where model <> all(array['{{ consumers().values() | sum(start=[]) | join("', '") }}']);
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
    Whether a row of a relation with columns event_id and is_current may share its event id with another row, or is not
    current. All other rows are the only row of their event. Sorting one number per row finds them in less than half the
    time of grouping by company and id; `offset 0` makes the planner sort. On Citus each worker groups its own rows.
#}
{% macro is_possibly_repeated(relation) -%}
    {% if is_distributed() %}
    (api_key, event_id) in (
        select
            api_key,
            event_id
        from {{ relation }}
        group by api_key, event_id
        having count(*) > 1 or not bool_and(is_current)
    )
    {% else %}
    uuid_hash_extended(event_id, 0) in (
        select hashes.id_hash
        from (
            select
                uuid_hash_extended(event_id, 0) as id_hash,
                is_current
            from {{ relation }}
            order by id_hash
            offset 0
        ) as hashes
        group by hashes.id_hash
        having count(*) > 1 or not bool_and(hashes.is_current)
    )
    {% endif %}
{%- endmacro %}

{#
    Of several rows with the same event id, only one is current: the row from the latest load, and within that load the
    row with the highest number. Only the ids of added or deleted rows are checked again; a deleted row may have
    superseded a row that stays.
#}
{% macro update_is_current() -%}
    create temporary table changed_event on commit drop as
    with ranked as (
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
        {% if is_incremental() %}
            -- An array makes the planner use the index on event_id.
            where events.event_id = any(array(select event_id from affected_event))
        {% else %}
            where {{ is_possibly_repeated(this) }}
        {% endif %}
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
