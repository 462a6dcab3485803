-- +goose Up

-- version names the content of an object, as its store does (ETag and size, or the time of its last change): an object
-- whose version is that of its published load is unchanged. Null for files of folders.
-- sha256_of: sha256 is that of the file's bytes, or that of its parts, of a large Parquet object.
alter table raw.load
    add column version   text,
    add column sha256_of text not null default 'bytes' check (sha256_of in ('bytes', 'parts'));

-- +goose Down
alter table raw.load drop column version, drop column sha256_of;
