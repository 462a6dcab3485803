-- +goose Up

-- A key of the purposes and vendors in PARAMETERS of a consent. Rows with the same key have the same choices, so that dbt
-- parses each of them once. Files that an earlier version has loaded are loaded again.
alter table raw.event add column choice_set bigint;

-- +goose Down
alter table raw.event drop column choice_set;
