{#
    These materializations change tables and views in place. Grants, other users' views, publications, row policies,
    triggers and comments belong to a relation; by default dbt replaces it and drops everything that depends on it.
    Rows are deleted, updated and inserted in one transaction, so readers see either the old rows or the new ones. In a
    table with a primary key, unchanged rows are not written.
#}
{% materialization table, adapter='postgres' %}
    {% set existing = load_cached_relation(this) %}
    {% set target = this.incorporate(type='table') %}
    {% do begin_build() %}

    {% if existing is not none and existing.is_table %}
        {% do refresh_table(target, sql) %}
    {% else %}
        {% do drop_existing(existing) %}
        {% call statement('main') %}{{ get_create_table_as_sql(False, target, sql) }}{% endcall %}
        {% do create_indexes(target) %}
        {% do run_query(set_replica_identity()) %}
    {% endif %}
    {{ return(end_build(target)) }}
{% endmaterialization %}

{% materialization view, adapter='postgres' %}
    {% set existing = load_cached_relation(this) %}
    {% set target = this.incorporate(type='view') %}
    {% set options = [] %}
    {% do begin_build() %}

    {% if existing is not none and existing.is_view %}
        {% set options = view_options(target) %}
        {% if not can_replace_view(target, sql) %}{% do drop_existing(existing) %}{% endif %}
    {% else %}
        {% do drop_existing(existing) %}
    {% endif %}
    {% call statement('main') %}
        create or replace view {{ target }}
        {% if config.get('contract').enforced %}{{ get_assert_columns_equivalent(sql) }}{% endif %}
        {% if options %}with ({{ options | join(', ') }}){% endif %}
        as ({{ sql }})
    {% endcall %}
    {{ return(end_build(target)) }}
{% endmaterialization %}

{# The start of the transaction that builds a table or view. #}
{% macro begin_build() %}
    {{ run_hooks(pre_hooks, inside_transaction=False) }}
    {{ run_hooks(pre_hooks, inside_transaction=True) }}
    {#
        If a row policy would hide rows from the build, the server raises an error instead of silently keeping those
        rows.
    #}
    {% call statement('begin') %}set local row_security = off{% endcall %}
{% endmacro %}

{# The end of that transaction. Returns the result of the materialization. #}
{% macro end_build(target) %}
    {% do recreate_dependents() %}
    {{ run_hooks(post_hooks, inside_transaction=True) }}
    {% do apply_grants(target, config.get('grants'), should_revoke=False) %}
    {% do persist_docs(target, model) %}
    {{ adapter.commit() }}
    {{ run_hooks(post_hooks, inside_transaction=False) }}
    {{ return({'relations': [target]}) }}
{% endmacro %}

{#
    dbt's other materializations build a new relation, rename the old one to a backup, rename the new one, and drop
    the backup with everything that depends on it after the commit.
#}
{% macro postgres__rename_relation(from_relation, to_relation) %}
    {% if to_relation.identifier.endswith('__dbt_backup') %}{% do drop_dependents(from_relation) %}{% endif %}
    {{ default__rename_relation(from_relation, to_relation) }}
    {% if from_relation.identifier.endswith('__dbt_tmp') %}{% do recreate_dependents() %}{% endif %}
{% endmacro %}

{# Drops a relation of another type than the model, such as a view that becomes a table. #}
{% macro drop_existing(existing) %}
    {% if existing is not none %}
        {% do drop_dependents(existing) %}
        {% do run_query("drop " ~ (existing.type | replace("_", " ")) ~ " " ~ existing) %}
    {% endif %}
{% endmacro %}

{# A full refresh keeps the table of a seed: dropping it would drop everything that depends on it. #}
{% macro postgres__reset_csv_table(model, full_refresh, old_relation, agate_table) %}
    {{ return(default__reset_csv_table(model, False, old_relation, agate_table)) }}
{% endmacro %}

{# A relation's name as a literal of type regclass. #}
{% macro regclass(relation) -%}
    '{{ relation.include(database=False) | replace("'", "''") }}'::regclass
{%- endmacro %}

{#
    A mart with one row or more per company day is a table like the other marts, but a build refreshes only its stale
    days: those with changed events, and all days of a company whose other columns changed. Such a mart has the config
    day_column.
#}
{% macro is_partial_refresh() %}
    {% if not execute or not config.get("day_column") or should_full_refresh() %}{{ return(false) }}{% endif %}
    {% set existing = load_cached_relation(this) %}
    {{ return(existing is not none and existing.is_table) }}
{% endmacro %}

{# Changes a table's rows to those of a query, and its columns and keys to those of the model. #}
{% macro refresh_table(target, sql) %}
    {% set fresh = make_temp_relation(target) %}
    {% do run_query(set_replica_identity()) %}
    {% do run_query(get_create_table_as_sql(True, fresh, sql)) %}

    {% set changes = run_query(column_changes(target, fresh)) %}
    {% if changes and is_partial_refresh() %}
        {% do exceptions.raise_compiler_error(
            "The columns or keys of " ~ this.identifier ~ " change, so all of its days must be built again: add --full-refresh."
        ) %}
    {% elif changes %}
        {% set dropped = changes.columns["dropped"].values() | reject("none") | list %}
        {% if dropped %}{% do drop_dependents(target, dropped) %}{% endif %}
        {% do run_query("delete from " ~ target) %}
        {% for change in changes %}{% do run_query(change["statement"]) %}{% endfor %}
        {% do run_query(set_replica_identity()) %}
    {% endif %}
    {% do create_missing_indexes(target) %}

    {% set columns = adapter.get_columns_in_relation(target) | map(attribute="quoted") | list %}
    {% set list = columns | join(", ") %}
    {% set values = "fresh." ~ columns | join(", fresh.") %}
    {% set fresh_rows = "(select " ~ list ~ " from " ~ fresh ~ ") as fresh" %}
    {% set key = primary_key(target) %}
    {% set is_refreshed = "true" %}
    {% if is_partial_refresh() %}
        {% set is_refreshed = "(present.api_key, present." ~ config.get("day_column") ~ ") in (select api_key, day from stale_day)" %}
    {% endif %}
    {% call statement('main') %}
        do $refresh$
        begin
            {% if key %}
                {% set same_key = "(present." ~ key | join(", present.") ~ ") = (fresh." ~ key | join(", fresh.") ~ ")" %}
                begin
                    delete from {{ target }} as present
                    where
                        not exists (select from {{ fresh_rows }} where {{ same_key }})
                        and {{ is_refreshed }};
                    -- A changed row is updated: deleting it could delete the rows that refer to it.
                    merge into {{ target }} as present
                    using {{ fresh_rows }} on {{ same_key }}
                    when matched and not present *= fresh then update set ({{ list }}) = row({{ values }})
                    when not matched then insert ({{ list }}) values ({{ values }});
                    return;
                exception when undefined_function or feature_not_supported then
                    null; -- a key of a type without =, such as json; a rule on the table
                end;
            {% endif %}
            -- Without a key, finding the rows that differ would take longer than writing all of them.
            delete from {{ target }} as present where {{ is_refreshed }};
            insert into {{ target }} ({{ list }}) select {{ list }} from {{ fresh }};
        end
        $refresh$
    {% endcall %}
    {% do run_query("drop table " ~ fresh) %}
{% endmacro %}

{#
    The statements, in order, that change a table's columns to those of another table, and its NOT NULL constraints
    and primary key to those of the model's contract. `dropped` is the column that a statement drops. New columns are
    added at the end. A column whose type changes is dropped and added, with its grants.
#}
{% macro column_changes(target, fresh) %}
    {% set contract = config.get('contract').enforced %}
    {% set shape = fresh %}
    {% if contract %}
        {% set shape = fresh.incorporate(path={"identifier": fresh.identifier ~ "_shape"}) %}
        {% do run_query("create temporary table " ~ shape ~ get_table_columns_and_constraints() ~ " on commit drop") %}
    {% endif %}
    with model as (
        select attname, attnum, attnotnull, format_type(atttypid, atttypmod) as type
        from pg_attribute where attrelid = {{ regclass(shape) }} and attnum > 0 and not attisdropped
    ),

    present as (
        select attname, attnum, attnotnull, attacl, format_type(atttypid, atttypmod) as type
        from pg_attribute where attrelid = {{ regclass(target) }} and attnum > 0 and not attisdropped
    ),

    keys as (
        select
            conrelid,
            conname,
            array_agg(format('%I', attname) order by place) as columns,
            array_agg(format_type(atttypid, atttypmod) order by place) as types
        from pg_constraint
        cross join unnest(conkey) with ordinality as key (attnum, place)
        inner join pg_attribute on attrelid = conrelid and pg_attribute.attnum = key.attnum
        where contype = 'p' and conrelid in ({{ regclass(shape) }}, {{ regclass(target) }})
        group by conrelid, conname
    ),

    key_change as (
        select
            old.conname as old_name,
            new.columns as new_columns
        from (select * from keys where conrelid = {{ regclass(target) }}) as old
        full join (select * from keys where conrelid = {{ regclass(shape) }}) as new on true
        where {{ contract | lower }} and (old.columns, old.types) is distinct from (new.columns, new.types)
    ),

    changes as (
        select 1 as step, 0 as place, null as dropped, format('drop constraint %I', old_name) as change
        from key_change where old_name is not null
        union all
        select 2, attnum, attname, format('drop column %I', attname)
        from present where (attname, type) not in (select attname, type from model)
        union all
        select 3, attnum, null, format('add column %I %s%s', attname, type, case when attnotnull then ' not null' end)
        from model where (attname, type) not in (select attname, type from present)
        union all
        select 4, model.attnum, null,
            format('alter column %I %s not null', attname, case when model.attnotnull then 'set' else 'drop' end)
        from model inner join present using (attname, type)
        where {{ contract | lower }} and model.attnotnull <> present.attnotnull
        union all
        select 5, 0, null, format('add primary key (%s)', array_to_string(new_columns, ', '))
        from key_change where new_columns is not null
    )

    select step, place, dropped::text, format('alter table %s %s', {{ regclass(target) }}, change) as statement
    from changes
    union all
    select 6, model.attnum, null, {{ grant_statement(regclass(target), "present.attname") }}
    from model
    inner join present on model.attname = present.attname and model.type <> present.type
    cross join aclexplode(present.attacl) as acl
    order by step, place
{% endmacro %}

{# The statement that restores a grant listed by aclexplode(), on a relation or on one of its columns. #}
{% macro grant_statement(relation, column="null") -%}
    format(
        'grant %s%s on %s to %s%s',
        acl.privilege_type,
        ' (' || quote_ident({{ column }}) || ')',
        {{ relation }},
        case acl.grantee when 0 then 'public' else quote_ident(pg_get_userbyid(acl.grantee)) end,
        case when acl.is_grantable then ' with grant option' end
    )
{%- endmacro %}

{# The quoted columns of a table's primary key; empty without a primary key. #}
{% macro primary_key(table) %}
    {% set found = run_query(
        "select quote_ident(attname) from pg_index
        inner join pg_attribute on attrelid = indrelid and attnum = any(indkey)
        where indisprimary and indrelid = " ~ regclass(table)
    ) %}
    {{ return(found.columns[0].values() | list) }}
{% endmacro %}

{#
    Creates the configured indexes that are missing. They are compared by columns, because dbt gives each index a new
    name.
#}
{% macro create_missing_indexes(target) %}
    {% set wanted = config.get('indexes', default=[]) %}
    {% if wanted %}
        {% set present = [] %}
        {% for columns in run_query(get_show_indexes_sql(target)).columns["column_names"].values() %}
            {% do present.append(columns.split(",") | sort) %}
        {% endfor %}
        {% for index in wanted if index["columns"] | sort not in present %}
            {% do run_query(get_create_index_sql(target, index)) %}
        {% endfor %}
    {% endif %}
{% endmacro %}

{#
    Whether the columns of a view are the first columns of a query, or all of them: Postgres can replace only such a
    view.
#}
{% macro can_replace_view(view, sql) %}
    {% set fresh = make_temp_relation(view) %}
    {% do run_query("create temporary view " ~ fresh ~ " as (" ~ sql ~ ")") %}
    {% set result = run_query(
        "select not exists (
            select attnum, attname, atttypid, atttypmod, attcollation from pg_attribute where attrelid = " ~ regclass(view) ~ "
            except
            select attnum, attname, atttypid, atttypmod, attcollation from pg_attribute where attrelid = " ~ regclass(fresh) ~ "
        )"
    ) %}
    {% do run_query("drop view " ~ fresh) %}
    {{ return(result.rows[0][0]) }}
{% endmacro %}

{# The options of a view, such as security_invoker: `create or replace` would reset them. #}
{% macro view_options(view) %}
    {% set found = run_query("select unnest(reloptions) from pg_class where oid = " ~ regclass(view)) %}
    {{ return(found.columns[0].values() | list) }}
{% endmacro %}

{#
    Drops the views that depend on a relation or on some of its columns, before these are dropped themselves;
    recreate_dependents() recreates the views. Without CONSENT_RECREATE_DEPENDENTS the model fails instead and names
    them. If anything else depends on the relation, Postgres refuses to drop it.
#}
{% macro drop_dependents(relation, columns=none) %}
    {% do run_query(create_dependent_table(relation, columns)) %}
    {% set found = run_query("select distinct name, own from pg_temp.dependent order by name") %}
    {% set names = found.rows | selectattr(1, "none") | map(attribute=0) | list %}
    {% if names and env_var('CONSENT_RECREATE_DEPENDENTS', 'false') != 'true' %}
        {% do exceptions.raise_compiler_error(
            "The project changes " ~ relation.schema ~ "." ~ relation.identifier
            ~ ((" (" ~ columns | join(", ") ~ ")") if columns else "") ~ ", and other views depend on it: " ~ names | join(", ")
            ~ ". Drop them, or run `consent transform --recreate-dependents`, which drops and recreates them."
            ~ " Nothing was changed."
        ) %}
    {% endif %}
    {% do run_query(run_dependent_statements("step < 0")) %}
    {# Views of the project, possibly of an earlier version, are recreated by their own models. #}
    {% for view in found.columns["own"].values() | reject("none") %}
        {% do adapter.drop_relation(relation.incorporate(path={"identifier": view}, type="view")) %}
    {% endfor %}
    {% do run_query("delete from pg_temp.dependent where own is not null") %}
{% endmacro %}

{# The names of the project's models. #}
{% macro project_models() %}
    {{ return(graph.nodes.values() | selectattr("resource_type", "equalto", "model") | map(attribute="alias") | list) }}
{% endmacro %}

{% macro recreate_dependents() %}
    {# A materialized view is filled with the rows that its owner may see. #}
    {% do run_query(
        "set local row_security to default; " ~ run_dependent_statements("step > 0") ~ "; drop table if exists pg_temp.dependent"
    ) %}
{% endmacro %}

{% macro run_dependent_statements(condition) -%}
    do $execute$
    declare
        dependent record;
    begin
        if to_regclass('pg_temp.dependent') is null then
            return;
        end if;
        for dependent in select name, statement from pg_temp.dependent where {{ condition }} order by step, part loop
            execute dependent.statement;
        end loop;
    exception when others then
        raise exception '% cannot be recreated on the changed columns: %', dependent.name, sqlerrm
            using hint = 'Nothing was changed. Drop or change the view, then build again.', detail = dependent.statement;
    end
    $execute$
{%- endmacro %}

{#
    Creates the temporary table `dependent`: the views that depend on a relation, or on some of its columns, directly
    or through other views, with the statements that drop them (step < 0) and recreate them with their owners, grants,
    comments, indexes, triggers and rules (step > 0).
#}
{% macro create_dependent_table(relation, columns) %}
    drop table if exists pg_temp.dependent;
    create temporary table dependent on commit drop as
    with recursive reached (oid, depth) as (
        select ev_class, 1
        from pg_depend
        inner join pg_rewrite on pg_rewrite.oid = objid
        where classid = 'pg_rewrite'::regclass and refclassid = 'pg_class'::regclass
            and refobjid = {{ regclass(relation) }} and ev_class <> refobjid
            {% if columns %}
                and refobjsubid in (
                    select attnum from pg_attribute
                    where attrelid = refobjid
                        and attname in ({% for column in columns %}'{{ column | replace("'", "''") }}'{{ ", " if not loop.last }}{% endfor %})
                )
            {% endif %}
        union
        select ev_class, depth + 1
        from reached
        inner join pg_depend on refobjid = reached.oid
        inner join pg_rewrite on pg_rewrite.oid = objid
        where classid = 'pg_rewrite'::regclass and refclassid = 'pg_class'::regclass and ev_class <> refobjid
    ),

    views as (
        select
            pg_class.oid as view,
            pg_class.relkind,
            pg_class.relowner,
            pg_class.relacl,
            pg_class.reloptions,
            pg_class.relispopulated,
            format('%I.%I', pg_namespace.nspname, pg_class.relname) as ref,
            case pg_class.relkind when 'm' then 'materialized view' else 'view' end as kind,
            reached.depth
        from (select oid, max(depth) as depth from reached group by oid) as reached
        inner join pg_class on pg_class.oid = reached.oid
        inner join pg_namespace on pg_namespace.oid = pg_class.relnamespace
        where pg_class.relkind in ('v', 'm')
    ),

    statements as (
        select view, -depth as step, 0 as part, format('drop %s %s', kind, ref) as statement from views
        union all
        select view, depth, 1, format(
            'create %s %s%s as %s%s',
            kind, ref, ' with (' || array_to_string(reloptions, ', ') || ')', rtrim(pg_get_viewdef(view), ';'),
            case when relkind = 'm' and not relispopulated then ' with no data' end
        )
        from views
        union all
        select view, depth, 2, format('alter view %s alter column %I set default %s', ref, attname, pg_get_expr(adbin, adrelid))
        from views
        inner join pg_attrdef on adrelid = view
        inner join pg_attribute on attrelid = adrelid and attnum = adnum
        union all
        select view, depth, 2, pg_get_indexdef(indexrelid) from views inner join pg_index on indrelid = view
        union all
        select view, depth, 2, pg_get_triggerdef(pg_trigger.oid)
        from views inner join pg_trigger on tgrelid = view where not tgisinternal
        union all
        select view, depth, 2, pg_get_ruledef(pg_rewrite.oid)
        from views inner join pg_rewrite on ev_class = view where rulename <> '_RETURN'
        union all
        select view, depth, 3, format(
            'comment on %s is %L',
            case objsubid when 0 then kind || ' ' || ref else 'column ' || ref || '.' || quote_ident(attname) end, description
        )
        from views
        inner join pg_description on objoid = view and classoid = 'pg_class'::regclass
        left join pg_attribute on attrelid = view and attnum = objsubid and objsubid > 0
        union all
        select view, depth, 4, {{ grant_statement("ref") }}
        from views cross join aclexplode(relacl) as acl where acl.grantee <> relowner
        union all
        select view, depth, 4, {{ grant_statement("ref", "attname") }}
        from views inner join pg_attribute on attrelid = view cross join aclexplode(attacl) as acl
        union all
        select view, depth, 5, format('alter %s %s owner to %I', kind, ref, pg_get_userbyid(relowner))
        from views where relowner <> current_user::regrole
    )

    select
        step,
        part,
        kind || ' ' || ref as name,
        statement,
        (
            select relname from pg_class
            where oid = view and relnamespace = '{{ relation.schema | replace("'", "''") }}'::regnamespace
                and relname = any(string_to_array('{{ project_models() | join(" ") }}', ' '))
        ) as own
    from statements inner join views using (view)
{% endmacro %}

{# A table without a primary key needs a replica identity, so that a publication can replicate updates and deletes. #}
{% macro set_replica_identity() %}
    do $identify$
    begin
        if exists (
            select from pg_class
            where oid = {{ regclass(this) }} and relkind = 'r' and relreplident = 'd'
                and not exists (select from pg_index where indrelid = pg_class.oid and indisprimary)
        ) then
            alter table {{ this }} replica identity full;
        end if;
    end
    $identify$
{% endmacro %}
