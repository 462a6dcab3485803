#!/bin/sh
# Gives the administrator the password of the mounted file, at the start and whenever the file changes. It waits for TCP:
# on an empty volume the server that answers first, on the socket only, is that of the initialization. No log shows the
# statement, even if it fails.
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
