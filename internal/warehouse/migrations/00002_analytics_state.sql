-- +goose Up

-- The loads whose rows are in analytics.int_events, and when the build that added them began: the loads of the
-- latest time are the new ones, at which the tests of single rows look.
create table analytics.applied_load (
    load_id bigint primary key,
    applied timestamptz not null default now()
);

-- The company days that int_events changed and that a consuming model has yet to aggregate again.
create table analytics.touched (
    model   text not null,
    api_key uuid not null,
    day     date not null,
    primary key (model, api_key, day)
);

-- The builds of the dbt project that succeeded as a whole, and what they were made from.
create table analytics.build (
    build_id       bigint generated always as identity primary key,
    finished       timestamptz not null default now(),
    load_set       text not null,
    project_digest text not null,
    variables      text not null
);

-- +goose Down
drop table analytics.build, analytics.touched, analytics.applied_load;
