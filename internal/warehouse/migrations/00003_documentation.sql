-- +goose Up

-- dbt's documentation, one page that needs nothing else, and the project that it is of. It has one row, or none.
create table analytics.documentation (
    project_digest text not null,
    page           bytea not null,
    made           timestamptz not null default now()
);

-- +goose Down
drop table analytics.documentation;
