-- +goose Up

-- The loads whose rows are in analytics.int_events, and when the build that added them began: the loads of the
-- latest time are the new ones, which the tests of single rows read.
create table analytics.applied_load (
    load_id bigint primary key,
    applied timestamptz not null default now()
);

-- The company days that int_events changed and that a downstream model has yet to aggregate again.
create table analytics.touched (
    model   text not null,
    api_key uuid not null,
    day     date not null,
    primary key (model, api_key, day)
);

-- The full builds of the dbt project that succeeded, and their loads and project.
create table analytics.build (
    build_id       bigint generated always as identity primary key,
    finished       timestamptz not null default now(),
    load_set       text not null,
    project_digest text not null,
    variables      text not null
);

-- +goose Down
drop table analytics.build, analytics.touched, analytics.applied_load;
