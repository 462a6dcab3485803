#!/bin/sh
# Gives the administrator the password that the Secret has now. It waits for TCP: on an empty volume the server that
# answers first, on the socket only, is one of the initialization. No log shows the statement, even if it fails.
set -eu
until pg_isready --quiet --host=127.0.0.1; do sleep 0.2; done
PGOPTIONS='-c log_min_error_statement=panic' psql --no-psqlrc --quiet --set=ON_ERROR_STOP=1 \
    --username=postgres --dbname=postgres <<'SQL'
\set password `cat "$POSTGRES_PASSWORD_FILE"`
alter role postgres password :'password';
SQL
