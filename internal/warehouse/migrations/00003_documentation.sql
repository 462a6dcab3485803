-- +goose Up

-- dbt's documentation, one self-contained page, and the digest of its project. The table has at most one row.
create table analytics.documentation (
    project_digest text not null,
    page           bytea not null,
    made           timestamptz not null default now()
);

-- +goose Down
drop table analytics.documentation;
