-- +goose Up

-- The contract has checked PARAMETERS before COPY, and the server would check a column of type json again: a third of its
-- time for rows with long JSON. Both types have the same form on disk and in COPY, so programs of the previous version load
-- into a column of type text, and this one into a column of type json. Where the type cannot change now it stays json, and
-- only the time of loading differs. A second column beside the old one would need no rewrite either, but queries would
-- find only some of the rows in each, without an error.

-- +goose StatementBegin
do $$
declare
    largest    constant bigint := 256 * 1024 ^ 2; -- bytes of a table that is rewritten here, which takes seconds
    bytes      constant bigint := pg_total_relation_size('raw.event');
    by_hand    constant text := 'Loading works as before, but takes the server up to half as much CPU time again for long JSON. '
        'To change it, while nothing is loaded: alter table raw.event alter column parameters type text';
    view_text  text;
    same_form  boolean := false;
    detail     text;
begin
    set local client_min_messages = notice;
    -- A column keeps its type while a view names it. dbt's view names all columns, although it returns no parameters.
    select format('create or replace view %s %s as %s', oid::regclass,
                  'with (' || array_to_string(reloptions, ', ') || ')',
                  regexp_replace(pg_get_viewdef(oid), '\m(event\.)?parameters,\s*', ''))
        into view_text
        from pg_class where oid = to_regclass('analytics.stg_consent__events') and relkind = 'v';
    if found then
        execute view_text;
    end if;
    begin
        -- A superuser may declare that the types have the same form. Then the table is not rewritten.
        create cast (json as text) without function as assignment;
        same_form := true;
    exception when insufficient_privilege or duplicate_object then
        null;
    end;
    if not same_form and bytes > largest then
        raise warning 'the column parameters of raw.event stays json: the table has %, and would be locked while it is rewritten. %',
            pg_size_pretty(bytes), by_hand using errcode = 'CPMIG'; -- which is logged
        return;
    end if;
    if not same_form and bytes > 1024 ^ 2 then
        raise notice 'rewriting raw.event, which has %, to store parameters as text', pg_size_pretty(bytes) using errcode = 'CPMIG';
    end if;
    alter table raw.event alter column parameters type text;
    if same_form then
        drop cast (json as text);
    end if;
exception when feature_not_supported or invalid_table_definition or insufficient_privilege then
    get stacked diagnostics detail = pg_exception_detail;
    raise warning 'the column parameters of raw.event stays json: % (%). %', sqlerrm, detail, by_hand using errcode = 'CPMIG';
end
$$;
-- +goose StatementEnd

-- +goose StatementBegin
do $$
begin
    alter table raw.event alter column parameters set compression lz4; -- a new type has the server's default
exception
    -- A server built without lz4 compresses with pglz.
    when feature_not_supported then null;
end
$$;
-- +goose StatementEnd

-- PARAMETERS as json, of either type: select raw.parameters_json(e) ->> 'action' from raw.event as e. A view would keep the
-- column's type as it is.
create function raw.parameters_json(raw.event) returns json
    language sql immutable parallel safe
    as 'select $1.parameters::json';

-- +goose Down
drop function raw.parameters_json;
alter table raw.event
    alter column parameters type json using parameters::json;
-- +goose StatementBegin
do $$
begin
    alter table raw.event alter column parameters set compression lz4;
exception
    when feature_not_supported then null;
end
$$;
-- +goose StatementEnd
