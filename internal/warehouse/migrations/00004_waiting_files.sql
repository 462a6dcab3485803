-- +goose Up

-- Waiting: a folder whose files were not loaded, because its marker was missing. Its path ends with a slash.
alter table raw.run_file
    drop constraint run_file_outcome_check,
    add constraint run_file_outcome_check check (outcome in ('Loaded', 'Unchanged', 'Failed', 'NoMatch', 'Waiting'));

-- +goose Down
delete from raw.run_file where outcome = 'Waiting';
alter table raw.run_file
    drop constraint run_file_outcome_check,
    add constraint run_file_outcome_check check (outcome in ('Loaded', 'Unchanged', 'Failed', 'NoMatch'));
