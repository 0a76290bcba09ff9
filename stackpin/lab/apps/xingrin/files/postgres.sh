#!/bin/bash
# The contract of the official image, in short: POSTGRES_USER, POSTGRES_PASSWORD, POSTGRES_DB (each
# also as NAME_FILE), POSTGRES_HOST_AUTH_METHOD, POSTGRES_INITDB_ARGS, /docker-entrypoint-initdb.d.
set -eo pipefail

from_file() { # NAME default
  local file="${1}_FILE"
  if [ -n "${!1:-}" ] && [ -n "${!file:-}" ]; then
    echo "error: both $1 and $file are set" >&2
    exit 1
  fi
  [ -z "${!file:-}" ] || export "$1=$(<"${!file}")"
  [ -n "${!1:-}" ] || export "$1=${2:-}"
  unset "$file"
}

as_owner() {
  if [ "$(id -u)" = 0 ]; then
    setpriv --reuid=postgres --regid=postgres --init-groups -- "$@"
  else
    "$@"
  fi
}

prepare() {
  mkdir -p "$PGDATA" /var/run/postgresql
  chmod 700 "$PGDATA"
  chmod 3775 /var/run/postgresql
  if [ "$(id -u)" = 0 ]; then
    find "$PGDATA" ! -user postgres -exec chown postgres:postgres {} +
    chown postgres:postgres /var/run/postgresql
  fi
}

create_cluster() {
  local auth="${POSTGRES_HOST_AUTH_METHOD:-scram-sha-256}" password
  if [ -z "$POSTGRES_PASSWORD" ] && [ "$auth" != trust ]; then
    echo "error: the database is empty and POSTGRES_PASSWORD is not set" >&2
    exit 1
  fi
  password=$(mktemp)
  printf '%s\n' "$POSTGRES_PASSWORD" >"$password"
  [ "$(id -u)" != 0 ] || chown postgres "$password"
  # shellcheck disable=SC2086 # several options in one variable
  as_owner initdb --username="$POSTGRES_USER" --pwfile="$password" --encoding=UTF8 \
    ${POSTGRES_INITDB_ARGS:-} -D "$PGDATA"
  rm -f "$password"
  printf '\nhost all all all %s\n' "$auth" >>"$PGDATA/pg_hba.conf"
  printf "listen_addresses = '*'\n" >>"$PGDATA/postgresql.conf"
}

fill_cluster() {
  # Reached by the local socket only, until it is complete.
  as_owner pg_ctl -D "$PGDATA" -o "-c listen_addresses=''" -w start
  if [ "$POSTGRES_DB" != postgres ]; then
    as_owner psql -v ON_ERROR_STOP=1 -U "$POSTGRES_USER" -d postgres --no-psqlrc \
      -v name="$POSTGRES_DB" <<<'CREATE DATABASE :"name";'
  fi
  local file
  for file in /docker-entrypoint-initdb.d/*; do
    case "$file" in
      *.sh)
        echo "running $file"
        # A script without the execute bit is read by this shell.
        if [ -x "$file" ]; then "$file"; else . "$file"; fi
        ;;
      *.sql) psql -v ON_ERROR_STOP=1 -U "$POSTGRES_USER" -d "$POSTGRES_DB" -f "$file" ;;
      *.sql.gz) gunzip -c "$file" | psql -v ON_ERROR_STOP=1 -U "$POSTGRES_USER" -d "$POSTGRES_DB" ;;
    esac
  done
  as_owner pg_ctl -D "$PGDATA" -m fast -w stop
}

[ "${1#-}" = "$1" ] || set -- postgres "$@"
if [ "$1" = postgres ]; then
  from_file POSTGRES_PASSWORD
  from_file POSTGRES_USER postgres
  from_file POSTGRES_DB "$POSTGRES_USER"
  prepare
  if [ ! -s "$PGDATA/PG_VERSION" ]; then
    create_cluster
    fill_cluster
    echo "the database is ready for its first start"
  fi
  [ "$(id -u)" != 0 ] || exec setpriv --reuid=postgres --regid=postgres --init-groups -- "$@"
fi
exec "$@"
