-- +goose Up

-- One row per run of the ingestion job. Several pods of one Job share a run.
create table raw.run (
    run_id   uuid primary key,
    name     text not null,
    source   text not null,
    started  timestamptz not null default now(),
    finished timestamptz
);

-- One row per file that a source has ever held; the row is also the lock of its loads.
create table raw.file (
    file_id bigint generated always as identity primary key,
    source  text not null,
    path    text not null,
    unique (source, path)
);

-- One row per attempt to load a file. The rows of a file are those of its published load.
create table raw.load (
    load_id          bigint generated always as identity primary key,
    file_id          bigint not null references raw.file,
    run_id           uuid not null references raw.run,
    state            text not null check (state in ('loading', 'published', 'failed', 'superseded', 'retracted')),
    contract         text check (contract in ('event', 'company')),
    contract_version integer not null,
    options          text not null,
    format           text not null,
    sha256           bytea,
    bytes            bigint,
    columns          text[],
    rows             bigint not null default 0,
    rejected         bigint not null default 0,
    warnings         bigint not null default 0,
    started          timestamptz not null default now(),
    finished         timestamptz,
    error            text
);
create unique index load_published on raw.load (file_id) where state = 'published';
create index load_file on raw.load (file_id, load_id);

-- The outcome of each file of a run, also if it was not loaded.
create table raw.run_file (
    run_id   uuid not null references raw.run,
    path     text not null,
    outcome  text not null check (outcome in ('Loaded', 'Unchanged', 'Failed', 'NoMatch')),
    load_id  bigint references raw.load,
    message  text,
    recorded timestamptz not null default now(),
    primary key (run_id, path)
);

-- The findings in a file's rows. A reject is a row that was not loaded; record has the whole row (as CSV).
-- A warning is a field that became null or looks wrong. value is the field's text, cut at 4 KiB.
create table raw.finding (
    load_id     bigint not null references raw.load,
    row_number  bigint not null,
    byte_offset bigint,
    severity    text not null check (severity in ('reject', 'warning')),
    code        text not null,
    column_name text,
    message     text not null,
    value       text,
    record      bytea
);
create index finding_load on raw.finding (load_id);

-- The number of findings by code, also where raw.finding has only the first ones.
create table raw.finding_count (
    load_id bigint not null references raw.load,
    code    text not null,
    n       bigint not null,
    primary key (load_id, code)
);

-- Events as in the files, in UTC. The contract has checked every value before COPY, so the table has no key,
-- check or foreign key, and only one index. action, token_created and token_updated are taken from
-- parameters; extra holds the columns that the contract does not know.
create table raw.event (
    load_id        bigint not null,
    row_number     bigint not null,
    event_time     timestamptz not null,
    window_start   timestamptz,
    token_created  timestamptz,
    token_updated  timestamptz,
    rate           double precision,
    count          bigint,
    event_id       uuid not null,
    api_key        uuid not null,
    type           text not null,
    consent        text,
    experiment     text,
    sdk_type       text,
    domain         text,
    deployment_id  text,
    country        text,
    region         text,
    browser_family text,
    device_type    text,
    user_id        text,
    action         text,
    parameters     json,
    extra          jsonb
);
-- A load's rows are adjacent, so that a summary of each 256 kB finds them. A btree would find them as fast, but adds a
-- quarter to the time of COPY (docs/performance.md). minmax_multi keeps the summaries exact where later loads fill the
-- space of deleted ones.
create index event_load on raw.event using brin (load_id int8_minmax_multi_ops)
    with (pages_per_range = 32, autosummarize = on);

-- +goose StatementBegin
do $$
begin
    alter table raw.event alter column parameters set compression lz4;
exception
    -- A server built without lz4 compresses with pglz.
    when feature_not_supported then null;
end
$$;
-- +goose StatementEnd

create table raw.company (
    load_id        bigint not null,
    row_number     bigint not null,
    api_key        uuid not null,
    industry_back  text,
    industry_front text,
    hq_country     text,
    extra          jsonb
);
create index company_load on raw.company (load_id);

-- +goose Down
drop table raw.company, raw.event, raw.finding_count, raw.finding, raw.run_file, raw.load, raw.file, raw.run;
