#!/bin/sh
# Sets the administrator's password from the mounted file, at the start and whenever the file changes. It waits for TCP,
# because on an empty volume a temporary server for the initialization listens on the socket first. The statement is not
# logged, even if it fails.
set -eu
trap 'exit 0' TERM INT

set_password() {
    pg_isready --quiet --host=127.0.0.1 --username=postgres &&
        PGOPTIONS='-c log_min_error_statement=panic' psql --no-psqlrc --quiet --set=ON_ERROR_STOP=1 \
            --username=postgres --dbname=postgres <<'SQL'
\set password `cat "$POSTGRES_PASSWORD_FILE"`
alter role postgres password :'password';
SQL
}

given=
while :; do
    wanted=$(cat "$POSTGRES_PASSWORD_FILE")
    if [ "$wanted" != "$given" ] && set_password; then
        given=$wanted
        echo "the administrator has the password of the file"
    fi
    # In the background, so that a signal ends the wait.
    sleep 2 &
    wait $!
done
